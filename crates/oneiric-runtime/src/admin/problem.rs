//! What comes of a request: an answer, or why there is none.

use std::{
    borrow::Cow,
    convert::Infallible,
    error::Error,
    io,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Body;
use oneiric_core::{Coded, ErrorKind};
use oneiric_lifecycle::{CallError, LifecycleError};
use serde::Serialize;
use tracing::Level;

use super::{
    request_log::{Called, cut},
    table::Methods,
};
use crate::{
    api::{ErrorDoc, ErrorFields, kind, schema},
    conceal::Audience,
    error::RuntimeError,
    runtime::Runtime,
};

/// The longest message; what a client sent may be quoted in one.
const MAX_MESSAGE_BYTES: usize = 2 << 10;
/// For the words that say how long it was before it was cut.
const CUT_BYTES: usize = 40;

/// What clients in production are told of a defect of ours.
const DEFECT: &str = "internal error; the log of the process has more under this request id";

const JSON: &str = "application/json";

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
    /// All of it, as it is.
    Whole(Bytes),
    /// A document of ours, in JSON, whose words depend on who is told.
    Document(Bytes),
    /// As it comes; an error ends the connection.
    Stream(Written),
}

/// Why a request is not done.
#[derive(Clone)]
pub(super) struct Problem {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) kind: ErrorKind,
    pub(super) message: Box<str>,
    /// What is behind the message, if that says more.
    pub(super) causes: Option<Box<str>>,
    pub(super) hint: Option<String>,
    /// The methods that would have been taken.
    pub(super) allow: Option<Methods>,
    /// Whether to say how one can show who one is.
    pub(super) authenticate: bool,
    /// Whether the connection ends with it.
    pub(super) close: bool,
    /// Whether it was refused before anything was begun, so that the same may be asked again.
    pub(super) did_nothing: bool,
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
        Ok(Self {
            status,
            content_type: JSON,
            body: Content::Document(body.into()),
        })
    }

    /// A document that hands out what others keep here, none of whose words are ours to change.
    pub(super) fn verbatim(status: u16, document: &impl Serialize) -> Result<Self, Problem> {
        let answer = Self::json(status, document)?;
        Ok(match answer.body {
            Content::Document(body) => Self::whole(status, JSON, body),
            _ => answer,
        })
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
            body: Content::stream(body),
        }
    }
}

impl Content {
    pub(super) fn stream(
        body: impl Body<Data = Bytes, Error = io::Error> + Send + 'static,
    ) -> Self {
        Self::Stream(body.boxed_unsync())
    }

    /// As `audience` gets it.
    pub(super) fn written(self, runtime: &Runtime, audience: Audience) -> Written {
        let bytes = match self {
            Self::Whole(bytes) => bytes,
            Self::Document(json) => runtime.document_for(audience, json),
            Self::Stream(body) => return body,
        };
        Full::new(bytes)
            .map_err(|never: Infallible| match never {})
            .boxed_unsync()
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
            message: message.into().into(),
            causes: None,
            hint: None,
            allow: None,
            authenticate: false,
            close: false,
            did_nothing: false,
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

    /// The same without secrets, and as short as it is logged and told. In this order: of a secret that was cut, the
    /// rest would not be found.
    pub(super) fn covered(self, runtime: &Runtime) -> Self {
        let redactor = runtime.redactor();
        let cover = |text: &str| Box::from(short(&redactor.redact(text)));
        Self {
            message: cover(&self.message),
            causes: self.causes.as_deref().map(cover),
            ..self
        }
    }

    /// How long it is from `now` until the same request is going to be taken, where that is known.
    pub(super) fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        let at = self.retry_at.as_deref()?;
        Some(at.duration_since(now).unwrap_or_default())
    }

    /// The status, and what the client is told; `id` finds the rest in the log.
    ///
    /// To clients in production that is the code, the message without places on this machine, and the id; of a defect
    /// of ours only that it is one. To the owner, and in development, it is everything.
    pub(super) fn document(self, id: &str, runtime: &Runtime, to: Audience) -> (u16, ErrorDoc) {
        // Again, if it was before: nobody gets it otherwise.
        let problem = self.covered(runtime);
        problem.told(id, runtime, to)
    }

    fn told(self, id: &str, runtime: &Runtime, to: Audience) -> (u16, ErrorDoc) {
        let (status, kind) = (self.status, self.kind);
        let causes = self.causes.clone();
        let retry_after = self.retry_after(runtime.inner.clock.now());
        let ms = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let mut document = self.plain(id);
        let error = &mut document.error;
        error.retry_after_ms = retry_after.map(ms);
        error.message = match (runtime.tells_all(to), kind) {
            (false, ErrorKind::Internal) => DEFECT.to_owned(),
            _ => runtime.text_for(to, &error.message),
        };
        error.hint = error.hint.as_deref().map(|hint| runtime.text_for(to, hint));
        if runtime.tells_all(to) {
            error.detail = causes.map(|causes| runtime.text_for(to, &causes));
        }
        (status, document)
    }

