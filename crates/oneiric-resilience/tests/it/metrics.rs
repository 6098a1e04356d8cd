//! What reaches a recorder, and that it is what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ::metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};
use oneiric_resilience::{
    Breaker, Error, Fallback, KeyedBuckets, KeyedBucketsConfig, ManualClock, Policy, PolicyConfig,
    ResilienceMetrics, Retry, RetryBudgetConfig, RetryConfig, TokioClock,
};

use super::policy::{Called, answers, breaker, bucket, bulkhead, ms, nothing, retry};

/// Values by name and labels, and whether each is a gauge.
type Values = BTreeMap<String, (bool, Arc<AtomicU64>)>;

/// Keeps every value.
#[derive(Debug, Clone, Default)]
struct Kept {
    values: Arc<Mutex<Values>>,
    described: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Kept {
    fn cell(&self, key: &Key, is_gauge: bool) -> Arc<AtomicU64> {
        let labels = key
            .labels()
            .map(|label| format!(",{}={}", label.key(), label.value()));
        let key = key.name().to_owned() + &labels.collect::<String>();
        let mut values = self.values.lock().unwrap();
        Arc::clone(
            &values
                .entry(key)
                .or_insert_with(|| (is_gauge, Arc::default()))
                .1,
        )
    }

    /// All that is not zero, without the prefix.
    fn all(&self) -> Vec<String> {
        let values = self.values.lock().unwrap();
        let read = |(key, (is_gauge, value)): (&String, &(bool, Arc<AtomicU64>))| {
            let bits = value.load(Ordering::Relaxed);
            let value = if *is_gauge {
                f64::from_bits(bits).to_string()
            } else {
                bits.to_string()
            };
            let key = key.strip_prefix("oneiric_resilience_").unwrap();
            (value != "0").then(|| format!("{key} {value}"))
        };
        values.iter().filter_map(read).collect()
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, says: SharedString) {
        let mut described = self.described.lock().unwrap();
        described.insert(key.as_str().to_owned(), says.to_string());
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, says: SharedString) {
        self.describe_counter(key, unit, says);
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        panic!("there is none");
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key, false))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key, true))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        panic!("there is none");
    }
}

