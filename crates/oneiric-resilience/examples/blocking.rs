//! A retry in a program without a runtime, and the test of one: nobody sleeps there.
#![cfg_attr(
    not(test),
    expect(
        clippy::print_stdout,
        missing_docs,
        reason = "an example shows something"
    )
)]

use std::error::Error;
use std::io;
use std::time::Duration;

use oneiric_resilience::{
    BackoffConfig, Clock, ManualClock, Moment, Retry, RetryConfig, SeededJitter,
};

pub fn main() -> Result<(), Box<dyn Error>> {
    let retry = Retry::new(RetryConfig {
        backoff: BackoffConfig::exponential(Duration::from_millis(50), Duration::from_secs(1)),
        ..RetryConfig::default()
    })?;

    // A program: between attempts its thread sleeps.
    let length = retry.run(|| "12".parse::<u32>());
    println!("{length:?}");

    // A test: a clock is moved instead, and the waits are the same each time.
    let clock = ManualClock::new();
    let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
    let mut answers = [Err(reset()), Err(reset()), Ok(12)].into_iter();
    let stock = retry.run_with(
        clock.clone(),
        |wait| clock.advance(wait),
        SeededJitter::new(7),
        || answers.next().unwrap_or_else(|| Err(reset())),
    )?;
    let took = clock.now().since(Moment::ORIGIN);
    println!("{stock} after {took:.0?}");
    Ok(())
}
