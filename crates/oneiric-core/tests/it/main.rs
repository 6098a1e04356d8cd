//! The crate's tests through its public interface, in one binary.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on says where, and conformance says what ran; helpers outside of #[test] functions count as tests too"
)]

mod concurrency;
mod conformance;
mod discovery;
mod explain;
mod model;
mod observers;
mod promises;
mod registry;
mod support;
