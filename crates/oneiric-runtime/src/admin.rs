//! The admin API's server: HTTP/1 on a Unix socket, for this user and root only, and where the settings say so over
//! TCP with TLS, for whoever shows a token or a certificate that they know.
//!
//! On the socket three things keep strangers out: the state directory (0700), the socket (0600), and the user id that
//! the system gives for the other end of each connection, which holds even where a socket is set to lie elsewhere.
//! Everything else is limits: on connections, headers, bodies and time, so that a broken client costs itself and
//! nobody else. docs/spec/admin-api.md is what all of this has to hold to.

mod answer;
mod asked;
mod breath;
mod budget;
#[cfg(feature = "tls")]
mod cert_names;
#[cfg(feature = "tls")]
mod certificate;
mod connection;
mod entrance;
#[cfg(feature = "tls")]
mod failures;
mod guard;
#[cfg(feature = "tls")]
mod handshake;
mod listen;
#[cfg(feature = "schema")]
mod openapi;
mod places;
mod problem;
mod replay;
mod request_log;
mod routes;
mod seldom;
mod shares;
#[cfg(feature = "tls")]
mod site;
mod socket;
mod stream;
mod table;
#[cfg(feature = "tls")]
mod tcp;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tokens;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[cfg(feature = "schema")]
pub use self::openapi::openapi;
#[cfg(feature = "tls")]
pub use self::tls::{certificate_end, check_tls};
use self::{
    answer::Admin,
    listen::{Reception, Socket},
    socket::SocketFile,
};
use crate::{error::RuntimeError, runtime::Runtime, settings::Settings};

/// For answers to be written once everything is retired.
const FAREWELL: Duration = Duration::from_secs(1);

/// The server, from start to finish.
#[derive(Debug)]
pub(crate) struct Server {
    socket: SocketFile,
    address: Option<SocketAddr>,
    stop: CancellationToken,
    connections: TaskTracker,
    accepting: JoinSet<()>,
}

impl Server {
    /// Opens the socket, and the port if there is to be one, and begins to answer.
    #[cfg_attr(
        not(feature = "tls"),
        expect(clippy::unused_async, reason = "opening a port waits")
    )]
    pub(crate) async fn start(runtime: Runtime, settings: &Settings) -> Result<Self, RuntimeError> {
        #[cfg(feature = "tls")]
        let tcp = tcp::Tcp::open(&runtime, settings).await?;
        #[cfg(not(feature = "tls"))]
        refuse_tcp(settings)?;
        let (listener, socket) = SocketFile::bind(&settings.socket_path())?;
        let reception = Reception {
            admin: Arc::new(Admin::new(runtime, settings.admin.max_connections)),
            stop: CancellationToken::new(),
            connections: TaskTracker::new(),
        };
        let mut accepting = JoinSet::new();
        let owner = socket.owner;
        accepting.spawn(Socket { listener, owner }.accept(reception.clone()));
        #[cfg(feature = "tls")]
        let address = tcp.map(|tcp| {
            let address = tcp.address;
            accepting.spawn(tcp.accept(reception.clone()));
            address
        });
        #[cfg(not(feature = "tls"))]
        let address = None;
        Ok(Self {
            socket,
            address,
            stop: reception.stop,
            connections: reception.connections,
            accepting,
        })
    }

    pub(crate) fn socket(&self) -> &Path {
        self.socket.path()
    }

    /// Where it listens on TCP, if it does.
    pub(crate) const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Takes no new connections and no further requests on those there are; requests under way go on.
    pub(crate) fn stop_accepting(&self) {
        self.stop.cancel();
    }

    /// Waits for the answers under way, a second at most, and removes the socket.
    pub(crate) async fn finish(mut self) {
        self.stop.cancel();
        // They were told to stop and have nothing to report.
        while self.accepting.join_next().await.is_some() {}
        self.connections.close();
        if tokio::time::timeout(FAREWELL, self.connections.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                connections = self.connections.len(),
                "connections were cut off"
            );
        }
        self.socket.remove();
    }
}

#[cfg(not(feature = "tls"))]
fn refuse_tcp(settings: &Settings) -> Result<(), RuntimeError> {
    let Some(tcp) = &settings.admin.tcp else {
        return Ok(());
    };
    Err(RuntimeError::TlsUnusable {
        path: tcp.certificate.clone(),
        message: "this program was built without TLS (feature `tls`)".to_owned(),
    })
}
