//! What was done by itself, and why: as data, and in the words that an operator reads.
//!
//! Whatever is not asked for by a person (a restart, failing over and back, a swing back, a rebind) is a decision. Each
//! is told to observers, kept in the slot's trail, and remembered in its history, so that the question why *this*
//! provider serves has one answer wherever it is asked.

mod words;

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oneiric_core::{Provider, Slot};
use serde::Serialize;

use words::Said;

use crate::cell::SlotCell;
use crate::error::Failure;
use crate::health::Health;
use crate::inner::Inner;
use crate::observe::Happening;
use crate::status::unix_ms;

/// Decisions kept for each slot's status.
const KEPT: usize = 20;

/// Something that was decided about a slot without anybody asking for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Decision {
    /// What it was.
    pub kind: DecisionKind,
    /// When it was carried out, or failed to be.
    #[serde(rename = "at_unix_ms", serialize_with = "unix_ms::plain")]
    pub at: SystemTime,
    /// Whose instance it was about: who served before, or was to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Provider>,
    /// Who took over, or was to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Provider>,
    /// The number of the instance that gave cause, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<u64>,
    /// Why.
    pub because: Because,
    /// Why it could not be carried out; absent when it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// All of it in words. Times of day are UTC.
    pub text: String,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DecisionKind {
    /// What serves was judged unhealthy.
    Unhealthy,
    /// What serves was judged healthy again.
    Healthy,
    /// Another instance of the same candidate.
    Restart,
    /// There were too many restarts: no more of them.
    GaveUp,
    /// The next-ranked candidate that works.
    FailOver,
    /// None works that could take over; tried again later.
    NoneLeft,
    /// The better candidate again.
    FailBack,
    /// The instance before again, because the new one did worse on trial.
    SwingBack,
    /// Who ranks best now.
    Rebind,
    /// Another instance, because one that it requires was exchanged.
    RestartDependent,
    /// A step that waits, because the slot takes no work.
    Held,
}

impl DecisionKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Unhealthy,
        Self::Healthy,
        Self::Restart,
        Self::GaveUp,
        Self::FailOver,
        Self::NoneLeft,
        Self::FailBack,
        Self::SwingBack,
        Self::Rebind,
        Self::RestartDependent,
        Self::Held,
    ];

    /// The name as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unhealthy => "unhealthy",
            Self::Healthy => "healthy",
            Self::Restart => "restart",
            Self::GaveUp => "gave_up",
            Self::FailOver => "fail_over",
            Self::NoneLeft => "none_left",
            Self::FailBack => "fail_back",
            Self::SwingBack => "swing_back",
            Self::Rebind => "rebind",
            Self::RestartDependent => "restart_dependent",
            Self::Held => "held",
        }
    }
}

/// Why something was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Because {
    /// Bad answers to probes, one after the other.
    Probes {
        /// How many.
        failed: u32,
        /// The last of them.
        #[serde(flatten)]
        last: Health,
        /// When the first of them came.
        #[serde(rename = "since_unix_ms", serialize_with = "unix_ms::plain")]
        since: SystemTime,
        /// When the last of them came.
        #[serde(rename = "last_unix_ms", serialize_with = "unix_ms::plain")]
        at: SystemTime,
    },
    /// It could not be brought into service.
    Activation {
        /// Where and why.
        failure: Failure,
        /// When.
        #[serde(rename = "last_unix_ms", serialize_with = "unix_ms::plain")]
        at: SystemTime,
    },
    /// Good answers to probes, one after the other.
    Recovered {
        /// How many.
        good: u32,
    },
    /// So many restarts in so short a time.
    Restarts {
        /// How many.
        restarts: u32,
        /// Within what time.
        #[serde(rename = "within_ms", serialize_with = "millis")]
        within: Duration,
    },
    /// Each was tried.
    Tried {
        /// Who, in the order of their rank.
        providers: Vec<Provider>,
    },
    /// It has been healthy for the time that was asked for.
    Healthy {
        /// For how long.
        #[serde(rename = "for_ms", serialize_with = "millis")]
        time: Duration,
    },
    /// Who ranks best has been the same for the time that was asked for.
    Settled {
        /// For how long.
        #[serde(rename = "for_ms", serialize_with = "millis")]
        time: Duration,
    },
    /// More calls failed than on the instance before.
    Errors {
        /// Calls that ended.
        calls: u64,
        /// Of those, failed.
        failed: u64,
        /// Calls that ended on the instance before.
        calls_before: u64,
        /// Of those, failed.
        failed_before: u64,
        /// By so many points the share of failed calls may be above the one before, in percent.
        allowed_points: u8,
    },
    /// Too many calls panicked.
    Panics {
        /// Calls that ended.
        calls: u64,
        /// Of those, panicked.
        panicked: u64,
        /// The share that may, in percent.
        allowed_percent: u8,
    },
    /// Somebody said so, for the sake of something else.
    Asked {
        /// What for.
        why: String,
    },
    /// Nobody provides it any more: its registration was taken back, and there is no other of its provider.
    Withdrawn,
    /// What the slot requires was exchanged.
    Dependency {
        /// What.
        slot: Slot,
    },
    /// The slot takes no work now.
    Activity {
        /// `paused` or `draining`.
        activity: &'static str,
        /// What waits for it to be resumed.
        waits: DecisionKind,
    },
}

