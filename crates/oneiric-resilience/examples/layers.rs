//! A tower service with layers around it: a client of a search index that is slow, then down, then back.
//! Time is paused: it ends at once.
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

use oneiric_resilience::layers::{FallbackLayer, PolicyLayer};
use oneiric_resilience::{
    BackoffConfig, BreakerConfig, BreakerWindow, BulkheadConfig, Error as Guarded, Fallback,
    Policy, PolicyConfig, RetryConfig, TokioClock,
};
use tokio::time::{Instant, advance, sleep};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

/// When the index answers how: it is well for a second, hangs for one, and then is down for two.
async fn search(began: Instant, words: &str) -> Result<String, std::io::Error> {
    match began.elapsed().as_secs() {
        1 => sleep(Duration::from_secs(9)).await,
        2 | 3 => return Err(std::io::ErrorKind::ConnectionRefused.into()),
        _ => {}
    }
    Ok(format!("three pages with \"{words}\""))
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
pub async fn main() -> Result<(), Box<dyn Error>> {
    let config = PolicyConfig {
        retry: Some(RetryConfig {
            attempts: 2,
            backoff: BackoffConfig::constant(Duration::from_millis(50)),
            ..RetryConfig::default()
        }),
        breaker: Some(BreakerConfig {
            window: BreakerWindow::Consecutive(3),
            open: BackoffConfig::constant(Duration::from_secs(2)),
            probes: 1,
            ..BreakerConfig::default()
        }),
        bulkhead: Some(BulkheadConfig::default()),
        bulkhead_wait: Duration::from_millis(100),
        attempt_limit: Some(Duration::from_millis(300)),
        ..PolicyConfig::default()
    };
    let policy = Policy::with_clock(config, TokioClock::new())?;
    // To search twice does no harm, so this also answers for an attempt that was refused after one that failed.
    let refused = |error: &Guarded<std::io::Error>| matches!(error, Guarded::Rejected(_));
    let nothing = Fallback::value("no pages, as search is away".to_owned()).when(refused);

    let began = Instant::now();
    let mut client = ServiceBuilder::new()
        .layer(FallbackLayer::new(nothing))
        .layer(PolicyLayer::new(policy))
        .service(service_fn(move |words| search(began, words)));

    for _ in 0..6 {
        let asked = began.elapsed();
        let answer = match client.ready().await?.call("circuit breaker").await {
            Ok(pages) => pages,
            Err(error) => match error.code() {
                Some(code) => format!("{error} ({code})"),
                None => format!("{error}"),
            },
        };
        println!("after {asked:?}: {answer}");
        advance(Duration::from_secs(1)).await;
    }
    Ok(())
}
