//! The cache in a Redis server, with a server that is killed, stopped, full, locked or none at all.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oneiric_builtins::{MEMORY_CACHE, REDIS_CACHE, RedisCache, RedisCacheSettings};
use oneiric_core::{Coded, ErrorKind};
use oneiric_domains::{Cache, Secret};
use oneiric_lifecycle::{CallError, Health, Outcome, Probe, Retire, SwapRequest};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use crate::redis_server::RedisServer;
use crate::support::{lifecycle, slot};

const VALUE: Bytes = Bytes::from_static(b"value");

fn settings(url: &str) -> RedisCacheSettings {
    RedisCacheSettings::new(url.parse().unwrap())
}

async fn connect(server: &RedisServer) -> RedisCache {
    RedisCache::connect(&settings(&server.url())).await.unwrap()
}

#[track_caller]
fn unavailable<T: std::fmt::Debug>(answer: Result<T, CallError>, saying: &str) {
    says(answer, "lifecycle.call_unavailable", saying);
}

#[track_caller]
fn says<T: std::fmt::Debug>(answer: Result<T, CallError>, code: &str, saying: &str) {
    let error = answer.unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains(saying), "{error}");
}

#[tokio::test]
async fn entries_are_shared_and_outlive_the_cache_that_put_them() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let (tcp, socket) = (server.url(), server.socket_url());
    let bytes = Bytes::from_static(&[0, 0xff, b'\r', b'\n']);
    let first = RedisCache::connect(&settings(&tcp)).await.unwrap();
    first.put("a\nb", bytes.clone(), None).await.unwrap();
    first.retire().await.unwrap();
    let second = RedisCache::connect(&settings(&socket)).await.unwrap();
    assert_eq!(second.get("a\nb").await.unwrap(), Some(bytes));
}

#[tokio::test]
async fn caches_with_other_prefixes_or_databases_do_not_see_each_other() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let mut caches = Vec::new();
    for (database, prefix) in [(0, ""), (0, "a:"), (1, "a:")] {
        let mut settings = settings(&server.url());
        settings.database = database;
        settings.prefix = prefix.to_owned();
        caches.push(RedisCache::connect(&settings).await.unwrap());
    }
    for (number, cache) in caches.iter().enumerate() {
        let value = Bytes::from(number.to_string());
        cache.put("k", value, None).await.unwrap();
    }
    for (number, cache) in caches.iter().enumerate() {
        let value = cache.get("k").await.unwrap().unwrap();
        assert_eq!(value, number.to_string());
    }
    assert_eq!(server.admin(&["GET", "a:k"]), "1", "as the page says");
}

#[tokio::test]
async fn the_server_keeps_the_time_to_live() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let mut settings = settings(&server.url());
    settings.default_ttl_ms = Some(3_600_000);
    let cache = RedisCache::connect(&settings).await.unwrap();
    let ttl = |key: &str| -> i64 { server.admin(&["PTTL", key]).parse().unwrap() };

    cache.put("default", VALUE, None).await.unwrap();
    assert!((3_000_000..=3_600_000).contains(&ttl("default")));
    let part = Duration::from_nanos(86_400_000_000_001);
    cache.put("part", VALUE, Some(part)).await.unwrap();
    assert!((86_000_000..=86_400_001).contains(&ttl("part")));
    for for_ever in [Duration::MAX, Duration::from_millis(1 << 62)] {
        cache.put("for ever", VALUE, Some(for_ever)).await.unwrap();
        assert_eq!(ttl("for ever"), -1);
    }
    cache
        .put("default", VALUE, Some(Duration::ZERO))
        .await
        .unwrap();
    assert_eq!(cache.get("default").await.unwrap(), None);

    let soon = Duration::from_millis(1);
    cache.put("soon", VALUE, Some(soon)).await.unwrap();
    while cache.get("soon").await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_one_clear_error() {
    let Some(mut server) = RedisServer::start(&[]) else {
        return;
    };
    let (tcp, socket) = (server.url(), server.socket_url());
    server.kill();
    for (url, reason) in [
        (tcp, "refused"),
        (socket, "refused"),
        ("redis://no.such.host.invalid".into(), "lookup"),
    ] {
        let error = RedisCache::connect(&settings(&url)).await.unwrap_err();
        assert_eq!(error.code(), "builtins.redis_unavailable");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("cannot be reached"), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert!(error.to_string().starts_with(error.address()), "{error}");
    }
}

