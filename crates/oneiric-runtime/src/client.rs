//! The other end of the admin API: one connection to a running process, over its socket or over TCP.
//!
//! A request whose connection breaks is sent again, twice at most: one that only asks because asking twice is
//! harmless, one that changes something because it carries an `Idempotency-Key`, under which the process does it once.
//! That holds as long as the process lives: one that is started anew knows nothing of the keys of the one before, so
//! that a change can be made twice if the process was killed right after it and started again before the second try.
//!
//! A client holds no state of the process it talks to and never touches its files: when nothing answers, that is
//! what it says.

mod builder;
mod connect;
mod error;
mod events;
mod send;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_words;

use std::{io, time::Duration};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use oneiric_core::{Provider, Slot};
use oneiric_lifecycle::ActivityScope;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use self::{builder::ClientBuilder, error::ClientError, events::EventSource};
use self::{
    connect::{Connection, Target},
    send::Keys,
};
use crate::api::{
    ActivityChangeDoc, ActivityDoc, ActivityRequest, AliveDoc, ApplyDoc, ApplyRequestDoc, CallDoc,
    CallRequest, ChangePlanDoc, ConfigDoc, ConfigExplainDoc, ErrorDoc, ExplainDoc, HealthDoc,
    HealthRequest, HistoryDoc, ListDoc, PlanRequestDoc, ReadyDoc, ReloadDoc, ReloadRequest,
    RotateDoc, RotateRequest, SecretsDoc, StateDoc, StatusDoc, SwapDoc, SwapRequestDoc,
    UndoRequestDoc, kind, query, schema,
};

/// The longest answer a client reads: 64 MiB.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// An answer: the document as this version knows it, and the JSON as it was sent. A pair with names: it is complete.
#[derive(Debug, Clone)]
pub struct Reply<T> {
    /// The document.
    pub doc: T,
    /// Every field that was sent, those that this version does not know among them.
    pub json: Value,
}

/// What to ask `explain`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExplainQuery {
    /// The slot.
    pub slot: Slot,
    /// Required capabilities.
    pub capabilities: Vec<String>,
    /// Whether one of the capabilities is enough.
    pub any: bool,
    /// Only candidates of this provider.
    pub provider: Option<Provider>,
    /// Assumptions, as `oneiric_core::Change` spells them.
    pub what_if: Vec<String>,
}

impl ExplainQuery {
    /// Asks who wins `slot`.
    #[must_use]
    pub const fn new(slot: Slot) -> Self {
        Self {
            slot,
            capabilities: Vec::new(),
            any: false,
            provider: None,
            what_if: Vec::new(),
        }
    }
}

/// One connection to a running process.
#[derive(Debug)]
pub struct Client {
    target: Target,
    limits: Limits,
    connection: Connection,
    keys: Keys,
}

/// How long to wait.
#[derive(Debug, Clone, Copy, Default)]
struct Limits {
    /// For any answer.
    any: Option<Duration>,
    /// For one to what changes nothing.
    reads: Option<Duration>,
}

impl Limits {
    /// The shorter one for what changes nothing.
    fn reads(self) -> Option<Duration> {
        self.any.into_iter().chain(self.reads).min()
    }

    fn of(self, method: &Method) -> Option<Duration> {
        if *method == Method::GET {
            self.reads()
        } else {
            self.any
        }
    }
}

