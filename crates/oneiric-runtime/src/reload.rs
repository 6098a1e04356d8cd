//! Settings that change while the process runs: read, compared, planned, put in force, and back if something fails on
//! the way. `docs/spec/reload.md` has the rules. The model is the reload of vector's topology: a failed change is
//! undone by applying the same difference the other way round.

mod answer;
mod apply;
mod current;
mod diff;
mod foresee;
mod held;
mod keeper;
mod look;
mod observe;
mod plan;
mod say;
mod state;
mod waiting;
#[cfg(feature = "watch")]
mod watch;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use oneiric_core::Coded;
use tokio::{
    sync::{Notify, OwnedMutexGuard},
    time::Instant,
};

pub use self::observe::{ReloadEvent, ReloadObserver};
use self::{
    answer::document,
    apply::Serving,
    keeper::Files,
    plan::Step,
    state::{ReloadState, UNREADABLE},
};
pub(crate) use self::{current::Current, held::Held, keeper::Keeper};
use crate::{
    api::{KeyChange, ReloadDoc, ReloadOutcome, SettingsStateDoc},
    error::RuntimeError,
    runtime::Runtime,
    settings::{Settings, SettingsError, Sources},
};

/// Who asked, where files changed or are tried again.
const FILE: &str = "file";
/// A difference and what is to be done about it.
struct Plan {
    keys: Vec<KeyChange>,
    /// Whether anything differs at all, be it only the order of candidates.
    changes: bool,
    steps: Vec<Step>,
}

/// What a runtime is given for reloads.
#[derive(Default)]
pub(crate) struct Seams {
    /// Where settings come from.
    pub(crate) sources: Option<Sources>,
    pub(crate) observers: Vec<Box<dyn ReloadObserver>>,
    pub(crate) held: Arc<Held>,
}

/// What all reloads of a runtime share.
pub(crate) struct Reloading {
    files: Option<Arc<Files>>,
    pub(crate) held: Arc<Held>,
    /// One after the other.
    turn: Arc<tokio::sync::Mutex<()>>,
    pub(crate) state: ReloadState,
    observers: Vec<Box<dyn ReloadObserver>>,
    answers: Mutex<Answers>,
    /// A reload is over.
    ended: Notify,
}

#[derive(Default)]
struct Answers {
    begun: u64,
    /// The last that read the files, by its number.
    last: Option<(u64, ReloadDoc)>,
}

impl Reloading {
    pub(crate) fn new(seams: Seams, now: SystemTime) -> Self {
        let Seams {
            sources,
            observers,
            held,
        } = seams;
        Self {
            files: sources.map(|sources| Arc::new(Files::new(sources))),
            held,
            turn: Arc::default(),
            state: ReloadState::new(now),
            observers,
            answers: Mutex::default(),
            ended: Notify::new(),
        }
    }

    fn begun(&self) -> u64 {
        self.answers().begun
    }

    fn begin(&self) -> u64 {
        let mut answers = self.answers();
        answers.begun += 1;
        answers.begun
    }

    /// What came of a reload that began after so many others had.
    fn answered_since(&self, asked: u64) -> Option<ReloadDoc> {
        let answers = self.answers();
        let (number, doc) = answers.last.as_ref()?;
        (*number > asked).then(|| doc.clone())
    }

