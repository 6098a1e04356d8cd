//! A policy as it is read from a file.

use oneiric_resilience::{
    AimdConfig, BreakerConfig, BreakerWindow, BulkheadConfig, Policy, PolicyConfig,
    RetryBudgetConfig, RetryConfig, Stage, TokenBucketConfig,
};
use serde_json::json;

use super::{ms, nothing};

const TOML: &str = r#"
deadline_ms = 2_000
retry = { attempts = 4, backoff = { min_ms = 50, max_ms = 1_000 }, budget = { ratio = 0.2 } }
retry_rejected = true
breaker = { window = { calls = 50 }, failure_percent = 25.0 }
bucket = { capacity = 10, refill_per_sec = 5.0 }
bucket_wait_ms = 20
bulkhead = { limit = 8, adaptive = { max = 16 } }
bulkhead_wait_ms = 30
attempt_limit_ms = 500
order = ["deadline", "bucket", "retry", "bulkhead", "breaker", "attempt"]
"#;

fn full() -> PolicyConfig {
    let mut retry = RetryConfig {
        attempts: 4,
        budget: Some(RetryBudgetConfig {
            ratio: 0.2,
            ..RetryBudgetConfig::default()
        }),
        ..RetryConfig::default()
    };
    retry.backoff.min = ms(50);
    retry.backoff.max = ms(1_000);
    PolicyConfig {
        deadline: Some(ms(2_000)),
        retry: Some(retry),
        retry_rejected: true,
        breaker: Some(BreakerConfig {
            window: BreakerWindow::Calls(50),
            failure_percent: 25.0,
            ..BreakerConfig::default()
        }),
        bucket: Some(TokenBucketConfig {
            capacity: 10,
            refill_per_sec: 5.0,
            ..TokenBucketConfig::default()
        }),
        bucket_wait: ms(20),
        bulkhead: Some(BulkheadConfig {
            limit: 8,
            adaptive: Some(AimdConfig {
                max: 16,
                ..AimdConfig::default()
            }),
            ..BulkheadConfig::default()
        }),
        bulkhead_wait: ms(30),
        attempt_limit: Some(ms(500)),
        order: Some(vec![
            Stage::Deadline,
            Stage::Bucket,
            Stage::Retry,
            Stage::Bulkhead,
            Stage::Breaker,
            Stage::Attempt,
        ]),
    }
}

#[test]
fn every_key_is_read_from_toml_and_json_and_written_as_it_is_read() {
    let read: PolicyConfig = toml::from_str(TOML).unwrap();
    assert_eq!(read, full());
    let written = serde_json::to_value(full()).unwrap();
    assert_eq!(written["retry"]["backoff"]["min_ms"], json!(50));
    assert_eq!(written["order"][1], json!("bucket"));
    assert_eq!(
        serde_json::from_value::<PolicyConfig>(written).unwrap(),
        full()
    );
}

#[test]
fn what_is_left_out_is_not_there() {
    let read: PolicyConfig = toml::from_str("").unwrap();
    assert_eq!(read, nothing());
    assert_eq!(Policy::new(read).unwrap().order(), []);
    let read: PolicyConfig = serde_json::from_value(json!({ "retry": {} })).unwrap();
    assert_eq!(read.retry, Some(RetryConfig::default()));
    assert_eq!(Policy::new(read).unwrap().order(), [Stage::Retry]);
}

#[test]
fn unknown_keys_and_stages_are_refused_however_deep() {
    for (wrong, named) in [
        ("timeout_ms = 1", "timeout_ms"),
        ("attempt_limit = 1", "attempt_limit"),
        ("retry = { tries = 1 }", "tries"),
        ("retry = { backoff = { minimum = 1 } }", "minimum"),
        ("breaker = { rate = 1.0 }", "rate"),
        ("bucket = { burst = 1 }", "burst"),
        ("bulkhead = { adaptive = { most = 1 } }", "most"),
        ("order = [\"cache\"]", "cache"),
    ] {
        let refused = toml::from_str::<PolicyConfig>(wrong).unwrap_err();
        assert!(refused.to_string().contains(named), "{wrong}: {refused}");
    }
}

#[test]
fn what_is_read_is_what_the_policy_does_and_shows() {
    let policy = Policy::new(toml::from_str(TOML).unwrap()).unwrap();
    let snapshot = serde_json::to_value(policy.snapshot()).unwrap();
    assert_eq!(
        snapshot["order"],
        json!([
            "deadline", "bucket", "retry", "bulkhead", "breaker", "attempt"
        ])
    );
    assert_eq!(snapshot["breaker"]["state"], json!("closed"));
    assert_eq!(snapshot["bucket"]["available"], json!(10));
    assert_eq!(snapshot["bulkhead"]["limit"], json!(8));
    assert_eq!(snapshot["retry_tokens"], json!(100));
}
