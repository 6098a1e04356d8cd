//! The layers from outside.

mod gates;
mod mock;
mod policy;
mod readiness;
mod retries;
mod stacks;
