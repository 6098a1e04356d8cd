//! What is paused and draining, for as long as the process lives.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use oneiric_lifecycle::{Activity, StoreError};

use crate::activity::{ActivityRecord, ActivityStore};

/// An [`ActivityStore`] that lasts as long as the process.
#[derive(Debug, Default)]
pub struct MemoryActivityStore {
    scopes: Mutex<BTreeMap<String, ActivityRecord>>,
}

impl MemoryActivityStore {
    /// One in which everything runs.
    pub fn new() -> Self {
        Self::default()
    }

    fn scopes(&self) -> MutexGuard<'_, BTreeMap<String, ActivityRecord>> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ActivityStore for MemoryActivityStore {
    fn load(&self) -> Result<Vec<ActivityRecord>, StoreError> {
        Ok(self.scopes().values().cloned().collect())
    }

    fn set(&self, record: &ActivityRecord) -> Result<(), StoreError> {
        let mut scopes = self.scopes();
        if record.activity == Activity::Running {
            scopes.remove(&record.scope);
        } else {
            scopes.insert(record.scope.clone(), record.clone());
        }
        Ok(())
    }
}
