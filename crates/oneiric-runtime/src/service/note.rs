//! Selections that are written down with an exchange of instances: before the new ones are published, or, where
//! nothing is exchanged, afterwards; and back, before an old one serves again because its successor did worse.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use oneiric_core::{BoxFuture, Coded, SelectionLayer, Slot};
use oneiric_domains::Undone;
use oneiric_lifecycle::{Baking, Failure, Outcome};
use tracing::Instrument;

use crate::{
    api::{ProcessEvent, RevisionDoc},
    error::RuntimeError,
    revisions::Entry,
    runtime::Runtime,
};

/// One revision that is to be written.
#[derive(Clone)]
pub(super) struct Note {
    runtime: Runtime,
    entries: Vec<Entry>,
    /// The revision that must be the last one before it.
    base: Option<u64>,
    written: Arc<Mutex<Option<Vec<RevisionDoc>>>>,
    /// What took lines back because their instances did worse.
    back: Arc<Mutex<BTreeMap<Slot, RevisionDoc>>>,
    outdated: Arc<AtomicBool>,
}

impl Note {
    /// A revision with a line for each of `entries`.
    pub(super) fn new(runtime: &Runtime, entries: Vec<Entry>) -> Self {
        Self {
            runtime: runtime.clone(),
            entries,
            base: None,
            written: Arc::default(),
            back: Arc::default(),
            outdated: Arc::default(),
        }
    }

    /// Refuses it where revision `base` is not the last one in the moment of writing.
    pub(super) const fn on(mut self, base: u64) -> Self {
        self.base = Some(base);
        self
    }

