//! A call that succeeds at the first attempt, with all that would have tried it again around it: what
//! nearly every call pays for the few that need it.

use std::error::Error;
use std::hint::black_box;
use std::time::Duration;

use backon::{BlockingRetryable, ExponentialBuilder, Retryable};
use oneiric_resilience::{BackoffConfig, BackoffJitter, Retry, RetryBudgetConfig, RetryConfig};
use tokio::runtime::Builder;

use crate::row::{Contest, Contestant, Goal, MakeWork, Operation, Row, repeated};
use crate::rows::control;

pub(in crate::rows) const NAME: &str = "resilience-retry";
pub(in crate::rows) const SYNC: &str = "resilience-retry-sync";

const MIN: Duration = Duration::from_millis(100);
const MAX: Duration = Duration::from_secs(30);

async fn call() -> Result<u64, u32> {
    Ok(black_box(7))
}

fn blocking_call() -> Result<u64, u32> {
    Ok(black_box(7))
}

/// Constants, which suit the peer best: it makes its state anew for each call.
const BACKON: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(MIN)
    .with_max_delay(MAX)
    .with_max_times(2);
const BACKON_JITTER: ExponentialBuilder = BACKON.with_jitter();

fn ours(more: impl Fn(&mut RetryConfig)) -> Result<Retry, Box<dyn Error>> {
    let mut config = RetryConfig {
        attempts: 3,
        backoff: BackoffConfig::exponential(MIN, MAX),
        // As the peer, which has none.
        budget: None,
        ..RetryConfig::default()
    };
    more(&mut config);
    Ok(Retry::new(config)?)
}

/// Awaits a call again and again, in one task on a runtime of the thread's own.
pub(super) fn awaited<A, T>(set_up: impl Fn() -> A + Send + Sync + 'static) -> MakeWork
where
    A: AsyncFn() -> T + 'static,
{
    Box::new(move || {
        let operation = set_up();
        let runtime = Builder::new_current_thread().enable_time().build();
        Box::new(move |times| {
            let all = async {
                for _ in 0..times {
                    black_box(operation().await);
                }
            };
            if let Ok(runtime) = &runtime {
                runtime.block_on(all);
            }
        })
    })
}

pub(in crate::rows) fn row() -> Result<Row, Box<dyn Error>> {
    let run = |more: fn(&mut RetryConfig)| {
        Operation::new(move || {
            let retry = ours(more)?;
            Ok(awaited(move || {
                let retry = retry.clone();
                async move || retry.run_async(call).await
            }))
        })
    };
    let peer = Operation::new(|| Ok(awaited(|| async || call.retry(BACKON).await)))?;
    let peer_jitter = Operation::new(|| Ok(awaited(|| async || call.retry(BACKON_JITTER).await)))?;
    let bare = Operation::new(|| Ok(awaited(|| async || call().await)))?;
    let goal = || Goal::Ratio {
        threads: 1,
        at_most: 0.6,
        stretch: None,
    };
    let no_jitter = |config: &mut RetryConfig| config.backoff.jitter = BackoffJitter::None;
    let budget = |config: &mut RetryConfig| config.budget = Some(RetryBudgetConfig::default());
    let limits = |config: &mut RetryConfig| {
        config.total_limit = Some(Duration::from_secs(60));
        config.attempt_limit = Some(Duration::from_secs(10));
    };
    Ok(Row {
        name: NAME,
        title: "Retry around an asynchronous call that succeeds at once",
        note: "Three attempts, exponential from 100 ms to 30 s; awaited within one task on a \
               current-thread runtime. Time limits cost a look at the clock.",
        contest: Contest::Operations(vec![
            control::increments()?,
            Contestant::control("control: the call itself", bare),
            Contestant::peer("backon, jitter", peer_jitter),
            Contestant::ours("`Retry::run_async`, jitter", run(|_| ())?).goal(goal()),
            Contestant::ours("the same with a budget", run(budget)?),
            Contestant::ours("the same with both time limits", run(limits)?),
            Contestant::peer("backon, no jitter", peer),
            Contestant::ours("`Retry::run_async`, no jitter", run(no_jitter)?).goal(goal()),
        ]),
    })
}

pub(in crate::rows) fn sync_row() -> Result<Row, Box<dyn Error>> {
    let ours = Operation::new(|| {
        let retry = ours(|_| ())?;
        Ok(repeated(move || {
            let retry = retry.clone();
            move || {
                let _answer = black_box(black_box(&retry).run(blocking_call));
            }
        }))
    })?;
    let peer = Operation::new(|| {
        Ok(repeated(|| {
            || {
                let call = blocking_call.retry(BACKON).sleep(std::thread::sleep);
                let _answer = black_box(call.call());
            }
        }))
    })?;
    Ok(Row {
        name: SYNC,
        title: "Retry around a blocking call that succeeds at once",
        note: "The row has no goal: there is hardly anything to measure.",
        contest: Contest::Operations(vec![
            control::increments()?,
            Contestant::peer("backon, no jitter", peer),
            Contestant::ours("`Retry::run`", ours),
        ]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_answer() {
        let retry = ours(|_| ()).unwrap();
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            assert_eq!(retry.run_async(call).await, Ok(7));
            assert_eq!(call.retry(BACKON_JITTER).await, Ok(7));
        });
        assert_eq!(retry.run(blocking_call), Ok(7));
    }
}
