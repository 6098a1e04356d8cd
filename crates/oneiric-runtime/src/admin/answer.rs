//! From a request to its answer, whatever happens in between: every request gets an id, a time limit, and a body that
//! says what went wrong; a handler that panics is an internal error of that request and nothing else.

mod once;
mod respond;

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    hash::{BuildHasher, RandomState},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    Method, Request, Response,
    body::{Body, Incoming},
    header::{self, HeaderMap, HeaderValue},
};
use oneiric_core::ErrorKind;
use tracing::{Instrument, Level, Span, field};

use self::once::idempotency_key;
pub(super) use self::respond::unreadable;
use super::{
    asked::{self, Asked},
    budget::Share,
    connection::Told,
    entrance::{Caller, Entrance},
    guard::Guarded,
    places::{Place, Places},
    problem::{Answer, Content, Problem},
    replay::Replays,
    request_log::Line,
    seldom::Seldom,
    shares::{FEW_PLACES, Shares},
    table::{self, Access, Handler, Row},
};
use crate::{runtime::Runtime, settings::Role};

pub(super) const REQUEST_ID: &str = "x-request-id";
/// The longest id or key that a client may choose.
const MAX_NAME: usize = 64;
/// What all connections share.
pub(super) struct Admin {
    pub(super) runtime: Runtime,
    /// Tells the ids of this process from those of others in one log.
    process: u32,
    requests: AtomicU64,
    /// Places for connections over the socket; whoever comes over TCP cannot take them.
    pub(super) places: Arc<Places>,
    /// Places for connections over TCP.
    #[cfg(feature = "tls")]
    pub(super) tcp_places: Arc<Places>,
    /// Places for TLS handshakes.
    #[cfg(feature = "tls")]
    pub(super) handshakes: Arc<Places>,
    #[cfg(feature = "tls")]
    pub(super) tokens: super::tokens::Tokens,
    #[cfg(feature = "tls")]
    pub(super) failures: super::failures::Failures,
    pub(super) shares: Shares,
    replays: Arc<Replays>,
    pub(super) seldom: Seldom,
}

/// An answer and what goes with it.
struct Done {
    answer: Answer,
    share: Option<Share>,
    /// Whether it was given before.
    replayed: bool,
}

impl Admin {
    pub(super) fn new(runtime: Runtime, places: usize) -> Self {
        let random = RandomState::new().hash_one(0);
        let process = u32::try_from(random >> 32).unwrap_or_default();
        Self {
            runtime,
            process,
            requests: AtomicU64::new(0),
            places: Arc::new(Places::new(places)),
            #[cfg(feature = "tls")]
            tcp_places: Arc::new(Places::new(places)),
            #[cfg(feature = "tls")]
            handshakes: Arc::new(Places::new(places.div_ceil(2))),
            #[cfg(feature = "tls")]
            tokens: super::tokens::Tokens::default(),
            #[cfg(feature = "tls")]
            failures: super::failures::Failures::default(),
            shares: Shares::new(places),
            replays: Arc::default(),
            seldom: Seldom::default(),
        }
    }

    pub(super) async fn answer(
        self: Arc<Self>,
        entrance: Arc<Entrance>,
        place: Arc<Place>,
        request: Request<Incoming>,
    ) -> Result<Response<Told>, Infallible> {
        let id = self.request_id(request.headers());
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let limit = self.runtime.settings().request_limit();
        let mut who = entrance.stranger();
        let mut unread = !request.body().is_end_stream();
        // Around everything that is logged while it is answered, at whatever level; hence of level error.
        let span = tracing::error_span!("admin_request", request_id = id, who = field::Empty);
        let handled = self.handle(
            &entrance,
            &place,
            &mut who,
            &mut unread,
            id.clone(),
            request,
        );
        let handled = catch_panic(handled.instrument(span));
        let result = match tokio::time::timeout(limit, handled).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(self.panicked(&panic)),
            Err(_) => Err(late(&method, limit)),
        };
        let result = result.map_err(|problem| problem.covered(&self.runtime));
        let status = match &result {
            Ok(done) => done.answer.status,
            Err(problem) => problem.status,
        };
        let route = table::known(&path);
        let line = Line {
            id: &id,
            method: method.as_str(),
            route,
            status,
            who: &who,
            replayed: match &result {
                Ok(done) => done.replayed,
                Err(problem) => problem.replayed,
            },
            changes: table::changes(&method, &path),
            problem: result.as_ref().err(),
        };
        line.log(&self.seldom);
        #[cfg(feature = "metrics")]
        self.runtime.inner.metrics.request(route, status);
        if let Err(problem) = &result {
            self.refused(problem.code);
        }
        let mut response = self.respond(&id, result, &place, entrance.audience());
        // Idle connections are a convenience as long as nobody waits for their places.
        let places = entrance.places(&self);
        // A body that nobody reads ends the connection; a client that is not told would use it again in vain.
        if unread || places.taken() + FEW_PLACES > places.most() {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Ok(response)
    }

