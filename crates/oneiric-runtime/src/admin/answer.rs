//! From a request to its answer, whatever happens in between: every request gets an id, a time limit, and a body that
//! says what went wrong; a handler that panics is an internal error of that request and nothing else.

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
    Method, Request, Response, StatusCode,
    body::{Body, Incoming},
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use oneiric_core::ErrorKind;
use tracing::{Instrument, Level, Span, field};

use super::{
    asked::{self, Asked},
    budget::Share,
    connection::Told,
    entrance::{Caller, Entrance},
    guard::Guarded,
    places::{Place, Places},
    problem::{Answer, Content, Problem},
    replay::{Claim, Key, Outcome, Replays},
    request_log::Line,
    seldom::Seldom,
    shares::{FEW_PLACES, Shares},
    table::{self, Access, Handler, Row, Verb},
};
use crate::{conceal::Audience, runtime::Runtime, settings::Role};

pub(super) const REQUEST_ID: &str = "x-request-id";
const IDEMPOTENCY_KEY: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
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

    /// Does what carries a key once, however often it is asked for. It goes on when whoever asked is gone or was told
    /// that it is late; only a call ends then, for a component may never answer.
    async fn once(
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

    fn respond(
        &self,
        id: &str,
        result: Result<Done, Problem>,
        place: &Arc<Place>,
        audience: Audience,
    ) -> Response<Told> {
        let (mut allow, mut authenticate, mut again, mut retry_after) = (None, false, false, None);
        let mut close = false;
        let done = result.or_else(|problem| {
            allow = problem.allow;
            authenticate = problem.authenticate;
            again = problem.replayed;
            close = problem.close;
            retry_after = problem.retry_after(self.runtime.inner.clock.now());
            let document = problem.document(id, &self.runtime, audience);
            let answer = Answer::json(document.0, &document.1)?;
            Ok(Done::whole(answer))
        });
        // A document of texts always has a JSON form; if that should ever change, the status still says it.
        let done = done.unwrap_or_else(|_: Problem| {
            Done::whole(Answer::whole(500, "text/plain", Bytes::new()))
        });
        let Done {
            answer,
            share,
            replayed,
        } = done;
        // What has a share ends its connection; so does what found no place any more when it was done.
        let close = close || share.is_some() || !place.retake();
        let body = answer.body.written(&self.runtime, audience);
        let body = Told::new(body, Arc::clone(place), share);
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(answer.content_type),
        );
        // What a slot says now is not what it says in a moment; and no content is ever a page.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        if let Some(methods) = allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods.names()));
        }
        if let Some(wait) = retry_after {
            // Whole seconds, rounded up: what is asked for too early is refused again.
            let seconds = u64::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if authenticate {
            let scheme = HeaderValue::from_static("Bearer realm=\"oneiric\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if replayed || again {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        if close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Ok(id) = HeaderValue::from_str(id) {
            headers.insert(REQUEST_ID, id);
        }
        response
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

/// The key under which a change is done once.
fn idempotency_key(row: &Row, headers: &HeaderMap) -> Result<Option<String>, Problem> {
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

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

/// The whole answer, head and body, to what is no request.
pub(super) fn unreadable(id: &str, status: u16) -> Vec<u8> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let (code, message) = if status == StatusCode::BAD_REQUEST {
        (
            "runtime.request_unreadable",
            "this is no valid HTTP/1 request",
        )
    } else {
        let message = "the head of the request is longer than 64 KiB, or announces too long a body";
        ("runtime.header_too_large", message)
    };
    let problem = Problem::new(status.as_u16(), code, ErrorKind::Usage, message);
    // A document of texts always has a JSON form.
    let body = serde_json::to_string(&problem.plain(id)).unwrap_or_default();
    let length = body.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         {REQUEST_ID}: {id}\r\nconnection: close\r\n\r\n{body}\n"
    )
    .into_bytes()
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
