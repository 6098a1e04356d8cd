//! Every cache against one model: the same operations must give the same answers, whether the values
//! lie in memory, in files, in a Redis server, or behind operations by name.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oneiric_builtins::{
    FileCacheSettings, MemoryCache, MemoryCacheSettings, RedisCache, RedisCacheSettings,
};
use oneiric_core::Coded;
use oneiric_domains::{Cache, CacheInvoke, CacheProxy};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::redis_server::RedisServer;
use crate::support::{ManualClock, open};

const MAX_ENTRIES: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Get(String),
    Put(String, Vec<u8>, Option<u64>),
    Delete(String),
    Advance(u64),
}

#[derive(Debug, PartialEq)]
enum Answer {
    Value(Option<Bytes>),
    Done,
    Deleted(bool),
    Refused(&'static str),
}

/// The entries from the one used longest ago to the latest.
struct Model {
    entries: Vec<(String, Bytes, Option<u64>)>,
    max_entries: usize,
    now_ms: u64,
}

impl Model {
    fn apply(&mut self, step: &Step) -> Answer {
        match step {
            Step::Get(key) | Step::Put(key, ..) | Step::Delete(key)
                if key.is_empty() || key.len() > oneiric_domains::MAX_CACHE_KEY_BYTES =>
            {
                Answer::Refused("lifecycle.invalid_payload")
            }
            Step::Get(key) => {
                self.drop_expired();
                let Some(entry) = self.take(key) else {
                    return Answer::Value(None);
                };
                let value = entry.1.clone();
                self.entries.push(entry);
                Answer::Value(Some(value))
            }
            Step::Put(key, value, ttl_ms) => {
                self.take(key);
                let expires = ttl_ms.map(|ttl_ms| self.now_ms + ttl_ms);
                self.entries
                    .push((key.clone(), value.clone().into(), expires));
                self.drop_expired();
                let over = self.entries.len().saturating_sub(self.max_entries);
                self.entries.drain(..over);
                Answer::Done
            }
            Step::Delete(key) => {
                self.drop_expired();
                Answer::Deleted(self.take(key).is_some())
            }
            Step::Advance(ms) => {
                self.now_ms += ms;
                Answer::Done
            }
        }
    }

    fn take(&mut self, key: &str) -> Option<(String, Bytes, Option<u64>)> {
        let at = self.entries.iter().position(|(known, ..)| known == key)?;
        Some(self.entries.remove(at))
    }

    fn drop_expired(&mut self) {
        let now = self.now_ms;
        self.entries
            .retain(|(_, _, expires)| expires.is_none_or(|expires| expires > now));
    }
}

/// What of a cache's surroundings the steps need.
struct World<'a> {
    cache: Arc<dyn Cache>,
    time: Time<'a>,
}

/// How time goes on without anybody waiting for it.
enum Time<'a> {
    /// Nobody's clock runs by itself.
    Manual(Arc<ManualClock>),
    /// The server's clock cannot be set, so every entry's end is moved towards it instead. Each
    /// millisecond of the model is a quarter of an hour, so that what really passes is nothing.
    Server(&'a RedisServer),
}

const QUARTER_MS: u64 = 15 * 60 * 1_000;

impl Time<'_> {
    const fn duration(&self, ms: u64) -> Duration {
        Duration::from_millis(match self {
            Self::Manual(_) => ms,
            Self::Server(_) => ms * QUARTER_MS,
        })
    }

    async fn advance(&self, ms: u64) {
        const EARLIER: &str = "for _, key in ipairs(redis.call('KEYS', '*')) do
            local ends = redis.call('PEXPIRETIME', key)
            if ends > 0 then redis.call('PEXPIREAT', key, ends - ARGV[1]) end
        end";
        let by = self.duration(ms);
        match self {
            Self::Manual(clock) => {
                tokio::time::advance(by).await;
                clock.advance(by);
            }
            Self::Server(server) => {
                server.admin(&["EVAL", EARLIER, "0", &by.as_millis().to_string()]);
            }
        }
    }
}

