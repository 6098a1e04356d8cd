//! A slow dependency gets two places and a short queue, and no more. Time is paused: it ends at once.
#![cfg_attr(
    not(test),
    expect(
        clippy::print_stdout,
        missing_docs,
        reason = "an example shows something"
    )
)]

use std::error::Error;
use std::time::Duration;

use oneiric_resilience::{Bulkhead, BulkheadConfig, TokioClock};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// A request that needs the dependency, which takes 100 ms for each.
async fn request(name: &str, bulkhead: Bulkhead<TokioClock>, patience: Duration) {
    let began = Instant::now();
    match bulkhead.enter_within(patience).await {
        Ok(permit) => {
            let waited = began.elapsed();
            sleep(Duration::from_millis(100)).await;
            drop(permit);
            println!("{name}: served, waited {waited:?}");
        }
        Err(rejected) => {
            println!("{name}: {} after {:?}", rejected.code(), began.elapsed());
        }
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
pub async fn main() -> Result<(), Box<dyn Error>> {
    let config = BulkheadConfig {
        limit: 2,
        max_waiters: 3,
        shed: true,
        ..BulkheadConfig::default()
    };
    let bulkhead = Bulkhead::with_clock(config, TokioClock::new())?;

    println!("six at once");
    let mut all = JoinSet::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        all.spawn(request(name, bulkhead.clone(), Duration::from_secs(2)));
    }
    all.join_all().await;

    println!("two who stay, one in a hurry, one who is not");
    let mut all = JoinSet::new();
    for (name, patience) in [("g", 2_000), ("h", 2_000), ("i", 30), ("j", 2_000)] {
        let patience = Duration::from_millis(patience);
        all.spawn(request(name, bulkhead.clone(), patience));
    }
    all.join_all().await;
    println!("{:?}", bulkhead.snapshot());
    Ok(())
}