    /// The same of a text of ours, in which nothing has to be covered.
    pub(super) fn plain(self, id: &str) -> ErrorDoc {
        ErrorDoc {
            schema: schema::ERROR.into(),
            error: ErrorFields {
                code: self.code.into(),
                kind: kind::name(self.kind).into(),
                message: self.message.into(),
                request_id: id.into(),
                hint: self.hint,
                retry_after_ms: None,
                detail: None,
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
            did_nothing: did_nothing(&error),
            causes: causes(&error),
            level,
            ..Self::new(kind::status(kind), code, kind, error.to_string())
        }
    }
}

/// Whether an error says that what was asked for was refused before it was begun: at the gate, or by a store that a
/// change has to be written to first. Whatever a component said, or how far an activation came, is an outcome.
const fn did_nothing(error: &RuntimeError) -> bool {
    match error {
        RuntimeError::Lifecycle(error)
        | RuntimeError::Call {
            error: CallError::NotServed(error),
            ..
        } => matches!(
            error,
            LifecycleError::Busy { .. }
                | LifecycleError::HandingOver { .. }
                | LifecycleError::InUse { .. }
                | LifecycleError::NotActive { .. }
                | LifecycleError::Stopped { .. }
        ),
        RuntimeError::State(_) => true,
        _ => false,
    }
}

/// Cuts a text to the longest that is told; one that was cut already stays as it is.
fn short(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_MESSAGE_BYTES {
        return Cow::Borrowed(text);
    }
    cut(text, MAX_MESSAGE_BYTES - CUT_BYTES)
}

/// What is behind an error, from what it says itself to what began it.
fn causes(error: &RuntimeError) -> Option<Box<str>> {
    let mut text = error.to_string();
    let mut cause = error.source()?;
    loop {
        text.push_str(&format!(": {cause}"));
        match cause.source() {
            Some(next) => cause = next,
            None => return Some(text.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{RuntimeBuilder, Settings};

    fn runtime(mode: &str) -> Runtime {
        let text = format!("state_dir = \"/srv/state\"\n[run]\nerror_mode = \"{mode}\"\n");
        let settings = Settings::parse(&text, "oneiric.toml").unwrap();
        RuntimeBuilder::new(settings).build().unwrap()
    }

    #[test]
    fn p85_in_production_a_defect_is_only_called_one() {
        for (mode, told) in [("production", false), ("development", true)] {
            let problem = Problem::internal("index out of bounds: the len is 3".to_owned());
            let (status, document) = problem.document("7-1", &runtime(mode), Audience::Client);
            assert_eq!(
                (status, &*document.error.code),
                (500, "runtime.internal"),
                "{mode}"
            );
            let message = &document.error.message;
            assert_eq!(message.contains("out of bounds"), told, "{message}");
            assert_eq!(message == DEFECT, !told, "{message}");
        }
    }

    /// Errors whose words name places, their own or those of a component.
    fn errors() -> Vec<RuntimeError> {
        let path = || PathBuf::from("/srv/state/lock");
        let source = || io::Error::other("denied by /srv/policy");
        let said = "cannot write /srv/data/x.db: denied";
        vec![
            RuntimeError::AlreadyRunning {
                state_dir: path(),
                holder: Some(7),
            },
            RuntimeError::SocketInUse { path: path() },
            RuntimeError::StateDirLookedAt { path: path() },
            RuntimeError::StateDir {
                doing: "opening the lock",
                path: path(),
                source: source(),
            },
            RuntimeError::StateDirOpen {
                path: path(),
                mode: 0o755,
            },
            RuntimeError::Socket {
                path: path(),
                source: source(),
            },
            RuntimeError::RequestInvalid {
                message: said.to_owned(),
            },
            RuntimeError::Call {
                provider: "file".parse().unwrap(),
                error: CallError::failed(said),
            },
            RuntimeError::Internal {
                message: "panicked at /srv/src/x.rs:1".to_owned(),
            },
        ]
    }

    #[test]
    fn p85_in_production_no_error_tells_clients_places_or_causes() {
        let runtime = runtime("production");
        for error in errors() {
            let code = error.code();
            let problem = Problem::from(error);
            let (_, document) = problem.document("r-1", &runtime, Audience::Client);
            let text = serde_json::to_string(&document).unwrap();
            assert!(!text.contains("/srv") && !text.contains("policy"), "{text}");
            assert_eq!(
                (document.error.code.as_str(), document.error.detail),
                (code, None)
            );
            assert_eq!(document.error.request_id, "r-1");
        }
    }

    #[test]
    fn p85_in_development_and_to_the_owner_errors_tell_everything() {
        for (mode, to) in [
            ("development", Audience::Client),
            ("production", Audience::Owner),
        ] {
            let runtime = runtime(mode);
            for error in errors() {
                let has_source = Error::source(&error).is_some();
                let (_, document) = Problem::from(error).document("r-1", &runtime, to);
                assert!(document.error.message.contains("/srv"), "{document:?}");
                if has_source {
                    let detail = document.error.detail.as_deref().unwrap();
                    assert!(detail.contains(&document.error.message), "{detail}");
                }
            }
        }
    }

    #[test]
    fn p85_whatever_the_code_the_message_tells_no_place() {
        let runtime = runtime("production");
        let page = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/reference/errors.md"
        );
        let page = std::fs::read_to_string(page).unwrap();
        let codes: Vec<&'static str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .map(|code| &*code.to_owned().leak())
            .collect();
        assert!(codes.len() > 50, "{codes:?}");
        for code in codes {
            let problem = Problem {
                hint: Some("chmod 700 /srv/state".to_owned()),
                causes: Some("because of /srv/policy".into()),
                ..Problem::new(500, code, ErrorKind::Unavailable, "/srv/state/x is gone")
            };
            let (_, document) = problem.document("r-1", &runtime, Audience::Client);
            let text = serde_json::to_string(&document).unwrap();
            assert!(!text.contains('/') || !text.contains("srv"), "{text}");
        }
    }
}