    async fn handle(
        self: &Arc<Self>,
        entrance: &Arc<Entrance>,
        place: &Place,
        who: &mut Arc<str>,
        unread: &mut bool,
        id: String,
        request: Request<Incoming>,
    ) -> Result<Done, Problem> {
        let row = table::find(request.method(), request.uri().path());
        let open = row.as_ref().is_ok_and(|row| row.access == Access::Open);
        let caller = match entrance.caller(self, request.headers(), place).await {
            Ok(caller) => caller,
            Err(_) if open => Caller::new(entrance.stranger(), Role::Read),
            Err(problem) => return Err(problem),
        };
        *who = Arc::clone(&caller.who);
        Span::current().record("who", &*caller.who);
        #[cfg(feature = "tls")]
        super::site::check(entrance, request.headers(), request.body())?;
        let row = row?;
        if row.access == Access::Operate && caller.role < Role::Operate {
            let message = format!("{} may only read", caller.who);
            let code = "runtime.role_denied";
            return Err(Problem::new(403, code, ErrorKind::Denied, message));
        }
        let (head, body) = request.into_parts();
        // Before anything of it is refused: who may ask is heard out, so that the connection can go on.
        let body = match row.takes {
            Some(_) => {
                let body = asked::collect(body).await?;
                *unread = false;
                body
            }
            None => Bytes::new(),
        };
        let params = asked::params(row, head.uri.query().unwrap_or_default())?;
        let key = idempotency_key(row, &head.headers)?;
        let last_event = head.headers.get("last-event-id").and_then(name);
        let last_event = last_event.map(str::to_owned);
        let share = self.shares.share(row, entrance, &caller)?.map(Arc::new);
        if share.is_some() {
            place.give_back();
        }
        let mut asked = Asked::new(caller.who.to_string(), id, params, body);
        asked.last_event = last_event;
        asked.audience = entrance.audience();
        let (mut answer, replayed) = match key {
            Some(key) => self.once(row, key, asked, share.clone()).await?,
            None => (self.run(row, asked).await?, false),
        };
        // What is written for long has its share until it is.
        let is_long = match row.handle {
            Handler::Stream(_) => {
                let body = answer.body.written(&self.runtime, entrance.audience());
                let guarded =
                    Guarded::new(body, Arc::clone(self), Arc::clone(entrance), &head.headers);
                answer.body = Content::stream(guarded);
                true
            }
            Handler::Long(_) | Handler::Copy(_) => true,
            Handler::Now(_) | Handler::Later(_) | Handler::Call(_) => false,
        };
        Ok(Done {
            answer,
            share: share.and_then(Arc::into_inner).filter(|_| is_long),
            replayed,
        })
    }

    async fn run(self: &Arc<Self>, row: &Row, asked: Asked) -> Result<Answer, Problem> {
        match row.handle {
            Handler::Now(handle) => handle(self, &asked),
            Handler::Later(handle)
            | Handler::Call(handle)
            | Handler::Long(handle)
            | Handler::Copy(handle)
            | Handler::Stream(handle) => handle(Arc::clone(self), asked).await,
        }
    }

    /// What is in use, by name.
    #[cfg(feature = "metrics")]
    pub(super) fn in_use(&self) -> Vec<(&'static str, usize)> {
        let places = [
            ("socket_connections", self.places.taken()),
            #[cfg(feature = "tls")]
            ("tcp_connections", self.tcp_places.taken()),
            #[cfg(feature = "tls")]
            ("late_refusals", self.failures.waiting()),
        ];
        places.into_iter().chain(self.shares.in_use()).collect()
    }

    /// Counts something that was not taken.
    #[cfg_attr(
        not(feature = "metrics"),
        expect(clippy::unused_self, reason = "without metrics nobody counts")
    )]
    pub(super) fn refused(&self, reason: &'static str) {
        #[cfg(feature = "metrics")]
        self.runtime.inner.metrics.refused(reason);
        #[cfg(not(feature = "metrics"))]
        let _ = reason;
    }

    /// A handler panicked, perhaps over something that a component said.
    fn panicked(&self, message: &str) -> Problem {
        let message = format!("the handler panicked: {message}");
        Problem::internal(self.runtime.redactor().redact(&message).into_owned())
    }

    /// The caller's id if it is harmless in a log, else one of our own.
    fn request_id(&self, headers: &HeaderMap) -> String {
        let theirs = headers.get(REQUEST_ID).and_then(name);
        theirs.map_or_else(|| self.next_id(), str::to_owned)
    }

    /// An id that nobody had before.
    pub(super) fn next_id(&self) -> String {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        format!("{:08x}-{number}", self.process)
    }
}

fn late(method: &Method, limit: Duration) -> Problem {
    let goes_on = if method == Method::POST {
        "; what it began may still go on"
    } else {
        ""
    };
    let message = format!("not done within {} ms{goes_on}", limit.as_millis());
    Problem {
        level: Level::WARN,
        ..Problem::new(504, "runtime.request_late", ErrorKind::Timeout, message)
    }
}

impl Done {
    const fn whole(answer: Answer) -> Self {
        Self {
            answer,
            share: None,
            replayed: false,
        }
    }
}

/// A name that a client chose, if it is harmless: letters, digits, `-`, `_`, `.`.
fn name(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_one = !text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(fine);
    is_one.then_some(text)
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

/// Runs a future; a panic in it is an error with the panic's message.
async fn catch_panic<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(ToString::to_string);
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                Poll::Ready(Err(text.unwrap_or_else(|| "without a message".to_owned())))
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_internal_error_of_that_request() {
        let panic = catch_panic(async { panic!("boom {}", 7) }).await;
        let problem = Problem::internal(panic.map(|()| String::new()).unwrap_err());
        assert_eq!((problem.status, problem.code), (500, "runtime.internal"));
        assert_eq!(&*problem.message, "internal error: boom 7");
    }
}
