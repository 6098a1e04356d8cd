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
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderMap, HeaderValue},
};
use oneiric_core::{Coded, ErrorKind};
use serde::Serialize;
use tokio::sync::Semaphore;
use tracing::Level;

use super::{
    request_log::{Called, Line, cut},
    route,
};
use crate::{
    api::{ErrorDoc, ErrorFields, kind, schema},
    error::RuntimeError,
    runtime::Runtime,
};

pub(super) const REQUEST_ID: &str = "x-request-id";
const MAX_REQUEST_ID: usize = 64;
/// With fewer places left for connections than this, none is kept open for a next request: as many as calls leave.
const FEW_PLACES: usize = 16;
/// The longest message; what a client sent may be quoted in one.
const MAX_MESSAGE_BYTES: usize = 2 << 10;

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

/// What a handler gives back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
}

/// Why a request is not done.
pub(super) struct Problem {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) kind: ErrorKind,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    pub(super) allow: Option<&'static str>,
    /// Client mistakes are information; a warning is something that an operator should look at.
    pub(super) level: Level,
    pub(super) called: Option<Box<Called>>,
}

/// One request as handlers see it.
pub(super) struct Asked {
    pub(super) peer: u32,
    pub(super) id: String,
    pub(super) request: Request<Incoming>,
}

impl Answer {
    pub(super) fn json(status: u16, document: &impl Serialize) -> Result<Self, Problem> {
        let mut body =
            serde_json::to_vec(document).map_err(|error| Problem::internal(error.to_string()))?;
        body.push(b'\n');
        Ok(Self {
            status,
            content_type: "application/json",
            body,
        })
    }
}

impl Problem {
    pub(super) fn new(
        status: u16,
        code: &'static str,
        kind: ErrorKind,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code,
            kind,
            message: cut(&message.into(), MAX_MESSAGE_BYTES).into_owned(),
            hint: None,
            allow: None,
            level: Level::INFO,
            called: None,
        }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        RuntimeError::RequestInvalid {
            message: message.into(),
        }
        .into()
    }

    pub(super) fn internal(message: String) -> Self {
        RuntimeError::Internal { message }.into()
    }
}

impl From<RuntimeError> for Problem {
    fn from(error: RuntimeError) -> Self {
        let (code, kind) = (error.code(), error.kind());
        let level = match &error {
            RuntimeError::Call { error, .. } if error.is_components_fault() => Level::WARN,
            _ if kind == ErrorKind::Internal => Level::ERROR,
            _ => Level::INFO,
        };
        Self {
            hint: error.hint(),
            level,
            ..Self::new(kind::status(kind), code, kind, error.to_string())
        }
    }
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
            calls: Semaphore::new(route::MAX_CALLS),
        }
    }

    pub(super) async fn answer(
        &self,
        peer: u32,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let id = self.request_id(request.headers());
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let route = route::find(&path);
        let limit = self.runtime.settings().request_limit();
        let handled = catch_panic(route::handle(
            self,
            route,
            Asked {
                peer,
                id: id.clone(),
                request,
            },
        ));
        let result = match tokio::time::timeout(limit, handled).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(Problem::internal(format!("the handler panicked: {panic}"))),
            Err(_) => Err(late(&method, limit)),
        };
        let status = match &result {
            Ok(answer) => answer.status,
            Err(problem) => problem.status,
        };
        let name = route.map_or("unknown", |route| route.path);
        let line = Line {
            id: &id,
            method: method.as_str(),
            route: name,
            status,
            peer,
            problem: result.as_ref().err(),
        };
        line.log();
        #[cfg(feature = "metrics")]
        self.runtime.inner.metrics.request(name, status);
        let mut response = respond(&id, result);
        // Idle connections are a convenience as long as nobody waits for their places.
        if self.places.available_permits() < FEW_PLACES {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Ok(response)
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

fn respond(id: &str, result: Result<Answer, Problem>) -> Response<Full<Bytes>> {
    let mut allow = None;
    let answer = result.or_else(|problem| {
        allow = problem.allow;
        Answer::json(problem.status, &document(id, problem))
    });
    // A document of texts always has a JSON form; if that should ever change, the status still says it.
    let answer = answer.unwrap_or(Answer {
        status: 500,
        content_type: "text/plain",
        body: Vec::new(),
    });
    let mut response = Response::new(Full::new(answer.body.into()));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(answer.content_type),
    );
    if let Some(methods) = allow {
        headers.insert(header::ALLOW, HeaderValue::from_static(methods));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

fn document(id: &str, problem: Problem) -> ErrorDoc {
    ErrorDoc {
        schema: schema::ERROR.into(),
        error: ErrorFields {
            code: problem.code.into(),
            kind: kind::name(problem.kind).into(),
            message: problem.message,
            request_id: id.into(),
            hint: problem.hint,
        },
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
    let body = serde_json::to_string(&document(id, problem)).unwrap_or_default();
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
