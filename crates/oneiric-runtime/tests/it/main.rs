//! A runtime as an operator meets it: a real settings file, a real socket, real requests.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop there"
)]

mod activity;
#[cfg(feature = "tls")]
mod audience;
mod cancel_points;
mod client;
mod dependents;
#[cfg(feature = "tls")]
mod flood;
mod held;
mod hostile;
mod keyed;
mod limits;
mod logs;
mod once;
mod operators;
mod plans;
mod reload;
mod reload_model;
mod routes;
mod running;
mod secrets;
mod settings_bytes;
mod settings_file;
mod settings_layers;
mod settings_size;
mod slot_policies;
mod stores;
mod stream;
mod support;
#[cfg(feature = "tls")]
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod told;
mod watch;
