//! The patterns from outside: only public paths.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod bucket;
mod bulkhead;
#[cfg(feature = "tokio")]
mod deadline;