    /// Whether it was refused because of that.
    pub(super) fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Acquire)
    }

    /// Has it written as the last step before the publish, without which there is none.
    pub(super) fn hook(
        &self,
    ) -> impl Fn() -> BoxFuture<'static, Result<(), (&'static str, String)>> + Send + Sync + 'static
    {
        let note = self.clone();
        move || {
            let note = note.clone();
            Box::pin(async move {
                match note.write().await {
                    Ok(_lines) => Ok(()),
                    Err(error) => Err((error.code(), error.to_string())),
                }
            })
        }
    }

    /// Has the selection go back with the instance: its line is taken back before the old one serves again, so that a
    /// process that is killed right then does not come up with what did worse.
    pub(super) fn hook_back(
        &self,
    ) -> impl Fn(&Slot, &Failure) -> BoxFuture<'static, ()> + Send + Sync + 'static {
        let note = self.clone();
        move |slot, failure| {
            let (note, slot, failure) = (note.clone(), slot.clone(), failure.clone());
            Box::pin(async move { note.goes_back(&slot, &failure).await })
        }
    }

    /// It is the slot's turn in the lifecycle, so no exchange comes in between; whoever has selected something else
    /// meanwhile is left alone.
    async fn goes_back(&self, slot: &Slot, failure: &Failure) {
        let written = self.held().clone().unwrap_or_default();
        let Some(line) = written.into_iter().find(|line| line.slot == *slot) else {
            return;
        };
        let number = line.revision;
        let reason = format!("revision {number} was swung back: {}", failure.message);
        if let Some(back) = self.undo(&line, reason).await {
            lock(&self.back).insert(slot.clone(), back);
        }
    }

    /// Sees to it that the selection follows the instance if that is on trial and stays although it was to be swung
    /// back: somebody has come to rely on a facet that the old one lacks in the very moment it was written down.
    pub(super) fn follow(&self, baking: Option<&Baking>) {
        let Some(baking) = baking.cloned() else {
            return;
        };
        let note = self.clone();
        let following = async move {
            let report = baking.ended().await;
            // Of what is being shut down the next start makes what was written.
            let stopped = |warning: &Failure| warning.code == "lifecycle.stopped";
            let back = lock(&note.back).remove(&report.slot);
            let Some(back) = back else { return };
            if matches!(report.outcome, Outcome::SwungBack { .. })
                || report.warnings.iter().any(stopped)
            {
                return;
            }
            let _mine = note.runtime.inner.revisions.my_turn(&report.slot).await;
            let number = back.revision;
            let reason = format!("revision {number} was written, and its swing back failed");
            note.undo(&back, reason).await;
        };
        tokio::spawn(following.in_current_span());
    }

    /// Takes a line back, and selects what was selected before it, unless somebody has changed that since.
    async fn undo(&self, line: &RevisionDoc, reason: String) -> Option<RevisionDoc> {
        let (runtime, slot) = (&self.runtime, &line.slot);
        if !runtime.inner.revisions.stands(line) {
            return None;
        }
        let (before, who) = (line.before.clone(), line.who.clone());
        let mut entry = runtime.entry(slot.clone(), before.clone(), who, Some(reason));
        entry.undoes = Some(Undone {
            first: line.revision,
            last: line.revision,
        });
        match runtime.record(vec![entry], None).await {
            Ok(mut lines) => {
                let registry = runtime.registry();
                registry.select(SelectionLayer::Operator, slot, before);
                lines.pop()
            }
            Err(error) => {
                tracing::error!(
                    code = error.code(),
                    reason = error.to_string(),
                    slot = %slot,
                    "a selection that was swung back was not taken back"
                );
                None
            }
        }
    }

    /// The lines of the revision; written now if they were not.
    pub(super) async fn written(&self) -> Result<Vec<RevisionDoc>, RuntimeError> {
        let written = self.held().clone();
        match written {
            Some(lines) => Ok(lines),
            None => self.write().await,
        }
    }

    /// Undoes what was written, if it was, for an exchange that failed all the same.
    pub(super) async fn take_back(&self) {
        let Some(lines) = self.held().clone() else {
            return;
        };
        let back = |(entry, line): (&Entry, RevisionDoc)| {
            let (number, provider) = (line.revision, line.before);
            let reason = format!("revision {number} was written, and its swap failed");
            Entry {
                provider,
                reason: Some(reason),
                undoes: Some(Undone {
                    first: number,
                    last: number,
                }),
                ..entry.clone()
            }
        };
        let entries = self.entries.iter().zip(lines).map(back).collect();
        if let Err(error) = self.runtime.record(entries, None).await {
            let slots: Vec<&str> = self.entries.iter().map(|one| one.slot.as_str()).collect();
            tracing::error!(
                code = error.code(),
                reason = error.to_string(),
                slot = slots.join(", "),
                "a selection whose swap failed was not taken back"
            );
        }
    }

    async fn write(&self) -> Result<Vec<RevisionDoc>, RuntimeError> {
        match self.runtime.record(self.entries.clone(), self.base).await {
            Ok(lines) => {
                *self.held() = Some(lines.clone());
                Ok(lines)
            }
            Err(error) => {
                let outdated = matches!(error, RuntimeError::PlanOutdated { .. });
                self.outdated.store(outdated, Ordering::Release);
                Err(error)
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<Vec<RevisionDoc>>> {
        lock(&self.written)
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Runtime {
    /// Writes a revision down, logs it and tells of it. Refused where `base` is not the last one.
    pub(super) async fn record(
        &self,
        entries: Vec<Entry>,
        base: Option<u64>,
    ) -> Result<Vec<RevisionDoc>, RuntimeError> {
        let written = self.inner.revisions.record_all(entries, base).await;
        let Some(lines) = written.map_err(RuntimeError::State)? else {
            return Err(self.outdated(base.unwrap_or_default()));
        };
        for line in &lines {
            tracing::info!(
                revision = line.revision,
                slot = %line.slot,
                provider = line.provider.as_ref().map_or("-", |provider| provider.as_str()),
                who = line.who,
                reason = line.reason.as_deref().unwrap_or(""),
                "operator selection"
            );
            let said = ProcessEvent::SelectionChanged {
                revision: line.revision,
                to: line.provider.clone(),
                from: line.before.clone(),
                who: line.who.clone(),
                reason: line.reason.clone(),
            };
            self.inner.events.say(Some(&line.slot), said);
        }
        Ok(lines)
    }
}
