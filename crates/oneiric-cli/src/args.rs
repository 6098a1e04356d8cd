//! What can be typed. Types for clap and nothing else: what a command does is in `commands`, so that
//! this file reads as the command line's contract. Help teaches by example.

mod activity;
mod changes;
mod config;
mod history;
mod reload;
mod remote;
mod secrets;
mod shell;
mod slots;
mod state;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::activity::{Activity, Drain, Pause, Resume, Scope};
pub(crate) use self::changes::{Apply, Plan, Undo};
pub(crate) use self::config::{
    Config, ConfigCheck, ConfigCommand, ConfigExplain, ConfigShow, Init,
};
pub(crate) use self::history::History;
pub(crate) use self::reload::Reload;
pub(crate) use self::remote::Remote;
pub(crate) use self::secrets::{Secrets, SecretsCommand, SecretsRotate};
pub(crate) use self::shell::{Complete, Completions, Man, Shell};
pub(crate) use self::slots::{Call, Explain, Health, List, Status, Swap};
pub(crate) use self::state::{Backup, Check, Restore, State, StateAction};
pub(crate) use self::watch::{EVENTS, Watch};

/// Shows which part of a running process is active and why, calls it, and exchanges it without a
/// failed call.
#[derive(Debug, Parser)]
#[command(name = "oneiric", version, max_term_width = 100, after_help = EXAMPLES)]
#[command(after_long_help = crate::help::long())]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  oneiric run --config examples/quickstart/oneiric.toml
  oneiric explain adapter/cache
  oneiric swap adapter/cache file

`oneiric COMMAND --help` has examples for each command.";

/// Options that every command takes, before or after its name.
#[derive(Debug, Default, Args)]
pub(crate) struct Global {
    /// Prints one JSON document with a `schema` on stdout; errors are a JSON document on stderr
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,

    /// The settings file, in place of all others [default: $ONEIRIC_CONFIG, else those in /etc, ~/.config and here]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub(crate) config: Option<PathBuf>,

    /// Sets one key above all files and variables, such as run.grace_ms=1000; repeatable
    #[arg(
        long,
        global = true,
        value_name = "KEY=VALUE",
        help_heading = "Global options"
    )]
    pub(crate) set: Vec<String>,

    /// The process's admin socket [default: what the settings say, else admin.sock in the state directory]
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        help_heading = "Global options"
    )]
    pub(crate) socket: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) remote: Remote,

    /// The process's state directory [default: $ONEIRIC_STATE_DIR, else what the settings say, else .oneiric]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help_heading = "Global options"
    )]
    pub(crate) state_dir: Option<PathBuf>,

    /// Colours; `auto` is on a terminal unless NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    #[arg(value_name = "WHEN", help_heading = "Global options")]
    pub(crate) color: Color,
}

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

/// For commands whose effect a person should have read first; goes to `confirm`.
#[derive(Debug, Args)]
pub(crate) struct Assent {
    /// Does it without asking; where nobody can be asked it is needed
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// For commands that can wait for what they began or ask about.
#[derive(Debug, Args)]
pub(crate) struct Waiting {
    /// Waits until it is so, and shows how far it is
    #[arg(long)]
    pub(crate) wait: bool,
    /// Waits no longer than this, such as 30s, 5m or 1h30m [default: no limit]
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = crate::duration::parse)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the process: activates every slot and serves the admin socket until it is stopped
    Run(Run),
    /// Writes a settings file with every key in it as a comment
    Init(Init),
    #[command(flatten)]
    Ask(Ask),
    /// Prints the script that makes a shell complete commands, slots and providers
    Completions(Completions),
    /// Writes the manual pages of all commands, or prints the first
    Man(Man),
    /// What the shells' scripts ask
    #[command(hide = true)]
    Complete(Complete),
}

impl Command {
    /// The name of a command that looks at files of this machine or changes them, and asks no process.
    pub(crate) const fn acts_here(&self) -> Option<&'static str> {
        Some(match self {
            Self::Run(_) => "run",
            Self::Init(_) => "init",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
            Self::Ask(Ask::List(List { offline: true, .. })) => "list --offline",
            Self::Ask(Ask::Explain(Explain { offline: true, .. })) => "explain --offline",
            Self::Ask(Ask::Metrics(Metrics { reference: true })) => "metrics --reference",
            Self::Ask(Ask::Config(config)) => match &config.command {
                ConfigCommand::Show(ConfigShow { offline: true, .. }) => "config show --offline",
                ConfigCommand::Explain(ConfigExplain { offline: true, .. }) => {
                    "config explain --offline"
                }
                ConfigCommand::Check(_) => "config check",
                ConfigCommand::Schema(_) => "config schema",
                _ => return None,
            },
            Self::Ask(Ask::State(state)) => match &state.action {
                StateAction::Check(_) => "state check",
                StateAction::Restore(_) => "state restore",
                _ => return None,
            },
            // What the shells ask about a line that has --url in it is about that process.
            Self::Ask(_) | Self::Complete(_) => return None,
        })
    }
}

