//! Selections that are written down with an exchange of instances: before the new ones are published, or, where
//! nothing is exchanged, afterwards.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oneiric_core::{BoxFuture, Coded};
use oneiric_domains::Undone;
use oneiric_lifecycle::StoreError;

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
    written: Arc<Mutex<Option<Vec<RevisionDoc>>>>,
}

impl Note {
    /// A revision with a line for each of `entries`.
    pub(super) fn new(runtime: &Runtime, entries: Vec<Entry>) -> Self {
        Self {
            runtime: runtime.clone(),
            entries,
            written: Arc::default(),
        }
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

    /// The lines of the revision; written now if they were not.
    pub(super) async fn written(&self) -> Result<Vec<RevisionDoc>, RuntimeError> {
        let written = self.held().clone();
        match written {
            Some(lines) => Ok(lines),
            None => self.write().await.map_err(RuntimeError::State),
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
        if let Err(error) = self.runtime.record(entries).await {
            let slots: Vec<&str> = self.entries.iter().map(|one| one.slot.as_str()).collect();
            tracing::error!(
                code = error.code(),
                reason = error.to_string(),
                slot = slots.join(", "),
                "a selection whose swap failed was not taken back"
            );
        }
    }

    async fn write(&self) -> Result<Vec<RevisionDoc>, StoreError> {
        let lines = self.runtime.record(self.entries.clone()).await?;
        *self.held() = Some(lines.clone());
        Ok(lines)
    }

    fn held(&self) -> MutexGuard<'_, Option<Vec<RevisionDoc>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runtime {
    /// Writes a revision down, logs it and tells of it.
    pub(super) async fn record(&self, entries: Vec<Entry>) -> Result<Vec<RevisionDoc>, StoreError> {
        let lines = self.inner.revisions.record_all(entries).await?;
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
