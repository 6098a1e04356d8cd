//! Completion at a shell. The shells' scripts know nothing: they hand the line so far to the hidden
//! command `complete`, which walks the very definition that parses the line and, where a slot or
//! provider belongs, asks the running process. So a script never goes stale, and the three shells
//! agree. A process that does not answer costs half a second and its names, never the shell.

mod script;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::Duration;

use clap::{Arg, Command, CommandFactory, Parser};
use oneiric_runtime::api::ListDoc;

use crate::args::{Cli, Complete, EVENTS, Global};
use crate::env_vars::Env;
use crate::paint::Paint;
use crate::session::Session;

pub(crate) use script::script;

/// The most time a completion may take to ask a process.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a script takes as "let the shell complete a file's name".
const FILES: &str = ":files";

/// What the hidden command prints: one candidate a line.
pub(crate) fn answer(args: &Complete, env: &Env) -> String {
    let words = match &args.line {
        // The first word is our own name.
        Some(line) => split(line).into_iter().skip(1).collect(),
        None => args.words.clone(),
    };
    let Some((typed, before)) = words.split_last() else {
        return String::new();
    };
    let mut cli = Cli::command();
    cli.build();
    let place = Place::of(&cli, before);
    let live = || list(before, env);
    let candidates = place.candidates(typed, &live);
    // bash breaks words where we do not, and replaces only what follows the last break.
    let kept = match &args.tail {
        None => 0,
        Some(tail) if matches!(tail.as_str(), ":" | "=") => typed.len(),
        Some(tail) => typed.len().saturating_sub(tail.len()),
    };
    let lines = candidates.iter().filter_map(|candidate| {
        let rest = if candidate == FILES {
            candidate
        } else {
            candidate.get(kept..)?
        };
        Some(format!("{rest}\n"))
    });
    lines.collect()
}

/// Where in the command line the word to be completed stands.
struct Place<'c> {
    command: &'c Command,
    /// The option whose value it is.
    option: Option<&'c Arg>,
    /// The positional words of the command before it.
    positionals: Vec<&'c str>,
    only_positionals: bool,
}

impl<'c> Place<'c> {
    fn of(cli: &'c Command, before: &'c [String]) -> Self {
        let mut place = Self {
            command: cli,
            option: None,
            positionals: Vec::new(),
            only_positionals: false,
        };
        for word in before {
            place.pass(word);
        }
        place
    }

    fn pass(&mut self, word: &'c str) {
        if self.option.take().is_some() {
            return;
        }
        if !self.only_positionals && word == "--" {
            self.only_positionals = true;
        } else if !self.only_positionals && word.len() > 1 && word.starts_with('-') {
            self.option = (!word.contains('='))
                .then(|| option(self.command, word))
                .flatten()
                .filter(|option| option.get_action().takes_values());
        } else if let Some(below) = self.command.find_subcommand(word) {
            self.command = below;
            self.positionals.clear();
        } else {
            self.positionals.push(word);
        }
    }

    fn candidates(&self, typed: &str, live: &dyn Fn() -> Option<ListDoc>) -> Vec<String> {
        if let Some(option) = self.option {
            return starting_with(typed, self.values(option, live));
        }
        if !self.only_positionals && typed.starts_with('-') {
            if let Some((name, value)) = typed.split_once('=') {
                let option =
                    option(self.command, name).filter(|arg| arg.get_action().takes_values());
                let values = option.map(|option| self.values(option, live));
                let found = starting_with(value, values.unwrap_or_default()).into_iter();
                let whole = |value| {
                    if value == FILES {
                        value
                    } else {
                        format!("{name}={value}")
                    }
                };
                return found.map(whole).collect();
            }
            let options = self
                .command
                .get_arguments()
                .filter(|arg| !arg.is_hide_set());
            let names = options.filter_map(|arg| Some(format!("--{}", arg.get_long()?)));
            return starting_with(typed, names.collect());
        }
        let mut values: Vec<String> = self
            .command
            .get_subcommands()
            .filter(|below| !below.is_hide_set())
            .map(|below| below.get_name().to_owned())
            .collect();
        // The last positional may take any number of words.
        let last = self.command.get_positionals().last();
        let many = last.filter(|arg| {
            arg.get_num_args()
                .is_some_and(|range| range.max_values() > 1)
        });
        let next = self.command.get_positionals().nth(self.positionals.len());
        if let Some(positional) = next.or(many) {
            values.extend(self.values(positional, live));
        }
        starting_with(typed, values)
    }

    /// What an argument takes, as far as it is known.
    fn values(&self, arg: &Arg, live: &dyn Fn() -> Option<ListDoc>) -> Vec<String> {
        let fixed: Vec<String> = arg
            .get_possible_values()
            .iter()
            .map(|value| value.get_name().to_owned())
            .collect();
        if !fixed.is_empty() {
            return fixed;
        }
        let named = arg.get_value_names().and_then(|names| names.first());
        let named = named.map_or("", |name| name.as_str());
        match (arg.get_id().as_str(), named) {
            (_, "FILE" | "PATH" | "DIR") => vec![FILES.to_owned()],
            ("slot", _) => slots(live()),
            ("scope", _) => scopes(live()),
            ("until", _) => EVENTS.iter().map(ToString::to_string).collect(),
            ("domain", _) => domains(live()),
            ("changes", _) => selections(live()),
            ("provider", _) => providers(live(), self.positionals.first().copied()),
            ("what_if", _) => changes(live(), self.positionals.first().copied()),
            _ => Vec::new(),
        }
    }
}

