//! Every legal order does what its stages do one inside the other: compared with a slow model that is
//! written just so, each stage a function around the next.

use std::cell::{Cell, RefCell};

use oneiric_resilience::{
    BackoffConfig, BreakerState, Error, PolicyConfig, Rejection, RetryConfig, Stage,
};
use proptest::prelude::*;

use super::{breaker, bucket, bulkhead, ms, nothing, policy, retry};

/// What a model's call ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Answer(bool),
    Rejected(Stage),
}

/// Each stage as obvious as can be.
#[derive(Debug)]
struct Model {
    order: Vec<Stage>,
    attempts: u32,
    retry_rejected: bool,
    trips_after: u32,
    failures: u32,
    open: bool,
    tokens: u32,
    in_flight: u32,
    full: bool,
    script: Vec<bool>,
    made: usize,
    /// Who was inside while an attempt ran.
    seen: Vec<u32>,
}

impl Model {
    fn call(&mut self, at: usize) -> End {
        let Some(stage) = self.order.get(at).copied() else {
            self.seen.push(self.in_flight);
            self.made += 1;
            return End::Answer(self.script[(self.made - 1) % self.script.len()]);
        };
        match stage {
            Stage::Retry => self.retry(at),
            Stage::Breaker => self.breaker(at),
            Stage::Bucket => {
                if self.tokens == 0 {
                    return End::Rejected(stage);
                }
                self.tokens -= 1;
                self.call(at + 1)
            }
            Stage::Bulkhead => {
                if self.full {
                    return End::Rejected(stage);
                }
                self.in_flight += 1;
                let end = self.call(at + 1);
                self.in_flight -= 1;
                end
            }
            _ => self.call(at + 1),
        }
    }

    fn retry(&mut self, at: usize) -> End {
        let mut left = self.attempts;
        loop {
            let end = self.call(at + 1);
            left -= 1;
            let again = match end {
                End::Answer(worked) => !worked,
                End::Rejected(_) => self.retry_rejected,
            };
            if !again || left == 0 {
                return end;
            }
        }
    }

    fn breaker(&mut self, at: usize) -> End {
        if self.open {
            return End::Rejected(Stage::Breaker);
        }
        let end = self.call(at + 1);
        match end {
            End::Answer(true) => self.failures = 0,
            End::Answer(false) => self.failures += 1,
            End::Rejected(_) => {}
        }
        self.open = self.open || self.failures >= self.trips_after;
        end
    }
}

/// The order of the movable stages among themselves, and which stages there are at all.
fn orders() -> impl Strategy<Value = Vec<Stage>> {
    let movable = [Stage::Retry, Stage::Breaker, Stage::Bucket, Stage::Bulkhead];
    let some = proptest::sample::subsequence(movable.to_vec(), 0..=4).prop_shuffle();
    (some, any::<bool>(), any::<bool>()).prop_map(|(middle, deadline, attempt)| {
        let first = deadline.then_some(Stage::Deadline);
        let last = attempt.then_some(Stage::Attempt);
        first.into_iter().chain(middle).chain(last).collect()
    })
}

fn check(model: &mut Model, calls: usize) {
    let order = model.order.clone();
    let has = |stage| order.contains(&stage);
    let policy = policy(PolicyConfig {
        deadline: has(Stage::Deadline).then_some(ms(60_000)),
        retry: has(Stage::Retry).then(|| RetryConfig {
            attempts: model.attempts,
            backoff: BackoffConfig::constant(ms(0)),
            max_retry_after: ms(0),
            ..retry(1).unwrap()
        }),
        retry_rejected: has(Stage::Retry) && model.retry_rejected,
        breaker: breaker(model.trips_after).filter(|_| has(Stage::Breaker)),
        bucket: bucket(model.tokens.max(1)).filter(|_| has(Stage::Bucket)),
        bulkhead: bulkhead(1).filter(|_| has(Stage::Bulkhead)),
        attempt_limit: has(Stage::Attempt).then_some(ms(1_000)),
        order: Some(order.clone()),
        ..nothing()
    });
    assert_eq!(policy.order(), order);
    if model.tokens == 0 {
        policy
            .bucket()
            .inspect(|bucket| bucket.try_take(1).unwrap());
    }
    let inside = policy.bulkhead().filter(|_| model.full);
    let _inside = inside.map(|bulkhead| bulkhead.try_enter().unwrap());
    let (made, seen) = (Cell::new(0), RefCell::new(Vec::new()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    for _ in 0..calls {
        let answer = runtime.block_on(policy.call(|| {
            let in_flight = policy.bulkhead().map_or(0, |bulkhead| bulkhead.in_flight());
            seen.borrow_mut().push(in_flight);
            made.set(made.get() + 1);
            let worked = model.script[(made.get() - 1) % model.script.len()];
            std::future::ready(if worked { Ok(()) } else { Err(()) })
        }));
        let end = match answer {
            Ok(()) => End::Answer(true),
            Err(Error::Inner(())) => End::Answer(false),
            Err(Error::Rejected(rejected)) => End::Rejected(match rejected.rejection() {
                Rejection::BreakerOpen => Stage::Breaker,
                Rejection::RateLimited => Stage::Bucket,
                _ => Stage::Bulkhead,
            }),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(end, model.call(0));
        assert_eq!(made.get(), model.made);
        assert_eq!(*seen.borrow(), model.seen);
        if let Some(bucket) = policy.bucket() {
            assert_eq!(bucket.available(), model.tokens);
        }
        if let Some(breaker) = policy.breaker() {
            assert_eq!(breaker.state() == BreakerState::Open, model.open);
            if !model.open {
                assert_eq!(breaker.snapshot().failures, u64::from(model.failures));
            }
        }
    }
}

proptest! {
    #[test]
    fn every_legal_order_does_what_its_stages_do_one_inside_the_other(
        order in orders(),
        attempts in 1_u32..5,
        trips_after in 1_u32..6,
        tokens in 0_u32..12,
        full in prop::bool::weighted(0.2),
        script in prop::collection::vec(any::<bool>(), 1..12),
        calls in 1_usize..8,
    ) {
        let mut model = Model {
            order,
            attempts,
            // With waits of nothing, one that names a wait is longer than any that is waited for.
            retry_rejected: false,
            trips_after,
            failures: 0,
            open: false,
            tokens,
            in_flight: 0,
            full,
            script,
            made: 0,
            seen: Vec::new(),
        };
        check(&mut model, calls);
    }
}
