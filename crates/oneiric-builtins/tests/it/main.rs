//! The built-in components, seen from outside.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod conformance;
mod factories;
mod file_cache;
mod flaky;
#[cfg(unix)]
mod obstacles;
mod probes;
mod support;
mod swap;
