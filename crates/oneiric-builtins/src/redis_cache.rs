//! A cache in a Redis server: shared by many processes, and still there when this one is not.
//!
//! The server does what the other caches do by themselves: it keeps time to live, and its own bound and
//! policy say what is forgotten first. What is left for this side is the way there, which can break at
//! any time. It comes back by itself, and until then calls fail at once and say why; see `link`.
//!
//! A put that was not answered in time may have been carried out, and may still be, should the server
//! wake up: like every cache in another process, this one keeps its promise about answers it gave.

mod link;
mod trouble;
mod url;

use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oneiric_core::BoxFuture;
use oneiric_domains::{Cache, Secret, cache_instance, check_cache_key};
use oneiric_lifecycle::{BuildError, CallError, Factory, Health, Probe, Retire, factory_fn};
use redis::io::tcp::{TcpSettings, socket2};
use redis::{Client, Cmd, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};
use serde::Deserialize;

use self::link::{Link, Patience};
pub use self::trouble::RedisCacheError;
use self::trouble::Trouble;
pub use self::url::{InvalidRedisUrl, RedisUrl};

/// How long a connection may be idle before the system asks the other end whether it is there, so that
/// nothing between the two forgets it.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Settings of a [`RedisCache`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RedisCacheSettings {
    /// Where the server is: `redis://HOST:PORT` (6379) or `unix:///PATH`. Redis 6 or newer. Without TLS:
    /// a server on another host is reached through a tunnel or a network that is trusted.
    pub url: RedisUrl,
    /// Whom to be to the server; without it, its default user.
    #[serde(default)]
    pub username: Option<String>,
    /// The password, or a reference to one (`secret://env/REDIS_PASSWORD`).
    #[serde(default)]
    pub password: Option<Secret>,
    /// The number of the database (0).
    #[serde(default)]
    pub database: u16,
    /// What the name of every entry begins with on the server (nothing). Two caches with one database
    /// need two of them, or they see each other's entries.
    #[serde(default)]
    pub prefix: String,
    /// How long a connection may take, in milliseconds, 1 or more (2,000).
    #[serde(default = "default_connect_timeout_ms")]
    pub connect_timeout_ms: NonZeroU64,
    /// How long an answer may take, in milliseconds, 1 or more (1,000).
    #[serde(default = "default_response_timeout_ms")]
    pub response_timeout_ms: NonZeroU64,
    /// The longest value in bytes, 1 or more (16 MiB). A longer one is not put, and one that somebody
    /// else put there is not given.
    #[serde(default = "default_max_value_bytes")]
    pub max_value_bytes: NonZeroUsize,
    /// How long an entry is kept that was put without a time to live, in milliseconds; without it, as
    /// long as the server's own bounds allow. 0 has run out at once: such an entry is never got.
    #[serde(default)]
    pub default_ttl_ms: Option<u64>,
}

const fn default_connect_timeout_ms() -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add(1_999)
}

const fn default_response_timeout_ms() -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add(999)
}

const fn default_max_value_bytes() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add((16 << 20) - 1)
}

impl RedisCacheSettings {
    /// The defaults, for the server at `url`.
    pub const fn new(url: RedisUrl) -> Self {
        Self {
            url,
            username: None,
            password: None,
            database: 0,
            prefix: String::new(),
            connect_timeout_ms: default_connect_timeout_ms(),
            response_timeout_ms: default_response_timeout_ms(),
            max_value_bytes: default_max_value_bytes(),
            default_ttl_ms: None,
        }
    }
}

/// A cache in a Redis server.
///
/// One connection carries all calls. Time to live is measured by the server, in milliseconds, rounded
/// up. How much is kept, and what goes first, is for the server's `maxmemory` and `maxmemory-policy` to
/// say. Must be made and used within one tokio runtime.
pub struct RedisCache {
    link: Link,
    url: RedisUrl,
    prefix: String,
    max_value_bytes: usize,
    default_ttl: Option<Duration>,
}

impl RedisCache {
    /// Connects to the server, and stays connected until it is dropped or retired.
    ///
    /// # Errors
    /// `builtins.redis_unavailable` when the server cannot be reached or is not ready,
    /// `builtins.redis_refused` when it is no Redis or would not have us.
    pub async fn connect(settings: &RedisCacheSettings) -> Result<Self, RedisCacheError> {
        let refused = |trouble| RedisCacheError {
            address: settings.url.to_string(),
            trouble,
        };
        let patience = Patience {
            connect: Duration::from_millis(settings.connect_timeout_ms.get()),
            response: Duration::from_millis(settings.response_timeout_ms.get()),
        };
        let client = client(settings).map_err(|error| refused(Trouble::in_greeting(&error)))?;
        Ok(Self {
            link: Link::open(client, patience).await.map_err(refused)?,
            url: settings.url.clone(),
            prefix: settings.prefix.clone(),
            max_value_bytes: settings.max_value_bytes.get(),
            default_ttl: settings.default_ttl_ms.map(Duration::from_millis),
        })
    }

