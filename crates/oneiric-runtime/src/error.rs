//! Why a runtime cannot be put together, started, or do what it is asked.

use std::{io, path::PathBuf, time::SystemTime};

use oneiric_core::{Coded, ErrorKind, InvalidChange, Provider, Slot, rfc3339};
use oneiric_domains::{SecretError, SecretRef};
use oneiric_lifecycle::{
    ActivityScope, ActivityState, CallError, InvalidScope, LifecycleError, StoreError,
};

use crate::{
    api::RevisionDoc,
    settings::{SettingsError, UnknownKey},
};

/// Why a runtime cannot be put together, started, or do what it is asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(SettingsError),
    /// There is no setting of that name.
    #[error(transparent)]
    SettingsKey(UnknownKey),
    /// Another process works with the state directory.
    #[error("{} is using {}", process(*holder), state_dir.display())]
    AlreadyRunning {
        /// The directory.
        state_dir: PathBuf,
        /// The other process' id, if it could be read.
        holder: Option<u32>,
    },
    /// Somebody looks at what is in the state directory, and has done so for long.
    #[error("somebody is still looking at the state in {}", path.display())]
    StateDirLookedAt {
        /// The directory.
        path: PathBuf,
    },
    /// Another process serves the admin socket, from another state directory.
    #[error("another process serves the admin socket {}", path.display())]
    SocketInUse {
        /// The socket.
        path: PathBuf,
    },
    /// This runtime was run before; its instances are gone for good.
    #[error("this runtime was run already")]
    RunBefore,
    /// The state directory cannot be made, entered or locked.
    #[error("the state directory {} cannot be used: {doing}", path.display())]
    StateDir {
        /// What was tried.
        doing: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The state directory can be entered by other users than its own.
    #[error("the state directory {} is open to other users (mode {mode:o})", path.display())]
    StateDirOpen {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The path of the admin socket does not fit into a socket address.
    #[error(
        "the path of the admin socket is {length} bytes long, the system takes {limit}: {}", path.display()
    )]
    SocketPathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
        /// What the system takes.
        limit: usize,
    },
    /// The admin socket cannot be opened.
    #[error("the admin socket {} cannot be opened", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody registered the provider that was to be swapped in.
    #[error("{slot} has no candidate of '{provider}'{}", known_list(known))]
    ProviderUnknown {
        /// The slot.
        slot: Slot,
        /// The provider.
        provider: Provider,
        /// Those that there are.
        known: Vec<Provider>,
    },
    /// A text names no secret.
    #[error(transparent)]
    Secret(SecretError),
    /// No setting names the secret.
    #[error("no setting names {reference}")]
    SecretUnused {
        /// The secret.
        reference: SecretRef,
    },
    /// A request contradicts itself.
    #[error("{message}")]
    RequestInvalid {
        /// How.
        message: String,
    },
    /// A plan was made on a revision that is not the last one, or on another ranking.
    #[error("{}", outdated(*base, *last, since, differs))]
    PlanOutdated {
        /// The last revision when it was made.
        base: u64,
        /// The last revision now.
        last: u64,
        /// Those that were made since, as far as they are remembered.
        since: Vec<RevisionDoc>,
        /// What it would come to now, where that is something else.
        differs: Vec<String>,
    },
    /// There is no such revision, or it is not remembered any more.
    #[error("{}", unknown_revision(*number, *oldest, *last))]
    RevisionUnknown {
        /// The number that was named.
        number: u64,
        /// The oldest revision to which there is a way back.
        oldest: u64,
        /// The last revision.
        last: u64,
    },
    /// A hypothetical change does not fit.
    #[error(transparent)]
    Change(InvalidChange),
    /// There is nothing to pause, drain or resume under that name.
    #[error("there is nothing at {scope}")]
    ScopeUnknown {
        /// What was named.
        scope: ActivityScope,
        /// What may have been meant.
        suggestion: Option<String>,
    },
    /// What is kept of paused and draining scopes is not understood.
    #[error("the activity that is kept for {scope} cannot be read")]
    ActivityUnreadable {
        /// The scope as it is kept, quoted.
        scope: String,
        /// What is wrong with it.
        source: InvalidScope,
    },
    /// The lifecycle says no.
    #[error(transparent)]
    Lifecycle(LifecycleError),
    /// The component says no.
    #[error("{error}")]
    Call {
        /// Whose instance was called.
        provider: Provider,
        /// What it says.
        error: CallError,
    },
    /// A certificate, a key or an authority for TLS cannot be used.
    #[error("TLS cannot use {}: {message}", path.display())]
    TlsUnusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The admin API is to be served over TCP, and nobody could come in.
    #[error("nobody could use the admin API on TCP{}", because(reasons))]
    TcpUnguarded {
        /// Why each token lets nobody in.
        reasons: Vec<String>,
    },
    /// The address of the admin API cannot be listened on.
    #[error("cannot listen on {address}")]
    ListenFailed {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The stores of state cannot be opened, read or written.
    #[error(transparent)]
    State(StoreError),
    /// State is in memory only, or in stores of the program's own: there is no database to copy.
    #[error("this process keeps no database")]
    StateNotKept,
    /// The runtime was given settings and not where they come from, so they cannot be read again.
    #[error("this process does not know where its settings come from")]
    NoSources,
    /// A defect of ours.
    #[error("internal error: {message}")]
    Internal {
        /// What is known about it.
        message: String,
    },
}

