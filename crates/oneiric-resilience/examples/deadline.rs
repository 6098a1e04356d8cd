//! One patience for a whole request, and a limit for each call in it. Time is paused: it ends at once.
#![cfg_attr(
    not(test),
    expect(
        clippy::print_stdout,
        missing_docs,
        reason = "an example shows something"
    )
)]

use std::time::Duration;

use oneiric_resilience::{Deadline, Elapsed, timeout};
use tokio::time::{Instant, sleep};

const ATTEMPT: Duration = Duration::from_millis(600);

/// Asks two replicas for a price, one after the other. Knows nothing of who asks, or how long they wait.
async fn price(replicas: [Duration; 2]) -> Result<&'static str, Elapsed> {
    let [first, second] = replicas;
    match timeout(ATTEMPT, ask(first)).await {
        Err(late @ Elapsed::TimedOut { .. }) => println!("  first replica: {late}"),
        told => return told,
    }
    timeout(ATTEMPT, ask(second)).await
}

async fn ask(takes: Duration) -> &'static str {
    let left = Deadline::current().map(Deadline::remaining);
    println!("  asking, with {:?} left", left.unwrap_or_default());
    sleep(takes).await;
    "9.90"
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
pub async fn main() {
    let (well, hangs) = (Duration::from_millis(40), Duration::from_secs(60));
    for (what, patience, replicas) in [
        ("all is well", 2_000, [well, well]),
        ("the first replica hangs", 2_000, [hangs, well]),
        (
            "so does the second, and the caller waits 1 s",
            1_000,
            [hangs, hangs],
        ),
    ] {
        println!("{what}");
        let began = Instant::now();
        let deadline = Deadline::within(Duration::from_millis(patience));
        let answer = deadline.scope(price(replicas)).await;
        match answer.map_err(Elapsed::from).flatten() {
            Ok(price) => println!("  {price} after {:?}", began.elapsed()),
            Err(elapsed) => println!(
                "  {elapsed} after {:?} ({})",
                began.elapsed(),
                elapsed.code()
            ),
        }
    }
}
