//! Opening a connection to a process, whichever way it is reached.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    client::conn::http1::{self, SendRequest},
    header::HeaderValue,
};
use hyper_util::rt::TokioIo;
use rustix::process::geteuid;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
};

use super::{ClientError, broken};
use crate::state_dir;

/// Where a process is.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Socket(PathBuf),
    #[cfg(feature = "tls")]
    Tls(Box<super::tls::Tls>),
}

/// An open connection.
pub(super) type Connection = SendRequest<Full<Bytes>>;

impl Target {
    pub(super) fn socket(path: &Path) -> Result<Self, ClientError> {
        if let Err((length, limit)) = state_dir::fits_address(path) {
            let socket = path.to_owned();
            return Err(ClientError::SocketPathTooLong {
                socket,
                length,
                limit,
            });
        }
        Ok(Self::Socket(path.to_owned()))
    }

    pub(super) async fn open(&self) -> Result<Connection, ClientError> {
        match self {
            Self::Socket(path) => {
                let stream = UnixStream::connect(path)
                    .await
                    .map_err(|error| ClientError::unreachable(path, error))?;
                trusted(path, &stream)?;
                shake(stream).await
            }
            #[cfg(feature = "tls")]
            Self::Tls(tls) => shake(tls.connect().await?).await,
        }
    }

    /// The `Host` of a request.
    pub(super) const fn host(&self) -> &str {
        match self {
            Self::Socket(_) => "oneiric",
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.host(),
        }
    }

    /// What says who asks, where the system does not.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        match self {
            Self::Socket(_) => None,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.authorization(),
        }
    }
}

/// Whoever serves the socket must be who may: this user, root, or whose directory it lies in. In a directory that all
/// may write to anybody can put a socket, and be taken for the process.
fn trusted(path: &Path, stream: &UnixStream) -> Result<(), ClientError> {
    let unreachable = |error| ClientError::unreachable(path, error);
    let peer = stream.peer_cred().map_err(unreachable)?.uid();
    let folder = state_dir::folder_of(path).metadata();
    let folder = folder.ok().map(|about| about.uid());
    if may_serve(peer, geteuid().as_raw(), folder) {
        Ok(())
    } else {
        Err(ClientError::SocketForeign {
            socket: path.to_owned(),
            user: peer,
        })
    }
}

fn may_serve(peer: u32, user: u32, folder: Option<u32>) -> bool {
    peer == user || peer == 0 || folder == Some(peer)
}

async fn shake<S>(stream: S) -> Result<Connection, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken("connecting", &error))?;
    // It ends with the sender or the stream; what went wrong the pending request is told.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_user_root_and_whose_directory_it_is_may_serve() {
        assert!(may_serve(1000, 1000, Some(0)) && may_serve(0, 1000, Some(1000)));
        // Root looks at a service that runs as a user of its own.
        assert!(may_serve(990, 0, Some(990)));
        assert!(!may_serve(1001, 1000, Some(0)) && !may_serve(65_534, 0, Some(0)));
        assert!(!may_serve(1001, 1000, None));
    }
}
