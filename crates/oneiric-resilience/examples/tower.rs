//! A client as a stack of tower layers, on a good day and on a bad one. Time is paused: it ends at once.
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

use oneiric_resilience::layers::{
    BreakerLayer, BulkheadLayer, DeadlineLayer, InnerLayer, RetryLayer, TimeoutLayer,
};
use oneiric_resilience::{
    BackoffConfig, Breaker, BreakerConfig, BreakerWindow, Bulkhead, BulkheadConfig, Retry,
    RetryConfig, TokioClock,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// The service that is called: each item takes as many milliseconds as its number says.
async fn stock(item: u64) -> Result<u64, &'static str> {
    sleep(Duration::from_millis(item)).await;
    match item {
        13 => Err("connection reset"),
        _ => Ok(item * 2),
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
pub async fn main() -> Result<(), Box<dyn Error>> {
    let clock = TokioClock::new();
    let breaker = Breaker::with_clock(
        BreakerConfig {
            window: BreakerWindow::Consecutive(5),
            ..BreakerConfig::default()
        },
        clock.clone(),
    )?;
    let two_at_once = BulkheadConfig {
        limit: 2,
        ..BulkheadConfig::default()
    };
    let bulkhead = Bulkhead::with_clock(two_at_once, clock)?;
    let retry = Retry::new(RetryConfig {
        attempts: 2,
        backoff: BackoffConfig::constant(Duration::from_millis(10)),
        ..RetryConfig::default()
    })?;

    // From the outside in.
    let client = ServiceBuilder::new()
        .layer(DeadlineLayer::new(Duration::from_secs(2)))
        .layer(RetryLayer::new(retry))
        .layer(BreakerLayer::new(breaker.clone()))
        .layer(BulkheadLayer::new(bulkhead))
        .layer(TimeoutLayer::new(Duration::from_millis(600)))
        .layer(InnerLayer)
        .service(service_fn(stock));

    println!("four at once, of which two can run");
    let began = Instant::now();
    let mut calls = JoinSet::new();
    for item in [100, 101, 102, 103] {
        let client = client.clone();
        calls.spawn(async move { (item, client.oneshot(item).await) });
    }
    while let Some(ended) = calls.join_next().await {
        let (item, answer) = ended?;
        println!("  {item}: {answer:?} after {:?}", began.elapsed());
    }

    println!("one that fails, one that hangs, and one more");
    for item in [13, 60_000, 13] {
        let began = Instant::now();
        match client.clone().oneshot(item).await {
            Ok(stock) => println!("  {item}: {stock}"),
            Err(error) => {
                let said = error.code().or(error.into_inner()).unwrap_or_default();
                println!("  {item}: {error} ({said}), after {:?}", began.elapsed());
            }
        }
    }
    println!("the breaker is {}", breaker.state());
    Ok(())
}
