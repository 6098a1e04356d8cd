//! A call through a closed breaker: what it costs while nothing is wrong, and whether that depends on how
//! many calls are remembered.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use failsafe::CircuitBreaker as _;
use oneiric_resilience::{
    Breaker, BreakerConfig, BreakerWindow, Clock, Moment, Outcome, SystemClock,
};
use recloser::Recloser;

use crate::row::{Contest, Contestant, Goal, MakeWork, Operation, Row, repeated};
use crate::rows::control;

pub(in crate::rows) const NAME: &str = "resilience-breaker";
pub(in crate::rows) const OPEN: &str = "resilience-breaker-open";
pub(in crate::rows) const FULL: &str = "resilience-breaker-full";

const COUNT: BreakerWindow = BreakerWindow::Calls(100);
const LENGTH: Duration = Duration::from_secs(10);
const TIME: BreakerWindow = BreakerWindow::Time {
    length: LENGTH,
    buckets: 10,
};

pub(in crate::rows) fn row() -> Result<Row, Box<dyn Error>> {
    Ok(Row {
        name: NAME,
        title: "A call that succeeds, through a closed breaker",
        note: "The call does nothing. All judge by half of the last 100 calls, except where they \
               cannot: ours by time by those of ten seconds, failsafe and ours in a row by five \
               failures in a row.",
        contest: Contest::Operations(vec![
            control::increments()?,
            Contestant::peer("`failsafe`, in a row", Operation::new(failsafe)?),
            Contestant::ours(
                "`Breaker::call`, in a row",
                ours(BreakerWindow::Consecutive(5))?,
            ),
            Contestant::peer("`recloser`, by count", Operation::new(recloser)?),
            Contestant::ours("`Breaker::call`, by count", ours(COUNT)?).goal(at_most(0.4)),
            Contestant::ours("`Breaker::call`, by time", ours(TIME)?).goal(at_most(0.5)),
            Contestant::ours("`Breaker::permit`, by count", Operation::new(permits)?),
        ]),
    })
}

fn at_most(at_most: f64) -> Goal {
    Goal::Ratio {
        threads: 1,
        at_most,
        stretch: None,
    }
}

fn breaker(window: BreakerWindow) -> Result<Breaker<SystemClock>, Box<dyn Error>> {
    Ok(Breaker::new(BreakerConfig {
        window,
        ..BreakerConfig::default()
    })?)
}

fn ours(window: BreakerWindow) -> Result<Operation, Box<dyn Error>> {
    Operation::new(|| {
        let breaker = breaker(window)?;
        Ok(repeated(move || {
            let breaker = breaker.clone();
            move || {
                black_box(breaker.call(|| black_box(Ok::<_, ()>(()))).is_ok());
            }
        }))
    })
}

fn permits() -> Result<MakeWork, Box<dyn Error>> {
    let breaker = breaker(COUNT)?;
    Ok(repeated(move || {
        let breaker = breaker.clone();
        move || {
            if let Ok(permit) = breaker.permit() {
                black_box(permit).record(Outcome::Success);
            }
        }
    }))
}

#[expect(clippy::unnecessary_wraps, reason = "set up as the others are")]
fn recloser() -> Result<MakeWork, Box<dyn Error>> {
    let breaker = Arc::new(Recloser::custom().error_rate(0.5).closed_len(100).build());
    Ok(repeated(move || {
        let breaker = Arc::clone(&breaker);
        move || {
            black_box(breaker.call(|| black_box(Ok::<_, ()>(()))).is_ok());
        }
    }))
}

#[expect(clippy::unnecessary_wraps, reason = "set up as the others are")]
fn failsafe() -> Result<MakeWork, Box<dyn Error>> {
    let wait = failsafe::backoff::constant(Duration::from_secs(5));
    let policy = failsafe::failure_policy::consecutive_failures(5, wait);
    let breaker = failsafe::Config::new().failure_policy(policy).build();
    Ok(repeated(move || {
        let breaker = breaker.clone();
        move || {
            black_box(breaker.call(|| black_box(Ok::<_, ()>(()))).is_ok());
        }
    }))
}

