//! What is known of leases that are out: for what, by whom, since when.
//!
//! A lease costs nanoseconds, and a look at a clock costs more than that. So a lease by itself is only
//! counted, and what is known of its age is a bound: nobody is let in by the entrances of a
//! [`Term`](crate::running::Term) after it was closed, hence no lease on it is younger than that. What
//! is called by name ([`Lease::invoke`]) and what [`Lease::noted`] says is written down with its
//! beginning, on lines of the thread that does it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::invoke::{CallError, Payload};
use crate::lease::Lease;
use crate::running::Entrance;

/// So many pieces of work are named where something waits for them.
const NAMED: usize = 5;

/// A piece of work that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Work {
    /// What is done.
    pub operation: String,
    /// Who asked for it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// For how long it has been done.
    #[serde(rename = "for_ms", serialize_with = "crate::status::millis")]
    pub age: Duration,
}

impl fmt::Display for Work {
    /// `get by uid:1000 for 31 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.operation)?;
        if let Some(who) = &self.who {
            write!(f, " by {who}")?;
        }
        write!(f, " for {}", Age(self.age))
    }
}

/// Leases that are out on an instance that nobody is let in to any more, and what is known of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Held {
    /// How many are out.
    pub in_flight: u64,
    /// For how long the oldest has been out: of what is known exactly, of what is not at least so long.
    #[serde(rename = "oldest_lease_ms", serialize_with = "crate::status::millis")]
    pub oldest: Duration,
    /// What is known of them, the oldest first, at most five.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub work: Vec<Work>,
    /// How many of them nothing is known of but that they are out.
    pub unknown: u64,
}

impl Held {
    /// `in_flight` leases of which `work` is known. None of them is younger than `closed`.
    pub(crate) fn new(in_flight: u64, closed: Duration, mut work: Vec<Work>) -> Self {
        work.sort_by_key(|work| std::cmp::Reverse(work.age));
        let known = u64::try_from(work.len()).unwrap_or(u64::MAX);
        let oldest = work.first().map_or(Duration::ZERO, |oldest| oldest.age);
        work.truncate(NAMED);
        Self {
            in_flight,
            oldest: if in_flight > 0 {
                oldest.max(closed)
            } else {
                oldest
            },
            work,
            unknown: in_flight.saturating_sub(known),
        }
    }
}

impl fmt::Display for Held {
    /// `get for 31 s, put for 30 s and 2 more of at least 30 s`; nothing where nothing is out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, work) in self.work.iter().enumerate() {
            write!(f, "{}{work}", if index == 0 { "" } else { ", " })?;
        }
        let unnamed = self.in_flight.saturating_sub(self.work.len() as u64);
        match (unnamed, self.work.is_empty()) {
            (0, _) => Ok(()),
            (unnamed, false) => write!(f, " and {unnamed} more"),
            (_, true) => write!(f, "out for at least {}", Age(self.oldest)),
        }
    }
}

/// How old something is, no more exact than anybody cares: `250 ms`, `4.2 s`, `31 s`.
struct Age(Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match ms {
            0..1_000 => write!(f, "{ms} ms"),
            1_000..10_000 => write!(f, "{}.{} s", ms / 1_000, ms / 100 % 10),
            _ => write!(f, "{} s", ms / 1_000),
        }
    }
}

/// What is known of the leases on one entrance.
#[repr(align(128))]
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    next: u64,
    /// By number: the one noted first is the oldest.
    notes: BTreeMap<u64, Note>,
}

#[derive(Debug)]
struct Note {
    operation: Box<str>,
    who: Option<Box<str>>,
    since: Instant,
}

impl Notes {
    fn begin(&self, operation: &str, who: Option<&str>) -> u64 {
        let note = Note {
            operation: operation.into(),
            who: who.map(Into::into),
            since: Instant::now(),
        };
        let mut noted = self.noted();
        let number = noted.next;
        noted.next += 1;
        noted.notes.insert(number, note);
        number
    }

    fn end(&self, number: u64) {
        let gone = self.noted().notes.remove(&number);
        drop(gone);
    }

    /// Everything that is under way.
    pub(crate) fn work(&self, into: &mut Vec<Work>) {
        let noted = self.noted();
        into.extend(noted.notes.values().map(|note| Work {
            operation: note.operation.to_string(),
            who: note.who.as_deref().map(str::to_owned),
            age: note.since.elapsed(),
        }));
    }

    /// For how long the oldest has been under way.
    pub(crate) fn oldest(&self) -> Option<Duration> {
        let noted = self.noted();
        let (_, first) = noted.notes.first_key_value()?;
        Some(first.since.elapsed())
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        // No foreign code runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A note of work on an entrance, for as long as that goes on.
pub(crate) struct Underway<'a> {
    entrance: &'a Entrance,
    number: u64,
}

impl<'a> Underway<'a> {
    pub(crate) fn begin(entrance: &'a Entrance, operation: &str) -> Self {
        Self {
            entrance,
            number: entrance.notes().begin(operation, None),
        }
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.entrance.notes().end(self.number);
    }
}

/// A lease of which it is known what it is for: see [`Lease::noted`].
#[must_use = "a lease that is dropped at once protects nothing"]
pub struct NotedLease {
    lease: Lease,
    number: u64,
}

impl Lease {
    /// Writes down what this lease is for and who asked for it, from now on until it is dropped. Whoever
    /// waits for it reads that, and how long ago it was said.
    ///
    /// Costs about as much as a look at a clock.
    pub fn noted(self, operation: &str, who: Option<&str>) -> NotedLease {
        NotedLease {
            number: self.entrance().notes().begin(operation, who),
            lease: self,
        }
    }
}

impl NotedLease {
    /// As [`Lease::invoke`], under the name that was noted.
    ///
    /// # Errors
    /// As [`Lease::invoke`].
    pub async fn invoke(&self, operation: &str, input: Payload) -> Result<Payload, CallError> {
        self.lease.invoke_unnoted(operation, input).await
    }
}

impl Deref for NotedLease {
    type Target = Lease;

    fn deref(&self) -> &Lease {
        &self.lease
    }
}

impl Drop for NotedLease {
    fn drop(&mut self) {
        self.lease.entrance().notes().end(self.number);
    }
}

impl fmt::Debug for NotedLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lease.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(operation: &str, ms: u64) -> Work {
        Work {
            operation: operation.to_owned(),
            who: None,
            age: Duration::from_millis(ms),
        }
    }

    #[test]
    fn what_holds_something_up_is_named_oldest_first_and_the_rest_counted() {
        let closed = Duration::from_secs(30);
        let said = |in_flight, work: &[Work]| Held::new(in_flight, closed, work.to_vec());
        let held = said(3, &[work("put", 30_500), work("get", 31_000)]);
        assert_eq!(held.to_string(), "get for 31 s, put for 30 s and 1 more");
        assert_eq!((held.unknown, held.oldest), (1, Duration::from_secs(31)));
        let held = said(2, &[]);
        assert_eq!(held.to_string(), "out for at least 30 s");
        assert_eq!((held.unknown, held.oldest), (2, closed));
        let held = said(1, &[work("get", 5)]);
        assert_eq!((held.to_string(), held.unknown), ("get for 5 ms".into(), 0));
        let many = vec![work("get", 1); 7];
        let held = said(9, &many);
        assert_eq!((held.work.len(), held.unknown), (NAMED, 2));
        assert!(held.to_string().ends_with(" and 4 more"), "{held}");
        let none = said(0, &[]);
        assert_eq!(
            (none.to_string(), none.oldest),
            (String::new(), Duration::ZERO)
        );
    }
}
