//! The one call every component answers: an operation by name, JSON or bytes in, the same out.
//!
//! Typed facets are for Rust callers. `Invoke` is what reaches a component when no Rust type is at
//! hand: the command line, the admin API, a sandbox. It is object-safe and small on purpose, so that
//! a component written in another language can answer it too.

use std::borrow::Cow;

use bytes::Bytes;
use oneiric_core::{BoxFuture, Coded, ErrorKind, Provider, Slot};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::LifecycleError;

/// What goes into and comes out of an operation.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Payload {
    /// A JSON value; `null` where an operation takes or gives nothing.
    Json(Value),
    /// Bytes that are nobody's business but the two ends'.
    Bytes(Bytes),
}

impl Payload {
    /// The payload of an operation that takes or gives nothing: JSON `null`.
    pub const fn empty() -> Self {
        Self::Json(Value::Null)
    }

    /// Turns `value` into a JSON payload.
    ///
    /// # Errors
    /// `lifecycle.invalid_payload` when `value` has no JSON form (a map with keys that are not text).
    pub fn json(value: &impl Serialize) -> Result<Self, CallError> {
        serde_json::to_value(value)
            .map(Self::Json)
            .map_err(|error| CallError::InvalidPayload {
                message: error.to_string(),
            })
    }

    /// Reads the payload as `T`; bytes are parsed as JSON text.
    ///
    /// # Errors
    /// `lifecycle.invalid_payload`, saying which field was wrong.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, CallError> {
        let parsed = match self {
            Self::Json(value) => serde_json::from_value(value),
            Self::Bytes(bytes) => serde_json::from_slice(&bytes),
        };
        parsed.map_err(|error| CallError::InvalidPayload {
            message: error.to_string(),
        })
    }
}

impl From<Value> for Payload {
    fn from(value: Value) -> Self {
        Self::Json(value)
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

/// One operation that a component answers, as shown to a person who asks what can be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Operation {
    /// The name to call it by.
    pub name: Cow<'static, str>,
    /// One line: what it takes and gives.
    pub summary: Cow<'static, str>,
}

impl Operation {
    /// Describes an operation.
    pub fn new(name: impl Into<Cow<'static, str>>, summary: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            summary: summary.into(),
        }
    }
}

/// Answers operations by name.
///
/// Calls run on the caller's thread. One that blocks it blocks a worker of the async runtime; work that
/// must block belongs into `tokio::task::spawn_blocking`. Cancel-safety is the component's: a caller
/// that stops waiting, or whose instance is retired under the call, drops the future.
pub trait Invoke: Send + Sync {
    /// Carries out `operation`.
    ///
    /// # Errors
    /// [`CallError::UnknownOperation`], [`CallError::InvalidPayload`], or what went wrong inside.
    fn invoke<'a>(
        &'a self,
        operation: &'a str,
        input: Payload,
    ) -> BoxFuture<'a, Result<Payload, CallError>>;

    /// The operations this component answers, for help texts and for proxies that need to know.
    fn operations(&self) -> Vec<Operation> {
        Vec::new()
    }
}

fn _invoke_is_dyn_safe(_: &dyn Invoke) {}

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The component does not answer this operation.
    #[error("no operation named '{operation}'{}", known_list(known))]
    UnknownOperation {
        /// What was asked for.
        operation: String,
        /// What could have been asked for.
        known: Vec<String>,
    },
    /// The input, or the output, is not what the operation takes or gives.
    #[error("invalid payload: {message}")]
    InvalidPayload {
        /// What was wrong with it.
        message: String,
    },
    /// The component did the work and it failed.
    #[error("{message}")]
    Failed {
        /// What the component says.
        message: String,
    },
    /// The component cannot do the work now; the same call may succeed later.
    #[error("unavailable: {message}")]
    Unavailable {
        /// What the component says.
        message: String,
    },
    /// The component panicked in this call. Other calls go on.
    #[error("the component panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// There is no instance to call.
    #[error(transparent)]
    NotServed(LifecycleError),
    /// The instance was retired while this caller still held it.
    #[error("{slot}: this instance of {provider} was retired; take a new lease")]
    Retired {
        /// The slot it served.
        slot: Slot,
        /// Whose instance it was.
        provider: Provider,
    },
}

