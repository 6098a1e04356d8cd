//! One module per command. Those that ask a running process get a [`Session`] and give an
//! [`Output`]; `run` is the process itself.

mod activity;
mod apply;
mod call;
mod config;
mod doctor;
mod explain;
mod health;
mod history;
mod init;
mod list;
mod man;
mod metrics;
mod plan;
mod reload;
mod run;
mod secrets;
mod state;
mod status;
mod swap;
mod watch;

use std::str::FromStr;
use std::time::Duration;

use oneiric_core::{Coded, ErrorKind};
use oneiric_runtime::nearest;
use serde_json::Value;

use crate::args::{Ask, Cli, Command};
use crate::complete;
use crate::env_vars::Env;
use crate::failure::Failure;
use crate::input;
use crate::interrupt::shielded;
use crate::io::Io;
use crate::output::Output;
use crate::paint::{Paint, Style, harmless};
use crate::session::Session;

/// Does what `cli` says, to its end.
///
/// `paint` is for what the command answers, `stderr` for what it says besides.
pub(crate) fn run(
    cli: Cli,
    env: &Env,
    io: &mut Io<'_>,
    paint: Paint,
    stderr: Paint,
) -> Result<Output, Failure> {
    let Cli { global, command } = cli;
    if let (Some(name), Some(_)) = (command.acts_here(), &global.remote.url) {
        let message = format!("`{name}` acts on this machine, and --url names a process elsewhere");
        let failure = Failure::new("cli.usage", ErrorKind::Usage, message);
        return Err(failure.hint("leave --url away, or run it on the machine that is meant"));
    }
    let ask = match command {
        Command::Run(_) => return run::run(&global, env, stderr),
        Command::Init(args) => return shielded(|| init::run(&args)),
        Command::Ask(ask) => ask,
        Command::Completions(args) => {
            let script = complete::script(args.shell).to_owned();
            return Ok(Output::new(script, Value::Null));
        }
        Command::Man(args) => return shielded(|| man::run(&args)),
        Command::Complete(args) => {
            return Ok(Output::new(complete::answer(&args, env), Value::Null));
        }
    };
    // One request at a time: a single thread starts faster than a pool.
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let tokio = tokio.map_err(|error| cannot_start(&error))?;
    tokio.block_on(async {
        let mut session = Session::new(&global, env, paint);
        if ask.asks_a_process() {
            warn(&session, io, stderr);
        }
        let answer = match &ask {
            Ask::List(args) => list::run(args, &mut session).await,
            Ask::Explain(args) => explain::run(args, &mut session).await,
            Ask::Status(args) => status::run(args, &mut session).await,
            Ask::History(args) => history::run(args, &mut session).await,
            Ask::Call(args) => match input::read(&args.input, io.stdin) {
                Ok(input) => call::run(args, input, &mut session).await,
                Err(failure) => Err(failure),
            },
            Ask::Swap(args) => swap::run(args, io, &mut session).await,
            Ask::Plan(args) => plan::run(args, &mut session).await,
            Ask::Apply(args) => apply::run(args, io, &mut session).await,
            Ask::Undo(args) => apply::undo(args, io, &mut session).await,
            Ask::Metrics(args) => metrics::run(args, &session).await,
            Ask::Doctor(_) => doctor::run(env, &session).await,
            Ask::Health(args) => health::run(args, io, &mut session).await,
            Ask::Reload(args) => reload::run(args, &mut session).await,
            Ask::Config(args) => config::run(args, env, io, &mut session).await,
            Ask::Secrets(args) => secrets::run(args, &mut session).await,
            Ask::Pause(args) => activity::pause(args, io, &mut session).await,
            Ask::Drain(args) => activity::drain(args, io, &mut session).await,
            Ask::Resume(args) => activity::resume(args, &mut session).await,
            Ask::Activity(args) => activity::activity(args, &mut session).await,
            Ask::State(args) => state::run(args, io, &mut session).await,
            Ask::Watch(args) => watch::run(args, io, &mut session).await,
        };
        match answer {
            Err(failure) if failure.code == "core.no_candidate" => {
                Err(misspelt(failure, ask.slot(), &session).await)
            }
            answer => answer,
        }
    })
}

/// Says before anything is asked or changed that it may not be the process that is meant. For programs there is
/// nothing on stderr but an error document.
fn warn(session: &Session, io: &mut Io<'_>, paint: Paint) {
    if io.for_programs {
        return;
    }
    if let Some(warning) = session.warning() {
        let line = paint.text(Style::Attention, harmless(&warning));
        // If stderr is gone there is nobody left to tell.
        drop(writeln!(io.stderr, "{line}"));
    }
}

/// For the hint under an error; whoever waits longer for it than this would rather have none.
const HINT_LIMIT: Duration = Duration::from_millis(500);

/// Says which slot was probably meant by one that nobody knows.
async fn misspelt(failure: Failure, typed: Option<&str>, session: &Session) -> Failure {
    let list = async {
        let mut client = session.client().await.ok()?;
        client.list(None).await.ok()
    };
    let list = tokio::time::timeout(HINT_LIMIT, list).await;
    let (Some(typed), Ok(Some(reply))) = (typed, list) else {
        return failure;
    };
    let known: Vec<&str> = reply
        .doc
        .slots
        .iter()
        .map(|listed| listed.slot.as_str())
        .collect();
    match nearest(typed, known.iter().copied()) {
        // It is there; something else about the question was not.
        Some(_) if known.contains(&typed) => failure,
        Some(meant) => failure.hint(meant),
        None => failure,
    }
}

/// The threads or timers of the async runtime cannot be had.
pub(crate) fn cannot_start(error: &std::io::Error) -> Failure {
    let message = format!("the system gives no threads or timers: {error}");
    Failure::new("cli.no_resources", ErrorKind::Unavailable, message)
}

/// Reads a name from the command line. One that is none is a mistake in what was typed, as it is
/// for the running process when a request holds it; the same name in settings is theirs.
fn name<T>(text: &str) -> Result<T, Failure>
where
    T: FromStr<Err: Coded + std::error::Error>,
{
    text.parse().map_err(|error| {
        let mut failure = Failure::of(&error);
        failure.kind = ErrorKind::Usage;
        failure
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_is_a_mistake_in_what_was_typed() {
        let failure = name::<oneiric_core::Slot>("cache").unwrap_err();
        assert_eq!(
            (failure.code.as_str(), failure.exit().number()),
            ("core.invalid_slot", 2)
        );
    }

    #[test]
    fn a_system_without_resources_is_not_our_defect() {
        let failure = cannot_start(&std::io::ErrorKind::OutOfMemory.into());
        assert_eq!(
            (failure.code.as_str(), failure.exit().number()),
            ("cli.no_resources", 8)
        );
    }
}
