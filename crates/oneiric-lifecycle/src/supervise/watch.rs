//! One slot's task: waits until there is something to do, asks what serves for its health, and sees what follows.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use super::better::{Back, Settling};
use super::pace::Pace;
use super::trouble::Trouble;
use crate::activity::Activity;
use crate::cell::SlotCell;
use crate::decision::{Because, Decision, DecisionKind};
use crate::error::LifecycleError;
use crate::inner::Inner;
use crate::judge::Judged;
use crate::ledger::SwungBack;
use crate::running::Running;
use crate::slot_policy::SlotPolicy;
use crate::state::SlotState;

/// A question that is not answered after so long takes no place any more: those that hang keep nobody from being asked.
const SLOW: Duration = Duration::from_secs(1);

/// Looks after one slot.
pub(super) struct Watch {
    pub(super) inner: Arc<Inner>,
    pub(super) cell: Arc<SlotCell>,
    pub(super) shared: Arc<Shared>,
    pace: Pace,
    /// The last policy that was gone by, and how often somebody had laid hands on the slot: a change of either ends
    /// what was under way by itself.
    seen: Option<(SlotPolicy, u64)>,
    pub(super) trouble: Trouble,
    pub(super) back: Back,
    pub(super) settling: Option<Settling>,
    /// The last instance whose trial was seen to end badly, by its number.
    swung_back: Option<u64>,
    /// What waits for the slot to be resumed, as far as that was said.
    held: BTreeSet<DecisionKind>,
}

/// What there is to see of a slot at one moment.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) policy: SlotPolicy,
    pub(super) running: Option<Arc<Running>>,
    pub(super) judged: Judged,
    /// Why it is in trouble, where it is.
    pub(super) trouble: Option<Cause>,
    /// The decision by which a lesser candidate serves, where one does.
    pub(super) failed_over: Option<Decision>,
    /// What serves is on trial.
    pub(super) baking: bool,
    /// What serves took over again from this one.
    swung_back: Option<SwungBack>,
    /// `paused` or `draining`, where it takes no work.
    pub(super) closed: Option<&'static str>,
    pub(super) hands: u64,
}

/// What a slot's trouble is.
#[derive(Debug, Clone)]
pub(super) struct Cause {
    /// Whose instance is bad, or could not be brought into service.
    pub(super) provider: oneiric_core::Provider,
    /// Its number, where there is one.
    pub(super) instance: Option<u64>,
    pub(super) because: Because,
}

impl Look {
    pub(super) fn instance(&self) -> Option<u64> {
        Some(self.running.as_ref()?.number)
    }
}

impl Watch {
    pub(super) fn new(inner: &Arc<Inner>, cell: Arc<SlotCell>, shared: &Arc<Shared>) -> Self {
        Self {
            inner: Arc::clone(inner),
            cell,
            shared: Arc::clone(shared),
            pace: Pace::new(Instant::now()),
            seen: None,
            trouble: Trouble::default(),
            back: Back::default(),
            settling: None,
            swung_back: None,
            held: BTreeSet::new(),
        }
    }

    /// Runs until the slot is shut down. Dropped at any await, it leaves nothing half-done: steps are tasks of their
    /// own, and what it keeps is of no use to anybody else.
    pub(super) async fn run(mut self) {
        let stopping = self.cell.stopping.clone();
        tokio::select! {
            biased;
            () = stopping.cancelled() => {}
            () = self.look_after() => {}
        }
    }

    async fn look_after(&mut self) {
        loop {
            let look = self.look();
            self.adjust(&look);
            // One thing at a time, and a new look after each.
            if self.ask_if_due(&look).await || self.act(&look).await {
                // A slot that always has something to do lets others have their turn, too.
                tokio::task::yield_now().await;
                continue;
            }
            self.wait(&look).await;
        }
    }

    pub(super) fn look(&self) -> Look {
        let policy = self.inner.policy_of(&self.cell.slot);
        let running = self.cell.published();
        let running = running.map(|published| Arc::clone(&published.running));
        let activity = self.cell.activity().activity;
        let baking = self.cell.bake().is_some();
        let now = self.inner.clock.now();
        let ledger = self.cell.ledger();
        // A judgement of another instance says nothing about this one.
        let judge = running
            .as_ref()
            .filter(|running| running.number == ledger.judge.instance())
            .map(|_| &ledger.judge);
        let judged = judge.map_or(Judged::Unknown, |judge| judge.judged());
        let trouble = match (&running, judged) {
            // Whoever is on trial is judged by that, and there is somebody warm to go back to.
            _ if baking => None,
            (Some(running), Judged::Unhealthy) => judge.and_then(|judge| {
                Some(Cause {
                    provider: running.candidate.provider().clone(),
                    instance: Some(running.number),
                    because: judge.because()?,
                })
            }),
            (None, _) if ledger.state == SlotState::Failed => match &ledger.last_failure {
                Some(LifecycleError::ActivationFailed {
                    provider, failure, ..
                }) => Some(Cause {
                    provider: provider.clone(),
                    instance: None,
                    because: Because::Activation {
                        failure: failure.clone(),
                        at: ledger.last_error.as_ref().map_or(now, |last| last.at),
                    },
                }),
                _ => None,
            },
            _ => None,
        };
        Look {
            policy,
            judged,
            baking,
            trouble,
            failed_over: running.as_ref().and(ledger.failed_over.clone()),
            closed: (activity != Activity::Running).then(|| activity.name()),
            hands: ledger.hands,
            swung_back: ledger.swung_back.clone(),
            running,
        }
    }

