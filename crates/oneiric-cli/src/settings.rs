//! Where settings come from on a command line: files, variables and options, handed to the library as plain values.
//! Every command finds them in the same way, so that one that looks for the process looks where `run` put it.

use std::path::{Path, PathBuf};

use oneiric_builtins::{EnvSecrets, FileSecrets};
use oneiric_core::ErrorKind;
use oneiric_runtime::{
    Fault, RuntimeBuilder, RuntimeError, Settings, SettingsError, SettingsSource, SettingsWarning,
    Sources,
};
use serde_json::{Value, json};

use crate::args::Global;
use crate::env_vars::{self, Env, Variable};
use crate::failure::Failure;

/// The settings of the machine.
const MACHINE: &str = "/etc/oneiric/config";
/// The settings of a user, in the directory for such files.
const USER: &str = "oneiric/config";
/// The settings of this directory.
const HERE: &str = "oneiric";
/// Those beside them that are not shared with others.
const LOCAL: &str = "oneiric.local";

/// Who keeps secrets in `run`: the environment, and private files.
pub(crate) const SECRET_KEEPERS: [&str; 2] = ["env", "file"];

/// All layers, from files up to options.
pub(crate) fn sources(global: &Global, env: &Env) -> Sources {
    let mut sources = match named_file(global, env) {
        Some(file) => Sources::new().file(file),
        None => standard_files(env),
    };
    let mut pairs = Vec::new();
    for (name, value) in env.settings() {
        match value.to_str() {
            Some(value) => pairs.push((name, value)),
            None => {
                let source = SettingsSource::Variable(name.to_owned());
                sources = sources.unreadable(source, "it is not UTF-8 text");
            }
        }
    }
    sources = sources.variables(pairs);
    if let Some(directory) = managed_state_dir(env) {
        let source = SettingsSource::Variable(env_vars::STATE_DIRECTORY.name.to_owned());
        sources = sources.value(source, "state_dir", directory);
    }
    for (variable, key) in [
        (env_vars::STATE_DIR, "state_dir"),
        (env_vars::FACTORY_ALLOWLIST, "security.factory_allowlist"),
        (env_vars::LOG, "log.filter"),
    ] {
        sources = with_variable(sources, env, variable, key);
    }
    for set in &global.set {
        sources = sources.flag(set);
    }
    for (option, path, key) in [
        ("--state-dir", &global.state_dir, "state_dir"),
        ("--socket", &global.socket, "admin.socket"),
    ] {
        let Some(path) = path else { continue };
        let source = SettingsSource::Flag(option.to_owned());
        sources = match path.to_str() {
            Some(path) => sources.value(source, key, path),
            None => sources.unreadable(source, "the path is not UTF-8 text"),
        };
    }
    sources
}

fn named_file(global: &Global, env: &Env) -> Option<PathBuf> {
    let by_variable = || env.value(env_vars::CONFIG).map(PathBuf::from);
    global.config.clone().or_else(by_variable)
}

fn standard_files(env: &Env) -> Sources {
    let mut sources = Sources::new().maybe_file(MACHINE);
    let home = || env.path("HOME").map(|home| home.join(".config"));
    if let Some(directory) = env.path("XDG_CONFIG_HOME").or_else(home) {
        sources = sources.maybe_file(directory.join(USER));
    }
    sources.maybe_file(HERE).maybe_file(LOCAL)
}

fn with_variable(sources: Sources, env: &Env, variable: Variable, key: &str) -> Sources {
    let Some(value) = env.value(variable) else {
        return sources;
    };
    let source = SettingsSource::Variable(variable.name.to_owned());
    match value.to_str() {
        Some(value) => sources.value(source, key, value),
        None => sources.unreadable(source, "it is not UTF-8 text"),
    }
}

/// The first of the directories that a service manager made; it puts colons between them.
fn managed_state_dir(env: &Env) -> Option<&str> {
    let directories = env.value(env_vars::STATE_DIRECTORY)?.to_str()?;
    directories
        .split(':')
        .next()
        .filter(|first| !first.is_empty())
}

/// Reads the settings, to show them: what this program makes of them is not looked at.
pub(crate) fn load(sources: &Sources) -> Result<Settings, Failure> {
    sources.load().map_err(|error| failure(&error))
}

