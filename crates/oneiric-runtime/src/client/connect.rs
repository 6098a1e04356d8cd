//! Opening a connection to a process, whichever way it is reached.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    client::conn::http1::{self, SendRequest},
    header::HeaderValue,
};
use hyper_util::rt::TokioIo;
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
