//! A slot of a change set whose instance is exchanged, and how far that has come.

use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;
use tokio::task::{JoinHandle, JoinSet};

use super::{SlotChange, SlotOutcome};
use crate::error::Failure;
use crate::inner::Inner;
use crate::preparation::Prepared;
use crate::transition::{InService, Refused, Transition};

pub(super) struct Member {
    pub(super) transition: Arc<Transition>,
    /// Gone when the slot's part in the set is over.
    pub(super) turn: Option<OwnedMutexGuard<()>>,
    pub(super) progress: Progress,
    /// Its new instance serves without the state of the old one: there was no time for that.
    pub(super) goes_without: bool,
    /// A new instance that the slot did not take is being taken down: not waited for while gates are closed.
    going: Option<JoinHandle<()>>,
}

/// How far a member has come.
pub(super) enum Progress {
    ToBuild,
    /// In the hands of a task.
    UnderWay,
    Prepared(Prepared),
    /// Put in service before the others, because somebody needs it.
    Serving(InService),
    Over(SlotChange),
}

impl Member {
    pub(super) fn new(transition: Transition, turn: OwnedMutexGuard<()>) -> Self {
        Self {
            transition: Arc::new(transition),
            turn: Some(turn),
            progress: Progress::ToBuild,
            goes_without: false,
            going: None,
        }
    }

    pub(super) const fn is_to_build(&self) -> bool {
        matches!(self.progress, Progress::ToBuild)
    }

    /// How far it has come, for whoever takes it further.
    pub(super) const fn take(&mut self) -> Progress {
        std::mem::replace(&mut self.progress, Progress::UnderWay)
    }

    /// The new instance, if that is how far it has come.
    pub(super) fn take_prepared(&mut self) -> Option<Prepared> {
        match self.take() {
            Progress::Prepared(prepared) => Some(prepared),
            progress => {
                self.progress = progress;
                None
            }
        }
    }

    pub(super) fn prepared(&mut self, result: Result<Prepared, Failure>) {
        match result {
            Ok(prepared) => self.progress = Progress::Prepared(prepared),
            Err(failure) => self.fail(failure),
        }
    }

    /// It is over for this slot. Those who wait for its turn get it, and the failure.
    pub(super) fn fail(&mut self, failure: Failure) {
        let outcome = SlotOutcome::Failed {
            failure: failure.clone(),
        };
        let _reported_by_us = self.transition.give_up(failure);
        self.progress = Progress::Over(self.transition.report(outcome));
        self.turn = None;
    }

    /// Puts it in service if nothing served here, it is ready and somebody waits for it.
    fn serve_if_awaited(&mut self) {
        let transition = Arc::clone(&self.transition);
        if transition.replaces() || !transition.cell.waiting.is_awaited() {
            return;
        }
        match self.take() {
            Progress::Prepared(prepared) => match transition.publish(prepared) {
                Ok(in_service) => self.progress = Progress::Serving(in_service),
                Err(Refused { running, failure }) => {
                    let turn = self.turn.take();
                    self.fail(failure);
                    self.going = Some(tokio::spawn(async move {
                        transition.discard(&running).await;
                        drop(turn);
                    }));
                }
            },
            progress => self.progress = progress,
        }
    }

    /// Waits until nothing is left of what could not be put in service.
    pub(super) async fn gone(&mut self) {
        if let Some(going) = self.going.take()
            && let Err(error) = going.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }

    pub(super) fn failure(&self) -> Option<&Failure> {
        match &self.progress {
            Progress::Over(change) => change.failure(),
            _ => None,
        }
    }
}

/// What the next of `tasks` gives. Meanwhile members are put in service that somebody waits for.
pub(super) async fn next_of<T: 'static>(
    inner: &Inner,
    members: &mut [Member],
    tasks: &mut JoinSet<T>,
) -> Option<T> {
    // Before looking who is awaited: whoever comes from now on rings.
    let mut waits = inner.bell.subscribe();
    loop {
        for member in members.iter_mut() {
            member.serve_if_awaited();
        }
        tokio::select! {
            biased;
            ended = tasks.join_next() => return match ended? {
                Ok(result) => Some(result),
                // A defect of ours: every call into other people's code catches its own panics.
                Err(join) => match join.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_runtime_goes_down) => None,
                },
            },
            // The sender is in `inner`.
            _rung = waits.changed() => {}
        }
    }
}