impl Client {
    /// Gives up on an answer after `limit`, and on a backup or a stream of events when its beginning, and on a backup
    /// when any further part of it, is not there after that time; without it a request may take as long as the process
    /// lets it.
    #[must_use]
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.limits.any = Some(limit);
        self
    }

    /// Lists slots and candidates, of one domain if one is named.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn list(&mut self, domain: Option<&str>) -> Result<Reply<ListDoc>, ClientError> {
        let mut path = String::new();
        if let Some(domain) = domain {
            query::push(&mut path, "domain", domain);
        }
        self.get(&format!("/v1/list{path}")).await
    }

    /// Explains who wins a slot, and why.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn explain(
        &mut self,
        asked: &ExplainQuery,
    ) -> Result<Reply<ExplainDoc>, ClientError> {
        let mut path = String::new();
        query::push(&mut path, "slot", asked.slot.as_str());
        for capability in &asked.capabilities {
            query::push(&mut path, "capability", capability);
        }
        if asked.any {
            query::push(&mut path, "any", "true");
        }
        if let Some(provider) = &asked.provider {
            query::push(&mut path, "provider", provider.as_str());
        }
        for change in &asked.what_if {
            query::push(&mut path, "what_if", change);
        }
        self.get(&format!("/v1/explain{path}")).await
    }

    /// Returns the status of the process and of one slot or all.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&mut self, slot: Option<&Slot>) -> Result<Reply<StatusDoc>, ClientError> {
        self.get(&format!("/v1/status{}", of(slot))).await
    }

    /// Returns every setting in force and who set it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn config(&mut self) -> Result<Reply<ConfigDoc>, ClientError> {
        self.get("/v1/config").await
    }

    /// Explains one setting, such as `run.grace_ms`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn config_explain(
        &mut self,
        key: &str,
    ) -> Result<Reply<ConfigExplainDoc>, ClientError> {
        let mut path = String::new();
        query::push(&mut path, "key", key);
        self.get(&format!("/v1/config/explain{path}")).await
    }

    /// Returns what instances said of their health last.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn health(&mut self, slot: Option<&Slot>) -> Result<Reply<HealthDoc>, ClientError> {
        self.get(&format!("/v1/health{}", of(slot))).await
    }

    /// Has instances asked for their health now.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn probe(&mut self, slot: Option<&Slot>) -> Result<Reply<HealthDoc>, ClientError> {
        self.post(
            "/v1/health",
            &HealthRequest {
                slot: slot.cloned(),
            },
        )
        .await
    }

    /// Calls an operation.
    ///
    /// # Errors
    /// [`ClientError`], with the component's own code when it refused.
    pub async fn call(&mut self, request: &CallRequest) -> Result<Reply<CallDoc>, ClientError> {
        self.post("/v1/call", request).await
    }

    /// Exchanges what serves a slot. One that was rolled back is an answer, not an error: see [`SwapDoc::error`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn swap(&mut self, request: &SwapRequestDoc) -> Result<Reply<SwapDoc>, ClientError> {
        self.post("/v1/swap", request).await
    }

    /// Asks what selecting other providers for several slots would come to.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn plan(
        &mut self,
        request: &PlanRequestDoc,
    ) -> Result<Reply<ChangePlanDoc>, ClientError> {
        self.post("/v1/plan", request).await
    }

    /// Carries out a plan. One that was rolled back or is outdated is an answer, not an error: see
    /// [`ApplyDoc::error`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn apply(
        &mut self,
        request: &ApplyRequestDoc,
    ) -> Result<Reply<ApplyDoc>, ClientError> {
        self.post("/v1/apply", request).await
    }

    /// Takes revisions of selections back; ends as [`Client::apply`] does.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn undo(&mut self, request: &UndoRequestDoc) -> Result<Reply<ApplyDoc>, ClientError> {
        self.post("/v1/undo", request).await
    }

    /// Returns what is remembered of one slot or all.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn history(&mut self, slot: Option<&Slot>) -> Result<Reply<HistoryDoc>, ClientError> {
        self.get(&format!("/v1/history{}", of(slot))).await
    }

    /// Returns where state is kept and what is in it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn state(&mut self) -> Result<Reply<StateDoc>, ClientError> {
        self.get("/v1/state").await
    }

    /// Has the database of state copied, and writes the copy to `into` as it comes. Gives its length in bytes.
    ///
    /// Whoever wants to rely on it looks at it: an answer that was cut short is an error, a disk's are not seen here.
    /// Writing blocks. Not cancel-safe: what was written by then stays.
    ///
    /// # Errors
    /// [`ClientError`]; `runtime.connection_broken` too when `into` takes no more.
    pub async fn backup(&mut self, into: &mut (impl io::Write + Send)) -> Result<u64, ClientError> {
        let limit = self.limits.any;
        let asked = self.request(Method::GET, "/v1/state/backup", Bytes::new());
        let answer = send::within(limit, asked).await?;
        let (status, mut body) = (answer.status().as_u16(), answer.into_body());
        if status != 200 {
            let refused = send::within(limit, send::collect(body)).await?;
            return Err(refusal(status, &refused));
        }
        let mut length = 0;
        while let Some(frame) = send::within(limit, async { Ok(body.frame().await) }).await? {
            let frame = frame.map_err(|error| broken("reading the backup", &error))?;
            if let Ok(chunk) = frame.into_data() {
                into.write_all(&chunk)
                    .map_err(|error| broken("writing the backup", &error))?;
                length += chunk.len() as u64;
            }
        }
        Ok(length)
    }

    /// Has the settings read again. Ones that are refused or undone are an answer, not an error: see
    /// [`ReloadDoc::error`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reload(
        &mut self,
        request: &ReloadRequest,
    ) -> Result<Reply<ReloadDoc>, ClientError> {
        self.post("/v1/reload", request).await
    }

    /// Tells what is paused or draining; of one scope whether it runs, if one is named.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn activity(
        &mut self,
        scope: Option<&ActivityScope>,
    ) -> Result<Reply<ActivityDoc>, ClientError> {
        let mut path = String::new();
        if let Some(scope) = scope {
            query::push(&mut path, "scope", &scope.to_string());
        }
        self.get(&format!("/v1/activity{path}")).await
    }

    /// Pauses, drains or resumes a slot, a provider or a domain.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn set_activity(
        &mut self,
        request: &ActivityRequest,
    ) -> Result<Reply<ActivityChangeDoc>, ClientError> {
        self.post("/v1/activity", request).await
    }

    /// Lists the secrets that settings name.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn secrets(&mut self) -> Result<Reply<SecretsDoc>, ClientError> {
        self.get("/v1/secrets").await
    }

    /// Has secrets fetched anew, and given to whoever uses them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn rotate_secrets(
        &mut self,
        request: &RotateRequest,
    ) -> Result<Reply<RotateDoc>, ClientError> {
        self.post("/v1/secrets/rotate", request).await
    }

    /// Asks whether the process answers.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn alive(&mut self) -> Result<Reply<AliveDoc>, ClientError> {
        self.get("/healthz").await
    }

    /// Asks whether every slot serves.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn ready(&mut self) -> Result<Reply<ReadyDoc>, ClientError> {
        self.get("/readyz").await
    }

    /// Returns the metrics in Prometheus' text form.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn metrics(&mut self) -> Result<String, ClientError> {
        let (status, body) = self.exchange(Method::GET, "/metrics", Bytes::new()).await?;
        if status != 200 {
            return Err(refusal(status, &body));
        }
        String::from_utf8(body.into()).map_err(|error| ClientError::Unreadable {
            message: error.to_string(),
        })
    }

    async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<Reply<T>, ClientError> {
        let (status, body) = self.exchange(Method::GET, path, Bytes::new()).await?;
        read(status, &body)
    }

    async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Reply<T>, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Broken {
            doing: "writing the request",
            message: error.to_string(),
        })?;
        let (status, body) = self.exchange(Method::POST, path, body.into()).await?;
        read(status, &body)
    }
}

