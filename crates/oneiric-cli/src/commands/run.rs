//! `run`: the process itself. The library installs no globals; here they are: the log's subscriber
//! and the signal handlers. The first SIGTERM or Ctrl-C asks for an orderly end, the second one
//! takes it: by then the person knows what they are cutting short.

use std::cell::RefCell;
use std::io::Write;
use std::path::PathBuf;

use oneiric_core::{Coded, ErrorKind, FactoryPolicy, StackOrder};
use oneiric_lifecycle::ShutdownReport;
use oneiric_runtime::{Runtime, RuntimeBuilder, RuntimeError, Settings, Started};
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

use crate::args::{Global, Run};
use crate::commands::cannot_start;
use crate::env_vars::{self, Env, Variable};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::Output;
use crate::paint::Paint;
use crate::session;

/// The settings file where none is named.
const SETTINGS_FILE: &str = "oneiric.toml";

/// What is logged where nothing is said about it: what somebody has to look at.
const LOG: &str = "warn";

pub(super) fn run(
    args: &Run,
    global: &Global,
    env: &Env,
    io: &mut Io<'_>,
    stderr: Paint,
) -> Result<Output, Failure> {
    log_to_stderr(env, stderr)?;
    for name in env.unknown() {
        tracing::warn!(name, "nobody reads this variable; is it misspelt?");
    }
    check_stack_order(env)?;
    let builder = RuntimeBuilder::new(settings(args, global, env)?)
        .factories(oneiric_builtins::factories())
        .version(env!("CARGO_PKG_VERSION"));
    let runtime = builder.build().map_err(|error| failure(&error))?;
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let tokio = tokio.map_err(|error| cannot_start(&error))?;
    let said = Said(RefCell::new(io.stderr));
    let output = tokio.block_on(serve(&runtime, &said));
    // A component that hangs in blocking code must not keep the process from ending.
    tokio.shutdown_background();
    output
}

/// Reads the settings, and puts above the file what options and variables say.
fn settings(args: &Run, global: &Global, env: &Env) -> Result<Settings, Failure> {
    let by_variable = || env.value(env_vars::CONFIG).map(PathBuf::from);
    let file = args
        .config
        .clone()
        .or_else(by_variable)
        .unwrap_or_else(|| SETTINGS_FILE.into());
    let settings = Settings::load(&file).map_err(RuntimeError::Settings);
    let mut settings = settings.map_err(|error| failure(&error))?;
    if let Some(state_dir) = session::named_state_dir(global, env) {
        settings.state_dir = state_dir.to_owned();
    }
    if let Some(socket) = &global.socket {
        settings.admin.socket = Some(socket.clone());
    }
    if let Some(list) = text(env, env_vars::FACTORY_ALLOWLIST)? {
        settings.factory_allowlist = FactoryPolicy::parse_env(Some(list));
    }
    Ok(settings)
}

/// Refuses a stack order that cannot be read. No source of candidates asks for it in this version; a
/// wrong one must not lie in wait for the first that does.
fn check_stack_order(env: &Env) -> Result<(), Failure> {
    let Some(order) = text(env, env_vars::STACK_ORDER)? else {
        return Ok(());
    };
    StackOrder::parse(order)
        .map(drop)
        .map_err(|error| Failure::of(&error))
}

/// The value of a variable that has to be text.
fn text(env: &Env, variable: Variable) -> Result<Option<&str>, Failure> {
    let Some(value) = env.value(variable) else {
        return Ok(None);
    };
    value.to_str().map(Some).ok_or_else(|| {
        let message = format!("{} is not UTF-8 text", variable.name);
        Failure::new("cli.invalid_variable", ErrorKind::Config, message)
    })
}

fn log_to_stderr(env: &Env, stderr: Paint) -> Result<(), Failure> {
    let text = env
        .value(env_vars::LOG)
        .map_or(LOG.into(), |text| text.to_string_lossy());
    let filter = EnvFilter::try_new(&text).map_err(|error| {
        let message = format!("{} is not a log filter: {error}", env_vars::LOG.name);
        Failure::new("cli.invalid_variable", ErrorKind::Config, message)
            .hint("error, warn, info, debug or trace; or such as warn,oneiric_lifecycle=debug")
    })?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(stderr.is_on())
        .finish();
    // Whoever runs this command inside a program of theirs may log already; then that is the log.
    drop(tracing::subscriber::set_global_default(subscriber));
    Ok(())
}

/// Runs until it is told to stop.
async fn serve(runtime: &Runtime, said: &Said<'_>) -> Result<Output, Failure> {
    let mut signals = Signals::install().map_err(|error| cannot_start(&error))?;
    let (stop, stopped) = oneshot::channel::<()>();
    // The sender is dropped only after it was used, or with everything else.
    let shutdown = async { drop(stopped.await) };
    let running = runtime.run_with(shutdown, |started| said.started(runtime, started));
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => return ended_with(ended, said),
        () = signals.next() => {}
    }
    said.line("oneiric is stopping: running calls may finish; once more ends it at once");
    // Nobody listens if the run has ended by itself meanwhile, which is as good.
    stop.send(()).unwrap_or_default();
    tokio::select! {
        ended = &mut running => ended_with(ended, said),
        () = signals.next() => {
            said.line("oneiric was ended before everything was retired");
            let document = json!({"schema": SHUTDOWN, "clean": false, "cut_short": true});
            Ok(Output::new(String::new(), document).exits(Exit::UNCLEAN))
        }
    }
}

/// The schema of the document that `--json` prints at the end.
const SHUTDOWN: &str = "oneiric.shutdown/1";

