//! What all programs share, and how to see that it is whole.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oneiric_resilience::{
    BackoffConfig, Breaker, BreakerConfig, BreakerWindow, Bulkhead, BulkheadConfig, Retry,
    RetryBudgetConfig, RetryConfig, Shields, TokenBucket, TokenBucketConfig, TokioClock,
};

use crate::plan::Plan;

const LIMIT: u32 = 3;
pub(crate) const BURST: u32 = 4;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) bulkhead: Bulkhead,
    pub(crate) bucket: TokenBucket<TokioClock>,
    pub(crate) breaker: Breaker<TokioClock>,
    pub(crate) retry: Retry,
    pub(crate) shields: Shields,
    /// Programs, and parts of them, that are there.
    pub(crate) alive: Counted,
    /// Calls with a clean-up that began.
    pub(crate) due: Counted,
    /// Those that succeeded, or were cleaned up.
    pub(crate) cleaned: Counted,
    inside: Counted,
    broken: AtomicBool,
    promise: Mutex<&'static str>,
}

impl World {
    pub(crate) fn new() -> Self {
        let bulkhead = Bulkhead::new(BulkheadConfig {
            limit: LIMIT,
            max_waiters: 64,
            ..BulkheadConfig::default()
        });
        let bucket = TokenBucketConfig {
            capacity: BURST,
            refill_per_sec: 4_000.0,
            max_waiters: 64,
        };
        let breaker = BreakerConfig {
            window: BreakerWindow::Consecutive(3),
            open: BackoffConfig::constant(Duration::from_millis(1)),
            probes: 1,
            // A probe that kept its place would be seen.
            half_open_max: Duration::from_secs(86_400),
            ..BreakerConfig::default()
        };
        let retry = RetryConfig {
            backoff: BackoffConfig::constant(Duration::from_millis(1)),
            budget: Some(RetryBudgetConfig::default()),
            ..RetryConfig::default()
        };
        let clock = TokioClock::new();
        Self {
            bulkhead: bulkhead.unwrap(),
            bucket: TokenBucket::with_clock(bucket, clock.clone()).unwrap(),
            breaker: Breaker::with_clock(breaker, clock).unwrap(),
            retry: Retry::new(retry).unwrap(),
            shields: Shields::new(),
            alive: Counted::default(),
            due: Counted::default(),
            cleaned: Counted::default(),
            inside: Counted::default(),
            broken: AtomicBool::new(false),
            promise: Mutex::new(""),
        }
    }

    /// Runs a program that holds a permit.
    pub(crate) async fn inside(self: &Arc<Self>, plan: Plan) -> Result<(), ()> {
        let _inside = self.inside.enter();
        self.check(
            self.inside.count() <= usize::try_from(LIMIT).unwrap(),
            "more are inside than may",
        );
        plan.run(Arc::clone(self)).await
    }

    /// Remembers what was broken: in the middle of a program a panic would only end that.
    pub(crate) fn check(&self, holds: bool, promise: &'static str) {
        if !holds {
            *self.promise.lock().unwrap() = promise;
            self.broken.store(true, Ordering::SeqCst);
        }
    }

    /// All programs were cancelled or have ended: nothing of them is left.
    pub(crate) async fn check_whole(&self) {
        // Shielded work goes on, and what it waits for may be another's.
        assert_eq!(self.shields.wait(Duration::from_secs(36_000)).await, 0);
        // Parallel children of scopes that were dropped stop at their next await.
        until(|| self.alive.count() == 0, "a program is left").await;
        assert!(
            !self.broken.load(Ordering::SeqCst),
            "{}",
            self.promise.lock().unwrap()
        );
        assert_eq!(self.cleaned.count(), self.due.count(), "clean-ups");
        assert_eq!((self.bulkhead.in_flight(), self.bulkhead.waiting()), (0, 0));
        let permits: Vec<_> = (0..LIMIT).map(|_| self.bulkhead.try_enter()).collect();
        assert!(permits.iter().all(Result::is_ok), "{permits:?}");
        assert!(self.bulkhead.try_enter().is_err());

        let line = self.bucket.snapshot();
        assert_eq!((line.waiting, line.reserved), (0, 0), "{line:?}");
        until(|| self.bucket.available() == BURST, "tokens are missing").await;

        // Half open it has one probe to give, which nobody may have kept.
        until(|| self.breaker.permit().is_ok(), "a probe is missing").await;
    }
}

/// Waits until something holds, with a limit that only a hang reaches. Where time is paused it passes
/// meanwhile.
pub(crate) async fn until(mut holds: impl FnMut() -> bool, otherwise: &str) {
    for _ in 0..100_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(holds(), "{otherwise}");
}

/// How many of something there are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn enter(&self) -> Entered {
        self.add();
        Entered(self.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Entered(Counted);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}
