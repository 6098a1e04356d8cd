//! Everything around one call, from settings, through a bad day of the stock service. Time is paused: it
//! ends at once.
#![cfg_attr(
    not(test),
    expect(
        clippy::print_stdout,
        missing_docs,
        reason = "an example shows something"
    )
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::future::{pending, ready};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oneiric_resilience::{Policy, PolicyEvent, TokioClock};
use tokio::time::sleep;

const SETTINGS: &str = "
    deadline_ms = 2000
    attempt_limit_ms = 600
    retry = { attempts = 3, backoff = { min_ms = 50 }, budget = { capacity = 10, min_per_sec = 0.0 } }
    breaker = { window = { calls = 100 }, min_calls = 20, failure_percent = 50.0 }
    bulkhead = { limit = 20, max_waiters = 20 }
    bulkhead_wait_ms = 30
";

/// How often what happened; in a program these are counters of its metrics.
#[derive(Default)]
struct Counts(Mutex<BTreeMap<String, u32>>);

impl Counts {
    fn count(&self, event: &PolicyEvent) {
        let what = match event {
            PolicyEvent::Rejected { rejected, .. } => format!("refused: {}", rejected.code()),
            PolicyEvent::TimedOut { limit } => format!("attempts cut off after {limit:?}"),
            PolicyEvent::Retrying { .. } => "retries".to_owned(),
            PolicyEvent::GaveUp { why, .. } => format!("given up: {}", why.as_str()),
            other => format!("{other:?}"),
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(what).or_default() += 1;
    }

    fn tell(&self) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (what, count) in std::mem::take(&mut *counts) {
            println!("  {count} {what}");
        }
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
pub async fn main() -> Result<(), Box<dyn Error>> {
    let counts = Arc::new(Counts::default());
    let counted = Arc::clone(&counts);
    let policy = Policy::builder_with_clock(toml::from_str(SETTINGS)?, TokioClock::new())
        .name("stock")
        .observer(move |event: &PolicyEvent| counted.count(event))
        .build()?;
    println!("from the outside in: {:?}", policy.order());

    println!("a connection is reset");
    let mut answers = [Err("reset"), Ok(12)].into_iter();
    let call = policy.call(|| ready(answers.next().unwrap_or(Err("no more"))));
    println!("  {:?}", call.await);
    counts.tell();

    println!("one answer does not come");
    let call = policy.call(pending::<Result<u32, &str>>);
    println!("  {:?}", call.await);
    counts.tell();

    println!("the service is down, for 200 calls");
    for _ in 0..200 {
        let call = policy.call(|| ready(Err::<u32, _>("connection refused")));
        call.await.expect_err("it is down");
    }
    counts.tell();

    println!("ten seconds later it is back");
    sleep(Duration::from_secs(10)).await;
    for _ in 0..2 {
        let call = policy.call(|| ready(Ok::<_, &str>(12)));
        println!("  {:?}", call.await);
    }
    println!(
        "  the breaker is {}",
        policy
            .snapshot()
            .breaker
            .map_or("not there", |b| b.state.as_str())
    );
    Ok(())
}