pub(in crate::rows) fn open_row() -> Result<Row, Box<dyn Error>> {
    let ours = Operation::new(|| {
        let breaker = breaker(BreakerWindow::Consecutive(1))?;
        // For long enough.
        let retry_after = Duration::from_secs(300);
        breaker
            .permit()?
            .record(Outcome::Overloaded { retry_after });
        Ok(repeated(move || {
            let breaker = breaker.clone();
            move || {
                black_box(breaker.call(|| black_box(Ok::<_, ()>(()))).is_ok());
            }
        }))
    })?;
    let peer = Operation::new(|| {
        let open = Recloser::custom()
            .closed_len(1)
            .open_wait(Duration::from_secs(300));
        let breaker = Arc::new(open.build());
        for _ in 0..2 {
            black_box(breaker.call(|| Err::<(), _>(())).is_ok());
        }
        Ok(repeated(move || {
            let breaker = Arc::clone(&breaker);
            move || {
                black_box(breaker.call(|| black_box(Ok::<_, ()>(()))).is_ok());
            }
        }))
    })?;
    Ok(Row {
        name: OPEN,
        title: "A call that an open breaker does not let through",
        note: "Both look at the clock. Ours counts the call, and tells it when to come back.",
        contest: Contest::Operations(vec![
            control::increments()?,
            Contestant::peer("`recloser`", peer),
            Contestant::ours("`Breaker::call`", ours),
        ]),
    })
}

pub(in crate::rows) fn full_row() -> Result<Row, Box<dyn Error>> {
    Ok(Row {
        name: FULL,
        title: "A call through a breaker by time, with few calls in the window and with 50,000",
        note: "The clock moves on by as much each time it is read that there are so many calls in the \
               window, and never more. Calls that succeed read it once in 32 times, those that fail \
               each time. The breaker only watches, so that failures do not open it.",
        contest: Contest::Operations(vec![
            control::increments()?,
            Contestant::peer("success, 1,600 calls", stepped(Ok(()), 50)?),
            Contestant::ours("success, 50,000 calls", stepped(Ok(()), 1_563)?).goal(at_most(1.1)),
            Contestant::peer("failure, 1 call", stepped(Err(()), 1)?),
            Contestant::ours("failure, 50,000 calls", stepped(Err(()), 50_000)?).goal(at_most(1.1)),
        ]),
    })
}

/// A breaker whose clock is read so often before a call is forgotten.
fn stepped(result: Result<(), ()>, readings: u32) -> Result<Operation, Box<dyn Error>> {
    Operation::new(|| {
        let config = BreakerConfig {
            window: TIME,
            ..BreakerConfig::default()
        };
        let step = LENGTH / readings;
        let breaker = Breaker::with_clock(config, Steps::of(step))?;
        breaker.control().metrics_only();
        for _ in 0..50_000 {
            black_box(breaker.call(|| result).is_ok());
        }
        Ok(repeated(move || {
            let breaker = breaker.clone();
            move || {
                black_box(breaker.call(|| black_box(result)).is_ok());
            }
        }))
    })
}

/// A clock that moves on when it is read.
#[derive(Debug)]
struct Steps {
    now: AtomicU64,
    step: u64,
}

impl Steps {
    fn of(step: Duration) -> Self {
        Self {
            now: AtomicU64::new(0),
            step: u64::try_from(step.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

impl Clock for Steps {
    fn now(&self) -> Moment {
        Moment::from_nanos(self.now.fetch_add(self.step, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_keep_so_many_calls_in_the_window() {
        for (readings, result, calls) in [
            (50, Ok::<_, ()>(()), 1_400..=1_600),
            (1_563, Ok(()), 45_000..=50_100),
        ] {
            let config = BreakerConfig {
                window: TIME,
                ..BreakerConfig::default()
            };
            let breaker = Breaker::with_clock(config, Steps::of(LENGTH / readings)).unwrap();
            for _ in 0..200_000 {
                black_box(breaker.call(|| result).is_ok());
            }
            let counted = breaker.snapshot().calls;
            assert!(calls.contains(&counted), "{counted} calls");
        }
    }
}
