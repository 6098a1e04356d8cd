//! The composition root of a program made of slots, as a library.
//!
//! Settings say which candidates there are and which are selected; [`RuntimeBuilder`] checks them against the
//! factories it is handed and puts a registry and a lifecycle together; [`Runtime::run`] activates the slots, answers
//! operators on a private Unix socket, and takes everything down in order when it is told to. What the admin API can
//! do, an embedder can do: its handlers only call the methods of [`Runtime`].
//!
//! It installs nothing global: no tracing subscriber, no metrics recorder, no signal handler. It reads no environment
//! and never ends the process; whoever embeds it hands values in and gets reports back.
//!
//! ```
//! use std::sync::Arc;
//! use oneiric_core::BoxFuture;
//! use oneiric_lifecycle::{CallError, FactoryTable, Instance, Invoke, Payload, factory_fn};
//! use oneiric_runtime::{RuntimeBuilder, Settings, api::CallRequest};
//!
//! struct Hello;
//! impl Invoke for Hello {
//!     fn invoke<'a>(&'a self, _: &'a str, _: Payload) -> BoxFuture<'a, Result<Payload, CallError>> {
//!         Box::pin(async { Payload::json(&"hello") })
//!     }
//! }
//! #[derive(serde::Deserialize)]
//! struct NoSettings {}
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = Settings::parse(
//!     r#"
//!     [[candidates]]
//!     slot = "service/greeter"
//!     provider = "english"
//!     factory = "oneiric.example:english"
//!     "#,
//!     "oneiric.toml",
//! )?;
//! let mut factories = FactoryTable::new();
//! factories.insert(
//!     "oneiric.example:english".parse()?,
//!     factory_fn(|_, NoSettings {}| async { Ok(Instance::new(Arc::new(Hello))) }),
//! );
//! let runtime = RuntimeBuilder::new(settings).factories(factories).build()?;
//! let answer = runtime
//!     .call(CallRequest { slot: "service/greeter".parse()?, operation: "greet".into(), input: ().into() })
//!     .await?;
//! assert_eq!(answer.output, "hello");
//! # Ok(()) }
//! ```
//!
//! # Features
//! `admin`: the admin API on a Unix socket, served by [`Runtime::run`]. `client`: its other end (`Client`).
//! `metrics`: `GET /metrics` and `Runtime::metrics`. `log`: lines for people or JSON (`Log`). `full`: all of them.

mod activity;
#[cfg(feature = "admin")]
mod admin;
pub mod api;
mod builder;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "admin")]
mod conceal;
#[cfg(all(feature = "admin", feature = "sqlite"))]
mod copies;
mod encode;
mod error;
mod events;
mod history;
#[cfg(feature = "log")]
mod log;
mod log_control;
#[cfg(feature = "metrics")]
mod metrics;
mod offload;
mod redact;
mod reload;
mod revisions;
mod runtime;
mod secrets;
mod service;
mod settings;
mod state_dir;
mod store;
mod swap_log;
mod turns;
mod visible;

#[cfg(feature = "log")]
pub use crate::log::{DEFAULT_FILTER, InvalidFilter, Log};
#[cfg(feature = "metrics")]
pub use crate::metrics::metrics_reference;
pub use crate::{
    builder::RuntimeBuilder,
    error::RuntimeError,
    events::{EventStream, Watched},
    log_control::LogControl,
    redact::{MIN_REDACTED_BYTES, RedactingWriter, Redactor},
    reload::{ReloadEvent, ReloadObserver},
    runtime::{Runtime, Started},
    secrets::asking_for_secret,
    settings::{
        Activate, AdminSettings, ChangesFileError, ErrorMode, Fault, LogFormat, LogSettings,
        ReloadSettings, Role, SecretsSettings, Settings, SettingsError, SettingsSource,
        SettingsWarning, Sources, TcpSettings, TokenSettings, UnknownKey, nearest, read_changes,
        settings_reference, settings_sample, settings_schema,
    },
    state_dir::{SOCKET_NAME, StateDir, socket_in},
    store::Stores,
    visible::steers_display,
};
#[cfg(feature = "schema")]
pub use admin::openapi;
#[cfg(all(feature = "admin", feature = "tls"))]
pub use admin::{certificate_end, check_tls};
#[cfg(feature = "client")]
pub use client::{Client, ClientBuilder, ClientError, EventSource, ExplainQuery, Reply};
