//! What is remembered, where it is kept, and copies of it.

use std::path::Path;

use oneiric_core::Slot;
use oneiric_lifecycle::{HistoryEntry, SlotHistory, StoreError, SwapCounts};

use super::unix_ms;
use crate::{
    api::{
        HistoryDoc, HistoryEntryDoc, PastDecisionDoc, PastFailureDoc, RefusedDoc, SlotHistoryDoc,
        StateDoc, schema, slot,
    },
    error::RuntimeError,
    runtime::Runtime,
    store::Kept,
};

impl Runtime {
    /// Returns what is remembered of one slot or all, of this run of the program and those before it.
    ///
    /// What could not be written yet is in it too. Cancel-safe.
    ///
    /// # Errors
    /// `core.no_candidate` for a slot that nobody knows and of which nothing is remembered; why the store cannot be
    /// read (`sqlite.corrupt` and the like).
    pub async fn history(&self, slot: Option<&Slot>) -> Result<HistoryDoc, RuntimeError> {
        self.inner.history.offered().await;
        let still = self.inner.history.hold_still().await;
        let mut backlog = self.inner.history.backlog();
        let (store, wanted) = (self.stores().status, slot.cloned());
        let mut slots = blocking(move || store.load(wanted.as_ref())).await?;
        drop(still);
        let kept = self.inner.state.kept();
        for known in &mut slots {
            if let Some(waiting) = backlog.slots.remove(&known.slot) {
                join(known, waiting, kept.run());
            }
        }
        for (name, waiting) in backlog.slots {
            if slot.is_none_or(|slot| *slot == name) {
                let mut known = SlotHistory::new(name);
                join(&mut known, waiting, kept.run());
                slots.push(known);
            }
        }
        slots.sort_by(|left, right| left.slot.cmp(&right.slot));
        if let (true, Some(slot)) = (slots.is_empty(), slot) {
            self.must_know(slot)?;
        }
        let is_meant = |other: &Slot| slot.is_none_or(|slot| slot == other);
        let revisions = self.revisions().into_iter();
        Ok(HistoryDoc {
            schema: schema::HISTORY.into(),
            persists: kept.persists(),
            run: kept.run(),
            slots: slots.into_iter().map(slot_history).collect(),
            revisions: revisions.filter(|one| is_meant(&one.slot)).collect(),
        })
    }

    /// Returns where state is kept, what is in it and what waits to be written. Cancel-safe.
    ///
    /// # Errors
    /// Why the database cannot be read.
    #[cfg_attr(
        not(feature = "sqlite"),
        expect(clippy::unused_async, reason = "only a database is waited for")
    )]
    pub async fn state(&self) -> Result<StateDoc, RuntimeError> {
        let kept = self.inner.state.kept();
        let backlog = self.inner.history.backlog();
        let kind = match &kept {
            Kept::Memory => "memory",
            Kept::Own => "own",
            #[cfg(feature = "sqlite")]
            Kept::File(_) => "sqlite",
        };
        let persists = kept.persists();
        let database = match kept {
            #[cfg(feature = "sqlite")]
            Kept::File(db) => Some(blocking(move || Ok(db.summary()?)).await?.into()),
            Kept::Memory | Kept::Own => None,
        };
        Ok(StateDoc {
            schema: schema::STATE.into(),
            persists,
            kind: kind.into(),
            state_dir: self.settings().state_dir.display().to_string(),
            database,
            history_waiting: backlog.entries as u64,
            history_left_out: backlog.left_out,
            refused: backlog.refused.map(|error| RefusedDoc {
                code: oneiric_core::Coded::code(&error).into(),
                message: error.to_string(),
            }),
        })
    }

    /// Copies the state into the new file `to` (mode 0600), while everybody goes on.
    ///
    /// Dropped half-way, it goes on.
    ///
    /// # Errors
    /// `runtime.state_not_kept` when there is no database; `sqlite.exists`, `sqlite.unwritable`, `sqlite.disk_full`.
    pub async fn backup(&self, to: &Path) -> Result<(), RuntimeError> {
        self.inner.history.offered().await;
        match self.inner.state.kept() {
            #[cfg(feature = "sqlite")]
            Kept::File(db) => {
                let to = to.to_owned();
                blocking(move || Ok(db.backup(&to)?)).await
            }
            _ => {
                let _ = to;
                Err(RuntimeError::StateNotKept)
            }
        }
    }
}

#[cfg(feature = "admin")]
impl Runtime {
    /// As [`Runtime::backup`], into a file without a name: whoever goes away meanwhile leaves nothing behind.
    pub(crate) async fn backup_without_name(&self) -> Result<std::fs::File, RuntimeError> {
        self.inner.history.offered().await;
        match self.inner.state.kept() {
            #[cfg(feature = "sqlite")]
            Kept::File(db) => {
                let directory = self.settings().state_dir.clone();
                let copy = move || crate::copies::nameless(&db, &directory);
                let copied = tokio::task::spawn_blocking(copy).await;
                copied.unwrap_or_else(|error| {
                    Err(RuntimeError::Internal {
                        message: error.to_string(),
                    })
                })
            }
            _ => Err(RuntimeError::StateNotKept),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, RuntimeError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(RuntimeError::State),
        Err(error) => Err(RuntimeError::Internal {
            message: error.to_string(),
        }),
    }
}

/// Adds what waits to be written to what was.
fn join(known: &mut SlotHistory, waiting: SlotHistory, run: u64) {
    known.counts += waiting.counts;
    known
        .entries
        .extend(waiting.entries.into_iter().map(|mut entry| {
            entry.run = run;
            entry
        }));
    let too_many = known
        .entries
        .len()
        .saturating_sub(oneiric_lifecycle::HISTORY_KEPT);
    known.entries.drain(..too_many);
}

fn slot_history(history: SlotHistory) -> SlotHistoryDoc {
    SlotHistoryDoc {
        slot: history.slot,
        counts: counts(history.counts),
        entries: history.entries.into_iter().map(entry).collect(),
    }
}

const fn counts(counts: SwapCounts) -> slot::Swaps {
    slot::Swaps {
        activated: counts.activated,
        swapped: counts.swapped,
        forced: counts.forced,
        rolled_back: counts.rolled_back,
        failed: counts.failed,
        retired: counts.retired,
    }
}

fn entry(entry: HistoryEntry) -> HistoryEntryDoc {
    HistoryEntryDoc {
        run: entry.run,
        at_unix_ms: unix_ms(entry.at),
        ended: entry.ended.name().into(),
        provider: entry.provider,
        from: entry.from,
        instance: entry.instance,
        forced: entry.forced,
        failure: entry.failure.map(|failure| PastFailureDoc {
            stage: failure.stage,
            code: failure.code,
            message: failure.message,
        }),
        decision: entry.decision.map(|decision| PastDecisionDoc {
            kind: decision.kind,
            text: decision.text,
        }),
    }
}
