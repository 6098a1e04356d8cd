//! The circuit breaker.

mod by_hand;
mod by_time;
mod calls;
mod promises;
mod settings;
mod vectors;

use std::time::Duration;

use oneiric_resilience::{
    BackoffConfig, Breaker, BreakerConfig, BreakerWindow, Error, ManualClock, Outcome,
};

const SECOND: Duration = Duration::from_secs(1);

/// Opens after so many failures in a row, for a second.
fn after_failures_in_a_row(failures: u32) -> BreakerConfig {
    BreakerConfig {
        window: BreakerWindow::Consecutive(failures),
        open: BackoffConfig::constant(SECOND),
        probes: 1,
        ..BreakerConfig::default()
    }
}

fn with_clock(config: BreakerConfig) -> (Breaker<ManualClock>, ManualClock) {
    let clock = ManualClock::new();
    let breaker = Breaker::with_clock(config, clock.clone()).unwrap();
    (breaker, clock)
}

/// A call that ends so; whether it was made.
fn call(breaker: &Breaker<ManualClock>, outcome: Outcome) -> bool {
    let made = breaker.call_with(&|_: &Result<(), ()>| outcome, || Ok(()));
    !matches!(made, Err(Error::Rejected(_)))
}