/// What a running process can be asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Ask {
    /// Lists the candidates that win, and with --shadowed those that lose
    List(List),
    /// Says who wins a slot and why, what would make the others win, and who is next in line
    Explain(Explain),
    /// Shows what each slot is doing: who serves, since when, calls, swaps, the last error
    Status(Status),
    /// Calls an operation of whoever serves a slot
    Call(Call),
    /// Exchanges who serves a slot, without a failed call
    Swap(Swap),
    /// Says what changes of several slots would come to: who serves then, why, and what is built and retired
    Plan(Plan),
    /// Changes who serves several slots, all of them or none
    Apply(Apply),
    /// Takes changes of selections back: the last one, or all after one
    Undo(Undo),
    /// Shows what the components last said about their health, or asks them
    Health(Health),
    /// Shows what became of swaps and selections, also before this run: when, who, why
    History(History),
    /// Prints the metrics of the process, in Prometheus' text form
    Metrics(Metrics),
    /// Looks for whatever keeps a process from starting or serving, and says what to do about it
    Doctor(Doctor),
    /// Shows, explains and checks settings
    Config(Config),
    /// Lists secrets by name and use, and has them fetched anew
    Secrets(Secrets),
    /// Has the process read its settings again and put in force what changed, or nothing of it
    Reload(Reload),
    /// Refuses new calls of a slot, a provider or a domain until it is resumed
    Pause(Pause),
    /// Refuses new calls and lets those that run finish; can wait for that
    Drain(Drain),
    /// Takes calls again
    Resume(Resume),
    /// Shows what is paused or draining: since when, until when, by whom, why
    Activity(Activity),
    /// Shows, copies, checks and restores what the process remembers
    State(State),
    /// Shows what happens in the process as it happens
    Watch(Watch),
}

impl Ask {
    /// The slot that a command is about, as it was typed.
    pub(crate) fn slot(&self) -> Option<&str> {
        match self {
            Self::Explain(args) => Some(&args.slot),
            Self::Status(args) => args.slot.as_deref(),
            Self::Call(args) => Some(&args.slot),
            Self::Swap(args) => Some(&args.slot),
            Self::Health(args) => args.slot.as_deref(),
            Self::History(args) => args.slot.as_deref(),
            Self::Watch(args) => args.slot.as_deref(),
            _ => None,
        }
    }

    /// Whether a process has to be reached for it. `doctor` says itself what it could not find out.
    pub(crate) const fn asks_a_process(&self) -> bool {
        match self {
            Self::List(args) => !args.offline,
            Self::Explain(args) => !args.offline,
            Self::Metrics(args) => !args.reference,
            Self::Config(args) => match &args.command {
                ConfigCommand::Show(args) => !args.offline,
                ConfigCommand::Explain(args) => !args.offline,
                ConfigCommand::Check(_) | ConfigCommand::Schema(_) => false,
            },
            Self::State(args) => matches!(args.action, StateAction::Show | StateAction::Backup(_)),
            Self::Doctor(_) => false,
            _ => true,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric run                                        with ./oneiric.toml
  oneiric run --config examples/quickstart/oneiric.toml
  ONEIRIC_LOG=debug oneiric run --state-dir /tmp/try --set run.grace_ms=1000

It runs in the foreground. Ctrl-C or SIGTERM lets running calls finish and retires everything, who
uses a component before the component; a second one ends it at once. SIGHUP reads the settings again.")]
pub(crate) struct Run {}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric doctor
  oneiric doctor --state-dir /var/lib/oneiric && echo well
  oneiric doctor --json | jq '.checks[] | select(.verdict == \"bad\")'

It changes nothing, works without a process, and says what it could not look at. The exit code is 1
when something is bad.")]
pub(crate) struct Doctor {}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric metrics | grep oneiric_calls_total
  oneiric metrics --reference    what there is and what it means")]
pub(crate) struct Metrics {
    /// Says what each metric means, as a Markdown page; asks no process
    #[arg(long)]
    pub(crate) reference: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// Every command's name and the text after its options.
    fn texts() -> Vec<(String, String)> {
        let cli = Cli::command();
        let text = |command: &clap::Command| {
            let help = command.get_after_help().map(ToString::to_string);
            (command.get_name().to_owned(), help.unwrap_or_default())
        };
        let shown = cli
            .get_subcommands()
            .filter(|command| !command.is_hide_set());
        shown.map(text).collect()
    }

    #[test]
    fn every_command_teaches_by_example() {
        for (name, help) in texts() {
            let start = format!("oneiric {name}");
            let examples = help.lines().filter(|line| line.contains(&start)).count();
            assert!((2..=6).contains(&examples), "{name}: {examples}");
        }
    }

    #[test]
    fn every_example_can_be_parsed() {
        for (_, help) in texts() {
            for line in help.lines().filter_map(|line| line.strip_prefix("  ")) {
                let words = shell_words(line);
                let Some(start) = words.iter().position(|word| word == "oneiric") else {
                    continue;
                };
                let parsed = Cli::try_parse_from(&words[start..]);
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            }
        }
    }

    /// Splits a help line as a shell would, up to a pipe, `&&`, `>` or the remark after two spaces.
    fn shell_words(line: &str) -> Vec<String> {
        let line = line
            .rsplit_once("| oneiric")
            .map_or(line.to_owned(), |(_, tail)| format!("oneiric{tail}"));
        let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
        let mut spaces = 0;
        for letter in line.chars() {
            match letter {
                '\'' => quoted = !quoted,
                ' ' if !quoted => {
                    spaces += 1;
                    if spaces > 1 {
                        break;
                    }
                    words.push(std::mem::take(&mut word));
                    continue;
                }
                '|' | '&' | '>' if !quoted => break,
                other => word.push(other),
            }
            spaces = 0;
        }
        words.push(word);
        words.retain(|word| !word.is_empty());
        words
    }
}
