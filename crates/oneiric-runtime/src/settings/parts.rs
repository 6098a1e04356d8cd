//! The sections of the settings that other parts of the program take as a whole: each is a plain value with the
//! defaults of an empty file.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// `[admin]`: where operators connect, and who they may be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdminSettings {
    /// `admin.socket`: the Unix socket; absent, [`socket_in`](crate::socket_in) the state directory.
    pub socket: Option<PathBuf>,
    /// `admin.request_timeout_ms`: how long a request may take; absent, 30 s more than all steps of a swap.
    pub request_timeout: Option<Duration>,
    /// `admin.max_connections`: how many connections are served at one time (64).
    pub max_connections: usize,
    /// `[admin.tcp]`: the same API over TCP with TLS; absent, there is none.
    pub tcp: Option<TcpSettings>,
    /// `[[admin.tokens]]`: bearer tokens that are let in over TCP.
    pub tokens: Vec<TokenSettings>,
    /// `[admin.client_roles]`: subject names of client certificates that are let in over TCP.
    pub client_roles: Vec<(String, Role)>,
}

/// `[admin.tcp]`: the admin API over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpSettings {
    /// `admin.tcp.listen`: the address.
    pub listen: SocketAddr,
    /// `admin.tcp.certificate`: the file of the certificate chain (PEM).
    pub certificate: PathBuf,
    /// `admin.tcp.key`: the file of its private key (PEM).
    pub key: PathBuf,
    /// `admin.tcp.client_ca`: the file of the authorities that client certificates must come from (PEM).
    pub client_ca: Option<PathBuf>,
}

/// One of `[[admin.tokens]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenSettings {
    /// `name`: what the log and the audit call its holder.
    pub name: String,
    /// `role`: what its holder may do.
    pub role: Role,
    /// `token`: a reference, `secret://provider/name`; the token itself is refused.
    pub token: String,
}

/// What somebody who connects may do. The greater one may do all that the lesser one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Read,
    /// Look and change.
    Operate,
}

impl Role {
    /// Returns the word for it in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `[log]`: what is logged, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogSettings {
    /// `log.filter`: which events, as `warn,oneiric_lifecycle=debug`; absent, the program's choice.
    pub filter: Option<String>,
    /// `log.format`: in which form (`human`).
    pub format: LogFormat,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// How much errors tell clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorMode {
    /// Code, message and request id: no paths, secrets or causes.
    #[default]
    Production,
    /// Everything that is known.
    Development,
}

/// `[secrets]`: where secrets come from and how long they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecretsSettings {
    /// `secrets.ttl_ms`: how long a secret is used before it is fetched anew (5 min).
    pub ttl: Duration,
    /// `secrets.directory`: the files of the provider `file`; absent, `secrets` in the state directory.
    pub directory: Option<PathBuf>,
}

/// `[reload]`: when changed settings are put in force.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReloadSettings {
    /// `reload.watch`: whether a changed file is enough, without a signal or request (yes).
    pub watch: bool,
    /// `reload.debounce_ms`: how long files must have been quiet (250 ms).
    pub debounce: Duration,
    /// `reload.retry_ms`: after which time a file that cannot be used is read again (1 s).
    pub retry: Duration,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            socket: None,
            request_timeout: None,
            max_connections: 64,
            tcp: None,
            tokens: Vec::new(),
            client_roles: Vec::new(),
        }
    }
}

impl Default for SecretsSettings {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(300),
            directory: None,
        }
    }
}

impl Default for ReloadSettings {
    fn default() -> Self {
        Self {
            watch: true,
            debounce: Duration::from_millis(250),
            retry: Duration::from_secs(1),
        }
    }
}