fn watched(
    metrics: &ResilienceMetrics,
    config: PolicyConfig,
) -> Policy<oneiric_resilience::ErrIsFailure, TokioClock> {
    let policy = Policy::builder_with_clock(config, TokioClock::new())
        .observer(metrics.observer("pay"))
        .breaker_observer(metrics.observer("pay"))
        .build()
        .unwrap();
    metrics.policy("pay", &policy);
    policy
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_a_policy_is_counted_and_what_its_parts_know_is_published() {
    let kept = Kept::default();
    let metrics = ResilienceMetrics::new(kept.clone());
    let policy = watched(
        &metrics,
        PolicyConfig {
            retry: Some(RetryConfig {
                budget: Some(RetryBudgetConfig {
                    capacity: 10,
                    ratio: 0.0,
                    min_per_sec: 0.0,
                }),
                ..retry(2).unwrap()
            }),
            breaker: breaker(2),
            bucket: bucket(8),
            bulkhead: bulkhead(5),
            attempt_limit: Some(ms(300)),
            ..nothing()
        },
    );
    assert_eq!(
        policy.call(answers(&[Ok(1)], &Called::default())).await,
        Ok(1)
    );
    assert_eq!(kept.all(), [""; 0]);
    let answer = policy.call(pending::<Result<(), ()>>).await;
    assert_eq!(answer, Err(Error::TimedOut { limit: ms(300) }));
    let answer = policy.call(answers(&[Ok(1)], &Called::default())).await;
    assert!(matches!(answer, Err(Error::Rejected(_))));
    let events = [
        "breaker_transitions_total,name=pay,from=closed,to=open,reason=consecutive 1",
        "rejections_total,name=pay,code=resilience.breaker_open 1",
        "retries_given_up_total,name=pay,reason=attempts 1",
        "retries_total,name=pay 1",
        "timed_out_total,name=pay 2",
    ];
    assert_eq!(kept.all(), events);

    let _inside = policy.bulkhead().unwrap().try_enter().unwrap();
    metrics.publish();
    let published = [
        "breaker_opened_total,name=pay 1",
        "breaker_rejections_total,name=pay 1",
        "breaker_state,name=pay,state=open 1",
        "bucket_capacity,name=pay 8",
        "bucket_tokens,name=pay 5",
        "bulkhead_in_flight,name=pay 1",
        "bulkhead_limit,name=pay 5",
        "retry_budget_tokens,name=pay 9",
    ];
    let mut all = [&events[..], &published].concat();
    all.sort_unstable();
    assert_eq!(kept.all(), all);

    // Counters are what the part says, however often that is copied.
    metrics.publish();
    assert_eq!(kept.all(), all);
}

#[tokio::test(start_paused = true)]
async fn time_that_is_over_is_counted() {
    let kept = Kept::default();
    let policy = watched(
        &ResilienceMetrics::new(kept.clone()),
        PolicyConfig {
            deadline: Some(ms(100)),
            ..nothing()
        },
    );
    let answer = policy.call(pending::<Result<(), ()>>).await;
    assert_eq!(answer, Err(Error::DeadlineExceeded));
    assert_eq!(kept.all(), ["deadline_exceeded_total,name=pay 1"]);
}

#[test]
fn a_breaker_shows_what_it_judges_by() {
    let kept = Kept::default();
    let metrics = ResilienceMetrics::new(kept.clone());
    let breaker = Breaker::with_clock(
        oneiric_resilience::BreakerConfig {
            window: oneiric_resilience::BreakerWindow::Calls(10),
            min_calls: 10,
            slow_call: Some(ms(100)),
            ..Default::default()
        },
        ManualClock::new(),
    )
    .unwrap();
    metrics.breaker("reads", &breaker);
    for (outcome, took) in [(Ok(()), 10), (Ok(()), 200), (Ok(()), 10), (Err(()), 10)] {
        let permit = breaker.permit().unwrap();
        let outcome = match outcome {
            Ok(()) => oneiric_resilience::Outcome::Success,
            Err(()) => oneiric_resilience::Outcome::Failure,
        };
        permit.record_timed(outcome, ms(took));
    }
    metrics.publish();
    assert_eq!(
        kept.all(),
        [
            "breaker_calls,name=reads 4",
            "breaker_failure_ratio,name=reads 0.25",
            "breaker_slow_ratio,name=reads 0.25",
            "breaker_state,name=reads,state=closed 1",
        ]
    );
}

#[test]
fn a_retry_and_a_fallback_are_counted_by_themselves_too() {
    let kept = Kept::default();
    let metrics = ResilienceMetrics::new(kept.clone());
    let retry = Retry::new(RetryConfig {
        attempts: 3,
        backoff: oneiric_resilience::BackoffConfig::constant(ms(0)),
        ..RetryConfig::default()
    })
    .unwrap()
    .hook(metrics.observer("reads"));
    let fallback = Fallback::value(7).hook(metrics.observer("reads"));
    let answer = fallback.apply(retry.run(|| Err::<i32, _>("no")));
    assert_eq!(answer, Ok(7));
    assert_eq!(
        kept.all(),
        [
            "fallbacks_total,name=reads 1",
            "retries_given_up_total,name=reads,reason=attempts 1",
            "retries_total,name=reads 2",
        ]
    );
}

#[test]
fn the_recorder_of_the_facade_does_as_well() {
    let kept = Kept::default();
    let bulkhead = oneiric_resilience::Bulkhead::new(bulkhead(3).unwrap()).unwrap();
    let metrics = with_local_recorder(&kept, || {
        let metrics = ResilienceMetrics::of_facade();
        metrics.bulkhead("reads", &bulkhead);
        metrics
    });
    metrics.publish();
    assert_eq!(kept.all(), ["bulkhead_limit,name=reads 3"]);
}

#[test]
fn what_is_described_is_recorded_and_the_other_way_round() {
    let kept = Kept::default();
    let metrics = ResilienceMetrics::new(kept.clone());
    let config = PolicyConfig {
        breaker: breaker(2),
        bucket: bucket(8),
        bulkhead: bulkhead(5),
        ..nothing()
    };
    let policy = watched(&metrics, config);
    policy.breaker().unwrap().control().force_open();
    let keyed = KeyedBuckets::<u64>::new(KeyedBucketsConfig::default()).unwrap();
    metrics.keyed("pay", &keyed);
    let budget = oneiric_resilience::RetryBudget::new(RetryBudgetConfig::default()).unwrap();
    metrics.budget("pay", &budget);
    metrics.publish();
    let values = kept.values.lock().unwrap();
    let name = |key: &String| key.split(',').next().unwrap().to_owned();
    let recorded: BTreeSet<String> = values.keys().map(name).collect();
    let described = kept.described.lock().unwrap().keys().cloned().collect();
    assert_eq!(recorded, described);
}

fn parts(metrics: &ResilienceMetrics) -> usize {
    let shown = format!("{metrics:?}");
    let digits = shown.chars().filter(char::is_ascii_digit);
    digits.collect::<String>().parse().unwrap()
}

#[test]
fn a_part_is_not_kept_and_one_that_is_gone_is_forgotten() {
    let kept = Kept::default();
    let metrics = ResilienceMetrics::new(kept.clone());
    let told = Arc::new(());
    let watch = Arc::downgrade(&told);
    let breaker = Breaker::builder(breaker(1).unwrap())
        .observer(move |_: &oneiric_resilience::BreakerTransition| drop(Arc::clone(&told)))
        .build()
        .unwrap();
    let budget = oneiric_resilience::RetryBudget::new(RetryBudgetConfig::default()).unwrap();
    metrics.breaker("reads", &breaker);
    metrics.budget("reads", &budget);
    metrics.publish();
    assert_eq!(parts(&metrics), 2);
    drop(breaker);
    assert!(watch.upgrade().is_none(), "the metrics keep none");
    metrics.publish();
    assert_eq!(parts(&metrics), 1);

    // Nor where nobody publishes.
    for _ in 0..1_000 {
        let config = PolicyConfig {
            bulkhead: bulkhead(3),
            bucket: bucket(8),
            breaker: self::breaker(2),
            ..nothing()
        };
        metrics.policy("short", &Policy::new(config).unwrap());
    }
    assert!(parts(&metrics) <= 16, "{metrics:?}");
    metrics.publish();
    assert_eq!(parts(&metrics), 1);
}

#[test]
fn how_many_keys_have_a_bucket_and_how_many_takes_were_refused_is_published() {
    let kept = Kept::default();
    let metrics = ResilienceMetrics::new(kept.clone());
    let clients = KeyedBuckets::<str>::new(KeyedBucketsConfig {
        max_keys: 50,
        ..KeyedBucketsConfig::default()
    })
    .unwrap();
    metrics.keyed("clients", &clients);
    clients.try_take("alice", 1).unwrap();
    clients.try_take("bob", 1).unwrap();
    clients.try_take("bob", 100_000).unwrap_err();
    metrics.publish();
    let published = [
        "keyed_bucket_keys,name=clients 2",
        "keyed_bucket_keys_limit,name=clients 50",
        "keyed_bucket_rejections_total,name=clients 1",
    ];
    assert_eq!(kept.all(), published);
    drop(clients);
    metrics.publish();
    assert_eq!(parts(&metrics), 0);
}

#[tokio::test(start_paused = true)]
async fn a_retry_by_itself_tells_of_time_that_was_over() {
    let kept = Kept::default();
    let metrics = ResilienceMetrics::new(kept.clone());
    let retry = Retry::new(RetryConfig {
        total_limit: Some(ms(100)),
        ..RetryConfig::default()
    })
    .unwrap()
    .hook(metrics.observer("reads"));
    let answer = retry.run_async(pending::<Result<(), ()>>).await;
    assert_eq!(answer, Err(Error::DeadlineExceeded));
    assert_eq!(
        kept.all(),
        [
            "deadline_exceeded_total,name=reads 1",
            "retries_given_up_total,name=reads,reason=out_of_time 1",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_counted_by_the_part_and_by_the_policy_each_under_a_name_of_its_own() {
    let kept = Kept::default();
    let metrics = ResilienceMetrics::new(kept.clone());
    let config = PolicyConfig {
        bucket: bucket(2),
        bulkhead: bulkhead(1),
        ..nothing()
    };
    let policy = watched(&metrics, config);
    let (bucket, bulkhead) = (policy.bucket().unwrap(), policy.bulkhead().unwrap());
    let call = async || policy.call(answers(&[Ok(1)], &Called::default())).await;
    let inside = bulkhead.try_enter().unwrap();
    // One refusal by each within the policy, and one of somebody else.
    call().await.unwrap_err();
    bulkhead.try_enter().unwrap_err();
    drop(inside);
    call().await.unwrap();
    call().await.unwrap_err();
    bucket.try_take(1).unwrap_err();
    metrics.publish();
    metrics.publish();
    assert_eq!(
        kept.all(),
        [
            "bucket_capacity,name=pay 2",
            "bucket_rejections_total,name=pay 2",
            "bulkhead_limit,name=pay 1",
            "bulkhead_rejections_total,name=pay 2",
            "rejections_total,name=pay,code=resilience.bulkhead_full 1",
            "rejections_total,name=pay,code=resilience.rate_limited 1",
        ]
    );
}
