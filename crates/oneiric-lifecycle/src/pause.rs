//! Tells the instance that serves whether its slot takes work.
//!
//! The gate of a slot keeps calls away, and that is all that most components need. One that works by
//! itself, a consumer of a queue above all, must be told. A slot's gate is closed first and the
//! instance told then; the other way round the instance is told first, so that no call comes to one
//! that still believes itself paused.
//!
//! An instance is told one thing after the other, in a task of its own. What it is told is what holds
//! when its turn comes: an operator who pauses and resumes quickly leaves it in the last state asked
//! for, and what came in between may never reach it. Who closes or opens a gate and what the task
//! does next are both decided with the rules locked, so that neither can miss the other.

use std::sync::Arc;
use std::time::Duration;

use oneiric_core::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::activity::ActivityScope;
use crate::cell::SlotCell;
use crate::error::{Failure, Stage};
use crate::inner::Inner;
use crate::lifecycle::Lifecycle;
use crate::observe::Happening;
use crate::running::{Entrance, Running};

/// Stops and goes on with what an instance does by itself.
///
/// Each call may block and is given `Limits::hook`. One ends before the next begins; one that is
/// given up and still goes on by the end of the next one's limit keeps that from being made. Both must
/// do nothing the second time: after one that failed the same may be asked again, or the other.
///
/// An instance is told while it serves, and as soon as it does if its slot takes no work then. One
/// that is exchanged while it is paused is retired without being told to go on.
pub trait Pause: Send + Sync {
    /// No new calls come in any more; those that run go on. Called when the slot is paused and when it
    /// is drained, once for both.
    ///
    /// # Errors
    /// A text for the operator. It is told as a warning; the slot is closed all the same.
    fn pause(&self) -> BoxFuture<'_, Result<(), String>>;

    /// Calls come in again as soon as this has ended.
    ///
    /// # Errors
    /// A text for the operator. It is told as a warning; the slot is opened all the same, for nobody
    /// shall be locked out of it by a component that does not answer.
    fn resume(&self) -> BoxFuture<'_, Result<(), String>>;
}

fn _pause_is_dyn_safe(_: &dyn Pause) {}

/// What an instance with the role was told.
pub(crate) struct Pausing {
    role: Arc<dyn Pause>,
    /// Rules are set from any thread, in a runtime or not; this is the one that it was built in.
    runtime: Option<Handle>,
    told: watch::Sender<Told>,
    /// Held by what it is told, until that really ends.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Told {
    /// What it was told last, whatever came of that: that it is paused.
    paused: bool,
    /// Whether somebody looks after it, and will look again before leaving.
    attended: bool,
}

impl Pausing {
    pub(crate) fn new(role: Arc<dyn Pause>) -> Self {
        Self {
            role,
            runtime: Handle::try_current().ok(),
            told: watch::Sender::default(),
            turn: Arc::default(),
        }
    }

    /// Whether it must be told something before calls may come to it. Asked with the rules locked.
    pub(crate) fn is_closed(&self) -> bool {
        let told = *self.told.borrow();
        told.paused || told.attended
    }

    /// Whether whoever asks is the one to look after it.
    fn attend(&self) -> bool {
        self.told.send_if_modified(|told| {
            let free = !told.attended;
            told.attended = true;
            free
        })
    }
}

/// Whoever looks after an instance. Gone before they are done, they leave it to the next one.
struct Attends(Option<Arc<Running>>);

