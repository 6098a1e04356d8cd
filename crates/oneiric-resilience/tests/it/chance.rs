//! Chance that is handed in: with the same seed the waits are the same, whichever way a call is tried again.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oneiric_resilience::{
    Backoff, BackoffConfig, Breaker, BreakerConfig, BreakerState, BreakerWindow, Clock as _, Error,
    Jitter, ManualClock, Policy, PolicyConfig, PolicyEvent, Retry, RetryConfig, RetryEvent,
    RetryStep, SeededJitter, Stage,
};

const SECOND: Duration = Duration::from_secs(1);

/// Short enough for a thread that really waits.
fn short() -> RetryConfig {
    RetryConfig {
        attempts: 6,
        backoff: BackoffConfig::exponential(Duration::from_micros(1), Duration::from_micros(20)),
        ..RetryConfig::default()
    }
}

fn chance() -> SeededJitter {
    SeededJitter::new(7)
}

/// What the first waits of a backoff are with that chance.
fn drawn<const N: usize>(config: BackoffConfig) -> [Duration; N] {
    let mut delays = Backoff::new(config).unwrap().start();
    let mut chance = chance();
    std::array::from_fn(|_| delays.next_delay(&mut chance))
}

fn expected() -> Vec<Duration> {
    drawn::<5>(short().backoff).to_vec()
}

/// The waits that were told.
#[derive(Debug, Clone, Default)]
struct Waits(Arc<Mutex<Vec<Duration>>>);

impl Waits {
    fn push(&self, wait: Duration) {
        self.0.lock().unwrap().push(wait);
    }

    fn hook(&self) -> impl Fn(&RetryEvent<'_, ()>) + Clone + use<> {
        let waits = self.clone();
        move |event: &RetryEvent<'_, ()>| {
            if let RetryStep::Wait(wait) = event.step {
                waits.push(wait);
            }
        }
    }

    fn observer(&self) -> impl Fn(&PolicyEvent) + Send + Sync + use<> {
        let waits = self.clone();
        move |event: &PolicyEvent| {
            if let PolicyEvent::Retrying { wait, .. } = *event {
                waits.push(wait);
            }
        }
    }

    #[track_caller]
    fn are_expected(&self) {
        assert_eq!(*self.0.lock().unwrap(), expected());
    }
}

fn policy(waits: &Waits) -> Policy {
    let config = PolicyConfig {
        retry: Some(short()),
        ..PolicyConfig::default()
    };
    let builder = Policy::builder(config).observer(waits.observer());
    builder.jitter(chance()).build().unwrap()
}

#[test]
fn a_seed_decides_the_waits_of_a_thread() {
    let waits = Waits::default();
    let retry = Retry::new(short()).unwrap().jitter(chance());
    let answer = retry.hook(waits.hook()).run(|| Err::<(), _>(()));
    assert_eq!(answer, Err(Error::Inner(())));
    waits.are_expected();
}

#[test]
fn a_seed_decides_the_waits_of_a_policy_on_a_thread() {
    let waits = Waits::default();
    let waited = RefCell::new(Vec::new());
    let policy = policy(&waits).blocking().unwrap();
    let sleep = |wait| waited.borrow_mut().push(wait);
    let answer = policy.call_with(sleep, || Err::<(), _>(()));
    assert_eq!(answer, Err(Error::Inner(())));
    waits.are_expected();
    assert_eq!(waited.into_inner(), expected());
}

#[cfg(feature = "tokio")]
#[tokio::test(start_paused = true)]
async fn a_seed_decides_the_waits_of_a_task() {
    let waits = Waits::default();
    let retry = Retry::new(short()).unwrap().jitter(chance());
    let retry = retry.hook(waits.hook());
    let answer = retry.run_async(async || Err::<(), _>(())).await;
    assert_eq!(answer, Err(Error::Inner(())));
    waits.are_expected();
}

#[cfg(feature = "tokio")]
#[tokio::test(start_paused = true)]
async fn a_seed_decides_the_waits_of_a_policy() {
    let waits = Waits::default();
    let answer = policy(&waits).call(async || Err::<(), _>(())).await;
    assert_eq!(answer, Err(Error::Inner(())));
    waits.are_expected();
}

