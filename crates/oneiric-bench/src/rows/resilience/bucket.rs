//! A token taken from a bucket that has enough, and from one that has none.

use std::error::Error;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::{DefaultDirectRateLimiter, Quota};
use oneiric_resilience::{TokenBucket, TokenBucketConfig};

use crate::row::{Contest, Contestant, Goal, MakeWork, Operation, Row, repeated};
use crate::rows::control;

pub(in crate::rows) const NAME: &str = "resilience-bucket";
pub(in crate::rows) const REFUSED: &str = "resilience-bucket-refused";

/// So many tokens at once and a second that no machine uses them up.
pub(super) const PLENTY: u32 = 1_000_000_000;

pub(in crate::rows) fn row() -> Result<Row, Box<dyn Error>> {
    let goal = |threads, at_most| Goal::Ratio {
        threads,
        at_most,
        stretch: None,
    };
    Ok(Row {
        name: NAME,
        title: "Token bucket: take one of many",
        note: "All threads share the bucket, which never runs empty. Both read the processor's time \
               stamp counter through quanta.",
        contest: Contest::Operations(vec![
            control::increments()?,
            Contestant::peer("governor, direct: `check`", governor(plenty())?),
            Contestant::ours("`TokenBucket::try_take`", ours(PLENTY, f64::from(PLENTY))?)
                .goal(goal(1, 1.0))
                .goal(goal(2, 0.85)),
        ]),
    })
}

pub(in crate::rows) fn refused_row() -> Result<Row, Box<dyn Error>> {
    let hourly = Quota::per_hour(NonZeroU32::MIN);
    Ok(Row {
        name: REFUSED,
        title: "Token bucket: be refused",
        note: "One token an hour. The row has no goal of its own.",
        contest: Contest::Operations(vec![
            control::increments()?,
            Contestant::peer("governor, direct: `check`", governor(hourly)?),
            Contestant::ours("`TokenBucket::try_take`", ours(1, 1.0 / 3_600.0)?),
        ]),
    })
}

pub(super) fn plenty() -> Quota {
    let many = NonZeroU32::new(PLENTY).unwrap_or(NonZeroU32::MAX);
    Quota::per_second(many)
}

fn governor(quota: Quota) -> Result<Operation, Box<dyn Error>> {
    Operation::new(|| -> Result<MakeWork, _> {
        let limiter = Arc::new(DefaultDirectRateLimiter::direct(quota));
        Ok(repeated(move || {
            let limiter = Arc::clone(&limiter);
            move || {
                black_box(limiter.check().is_ok());
            }
        }))
    })
}

fn ours(capacity: u32, refill_per_sec: f64) -> Result<Operation, Box<dyn Error>> {
    Operation::new(|| -> Result<MakeWork, _> {
        let bucket = TokenBucket::new(TokenBucketConfig {
            capacity,
            refill_per_sec,
            max_waiters: 0,
        })?;
        Ok(repeated(move || {
            let bucket = bucket.clone();
            move || {
                black_box(bucket.try_take(1).is_ok());
            }
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_enough_where_there_should_be_and_nothing_where_not() {
        let config = |capacity, refill_per_sec| TokenBucketConfig {
            capacity,
            refill_per_sec,
            max_waiters: 0,
        };
        let many = TokenBucket::new(config(PLENTY, f64::from(PLENTY))).unwrap();
        assert!((0..1_000).all(|_| many.try_take(1).is_ok()));
        let one = TokenBucket::new(config(1, 1.0 / 3_600.0)).unwrap();
        assert!(one.try_take(1).is_ok() && one.try_take(1).is_err());
    }
}
