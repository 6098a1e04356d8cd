//! What a policy costs around a call that goes well at once.

use std::error::Error;
use std::future::ready;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use oneiric_resilience::{
    BreakerConfig, BulkheadConfig, Policy, PolicyConfig, RetryConfig, TokenBucketConfig,
};

use crate::row::{Contest, Contestant, MakeWork, Operation, Row, repeated};
use crate::rows::control;

pub(in crate::rows) const NAME: &str = "resilience-policy";

pub(in crate::rows) fn row() -> Result<Row, Box<dyn Error>> {
    Ok(Row {
        name: NAME,
        title: "Policy: a call that goes well at once",
        note: "An asynchronous call that is ready when it is polled; all threads share the policy. A time limit reads \
               the clock, which is most of its cost. No peer has the same stages in one, so there is no goal.",
        contest: Contest::Operations(vec![
            control::upgrades()?,
            Contestant::ours("no stages", policy(&PolicyConfig::default())?),
            Contestant::ours("retry", policy(&retry())?),
            Contestant::ours("retry, breaker, bulkhead", policy(&gates())?),
            Contestant::ours("all of them, no time limits", policy(&rate(gates()))?),
            Contestant::ours("all of them", policy(&limits(rate(gates())))?),
        ]),
    })
}

fn retry() -> PolicyConfig {
    PolicyConfig {
        retry: Some(RetryConfig::default()),
        ..PolicyConfig::default()
    }
}

fn gates() -> PolicyConfig {
    PolicyConfig {
        breaker: Some(BreakerConfig::default()),
        bulkhead: Some(BulkheadConfig::default()),
        ..retry()
    }
}

/// With more tokens than can be taken.
fn rate(config: PolicyConfig) -> PolicyConfig {
    PolicyConfig {
        bucket: Some(TokenBucketConfig {
            capacity: 1_000_000_000,
            refill_per_sec: 1e9,
            max_waiters: 0,
        }),
        ..config
    }
}

fn limits(config: PolicyConfig) -> PolicyConfig {
    PolicyConfig {
        deadline: Some(Duration::from_secs(60)),
        attempt_limit: Some(Duration::from_secs(10)),
        ..config
    }
}

fn policy(config: &PolicyConfig) -> Result<Operation, Box<dyn Error>> {
    Operation::new(|| -> Result<MakeWork, _> {
        let policy = Policy::new(config.clone())?;
        Ok(repeated(move || {
            let policy = policy.clone();
            move || call(&policy)
        }))
    })
}

fn call(policy: &Policy) {
    let call = pin!(policy.call(|| ready(Ok::<_, ()>(black_box(7)))));
    let answer = call.poll(&mut Context::from_waker(Waker::noop()));
    black_box(answer.is_ready());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_goes_well_at_once_through_all_stages() {
        let policy = Policy::new(limits(rate(gates()))).unwrap();
        let call = pin!(policy.call(|| ready(Ok::<_, ()>(7))));
        let answer = call.poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(answer, std::task::Poll::Ready(Ok(7)));
    }
}