    fn end(&self, number: u64, doc: Option<&ReloadDoc>) {
        self.answers().last = doc.map(|doc| (number, doc.clone()));
        self.ended.notify_one();
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        // No foreign code runs under this lock, so poisoned answers are still sound.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runtime {
    /// Reads the settings again from where they came from and puts in force what changed, or nothing of it. `who` is
    /// written to the log.
    ///
    /// Reloads run one after the other; one that begins after this was asked for is the answer to several. Cancel-safe:
    /// what was begun goes on.
    ///
    /// # Errors
    /// `runtime.settings_not_found`, `runtime.settings_unreadable`, `runtime.settings_invalid`: those in force stay.
    /// `runtime.reload_unavailable` when the runtime was given settings and not where they come from. That settings
    /// were refused or undone is no error but a [document](ReloadDoc) that says so.
    pub async fn reload(&self, who: &str) -> Result<ReloadDoc, RuntimeError> {
        let asked = self.inner.reload.begun();
        let mine = Arc::clone(&self.inner.reload.turn).lock_owned().await;
        if let Some(doc) = self.inner.reload.answered_since(asked) {
            return Ok(doc);
        }
        let runtime = self.clone();
        let who = who.to_owned();
        self.in_turn(mine, async move {
            let number = runtime.inner.reload.begin();
            runtime.tell(&ReloadEvent::Begun { who: &who });
            let result = match runtime.read().await {
                Ok(settings) => runtime.reload_now(settings).await,
                Err(error) => Err(error),
            };
            runtime.inner.reload.end(number, result.as_ref().ok());
            runtime.conclude(&who, &result);
            result
        })
        .await
    }

    /// Puts other settings in force, or nothing of them, as [`Runtime::reload`] does with what it read: for programs
    /// that have their settings from elsewhere.
    ///
    /// # Errors
    /// `runtime.settings_invalid`: a candidate's factory is not there, not allowed, or does not take its settings.
    pub async fn reload_to(
        &self,
        settings: Settings,
        who: &str,
    ) -> Result<ReloadDoc, RuntimeError> {
        let mine = Arc::clone(&self.inner.reload.turn).lock_owned().await;
        let runtime = self.clone();
        let who = who.to_owned();
        self.in_turn(mine, async move {
            runtime.inner.reload.begin();
            runtime.tell(&ReloadEvent::Begun { who: &who });
            let result = runtime.reload_now(settings).await;
            runtime.inner.reload.end(0, None);
            runtime.conclude(&who, &result);
            result
        })
        .await
    }

    /// Says what [`Runtime::reload`] would do now, and does nothing.
    ///
    /// # Errors
    /// As [`Runtime::reload`].
    pub async fn plan_reload(&self) -> Result<ReloadDoc, RuntimeError> {
        let begun = Instant::now();
        let _mine = self.inner.reload.turn.lock().await;
        let mut new = self.read().await?;
        self.check(&mut new)?;
        let old = self.settings();
        let slots = self.slots_of(&new);
        let plan = self.plan_to(&old, &new, &slots);
        let after = look::preview(self.registry(), &new);
        let outcome = if refuses(&plan.keys) {
            ReloadOutcome::Refused
        } else if let Err(failed) = self.must_close_no_ring(&plan.steps, &after) {
            ReloadOutcome::Restored { failed }
        } else if plan.changes {
            ReloadOutcome::Planned
        } else {
            ReloadOutcome::Unchanged
        };
        Ok(document(outcome, plan, begun))
    }

    /// Returns how the settings in force and those in the files stand to each other.
    #[must_use]
    pub fn settings_state(&self) -> SettingsStateDoc {
        let mut doc = self.inner.reload.state.doc();
        doc.held = self.inner.reload.held.docs();
        doc
    }

    /// Runs `work` in a task of its own, so that a caller who goes away leaves nothing half done.
    async fn in_turn<T: Send + 'static>(
        &self,
        mine: OwnedMutexGuard<()>,
        work: impl Future<Output = Result<T, RuntimeError>> + Send + 'static,
    ) -> Result<T, RuntimeError> {
        let task = tokio::spawn(async move {
            let _mine = mine;
            work.await
        });
        task.await.unwrap_or_else(|error| {
            Err(RuntimeError::Internal {
                message: error.to_string(),
            })
        })
    }

    async fn read(&self) -> Result<Settings, RuntimeError> {
        let Some(files) = &self.inner.reload.files else {
            return Err(RuntimeError::NoSources);
        };
        let (files, good) = (Arc::clone(files), self.settings());
        let read = tokio::task::spawn_blocking(move || files.read(&good)).await;
        let read = read.map_err(|error| RuntimeError::Internal {
            message: error.to_string(),
        })?;
        let (mut settings, error) = read.map_err(RuntimeError::Settings)?;
        let Some(error) = error else {
            return Ok(settings);
        };
        let keepers: Vec<&str> = self.inner.secrets.providers().collect();
        let error = error.with_parts(&mut settings, self.lifecycle().factories(), &keepers);
        Err(RuntimeError::Settings(error))
    }

