//! What is known without a process: the settings that one started here would have, and the candidates
//! they name. Built as `run` builds it and never run, so nothing is activated and the state directory
//! is not touched; operator selections, which live there, are not known.

use oneiric_runtime::{Runtime, RuntimeBuilder, RuntimeError, Sources};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::Failure;
use crate::settings;

/// That a command was answered without a process.
pub(crate) const OFFLINE: &str = "read here and now, not from a running process";

/// The runtime that `run` would run.
pub(crate) fn runtime(sources: &Sources) -> Result<Runtime, Failure> {
    let settings = settings::load(sources)?;
    let builder = RuntimeBuilder::new(settings)
        .factories(oneiric_builtins::factories())
        .version(env!("CARGO_PKG_VERSION"));
    builder.build().map_err(|error| match &error {
        RuntimeError::Settings(error) => settings::failure(error),
        error => Failure::of(error),
    })
}

/// A document of the library as a client of the admin API gets it, marked as one that no process gave.
pub(crate) fn document<T: DeserializeOwned>(of: &impl Serialize) -> Result<(T, Value), Failure> {
    let mut json = serde_json::to_value(of).map_err(|error| defect(&error))?;
    let doc = serde_json::from_value(json.clone()).map_err(|error| defect(&error))?;
    if let Value::Object(fields) = &mut json {
        fields.insert("offline".to_owned(), true.into());
    }
    Ok((doc, json))
}

/// Says how to do without a process that does not run.
pub(crate) fn or_offline(failure: Failure) -> Failure {
    if failure.code != "runtime.not_running" {
        return failure;
    }
    let known = failure.best_hint().unwrap_or_default().to_owned();
    failure.hint(format!(
        "{known}; or --offline for what a process started here would have"
    ))
}

fn defect(error: &serde_json::Error) -> Failure {
    let message = format!("a document of this program cannot be read by it: {error}");
    Failure::new(
        "cli.answer_incomplete",
        oneiric_core::ErrorKind::Internal,
        message,
    )
}
