//! Facets, proxies and bridges, seen from outside.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic"
)]

mod bridge;
mod cache;
mod cancel_points;
mod clock;
mod live;
mod support;