    /// Takes note of what changed since the last look.
    fn adjust(&mut self, look: &Look) {
        let now = Instant::now();
        let is_news = self.seen.as_ref().is_some_and(|(policy, hands)| {
            let of = |policy: &SlotPolicy| (policy.failure.clone(), policy.rebind.clone());
            *hands != look.hands || of(policy) != of(&look.policy)
        });
        if is_news {
            self.forget();
        }
        self.seen = Some((look.policy.clone(), look.hands));
        if let Some(swung) = &look.swung_back
            && self.swung_back.replace(swung.instance) != Some(swung.instance)
        {
            self.settling = Some(Settling::in_vain(swung.candidate.clone()));
            self.back.was_in_vain(swung.candidate.provider(), now);
        }
        if look.trouble.is_none() {
            self.trouble.is_over(look.failed_over.is_none());
        }
        if look.closed.is_none() {
            if self.held.contains(&DecisionKind::FailBack) {
                self.back.at_once();
            }
            self.held.clear();
        }
        if let Some(running) = &look.running {
            let chance = self.shared.chance();
            self.pace
                .adjust(running.number, &look.policy.health, now, chance);
        }
    }

    /// Somebody swapped, reloaded or changed the policy: what was tried before counts no more.
    fn forget(&mut self) {
        self.trouble = Trouble::default();
        self.back = Back::default();
        self.settling = None;
        self.held.clear();
    }

    /// Asks what serves if it is time to; says whether it did.
    async fn ask_if_due(&mut self, look: &Look) -> bool {
        let Some(running) = &look.running else {
            return false;
        };
        if running.probe.is_none() || !self.pace.is_due(Instant::now()) {
            return false;
        }
        let heard = {
            let most = || self.inner.probes_at_once.load(Ordering::Relaxed);
            let place = self.shared.places.take(most).await;
            let mut asked = pin!(self.inner.ask_serving(&self.cell));
            match tokio::time::timeout(SLOW, &mut asked).await {
                Ok(heard) => heard,
                Err(_elapsed) => {
                    drop(place);
                    asked.await
                }
            }
        };
        let policy = &look.policy.health;
        if let Some((_, Some(heard))) = heard
            && heard.instance == running.number
        {
            let (now, chance) = (Instant::now(), self.shared.chance());
            self.pace
                .answered(heard.counts, heard.judged, policy, now, chance);
        }
        true
    }

    /// Does what the slot needs, if anything; says whether it did something.
    async fn act(&mut self, look: &Look) -> bool {
        if look.baking {
            return false;
        }
        if let Some(cause) = &look.trouble
            && self.in_trouble(look, cause).await
        {
            return true;
        }
        if look.failed_over.is_none() {
            self.back.rest();
        } else if self.fail_back(look).await {
            return true;
        }
        look.trouble.is_none() && self.rebind(look).await
    }

    /// Says once that a step waits until the slot takes work again; whether it has to.
    pub(super) fn must_wait(&mut self, look: &Look, waits: DecisionKind) -> bool {
        let Some(activity) = look.closed else {
            return false;
        };
        if self.held.insert(waits) {
            let because = Because::Activity { activity, waits };
            let mut decision = Decision::new(DecisionKind::Held, because);
            if let Some(running) = &look.running {
                decision = decision.about(running.candidate.provider(), Some(running.number));
            } else if let Some(cause) = &look.trouble {
                decision = decision.about(&cause.provider, None);
            }
            self.inner.decide(&self.cell, decision);
        }
        true
    }

    /// Waits until there may be something to do.
    async fn wait(&mut self, look: &Look) {
        let now = Instant::now();
        let probed = look.running.as_ref().filter(|one| one.probe.is_some());
        let heeds = probed.and_then(|_| self.pace.heeds_calls(look.judged));
        let closed = look.closed.is_some();
        let wakes = [
            probed.and_then(|_| self.pace.wakes()),
            heeds.filter(|heeds| *heeds > now),
            self.trouble.next(look).filter(|_| !closed),
            self.settling
                .as_ref()
                .and_then(Settling::next)
                .filter(|_| !closed),
            // Whatever is overdue was looked at just now.
            self.back.next().filter(|next| *next > now),
        ];
        let wake = wakes.into_iter().flatten().min();
        let heeds = heeds.is_some_and(|heeds| heeds <= now);
        let failed = tokio::select! {
            () = self.cell.news.notified() => false,
            () = call_failed(probed), if heeds => true,
            () = until(wake) => false,
        };
        if failed {
            self.pace.call_failed(Instant::now());
        }
    }
}

/// Returns when a call on `running` has failed since this was awaited last.
async fn call_failed(running: Option<&Arc<Running>>) {
    match running {
        Some(running) => running.failed_calls.monitor.notified().await,
        None => std::future::pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