fn broken(doing: &'static str, error: &dyn std::error::Error) -> ClientError {
    ClientError::Broken {
        doing,
        message: error.to_string(),
    }
}

fn of(slot: Option<&Slot>) -> String {
    let mut path = String::new();
    if let Some(slot) = slot {
        query::push(&mut path, "slot", slot.as_str());
    }
    path
}

/// Reads an answer by what it says it is: some refusals (a swap rolled back, not ready) are documents.
fn read<T: DeserializeOwned>(status: u16, body: &[u8]) -> Result<Reply<T>, ClientError> {
    let unreadable = |error: serde_json::Error| ClientError::Unreadable {
        message: error.to_string(),
    };
    let json: Value = match serde_json::from_slice(body) {
        Ok(json) => json,
        Err(_) if status >= 400 => return Err(refusal(status, body)),
        Err(error) => return Err(unreadable(error)),
    };
    if json.get("schema").and_then(Value::as_str) == Some(schema::ERROR) {
        return Err(refusal(status, body));
    }
    let doc = T::deserialize(&json).map_err(unreadable)?;
    Ok(Reply { doc, json })
}

fn refusal(status: u16, body: &[u8]) -> ClientError {
    match serde_json::from_slice::<ErrorDoc>(body) {
        Ok(ErrorDoc { error, .. }) => ClientError::Refused {
            status,
            code: error.code,
            kind: kind::parse(&error.kind),
            message: error.message,
            request_id: error.request_id.into(),
            hint: error.hint.map(Into::into),
            retry_after_ms: error.retry_after_ms,
            detail: error.detail.map(Into::into),
        },
        Err(_) => ClientError::Unreadable {
            message: format!("status {status} without an error document"),
        },
    }
}
