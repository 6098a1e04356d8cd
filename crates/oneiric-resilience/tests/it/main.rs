//! The patterns from outside: only public paths.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod breaker;
mod bucket;
mod bulkhead;
mod chance;
#[cfg(feature = "tokio")]
mod cleanup;
#[cfg(feature = "tokio")]
mod deadline;
#[cfg(feature = "tokio")]
mod docs;
#[cfg(feature = "serde")]
mod faults;
#[cfg_attr(
    not(feature = "tokio"),
    expect(dead_code, reason = "mostly for those who wait")
)]
mod foreign;
#[cfg(feature = "tokio")]
mod held;
#[cfg(feature = "tokio")]
mod join;
#[cfg(all(feature = "metrics", feature = "tokio"))]
mod metrics;
mod policy;
mod rejected;
mod retry;
#[cfg(feature = "tokio")]
mod scope;
#[cfg(feature = "serde")]
mod settings;
#[cfg(feature = "tokio")]
mod shield;
#[cfg(feature = "tower")]
mod tower;
