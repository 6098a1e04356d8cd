//! The step of a transition in which state goes from the old instance to the new.
//!
//! It comes when the new one is built and healthy and every hook has agreed, so that nobody waits for a swap that fails
//! for another reason; whether the two understand each other is asked before anybody waits, too. From closing the gate
//! on there is one budget for everything: finishing the work on the old instance, export, import, and another probe.
//! Until the new one is published the old one is what it was, so the way back is to open the gate.

mod steps;

use std::sync::Arc;
use std::time::Duration;

use oneiric_core::Provider;

use crate::error::{Failure, Stage};
use crate::gate::{Budget, ClosedGate};
use crate::handover::{Handover, HandoverReport};
use crate::health::Health;
use crate::observe::Happening;
use crate::preparation::{Asked, Prepared};
use crate::running::Running;
use crate::slot_policy::{HandoverMode, HandoverPolicy};
use crate::step::StepKind;
use crate::transition::Transition;

/// Bytes in the name of a format. A longer one is none.
const LONGEST_FORMAT: usize = 128;

/// So many formats of those that an instance writes are looked at.
const MOST_FORMATS: usize = 16;

/// Two instances that both can, and what one writes and the other reads.
pub(crate) struct Pair {
    exporter: Arc<dyn Handover>,
    old: Arc<Running>,
    importer: Arc<dyn Handover>,
    new: Arc<Running>,
    format: String,
    policy: HandoverPolicy,
}

impl Pair {
    /// For how long new calls wait at most.
    pub(crate) const fn block(&self) -> Duration {
        self.policy.block
    }
}

/// What two instances say to handing over state.
pub(crate) enum Agreed {
    /// They understand each other.
    Pair(Box<Pair>),
    /// The new one serves without the state, if at all.
    Without,
    /// It does not serve without.
    Refused(Failure),
}

/// A new instance to which state was to go over, and what it is worth now.
pub(crate) enum Handed {
    /// It may serve: with the state and the gate closed, or without.
    Ready(Prepared),
    /// It has perhaps a part of the state. Another one may serve, without.
    Half(Prepared),
    /// Nothing comes of it.
    Failed(Prepared, Failure),
}

/// State that went over, and the gate that is closed until the new instance serves with it, or does not.
pub(crate) struct WentOver {
    gate: ClosedGate,
    from: Provider,
    instance: u64,
    format: String,
    bytes: u64,
}

impl WentOver {
    /// For how long the gate may stay closed.
    pub(crate) fn budget(&self) -> Budget {
        self.gate.budget()
    }
}

/// The new instance has the state of the old one, and nobody is let in to either.
struct Done {
    gate: ClosedGate,
    asked: Asked,
    bytes: u64,
}

/// Why it does not. The old instance takes calls again.
struct Trouble {
    failure: Failure,
    blocked: Duration,
    what: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The new instance was not touched: it can serve without the state.
    Clean,
    /// The time was up when the new instance had perhaps a part of the state.
    Half,
    /// The new instance cannot serve, or the slot is shut down.
    Final,
}

impl Transition {
    /// Hands over state where the slot's policy asks for it. What comes back may be published, with the gate closed if
    /// state was handed over. Nothing is left of the new instance where this fails.
    pub(crate) async fn handed_over(&self, prepared: Prepared) -> Result<Prepared, Failure> {
        let handed = match self.agreed(&prepared.running).await {
            Agreed::Pair(pair) => self.hand_over(prepared, *pair, None).await,
            Agreed::Without => Handed::Ready(prepared),
            Agreed::Refused(failure) => Handed::Failed(prepared, failure),
        };
        match handed {
            Handed::Ready(prepared) => Ok(prepared),
            Handed::Half(prepared) => {
                self.take_down(prepared).await;
                self.prepared().await
            }
            Handed::Failed(prepared, failure) => {
                self.take_down(prepared).await;
                Err(failure)
            }
        }
    }

    /// Asks both instances how state would go over, if the slot's policy wants that. Nobody waits yet.
    pub(crate) async fn agreed(&self, new: &Arc<Running>) -> Agreed {
        let policy = self.inner.policy_of(&self.cell.slot).handover;
        let (HandoverMode::Empty | HandoverMode::Abort, Some(old)) = (policy.mode, self.old())
        else {
            return Agreed::Without;
        };
        let mode = policy.mode;
        let failure = match self.pair(old, new, policy).await {
            Ok(Some(pair)) => return Agreed::Pair(Box::new(pair)),
            // One of them has no state.
            Ok(None) => return Agreed::Without,
            Err(failure) => failure,
        };
        let trouble = Trouble {
            failure,
            blocked: Duration::ZERO,
            what: Kind::Clean,
        };
        match self.goes_without(mode, trouble) {
            Ok(()) => Agreed::Without,
            Err(failure) => Agreed::Refused(failure),
        }
    }

