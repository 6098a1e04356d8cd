//! When calls are forgotten that waited for their bucket.

use std::time::Duration;

use oneiric_resilience::{Breaker, BreakerConfig, ManualClock, Outcome};

use super::{SECOND, call, with_clock};

const HALF: Duration = Duration::from_millis(500);

/// In one instant so many that from now on 32 wait for each other.
fn burst(breaker: &Breaker<ManualClock>) {
    for _ in 0..1 + 2 + 4 + 8 + 16 + 32 {
        call(breaker, Outcome::Success);
    }
}

fn calls_apart(breaker: &Breaker<ManualClock>, clock: &ManualClock, calls: u32) {
    for _ in 0..calls {
        clock.advance(HALF);
        call(breaker, Outcome::Success);
    }
}

#[test]
fn calls_that_waited_are_spread_over_the_time_they_waited() {
    let (breaker, clock) = with_clock(BreakerConfig::default());
    burst(&breaker);
    calls_apart(&breaker, &clock, 30);
    // Of half seconds 1 to 30, those from the 12th on; and nothing of the burst.
    assert_eq!(breaker.snapshot().calls, 19);
}

#[test]
fn once_calls_are_seen_to_come_slowly_each_is_dated_when_it_ends() {
    let (breaker, clock) = with_clock(BreakerConfig::default());
    burst(&breaker);
    clock.advance(20 * SECOND);
    assert_eq!(breaker.snapshot().calls, 0);
    calls_apart(&breaker, &clock, 12);
    clock.advance(6 * SECOND);
    // They came in the first six of twelve seconds; the first two and a half are over.
    assert_eq!(breaker.snapshot().calls, 7);
}