fn ended_with(
    ended: Result<ShutdownReport, RuntimeError>,
    said: &Said<'_>,
) -> Result<Output, Failure> {
    let report = ended.map_err(|error| failure(&error))?;
    let exit = if report.is_clean() {
        Exit::DONE
    } else {
        Exit::UNCLEAN
    };
    match report.unfinished.len() {
        0 => said.line(&format!(
            "oneiric has stopped: {} retired",
            slots(report.retired.len())
        )),
        count => said.line(&format!(
            "oneiric has stopped: {} not retired cleanly",
            slots(count)
        )),
    }
    for unfinished in &report.unfinished {
        said.line(&format!("  {}: {}", unfinished.slot, unfinished.failure));
    }
    let document = json!({
        "schema": SHUTDOWN,
        "clean": report.is_clean(),
        "cut_short": false,
        "retired": report.retired,
        "unfinished": report.unfinished,
    });
    Ok(Output::new(String::new(), document).exits(exit))
}

fn slots(count: usize) -> String {
    format!("{count} {}", if count == 1 { "slot" } else { "slots" })
}

/// What the process tells the person who started it. Shared between the run and what waits for it.
struct Said<'a>(RefCell<&'a mut dyn Write>);

impl Said<'_> {
    /// Writes a line. If stderr is gone the process goes on: it serves others.
    fn line(&self, text: &str) {
        let mut stderr = self.0.borrow_mut();
        drop(stderr.write_all(format!("{text}\n").as_bytes()));
        drop(stderr.flush());
    }

    /// What is active, how to look at it, and how to stop it.
    fn started(&self, runtime: &Runtime, started: &Started) {
        let active: Vec<String> = started
            .activated
            .iter()
            .filter_map(|(slot, result)| {
                result
                    .as_ref()
                    .ok()
                    .map(|report| format!("{slot} ({})", report.to))
            })
            .collect();
        let known = runtime.registry().snapshot().slots().count();
        let serving = match (active.len(), known) {
            (_, 0) => "it has no slots".to_owned(),
            (0, _) if started.activated.is_empty() => {
                format!("{} wait to be used", slots(known))
            }
            (some, all) if some == all => format!("{} active", active.join(", ")),
            (0, all) => format!("0 of {} active", slots(all)),
            (some, all) => {
                let list = active.join(", ");
                format!("{some} of {} active: {list}", slots(all))
            }
        };
        let mut text = format!("oneiric is running: {serving}\n");
        let failed: Vec<String> = started
            .activated
            .iter()
            .filter_map(|(slot, result)| {
                let error = result.as_ref().err()?;
                Some(format!("{slot} ({})", error.code()))
            })
            .collect();
        if !failed.is_empty() {
            text.push_str(&format!("  not active: {}\n", failed.join(", ")));
        }
        for one in runtime.registry().snapshot().unknown_selections() {
            text.push_str(&format!(
                "  warning: {}: the {} selection {} names nobody who is registered\n",
                one.slot, one.layer, one.provider
            ));
        }
        text.push_str("  look at it with `oneiric status`");
        if let Some(socket) = &started.socket {
            text.push_str(&format!(", socket {}", socket.display()));
        }
        text.push_str("\n  stop it with Ctrl-C");
        self.line(&text);
    }
}

/// The signals that ask the process to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Cancel-safe.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// An error of the runtime, with its hint, and with its faults as data.
fn failure(error: &RuntimeError) -> Failure {
    let mut failure = Failure::of(error);
    failure.hint = error.hint();
    if let RuntimeError::Settings(settings) = error {
        let faults: Vec<Value> = settings
            .faults()
            .iter()
            .map(|fault| {
                json!({
                    "file": settings.file(),
                    "line": fault.at.map(|(line, _)| line),
                    "column": fault.at.map(|(_, column)| column),
                    "key": fault.key,
                    "code": fault.code,
                    "message": fault.message,
                    "help": fault.help,
                })
            })
            .collect();
        if !faults.is_empty() {
            failure.details = Some(Box::new(json!({"faults": faults})));
        }
    }
    failure
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::args::Color;

    fn env(pairs: &[(&str, &str)]) -> Env {
        let owned = |text: &str| OsString::from(text);
        Env::new(
            pairs
                .iter()
                .map(|(name, value)| (owned(name), owned(value))),
        )
    }

    fn global(state_dir: Option<&str>) -> Global {
        Global {
            json: false,
            socket: None,
            state_dir: state_dir.map(PathBuf::from),
            color: Color::Auto,
        }
    }

    #[test]
    fn a_missing_settings_file_is_an_error_whoever_named_it() {
        for (args, env, name) in [
            (
                Run {
                    config: Some("a.toml".into()),
                },
                env(&[("ONEIRIC_CONFIG", "b.toml")]),
                "a.toml",
            ),
            (
                Run { config: None },
                env(&[("ONEIRIC_CONFIG", "b.toml")]),
                "b.toml",
            ),
            (Run { config: None }, env(&[]), "oneiric.toml"),
        ] {
            let failure = settings(&args, &global(None), &env).unwrap_err();
            assert_eq!(failure.code, "runtime.settings_not_found");
            assert!(failure.message.contains(name), "{}", failure.message);
        }
    }

    #[test]
    fn the_help_names_the_default_of_the_log() {
        assert!(env_vars::LOG.doc.contains(&format!("{LOG} (default)")));
    }

    #[test]
    fn a_wrong_log_filter_is_an_error() {
        let failure =
            log_to_stderr(&env(&[("ONEIRIC_LOG", "a=b=c")]), Paint::new(false)).unwrap_err();
        assert_eq!(
            (failure.code.as_str(), failure.exit()),
            ("cli.invalid_variable", Exit::CONFIG)
        );
    }
}
