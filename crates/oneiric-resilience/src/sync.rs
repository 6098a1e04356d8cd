//! The atomics and locks of this crate's own primitives, exchanged for loom's when they are modelled
//! (`cargo xtask loom`). Not called `loom`, because other crates change themselves under that name.

use std::sync::PoisonError;

#[cfg(all(test, oneiric_loom))]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(all(test, oneiric_loom))]
pub(crate) use loom::sync::{Mutex, MutexGuard};
#[cfg(not(all(test, oneiric_loom)))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(all(test, oneiric_loom)))]
pub(crate) use std::sync::{Mutex, MutexGuard};

/// Takes the lock. One that a panic left behind is taken all the same: what these locks guard is whole
/// between any two lines that can panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