#[tokio::test]
async fn a_swap_to_a_server_that_is_not_there_is_rolled_back() {
    let Some(mut server) = RedisServer::start(&[]) else {
        return;
    };
    server.kill();
    let lifecycle = lifecycle(&[
        ("memory", MEMORY_CACHE, Value::Null),
        ("redis", REDIS_CACHE, json!({"url": server.url()})),
    ])
    .build();
    let cache = lifecycle.live::<dyn Cache>(&slot());
    cache.put("k", VALUE, None).await.unwrap();
    let to_redis = || SwapRequest::to_provider(slot(), "redis".parse().unwrap());
    let report = lifecycle.swap(to_redis()).await.unwrap();
    let Outcome::RolledBack { failure } = &report.outcome else {
        panic!("{report:?}");
    };
    assert!(failure.message.contains("cannot be reached"), "{failure:?}");
    assert_eq!(cache.get("k").await.unwrap(), Some(VALUE));

    server.start_again();
    let report = lifecycle.swap(to_redis()).await.unwrap();
    assert!(matches!(report.outcome, Outcome::Swapped), "{report:?}");
}

#[tokio::test]
async fn calls_fail_while_the_server_is_gone_and_work_again_by_themselves() {
    let Some(mut server) = RedisServer::start(&[]) else {
        return;
    };
    let cache = connect(&server).await;
    for _ in 0..3 {
        cache.put("k", VALUE, None).await.unwrap();
        server.kill();
        // The first may be the one that finds out, the others need not even try.
        for _ in 0..100 {
            unavailable(cache.get("k").await, "redis");
        }
        let health = cache.probe().await;
        assert_eq!(health.name(), "critical", "nobody is there: {health}");
        let url = server.url();
        assert!(health.message().unwrap().starts_with(&url), "{health}");

        server.start_again();
        assert!(cache.connected().await);
        assert_eq!(cache.get("k").await.unwrap(), None, "a new server is empty");
        assert_eq!(cache.probe().await, Health::Ok);
    }
}

#[tokio::test]
async fn nobody_needs_to_call_for_a_broken_connection_to_be_noticed_and_mended() {
    let Some(mut server) = RedisServer::start(&[]) else {
        return;
    };
    let cache = connect(&server).await;
    server.kill();
    server.start_again();
    while connections(&server) < 1 {
        tokio::task::yield_now().await;
    }
    assert!(cache.connected().await);
    cache.put("k", VALUE, None).await.unwrap();
}

/// How many are connected over TCP: the administrator is not.
fn connections(server: &RedisServer) -> usize {
    let list = server.admin(&["CLIENT", "LIST"]);
    list.lines()
        .filter(|line| line.contains("laddr=127.0.0.1:"))
        .count()
}

#[tokio::test]
async fn a_thousand_callers_of_a_dead_server_all_get_their_answer() {
    let Some(mut server) = RedisServer::start(&[]) else {
        return;
    };
    let cache = Arc::new(connect(&server).await);
    server.kill();
    let callers: Vec<_> = (0..1_000)
        .map(|_| {
            let cache = Arc::clone(&cache);
            tokio::spawn(async move { cache.put("k", VALUE, None).await })
        })
        .collect();
    for caller in callers {
        unavailable(caller.await.unwrap(), "redis");
    }
}

#[tokio::test]
async fn a_server_that_stops_answering_costs_one_time_limit_and_comes_back() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let mut settings = settings(&server.url());
    settings.response_timeout_ms = 50.try_into().unwrap();
    settings.connect_timeout_ms = 50.try_into().unwrap();
    let cache = RedisCache::connect(&settings).await.unwrap();
    server.freeze();
    unavailable(cache.get("k").await, "did not answer within 50 ms");
    tokio::select! {
        biased;
        _ = cache.connected() => panic!("the next caller would wait as long again"),
        () = std::future::ready(()) => {}
    }
    for _ in 0..100 {
        unavailable(
            cache.put("k", VALUE, None).await,
            "did not answer within 50 ms",
        );
    }
    let health = cache.probe().await;
    assert_eq!(health.name(), "temporarily_unavailable", "{health}");
    let error = RedisCache::connect(&settings).await.unwrap_err();
    assert_eq!(error.code(), "builtins.redis_unavailable");

    server.thaw();
    assert!(cache.connected().await);
    cache.put("k", VALUE, None).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap(), Some(VALUE));
}

