//! A decision in the words that an operator reads.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oneiric_core::{Provider, rfc3339};

use super::{Because, Decision, DecisionKind};

/// A decision in words: `serving memory: redis failed 3 probes at 10:02:11, next in rank`.
pub(super) struct Said<'a>(pub(super) &'a Decision);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decision = self.0;
        let from = Name(decision.from.as_ref());
        let to = Name(decision.to.as_ref().or(decision.from.as_ref()));
        let because = Reason(decision);
        if let Some(failure) = &decision.failure {
            let what = match decision.kind {
                DecisionKind::Restart | DecisionKind::RestartDependent => "restarting",
                DecisionKind::FailOver => "failing over to",
                DecisionKind::FailBack => "failing back to",
                DecisionKind::SwingBack => "swinging back to",
                _ => "going over to",
            };
            return write!(f, "{what} {to} failed at {failure} ({because})");
        }
        match decision.kind {
            DecisionKind::Unhealthy => write!(f, "{from} is unhealthy: {because}"),
            DecisionKind::Healthy => write!(f, "{from} is healthy: {because}"),
            DecisionKind::Restart | DecisionKind::RestartDependent => {
                write!(f, "restarted {to}: {because}")
            }
            DecisionKind::GaveUp => write!(f, "gave up restarting {from}: {because}"),
            DecisionKind::FailOver => write!(f, "serving {to}: {because}, next in rank"),
            DecisionKind::NoneLeft => write!(f, "nobody can take over from {from}: {because}"),
            DecisionKind::FailBack | DecisionKind::SwingBack => {
                write!(f, "serving {to} again: {because}")
            }
            DecisionKind::Rebind => write!(f, "serving {to}: {because}"),
            DecisionKind::Held => write!(f, "waiting: {because}"),
        }
    }
}

/// Why, in words.
struct Reason<'a>(&'a Decision);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = Name(self.0.from.as_ref());
        match &self.0.because {
            Because::Probes {
                failed, last, at, ..
            } => {
                let probes = if *failed == 1 { "probe" } else { "probes" };
                write!(f, "{from} failed {failed} {probes} at {}", TimeOfDay(*at))?;
                // Who takes over is what matters there; what the last answer was, is in the line before.
                match self.0.kind {
                    DecisionKind::Unhealthy => write!(f, ", the last: {last}"),
                    _ => Ok(()),
                }
            }
            Because::Activation { failure, at } => {
                let at = TimeOfDay(*at);
                match self.0.kind {
                    DecisionKind::Unhealthy => write!(f, "not activated at {at}: {failure}"),
                    _ => write!(f, "{from} could not be activated at {at}"),
                }
            }
            Because::Recovered { good: 1 } => f.write_str("1 good answer"),
            Because::Recovered { good } => write!(f, "{good} good answers in a row"),
            Because::Restarts { restarts, within } => {
                write!(f, "{restarts} restarts within {}", Time(*within))
            }
            Because::Tried { providers } if providers.is_empty() => {
                f.write_str("there is no other candidate")
            }
            Because::Tried { providers } => {
                let names: Vec<&str> = providers.iter().map(Provider::as_str).collect();
                write!(f, "{} failed as well", names.join(", "))
            }
            Because::Healthy { time } => write!(f, "healthy for {}", Time(*time)),
            Because::Settled { time } => write!(f, "ranks best, unchanged for {}", Time(*time)),
            Because::Errors {
                calls,
                failed,
                calls_before,
                failed_before,
                allowed_points,
            } => {
                let (now, before) = (
                    Percent(*failed, *calls),
                    Percent(*failed_before, *calls_before),
                );
                write!(
                    f,
                    "{now} of {calls} calls on {from} failed, {before} of {calls_before} before it; "
                )?;
                write!(f, "{allowed_points} points more may")
            }
            Because::Panics {
                calls,
                panicked,
                allowed_percent,
            } => {
                let share = Percent(*panicked, *calls);
                write!(
                    f,
                    "{share} of {calls} calls on {from} panicked; {allowed_percent} % may"
                )
            }
            Because::Asked { why } => f.write_str(why),
            Because::Withdrawn => f.write_str("it is not registered any more"),
            Because::Dependency { slot } => write!(f, "{slot} was exchanged"),
            Because::Activity { activity, waits } => {
                write!(f, "{} once resumed; now {activity}", waits.name())
            }
        }
    }
}

impl Because {
    /// The reason in words, as it is about `provider`.
    pub(crate) fn of(&self, provider: &Provider) -> String {
        let decision = Decision::new(DecisionKind::SwingBack, self.clone()).about(provider, None);
        Reason(&decision).to_string()
    }
}

/// `4.2 %`.
struct Percent(u64, u64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(part, of) = *self;
        let tenths = match of {
            0 => 0,
            of => (u128::from(part) * 1_000 + u128::from(of) / 2) / u128::from(of),
        };
        write!(f, "{}.{} %", tenths / 10, tenths % 10)
    }
}

/// A provider's name, where there is one.
struct Name<'a>(Option<&'a Provider>);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.map_or("nobody", Provider::as_str))
    }
}

/// `10:02:11`, in UTC.
struct TimeOfDay(SystemTime);

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let text = i64::try_from(since.as_millis())
            .ok()
            .and_then(rfc3339::format);
        // `2026-11-22T10:02:11.000Z`
        let time = text.as_deref().and_then(|text| text.get(11..19));
        f.write_str(time.unwrap_or("an unknown time"))
    }
}

/// A duration as people read it: `250 ms`, `30 s`.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::error::Millis(self.0).fmt(f)
    }
}