/// Reads the settings as `run` does: every fault is told, those that only a program with its factories can find too.
pub(crate) fn load_checked(sources: &Sources) -> Result<Settings, Failure> {
    sources
        .load_for(&oneiric_builtins::factories(), &SECRET_KEEPERS)
        .map_err(|error| failure(&error))
}

/// Refuses settings that are right one by one and that no process starts with.
pub(crate) fn check_start(settings: &Settings) -> Result<(), Failure> {
    let admin = &settings.admin;
    let nobody_by_certificate = || {
        let tcp = admin.tcp.as_ref();
        admin.client_roles.is_empty() || tcp.is_none_or(|tcp| tcp.client_ca.is_none())
    };
    if admin.tcp.is_some() && admin.tokens.is_empty() && nobody_by_certificate() {
        let reasons = Vec::new();
        let error = RuntimeError::TcpUnguarded { reasons };
        let mut failure = Failure::of(&error);
        failure.hint = error.hint();
        return Err(failure);
    }
    Ok(())
}

/// A runtime with everything that this program brings: factories, and those who keep secrets. A command that only looks
/// builds the same one as `run`, so that it finds the same.
pub(crate) fn builder(settings: Settings, env: &Env) -> RuntimeBuilder {
    let files = FileSecrets::new(settings.secrets_dir());
    RuntimeBuilder::new(settings)
        .secret_provider(EnvSecrets::new(env.pairs()))
        .secret_provider(files)
        .factories(oneiric_builtins::factories())
        .version(env!("CARGO_PKG_VERSION"))
}

/// Reads the settings of a process that is to be started. One that nobody told anything is a mistake: its settings are
/// somewhere else.
pub(crate) fn load_to_run(sources: &Sources) -> Result<Settings, Failure> {
    let settings = load_checked(sources)?;
    if !settings.files().is_empty() || settings.has_candidates() {
        return Ok(settings);
    }
    let mut names: Vec<String> = sources
        .files()
        .iter()
        .filter(|file| file.extension().is_some_and(|ending| ending == "toml"))
        .map(|file| file.display().to_string())
        .collect();
    // The nearest one first: it is what people mean.
    names.reverse();
    let message = format!("there is no settings file: none of {}", names.join(", "));
    Err(
        Failure::new("runtime.settings_not_found", ErrorKind::Config, message).hint(
            "`oneiric init` writes oneiric.toml to begin with; --config FILE names one that is elsewhere",
        ),
    )
}

/// Why settings cannot be used, with the faults as data.
pub(crate) fn failure(error: &SettingsError) -> Failure {
    let mut failure = Failure::of(error);
    let faults: Vec<Value> = error.faults().iter().map(fault).collect();
    if !faults.is_empty() {
        failure.details = Some(Box::new(json!({"faults": faults})));
    }
    failure
}

fn fault(fault: &Fault) -> Value {
    let (file, name) = names_of(&fault.source);
    json!({
        "file": file,
        "name": name,
        "line": fault.at.map(|(line, _)| line),
        "column": fault.at.map(|(_, column)| column),
        "key": fault.key,
        "code": fault.code,
        "message": fault.message,
        "help": fault.help,
    })
}

/// What is hardly meant in settings, as data.
pub(crate) fn warning(warning: &SettingsWarning) -> Value {
    let (file, name) = names_of(&warning.source);
    json!({
        "file": file,
        "name": name,
        "line": warning.at.map(|(line, _)| line),
        "column": warning.at.map(|(_, column)| column),
        "key": warning.key,
        "message": warning.message,
        "help": warning.help,
    })
}

/// The file, or else the variable or option, that a layer is.
fn names_of(source: &SettingsSource) -> (Option<String>, Option<&String>) {
    match source {
        SettingsSource::File(path) => (Some(path.display().to_string()), None),
        SettingsSource::Variable(name) | SettingsSource::Flag(name) => (None, Some(name)),
        _ => (None, None),
    }
}

/// Where a process with these settings is found, and what keeps them from being known.
pub(crate) struct Whereabouts {
    pub(crate) socket: PathBuf,
    pub(crate) state_dir: PathBuf,
    /// The settings could not be read, so the process may be elsewhere.
    pub(crate) doubt: Option<Failure>,
    /// Something of them could be read all the same.
    pub(crate) settings_found: bool,
}

