//! What an instance goes through besides being called: it is asked for its health, drained and retired.
//! Each says to observers what it did.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use oneiric_core::{Provider, Slot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cell::SlotCell;
use crate::decision::{Because, Decision, DecisionKind};
use crate::error::{Failure, Stage};
use crate::health::Health;
use crate::inner::Inner;
use crate::judge::{Counts, Judge, Judged};
use crate::observe::{Happening, SwapEvent};
use crate::running::Running;
use crate::status::HealthReport;
use crate::step::{StepError, StepKind};
use crate::work::Held;

/// Between two words about how a drain goes.
const PROGRESS: Duration = Duration::from_secs(1);

impl Inner {
    /// Asks an instance how it is; `None` when it has no probe.
    pub(crate) async fn ask(&self, running: &Arc<Running>) -> Option<HealthReport> {
        let probe = Arc::clone(running.probe.as_ref()?);
        let limit = self.limits().probe;
        let begun = Instant::now();
        let turn = Arc::clone(&running.probe_turn).lock_owned();
        let health = match tokio::time::timeout(limit, turn).await {
            Ok(turn) => {
                let (of_provider, _waits) = running.hung.watch();
                let (of_instance, _asks) = running.hung_probe.watch();
                let question = move || async move {
                    let health = probe.probe().await;
                    drop((turn, of_provider, of_instance));
                    health
                };
                // Whoever goes away while it answers leaves no thread behind that waits for it.
                let abandon = CancellationToken::new();
                let _gone = abandon.clone().drop_guard();
                let asked = self
                    .steps
                    .run(StepKind::Probe, limit, abandon, question, |_| async {})
                    .await;
                asked.unwrap_or_else(|error| {
                    // It was not asked, and nothing can be held against it.
                    let not_begun = matches!(error, StepError::NotBegun(_));
                    let why = Failure::step(Stage::Probe, limit, error).message;
                    match not_begun {
                        true => Health::not_asked(why),
                        false => Health::probe_error(why),
                    }
                })
            }
            Err(_elapsed) if running.hung_probe.count() > 0 => {
                Health::probe_error("an earlier probe has not answered yet")
            }
            // It may not even have begun, and has time left if it has.
            Err(_elapsed) => Health::not_asked("somebody else asks, and has no answer yet"),
        };
        let health = self.redact.health(health);
        let provider = running.candidate.provider().clone();
        self.announce_of(
            running,
            Happening::Probed {
                provider: provider.clone(),
                instance: running.number,
                health: health.clone(),
            },
        );
        Some(HealthReport {
            slot: running.candidate.slot().clone(),
            provider,
            instance: running.number,
            health: Some(health),
            took: begun.elapsed(),
            at: self.clock.now(),
        })
    }

    /// Asks what serves a slot how it is, and takes its answer into account; `None` when nothing serves. An instance
    /// without a probe is not asked, and nothing follows from that.
    pub(crate) async fn ask_serving(
        &self,
        cell: &SlotCell,
    ) -> Option<(HealthReport, Option<Heard>)> {
        let published = cell.published()?;
        let running = Arc::clone(&published.running);
        // Counted like a call, so that the instance is not retired while it answers.
        let entrance = published.enter(0);
        drop(published);
        let report = self.ask(&running).await;
        drop(entrance);
        Some(match report {
            Some(report) => {
                let heard = self.hear(cell, &report);
                (report, heard)
            }
            None => {
                let report = HealthReport {
                    slot: cell.slot.clone(),
                    provider: running.candidate.provider().clone(),
                    instance: running.number,
                    health: None,
                    took: Duration::ZERO,
                    at: self.clock.now(),
                };
                (report, None)
            }
        })
    }

    /// Takes the answer of what serves into account; `None` when it does not serve any more.
    fn hear(&self, cell: &SlotCell, report: &HealthReport) -> Option<Heard> {
        let health = report.health.as_ref()?;
        let policy = self.policy_of(&cell.slot).health;
        let mut ledger = cell.ledger();
        let serves = cell.published()?.running.number;
        if serves != report.instance {
            return None;
        }
        if !matches!(health, Health::NotAsked(_)) {
            ledger.health = Some(report.clone());
        }
        if ledger.judge.instance() != serves {
            ledger.judge = Judge::of(serves);
        }
        let before = ledger.judge.judged();
        let counts = ledger
            .judge
            .hear(health, &policy, Instant::now(), report.at);
        let judgement = ledger.judge.judgement();
        let because = match (before, judgement.judged) {
            (Judged::Unhealthy, Judged::Healthy) => Some(Because::Recovered {
                good: judgement.good,
            }),
            (before, Judged::Unhealthy) if before != Judged::Unhealthy => ledger.judge.because(),
            _ => None,
        };
        drop(ledger);
        if let Some(because) = because {
            let kind = match judgement.judged {
                Judged::Unhealthy => DecisionKind::Unhealthy,
                _ => DecisionKind::Healthy,
            };
            let decision = Decision::new(kind, because);
            self.decide(cell, decision.about(&report.provider, Some(serves)));
        }
        cell.news.notify_one();
        Some(Heard {
            instance: serves,
            counts,
            judged: judgement.judged,
        })
    }

