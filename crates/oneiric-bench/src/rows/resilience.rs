//! The patterns of `oneiric-resilience`, each beside what is used for it otherwise.

pub(super) mod breaker;
pub(super) mod bucket;
pub(super) mod bulkhead;
pub(super) mod keyed;
pub(super) mod policy;
pub(super) mod retry;
pub(super) mod time;
