//! The layers from outside.

mod gates;
mod mock;
mod policy;
mod readiness;
mod rejected;
mod retries;
mod stacks;
mod turns;
