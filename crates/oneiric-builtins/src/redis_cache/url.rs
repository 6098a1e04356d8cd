//! Where a Redis server is, as settings name it.
//!
//! Stricter than the client's own reading: an address is shown in errors, in health and in the settings
//! as an operator sees them, so nothing that is secret may stand in it, and what has a setting of its own
//! must not be said twice.

use std::fmt;
use std::path::PathBuf;

use redis::ConnectionAddr;
use serde::Deserialize;

const DEFAULT_PORT: u16 = 6379;

/// The address of a Redis server: `redis://host`, `redis://host:6379` or `unix:///path/to/socket`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RedisUrl(Place);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// A text is no address of a Redis server. Does not repeat it: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("url: {0}")]
pub struct InvalidRedisUrl(&'static str);

impl std::str::FromStr for RedisUrl {
    type Err = InvalidRedisUrl;

    fn from_str(text: &str) -> Result<Self, InvalidRedisUrl> {
        let refuse = |why| Err(InvalidRedisUrl(why));
        let Some(url) = redis::parse_redis_url(text) else {
            return refuse("neither redis://HOST:PORT nor unix:///PATH");
        };
        if !url.username().is_empty() || url.password().is_some() {
            return refuse(
                "has a user or a password in it; they go into `username` and `password`",
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refuse("has something after `?` or `#`; use the settings of those names");
        }
        match url.scheme() {
            "redis" => {
                if !matches!(url.path(), "" | "/") {
                    return refuse("names a database; that goes into `database`");
                }
                let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
                    return refuse("names no host");
                };
                // An address of IPv6 is written in brackets here and without them to the system.
                let host = host
                    .trim_start_matches('[')
                    .trim_end_matches(']')
                    .to_owned();
                let port = url.port().unwrap_or(DEFAULT_PORT);
                Ok(Self(Place::Tcp { host, port }))
            }
            "unix" | "redis+unix" => match url.to_file_path() {
                Ok(path) if path.parent().is_some() => Ok(Self(Place::Unix(path))),
                _ => refuse("names no socket; write unix:///run/redis/redis.sock"),
            },
            "rediss" => refuse(
                "rediss:// would need TLS, which this cache does not speak; use a Unix socket, or a \
                 tunnel such as stunnel on this host",
            ),
            _ => refuse("neither redis://HOST:PORT nor unix:///PATH"),
        }
    }
}

impl TryFrom<String> for RedisUrl {
    type Error = InvalidRedisUrl;

    fn try_from(text: String) -> Result<Self, InvalidRedisUrl> {
        text.parse()
    }
}

impl RedisUrl {
    pub(super) fn address(&self) -> ConnectionAddr {
        match &self.0 {
            Place::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
            Place::Unix(path) => ConnectionAddr::Unix(path.clone()),
        }
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Tcp { host, port } if host.contains(':') => write!(f, "redis://[{host}]:{port}"),
            Place::Tcp { host, port } => write!(f, "redis://{host}:{port}"),
            Place::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_or_a_socket() {
        for (text, shown) in [
            ("redis://localhost", "redis://localhost:6379"),
            ("redis://localhost/", "redis://localhost:6379"),
            ("redis://10.0.0.1:7000", "redis://10.0.0.1:7000"),
            ("redis://[::1]:7000", "redis://[::1]:7000"),
            ("unix:///run/redis.sock", "unix:///run/redis.sock"),
            ("redis+unix:///run/redis.sock", "unix:///run/redis.sock"),
        ] {
            assert_eq!(text.parse::<RedisUrl>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_none_is_refused_with_a_reason_and_never_repeated() {
        for (text, reason) in [
            ("", "neither"),
            ("http://hidden", "neither"),
            ("hidden:6379", "neither"),
            ("valkey://hidden", "neither"),
            ("redis://", "no host"),
            ("redis://:hidden@host", "`password`"),
            ("redis://hidden@host", "`username`"),
            ("redis://host/1", "`database`"),
            ("redis://host?password=hidden", "settings of those names"),
            ("redis://host#hidden", "settings of those names"),
            ("rediss://hidden", "TLS"),
            ("unix:///", "no socket"),
            ("unix:///run/a?pass=hidden", "settings of those names"),
        ] {
            let error = text.parse::<RedisUrl>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(!error.contains("hidden"), "{text}: {error}");
        }
    }
}
