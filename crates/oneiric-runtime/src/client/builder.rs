//! How a process is reached: over its socket, or over TCP with TLS and something that says who asks.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

#[cfg(feature = "tls")]
use oneiric_domains::Secret;

#[cfg(feature = "tls")]
use super::tls::{Pem, Tls};
use super::{Client, ClientError, Limits, connect::Target};

/// Says how a process is reached, and connects to it.
///
/// Over TCP it takes `ClientBuilder::url`, the authorities to trust, and a token or a certificate. Here a program talks
/// to a runtime of its own over the socket:
///
#[cfg_attr(feature = "admin", doc = "```")]
// Without the feature nobody is at the other end.
#[cfg_attr(not(feature = "admin"), doc = "```no_run")]
/// use oneiric_runtime::{ClientBuilder, RuntimeBuilder, Settings};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// let mut settings = Settings::default();
/// settings.state_dir = directory.path().join("state");
/// let socket = settings.socket_path();
/// let runtime = RuntimeBuilder::new(settings).build()?;
/// let (started, has_started) = tokio::sync::oneshot::channel();
/// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
/// let process = runtime.run_with(async { drop(stopped.await) }, |_| drop(started.send(())));
/// let operator = async {
///     has_started.await?;
///     let mut client = ClientBuilder::socket(socket).connect().await?;
///     assert!(client.ready().await?.doc.ready);
///     drop(stop);
///     Ok::<(), Box<dyn std::error::Error>>(())
/// };
/// let (ended, asked) = tokio::join!(process, operator);
/// ended?;
/// asked?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    to: To,
    #[cfg(feature = "tls")]
    token: Option<Secret>,
    #[cfg(feature = "tls")]
    pem: Pem,
    limits: Limits,
}

#[derive(Debug, Clone)]
enum To {
    Socket(PathBuf),
    #[cfg(feature = "tls")]
    Url(String),
}

impl ClientBuilder {
    fn new(to: To) -> Self {
        Self {
            to,
            #[cfg(feature = "tls")]
            token: None,
            #[cfg(feature = "tls")]
            pem: Pem::default(),
            limits: Limits::default(),
        }
    }

    /// Over the admin socket of a process on this machine.
    #[must_use]
    pub fn socket(path: impl Into<PathBuf>) -> Self {
        Self::new(To::Socket(path.into()))
    }

    /// Over TCP: `https://host:port`. Whether that can be used is seen when it connects.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn url(url: impl Into<String>) -> Self {
        Self::new(To::Url(url.into()))
    }

    /// The bearer token that says who asks. White space around it is dropped.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn token(mut self, token: Secret) -> Self {
        self.token = Some(token);
        self
    }

    /// The authorities that the process' certificate must come from (PEM); none are trusted without it.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn authorities(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.pem.authorities = Some(pem.into());
        self
    }

    /// The client certificate that says who asks, and its key (PEM).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn identity(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.pem.identity = Some((certificate.into(), key.into()));
        self
    }

    /// How long an answer is waited for; without it as long as the process lets it take.
    #[must_use]
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.limits.any = Some(limit);
        self
    }

    /// How long the answer to what changes nothing is waited for, connecting and the beginning of a stream of events
    /// among that; a backup and whatever changes something may take longer. Without it as long as any answer.
    #[must_use]
    pub const fn read_timeout(mut self, limit: Duration) -> Self {
        self.limits.reads = Some(limit);
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// `runtime.not_running`, `runtime.socket_denied`, `runtime.connection_broken`; over TCP
    /// `runtime.client_misconfigured`, `runtime.unreachable`, `runtime.tls_failed`, `runtime.answer_late`.
    pub async fn connect(self) -> Result<Client, ClientError> {
        let target = match self.to {
            To::Socket(path) => Target::socket(&path)?,
            #[cfg(feature = "tls")]
            To::Url(url) => Target::Tls(Box::new(Tls::new(&url, self.token, &self.pem)?)),
        };
        Client::over(target, self.limits).await
    }
}

impl Client {
    /// Connects to the process that serves `socket`.
    ///
    /// # Errors
    /// `runtime.not_running`, `runtime.socket_denied`, `runtime.connection_broken`.
    pub async fn connect(socket: &Path) -> Result<Self, ClientError> {
        ClientBuilder::socket(socket).connect().await
    }
}