/// So many lines of what was done since are put into words.
const MOST_SINCE: usize = 8;

/// What was done since a plan was made: who, where, from whom to whom, and when.
fn outdated(base: u64, last: u64, since: &[RevisionDoc], differs: &[String]) -> String {
    if base == last {
        let differs = differs.join("; ");
        return format!("the plan does not fit any more: {differs}");
    }
    let mut text = format!("the plan was made on revision {base}, and {last} is in force now");
    let name = |provider: &Option<Provider>| {
        provider
            .as_ref()
            .map_or("nobody".to_owned(), ToString::to_string)
    };
    for (number, line) in since.iter().take(MOST_SINCE).enumerate() {
        let at = i64::try_from(line.at_unix_ms)
            .ok()
            .and_then(rfc3339::format);
        text.push_str(if number == 0 { ": " } else { "; " });
        text.push_str(&format!(
            "{} {} {} -> {} by {}{}",
            line.revision,
            line.slot,
            name(&line.before),
            name(&line.provider),
            line.who,
            at.map(|at| format!(" at {at}")).unwrap_or_default()
        ));
    }
    if since.len() > MOST_SINCE {
        text.push_str(&format!("; and {} more", since.len() - MOST_SINCE));
    }
    text
}

fn unknown_revision(number: u64, oldest: u64, last: u64) -> String {
    if number > last {
        return format!("there is no revision {number}; the last one is {last}");
    }
    format!(
        "what was selected after revision {number} is not remembered any more, only from {oldest} on"
    )
}

fn process(id: Option<u32>) -> String {
    id.map_or_else(
        || "another process".to_owned(),
        |id| format!("process {id}"),
    )
}

fn because(reasons: &[String]) -> String {
    if reasons.is_empty() {
        return ": no token and no client certificate is known".to_owned();
    }
    format!(": {}", reasons.join("; "))
}

fn known_list(known: &[Provider]) -> String {
    let names: Vec<&str> = known.iter().map(Provider::as_str).collect();
    if names.is_empty() {
        String::new()
    } else {
        format!("; it has {}", names.join(", "))
    }
}

impl RuntimeError {
    /// Returns a next step for the person who reads the error, where one is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::SettingsKey(error) => return error.help().map(str::to_owned),
            Self::AlreadyRunning { state_dir, .. } => format!(
                "stop the process that uses {}, or give this one another state directory",
                state_dir.display()
            ),
            Self::StateDirLookedAt { .. } => {
                "wait until `oneiric state check` is done, then start again".to_owned()
            }
            Self::SocketPathTooLong { .. } => {
                "set `admin.socket` to a shorter path, or use a shorter state directory (ONEIRIC_STATE_DIR)".to_owned()
            }
            Self::TcpUnguarded { .. } => "add `[[admin.tokens]]`, or `admin.tcp.client_ca` with `[admin.client_roles]`; or remove `[admin.tcp]`".to_owned(),
            Self::ListenFailed { .. } => "set `admin.tcp.listen` to another address or port".to_owned(),
            Self::SecretUnused { .. } => "`oneiric secrets list` shows those that settings name".to_owned(),
            Self::Socket { path, .. } => format!(
                "move away what is at {}, or set `admin.socket` to another path",
                path.display()
            ),
            Self::TlsUnusable { path, .. } => format!("correct {}, or name another file in `[admin.tcp]`", path.display()),
            Self::SocketInUse { .. } => "set `admin.socket` to another path".to_owned(),
            Self::StateDir { .. } => "choose another state directory (`state_dir`, ONEIRIC_STATE_DIR)".to_owned(),
            Self::StateDirOpen { path, .. } => {
                format!("close it to others: chmod 700 {}", path.display())
            }
            Self::ScopeUnknown { suggestion: Some(suggestion), .. } => suggestion.clone(),
            Self::ScopeUnknown { .. } => "`oneiric list` shows the slots there are".to_owned(),
            Self::Lifecycle(LifecycleError::Busy { state, .. })
            | Self::Call {
                error: CallError::NotServed(LifecycleError::Busy { state, .. }),
                ..
            } => resume_hint(state)?,
            Self::Lifecycle(LifecycleError::HandingOver { .. })
            | Self::Call {
                error: CallError::NotServed(LifecycleError::HandingOver { .. }),
                ..
            } => "the same call is taken as soon as that is over".to_owned(),
            Self::Lifecycle(LifecycleError::Unresolved(_)) => "`oneiric list` shows the slots there are".to_owned(),
            Self::State(error) => return error.hint().map(str::to_owned),
            Self::PlanOutdated { .. } => "make the plan again, look at it, and apply that".to_owned(),
            Self::RevisionUnknown { .. } => "`oneiric history` shows the revisions there are".to_owned(),
            Self::StateNotKept => "it was built without the feature `sqlite`, or has stores of its own: back those up by their own means".to_owned(),
            _ => return None,
        })
    }
}

