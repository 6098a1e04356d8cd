//! Answers that are given again: a request with an `Idempotency-Key` that came before, from the same peer and with
//! the same body, is not done a second time.
//!
//! What carries a key runs in a task of its own, so that a connection that breaks right after it was sent ends
//! nothing; whoever asks again waits for that task. Refusals before anything was begun (a budget, a paused slot, a
//! full disk) are not kept: asking again later is what one should do then. Everything else is, failures included: work
//! that failed was done, and may have had half its effect.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use oneiric_core::ErrorKind;
use tokio::{sync::watch, time::Instant};

use super::problem::{Answer, Content, Problem};

/// So many requests are remembered.
const MOST: usize = 1_024;
/// So long.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest answer that is kept: 1 MiB.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// All answers that are kept: 16 MiB.
const MAX_ALL_BYTES: usize = 16 << 20;

/// Who asked what under which key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) who: String,
    pub(super) path: &'static str,
    pub(super) key: String,
}

/// The requests that are remembered.
#[derive(Default)]
pub(super) struct Replays {
    /// Keyed anew in each process, so that nobody can make two bodies look alike.
    hasher: RandomState,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    entries: HashMap<Key, Entry>,
    /// In the order they came.
    order: BTreeMap<u64, Key>,
    last: u64,
    bytes: usize,
}

struct Entry {
    number: u64,
    fingerprint: u64,
    since: Instant,
    bytes: usize,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// What came of a request, to be told again.
#[derive(Clone)]
pub(super) enum Outcome {
    Answer {
        status: u16,
        content_type: &'static str,
        body: Bytes,
        /// Whether its words depend on who is told.
        is_document: bool,
    },
    Problem(Problem),
}

/// What is known of a request that carries a key.
pub(super) enum Claim {
    /// Nothing: it is to be done.
    New(Ticket),
    /// It was asked before.
    Before(watch::Receiver<Option<Outcome>>),
    /// Something else was asked under this key.
    Mismatch,
}

/// The right to do a request, and the duty to say what came of it.
pub(super) struct Ticket {
    replays: Arc<Replays>,
    key: Key,
    number: u64,
    outcome: watch::Sender<Option<Outcome>>,
}

impl Outcome {
    pub(super) fn of(result: Result<Answer, Problem>) -> Self {
        let answer = match result {
            Ok(answer) => answer,
            Err(problem) => return Self::Problem(problem),
        };
        let (body, is_document) = match answer.body {
            Content::Whole(body) => (body, false),
            Content::Document(body) => (body, true),
            Content::Stream(_) => {
                return Self::Problem(Problem::internal("a stream cannot be kept".to_owned()));
            }
        };
        Self::Answer {
            status: answer.status,
            content_type: answer.content_type,
            body,
            is_document,
        }
    }

    pub(super) fn told(self) -> Result<Answer, Problem> {
        match self {
            Self::Answer {
                status,
                content_type,
                body,
                is_document,
            } => Ok(Answer {
                status,
                content_type,
                body: match is_document {
                    true => Content::Document(body),
                    false => Content::Whole(body),
                },
            }),
            Self::Problem(problem) => Err(problem),
        }
    }

    /// What is kept of it: nothing where nothing was done, and no more than fits.
    fn kept(&self) -> Option<(Self, usize)> {
        match self {
            Self::Problem(problem) if problem.did_nothing => None,
            Self::Problem(problem) => {
                let causes = problem.causes.as_deref().map_or(0, str::len);
                Some((self.clone(), problem.message.len() + causes))
            }
            Self::Answer { body, .. } if body.len() <= MAX_ANSWER_BYTES => {
                Some((self.clone(), body.len()))
            }
            Self::Answer { .. } => {
                let message = "this was done before, and its answer was too long to be kept";
                let code = "runtime.answer_not_kept";
                let problem = Problem::new(409, code, ErrorKind::Usage, message);
                Some((Self::Problem(problem), 0))
            }
        }
    }
}

impl Replays {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks a request up, and enters it if it is new.
    pub(super) fn claim(self: &Arc<Self>, key: Key, body: &[u8]) -> Claim {
        let fingerprint = self.hasher.hash_one(body);
        let mut book = self.book();
        book.forget_old();
        if let Some(entry) = book.entries.get(&key) {
            if entry.fingerprint != fingerprint {
                return Claim::Mismatch;
            }
            return Claim::Before(entry.outcome.clone());
        }
        let (sender, outcome) = watch::channel(None);
        book.last += 1;
        let number = book.last;
        let entry = Entry {
            number,
            fingerprint,
            since: Instant::now(),
            bytes: 0,
            outcome,
        };
        book.entries.insert(key.clone(), entry);
        book.order.insert(number, key.clone());
        drop(book);
        Claim::New(Ticket {
            replays: Arc::clone(self),
            key,
            number,
            outcome: sender,
        })
    }
}

impl Book {
    /// Forgets what is too old or too much, the oldest first; never what is still being done.
    fn forget_old(&mut self) {
        let mut after = 0;
        while let Some((&number, key)) = self.order.range(after..).next() {
            after = number + 1;
            let entry = self.entries.get(key);
            if entry.is_some_and(|entry| entry.outcome.borrow().is_none()) {
                continue;
            }
            let fits = self.entries.len() < MOST && self.bytes <= MAX_ALL_BYTES;
            if fits && entry.is_some_and(|entry| entry.since.elapsed() < KEPT) {
                return;
            }
            let key = key.clone();
            self.forget(&key, number);
        }
    }

