//! Why a request has no answer. What came over the wire keeps its code as text: it may be one that this version does
//! not know.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use oneiric_core::ErrorKind;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The path of the socket does not fit into a socket address, so nobody can serve it.
    #[error(
        "the path of the admin socket is {length} bytes long, the system takes {limit}: {}", socket.display()
    )]
    SocketPathTooLong {
        /// The path.
        socket: PathBuf,
        /// Its length in bytes.
        length: usize,
        /// What the system takes.
        limit: usize,
    },
    /// No process serves the socket.
    #[error("nothing is running at {}", socket.display())]
    NotRunning {
        /// Where it was looked for.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket belongs to somebody else.
    #[error("{} may not be used by this user", socket.display())]
    SocketDenied {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket is served by somebody who is neither this user nor root nor owner of its directory.
    #[error(
        "{} is served by user {user}, who is neither this user nor root nor the owner of its directory",
        socket.display()
    )]
    SocketForeign {
        /// The socket.
        socket: PathBuf,
        /// Whose process serves it.
        user: u32,
    },
    /// Nothing answers at an address.
    #[error("nothing answers at {address}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// TLS could not be agreed on: the certificate is not to be trusted, or is another host's.
    #[error("no secure connection to {address}: {message}")]
    TlsFailed {
        /// Host and port.
        address: String,
        /// What is wrong.
        message: String,
    },
    /// What the client was given cannot be used.
    #[error("the client cannot connect: {message}")]
    Misconfigured {
        /// What is wrong with it.
        message: String,
    },
    /// The connection ended before the answer did.
    #[error("the connection broke while {doing}: {message}")]
    Broken {
        /// At which point.
        doing: &'static str,
        /// What went wrong.
        message: String,
    },
    /// The answer is none of this API's.
    #[error("the answer cannot be read: {message}")]
    Unreadable {
        /// What is wrong with it.
        message: String,
    },
    /// No answer came in the time the caller allowed.
    #[error("no answer within {} ms", limit.as_millis())]
    TimedOut {
        /// The time.
        limit: Duration,
    },
    /// The process said no.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The error's code.
        code: String,
        /// What to do next.
        kind: ErrorKind,
        /// What happened.
        message: String,
        /// Finds the request in the process' log.
        request_id: Box<str>,
        /// A next step.
        hint: Option<Box<str>>,
        /// After how many milliseconds the same request is going to be taken, where that is known.
        retry_after_ms: Option<u64>,
        /// What is behind it; only of a process in `run.error_mode = "development"`.
        detail: Option<Box<str>>,
    },
}

impl ClientError {
    /// Why a socket cannot be connected to.
    pub(super) fn unreachable(socket: &Path, source: io::Error) -> Self {
        let socket = socket.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::SocketDenied { socket, source },
            _ => Self::NotRunning { socket, source },
        }
    }

    /// Returns the error's code; when the process refused, its code.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::SocketPathTooLong { .. } => "runtime.socket_path_too_long",
            Self::NotRunning { .. } => "runtime.not_running",
            Self::SocketDenied { .. } => "runtime.socket_denied",
            Self::SocketForeign { .. } => "runtime.socket_foreign",
            Self::Unreachable { .. } => "runtime.unreachable",
            Self::TlsFailed { .. } => "runtime.tls_failed",
            Self::Misconfigured { .. } => "runtime.client_misconfigured",
            Self::Broken { .. } => "runtime.connection_broken",
            Self::Unreadable { .. } => "runtime.answer_unreadable",
            Self::TimedOut { .. } => "runtime.answer_late",
            Self::Refused { code, .. } => code,
        }
    }

    /// Returns what to do next; when the process refused, what it says.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotRunning { .. } | Self::Unreachable { .. } | Self::Broken { .. } => {
                ErrorKind::Unavailable
            }
            Self::SocketPathTooLong { .. } | Self::Misconfigured { .. } => ErrorKind::Config,
            Self::SocketDenied { .. } | Self::SocketForeign { .. } | Self::TlsFailed { .. } => {
                ErrorKind::Denied
            }
            Self::Unreadable { .. } => ErrorKind::Internal,
            Self::TimedOut { .. } => ErrorKind::Timeout,
            Self::Refused { kind, .. } => *kind,
        }
    }

    /// Returns the hint that the process gave.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Refused { hint, .. } => hint.as_deref(),
            _ => None,
        }
    }

    /// Returns what is behind the error, where the process says so: `run.error_mode = "development"`.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Refused { detail, .. } => detail.as_deref(),
            _ => None,
        }
    }

    /// Returns after how many milliseconds the same request is going to be taken, where that is known.
    #[must_use]
    pub const fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Refused { retry_after_ms, .. } => *retry_after_ms,
            _ => None,
        }
    }

    /// Returns the id that finds the request in the process' log, if it got that far.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Refused { request_id, .. } => Some(request_id),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_somebody_else_is_told_from_one_that_nobody_serves() {
        let error = |kind| ClientError::unreachable(Path::new("s"), io::Error::from(kind));
        let denied = error(io::ErrorKind::PermissionDenied);
        assert_eq!(
            (denied.code(), denied.kind()),
            ("runtime.socket_denied", ErrorKind::Denied)
        );
        for kind in [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused] {
            assert_eq!(error(kind).code(), "runtime.not_running");
        }
    }
}