/// Finds out where a process is. Settings with faults are good enough for that; a file that was named and is not
/// there is not.
pub(crate) fn whereabouts(sources: &Sources) -> Whereabouts {
    let (settings, error, settings_found) = match sources.load_what_is_left() {
        Ok((settings, error)) => (settings, error, true),
        Err(error) => (Settings::default(), Some(error), false),
    };
    Whereabouts {
        socket: settings.socket_path(),
        state_dir: settings.state_dir,
        doubt: error.as_ref().map(failure),
        settings_found,
    }
}

/// A file for `config check FILE`, and nothing else.
pub(crate) fn only(file: &Path) -> Sources {
    Sources::new().file(file)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        let owned = |text: &str| OsString::from(text);
        Env::new(
            pairs
                .iter()
                .map(|(name, value)| (owned(name), owned(value))),
        )
    }

    fn names(global: &Global, env: &Env) -> Vec<String> {
        let files = sources(global, env).files();
        let files = files.iter().map(|file| file.display().to_string());
        files.filter(|file| file.ends_with(".toml")).collect()
    }

    #[test]
    fn four_files_are_looked_for_unless_one_is_named() {
        let global = Global::default();
        assert_eq!(
            names(&global, &env(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")])),
            [
                "/etc/oneiric/config.toml",
                "/x/oneiric/config.toml",
                "oneiric.toml",
                "oneiric.local.toml"
            ]
        );
        assert!(
            names(&global, &env(&[("HOME", "/h")]))
                .contains(&"/h/.config/oneiric/config.toml".to_owned())
        );
        let by_variable = env(&[("ONEIRIC_CONFIG", "b.toml")]);
        assert_eq!(names(&global, &by_variable), ["b.toml"]);
        let global = Global {
            config: Some("a.toml".into()),
            ..Global::default()
        };
        assert_eq!(names(&global, &by_variable), ["a.toml"]);
    }

    #[test]
    fn options_stand_above_variables_and_these_above_files() {
        let mut global = Global::default();
        let env = env(&[
            ("ONEIRIC_STATE_DIR", "by-variable"),
            ("ONEIRIC_RUN__GRACE_MS", "7"),
            ("ONEIRIC_FACTORY_ALLOWLIST", "a.,b."),
        ]);
        let settings = load(&sources(&global, &env)).unwrap();
        assert_eq!(settings.state_dir, Path::new("by-variable"));
        assert_eq!(settings.grace.as_millis(), 7);
        assert_eq!(settings.factory_allowlist, ["a.", "b."]);
        global.set = vec!["run.grace_ms=8".to_owned()];
        global.state_dir = Some("by-option".into());
        let settings = load(&sources(&global, &env)).unwrap();
        assert_eq!(settings.state_dir, Path::new("by-option"));
        assert_eq!(settings.grace.as_millis(), 8);
    }

    #[test]
    fn a_missing_settings_file_is_an_error_whoever_named_it() {
        let named = Global {
            config: Some("a.toml".into()),
            ..Global::default()
        };
        for (global, env, name) in [
            (named, env(&[("ONEIRIC_CONFIG", "b.toml")]), "a.toml"),
            (
                Global::default(),
                env(&[("ONEIRIC_CONFIG", "b.toml")]),
                "b.toml",
            ),
            (Global::default(), env(&[]), "oneiric.toml"),
        ] {
            let failure = load_to_run(&sources(&global, &env)).unwrap_err();
            assert_eq!(failure.code, "runtime.settings_not_found");
            assert!(failure.message.contains(name), "{}", failure.message);
        }
    }

    #[test]
    fn faults_say_which_variable_or_option_they_are_in() {
        let global = Global {
            set: vec!["run.grace=1".to_owned(), "nothing".to_owned()],
            ..Global::default()
        };
        let env = env(&[("ONEIRIC_RUN__GRACE_MS", "soon")]);
        let failure = load(&sources(&global, &env)).unwrap_err();
        let lines: Vec<&str> = failure.message.lines().map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "3 faults in the settings",
                "ONEIRIC_RUN__GRACE_MS: run.grace_ms: expected a whole number, found \"soon\"",
                "--set run.grace: unknown key; did you mean 'grace_ms'?",
                "--set nothing: expected KEY=VALUE, such as run.grace_ms=1000",
            ]
        );
    }
}