impl Decision {
    /// A decision that is about nobody yet.
    pub(crate) const fn new(kind: DecisionKind, because: Because) -> Self {
        Self {
            kind,
            at: UNIX_EPOCH,
            from: None,
            to: None,
            instance: None,
            because,
            failure: None,
            text: String::new(),
        }
    }

    /// Whose instance it is about, and its number.
    pub(crate) fn about(mut self, provider: &Provider, instance: Option<u64>) -> Self {
        self.from = Some(provider.clone());
        self.instance = instance;
        self
    }

    /// Who takes over, or was to.
    pub(crate) fn to(mut self, provider: &Provider) -> Self {
        self.to = Some(provider.clone());
        self
    }

    /// The same with its time, unless it has one, and in words.
    pub(crate) fn stamped(mut self, now: SystemTime) -> Self {
        if self.text.is_empty() {
            self.at = now;
            self.text = Said(&self).to_string();
        }
        self
    }

    /// It could not be carried out.
    pub(crate) fn failed(mut self, failure: Option<Failure>) -> Self {
        self.failure = failure;
        self
    }
}

impl Inner {
    /// Tells of a decision that was carried out, or failed to be, and writes it into the slot's trail.
    pub(crate) fn decide(&self, cell: &SlotCell, decision: Decision) {
        let decision = decision.stamped(self.clock.now());
        // Quoted: it may hold a component's own words, line ends and all.
        tracing::info!(
            slot = %cell.slot,
            kind = decision.kind.name(),
            says = ?decision.text,
            "decided"
        );
        cell.ledger().trail.push(decision.clone());
        let decision = Box::new(decision);
        self.announce(&cell.slot, Happening::Decided { decision });
    }
}

/// The last decisions about a slot, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Trail(VecDeque<Decision>);

impl Trail {
    fn push(&mut self, decision: Decision) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(decision);
    }

    pub(crate) fn to_vec(&self) -> Vec<Decision> {
        self.0.iter().cloned().collect()
    }
}

fn millis<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Stage;

    fn provider(text: &str) -> Provider {
        text.parse().unwrap()
    }

    fn probes() -> Because {
        let at = UNIX_EPOCH + Duration::from_secs(10 * 3_600 + 2 * 60 + 11);
        Because::Probes {
            failed: 3,
            last: Health::critical("gone"),
            since: at - Duration::from_secs(1),
            at,
        }
    }

    #[test]
    fn a_decision_reads_as_an_operator_would_say_it() {
        let (redis, memory) = (provider("redis"), provider("memory"));
        let said = |decision: Decision| Said(&decision).to_string();
        let of = |kind| Decision::new(kind, probes()).about(&redis, Some(1));
        assert_eq!(
            said(of(DecisionKind::FailOver).to(&memory)),
            "serving memory: redis failed 3 probes at 10:02:11, next in rank"
        );
        assert_eq!(
            said(of(DecisionKind::Unhealthy)),
            "redis is unhealthy: redis failed 3 probes at 10:02:11, the last: critical: gone"
        );
        let failure = Failure::new(Stage::Build, "lifecycle.build_failed", "no disk");
        assert_eq!(
            said(of(DecisionKind::FailOver).to(&memory).failed(Some(failure))),
            "failing over to memory failed at build: no disk (redis failed 3 probes at 10:02:11)"
        );
        let time = Duration::from_secs(30);
        let back = Decision::new(DecisionKind::FailBack, Because::Healthy { time });
        assert_eq!(
            said(back.about(&memory, Some(2)).to(&redis)),
            "serving redis again: healthy for 30 s"
        );
    }

    #[test]
    fn json_has_the_reason_as_data() {
        let decision = Decision::new(DecisionKind::FailOver, probes()).to(&provider("memory"));
        let json = serde_json::to_value(&decision).unwrap();
        assert_eq!(json["kind"], "fail_over");
        let because = &json["because"];
        assert_eq!(
            (&because["reason"], &because["failed"]),
            (&"probes".into(), &3.into())
        );
        assert_eq!(
            (&because["health"], &because["message"]),
            (&"critical".into(), &"gone".into())
        );
        for kind in DecisionKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    #[test]
    fn a_trail_keeps_the_last() {
        let mut trail = Trail::default();
        for good in 0..30 {
            trail.push(Decision::new(
                DecisionKind::Healthy,
                Because::Recovered { good },
            ));
        }
        let kept = trail.to_vec();
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept[0].because, Because::Recovered { good: 10 });
    }
}
