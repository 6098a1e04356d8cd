//! Behaviour that needs a look inside.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod against_model;
mod model;
