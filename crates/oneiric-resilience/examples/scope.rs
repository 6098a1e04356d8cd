//! Several uploads that stand or fall together, and what is undone when they fall. Time is paused.
#![cfg_attr(
    not(test),
    expect(
        clippy::print_stdout,
        missing_docs,
        reason = "an example shows something"
    )
)]

use std::time::Duration;

use oneiric_resilience::{Cleanup, Shields, scope, timeout, timeout_with_cleanup};
use tokio::time::sleep;

/// Says when it is dropped: with its result or without.
struct Upload(&'static str);

impl Drop for Upload {
    fn drop(&mut self) {
        println!("  {}: its connection is closed", self.0);
    }
}

/// Copies a file to a mirror.
async fn upload(mirror: &'static str, takes: u64, works: bool) -> Result<u64, String> {
    let _connection = Upload(mirror);
    sleep(Duration::from_millis(takes)).await;
    println!("  {mirror}: {}", if works { "done" } else { "disk full" });
    works.then_some(takes).ok_or(format!("{mirror}: disk full"))
}

/// Copies a file to all mirrors at once, or to none.
async fn publish(second_works: bool) -> Result<u64, String> {
    scope(async |s| {
        let first = s.spawn(upload("first mirror", 100, true));
        let second = s.spawn(upload("second mirror", 200, second_works));
        let third = s.spawn(upload("third mirror", 300, true));
        Ok(first.await + second.await + third.await)
    })
    .await
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
pub async fn main() {
    let shields = Shields::new();
    // What takes the copies away again, however publishing ends, unless it succeeds.
    let withdraw = || {
        let undo = async || {
            sleep(Duration::from_millis(50)).await;
            println!("  clean-up: all copies are withdrawn");
            Ok::<(), String>(())
        };
        Cleanup::within(Duration::from_secs(5), undo).counted_by(&shields)
    };

    println!("all mirrors work");
    let limit = Duration::from_secs(1);
    let published = timeout_with_cleanup(limit, publish(true), withdraw()).await;
    println!("  {published:?}");

    println!("the second does not");
    let failed = timeout_with_cleanup(limit, publish(false), withdraw()).await;
    println!("  {:?}", failed.map_err(|failed| failed.error));

    println!("the caller goes away after 150 ms");
    let call = timeout_with_cleanup(limit, publish(true), withdraw());
    let gone = timeout(Duration::from_millis(150), call).await;
    println!("  {:?}", gone.map(|_| "answered"));

    println!("the program stops; clean-ups under way: {}", shields.len());
    let unfinished = shields.wait(Duration::from_secs(10)).await;
    println!("  left unfinished: {unfinished}");
}
