//! Going over to a better candidate although nothing failed: back to the one that failed before, once it has been
//! healthy long enough, and, where the policy is greedy, to whoever ranks best.

use std::time::Duration;

use oneiric_core::{Provider, Query, Registered};
use tokio::time::Instant;

use super::step::Stepped;
use super::watch::{Look, Watch};
use crate::decision::{Because, Decision, DecisionKind};
use crate::slot_policy::Rebind;
use crate::transition::{Manner, Transition, same_component};

/// How often a better candidate is tried where the slot itself is asked at no interval.
const TRIED_EVERY: Duration = Duration::from_secs(10);

/// The hold time is doubled no more often than this: up to 64 times as long.
const DOUBLED_AT_MOST: u32 = 6;

/// What is known of the better candidates of a slot that failed over.
#[derive(Debug, Default)]
pub(super) struct Back {
    /// When they are tried next; `None` where the slot is not failed over.
    next: Option<Instant>,
    /// Who was found healthy, each time since.
    healthy: Option<(Provider, Instant)>,
    /// How often the hold time is doubled.
    doubled: u32,
    /// To whom it failed back last, when, and how long that had been held off.
    last: Option<(Provider, Instant, Duration)>,
}

impl Back {
    pub(super) const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Tries without waiting for the interval.
    pub(super) fn at_once(&mut self) {
        if self.next.is_some() {
            self.next = Some(Instant::now());
        }
    }

    /// The slot is not failed over, or does not fail back by itself.
    pub(super) fn rest(&mut self) {
        self.next = None;
        self.healthy = None;
    }

    /// The slot failed over. If that was soon after it had failed back, the next time takes twice as long.
    fn begin(&mut self, now: Instant) {
        self.healthy = None;
        if let Some((_, at, hold)) = &self.last {
            self.doubled = if now.saturating_duration_since(*at) < *hold {
                (self.doubled + 1).min(DOUBLED_AT_MOST)
            } else {
                0
            };
        }
    }

    /// The instance of `provider` did worse on trial. If it was failed back to, it was as good as not: however long the
    /// trial, the next time takes longer.
    pub(super) fn was_in_vain(&mut self, provider: &Provider, now: Instant) {
        if let Some((to, at, _)) = &mut self.last
            && to == provider
        {
            *at = now;
        }
    }

    /// How long the better candidate has to be healthy now.
    fn hold(&self, after: Duration) -> Duration {
        after.saturating_mul(2_u32.saturating_pow(self.doubled))
    }
}

/// Somebody else than the one who serves ranks best.
#[derive(Debug)]
pub(super) struct Settling {
    winner: Registered,
    /// When it takes over, if it still ranks best then.
    at: Instant,
    /// It was tried and failed; not again until something changes.
    failed: bool,
}

impl Settling {
    /// `winner` was tried already.
    pub(super) fn in_vain(winner: Registered) -> Self {
        Self {
            winner,
            at: Instant::now(),
            failed: true,
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        let now = Instant::now();
        (!self.failed && self.at > now).then_some(self.at)
    }
}

impl Watch {
    /// Tries the better candidates if it is time to, and goes back to one that has been healthy long enough; says
    /// whether it did anything.
    pub(super) async fn fail_back(&mut self, look: &Look) -> bool {
        let (Some(after), Some(running)) = (look.policy.failure.fail_back_after, &look.running)
        else {
            self.back.rest();
            return false;
        };
        let serving = running.candidate.provider();
        let ranked = self.ranked().into_iter();
        let better: Vec<_> = ranked.take_while(|one| one.provider() != serving).collect();
        if better.is_empty() {
            // Whoever took over ranks best by now.
            self.cell.ledger().failed_over = None;
            self.back.rest();
            return false;
        }
        let (now, interval) = (Instant::now(), self.interval(look));
        match self.back.next {
            None => {
                self.back.begin(now);
                self.back.next = now.checked_add(interval);
                return false;
            }
            Some(next) if next > now => return false,
            Some(_) => {}
        }
        let hold = self.back.hold(after);
        let found = self.healthy_one(better).await;
        let now = Instant::now();
        let mut next = now.checked_add(interval);
        if let Some((candidate, since)) = found {
            let over = since.checked_add(hold);
            if over.is_none_or(|over| over > now) {
                // Asked once more in the moment in which its time is up.
                next = next.min(over).or(next);
            } else if !self.must_wait(look, DecisionKind::FailBack) {
                next = self.go_back(look, candidate, hold).await.and(next);
            }
        }
        self.back.next = next;
        true
    }

