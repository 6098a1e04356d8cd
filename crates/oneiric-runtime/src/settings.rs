//! The settings file: one TOML file, read whole, every fault reported at once with its line.
//!
//! It is read by walking the parsed tree instead of through derived types, because derived types stop at the first
//! fault and know no lines afterwards; a person who starts a process with three mistakes in the file should see three
//! lines, not one line three times.
//!
//! Relative paths (`state_dir`, `admin.socket`, and whatever paths a provider's settings hold) are relative to the
//! process' working directory, not to the file: the same file can serve several instances side by side.

mod fault;
mod parts;
mod places;
mod read;
mod section;
mod source;
mod sources;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use oneiric_core::{Candidate, DEFAULT_ALLOWLIST, Provider, Slot, TiePolicy};
use oneiric_lifecycle::Limits;
use serde_json::Value;

pub(crate) use self::fault::{Place, nearest};
pub use self::{
    fault::{Fault, SettingsError},
    parts::{
        AdminSettings, ErrorMode, LogFormat, LogSettings, ReloadSettings, Role, SecretsSettings,
        TcpSettings, TokenSettings,
    },
    sources::Sources,
};
use crate::state_dir;

/// The longest settings file: 1 MiB.
pub(crate) const MAX_FILE_BYTES: u64 = 1 << 20;

/// When slots are activated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Activate {
    /// All at start, in parallel; one that fails does not keep the process from running.
    #[default]
    All,
    /// Each when it is first used.
    OnUse,
}

/// What a runtime is told before it begins. `Default` is what an empty file gives.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// `state_dir`: the directory of the socket and the lock (`.oneiric`).
    pub state_dir: PathBuf,
    /// `[admin]`: where operators connect, and who they may be.
    pub admin: AdminSettings,
    /// `lifecycle.*_ms`: time limits of a swap's steps.
    pub limits: Limits,
    /// `security.factory_allowlist`: which factories candidates may name (`oneiric.`).
    pub factory_allowlist: Vec<String>,
    /// `resolution.ties`: what decides between equals (`newest`).
    pub ties: TiePolicy,
    /// `resolution.default_priority`: the priority of candidates that state none (0).
    pub default_priority: i64,
    /// `run.activate`: when slots are activated (`all`).
    pub activate: Activate,
    /// `run.grace_ms`: how long a shutdown may take (45 s).
    pub grace: Duration,
    /// `run.error_mode`: how much errors tell clients (`production`).
    pub error_mode: ErrorMode,
    /// `[log]`: what is logged, and how.
    pub log: LogSettings,
    /// `[secrets]`: where secrets come from and how long they are kept.
    pub secrets: SecretsSettings,
    /// `[reload]`: when changed settings are put in force.
    pub reload: ReloadSettings,
    /// What errors call these settings.
    pub(crate) name: String,
    pub(crate) file: Option<PathBuf>,
    pub(crate) candidates: Vec<Declared>,
    pub(crate) selections: Vec<(Slot, Provider)>,
    pub(crate) providers: BTreeMap<(Slot, Provider), Configured>,
}

/// A candidate and where its factory is named.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    pub(crate) candidate: Candidate,
    pub(crate) key: String,
    pub(crate) place: Place,
}

/// A provider's settings and where they stand.
#[derive(Debug, Clone)]
pub(crate) struct Configured {
    pub(crate) value: Value,
    pub(crate) key: String,
    pub(crate) place: Place,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            state_dir: ".oneiric".into(),
            admin: AdminSettings::default(),
            limits: Limits::default(),
            factory_allowlist: DEFAULT_ALLOWLIST.map(String::from).to_vec(),
            ties: TiePolicy::default(),
            default_priority: 0,
            activate: Activate::default(),
            grace: Duration::from_secs(45),
            error_mode: ErrorMode::default(),
            log: LogSettings::default(),
            secrets: SecretsSettings::default(),
            reload: ReloadSettings::default(),
            name: "settings".to_owned(),
            file: None,
            candidates: Vec::new(),
            selections: Vec::new(),
            providers: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Reads a settings file. Blocks.
    ///
    /// # Errors
    /// `runtime.settings_not_found`, `runtime.settings_unreadable`, or `runtime.settings_invalid` with every fault,
    /// its line and its key.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let name = path.display().to_string();
        let bytes = read_capped(path).map_err(|error| SettingsError::unreadable(&name, error))?;
        let text = match bytes {
            None => {
                let message = format!("the file is longer than {MAX_FILE_BYTES} bytes");
                return Err(SettingsError::invalid(
                    &name,
                    vec![Fault::whole_file(message)],
                ));
            }
            Some(bytes) => String::from_utf8(bytes).map_err(|error| {
                let message = format!(
                    "the file is not UTF-8 text (byte {})",
                    error.utf8_error().valid_up_to()
                );
                SettingsError::invalid(&name, vec![Fault::whole_file(message)])
            })?,
        };
        let mut settings = Self::parse(&text, &name)?;
        settings.file = Some(path.to_owned());
        Ok(settings)
    }

    /// Reads settings from text; `name` stands for the file in errors.
    ///
    /// # Errors
    /// `runtime.settings_invalid` with every fault, its line and its key.
    pub fn parse(text: &str, name: &str) -> Result<Self, SettingsError> {
        let settings =
            read::settings(text).map_err(|faults| SettingsError::listed(name, faults))?;
        Ok(Self {
            name: name.to_owned(),
            ..settings
        })
    }

    /// Returns the path of the admin socket.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        self.admin
            .socket
            .clone()
            .unwrap_or_else(|| state_dir::socket_in(&self.state_dir))
    }

    /// Returns the directory of the secrets that are files.
    #[must_use]
    pub fn secrets_dir(&self) -> PathBuf {
        let below = || self.state_dir.join("secrets");
        self.secrets.directory.clone().unwrap_or_else(below)
    }

    /// Returns how long one request may take.
    #[must_use]
    pub fn request_limit(&self) -> Duration {
        let Limits {
            activation,
            probe,
            hook,
            drain,
            retire,
            ..
        } = self.limits;
        let steps = activation + probe + hook * 2 + drain + retire;
        self.admin
            .request_timeout
            .unwrap_or(steps + Duration::from_secs(30))
    }
}

/// Reads a file; `None` when it is too long. A directory or a device that never ends is no danger.
fn read_capped(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    let fits = u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_FILE_BYTES);
    Ok(fits.then_some(bytes))
}