    /// Waits until no lease on an instance that was unpublished is out, for at most `limit`. What the slot pointed at
    /// is let go of before: it counts as a lease. Says once a second how that goes.
    pub(crate) async fn drain(
        &self,
        cell: &SlotCell,
        running: &Running,
        limit: Duration,
    ) -> Option<Failure> {
        self.drain_until(cell, running, limit, std::future::pending())
            .await
    }

    /// As [`Inner::drain`], for at most `limit` and no longer than until `enough`.
    pub(crate) async fn drain_until(
        &self,
        cell: &SlotCell,
        running: &Running,
        limit: Duration,
        enough: impl Future<Output = ()>,
    ) -> Option<Failure> {
        // More than one if its slot was drained before.
        let terms = cell.ledger().closed_terms(running.number);
        let over = async {
            for term in terms {
                term.over().await;
            }
        };
        let (begun, mut told) = (Instant::now(), false);
        let (mut over, mut enough) = (pin!(over), pin!(enough));
        loop {
            let left = limit.saturating_sub(begun.elapsed());
            // The last word is how it ended: nobody has to hear right before that that it will.
            let wait = if left < PROGRESS + PROGRESS / 4 {
                left
            } else {
                PROGRESS
            };
            tokio::select! {
                biased;
                () = &mut over => break,
                () = &mut enough => return self.abandon(cell, running),
                () = tokio::time::sleep(wait) => {}
            }
            let left = limit.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return self.abandon(cell, running);
            }
            self.announce_draining(cell, running, left);
            told = true;
        }
        running.revoke();
        if told {
            self.announce_draining(cell, running, limit.saturating_sub(begun.elapsed()));
        }
        cell.ledger().drained(running.number);
        None
    }

    fn announce_draining(&self, cell: &SlotCell, running: &Running, left: Duration) {
        let held = cell.ledger().held_by(running.number);
        let held = self.redact.held(held);
        self.announce_of(
            running,
            Happening::Draining {
                provider: running.candidate.provider().clone(),
                instance: running.number,
                held,
                left,
            },
        );
    }

    /// Waits no longer for the work of an instance that nobody enters any more; says what of it was still running.
    pub(crate) fn abandon(&self, cell: &SlotCell, running: &Running) -> Option<Failure> {
        let mut ledger = cell.ledger();
        // Before those who hold leases are told: some give them back at once.
        let held = ledger.held_by(running.number);
        ledger.drained(running.number);
        drop(ledger);
        let held = self.redact.held(held);
        running.revoke();
        // The last came back in this very moment.
        if held.in_flight == 0 {
            return None;
        }
        let provider = running.candidate.provider().clone();
        let instance = running.number;
        let failure = abandoned(&held, &provider, instance);
        let what = Happening::DrainAbandoned {
            provider,
            instance,
            held,
        };
        self.announce_of(running, what);
        Some(failure)
    }

    /// Lets an instance clean up. Does nothing the second time.
    pub(crate) async fn retire(&self, running: &Running) -> Result<(), Failure> {
        let limit = self.limits().retire;
        self.retire_until(running, limit, std::future::pending())
            .await
    }

    /// As [`Inner::retire`], for at most `limit` and no longer than until `over`.
    pub(crate) async fn retire_until(
        &self,
        running: &Running,
        limit: Duration,
        over: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        let Some(result) = self.clean_up_until(running, limit, over).await else {
            return Ok(());
        };
        let provider = running.candidate.provider().clone();
        let instance = running.number;
        self.announce_of(running, Happening::Retired { provider, instance });
        result
    }

    /// Lets an instance clean up and tells nobody; `None` if it was done before.
    pub(crate) async fn clean_up(
        &self,
        running: &Running,
        limit: Duration,
    ) -> Option<Result<(), Failure>> {
        let never = std::future::pending();
        self.clean_up_until(running, limit, never).await
    }

    async fn clean_up_until(
        &self,
        running: &Running,
        limit: Duration,
        over: impl Future<Output = ()>,
    ) -> Option<Result<(), Failure>> {
        let role = running.take_retirement()?;
        running.revoke();
        let result = match role {
            None => Ok(()),
            Some(role) => {
                let (on_its_thread, _waits) = running.hung.watch();
                let clean_up = move || async move {
                    let retired = role.retire().await;
                    drop(on_its_thread);
                    retired
                };
                let given_up = CancellationToken::new();
                let (kind, cut) = (StepKind::Retire, given_up.clone());
                let mut retiring = pin!(self.steps.run(kind, limit, cut, clean_up, |_| async {}));
                let retired = tokio::select! {
                    biased;
                    retired = &mut retiring => retired,
                    () = over => {
                        given_up.cancel();
                        retiring.await
                    }
                };
                match retired {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(message)) => Err(Failure::new(
                        Stage::Retire,
                        "lifecycle.retire_failed",
                        message,
                    )),
                    Err(StepError::Abandoned) => Err(Failure::new(
                        Stage::Retire,
                        "lifecycle.timed_out",
                        "not done when the time of the shutdown was up",
                    )),
                    Err(error) => Err(Failure::step(Stage::Retire, limit, error)),
                }
            }
        }
        .map_err(|failure| self.redact.failure(failure));
        Some(result)
    }

    /// Takes down an instance that was never in service.
    pub(crate) async fn discard(&self, cell: &SlotCell, running: &Running) {
        let retired = self.retire(running).await;
        self.book_retired(cell, running);
        if let Err(failure) = retired {
            // Why it was discarded is what the caller needs; this is for the log.
            // Quoted: the message may be a component's own words, line ends and all.
            tracing::warn!(
                slot = %cell.slot,
                stage = failure.stage.name(),
                code = failure.code,
                reason = ?failure.message,
                "a discarded instance was not retired cleanly"
            );
        }
    }

    pub(crate) fn book_retired(&self, cell: &SlotCell, running: &Running) {
        tracing::debug!(slot = %cell.slot, instance = running.number, "instance retired");
        cell.ledger().swaps.retired += 1;
        // What it needed may go now, and not before.
        self.graph.retired(&cell.slot, running.number);
    }

    /// Says what an instance failed at besides being called. The slot's last error it is only while it serves.
    pub(crate) fn warn_of(&self, cell: &SlotCell, running: &Running, failure: Failure) {
        let failure = self.redact.failure(failure);
        let at = self.clock.now();
        let mut ledger = cell.ledger();
        // With the books locked: whoever puts another in service clears the error after the pointer has moved.
        let published = cell.published();
        if published.as_ref().map(|one| one.running.number) == Some(running.number) {
            ledger.fail(&running.candidate, failure.clone(), at);
        }
        drop(ledger);
        drop(published);
        self.announce_of(running, Happening::Warned { failure });
    }

    pub(crate) fn announce(&self, slot: &Slot, what: Happening) {
        self.announce_with_key(slot, None, what);
    }

    /// Says what happened to an instance, that of a key or the one that serves its slot.
    pub(crate) fn announce_of(&self, running: &Running, what: Happening) {
        self.announce_with_key(running.candidate.slot(), running.key.as_deref(), what);
    }

    /// Says what happened in a cell: that of a slot, or of one of its keys.
    pub(crate) fn announce_in(&self, cell: &SlotCell, what: Happening) {
        self.announce_with_key(&cell.slot, cell.key.as_deref(), what);
    }

    fn announce_with_key(&self, slot: &Slot, key: Option<&str>, what: Happening) {
        self.announcer.announce(SwapEvent {
            slot: slot.clone(),
            key: key.map(|key| self.redact.key(key)),
            at: self.clock.now(),
            what,
        });
    }
}

/// What followed from an answer of what serves.
#[derive(Debug)]
pub(crate) struct Heard {
    /// Whose it was.
    pub(crate) instance: u64,
    /// How it counted.
    pub(crate) counts: Counts,
    /// What is thought of the instance now.
    pub(crate) judged: Judged,
}

/// Work that nobody waits for any more.
pub(crate) fn abandoned(held: &Held, provider: &Provider, instance: u64) -> Failure {
    let in_flight = held.in_flight;
    let calls = if in_flight == 1 {
        "call was"
    } else {
        "calls were"
    };
    Failure::new(
        Stage::Drain,
        "lifecycle.drain_abandoned",
        format_args!(
            "{in_flight} {calls} not done in time on {provider} (instance {instance}): {held}"
        ),
    )
}
