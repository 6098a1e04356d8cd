//! `run`: the process itself. The library installs no globals; here they are: the log's subscriber
//! and the signal handlers. The first SIGTERM or Ctrl-C asks for an orderly end, the second one ends
//! the time for it and has said what was cut short; a third one does not even wait for that.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::BTreeSet;
use std::io::ErrorKind as IoKind;
use std::sync::Arc;
use std::time::Duration;

use oneiric_core::{Coded, ErrorKind, StackOrder};
use oneiric_lifecycle::{STEPS_AT_ONCE, ShutdownReport, SystemWallClock, Unfinished};
use oneiric_runtime::{
    Log, LogSettings, Redactor, Runtime, RuntimeError, Started, asking_for_secret,
};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::args::Global;
use crate::commands::cannot_start;
use crate::env_vars::{self, Env, Variable};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::notify::Manager;
use crate::output::Output;
use crate::paint::Paint;
use crate::settings;

/// For the line about a panic to be written.
const PANIC_FLUSH: Duration = Duration::from_millis(200);

/// For a process that was told to end at once: to say what it cut short, and to close its state.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// For the last lines to be written.
const LAST_FLUSH: Duration = Duration::from_secs(1);

/// Components and calls have what tokio gives a program, and the lifecycle's own steps their places beside that: as
/// many threads are there only while they are needed.
const BLOCKING_THREADS: usize = 512 + STEPS_AT_ONCE;

pub(super) fn run(global: &Global, env: &Env, stderr: Paint) -> Result<Output, Failure> {
    let sources = settings::sources(global, env);
    let settings = settings::load_to_run(&sources)?;
    let redactor = Redactor::new();
    let log = log_to_stderr(env, &settings.log, stderr, &redactor)?;
    for name in env.unknown() {
        tracing::warn!(name, "nobody reads this variable; is it misspelt?");
    }
    check_stack_order(env)?;
    let manager = Manager::of(env);
    let builder = settings::builder(settings, env)
        .sources(sources)
        .reload_observer(manager.reloads())
        .log(log.clone())
        .redactor(redactor);
    let runtime = builder.build().map_err(|error| failure(&error))?;
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build();
    let tokio = tokio.map_err(|error| cannot_start(&error))?;
    let said = Said { log: &log, manager };
    let output = tokio.block_on(serve(&runtime, &said));
    // A component that hangs in blocking code must not keep the process from ending.
    tokio.shutdown_background();
    // A terminal or pipe that nobody reads must not either.
    log.flush(LAST_FLUSH);
    output
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

/// Begins to log to stderr, as the variable says or else the settings.
fn log_to_stderr(
    env: &Env,
    settings: &LogSettings,
    stderr: Paint,
    redactor: &Redactor,
) -> Result<Log, Failure> {
    let named = text(env, env_vars::LOG)?;
    let clock = Arc::new(SystemWallClock::new());
    let begun = Log::begin(
        std::io::stderr(),
        settings,
        named,
        stderr.is_on(),
        redactor.clone(),
        clock,
    );
    let (subscriber, log) = begun.map_err(|error| {
        if error.kind() != IoKind::InvalidInput {
            return cannot_start(&error);
        }
        // One that is no filter is a fault of the settings, and they were checked.
        Failure::new("cli.invalid_variable", ErrorKind::Config, error.to_string())
    })?;
    // Whoever runs this command inside a program of theirs may log already; then that is the log.
    drop(tracing::subscriber::set_global_default(subscriber));
    log_panics(log.clone());
    Ok(log)
}

/// Makes a panic a line of the log, which is where somebody looks and where secrets are hidden. The one who panicked
/// may have the process to itself, so the line is not left waiting for others.
fn log_panics(log: Log) {
    std::panic::set_hook(Box::new(move |panic| {
        let message = if asking_for_secret() {
            "not shown, because whoever keeps secrets said it"
        } else {
            panic.payload_as_str().unwrap_or("no message")
        };
        let place = panic.location().map(ToString::to_string);
        let trace = Backtrace::capture();
        let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
        tracing::error!(
            reason = message,
            place,
            thread = std::thread::current().name(),
            backtrace = trace,
            "panicked"
        );
        log.flush(PANIC_FLUSH);
    }));
}

/// Runs until it is told to stop.
async fn serve(runtime: &Runtime, said: &Said<'_>) -> Result<Output, Failure> {
    let mut signals = Signals::install().map_err(|error| cannot_start(&error))?;
    let (stop, stopped) = oneshot::channel::<()>();
    // The sender is dropped only after it was used, or with everything else.
    let shutdown = async { drop(stopped.await) };
    let _heartbeat = said
        .manager
        .heartbeat()
        .map(|period| tokio::spawn(beat(said.manager.clone(), period, runtime.clone())));
    let hangup = signal(SignalKind::hangup()).map_err(|error| cannot_start(&error))?;
    let _reloads = tokio::spawn(reload_when_told(hangup, runtime.clone()));
    let running = runtime.run_with(shutdown, |started| said.started(runtime, started));
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => return ended_with(ended, said),
        () = signals.next() => {}
    }
    said.manager.stopping();
    said.line("oneiric is stopping: running calls may finish; once more ends it at once");
    // Nobody listens if the run has ended by itself meanwhile, which is as good.
    stop.send(()).unwrap_or_default();
    tokio::select! {
        ended = &mut running => return ended_with(ended, said),
        () = signals.next() => {}
    }
    // The shutdown under way, or the one that is still to come, is over from now on.
    let lifecycle = runtime.lifecycle().clone();
    let report = tokio::spawn(async move { lifecycle.shutdown(Duration::ZERO).await });
    tokio::select! {
        ended = &mut running => match ended {
            Ok(report) if !report.is_clean() => Ok(cut_short(Some(&report), said)),
            ended => ended_with(ended, said),
        },
        // Something outside the slots does not end, or somebody will not even wait for this.
        () = tokio::time::sleep(LAST_MOMENT) => Ok(cut_short(told(report).await.as_ref(), said)),
        () = signals.next() => Ok(cut_short(told(report).await.as_ref(), said)),
    }
}

