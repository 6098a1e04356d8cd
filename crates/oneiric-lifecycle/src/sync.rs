//! The atomics of this crate's own primitives, exchanged for loom's when they are modelled
//! (`cargo xtask loom`). Not called `loom`, because other crates change themselves under that name.

#[cfg(oneiric_loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
#[cfg(not(oneiric_loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
