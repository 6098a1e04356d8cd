//! What comes of a request: an answer, or why there is none.

use std::{
    convert::Infallible,
    io,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Body;
use oneiric_core::{Coded, ErrorKind};
use serde::Serialize;
use tracing::Level;

use super::request_log::{Called, cut};
use crate::{
    api::{ErrorDoc, ErrorFields, kind, schema},
    error::RuntimeError,
    runtime::Runtime,
};

/// The longest message; what a client sent may be quoted in one.
const MAX_MESSAGE_BYTES: usize = 2 << 10;

/// What is written as the body of an answer, whole or as it comes.
pub(super) type Written = UnsyncBoxBody<Bytes, io::Error>;

/// What a handler gives back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: Content,
}

/// What an answer holds.
pub(super) enum Content {
    /// All of it.
    Whole(Bytes),
    /// As it comes; an error ends the connection.
    Stream(Written),
}

/// Why a request is not done.
#[derive(Clone)]
pub(super) struct Problem {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) kind: ErrorKind,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    pub(super) allow: Option<String>,
    /// Whether to say how one can show who one is.
    pub(super) authenticate: bool,
    /// Whether it was given before.
    pub(super) replayed: bool,
    /// When the same request is going to be taken, where that is known. Boxed, for it is rare, and results are moved.
    pub(super) retry_at: Option<Box<SystemTime>>,
    /// Client mistakes are information; a warning is something that an operator should look at.
    pub(super) level: Level,
    pub(super) called: Option<Box<Called>>,
}

impl Answer {
    pub(super) fn json(status: u16, document: &impl Serialize) -> Result<Self, Problem> {
        let mut body =
            serde_json::to_vec(document).map_err(|error| Problem::internal(error.to_string()))?;
        body.push(b'\n');
        Ok(Self::whole(status, "application/json", body))
    }

    pub(super) fn whole(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type,
            body: Content::Whole(body.into()),
        }
    }

    /// An answer of which nobody knows yet how long it becomes.
    pub(super) fn stream(
        content_type: &'static str,
        body: impl Body<Data = Bytes, Error = io::Error> + Send + 'static,
    ) -> Self {
        Self {
            status: 200,
            content_type,
            body: Content::Stream(body.boxed_unsync()),
        }
    }
}

impl Content {
    pub(super) fn written(self) -> Written {
        match self {
            Self::Whole(bytes) => Full::new(bytes)
                .map_err(|never: Infallible| match never {})
                .boxed_unsync(),
            Self::Stream(body) => body,
        }
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
            authenticate: false,
            replayed: false,
            retry_at: None,
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

    /// How long it is from `now` until the same request is going to be taken, where that is known.
    pub(super) fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        let at = self.retry_at.as_deref()?;
        Some(at.duration_since(now).unwrap_or_default())
    }

    /// The status, and what the client is told; `id` finds the rest in the log.
    pub(super) fn document(self, id: &str, runtime: &Runtime) -> (u16, ErrorDoc) {
        let (status, redactor) = (self.status, runtime.redactor());
        let retry_after = self.retry_after(runtime.inner.clock.now());
        let mut document = self.plain(id);
        let error = &mut document.error;
        let ms = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        error.retry_after_ms = retry_after.map(ms);
        error.message = redactor.redact(&error.message).into_owned();
        error.hint = error
            .hint
            .as_deref()
            .map(|hint| redactor.redact(hint).into_owned());
        (status, document)
    }

    /// The same of a text of ours, in which nothing has to be covered.
    pub(super) fn plain(self, id: &str) -> ErrorDoc {
        ErrorDoc {
            schema: schema::ERROR.into(),
            error: ErrorFields {
                code: self.code.into(),
                kind: kind::name(self.kind).into(),
                message: self.message,
                request_id: id.into(),
                hint: self.hint,
                retry_after_ms: None,
            },
        }
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
            retry_at: error.retry_at().map(Box::new),
            level,
            ..Self::new(kind::status(kind), code, kind, error.to_string())
        }
    }
}
