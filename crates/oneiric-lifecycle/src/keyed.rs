//! One instance for each key (a tenant, a file, a connection), for components of which one serves one key.
//!
//! Each key has a cell of its own, like a slot: leases are counted, an instance is built once however many wait for it,
//! drained before it is retired, and retired once. The cells are in no map of slots: what there is of them is bounded,
//! the least recently used goes when another is wanted, and what is not used for a time goes by itself. What is built
//! is what serves the slot, or would.
//!
//! Whether an instance is still what its key should have is not noted when something happens but asked when somebody
//! wants it: it is of the candidate that serves, and the slot was not renewed since it began to be built. So nothing
//! can be missed, however many exchanges, new settings and failed builds come in between.

mod build;
mod entries;
mod going;
mod limits;
mod shared;
mod status;

use std::fmt;
use std::sync::Arc;

use oneiric_core::Slot;
use tokio::time::Instant;

use crate::error::LifecycleError;
use crate::lease::Lease;
use crate::lifecycle::Lifecycle;

pub use self::limits::KeyedLimits;
pub(crate) use self::shared::Shared;
pub use self::status::KeyedStatus;

/// The instances of a slot by key. Cheap to clone; all clones have the same instances.
///
/// Instances stay when the last clone goes, until their time is up or the lifecycle is shut down.
#[derive(Clone)]
pub struct Keyed {
    shared: Arc<Shared>,
}

impl Lifecycle {
    /// One instance of what serves `slot` for each key, within `limits`.
    pub fn keyed(&self, slot: &Slot, limits: KeyedLimits) -> Keyed {
        let shared = Arc::new(Shared::new(self.inner(), slot, limits));
        let mut keyed = self.inner().keyed();
        keyed.retain(|keyed| keyed.is_in_use());
        keyed.push(Arc::clone(&shared));
        drop(keyed);
        Keyed { shared }
    }

    /// Says that whatever is built for `slot` from now on is handed other settings than before. Instances by key get
    /// others when they are next asked for, and those that nobody has leased go at once. What serves the slot is left
    /// alone: [`Lifecycle::reconfigure`] gives it the new ones, and does this as well.
    pub fn settings_changed(&self, slot: &Slot) {
        if let Some(cell) = self.inner().existing_cell(slot) {
            cell.renew();
        }
    }

    /// Drains and retires the instances by key of `slot` that nobody would be handed any more, because of an exchange
    /// or new settings, or because nobody provides the slot. Returns when they are gone. Cancel-safe: what was begun
    /// goes on.
    pub async fn retire_outdated(&self, slot: &Slot) {
        let mut going = Vec::new();
        let keyed: Vec<Arc<Shared>> = self.inner().keyed().clone();
        for keyed in keyed.iter().filter(|keyed| keyed.slot() == slot) {
            for entry in keyed.outdated(self.inner()) {
                let inner = Arc::clone(self.inner());
                // Each a task of its own: a caller that goes away leaves no half-retired instance behind.
                going.push(tokio::spawn(async move { entry.in_turn(&inner).await }));
            }
        }
        for going in going {
            // Gone all the same where the async runtime itself goes down.
            drop(going.await);
        }
    }
}

impl Keyed {
    /// Leases the instance for `key`, which is built if there is none, or it is not what it should be any more.
    /// Concurrent calls for one key share one build and its error. Where there are as many as may be, the least
    /// recently used one that nobody has leased makes room; it is retired before the new one is built. Cancel-safe:
    /// what was begun goes on.
    ///
    /// # Errors
    /// `core.no_candidate`, `core.tied`, `lifecycle.stopped`, `lifecycle.busy` when the slot is paused or draining,
    /// `lifecycle.keys_exhausted` when all that there may be are leased, or where and why the build failed.
    pub async fn lease(&self, key: &str) -> Result<Lease, LifecycleError> {
        let shared = &self.shared;
        loop {
            let entry = match shared.current(key)? {
                Some(entry) => entry,
                None => {
                    shared.takes_work()?;
                    let entry = shared.entry(key)?;
                    if !shared.bring_up(&entry).await? {
                        continue;
                    }
                    entry
                }
            };
            match entry.cell.enter() {
                Ok(entrance) => {
                    entry.times().used = Instant::now();
                    return Ok(Lease::new(entrance));
                }
                // It made room for another in this very moment.
                Err(_) if entry.is_gone() => {}
                Err(refusal) => return Err(LifecycleError::refused(&entry.cell, refusal)),
            }
        }
    }

    /// How many keys have an instance, or are going to have one. Those that are being retired do not count.
    pub fn len(&self) -> usize {
        self.shared.entries().live.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys, the most recently used first.
    pub fn keys(&self) -> Vec<String> {
        let entries = self.shared.entries();
        let keys = entries.live.iter().map(|(key, _)| key.to_string());
        keys.collect()
    }

    /// Drains and retires the instance for `key`; `false` when there is none. One that is being retired already is
    /// waited for. Cancel-safe: what was begun goes on.
    pub async fn retire(&self, key: &str) -> bool {
        let Ok(inner) = self.shared.inner() else {
            return false;
        };
        match self.shared.take_out(key) {
            Ok(going) => {
                let retired = tokio::spawn(async move { going.in_turn(&inner).await });
                retired.await.is_ok()
            }
            Err(before) => {
                if let Some(before) = before {
                    before.cancelled().await;
                }
                false
            }
        }
    }
}

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("slot", self.shared.slot())
            .field("limits", self.shared.limits())
            .field("keys", &self.len())
            .finish_non_exhaustive()
    }
}
