//! `config`: what the settings are, who set them, whether they are right, and what may stand in them.

mod explain;
mod show;

use oneiric_runtime::{settings_reference, settings_schema};
use serde_json::{Value, json};

use crate::args::{Config, ConfigCheck, ConfigCommand};
use crate::env_vars::Env;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::Output;
use crate::session::Session;
use crate::settings;

pub(super) async fn run(
    args: &Config,
    env: &Env,
    io: &mut Io<'_>,
    session: &mut Session,
) -> Result<Output, Failure> {
    match &args.command {
        ConfigCommand::Show(args) => show::run(args, session).await,
        ConfigCommand::Explain(args) => explain::run(args, io, session).await,
        ConfigCommand::Check(args) => check(args, env, session),
        ConfigCommand::Schema(args) => Ok(if args.reference {
            Output::new(settings_reference(), Value::Null)
        } else {
            let schema = settings_schema();
            Output::new(format!("{schema:#}\n"), schema)
        }),
    }
}

/// Reads settings as `run` does, and asks the factories of this program about them.
fn check(args: &ConfigCheck, env: &Env, session: &Session) -> Result<Output, Failure> {
    let (settings, unknown) = match &args.file {
        Some(file) => (settings::load_checked(&settings::only(file))?, Vec::new()),
        None => (
            settings::load_checked(&session.sources)?,
            env.unknown().map(str::to_owned).collect(),
        ),
    };
    settings::check_start(&settings)?;
    let warnings = settings.warnings();
    let files: Vec<String> = settings
        .files()
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let mut text = match files.as_slice() {
        [] => "no file, and no fault in what else there is\n".to_owned(),
        files => format!("no faults in {}\n", files.join(", ")),
    };
    for warning in &warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    for name in &unknown {
        text.push_str(&format!(
            "warning: nobody reads the variable {name}; settings have two underscores in a row\n"
        ));
    }
    let document = json!({
        "schema": "oneiric.config_check/1",
        "files": files,
        "faults": [],
        "warnings": warnings.iter().map(settings::warning).collect::<Vec<_>>(),
        "unknown_variables": unknown,
    });
    Ok(Output::new(crate::paint::harmless(&text), document))
}