impl Attends {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Attends {
    fn drop(&mut self) {
        let running = self.0.as_ref();
        if let Some(pausing) = running.and_then(|running| running.pausing.as_ref()) {
            pausing.told.send_modify(|told| told.attended = false);
        }
    }
}

impl Lifecycle {
    /// Waits until no instance in `scope` is being told that it is paused or resumed. A slot whose
    /// instance has the role [`Pause`] opens only then.
    ///
    /// Ends after some multiple of `Limits::hook` unless somebody keeps changing their mind.
    /// Cancel-safe.
    pub async fn told(&self, scope: &ActivityScope) {
        for cell in self.inner().cells_in(scope) {
            let serves = cell.published().map(|one| Arc::clone(&one.running));
            if let Some(pausing) = serves.as_ref().and_then(|running| running.pausing.as_ref()) {
                let mut told = pausing.told.subscribe();
                // Fails only when the sender is gone, and it is held here.
                drop(told.wait_for(|told| !told.attended).await);
            }
        }
    }
}

/// What an instance is told next.
struct Next {
    /// To pause; else to go on.
    pause: bool,
    /// Held until it has answered, so that it is not retired meanwhile.
    entrance: Arc<Entrance>,
}

impl Inner {
    /// Has what serves `cell` told what holds for it, if it wants to know and does not yet. To be called
    /// after every change of what that is, with nothing locked.
    pub(crate) fn tell(self: &Arc<Self>, cell: &Arc<SlotCell>) {
        let Some(published) = cell.published() else {
            return;
        };
        let running = Arc::clone(&published.running);
        drop(published);
        let Some(pausing) = &running.pausing else {
            return;
        };
        if !pausing.attend() {
            return;
        }
        let attends = Attends(Some(Arc::clone(&running)));
        let Some(first) = self.next_to_tell(cell, &running, pausing) else {
            attends.done();
            return;
        };
        // The one that it was built in may be gone, and what is spawned there with it.
        let runtime = Handle::try_current()
            .ok()
            .or_else(|| pausing.runtime.clone());
        let Some(runtime) = runtime else {
            return;
        };
        let (inner, cell) = (Arc::clone(self), Arc::clone(cell));
        runtime.spawn(async move {
            inner.attend(&cell, &running, first).await;
            attends.done();
        });
    }

    async fn attend(self: &Arc<Self>, cell: &Arc<SlotCell>, running: &Running, first: Next) {
        let Some(pausing) = &running.pausing else {
            return;
        };
        let mut next = Some(first);
        while let Some(Next { pause, entrance }) = next {
            let told = self.say(pausing, pause).await;
            drop(entrance);
            pausing.told.send_modify(|told| told.paused = pause);
            let (provider, instance) = (running.candidate.provider().clone(), running.number);
            match told {
                Ok(()) if pause => {
                    self.announce_in(cell, Happening::InstancePaused { provider, instance });
                }
                Ok(()) => {
                    self.announce_in(cell, Happening::InstanceResumed { provider, instance });
                }
                Err(failure) => self.warn_of(cell, running, failure),
            }
            next = self.next_to_tell(cell, running, pausing);
        }
    }

    /// What an instance is told next: to pause or to go on. `None` when it knows what holds; its slot
    /// is opened then if it may be.
    fn next_to_tell(
        self: &Arc<Self>,
        cell: &Arc<SlotCell>,
        running: &Running,
        pausing: &Pausing,
    ) -> Option<Next> {
        let rules = self.rules();
        // Entered with the rules locked, as it is exchanged: whoever is told serves, and is there until it has answered.
        let entrance = cell.enter_if_serving(running.number);
        let serves = entrance.is_some();
        let holds = rules.effective(&cell.slot, Some(running.candidate.provider()));
        let pause = !holds.state.is_running();
        let knows = pausing.told.borrow().paused == pause;
        // Not dropped here if it is not wanted: it may be the last, and that is told to others.
        if !knows && let Some(entrance) = entrance {
            return Some(Next { pause, entrance });
        }
        let before = cell.activity();
        let opens = serves && !pause && !before.is_running();
        if opens {
            cell.set_activity(holds);
        }
        pausing.told.send_modify(|told| told.attended = false);
        drop(rules);
        if serves {
            self.announce_if_changed(cell, &before);
        }
        if opens {
            // What was exchanged meanwhile has waited for this.
            self.follow_dependencies(vec![cell.slot.clone()]);
        }
        None
    }

    async fn say(&self, pausing: &Pausing, pause: bool) -> Result<(), Failure> {
        let stage = if pause { Stage::Pause } else { Stage::Resume };
        let limit = self.limits().hook;
        let begun = Instant::now();
        let turn = Arc::clone(&pausing.turn).lock_owned();
        let Ok(turn) = tokio::time::timeout(limit, turn).await else {
            return Err(Failure::new(
                stage,
                "lifecycle.timed_out",
                "it is still at work on what it was told before",
            ));
        };
        let role = Arc::clone(&pausing.role);
        let call = move || async move {
            let told = if pause {
                role.pause().await
            } else {
                role.resume().await
            };
            drop(turn);
            told
        };
        let left = limit
            .saturating_sub(begun.elapsed())
            .max(Duration::from_millis(1));
        match self.steps.hook(left, call).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(message)) => Err(Failure::new(stage, "lifecycle.pause_failed", message)),
            Err(error) => Err(Failure::step(stage, limit, error)),
        }
    }
}
