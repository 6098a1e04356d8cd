//! The route table, by area. A new area is a file here with its `ROWS`, a line in [`AREAS`], its documents in
//! `api`, and a method of the client.

mod activity;
mod call;
mod changes;
mod config;
mod events;
mod explain;
mod health;
mod list;
mod openapi;
mod process;
mod reload;
mod secrets;
mod state;
mod status;
mod swap;

use super::table::Row;

pub(super) const AREAS: &[&[Row]] = &[
    list::ROWS,
    explain::ROWS,
    status::ROWS,
    health::ROWS,
    activity::ROWS,
    call::ROWS,
    events::ROWS,
    swap::ROWS,
    changes::ROWS,
    state::ROWS,
    reload::ROWS,
    config::ROWS,
    openapi::ROWS,
    process::ROWS,
    secrets::ROWS,
];