    /// Returns when there is a connection, however long that takes; `false` when there will be none
    /// any more, because the cache was retired. Cancel-safe.
    pub async fn connected(&self) -> bool {
        self.link.connected().await
    }

    /// A command on one key, as it is named on the server.
    fn command(&self, name: &str, key: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg([self.prefix.as_bytes(), key.as_bytes()].concat());
        command
    }

    async fn rehearse(&self) -> Result<(), Trouble> {
        self.link.come_up().await?;
        let () = self.link.ask(&redis::cmd("PING")).await?;
        // Of all keys with our prefix this is the one that no caller can use.
        let mut put = self.command("SET", "");
        put.arg("probe").arg("PX").arg(1);
        self.link.ask(&put).await
    }
}

fn client(settings: &RedisCacheSettings) -> redis::RedisResult<Client> {
    let mut login = RedisConnectionInfo::default()
        .set_db(settings.database.into())
        // With it the server tells of its own that a connection ended.
        .set_protocol(ProtocolVersion::RESP3)
        .set_skip_set_lib_name();
    if let Some(username) = &settings.username {
        login = login.set_username(username);
    }
    if let Some(password) = &settings.password {
        login = login.set_password(password.expose());
    }
    let keep_alive = socket2::TcpKeepalive::new().with_time(KEEP_ALIVE);
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keep_alive);
    let address = settings.url.address().into_connection_info()?;
    Client::open(address.set_redis_settings(login).set_tcp_settings(tcp))
}

/// How long an entry is kept, as the server counts it; `None` for ever. What ends beyond the end of the
/// server's time never ends.
fn milliseconds(ttl: Duration) -> Option<i64> {
    /// Some hundred and forty million years, which added to any date is still a date to the server.
    const FOR_EVER: u128 = 1 << 62;
    let millis = ttl.as_nanos().div_ceil(1_000_000);
    i64::try_from(millis).ok().filter(|_| millis < FOR_EVER)
}

impl Cache for RedisCache {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, CallError>> {
        Box::pin(async move {
            check_cache_key(key)?;
            let value: Option<Bytes> = self.link.ask(&self.command("GET", key)).await?;
            let (bytes, max_bytes) = (value.as_ref().map_or(0, Bytes::len), self.max_value_bytes);
            if bytes > max_bytes {
                return Err(Trouble::TooLong { bytes, max_bytes }.into());
            }
            Ok(value)
        })
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(async move {
            check_cache_key(key)?;
            let (bytes, max_bytes) = (value.len(), self.max_value_bytes);
            if bytes > max_bytes {
                let message = Trouble::TooLong { bytes, max_bytes }.to_string();
                return Err(CallError::InvalidPayload { message });
            }
            let ttl = ttl.or(self.default_ttl);
            if ttl == Some(Duration::ZERO) {
                // It replaces what was there and has run out at once; the server refuses to be told so.
                let _was_there: bool = self.link.ask(&self.command("DEL", key)).await?;
                return Ok(());
            }
            let mut put = self.command("SET", key);
            put.arg(value.as_ref());
            if let Some(millis) = ttl.and_then(milliseconds) {
                put.arg("PX").arg(millis);
            }
            Ok(self.link.ask(&put).await?)
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, CallError>> {
        Box::pin(async move {
            check_cache_key(key)?;
            Ok(self.link.ask(&self.command("DEL", key)).await?)
        })
    }
}

impl Probe for RedisCache {
    /// Pings, and puts an entry under a key of its own that is gone a millisecond later. Without a
    /// connection it asks for one first, and says what came of that.
    fn probe(&self) -> BoxFuture<'_, Health> {
        Box::pin(async move {
            match self.rehearse().await {
                Ok(()) => Health::Ok,
                Err(trouble) => trouble.health(&self.url),
            }
        })
    }
}

impl Retire for RedisCache {
    /// Closes the connection. Nothing is buffered, so nothing is lost.
    fn retire(&self) -> BoxFuture<'_, Result<(), String>> {
        self.link.close();
        Box::pin(std::future::ready(Ok(())))
    }
}

impl std::fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisCache")
            .field("url", &format_args!("{}", self.url))
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

pub(crate) fn factory() -> impl Factory {
    factory_fn(|_, settings: RedisCacheSettings| async move {
        let cache = RedisCache::connect(&settings)
            .await
            .map_err(BuildError::failed)?;
        let cache = Arc::new(cache);
        Ok(cache_instance(Arc::clone(&cache))
            .probe(Arc::clone(&cache) as _)
            .retire(cache))
    })
}
