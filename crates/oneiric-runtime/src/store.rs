//! What keeps the state of a runtime: the stores, and how they come into force.
//!
//! Until it runs, a runtime keeps everything in memory. When it begins to run, and its state directory is its own, the
//! stores are opened, and what they know is in force before the first component is activated: a process that is
//! started again serves what its operator chose, and refuses what its operator paused.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use oneiric_core::{SelectionLayer, WallClock};
use oneiric_domains::{
    ActivityRecord, ActivityStore, KeyValueStore, MemoryActivityStore, MemoryKeyValueStore,
    MemorySelectionStore, SelectionBook, SelectionStore,
};
use oneiric_lifecycle::{MemoryStatusStore, StatusStore, StoreError};

use crate::{activity, error::RuntimeError, offload::blocking, runtime::Runtime};

/// For the last of the state to be written: far longer than that takes on a disk that answers.
const CLOSING: Duration = Duration::from_secs(5);

/// The stores of a runtime. For ones of your own see [`RuntimeBuilder::stores`](crate::RuntimeBuilder::stores).
#[derive(Clone)]
pub struct Stores {
    /// The operator's selections.
    pub selections: Arc<dyn SelectionStore>,
    /// What is paused and draining.
    pub activity: Arc<dyn ActivityStore>,
    /// How transitions ended.
    pub status: Arc<dyn StatusStore>,
    /// Values by key.
    pub key_value: Arc<dyn KeyValueStore>,
}

impl Stores {
    /// Stores that last as long as the process.
    #[must_use]
    pub fn in_memory(clock: Arc<dyn WallClock>) -> Self {
        Self {
            selections: Arc::new(MemorySelectionStore::new()),
            activity: Arc::new(MemoryActivityStore::new()),
            status: Arc::new(MemoryStatusStore::new()),
            key_value: Arc::new(MemoryKeyValueStore::new(clock)),
        }
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").finish_non_exhaustive()
    }
}

/// Where a runtime's state is kept.
#[derive(Debug, Clone)]
pub(crate) enum Kept {
    /// In memory.
    Memory,
    /// In stores of the program's own.
    Own,
    /// In the state directory.
    #[cfg(feature = "sqlite")]
    File(oneiric_sqlite::StateDb),
}

impl Kept {
    /// Whether it is there after a restart. Of the program's own stores nothing is known; they are taken at their word.
    pub(crate) const fn persists(&self) -> bool {
        !matches!(self, Self::Memory)
    }

    /// Which run of the program this is; 0 where nobody counts.
    #[cfg_attr(
        not(feature = "sqlite"),
        expect(clippy::unused_self, reason = "only a file counts")
    )]
    pub(crate) const fn run(&self) -> u64 {
        #[cfg(feature = "sqlite")]
        if let Self::File(db) = self {
            return db.run();
        }
        0
    }
}

/// The stores in force, and those that are to be opened.
#[derive(Debug)]
pub(crate) struct State {
    held: RwLock<(Stores, Kept)>,
    own: Option<Stores>,
}

/// Everything that stores know when they are opened.
struct Opened {
    stores: Stores,
    kept: Kept,
    book: SelectionBook,
    activity: Vec<ActivityRecord>,
}

impl State {
    /// In memory until it is opened; then in `own`, or in the state directory.
    pub(crate) fn new(own: Option<Stores>, clock: &Arc<dyn WallClock>) -> Self {
        let memory = Stores::in_memory(Arc::clone(clock));
        Self {
            held: RwLock::new((memory, Kept::Memory)),
            own,
        }
    }

    pub(crate) fn stores(&self) -> Stores {
        self.held().0.clone()
    }

    pub(crate) fn kept(&self) -> Kept {
        self.held().1.clone()
    }

