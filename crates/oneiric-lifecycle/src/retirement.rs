//! The clean-up of an instance, which happens once, whoever comes to the end of it first: the transition that exchanged
//! it, the end of its trial, a deactivation, a shutdown, or several of them at one time.

#[cfg(all(test, oneiric_loom))]
mod model;

use std::fmt;
use std::sync::Arc;

use crate::instance::Retire;
use crate::sync::{AtomicBool, Ordering};

/// What is to be done when an instance goes, until somebody takes it upon them.
pub(crate) struct Retirement {
    role: Option<Arc<dyn Retire>>,
    taken: AtomicBool,
}

impl Retirement {
    /// Of an instance that has nothing to clean up, if there is no role.
    pub(crate) fn new(role: Option<Arc<dyn Retire>>) -> Self {
        Self {
            role,
            taken: AtomicBool::new(false),
        }
    }

    /// The clean-up, for the one who asks first; `None` for everybody after.
    pub(crate) fn take(&self) -> Option<Option<Arc<dyn Retire>>> {
        let first = !self.taken.swap(true, Ordering::AcqRel);
        first.then(|| self.role.clone())
    }
}

impl fmt::Debug for Retirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retirement")
            .field("has_role", &self.role.is_some())
            .finish_non_exhaustive()
    }
}