    async fn reload_now(&self, mut settings: Settings) -> Result<ReloadDoc, RuntimeError> {
        let begun = Instant::now();
        self.inner.secrets.doubt_failures();
        self.check(&mut settings)?;
        let new = Arc::new(settings);
        let old = self.settings();
        let keys = diff::keys(&old, &new);
        if refuses(&keys) {
            let plan = Plan {
                keys,
                changes: true,
                steps: Vec::new(),
            };
            return Ok(document(ReloadOutcome::Refused, plan, begun));
        }
        // Nobody else exchanges what is looked at now until this is over: an operator's swap in between would be built
        // with settings that may not stay. One slot after the other in the order of their names; a swap holds only one.
        let mut slots = self.slots_of(&new);
        let mut touched = diff::slots(&old, &new);
        touched.extend(self.inner.reload.held.all().into_keys());
        let mut turns = Vec::new();
        for slot in &touched {
            turns.push(self.inner.revisions.turn(slot).lock_owned().await);
            slots.insert(slot.clone(), self.now(slot));
        }
        let plan = self.plan_to(&old, &new, &slots);
        touched.extend(plan.steps.iter().map(|step| step.slot.clone()));
        let before: Serving = touched
            .iter()
            .map(|slot| (slot.clone(), self.serving(slot)))
            .collect();
        let outcome = if plan.changes {
            self.put_in_place(&old, &new, &plan.steps, &before).await
        } else {
            ReloadOutcome::Unchanged
        };
        if outcome == ReloadOutcome::Applied {
            self.hold_and_release(&old, &plan.steps);
        }
        Ok(document(outcome, plan, begun))
    }

    /// Refuses settings that a runtime could not be built with.
    fn check(&self, settings: &mut Settings) -> Result<(), RuntimeError> {
        let keepers: Vec<&str> = self.inner.secrets.providers().collect();
        settings
            .check_parts(self.lifecycle().factories(), &keepers)
            .map_err(RuntimeError::Settings)?;
        let Some(log) = &self.inner.log else {
            return Ok(());
        };
        log.check(&settings.log).map_err(|message| {
            RuntimeError::Settings(SettingsError::of_key(settings, "log.filter", message))
        })
    }

    /// Writes down what came of a reload, once.
    fn conclude(&self, who: &str, result: &Result<ReloadDoc, RuntimeError>) {
        let now = self.inner.clock.now();
        let state = &self.inner.reload.state;
        let mut is_news = true;
        match result {
            Ok(doc) => {
                let outcome = doc.outcome.name();
                match &doc.error {
                    None => {
                        let changed = doc.outcome == ReloadOutcome::Applied;
                        let recovered = state.good(outcome, changed, now);
                        if changed {
                            let (keys, slots) = (doc.keys.len(), doc.slots.len());
                            tracing::info!(who, keys, slots, "settings reloaded");
                            self.settings().log_warnings(true);
                        } else if recovered {
                            tracing::info!(who, "the settings files say what is in force again");
                        }
                    }
                    Some(error) => {
                        is_news = state.refused(outcome, &error.code, &error.message, now);
                        if is_news {
                            let (code, reason) = (error.code.as_str(), error.message.as_str());
                            tracing::error!(who, code, reason, "settings not reloaded");
                        }
                    }
                }
            }
            Err(error) => {
                let (code, reason) = (error.code(), error.to_string());
                is_news = state.refused(UNREADABLE, code, &reason, now);
                if is_news {
                    tracing::error!(who, code, reason, "settings not reloaded");
                }
            }
        }
        // The same files found wrong again, which nobody asked for, would push everything else out of what is kept.
        if is_news || who != FILE {
            self.say_outcome(who, result);
        }
        let doc = result.as_ref().ok();
        self.tell(&ReloadEvent::Ended {
            who,
            outcome: doc.map(|doc| &doc.outcome),
        });
    }

    fn tell(&self, event: &ReloadEvent<'_>) {
        for observer in &self.inner.reload.observers {
            // Somebody who looks on must not be able to stop a reload half-way.
            if catch_unwind(AssertUnwindSafe(|| observer.on_reload(event))).is_err() {
                tracing::error!("an observer of reloads panicked");
            }
        }
    }
}

fn refuses(keys: &[KeyChange]) -> bool {
    keys.iter().any(|key| !key.reloadable)
}
