//! Settings: which layers they come from, what may stand in them, and who set what.
//!
//! Files (TOML, YAML, JSON), the environment and the command line all become one tree in which every value knows its
//! place ([`tree`]); each layer is checked against the one list of keys ([`catalog`]), all faults at once; then layers
//! are merged and the result fills [`Settings`]. Derived types would stop at the first fault and know no lines
//! afterwards; a person who starts a process with three mistakes in the file should see three lines, not one line
//! three times. The rules are in `docs/spec/settings.md`.

pub(crate) mod catalog;
mod changes_file;
mod check;
mod explain;
mod factories;
mod fault;
mod file;
mod fill;
mod format;
mod hide;
mod layer;
mod parts;
mod policies;
mod reference;
mod sample;
mod schema;
mod secret_refs;
mod sources;
mod together;
mod tree;
mod warnings;
mod words;

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use oneiric_core::{
    Candidate, DEFAULT_ALLOWLIST, Origin, Provider, RegisterError, Registry, RegistryConfig,
    SelectionLayer, Slot, TiePolicy,
};
use oneiric_lifecycle::{Limits, PROBES_AT_ONCE, SlotPolicies};
use serde_json::Value;

pub(crate) use self::file::Stamp;
pub use self::{
    changes_file::{ChangesFileError, read_changes},
    explain::UnknownKey,
    fault::{Fault, SettingsError, nearest},
    layer::SettingsSource,
    parts::{
        AdminSettings, ErrorMode, LogFormat, LogSettings, ReloadSettings, Role, SecretsSettings,
        TcpSettings, TokenSettings,
    },
    reference::settings_reference,
    sample::settings_sample,
    schema::settings_schema,
    sources::Sources,
    warnings::SettingsWarning,
};
pub(crate) use self::{
    hide::secrets_in,
    layer::{Layers, Place},
    policies::{PolicyKey, stated},
};
use self::{tree::Node, words::WordPath};
use crate::state_dir;

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
    /// `lifecycle.probes_at_once`: how many slots are probed at one time while nobody asks (4), 1 to 1000.
    pub probes_at_once: usize,
    /// `[slots]`: how slots are looked after.
    pub slot_policies: SlotPolicies,
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
    /// The files that were there and were read, in the order of their layers.
    pub(crate) files: Vec<PathBuf>,
    /// What those files held.
    pub(crate) stamps: BTreeMap<PathBuf, Stamp>,
    /// Those of them in which nothing stands.
    pub(crate) blank: Vec<PathBuf>,
    /// Files that may be there or not, in directories that this user may not look into.
    pub(crate) unseen: Vec<PathBuf>,
    pub(crate) layers: Layers,
    /// All layers merged, with what each value replaced.
    pub(crate) tree: Arc<Node>,
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
#[derive(Clone)]
pub(crate) struct Configured {
    pub(crate) value: Value,
    pub(crate) key: String,
    pub(crate) place: Place,
    /// Text in it whose type is the factory's to say.
    pub(crate) words: Vec<(WordPath, String)>,
}

impl fmt::Debug for Configured {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configured")
            .field("value", &hide::shown("", &self.value))
            .field("key", &self.key)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Configured {
    /// Asks `accepts`, usually a factory, whether it takes the value, and gives text from the environment and the
    /// command line the type with which it does.
    ///
    /// # Errors
    /// What `accepts` says, without secrets.
    pub(crate) fn fit(
        &mut self,
        accepts: impl Fn(&Value) -> Result<(), String>,
    ) -> Result<(), String> {
        let said = |message| hide::message(message, "", &self.value);
        self.value = words::fit(&self.value, &self.words, accepts).map_err(said)?;
        Ok(())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            state_dir: ".oneiric".into(),
            admin: AdminSettings::default(),
            limits: Limits::default(),
            probes_at_once: PROBES_AT_ONCE.get(),
            slot_policies: SlotPolicies::default(),
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
            files: Vec::new(),
            stamps: BTreeMap::new(),
            blank: Vec::new(),
            unseen: Vec::new(),
            layers: Layers::default(),
            tree: Arc::new(Node::empty()),
            candidates: Vec::new(),
            selections: Vec::new(),
            providers: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Reads one settings file, in the format that its name ends in. Blocks.
    ///
    /// # Errors
    /// `runtime.settings_not_found`, `runtime.settings_unreadable`, or `runtime.settings_invalid` with every fault,
    /// its line and its key.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        Sources::new().file(path).load()
    }

    /// Reads settings from TOML; `name` stands for the file in errors.
    ///
    /// # Errors
    /// `runtime.settings_invalid` with every fault, its line and its key.
    pub fn parse(text: &str, name: &str) -> Result<Self, SettingsError> {
        Sources::new().text(name, text).load()
    }

    /// Returns the files that were there and were read, in the order of their layers.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// A file in which something stood when `self` was read, and now that `new` was nothing does.
    pub(crate) fn emptied<'n>(&self, new: &'n Self) -> Option<&'n Path> {
        let stood = |file: &&PathBuf| self.files.contains(file) && !self.blank.contains(file);
        new.blank.iter().find(stood).map(PathBuf::as_path)
    }

    /// A registry with the candidates and selections of these settings, and no others.
    ///
    /// # Errors
    /// None that settings can cause: what they declare is of one origin.
    pub(crate) fn registry(&self) -> Result<Registry, RegisterError> {
        let config = RegistryConfig::default()
            .with_default_priority(self.default_priority)
            .with_ties(self.ties);
        let registry = Registry::with_config(config);
        let candidates = self.candidates.iter();
        let candidates = candidates.map(|declared| declared.candidate.clone());
        registry.replace_origin(&Origin::settings(), candidates)?;
        registry.set_selections(SelectionLayer::Settings, self.selections.iter().cloned());
        Ok(registry)
    }

    /// How many slots are probed at one time while nobody asks.
    pub(crate) fn probes_at_once(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.probes_at_once).unwrap_or(NonZeroUsize::MIN)
    }

    /// Where the value of a key stands, `oneiric.toml:3:9`; `None` where nobody stated it.
    pub(crate) fn place_of<'k>(&self, names: impl IntoIterator<Item = &'k str>) -> Option<String> {
        let node = self.tree.at(names)?;
        Some(self.layers.describe(node.place))
    }

    /// Tells whether they declare any candidate.
    #[must_use]
    pub fn has_candidates(&self) -> bool {
        !self.candidates.is_empty()
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

#[cfg(test)]
mod tests;