#[cfg(feature = "tower")]
#[tokio::test(start_paused = true)]
async fn a_seed_decides_the_waits_of_layers() {
    use oneiric_resilience::layers::{InnerLayer, PolicyLayer, RetryLayer};
    use tower::{ServiceBuilder, ServiceExt, service_fn};

    let fails = service_fn(async |(): ()| Err::<(), _>(()));
    let waits = Waits::default();
    let retry = Retry::new(short()).unwrap().jitter(chance());
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(retry.hook(waits.hook())))
        .layer(InnerLayer)
        .service(fails);
    assert_eq!(service.oneshot(()).await, Err(Error::Inner(())));
    waits.are_expected();

    let waits = Waits::default();
    let service = ServiceBuilder::new()
        .layer(PolicyLayer::new(policy(&waits)))
        .service(fails);
    assert_eq!(service.oneshot(()).await, Err(Error::Inner(())));
    waits.are_expected();
}

#[test]
fn clones_of_a_retry_draw_from_the_same_chance() {
    let waits = Waits::default();
    let config = RetryConfig {
        attempts: 2,
        ..short()
    };
    let retry = Retry::new(config).unwrap().jitter(chance());
    let retry = retry.hook(waits.hook());
    for retry in [retry.clone(), retry] {
        assert!(retry.run(|| Err::<(), _>(())).is_err());
    }
    let first = drawn::<2>(BackoffConfig {
        max: config.backoff.min,
        ..config.backoff
    });
    assert_eq!(*waits.0.lock().unwrap(), first);
}

#[test]
fn a_policys_breaker_draws_its_open_times_from_a_chance_of_its_own() {
    let clock = ManualClock::new();
    let open = BackoffConfig::exponential(60 * SECOND, 600 * SECOND);
    let config = PolicyConfig {
        retry: Some(short()),
        breaker: Some(BreakerConfig {
            window: BreakerWindow::Consecutive(1),
            open,
            probes: 1,
            ..BreakerConfig::default()
        }),
        order: Some(vec![Stage::Breaker, Stage::Retry]),
        ..PolicyConfig::default()
    };
    let policy = Policy::builder_with_clock(config, clock.clone())
        .jitter(chance())
        .build()
        .unwrap()
        .blocking()
        .unwrap();
    let breaker = policy.policy().breaker().unwrap();
    for open in drawn::<4>(open) {
        let answer = policy.call_with(|_| {}, || Err::<(), _>(()));
        assert_eq!(answer, Err(Error::Inner(())));
        assert_eq!(
            breaker.snapshot().open_until,
            Some(clock.now().after(open)),
            "whatever the retries drew"
        );
        clock.advance(open);
    }
}

/// A chance that panics when it is drawn from for the second time.
struct SecondPanics(u32);

impl Jitter for SecondPanics {
    fn next_f64(&mut self) -> f64 {
        self.0 += 1;
        assert_ne!(self.0, 2, "in a chance, as planned");
        0.5
    }
}

#[test]
fn a_chance_that_panics_does_not_keep_a_breaker_half_open() {
    const MAX: Duration = Duration::from_secs(30);
    for probes in [1, 3] {
        let clock = ManualClock::new();
        let breaker = Breaker::builder(BreakerConfig {
            window: BreakerWindow::Calls(10),
            min_calls: 1,
            failure_percent: 100.0,
            probes,
            half_open_max: MAX,
            ..BreakerConfig::default()
        })
        .clock(clock.clone())
        .jitter(SecondPanics(0))
        .build()
        .unwrap();
        let fails = || breaker.call(|| Err::<(), _>(()));
        assert_eq!(fails(), Err(Error::Inner(())));
        clock.advance(60 * SECOND);
        for _ in 1..probes {
            assert_eq!(fails(), Err(Error::Inner(())));
        }
        assert!(catch_unwind(AssertUnwindSafe(fails)).is_err());
        assert_eq!(breaker.state(), BreakerState::HalfOpen);

        clock.advance(MAX);
        assert!(matches!(fails(), Err(Error::Rejected(_))));
        assert_eq!(breaker.state(), BreakerState::Open);
        clock.advance(60 * SECOND);
        for _ in 0..probes {
            assert_eq!(breaker.call(|| Ok::<_, ()>(())), Ok(()));
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