fn option<'c>(command: &'c Command, word: &str) -> Option<&'c Arg> {
    let name = word.split('=').next().unwrap_or(word);
    command.get_arguments().find(|arg| {
        let long = name.strip_prefix("--");
        let short = name.strip_prefix('-').and_then(|name| name.chars().next());
        (long.is_some() && arg.get_long() == long)
            || (long.is_none() && short.is_some() && arg.get_short() == short)
    })
}

fn starting_with(typed: &str, mut values: Vec<String>) -> Vec<String> {
    // Names have no spaces and no control characters, but a process may say anything.
    let plain = |value: &str| !value.contains(|letter: char| letter.is_control() || letter == ' ');
    values.retain(|value| value == FILES || (value.starts_with(typed) && plain(value)));
    values
}

fn slots(list: Option<ListDoc>) -> Vec<String> {
    let slots = list.map(|list| list.slots).unwrap_or_default();
    slots.iter().map(|listed| listed.slot.to_string()).collect()
}

fn domains(list: Option<ListDoc>) -> Vec<String> {
    let domain = |slot: String| Some(slot.split_once('/')?.0.to_owned());
    let names: BTreeSet<String> = slots(list).into_iter().filter_map(domain).collect();
    names.into_iter().collect()
}

/// What can be paused: slots, their providers, and domains.
fn scopes(list: Option<ListDoc>) -> Vec<String> {
    let mut scopes = slots(list.clone());
    for listed in list.iter().flat_map(|list| &list.slots) {
        let providers = providers(list.clone(), Some(listed.slot.as_str())).into_iter();
        scopes.extend(providers.map(|provider| format!("{}:{provider}", listed.slot)));
    }
    scopes.extend(
        domains(list)
            .into_iter()
            .map(|domain| format!("{domain}/*")),
    );
    scopes
}

/// The providers of one slot, or of all.
fn providers(list: Option<ListDoc>, slot: Option<&str>) -> Vec<String> {
    let slots = list.map(|list| list.slots).unwrap_or_default();
    let of = slots
        .iter()
        .filter(|listed| slot.is_none_or(|slot| listed.slot.as_str() == slot));
    let names: BTreeSet<String> = of
        .flat_map(|listed| &listed.candidates)
        .map(|candidate| candidate.provider.to_string())
        .collect();
    names.into_iter().collect()
}

/// Changes of `plan` and `apply`: `SLOT=PROVIDER`, and `SLOT=`; or a file.
fn selections(list: Option<ListDoc>) -> Vec<String> {
    let mut changes = vec![FILES.to_owned()];
    for slot in slots(list.clone()) {
        let providers = providers(list.clone(), Some(&slot)).into_iter();
        changes.extend(providers.map(|provider| format!("{slot}={provider}")));
        changes.push(format!("{slot}="));
    }
    changes
}

/// Assumptions of `explain`.
fn changes(list: Option<ListDoc>, slot: Option<&str>) -> Vec<String> {
    let providers = providers(list, slot);
    let mut changes = vec![
        "unselect=operator".to_owned(),
        "unselect=settings".to_owned(),
    ];
    for (before, after) in [
        ("select=", ""),
        ("without=", ""),
        ("down=", ""),
        ("priority:", "="),
    ] {
        changes.extend(
            providers
                .iter()
                .map(|name| format!("{before}{name}{after}")),
        );
    }
    changes
}

/// Asks the process that the line names, if it answers in time.
fn list(before: &[String], env: &Env) -> Option<ListDoc> {
    let global = global(before)?;
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let asked = async {
        let session = Session::new(&global, env, Paint::new(false));
        let mut client = session.client().await.ok()?;
        client.list(None).await.ok()
    };
    let answer = tokio.block_on(async { tokio::time::timeout(PATIENCE, asked).await });
    answer.ok().flatten().map(|reply| reply.doc)
}

/// The global options on a line that is not finished: those are read as if they stood alone.
fn global(before: &[String]) -> Option<Global> {
    let cli = Cli::command();
    let mut line: Vec<OsString> = vec!["oneiric".into(), "list".into()];
    let mut words = before.iter();
    while let Some(word) = words.next() {
        let known = option(&cli, word).filter(|arg| word.starts_with("--") && arg.is_global_set());
        let Some(arg) = known else { continue };
        line.push(word.into());
        if arg.get_action().takes_values() && !word.contains('=') {
            line.push(words.next()?.into());
        }
    }
    Cli::try_parse_from(line).ok().map(|cli| cli.global)
}

/// The words of a line as a shell splits them, the last one as far as it was typed.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut began = false;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, ' ' | '\t') => {
                if began {
                    words.push(std::mem::take(&mut word));
                }
                began = false;
                continue;
            }
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), close) if open == close => quote = None,
            (None | Some('"'), '\\') => word.extend(letters.next()),
            _ => word.push(letter),
        }
        began = true;
    }
    words.push(word);
    words
}

#[cfg(test)]
mod tests;