/// Who wants to call can wait or have it resumed; a command says how.
fn resume_hint(state: &ActivityState) -> Option<String> {
    let scope = state.scope.as_ref()?.to_string();
    let quote = if scope.contains('*') { "'" } else { "" };
    Some(match state.until {
        Some(_) => format!(
            "it resumes by itself then; `oneiric resume {quote}{scope}{quote}` resumes it now"
        ),
        None => format!("`oneiric resume {quote}{scope}{quote}` resumes it"),
    })
}

impl RuntimeError {
    /// Returns when the same request is going to be taken, if that is known: the slot is paused until then.
    #[must_use]
    pub fn retry_at(&self) -> Option<SystemTime> {
        match self {
            Self::Lifecycle(LifecycleError::Busy { opens, .. })
            | Self::Call {
                error: CallError::NotServed(LifecycleError::Busy { opens, .. }),
                ..
            } => *opens,
            _ => None,
        }
    }
}

impl Coded for RuntimeError {
    fn code(&self) -> &'static str {
        match self {
            Self::Settings(error) => error.code(),
            Self::SettingsKey(error) => error.code(),
            Self::AlreadyRunning { .. } => "runtime.already_running",
            Self::StateDirLookedAt { .. } => "runtime.state_dir_looked_at",
            Self::SocketInUse { .. } => "runtime.socket_in_use",
            Self::RunBefore => "runtime.run_before",
            Self::StateDir { .. } | Self::StateDirOpen { .. } => "runtime.state_dir_unusable",
            Self::SocketPathTooLong { .. } => "runtime.socket_path_too_long",
            Self::Socket { .. } => "runtime.socket_unusable",
            Self::ProviderUnknown { .. } => "runtime.provider_unknown",
            Self::Secret(error) => error.code(),
            Self::SecretUnused { .. } => "runtime.secret_unused",
            Self::RequestInvalid { .. } => "runtime.request_invalid",
            Self::PlanOutdated { .. } => "runtime.plan_outdated",
            Self::RevisionUnknown { .. } => "runtime.revision_unknown",
            Self::Change(error) => error.code(),
            Self::ScopeUnknown { .. } => "runtime.scope_unknown",
            Self::ActivityUnreadable { .. } => "runtime.activity_unreadable",
            Self::Lifecycle(error) => error.code(),
            Self::Call { error, .. } => error.code(),
            Self::TlsUnusable { .. } => "runtime.tls_unusable",
            Self::TcpUnguarded { .. } => "runtime.tcp_unguarded",
            Self::ListenFailed { .. } => "runtime.listen_failed",
            Self::State(error) => error.code(),
            Self::StateNotKept => "runtime.state_not_kept",
            Self::NoSources => "runtime.reload_unavailable",
            Self::Internal { .. } => "runtime.internal",
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Settings(error) => error.kind(),
            Self::SettingsKey(error) => error.kind(),
            Self::AlreadyRunning { .. } | Self::SocketInUse { .. } => ErrorKind::Busy,
            Self::StateDirLookedAt { .. } => ErrorKind::Unavailable,
            Self::StateDir { .. }
            | Self::StateDirOpen { .. }
            | Self::SocketPathTooLong { .. }
            | Self::Socket { .. }
            | Self::TlsUnusable { .. }
            | Self::TcpUnguarded { .. }
            | Self::ListenFailed { .. } => ErrorKind::Config,
            Self::ProviderUnknown { .. } | Self::SecretUnused { .. } => ErrorKind::NotFound,
            Self::RunBefore | Self::NoSources | Self::RequestInvalid { .. } => ErrorKind::Usage,
            Self::Secret(_) => ErrorKind::Usage,
            Self::PlanOutdated { .. } => ErrorKind::RolledBack,
            Self::RevisionUnknown { .. } => ErrorKind::NotFound,
            Self::Change(error) => error.kind(),
            Self::ScopeUnknown { .. } => ErrorKind::NotFound,
            Self::ActivityUnreadable { .. } => ErrorKind::Config,
            Self::Lifecycle(error) => error.kind(),
            Self::Call { error, .. } => error.kind(),
            Self::State(error) => error.kind(),
            Self::StateNotKept => ErrorKind::NotFound,
            Self::Internal { .. } => ErrorKind::Internal,
        }
    }
}
