//! The layers from outside.

mod gates;
mod mock;
mod readiness;
mod retries;
mod stacks;