impl CallError {
    /// The work was done and failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed {
            message: message.into(),
        }
    }

    /// The work cannot be done now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::Unavailable {
            message: message.into(),
        }
    }

    /// Whether the component is to blame, and not the caller or an operator.
    pub const fn is_components_fault(&self) -> bool {
        match self {
            Self::UnknownOperation { .. } | Self::InvalidPayload { .. } | Self::NotServed(_) => {
                false
            }
            Self::Failed { .. }
            | Self::Unavailable { .. }
            | Self::Panicked { .. }
            | Self::Retired { .. } => true,
        }
    }

    /// `operation` is none of `invoke`'s.
    pub fn unknown_operation(operation: &str, invoke: &dyn Invoke) -> Self {
        Self::UnknownOperation {
            operation: operation.to_owned(),
            known: invoke
                .operations()
                .into_iter()
                .map(|known| known.name.into_owned())
                .collect(),
        }
    }
}

impl Coded for CallError {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownOperation { .. } => "lifecycle.unknown_operation",
            Self::InvalidPayload { .. } => "lifecycle.invalid_payload",
            Self::Failed { .. } => "lifecycle.call_failed",
            Self::Unavailable { .. } => "lifecycle.call_unavailable",
            Self::Panicked { .. } => "lifecycle.panicked",
            Self::NotServed(error) => error.code(),
            Self::Retired { .. } => "lifecycle.retired",
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownOperation { .. } => ErrorKind::NotFound,
            Self::InvalidPayload { .. } => ErrorKind::Usage,
            Self::Failed { .. }
            | Self::Unavailable { .. }
            | Self::Panicked { .. }
            | Self::Retired { .. } => ErrorKind::Unavailable,
            Self::NotServed(error) => error.kind(),
        }
    }
}

impl From<LifecycleError> for CallError {
    /// Keeps the code: "there is no instance" as [`CallError::NotServed`], a panic and a retirement
    /// under the call as themselves.
    fn from(error: LifecycleError) -> Self {
        match error {
            LifecycleError::Panicked { message, .. } => Self::Panicked { message },
            LifecycleError::Retired { slot, provider } => Self::Retired { slot, provider },
            error => Self::NotServed(error),
        }
    }
}

fn known_list(known: &[String]) -> String {
    if known.is_empty() {
        String::new()
    } else {
        format!("; it answers {}", known.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Adder;

    impl Invoke for Adder {
        fn invoke<'a>(
            &'a self,
            operation: &'a str,
            input: Payload,
        ) -> BoxFuture<'a, Result<Payload, CallError>> {
            Box::pin(async move {
                match operation {
                    "add" => {
                        let (left, right): (i64, i64) = input.parse()?;
                        Payload::json(&(left + right))
                    }
                    _ => Err(CallError::unknown_operation(operation, self)),
                }
            })
        }

        fn operations(&self) -> Vec<Operation> {
            vec![Operation::new("add", "[a, b] -> a + b")]
        }
    }

    #[tokio::test]
    async fn bytes_are_read_as_json_text() {
        let sum = Adder
            .invoke("add", Bytes::from_static(b"[1, 2]").into())
            .await
            .unwrap();
        assert_eq!(sum, Payload::Json(3.into()));
    }

    #[tokio::test]
    async fn an_unknown_operation_names_the_known_ones() {
        let error = Adder
            .invoke("subtract", Payload::empty())
            .await
            .unwrap_err();
        assert_eq!(error.code(), "lifecycle.unknown_operation");
        assert_eq!(
            error.to_string(),
            "no operation named 'subtract'; it answers add"
        );
    }

    #[tokio::test]
    async fn a_wrong_payload_says_what_is_wrong() {
        let error = Adder
            .invoke("add", serde_json::json!(["x", 1]).into())
            .await
            .unwrap_err();
        assert_eq!(error.code(), "lifecycle.invalid_payload");
        assert!(error.to_string().contains("expected i64"), "{error}");
    }
}
