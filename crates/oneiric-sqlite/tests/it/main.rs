//! The stores through their public face, on real files.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy.toml only excuses the test functions themselves"
)]

mod backup;
mod files;
mod models;
mod support;
