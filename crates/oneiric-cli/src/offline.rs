//! What is known without a process: the settings that one started here would have, and the candidates
//! they name. Built as `run` builds it and never run, so nothing is activated and the state directory
//! is not touched; operator selections, which live there, are not known.

use oneiric_runtime::{Runtime, RuntimeError, Settings, Sources};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::env_vars::Env;
use crate::failure::Failure;
use crate::settings;

/// That a command was answered without a process.
pub(crate) const OFFLINE: &str = "read here and now, not from a running process";

/// The runtime that `run` would run. It knows who keeps secrets and asks them for none.
pub(crate) fn runtime(sources: &Sources) -> Result<Runtime, Failure> {
    of_settings(settings::load_checked(sources)?, &Env::default())
}

/// The same of settings that were read already, with an environment to ask for secrets.
pub(crate) fn of_settings(settings: Settings, env: &Env) -> Result<Runtime, Failure> {
    let builder = settings::builder(settings, env);
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