    fn held(&self) -> RwLockReadGuard<'_, (Stores, Kept)> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, stores: Stores, kept: Kept) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = (stores, kept);
    }

    /// Opens the stores and reads them. Blocks.
    fn open(
        &self,
        state_dir: &std::path::Path,
        clock: Arc<dyn WallClock>,
    ) -> Result<Opened, StoreError> {
        let (stores, kept) = match &self.own {
            Some(own) => (own.clone(), Kept::Own),
            None => self.open_directory(state_dir, clock)?,
        };
        Ok(Opened {
            book: stores.selections.load()?,
            activity: stores.activity.load()?,
            stores,
            kept,
        })
    }

    #[cfg(feature = "sqlite")]
    #[expect(
        clippy::unused_self,
        reason = "without the feature it gives what is held"
    )]
    fn open_directory(
        &self,
        state_dir: &std::path::Path,
        clock: Arc<dyn WallClock>,
    ) -> Result<(Stores, Kept), StoreError> {
        use oneiric_sqlite::{FILE_NAME, StateDb};

        #[cfg(feature = "admin")]
        crate::copies::sweep(state_dir);
        let db = StateDb::open(&state_dir.join(FILE_NAME), clock)?;
        let stores = Stores {
            selections: Arc::new(db.clone()),
            activity: Arc::new(db.clone()),
            status: Arc::new(db.clone()),
            key_value: Arc::new(db.clone()),
        };
        Ok((stores, Kept::File(db)))
    }

    #[cfg(not(feature = "sqlite"))]
    #[expect(
        clippy::unnecessary_wraps,
        reason = "the same signature as with the feature"
    )]
    fn open_directory(
        &self,
        _: &std::path::Path,
        _: Arc<dyn WallClock>,
    ) -> Result<(Stores, Kept), StoreError> {
        Ok((self.stores(), Kept::Memory))
    }
}

impl Runtime {
    /// Returns the stores in force: those of the state directory while it runs, in memory before.
    #[must_use]
    pub fn stores(&self) -> Stores {
        self.inner.state.stores()
    }

    /// Opens the stores and puts what they know in force. The state directory is this process' own by now.
    ///
    /// What was changed before, in memory, is written to them; whoever changes something now waits until it can be.
    /// If anything fails, the file is closed and everything goes on in memory.
    pub(crate) async fn open_state(&self) -> Result<(), RuntimeError> {
        let (runtime, state_dir) = (self.clone(), self.settings().state_dir.clone());
        let clock = Arc::clone(&self.inner.clock);
        let opened = blocking(move || runtime.inner.state.open(&state_dir, clock)).await;
        let opened = opened.map_err(RuntimeError::State)?;
        let kept = opened.kept.clone();
        let in_force = self.put_in_force(opened).await;
        if in_force.is_err() {
            close(kept).await;
        }
        in_force
    }

    async fn put_in_force(&self, opened: Opened) -> Result<(), RuntimeError> {
        let Opened {
            stores,
            kept,
            book,
            activity,
        } = opened;
        tracing::debug!(
            persists = kept.persists(),
            run = kept.run(),
            selections = book.in_force.len(),
            paused = activity.len(),
            "state opened"
        );
        let activity = activity::Kept::read(activity, self.inner.clock.now())?;
        let _selections = self.inner.revisions.hold_still().await;
        let _activity = self.inner.activity.hold_still().await;
        self.adopt_activity(&stores.activity).await?;
        self.inner
            .revisions
            .adopt(Arc::clone(&stores.selections), book)
            .await
            .map_err(RuntimeError::State)?;
        let in_force = self.inner.revisions.in_force().into_iter();
        let in_force = in_force.filter_map(|one| Some((one.slot, one.provider?)));
        self.registry()
            .set_selections(SelectionLayer::Operator, in_force);
        self.inner.history.begin(Arc::clone(&stores.status));
        self.inner.state.hold(stores, kept);
        self.restore_activity(activity).await;
        Ok(())
    }

    /// Writes what is still to be written, and closes the file. A disk that does not answer keeps no process from
    /// ending.
    pub(crate) async fn close_state(&self) {
        let closing = async {
            self.inner.activity.settled().await;
            self.inner.history.end().await;
            close(self.inner.state.kept()).await;
        };
        if tokio::time::timeout(CLOSING, closing).await.is_err() {
            tracing::error!(
                "the state was not closed in time; history that was not written yet is lost"
            );
        }
    }
}

#[cfg_attr(
    not(feature = "sqlite"),
    expect(clippy::unused_async, reason = "only a file is closed")
)]
async fn close(kept: Kept) {
    match kept {
        #[cfg(feature = "sqlite")]
        Kept::File(db) => {
            let closed: Result<(), RuntimeError> = blocking(move || {
                db.close();
                Ok(())
            })
            .await;
            if let Err(error) = closed {
                tracing::error!(reason = error.to_string(), "the state was not closed");
            }
        }
        Kept::Memory | Kept::Own => {}
    }
}
