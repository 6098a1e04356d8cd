//! The table of factories and the settings they take.

use oneiric_builtins::{
    FILE_CACHE, FLAKY_CACHE, MEMORY_CACHE, REDIS_CACHE, SYSTEM_CLOCK, factories,
};
use oneiric_core::FactoryPolicy;
use serde_json::{Value, json};

#[test]
fn every_component_is_in_the_table_and_allowed_by_default() {
    let table = factories();
    let names: Vec<_> = table.paths().map(|path| path.as_str()).collect();
    assert_eq!(
        names,
        [
            FILE_CACHE,
            FLAKY_CACHE,
            MEMORY_CACHE,
            REDIS_CACHE,
            SYSTEM_CLOCK
        ]
    );
    let policy = FactoryPolicy::default();
    for path in table.paths() {
        policy.check(path).unwrap();
    }
}

fn check(factory: &str, settings: Value) -> Result<(), String> {
    factories()
        .get(&factory.parse().unwrap())
        .unwrap()
        .check_settings(&settings)
}

#[test]
fn settings_that_make_sense_are_accepted() {
    for (factory, settings) in [
        (MEMORY_CACHE, Value::Null),
        (
            MEMORY_CACHE,
            json!({"max_entries": 1, "max_bytes": 1, "default_ttl_ms": 1}),
        ),
        (FILE_CACHE, json!({"directory": "cache"})),
        (
            FILE_CACHE,
            json!({"directory": "c", "max_entries": 1, "max_bytes": 1, "default_ttl_ms": 1}),
        ),
        (REDIS_CACHE, json!({"url": "redis://localhost"})),
        (
            REDIS_CACHE,
            json!({
                "url": "unix:///run/redis.sock", "username": "u", "database": 1, "prefix": "p:",
                "password": "secret://env/REDIS_PASSWORD", "connect_timeout_ms": 1,
                "response_timeout_ms": 1, "max_value_bytes": 1, "default_ttl_ms": 0,
            }),
        ),
        (SYSTEM_CLOCK, Value::Null),
        (SYSTEM_CLOCK, json!({"offset_ms": -1})),
        (FLAKY_CACHE, Value::Null),
        (
            FLAKY_CACHE,
            json!({"build": "slow", "probe": "warn", "call": "hang", "delay_ms": 1}),
        ),
        (FLAKY_CACHE, json!({"retire": "panic"})),
    ] {
        check(factory, settings).unwrap();
    }
}

#[test]
fn settings_that_make_none_are_refused_by_name() {
    for (factory, settings, reason) in [
        (
            MEMORY_CACHE,
            json!({"max_entires": 1}),
            "unknown field `max_entires`",
        ),
        (MEMORY_CACHE, json!({"max_entries": 0}), "nonzero"),
        (MEMORY_CACHE, json!({"max_bytes": "64 MiB"}), "invalid type"),
        (FILE_CACHE, Value::Null, "missing field `directory`"),
        (
            FILE_CACHE,
            json!({"directory": "c", "fsync": true}),
            "unknown field `fsync`",
        ),
        (REDIS_CACHE, Value::Null, "missing field `url`"),
        (
            REDIS_CACHE,
            json!({"url": "rediss://cache"}),
            "url: rediss:// would need TLS",
        ),
        (
            REDIS_CACHE,
            json!({"url": "redis://localhost", "tls": true}),
            "unknown field `tls`",
        ),
        (
            REDIS_CACHE,
            json!({"url": "redis://localhost", "response_timeout_ms": 0}),
            "nonzero",
        ),
        (SYSTEM_CLOCK, json!({"offset": 1}), "unknown field `offset`"),
        (
            FLAKY_CACHE,
            json!({"probe": "bad"}),
            "unknown variant `bad`",
        ),
        (FLAKY_CACHE, json!({"seed": 1}), "unknown field `seed`"),
    ] {
        let error = check(factory, settings).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}