/// What came of the slots, if that is known by now.
async fn told(report: JoinHandle<ShutdownReport>) -> Option<ShutdownReport> {
    match report.is_finished() {
        true => report.await.ok(),
        false => None,
    }
}

/// Ended by a second signal before all was done.
fn cut_short(report: Option<&ShutdownReport>, said: &Said<'_>) -> Output {
    said.line(match report {
        Some(report) if report.is_clean() => "oneiric was ended before its state was closed",
        _ => "oneiric was ended before everything was retired",
    });
    said.unfinished(report.map_or(&[][..], |report| &report.unfinished));
    let mut document = json!({"schema": SHUTDOWN, "clean": false, "cut_short": true});
    if let Some(report) = report {
        document["retired"] = json!(report.retired);
        document["unfinished"] = json!(report.unfinished);
    }
    Output::new(String::new(), document).exits(Exit::UNCLEAN)
}

/// How many slots these failures are of.
fn of_slots(unfinished: &[Unfinished]) -> usize {
    let slots: BTreeSet<_> = unfinished.iter().map(|one| &one.slot).collect();
    slots.len()
}

/// Tells the service manager again and again that the process is alive, as long as that is so: that a task gets its turn,
/// and that whatever guards the slots is not held for ever. A component that hangs is no reason to be killed for.
async fn beat(manager: Manager, period: Duration, runtime: Runtime) {
    loop {
        manager.alive();
        tokio::time::sleep(period).await;
        drop(runtime.ready());
    }
}

