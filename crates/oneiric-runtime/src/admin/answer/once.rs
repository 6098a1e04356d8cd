//! What is done once under a key that the client chose, however often it is asked for.

use std::sync::Arc;

use hyper::{Method, header::HeaderMap};
use oneiric_core::ErrorKind;
use tracing::Instrument;

use super::{Admin, MAX_NAME, catch_panic, late, name};
use crate::admin::{
    asked::Asked,
    budget::Share,
    problem::{Answer, Problem},
    replay::{Claim, Key, Outcome},
    table::{Handler, Row, Verb},
};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

impl Admin {
    /// Does what carries a key once, however often it is asked for. It goes on when whoever asked is gone or was told
    /// that it is late; only a call ends then, for a component may never answer.
    pub(super) async fn once(
        self: &Arc<Self>,
        row: &'static Row,
        key: String,
        asked: Asked,
        share: Option<Arc<Share>>,
    ) -> Result<(Answer, bool), Problem> {
        let key = Key {
            who: asked.who.clone(),
            path: row.path,
            key,
        };
        loop {
            let (mut outcome, replayed) = match self.replays.claim(key.clone(), asked.sent()) {
                Claim::Before(outcome) => (outcome, true),
                Claim::Mismatch => return Err(mismatch()),
                Claim::New(ticket) => {
                    let outcome = ticket.outcome();
                    let (admin, asked, share) = (Arc::clone(self), asked.clone(), share.clone());
                    let limit = self.runtime.settings().request_limit();
                    let is_call = matches!(row.handle, Handler::Call(_));
                    let work = async move {
                        let run = catch_panic(admin.run(row, asked));
                        let ran = if is_call {
                            tokio::time::timeout(limit, run).await
                        } else {
                            Ok(run.await)
                        };
                        let result = match ran {
                            Ok(Ok(result)) => result,
                            Ok(Err(panic)) => Err(admin.panicked(&panic)),
                            Err(_) => Err(late(&Method::POST, limit)),
                        };
                        ticket.done(Outcome::of(result));
                        drop(share);
                    };
                    tokio::spawn(work.in_current_span());
                    (outcome, false)
                }
            };
            let told = outcome.wait_for(Option::is_some).await;
            let told = told.ok().and_then(|told| told.clone());
            if let Some(outcome) = told {
                let told = outcome.told().map_err(|problem| Problem {
                    replayed,
                    ..problem
                });
                return Ok((told?, replayed));
            }
        }
    }
}

/// The key under which a change is done once.
pub(super) fn idempotency_key(row: &Row, headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next().filter(|_| row.verb == Verb::Post) else {
        return Ok(None);
    };
    match name(key).filter(|_| keys.next().is_none()) {
        Some(key) => Ok(Some(key.to_owned())),
        None => Err(Problem::invalid(format!(
            "`Idempotency-Key` is one of 1 to {MAX_NAME} letters, digits, `-`, `_` and `.`"
        ))),
    }
}

fn mismatch() -> Problem {
    let message = "something else was asked under this `Idempotency-Key`";
    let code = "runtime.idempotency_mismatch";
    Problem::new(422, code, ErrorKind::Usage, message)
}