#[tokio::test]
async fn what_the_server_refuses_is_named_and_leaves_the_connection_alone() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let cache = connect(&server).await;
    let received = || server.admin(&["CLIENT", "LIST", "TYPE", "normal"]);
    let id = |list: &str| {
        let line = list.lines().find(|line| line.contains("laddr=127.0.0.1:"));
        line.unwrap().split(' ').next().unwrap().to_owned()
    };
    let before = id(&received());

    server.admin(&["RPUSH", "list", "a"]);
    says(
        cache.get("list").await,
        "lifecycle.call_failed",
        "WRONGTYPE",
    );
    cache.put("list", VALUE, None).await.unwrap();
    assert_eq!(cache.get("list").await.unwrap(), Some(VALUE));

    server.admin(&["CONFIG", "SET", "maxmemory", "1"]);
    unavailable(cache.put("k", VALUE, None).await, "OOM");
    assert_eq!(cache.get("list").await.unwrap(), Some(VALUE));
    let health = cache.probe().await;
    assert_eq!(
        health.name(),
        "critical",
        "what cannot put is no cache: {health}"
    );
    assert!(health.message().unwrap().contains("OOM"), "{health}");
    server.admin(&["CONFIG", "SET", "maxmemory", "0"]);

    server.admin(&["REPLICAOF", "127.0.0.1", "1"]);
    unavailable(cache.put("k", VALUE, None).await, "READONLY");
    assert_eq!(cache.probe().await.name(), "critical");
    server.admin(&["REPLICAOF", "NO", "ONE"]);

    assert_eq!(cache.probe().await, Health::Ok);
    assert_eq!(id(&received()), before, "one connection for all of it");
}

#[tokio::test]
async fn a_wrong_password_is_named_and_never_shown() {
    const PASSWORD: &str = "hidden-from-everybody";
    let Some(server) = RedisServer::start(&["--requirepass", PASSWORD]) else {
        return;
    };
    let mut settings = settings(&server.url());
    for (password, reason) in [(None, "NOAUTH"), (Some("hidden too"), "WRONGPASS")] {
        settings.password = password.map(|password| Secret::new(password.to_owned()));
        let error = RedisCache::connect(&settings).await.unwrap_err();
        assert_eq!(error.code(), "builtins.redis_refused");
        assert_eq!(error.kind(), ErrorKind::Config);
        let shown = format!("{error} {error:?} {settings:?}");
        assert!(
            shown.contains(reason) && !shown.contains("hidden"),
            "{shown}"
        );
    }
    settings.password = Some(Secret::new(PASSWORD.to_owned()));
    let cache = RedisCache::connect(&settings).await.unwrap();
    cache.put("k", VALUE, None).await.unwrap();
    let shown = format!("{settings:?} {cache:?}");
    assert!(!shown.contains("hidden"), "{shown}");
}

#[tokio::test]
async fn a_user_has_the_rights_that_the_server_gives_it() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    server.admin(&[
        "ACL", "SETUSER", "app", "on", ">pass", "~app:*", "+get", "+set", "+del", "+ping",
    ]);
    let mut settings = settings(&server.url());
    settings.username = Some("app".to_owned());
    settings.password = Some(Secret::new("pass".to_owned()));
    settings.prefix = "app:".to_owned();
    let cache = RedisCache::connect(&settings).await.unwrap();
    assert_eq!(cache.probe().await, Health::Ok);
    cache.put("k", VALUE, None).await.unwrap();
    server.admin(&["ACL", "SETUSER", "app", "-get"]);
    says(cache.get("k").await, "lifecycle.call_failed", "NOPERM");
    settings.username = Some("nobody".to_owned());
    let error = RedisCache::connect(&settings).await.unwrap_err();
    assert!(error.to_string().contains("WRONGPASS"), "{error}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_refused() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let mut settings = settings(&server.url());
    settings.database = 99;
    let error = RedisCache::connect(&settings).await.unwrap_err();
    assert_eq!(error.code(), "builtins.redis_refused");
    assert!(error.to_string().contains("`database`"), "{error}");
}

