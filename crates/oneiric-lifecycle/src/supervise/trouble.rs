//! What is done about a slot whose instance is unhealthy, or that could not be activated: another instance, and another
//! candidate, as its policy says.

use std::collections::{BTreeMap, BTreeSet};

use oneiric_core::{Provider, Registered};
use tokio::time::Instant;

use super::intensity::Intensity;
use super::step::Stepped;
use super::watch::{Cause, Look, Watch};
use crate::decision::{Because, Decision, DecisionKind};
use crate::error::Failure;
use crate::slot_policy::OnFailure;
use crate::transition::Manner;

/// What was tried in a slot's trouble so far.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// What began it.
    cause: Option<Cause>,
    intensity: Intensity,
    /// No more restarts, and why.
    gave_up: Option<Because>,
    /// Everybody was tried in vain, and that was said.
    none_left: bool,
    /// Who was found bad and is not tried again in this round.
    bad: BTreeSet<Provider>,
    /// How each failed, where that was said: it is not said twice.
    said: BTreeMap<Provider, Failure>,
}

impl Trouble {
    /// The slot is well. Who was found bad is remembered while it is failed over; how often it was restarted, always.
    pub(super) fn is_over(&mut self, altogether: bool) {
        self.cause = None;
        self.gave_up = None;
        self.none_left = false;
        if altogether {
            self.bad.clear();
            self.said.clear();
        }
    }

    /// Whether an instance of `provider` was found bad while others served in its place.
    pub(super) fn is_bad(&self, provider: &Provider) -> bool {
        self.bad.contains(provider)
    }

    /// When something is tried next.
    pub(super) fn next(&self, look: &Look) -> Option<Instant> {
        let now = Instant::now();
        let next = self.intensity.not_before().filter(|next| *next > now);
        next.filter(|_| look.trouble.is_some() && self.what(look.policy.failure.action).is_some())
    }

    /// What is to be tried.
    const fn what(&self, action: OnFailure) -> Option<DecisionKind> {
        match action {
            OnFailure::Report => None,
            OnFailure::Restart if self.gave_up.is_some() => None,
            OnFailure::RestartThenFailOver if self.gave_up.is_some() => {
                Some(DecisionKind::FailOver)
            }
            OnFailure::Restart | OnFailure::RestartThenFailOver => Some(DecisionKind::Restart),
            OnFailure::FailOver => Some(DecisionKind::FailOver),
        }
    }
}

impl Watch {
    /// Tries what is to be tried now; says whether it did anything.
    pub(super) async fn in_trouble(&mut self, look: &Look, cause: &Cause) -> bool {
        let (policy, now) = (&look.policy.failure, Instant::now());
        if self.trouble.cause.is_none() {
            self.trouble.intensity.begin(policy, now);
        }
        // Where nothing serves, whoever was tried last was not the cause.
        if self.trouble.cause.is_none() || cause.instance.is_some() {
            self.trouble.cause = Some(cause.clone());
        }
        let candidate = self.same_candidate(look);
        if candidate.is_some() && self.trouble.gave_up == Some(Because::Withdrawn) {
            self.trouble.gave_up = None;
        }
        let Some(what) = self.trouble.what(policy.action) else {
            return false;
        };
        let cause = self.trouble.cause.clone().unwrap_or_else(|| cause.clone());
        if what == DecisionKind::Restart {
            let because = match candidate {
                None => Some(Because::Withdrawn),
                Some(_) => {
                    self.trouble
                        .intensity
                        .is_spent(policy, now)
                        .then_some(Because::Restarts {
                            restarts: policy.restarts.get(),
                            within: policy.within,
                        })
                }
            };
            if let Some(because) = because {
                self.give_up(&cause, because);
                return true;
            }
        }
        let waits = self.trouble.intensity.not_before();
        if waits.is_some_and(|next| next > now) || self.must_wait(look, what) {
            return false;
        }
        match (what, candidate) {
            (DecisionKind::Restart, Some(candidate)) => {
                self.restart(look, &cause, candidate).await;
            }
            _ => self.fail_over(look, &cause).await,
        }
        true
    }