    /// Has the state go over: with what is left of `common`, where other gates are closed as well.
    pub(crate) async fn hand_over(
        &self,
        prepared: Prepared,
        pair: Pair,
        common: Option<Budget>,
    ) -> Handed {
        let mode = pair.policy.mode;
        let trouble = match self.carry_over(&pair, common).await {
            Ok(done) => return Handed::Ready(self.done(prepared, pair, done)),
            Err(trouble) => trouble,
        };
        let is_half = trouble.what == Kind::Half;
        match self.goes_without(mode, trouble) {
            Ok(()) if is_half => Handed::Half(prepared),
            Ok(()) => Handed::Ready(prepared),
            Err(failure) => Handed::Failed(prepared, failure),
        }
    }

    /// Says what went wrong; refused where that is the end of it.
    fn goes_without(&self, mode: HandoverMode, trouble: Trouble) -> Result<(), Failure> {
        let failure = self.inner.redact.failure(trouble.failure);
        self.note(HandoverReport {
            handed_over: false,
            format: None,
            bytes: None,
            blocked: trouble.blocked,
            failure: Some(failure.clone()),
        });
        if mode != HandoverMode::Empty || trouble.what == Kind::Final {
            return Err(failure);
        }
        self.announce(Happening::Warned { failure });
        Ok(())
    }

    fn done(&self, prepared: Prepared, pair: Pair, done: Done) -> Prepared {
        let Done { gate, asked, bytes } = done;
        let state = WentOver {
            gate,
            from: pair.old.candidate.provider().clone(),
            instance: pair.new.number,
            format: self.inner.redact.text(pair.format),
            bytes,
        };
        self.note_state(&state);
        Prepared {
            asked,
            state: Some(state),
            ..prepared
        }
    }

    fn note_state(&self, state: &WentOver) {
        self.note(HandoverReport {
            handed_over: true,
            format: Some(state.format.clone()),
            bytes: Some(state.bytes),
            blocked: state.gate.closed_for(),
            failure: None,
        });
    }

    /// New calls do not wait any more: for the instance that serves now, with the state, or the old one. What is to be
    /// told in the first case.
    pub(crate) fn open(&self, state: Option<WentOver>) -> Option<Happening> {
        let state = state?;
        self.note_state(&state);
        let WentOver {
            gate,
            from,
            instance,
            format,
            bytes,
        } = state;
        let blocked = gate.closed_for();
        drop(gate);
        Some(Happening::HandedOver {
            from,
            to: self.candidate.provider().clone(),
            instance,
            format,
            bytes,
            blocked,
        })
    }

    /// The two sides; `None` when one of them does not take part, which is said in the report. Nobody waits yet.
    async fn pair(
        &self,
        old: Arc<Running>,
        new: &Arc<Running>,
        policy: HandoverPolicy,
    ) -> Result<Option<Pair>, Failure> {
        let cannot = |who: &Running| {
            let provider = who.candidate.provider();
            let what = format_args!("{provider} has no state to hand over").to_string();
            self.without("lifecycle.handover_unsupported", what);
        };
        if self.warm.is_some() {
            let what = "the instance was kept warm, with the state that it had".to_owned();
            self.without("lifecycle.handover_unsupported", what);
            return Ok(None);
        }
        if let Some(health) = self.found_bad(&old) {
            let what = format!("{} is not well: {health}", old.candidate.provider());
            self.without("lifecycle.handover_unhealthy", what);
            return Ok(None);
        }
        let Some(exporter) = old.handover.clone() else {
            cannot(&old);
            return Ok(None);
        };
        let Some(importer) = new.handover.clone() else {
            cannot(new);
            return Ok(None);
        };
        let (writer, reader) = (Arc::clone(&exporter), Arc::clone(&importer));
        let question = move || async move {
            let mut writes = writer.writes();
            writes.retain(|format| format.len() <= LONGEST_FORMAT);
            writes.truncate(MOST_FORMATS);
            let format = writes.iter().find(|format| reader.reads(format)).cloned();
            format.ok_or(writes)
        };
        let limit = self.inner.limits().hook;
        let stopping = self.cell.stopping.child_token();
        let asked =
            self.inner
                .steps
                .run(StepKind::HandOver, limit, stopping, question, |_| async {});
        let asked = asked.await;
        let asked = asked.map_err(|error| Failure::step(Stage::HandOver, limit, error))?;
        let format = asked.map_err(|writes| {
            let (from, to) = (old.candidate.provider(), new.candidate.provider());
            Failure::new(
                Stage::HandOver,
                "lifecycle.handover_format",
                format_args!(
                    "{to} does not read what {from} writes: {}",
                    writes.join(", ")
                ),
            )
        })?;
        Ok(Some(Pair {
            exporter,
            old,
            importer,
            new: Arc::clone(new),
            format,
            policy,
        }))
    }

    /// The last answer of what serves, if it was a bad one. Whoever exchanges such an instance, by hand or because it
    /// fails, wants to be rid of it: its state is as doubtful as the rest, and must not keep it in service.
    fn found_bad(&self, old: &Running) -> Option<Health> {
        let report = self.cell.ledger().health.clone()?;
        let health = report.health.filter(|health| !health.may_serve());
        health.filter(|_| report.instance == old.number)
    }

    fn without(&self, code: &'static str, why: String) {
        self.note(HandoverReport {
            handed_over: false,
            format: None,
            bytes: None,
            blocked: Duration::ZERO,
            failure: Some(Failure::new(Stage::HandOver, code, why)),
        });
    }
}