async fn apply(world: &World<'_>, step: &Step) -> Answer {
    let cache = &world.cache;
    let answer = match step {
        Step::Get(key) => cache.get(key).await.map(Answer::Value),
        Step::Put(key, value, ttl_ms) => {
            let ttl = ttl_ms.map(|ms| world.time.duration(ms));
            cache
                .put(key, value.clone().into(), ttl)
                .await
                .map(|()| Answer::Done)
        }
        Step::Delete(key) => cache.delete(key).await.map(Answer::Deleted),
        Step::Advance(ms) => {
            world.time.advance(*ms).await;
            Ok(Answer::Done)
        }
    };
    answer.unwrap_or_else(|error| Answer::Refused(error.code()))
}

/// Takes the steps with a cache that is bounded as the model is, and compares the answers.
fn check(steps: &[Step], make: impl FnOnce(&Arc<ManualClock>) -> Arc<dyn Cache>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let clock = ManualClock::new();
        let world = World {
            cache: make(&clock),
            time: Time::Manual(clock),
        };
        compare(steps, &world, MAX_ENTRIES).await;
    });
}

async fn compare(steps: &[Step], world: &World<'_>, max_entries: usize) {
    let mut model = Model {
        entries: Vec::new(),
        max_entries,
        now_ms: 0,
    };
    for (at, step) in steps.iter().enumerate() {
        let expected = model.apply(step);
        let got = apply(world, step).await;
        assert_eq!(got, expected, "step {at}, {step:?}");
    }
}

fn memory() -> Arc<MemoryCache> {
    let mut settings = MemoryCacheSettings::default();
    settings.max_entries = NonZeroUsize::new(MAX_ENTRIES).unwrap();
    Arc::new(MemoryCache::new(&settings))
}

fn keys() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => prop::sample::select(vec![
            "a", "A", "b", "../a", "/etc/passwd", "a\0b", "nul", "ä", "\u{202e}x",
        ])
        .prop_map(str::to_owned),
        1 => Just("k".repeat(1_024)),
        1 => prop_oneof![Just(String::new()), Just("k".repeat(1_025))],
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = prop::collection::vec(any::<u8>(), 0..8);
    let ttl_ms = prop_oneof![2 => Just(None), 3 => (0_u64..6).prop_map(Some)];
    let step = prop_oneof![
        4 => keys().prop_map(Step::Get),
        4 => (keys(), value, ttl_ms).prop_map(|(key, value, ttl_ms)| Step::Put(key, value, ttl_ms)),
        1 => keys().prop_map(Step::Delete),
        1 => (1_u64..4).prop_map(Step::Advance),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn memory_answers_like_the_model(steps in steps()) {
        check(&steps, |_| memory());
    }

    #[test]
    fn files_answer_like_the_model(steps in steps()) {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = FileCacheSettings::new(directory.path());
        settings.max_entries = NonZeroUsize::new(MAX_ENTRIES).unwrap();
        check(&steps, |clock| open(&settings, clock));
        let files = std::fs::read_dir(directory.path()).unwrap().count();
        prop_assert!(files <= MAX_ENTRIES, "{files} files");
    }

    #[test]
    fn a_proxy_answers_like_what_is_behind_it(steps in steps()) {
        check(&steps, |_| Arc::new(CacheProxy::new(Arc::new(CacheInvoke::new(memory())))));
    }
}

#[test]
fn redis_answers_like_the_model() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut settings = RedisCacheSettings::new(server.url().parse().unwrap());
    settings.prefix = "cache:".to_owned();
    let cache = runtime.block_on(RedisCache::connect(&settings)).unwrap();
    let world = World {
        cache: Arc::new(cache),
        time: Time::Server(&server),
    };
    let mut cases = TestRunner::new(ProptestConfig::with_cases(128));
    let run = cases.run(&steps(), |steps| {
        server.admin(&["FLUSHALL"]);
        // What the server forgets first is its own affair; here it has room for everything.
        runtime.block_on(compare(&steps, &world, usize::MAX));
        Ok(())
    });
    run.unwrap();
}
