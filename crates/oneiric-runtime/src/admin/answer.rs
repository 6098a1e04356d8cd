//! From a request to its answer, whatever happens in between: every request gets an id, a time limit, and a body that
//! says what went wrong; a handler that panics is an internal error of that request and nothing else.

use std::{
    convert::Infallible,
    future::Future,
    hash::{BuildHasher, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
};

use bytes::Bytes;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderMap, HeaderValue},
};
use oneiric_core::ErrorKind;
use tokio::sync::Semaphore;
use tracing::{Instrument, Level};

use super::{
    asked::{self, Asked},
    problem::{Answer, Problem, Written},
    request_log::Line,
    routes::MAX_CALLS,
    table::{self, Handler},
};
use crate::runtime::Runtime;

pub(super) const REQUEST_ID: &str = "x-request-id";
const MAX_REQUEST_ID: usize = 64;
/// With fewer places left for connections than this, none is kept open for a next request: as many as calls leave.
const FEW_PLACES: usize = 16;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Admin {
    pub(super) runtime: Runtime,
    /// Tells the ids of this process from those of others in one log.
    process: u32,
    requests: AtomicU64,
    /// Places for connections.
    pub(super) places: Arc<Semaphore>,
    /// Places for calls of components.
    pub(super) calls: Semaphore,
}

impl Admin {
    pub(super) fn new(runtime: Runtime, places: usize) -> Self {
        let random = std::hash::RandomState::new().build_hasher().finish();
        let process = u32::try_from(random >> 32).unwrap_or_default();
        Self {
            runtime,
            process,
            requests: AtomicU64::new(0),
            places: Arc::new(Semaphore::new(places)),
            calls: Semaphore::new(MAX_CALLS),
        }
    }

    pub(super) async fn answer(
        self: Arc<Self>,
        peer: u32,
        request: Request<Incoming>,
    ) -> Result<Response<Written>, Infallible> {
        let id = self.request_id(request.headers());
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let limit = self.runtime.settings().request_limit();
        // Around everything that is logged while it is answered, at whatever level; hence of level error.
        let span = tracing::error_span!("admin_request", request_id = id, uid = peer);
        let handled = catch_panic(self.handle(peer, id.clone(), request).instrument(span));
        let result = match tokio::time::timeout(limit, handled).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(Problem::internal(format!("the handler panicked: {panic}"))),
            Err(_) => Err(late(&method, limit)),
        };
        let status = match &result {
            Ok(answer) => answer.status,
            Err(problem) => problem.status,
        };
        let route = table::known(&path);
        let line = Line {
            id: &id,
            method: method.as_str(),
            route,
            status,
            peer,
            problem: result.as_ref().err(),
        };
        line.log();
        #[cfg(feature = "metrics")]
        self.runtime.inner.metrics.request(route, status);
        let mut response = respond(&id, result);
        // Idle connections are a convenience as long as nobody waits for their places.
        if self.places.available_permits() < FEW_PLACES {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Ok(response)
    }

    async fn handle(
        self: &Arc<Self>,
        peer: u32,
        id: String,
        request: Request<Incoming>,
    ) -> Result<Answer, Problem> {
        let row = table::find(request.method(), request.uri().path())?;
        let params = asked::params(row, request.uri().query().unwrap_or_default())?;
        let body = match row.takes {
            Some(_) => asked::collect(request.into_body()).await?,
            None => Bytes::new(),
        };
        let asked = Asked::new(format!("uid:{peer}"), id, params, body);
        match row.handle {
            Handler::Now(handle) => handle(self, &asked),
            Handler::Later(handle) => handle(Arc::clone(self), asked).await,
        }
    }

    /// The caller's id if it is harmless in a log, else one of our own.
    fn request_id(&self, headers: &HeaderMap) -> String {
        let harmless = |text: &&str| {
            let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !text.is_empty() && text.len() <= MAX_REQUEST_ID && text.bytes().all(fine)
        };
        match headers
            .get(REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .filter(harmless)
        {
            Some(theirs) => theirs.to_owned(),
            None => self.next_id(),
        }
    }

    /// An id that nobody had before.
    pub(super) fn next_id(&self) -> String {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        format!("{:08x}-{number}", self.process)
    }
}

fn late(method: &Method, limit: std::time::Duration) -> Problem {
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

fn respond(id: &str, result: Result<Answer, Problem>) -> Response<Written> {
    let mut allow = None;
    let answer = result.or_else(|mut problem| {
        allow = problem.allow.take();
        Answer::json(problem.status, &problem.document(id))
    });
    // A document of texts always has a JSON form; if that should ever change, the status still says it.
    let answer = answer.unwrap_or_else(|_| Answer::whole(500, "text/plain", Bytes::new()));
    let mut response = Response::new(answer.body.written());
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(answer.content_type),
    );
    if let Some(methods) = allow.and_then(|methods| HeaderValue::from_str(&methods).ok()) {
        headers.insert(header::ALLOW, methods);
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    response
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
    let body = serde_json::to_string(&problem.document(id)).unwrap_or_default();
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
        assert_eq!(problem.message, "internal error: boom 7");
    }
}
