//! The budgets of what may take long. Whoever takes a share gives their connection's place back, so that short
//! questions get in whatever goes on; and whoever comes over TCP takes no stream and no long answer from those at the
//! socket.

use std::sync::Arc;

use oneiric_core::ErrorKind;
use tracing::Level;

use super::{
    budget::{Budget, Share},
    entrance::{Caller, Entrance},
    problem::Problem,
    table::{Handler, Row, Verb},
};
use crate::api::kind;

/// With so many places or more, each budget is so many less than there are.
pub(super) const FEW_PLACES: usize = 16;
/// Copies of the database at one time: each is as large as the database is.
const COPIES: usize = 2;

/// What may go on at one time.
pub(super) struct Shares {
    /// Calls of components.
    calls: Arc<Budget>,
    /// Whatever else changes something.
    writes: Arc<Budget>,
    /// Of these, swaps by slot: those that wait for one leave room for the others.
    pub(super) swaps: Arc<Budget>,
    streams: ByWay,
    long_answers: ByWay,
    copies: Arc<Budget>,
}

/// As many for those at the socket as for all who come over TCP, of whom nobody gets more than half.
struct ByWay {
    socket: Arc<Budget>,
    #[cfg(feature = "tls")]
    tcp: Arc<Budget>,
}

impl ByWay {
    fn new(most: usize) -> Self {
        Self {
            socket: Budget::new(most, most),
            #[cfg(feature = "tls")]
            tcp: Budget::new(most, most.div_ceil(2)),
        }
    }

    const fn of(&self, entrance: &Entrance) -> &Arc<Budget> {
        match entrance {
            Entrance::Socket(_) => &self.socket,
            #[cfg(feature = "tls")]
            Entrance::Tcp { .. } => &self.tcp,
        }
    }

    #[cfg(feature = "metrics")]
    fn taken(&self) -> usize {
        let taken = self.socket.taken();
        #[cfg(feature = "tls")]
        let taken = taken + self.tcp.taken();
        taken
    }
}

impl Shares {
    /// Budgets that fit so many places for connections.
    pub(super) fn new(places: usize) -> Self {
        let most = places.saturating_sub(FEW_PLACES).max(places.div_ceil(2));
        Self {
            calls: Budget::new(most, most),
            writes: Budget::new(most, most),
            swaps: Budget::new(most, most.div_ceil(2)),
            streams: ByWay::new(places.div_ceil(4)),
            long_answers: ByWay::new(places.div_ceil(8)),
            copies: Budget::new(COPIES, COPIES),
        }
    }

    /// The share that a request needs, if it needs one.
    ///
    /// # Errors
    /// `runtime.calls_exhausted`, `runtime.streams_exhausted`, `runtime.writes_exhausted`, `runtime.reads_exhausted`,
    /// `runtime.copies_exhausted`.
    pub(super) fn share(
        &self,
        row: &Row,
        entrance: &Entrance,
        caller: &Caller,
    ) -> Result<Option<Share>, Problem> {
        let (budget, code, what) = match row.handle {
            Handler::Call(_) => (&self.calls, "runtime.calls_exhausted", "calls"),
            Handler::Stream(_) => {
                let streams = self.streams.of(entrance);
                (streams, "runtime.streams_exhausted", "streams")
            }
            Handler::Long(_) => {
                let answers = self.long_answers.of(entrance);
                (answers, "runtime.reads_exhausted", "long answers")
            }
            Handler::Copy(_) => (&self.copies, "runtime.copies_exhausted", "copies"),
            Handler::Later(_) if row.verb == Verb::Post => {
                (&self.writes, "runtime.writes_exhausted", "changes")
            }
            Handler::Later(_) | Handler::Now(_) => return Ok(None),
        };
        if let Some(share) = budget.share(&caller.who) {
            return Ok(Some(share));
        }
        let message = format!(
            "{} {what} are under way, more are not taken",
            budget.taken()
        );
        let hint = match row.handle {
            Handler::Call(_) => {
                "wait for some of them to end; if their component hangs, swap its slot to another provider"
            }
            _ => "wait for some of them to end",
        };
        Err(exhausted(code, message, hint))
    }

    /// What is in use, by name.
    #[cfg(feature = "metrics")]
    pub(super) fn in_use(&self) -> impl Iterator<Item = (&'static str, usize)> {
        [
            ("calls", self.calls.taken()),
            ("changes", self.writes.taken()),
            ("streams", self.streams.taken()),
            ("long_answers", self.long_answers.taken()),
            ("copies", self.copies.taken()),
        ]
        .into_iter()
    }
}

/// As much goes on as may.
pub(super) fn exhausted(code: &'static str, message: String, hint: &str) -> Problem {
    let status = kind::status(ErrorKind::Busy);
    Problem {
        hint: Some(hint.to_owned()),
        level: Level::WARN,
        did_nothing: true,
        ..Problem::new(status, code, ErrorKind::Busy, message)
    }
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::*;
    use crate::{admin::table, settings::Role};

    #[test]
    fn long_answers_have_a_bound_of_their_own_for_each_way_in() {
        let shares = Shares::new(64);
        let caller = Caller::new("uid:1", Role::Read);
        let socket = Entrance::Socket(caller.clone());
        for path in ["/v1/history", "/v1/state"] {
            let Ok(row) = table::find(&Method::GET, path) else {
                panic!("{path}")
            };
            let take = |entrance: &Entrance| {
                let share = shares.share(row, entrance, &caller);
                share.map_err(|problem| (problem.code, problem.did_nothing))
            };
            let full = Err(("runtime.reads_exhausted", true));
            let held: Vec<_> = (0..8).map(|_| take(&socket).unwrap()).collect();
            assert_eq!(take(&socket).map(drop), full);
            #[cfg(feature = "tls")]
            {
                let tcp = Entrance::Tcp {
                    address: [127, 0, 0, 1].into(),
                    certificate: None,
                };
                let theirs: Vec<_> = (0..4).map(|_| take(&tcp).unwrap()).collect();
                assert_eq!(take(&tcp).map(drop), full);
                drop(theirs);
            }
            drop(held);
            assert!(take(&socket).is_ok());
        }
    }
}