    /// The better candidate that is healthy now, and since when. The one that was found last is asked first, so that
    /// its time can come.
    async fn healthy_one(&mut self, better: Vec<Registered>) -> Option<(Registered, Instant)> {
        if let Some((provider, since)) = self.back.healthy.take() {
            let same = better.iter().find(|one| *one.provider() == provider);
            if let Some(candidate) = same {
                if !self.works(candidate).await {
                    return None;
                }
                self.back.healthy = Some((provider, since));
                return Some((candidate.clone(), since));
            }
        }
        for candidate in better {
            if self.works(&candidate).await {
                let since = Instant::now();
                self.back.healthy = Some((candidate.provider().clone(), since));
                return Some((candidate, since));
            }
        }
        None
    }

    /// Goes back; `None` if it did and there is nothing left to try.
    async fn go_back(&mut self, look: &Look, candidate: Registered, hold: Duration) -> Option<()> {
        self.back.healthy = None;
        let to = candidate.provider().clone();
        let mut decision = Decision::new(DecisionKind::FailBack, Because::Healthy { time: hold });
        if let Some(running) = &look.running {
            decision = decision.about(running.candidate.provider(), Some(running.number));
        }
        let decision = decision.to(&to);
        let step = self.step(look, candidate, decision.clone(), Manner::Plain);
        match step.await {
            Stepped::Published => {
                self.back.last = Some((to, Instant::now(), hold));
                None
            }
            Stepped::Failed(failure) => {
                self.inner
                    .decide(&self.cell, decision.failed(Some(failure)));
                Some(())
            }
            Stepped::Stale => Some(()),
        }
    }

    /// Whether an instance of `candidate` can be built and is healthy. It is taken down again.
    async fn works(&self, candidate: &Registered) -> bool {
        let (inner, cell) = (self.inner.clone(), self.cell.clone());
        // A task of its own: what it builds is taken down whoever goes away.
        let trial = tokio::spawn(Transition::works(inner, cell, candidate.clone()));
        trial.await.unwrap_or(false)
    }

    /// How long from one try to the next.
    fn interval(&self, look: &Look) -> Duration {
        let interval = look.policy.health.interval;
        let interval = if interval.is_zero() {
            TRIED_EVERY
        } else {
            interval
        };
        let spread = f64::from(look.policy.health.jitter_percent.min(100)) / 100.0;
        let most = Duration::from_secs(86_400);
        let factor = spread.mul_add(2.0 * self.shared.chance() - 1.0, 1.0);
        interval.min(most).mul_f64(factor.max(0.0))
    }

    /// Goes over to who ranks best, where the policy is greedy; says whether it did anything.
    pub(super) async fn rebind(&mut self, look: &Look) -> bool {
        let Some((running, winner)) = look.running.as_ref().zip(self.wanted(look)) else {
            self.settling = None;
            return false;
        };
        let now = Instant::now();
        let settle = look.policy.rebind.settle;
        let settling = match &mut self.settling {
            Some(settling) if same_component(&settling.winner, &winner) => settling,
            other => other.insert(Settling {
                winner: winner.clone(),
                at: now + settle.min(Duration::from_secs(86_400)),
                failed: false,
            }),
        };
        if settling.failed || settling.at > now || self.must_wait(look, DecisionKind::Rebind) {
            return false;
        }
        let because = Because::Settled { time: settle };
        let decision = Decision::new(DecisionKind::Rebind, because)
            .about(running.candidate.provider(), Some(running.number))
            .to(winner.provider());
        let step = self.step(look, winner, decision.clone(), Manner::Plain);
        match step.await {
            Stepped::Published => self.settling = None,
            Stepped::Failed(failure) => {
                if let Some(settling) = &mut self.settling {
                    settling.failed = true;
                }
                self.inner
                    .decide(&self.cell, decision.failed(Some(failure)));
            }
            Stepped::Stale => {}
        }
        true
    }

    /// Who ranks best, where a greedy slot should go over to them.
    fn wanted(&self, look: &Look) -> Option<Registered> {
        if look.policy.rebind.when != Rebind::Greedy {
            return None;
        }
        let running = look.running.as_ref()?;
        let query = Query::new(self.cell.slot.clone());
        let winner = self.inner.registry.resolve(&query).ok()?;
        // Whether one that failed may serve again is a question of failing back.
        let from = look.failed_over.as_ref().and_then(|one| one.from.as_ref());
        let failed = from == Some(winner.provider()) || self.trouble.is_bad(winner.provider());
        let is_wanted = !same_component(&running.candidate, &winner) && !failed;
        is_wanted.then_some(winner)
    }
}