    fn give_up(&mut self, cause: &Cause, because: Because) {
        self.trouble.gave_up = Some(because.clone());
        // Others need not wait.
        self.trouble.intensity.do_not_wait();
        let decision = Decision::new(DecisionKind::GaveUp, because);
        let decision = decision.about(&cause.provider, cause.instance);
        self.inner.decide(&self.cell, decision);
    }

    /// Another instance of the same candidate.
    async fn restart(&mut self, look: &Look, cause: &Cause, candidate: Registered) {
        let (policy, begun) = (&look.policy.failure, Instant::now());
        let to = candidate.provider().clone();
        let decision = Decision::new(DecisionKind::Restart, cause.because.clone());
        let decision = decision.about(&cause.provider, cause.instance).to(&to);
        let step = self.step(look, candidate, decision.clone(), Manner::Plain);
        let step = step.await;
        if matches!(step, Stepped::Stale) {
            return;
        }
        let intensity = &mut self.trouble.intensity;
        self.shared
            .with_jitter(|jitter| intensity.restart(policy, begun, jitter));
        if let Stepped::Failed(failure) = step {
            self.inner
                .decide(&self.cell, decision.failed(Some(failure)));
        }
    }

    /// The candidate of what serves, as it is registered now; where nothing serves, who ranks best.
    fn same_candidate(&self, look: &Look) -> Option<Registered> {
        match &look.running {
            Some(running) => self.inner.registered_now(&running.candidate),
            None => self.ranked().into_iter().next(),
        }
    }

    /// The next-ranked candidate that works.
    async fn fail_over(&mut self, look: &Look, cause: &Cause) {
        let ranked = self.ranked();
        // Once everybody was tried, everybody is tried again: who was bad then may work now.
        let anew = self.trouble.none_left;
        let manner = if anew { Manner::Quiet } else { Manner::Plain };
        let place = ranked
            .iter()
            .position(|held| *held.provider() == cause.provider);
        let mut tried = Vec::new();
        for (number, candidate) in ranked.into_iter().enumerate() {
            let provider = candidate.provider().clone();
            let is_next = match &look.running {
                Some(_) if anew => provider != cause.provider,
                Some(_) => {
                    place.is_none_or(|place| number > place) && !self.trouble.is_bad(&provider)
                }
                None if anew => true,
                // It may be anybody who was asked for in vain.
                None => provider != cause.provider && !self.trouble.is_bad(&provider),
            };
            if !is_next {
                continue;
            }
            let decision = Decision::new(DecisionKind::FailOver, cause.because.clone());
            let decision = decision
                .about(&cause.provider, cause.instance)
                .to(&provider);
            match self.step(look, candidate, decision.clone(), manner).await {
                Stepped::Published => {
                    self.trouble.bad.insert(cause.provider.clone());
                    // Should that one fail soon as well: no faster each time.
                    self.wait_longer(look);
                    return;
                }
                Stepped::Failed(failure) => {
                    let known = self.trouble.said.insert(provider.clone(), failure.clone());
                    if known.is_none_or(|known| known.code != failure.code) {
                        self.inner
                            .decide(&self.cell, decision.failed(Some(failure)));
                    }
                    self.trouble.bad.insert(provider.clone());
                    tried.push(provider);
                }
                Stepped::Stale => return,
            }
        }
        if !anew {
            self.trouble.none_left = true;
            let because = Because::Tried { providers: tried };
            let decision = Decision::new(DecisionKind::NoneLeft, because);
            let decision = decision.about(&cause.provider, cause.instance);
            self.inner.decide(&self.cell, decision);
        }
        self.trouble.bad.clear();
        self.wait_longer(look);
    }

    fn wait_longer(&mut self, look: &Look) {
        let (policy, now) = (&look.policy.failure, Instant::now());
        let intensity = &mut self.trouble.intensity;
        self.shared
            .with_jitter(|jitter| intensity.wait(policy, now, jitter));
    }
}
