//! The rows: each file sets up what is compared in one.

mod control;
mod handle;
pub(crate) mod lease;
mod register;
mod resilience;
mod resolve;

use std::error::Error;

use crate::row::Row;

/// A row that is set up only if it is wanted.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) set_up: fn() -> Result<Row, Box<dyn Error>>,
}

pub(crate) const ALL: &[Entry] = &[
    Entry {
        name: resolve::NAME,
        set_up: resolve::row,
    },
    Entry {
        name: handle::NAME,
        set_up: handle::row,
    },
    Entry {
        name: lease::NAME,
        set_up: lease::row,
    },
    Entry {
        name: lease::LIVE,
        set_up: lease::live_row,
    },
    Entry {
        name: register::NAME,
        set_up: register::row,
    },
    Entry {
        name: resilience::breaker::NAME,
        set_up: resilience::breaker::row,
    },
    Entry {
        name: resilience::breaker::OPEN,
        set_up: resilience::breaker::open_row,
    },
    Entry {
        name: resilience::breaker::FULL,
        set_up: resilience::breaker::full_row,
    },
    Entry {
        name: resilience::bulkhead::NAME,
        set_up: resilience::bulkhead::row,
    },
    Entry {
        name: resilience::bucket::NAME,
        set_up: resilience::bucket::row,
    },
    Entry {
        name: resilience::bucket::REFUSED,
        set_up: resilience::bucket::refused_row,
    },
    Entry {
        name: resilience::retry::NAME,
        set_up: resilience::retry::row,
    },
    Entry {
        name: resilience::retry::SYNC,
        set_up: resilience::retry::sync_row,
    },
    Entry {
        name: resilience::time::TIMEOUT,
        set_up: resilience::time::timeout_row,
    },
    Entry {
        name: resilience::time::SCOPE,
        set_up: resilience::time::scope_row,
    },
    Entry {
        name: resilience::policy::NAME,
        set_up: resilience::policy::row,
    },
    Entry {
        name: resilience::keyed::NAME,
        set_up: resilience::keyed::row,
    },
];
