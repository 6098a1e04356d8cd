//! The admin API's server: HTTP/1 on a Unix socket, for this user and root only.
//!
//! Three things keep strangers out: the state directory (0700), the socket (0600), and the user id that the system
//! gives for the other end of each connection, which holds even where a socket is set to lie elsewhere. Everything
//! else is limits: on connections, headers, bodies and time, so that a broken client costs itself and nobody else.

mod answer;
mod asked;
mod breath;
mod problem;
mod request_log;
mod routes;
mod socket;
mod stream;
mod table;

use std::{io, path::Path, pin::pin, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::OwnedSemaphorePermit,
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{answer::Admin, breath::Breath, socket::SocketFile, stream::Stream};
use crate::{error::RuntimeError, runtime::Runtime};

/// Connections at one time; further ones wait.
const MAX_CONNECTIONS: usize = 64;
/// The longest request head; a longer one is answered with 431.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// For a request head to arrive, idle time between requests included.
const HEADER_LIMIT: Duration = Duration::from_secs(10);
/// For answers to be written once everything is retired.
const FAREWELL: Duration = Duration::from_secs(1);

/// The server, from start to finish.
#[derive(Debug)]
pub(crate) struct Server {
    socket: SocketFile,
    stop: CancellationToken,
    connections: TaskTracker,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Opens the socket and begins to answer.
    pub(crate) fn start(runtime: Runtime, socket: &Path) -> Result<Self, RuntimeError> {
        let (listener, socket) = SocketFile::bind(socket)?;
        let (stop, connections) = (CancellationToken::new(), TaskTracker::new());
        let admin = Arc::new(Admin::new(runtime, MAX_CONNECTIONS));
        let accepting = tokio::spawn(accept(
            listener,
            socket.owner,
            admin,
            stop.clone(),
            connections.clone(),
        ));
        Ok(Self {
            socket,
            stop,
            connections,
            accepting,
        })
    }

    pub(crate) fn socket(&self) -> &Path {
        self.socket.path()
    }

    /// Takes no new connections and no further requests on those there are; requests under way go on.
    pub(crate) fn stop_accepting(&self) {
        self.stop.cancel();
    }

    /// Waits for the answers under way, a second at most, and removes the socket.
    pub(crate) async fn finish(self) {
        self.stop.cancel();
        // It was told to stop and has nothing to report.
        drop(self.accepting.await);
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

async fn accept(
    listener: UnixListener,
    owner: u32,
    admin: Arc<Admin>,
    stop: CancellationToken,
    connections: TaskTracker,
) {
    let mut breath = Breath::default();
    loop {
        let next = async {
            let place = Arc::clone(&admin.places)
                .acquire_owned()
                .await
                .map_err(io::Error::other)?;
            let (stream, _) = listener.accept().await?;
            Ok::<_, io::Error>((place, stream))
        };
        let next = tokio::select! {
            () = stop.cancelled() => return,
            next = next => next,
        };
        match next {
            Ok((place, stream)) => {
                let failures = breath.succeeded();
                if failures > 0 {
                    tracing::info!(failures, "connections are accepted again");
                }
                match admitted(&stream, owner) {
                    Ok(peer) => {
                        let admin = Arc::clone(&admin);
                        connections.spawn(serve(stream, peer, place, admin, stop.clone()));
                    }
                    Err(peer) => tracing::warn!(peer, "connection of another user refused"),
                }
            }
            Err(error) => {
                let (wait, first) = breath.failed();
                if first {
                    tracing::warn!(%error, "cannot accept connections; trying again");
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }
}

/// The user at the other end, if it is one that may operate.
fn admitted(stream: &UnixStream, owner: u32) -> Result<u32, String> {
    match stream.peer_cred() {
        Ok(peer) if may_operate(peer.uid(), owner) => Ok(peer.uid()),
        Ok(peer) => Err(format!("uid:{}", peer.uid())),
        Err(error) => Err(error.to_string()),
    }
}

/// The owner and root may; root could anyway.
const fn may_operate(user: u32, owner: u32) -> bool {
    user == owner || user == 0
}

async fn serve(
    stream: UnixStream,
    peer: u32,
    place: OwnedSemaphorePermit,
    admin: Arc<Admin>,
    stop: CancellationToken,
) {
    let id = admin.next_id();
    let stream = Stream::new(stream, id.clone());
    let service = service_fn(move |request| {
        let admin = Arc::clone(&admin);
        async move { admin.answer(peer, request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    match ended {
        Ok(()) => {}
        Err(error) if error.is_parse() => {
            let code = if error.is_parse_too_large() {
                "runtime.header_too_large"
            } else {
                "runtime.request_unreadable"
            };
            let reason = error.to_string();
            tracing::info!(
                request_id = id,
                uid = peer,
                code,
                reason,
                "admin request refused"
            );
        }
        Err(error) => tracing::debug!(reason = error.to_string(), "connection ended"),
    }
    drop(place);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_and_root_may_operate() {
        assert!(may_operate(1000, 1000) && may_operate(0, 1000));
        assert!(!may_operate(1001, 1000) && !may_operate(1000, 0));
    }

    #[tokio::test]
    async fn the_other_end_is_who_the_system_says() {
        let (one, _other) = UnixStream::pair().unwrap();
        let me = one.peer_cred().unwrap().uid();
        assert_eq!(admitted(&one, me), Ok(me));
        let stranger = me.wrapping_add(1);
        assert_eq!(admitted(&one, stranger).is_ok(), me == 0);
    }
}
