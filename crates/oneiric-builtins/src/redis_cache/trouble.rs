//! What can be wrong with a Redis server, in words that say what to do about it.
//!
//! Only the code that begins a server's answer is ever repeated. The rest of it may quote what was sent,
//! which includes passwords ("unknown command 'AUTH', with args beginning with ...") and values.

use std::fmt;
use std::time::Duration;

use oneiric_core::{Coded, ErrorKind};
use oneiric_lifecycle::{CallError, Health};
use redis::{ErrorKind as RedisKind, RedisError};

/// The code of ours for a server that has no place for another client; its own is a plain `ERR`.
const FULL: &str = "MAXCLIENTS";

/// Why there is no connection, or no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nobody could be reached there, as the system says.
    Unreachable(String),
    /// The connection broke.
    Lost,
    /// No answer came in time. Whether the work was done nobody knows.
    Silent(Duration),
    /// Something answered that does not speak Redis 6 or newer.
    NotRedis,
    /// The server would not have us: its answer to the greeting began with this code.
    Denied(String),
    /// The server would not do the work: its answer began with this code.
    Refused(String),
    /// A value is there that is longer than allowed.
    TooLong { bytes: usize, max_bytes: usize },
    /// This cache was retired.
    Closed,
}

impl Trouble {
    /// Of an attempt to connect.
    pub(super) fn in_greeting(error: &RedisError) -> Self {
        let Self::Refused(code) = Self::in_answer(error) else {
            return Self::in_answer(error);
        };
        let is_full = error
            .detail()
            .is_some_and(|detail| detail.starts_with("max number of clients"));
        match code.as_str() {
            "ERR" if is_full => Self::Refused(FULL.to_owned()),
            "LOADING" | "MASTERDOWN" | "BUSY" => Self::Refused(code),
            "NOPROTO" => Self::NotRedis,
            _ => Self::Denied(code),
        }
    }

    /// Of a command.
    pub(super) fn in_answer(error: &RedisError) -> Self {
        match error.kind() {
            RedisKind::Io if error.is_connection_refusal() || !error.is_connection_dropped() => {
                Self::Unreachable(error.to_string())
            }
            RedisKind::Io => Self::Lost,
            RedisKind::Parse | RedisKind::RESP3NotSupported => Self::NotRedis,
            RedisKind::AuthenticationFailed => Self::Denied("WRONGPASS".to_owned()),
            _ => Self::Refused(error.code().unwrap_or("ERR").to_owned()),
        }
    }

    /// Whether the connection on which it happened is of no more use.
    pub(super) const fn ends_connection(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::TooLong { .. })
    }

    /// Whether it may pass by itself.
    fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Lost | Self::Silent(_) | Self::Closed => true,
            Self::Refused(code) => matches!(
                code.as_str(),
                "OOM"
                    | "READONLY"
                    | "LOADING"
                    | "BUSY"
                    | FULL
                    | "MISCONF"
                    | "MASTERDOWN"
                    | "CLUSTERDOWN"
                    | "TRYAGAIN"
                    | "NOREPLICAS"
            ),
            Self::NotRedis | Self::Denied(_) | Self::TooLong { .. } => false,
        }
    }

    /// As an answer to a probe: what cannot serve is never better than unavailable. One that is there and only takes its
    /// time, or has no place now, will be back; of one that is not there nobody can say so.
    pub(super) fn health(&self, at: &impl fmt::Display) -> Health {
        let message = format!("{at}: {self}");
        let is_there = match self {
            Self::Silent(_) => true,
            Self::Refused(code) => matches!(code.as_str(), "LOADING" | FULL),
            _ => false,
        };
        if is_there {
            Health::temporarily_unavailable(message)
        } else {
            Health::critical(message)
        }
    }
}

impl From<Trouble> for CallError {
    /// Callers are told what is wrong but not where: addresses are for the operator, who asks the probe.
    fn from(trouble: Trouble) -> Self {
        if trouble.may_pass() {
            Self::unavailable(trouble.to_string())
        } else {
            Self::failed(trouble.to_string())
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "redis cannot be reached: {why}"),
            Self::Lost => f.write_str("the connection to redis broke"),
            Self::Silent(waited) => {
                write!(f, "redis did not answer within {} ms", waited.as_millis())
            }
            Self::NotRedis => f.write_str("what answers there is no redis of version 6 or newer"),
            Self::Denied(code) => {
                write!(
                    f,
                    "redis refused the connection ({}): {}",
                    word(code),
                    denied(code)
                )
            }
            Self::Refused(code) => write!(f, "redis refused ({}): {}", word(code), refused(code)),
            Self::TooLong { bytes, max_bytes } => write!(
                f,
                "the value is {bytes} bytes, more than `max_value_bytes` allows ({max_bytes})"
            ),
            Self::Closed => f.write_str("this cache was retired and reaches redis no more"),
        }
    }
}

fn denied(code: &str) -> &'static str {
    match code {
        "NOAUTH" => "it wants a `password`",
        "WRONGPASS" => "`username` or `password` is wrong",
        "NOPERM" => "its user may not do this",
        "DENIED" => "it is in protected mode and serves its own host only",
        _ => "check `username`, `password` and `database`",
    }
}

fn refused(code: &str) -> &'static str {
    match code {
        "WRONGTYPE" => "something other than a plain value is under that key",
        "OOM" => "its memory is full and it may not evict; see maxmemory and maxmemory-policy",
        "READONLY" => "it is a read-only replica",
        "LOADING" => "it is still reading its data",
        FULL => "it has as many clients as it takes; see maxclients",
        "BUSY" => "it is running a script",
        "MISCONF" => "it cannot save to its disk and takes no writes",
        "NOPERM" => "its user may not use this command or this key",
        "NOAUTH" => "it wants a `password`",
        "MASTERDOWN" => "it is a replica without its master",
        "MOVED" | "ASK" | "CLUSTERDOWN" | "CROSSSLOT" => {
            "it is part of a cluster, which this cache does not speak"
        }
        _ => "its own log may say why",
    }
}

/// A server's code as a word: it comes from outside and is shown on terminals.
fn word(code: &str) -> &str {
    let is_code = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if !code.is_empty() && code.len() <= 32 && code.chars().all(is_code) {
        code
    } else {
        "an unknown code"
    }
}

/// A Redis server cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address}: {trouble}")]
pub struct RedisCacheError {
    pub(super) address: String,
    pub(super) trouble: Trouble,
}

impl RedisCacheError {
    /// The server's address.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Coded for RedisCacheError {
    fn code(&self) -> &'static str {
        if self.trouble.may_pass() {
            "builtins.redis_unavailable"
        } else {
            "builtins.redis_refused"
        }
    }

    fn kind(&self) -> ErrorKind {
        if self.trouble.may_pass() {
            ErrorKind::Unavailable
        } else {
            ErrorKind::Config
        }
    }
}
