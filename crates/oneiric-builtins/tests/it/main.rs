//! The built-in components, seen from outside.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod conformance;
mod factories;
mod file_cache;
mod flaky;
mod handover;
#[cfg(unix)]
mod obstacles;
#[path = "../../../../tests/src/ports.rs"]
#[expect(
    unreachable_pub,
    clippy::panic,
    reason = "shared with the package oneiric-tests, which must not be seen from here"
)]
mod ports;
mod probes;
#[path = "../../../../tests/src/program.rs"]
#[expect(
    unreachable_pub,
    reason = "shared with the package oneiric-tests, which must not be seen from here"
)]
mod program;
mod redis_cache;
#[path = "../../../../tests/src/redis.rs"]
#[expect(
    unreachable_pub,
    dead_code,
    clippy::panic,
    reason = "shared with the package oneiric-tests, which must not be seen from here"
)]
mod redis_server;
#[cfg(unix)]
mod secrets;
mod support;
mod swap;
