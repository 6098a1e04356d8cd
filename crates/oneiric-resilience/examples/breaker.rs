//! A stock service that goes down and comes back, seen through a breaker. Time is a clock in the
//! program's hand: half a minute passes at once.
#![cfg_attr(
    not(test),
    expect(
        clippy::print_stdout,
        missing_docs,
        reason = "an example shows something"
    )
)]

use std::time::Duration;

use oneiric_resilience::{
    BackoffConfig, Breaker, BreakerConfig, BreakerControl, BreakerTransition, BreakerWindow, Clock,
    Error, InvalidConfig, ManualClock, Moment, Outcome,
};

fn seconds(at: Moment) -> u64 {
    at.since(Moment::ORIGIN).as_secs()
}

/// Down from the 4th second to the 17th, and asks for patience in the 25th.
fn stock(second: u64) -> Result<u32, &'static str> {
    match second {
        4..=17 => Err("connection refused"),
        25 => Err("503, come back in 3 s"),
        _ => Ok(12),
    }
}

fn judge(result: &Result<u32, &'static str>) -> Outcome {
    match result {
        Ok(_) => Outcome::Success,
        Err(error) if error.starts_with("503") => Outcome::Overloaded {
            retry_after: Duration::from_secs(3),
        },
        Err(_) => Outcome::Failure,
    }
}

fn report(change: &BreakerTransition) {
    let BreakerTransition { from, to, why, .. } = change;
    println!("{:>2} s  {from} -> {to} ({why})", seconds(change.at));
}

pub fn main() -> Result<(), InvalidConfig> {
    let clock = ManualClock::new();
    let control = BreakerControl::new();
    let breaker = Breaker::builder(BreakerConfig {
        window: BreakerWindow::Calls(6),
        min_calls: 4,
        failure_percent: 50.0,
        // Without jitter here, to be the same each time.
        open: BackoffConfig {
            jitter: oneiric_resilience::BackoffJitter::None,
            ..BackoffConfig::exponential(Duration::from_secs(4), Duration::from_secs(30))
        },
        // One is enough for an example.
        probes: 1,
        ..BreakerConfig::default()
    })
    .name("stock")
    .clock(clock.clone())
    .observer(report)
    .control(&control)
    .build()?;

    let (mut answers, mut failures, mut refused) = (0, 0, 0);
    for _ in 0..30 {
        clock.advance(Duration::from_secs(1));
        let second = seconds(clock.now());
        match breaker.call_with(&judge, || stock(second)) {
            Ok(_) => answers += 1,
            Err(Error::Rejected(rejected)) => {
                refused += 1;
                println!("{second:>2} s    refused: {rejected}");
            }
            Err(_) => failures += 1,
        }
    }
    println!("{answers} answers, {failures} failures, {refused} refused at once");

    control.force_open();
    let refused = breaker.call(|| stock(31));
    println!("by hand: {:?}", refused.map_err(|error| error.code()));
    control.release();
    println!("released: {:?}", breaker.call(|| stock(31)));
    Ok(())
}
