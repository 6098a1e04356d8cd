//! How the settings in force and those in the files stand to each other, for `status`, metrics and the log.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use crate::{
    api::{RefusedSettingsDoc, SettingsStateDoc},
    service::unix_ms,
};

/// How changes of the files are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    not(feature = "watch"),
    expect(dead_code, reason = "nobody watches without the feature")
)]
pub(super) enum Watching {
    #[default]
    Off,
    /// The system tells.
    Events,
    /// The system cannot tell, so the files are looked at every now and then.
    Polling,
}

impl Watching {
    const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Events => "events",
            Self::Polling => "polling",
        }
    }
}

/// How a reload is counted that did not get beyond reading.
pub(super) const UNREADABLE: &str = "invalid";

/// Written by reloads, read by everybody.
#[derive(Debug)]
pub(crate) struct ReloadState(Mutex<Noted>);

#[derive(Debug)]
struct Noted {
    good_since: SystemTime,
    refused: Option<Refused>,
    watching: Watching,
    ended: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct Refused {
    outcome: &'static str,
    code: String,
    message: String,
    since: SystemTime,
    attempts: u64,
}

impl ReloadState {
    pub(crate) const fn new(now: SystemTime) -> Self {
        Self(Mutex::new(Noted {
            good_since: now,
            refused: None,
            watching: Watching::Off,
            ended: BTreeMap::new(),
        }))
    }

    /// The files say what is in force; `changed` when that is new. Tells whether they were refused before.
    pub(super) fn good(&self, outcome: &'static str, changed: bool, now: SystemTime) -> bool {
        let mut noted = self.noted();
        noted.count(outcome);
        if changed {
            noted.good_since = now;
        }
        noted.refused.take().is_some()
    }

    /// The files say something that is not in force. Tells whether that is news: the same reason again is none.
    pub(super) fn refused(
        &self,
        outcome: &'static str,
        code: &str,
        message: &str,
        now: SystemTime,
    ) -> bool {
        let mut noted = self.noted();
        noted.count(outcome);
        match &mut noted.refused {
            Some(refused) if refused.code == code && refused.message == message => {
                refused.outcome = outcome;
                refused.attempts += 1;
                false
            }
            refused => {
                let since = refused.as_ref().map_or(now, |refused| refused.since);
                let attempts = refused.as_ref().map_or(0, |refused| refused.attempts) + 1;
                *refused = Some(Refused {
                    outcome,
                    code: code.to_owned(),
                    message: message.to_owned(),
                    since,
                    attempts,
                });
                true
            }
        }
    }

    /// The files could not be read as settings the last time; they may be a moment later, without any change that shows.
    #[cfg(feature = "watch")]
    pub(super) fn unreadable(&self) -> bool {
        let noted = self.noted();
        noted
            .refused
            .as_ref()
            .is_some_and(|refused| refused.outcome == UNREADABLE)
    }

    #[cfg(feature = "watch")]
    pub(super) fn watching(&self, watching: Watching) {
        self.noted().watching = watching;
    }

    /// How many reloads ended in which way.
    #[cfg(feature = "metrics")]
    pub(crate) fn ended(&self) -> BTreeMap<&'static str, u64> {
        self.noted().ended.clone()
    }

    /// Since when the settings in force are, and whether the files say something else.
    #[cfg(feature = "metrics")]
    pub(crate) fn standing(&self) -> (SystemTime, bool) {
        let noted = self.noted();
        (noted.good_since, noted.refused.is_some())
    }

    pub(super) fn doc(&self) -> SettingsStateDoc {
        let noted = self.noted();
        SettingsStateDoc {
            good_since_unix_ms: unix_ms(noted.good_since),
            refused: noted.refused.as_ref().map(|refused| RefusedSettingsDoc {
                code: refused.code.clone(),
                message: refused.message.clone(),
                since_unix_ms: unix_ms(refused.since),
                attempts: refused.attempts,
            }),
            watching: noted.watching.name().to_owned(),
            held: Vec::new(),
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        // No foreign code runs under this lock, so poisoned notes are still sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Noted {
    fn count(&mut self, outcome: &'static str) {
        *self.ended.entry(outcome).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn one_reason_is_news_once_and_its_attempts_are_counted() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let state = ReloadState::new(at(1));
        assert!(state.refused("invalid", "a.b", "no", at(2)));
        assert!(!state.refused("invalid", "a.b", "no", at(3)));
        assert!(state.refused("invalid", "a.b", "still not", at(4)));
        let doc = state.doc();
        assert_eq!(doc.good_since_unix_ms, 1_000);
        let refused = doc.refused.unwrap();
        assert_eq!((refused.since_unix_ms, refused.attempts), (2_000, 3));
        assert!(state.good("applied", true, at(5)), "it was refused before");
        assert!(!state.good("unchanged", false, at(6)));
        let doc = state.doc();
        assert_eq!((doc.good_since_unix_ms, doc.refused), (5_000, None));
    }
}
