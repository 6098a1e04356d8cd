//! What an instance says of itself when asked.

use std::fmt;

use oneiric_core::BoxFuture;
use serde::Serialize;

/// An instance's answer to a probe, from best to worst.
///
/// Only an explicit answer counts: an instance that cannot be asked, answers late or panics is
/// [`Health::ProbeError`], never [`Health::Ok`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "health", content = "message", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Health {
    /// All is well.
    Ok,
    /// It works; somebody should look at it.
    Warn(String),
    /// It does not work now and expects to by itself.
    TemporarilyUnavailable(String),
    /// It does not work.
    Critical(String),
    /// It could not be asked, or answered too late.
    ProbeError(String),
}

impl Health {
    /// Whether an instance in this state may take over from one that works.
    pub const fn may_serve(&self) -> bool {
        matches!(self, Self::Ok | Self::Warn(_))
    }

    /// The state's name as in JSON: `ok`, `warn`, `temporarily_unavailable`, `critical`,
    /// `probe_error`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn(_) => "warn",
            Self::TemporarilyUnavailable(_) => "temporarily_unavailable",
            Self::Critical(_) => "critical",
            Self::ProbeError(_) => "probe_error",
        }
    }

    /// What the instance says about it, where it says anything.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Ok => None,
            Self::Warn(message)
            | Self::TemporarilyUnavailable(message)
            | Self::Critical(message)
            | Self::ProbeError(message) => Some(message),
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self.message() {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

/// Says whether an instance can do its work now.
///
/// A probe may block (it runs on the blocking pool) and is given `Limits::probe` to answer.
pub trait Probe: Send + Sync {
    /// Asks. An answer should come from doing a little of the real work, not from memory.
    fn probe(&self) -> BoxFuture<'_, Health>;
}

fn _probe_is_dyn_safe(_: &dyn Probe) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p15_only_an_explicit_good_answer_may_serve() {
        assert!(Health::Ok.may_serve());
        assert!(Health::Warn("slow".into()).may_serve());
        for bad in [
            Health::TemporarilyUnavailable("restarting".into()),
            Health::Critical("disk gone".into()),
            Health::ProbeError("no answer".into()),
        ] {
            assert!(!bad.may_serve(), "{bad}");
        }
    }

    #[test]
    fn json_names_are_stable() {
        let json = serde_json::to_value(Health::Warn("slow".into())).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"health": "warn", "message": "slow"})
        );
    }
}