#[tokio::test]
async fn a_server_without_a_place_for_us_may_have_one_later() {
    let Some(server) = RedisServer::start(&["--maxclients", "1"]) else {
        return;
    };
    let cache = connect(&server).await;
    let error = RedisCache::connect(&settings(&server.url()))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "builtins.redis_unavailable", "{error}");
    assert!(error.to_string().contains("maxclients"), "{error}");
    drop(cache);
}

#[tokio::test]
async fn what_is_no_redis_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let web = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        client.write_all(answer).await.unwrap();
        client
    });
    let error = RedisCache::connect(&settings(&url)).await.unwrap_err();
    assert_eq!(error.code(), "builtins.redis_refused");
    assert!(
        error.to_string().contains("no redis of version 6"),
        "{error}"
    );
    drop(web.await.unwrap());
}

#[tokio::test]
async fn what_takes_connections_and_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings(&format!("redis://{}", listener.local_addr().unwrap()));
    settings.connect_timeout_ms = 20.try_into().unwrap();
    let error = RedisCache::connect(&settings).await.unwrap_err();
    assert_eq!(error.code(), "builtins.redis_unavailable");
    assert!(error.to_string().contains("within 20 ms"), "{error}");
}

#[tokio::test]
async fn values_are_bounded_in_both_directions() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let mut settings = settings(&server.url());
    settings.max_value_bytes = 5.try_into().unwrap();
    let cache = RedisCache::connect(&settings).await.unwrap();
    cache.put("k", VALUE, None).await.unwrap();
    let long = cache.put("k", Bytes::from_static(b"longer"), None).await;
    says(
        long,
        "lifecycle.invalid_payload",
        "more than `max_value_bytes` allows",
    );
    assert_eq!(
        cache.get("k").await.unwrap(),
        Some(VALUE),
        "the old one stays"
    );
    server.admin(&["SET", "k", "longer"]);
    says(
        cache.get("k").await,
        "lifecycle.call_failed",
        "more than `max_value_bytes`",
    );
}

#[tokio::test]
async fn a_retired_cache_holds_no_connection_and_makes_none() {
    let Some(mut server) = RedisServer::start(&[]) else {
        return;
    };
    let cache = connect(&server).await;
    assert_eq!(connections(&server), 1);
    cache.retire().await.unwrap();
    while connections(&server) > 0 {
        tokio::task::yield_now().await;
    }
    unavailable(cache.get("k").await, "retired");
    assert!(!cache.connected().await);
    assert_eq!(cache.probe().await.name(), "critical");
    server.start_again();
    assert_eq!(connections(&server), 0);
}

#[tokio::test]
async fn a_dropped_cache_leaves_neither_a_connection_nor_a_task() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let cache = connect(&server).await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    assert!(tasks() > 0);
    drop(cache);
    while connections(&server) > 0 || tasks() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_probe_leaves_nothing_behind_on_the_server() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let cache = connect(&server).await;
    assert_eq!(cache.probe().await, Health::Ok);
    while server.admin(&["DBSIZE"]) != "0" {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn p17_no_call_fails_while_memory_and_redis_are_exchanged() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let lifecycle = lifecycle(&[
        ("memory", MEMORY_CACHE, Value::Null),
        ("redis", REDIS_CACHE, json!({"url": server.socket_url()})),
    ])
    .build();
    lifecycle.activate(&slot()).await.unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let callers: Vec<_> = (0..4)
        .map(|caller| {
            let (cache, stopped) = (lifecycle.live::<dyn Cache>(&slot()), stopped.clone());
            tokio::spawn(async move {
                let key = format!("caller {caller}");
                let mut calls = 0_u32;
                while !*stopped.borrow() {
                    cache.put(&key, VALUE, None).await.unwrap();
                    cache.get(&key).await.unwrap();
                    calls += 2;
                }
                calls
            })
        })
        .collect();
    for round in 0..40 {
        let provider = if round % 2 == 0 { "redis" } else { "memory" };
        let request = SwapRequest::to_provider(slot(), provider.parse().unwrap());
        let report = lifecycle.swap(request).await.unwrap();
        assert!(matches!(report.outcome, Outcome::Swapped), "{report:?}");
        assert!(report.warnings.is_empty(), "{report:?}");
    }
    stop.send(true).unwrap();
    for caller in callers {
        assert!(caller.await.unwrap() > 0);
    }
}