    fn forget(&mut self, key: &Key, number: u64) {
        self.order.remove(&number);
        if self
            .entries
            .get(key)
            .is_some_and(|entry| entry.number == number)
            && let Some(entry) = self.entries.remove(key)
        {
            self.bytes -= entry.bytes;
        }
    }
}

impl Ticket {
    /// What will come of it.
    pub(super) fn outcome(&self) -> watch::Receiver<Option<Outcome>> {
        self.outcome.subscribe()
    }

    /// Says what came of it, now and to whoever asks again.
    pub(super) fn done(self, outcome: Outcome) {
        if let Some((kept, bytes)) = outcome.kept() {
            let mut book = self.replays.book();
            if let Some(entry) = book.entries.get_mut(&self.key)
                && entry.number == self.number
            {
                entry.bytes = bytes;
                book.bytes += bytes;
            }
            drop(book);
            self.outcome.send_replace(Some(kept));
        } else {
            self.replays.book().forget(&self.key, self.number);
            self.outcome.send_replace(Some(outcome));
        }
    }
}

impl Drop for Ticket {
    /// Nothing came of it: whoever asks again begins anew.
    fn drop(&mut self) {
        if self.outcome.borrow().is_none() {
            self.replays.book().forget(&self.key, self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key: &str) -> Key {
        Key {
            who: "uid:1".into(),
            path: "/v1/swap",
            key: key.into(),
        }
    }

    fn claim(replays: &Arc<Replays>, name: &str, body: &[u8]) -> Claim {
        replays.claim(key(name), body)
    }

    fn new(claim: Claim) -> Ticket {
        match claim {
            Claim::New(ticket) => ticket,
            _ => panic!("not new"),
        }
    }

    fn answer(bytes: usize) -> Outcome {
        Outcome::of(Ok(Answer::whole(200, "text/plain", vec![b'a'; bytes])))
    }

    #[tokio::test]
    async fn a_key_is_one_request_and_its_answer_is_told_again() {
        let replays = Arc::new(Replays::default());
        let ticket = new(claim(&replays, "k", b"body"));
        assert!(matches!(claim(&replays, "k", b"other"), Claim::Mismatch));
        let Claim::Before(mut before) = claim(&replays, "k", b"body") else {
            panic!("new")
        };
        assert!(before.borrow().is_none());
        ticket.done(answer(3));
        let told = before.wait_for(Option::is_some).await.unwrap().clone();
        assert_eq!(told.unwrap().told().ok().unwrap().status, 200);
    }

    #[tokio::test]
    async fn what_did_nothing_or_came_to_nothing_may_be_asked_again() {
        let replays = Arc::new(Replays::default());
        drop(new(claim(&replays, "k", b"")));
        let full = Problem::new(423, "runtime.writes_exhausted", ErrorKind::Busy, "full");
        let busy = Problem {
            did_nothing: true,
            ..full
        };
        new(claim(&replays, "k", b"")).done(Outcome::Problem(busy));
        new(claim(&replays, "k", b"")).done(answer(1));
        assert!(matches!(claim(&replays, "k", b""), Claim::Before(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_in_number_bytes_and_time() {
        let replays = Arc::new(Replays::default());
        for number in 0..MOST * 2 {
            new(claim(&replays, &number.to_string(), b"")).done(answer(1));
        }
        let sizes = || {
            let book = replays.book();
            (book.entries.len(), book.order.len(), book.bytes)
        };
        let (entries, order, _) = sizes();
        assert!(entries <= MOST && order <= MOST, "{order}");
        for number in 0..100 {
            new(claim(&replays, &format!("long {number}"), b"")).done(answer(MAX_ANSWER_BYTES));
        }
        assert!(sizes().2 <= MAX_ALL_BYTES + MAX_ANSWER_BYTES);
        tokio::time::advance(KEPT).await;
        drop(new(claim(&replays, "last", b"")));
        assert_eq!(sizes(), (0, 0, 0));
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_is_not_kept_and_nothing_is_done_twice() {
        let replays = Arc::new(Replays::default());
        new(claim(&replays, "k", b"")).done(answer(MAX_ANSWER_BYTES + 1));
        let Claim::Before(before) = claim(&replays, "k", b"") else {
            panic!("new")
        };
        let told = before.borrow().clone().unwrap().told();
        assert_eq!(told.err().unwrap().code, "runtime.answer_not_kept");
    }
}