/// Reads the settings again with every SIGHUP. Several that come while they are read are answered by one reading.
async fn reload_when_told(mut hangup: Signal, runtime: Runtime) {
    while hangup.recv().await.is_some() {
        // What came of it is in the log and in the answer of `status`.
        drop(runtime.reload("signal").await);
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
    match of_slots(&report.unfinished) {
        0 => said.line(&format!(
            "oneiric has stopped: {} retired",
            slots(report.retired.len())
        )),
        count => said.line(&format!(
            "oneiric has stopped: {} not retired cleanly",
            slots(count)
        )),
    }
    said.unfinished(&report.unfinished);
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

/// What the process tells the person who started it, in order with its log, and the service manager that did.
struct Said<'a> {
    log: &'a Log,
    manager: Manager,
}

impl Said<'_> {
    /// Writes a line. If nobody reads it the process goes on: it serves others.
    fn line(&self, text: &str) {
        self.log.say(text);
    }

    /// What did not end, a line each.
    fn unfinished(&self, unfinished: &[Unfinished]) {
        for one in unfinished {
            let key = one.key.as_ref().map(|key| format!(" (key {key})"));
            let key = key.unwrap_or_default();
            self.line(&format!("  {}{key}: {}", one.slot, one.failure));
        }
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
        self.manager.ready(&serving);
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
        if known == 0 {
            text.push_str(
                "  hint: [[candidates]] in the settings say who fills a slot; `oneiric init` writes some as comments\n",
            );
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
    let mut failure = match error {
        RuntimeError::Settings(error) => settings::failure(error),
        error => Failure::of(error),
    };
    failure.hint = error.hint();
    failure
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use oneiric_core::BoxFuture;
    use oneiric_domains::{Secret, SecretError, SecretProvider};
    use oneiric_runtime::{DEFAULT_FILTER, RuntimeBuilder};

    use super::*;

    #[test]
    fn the_help_names_the_default_of_the_log() {
        assert!(
            env_vars::LOG
                .doc
                .contains(&format!("`{DEFAULT_FILTER}` (default)"))
        );
    }

    #[test]
    fn a_variable_that_is_no_text_is_an_error() {
        use std::os::unix::ffi::OsStringExt;

        let name = env_vars::STACK_ORDER.name.into();
        let env = Env::new([(name, OsString::from_vec(vec![0xff]))]);
        let failure = check_stack_order(&env).unwrap_err();
        assert_eq!(
            (failure.code.as_str(), failure.exit()),
            ("cli.invalid_variable", Exit::CONFIG)
        );
    }

    /// A keeper of secrets that panics over what it keeps.
    struct Careless;

    impl SecretProvider for Careless {
        fn name(&self) -> &'static str {
            "careless"
        }

        fn fetch<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>> {
            assert_ne!(name, "now", "hunter2-at-once");
            Box::pin(async move {
                tokio::task::yield_now().await;
                panic!("hunter2-later, {name}")
            })
        }
    }

    /// What a log was given.
    #[derive(Clone, Default)]
    struct Written(Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn p86_what_a_keeper_says_when_it_panics_is_not_repeated() {
        let written = Written::default();
        let clock = Arc::new(SystemWallClock::new());
        let settings = oneiric_runtime::Settings::parse("", "oneiric.toml").unwrap();
        let begun = Log::begin(
            written.clone(),
            &settings.log,
            Some("trace"),
            false,
            Redactor::new(),
            clock,
        );
        let (subscriber, log) = begun.unwrap();
        let _subscribed = tracing::subscriber::set_default(subscriber);
        let hook = std::panic::take_hook();
        log_panics(log.clone());
        let builder = RuntimeBuilder::new(settings).secret_provider(Careless);
        let runtime = builder.build().unwrap();
        let mut said = String::new();
        for name in ["now", "later"] {
            let reference = format!("secret://careless/{name}").parse().unwrap();
            let error = runtime.secret(&reference).await.unwrap_err();
            assert_eq!(error.code(), "domains.secret_provider_panicked");
            said.push_str(&format!("{error} {error:?}"));
        }
        // Others still say what they have to.
        drop(tokio::spawn(async { panic!("told") }).await);
        std::panic::set_hook(hook);
        log.flush(LAST_FLUSH);
        said.push_str(&String::from_utf8(written.0.lock().unwrap().clone()).unwrap());
        assert!(!said.contains("hunter2"), "{said}");
        assert_eq!(said.matches("whoever keeps secrets said it").count(), 2);
        assert!(said.contains("reason=\"told\""), "{said}");
    }
}
