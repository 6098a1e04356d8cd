//! A call that fails in different ways, and an outage that a budget keeps from being made worse. Time is
//! paused: it ends at once.
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

use oneiric_resilience::{
    Outcome, Retry, RetryBudgetConfig, RetryConfig, RetryEvent, RetryStep, SeededJitter,
    TokioClock, TokioSleep,
};

#[derive(Debug, Clone, Copy)]
enum Fault {
    ConnectionReset,
    NoSuchItem,
    /// With `Retry-After`.
    Busy(Duration),
}

/// What an answer says about the stock service, and whether asking again may help.
fn judge(result: &Result<u32, Fault>) -> Outcome {
    match *result {
        Ok(_) => Outcome::Success,
        Err(Fault::ConnectionReset) => Outcome::Failure,
        Err(Fault::NoSuchItem) => Outcome::Ignored,
        Err(Fault::Busy(retry_after)) => Outcome::Overloaded { retry_after },
    }
}

fn report(event: &RetryEvent<'_, Fault>) {
    let attempt = event.attempt;
    match event.step {
        RetryStep::Wait(wait) => println!("  attempt {attempt} failed, again in {wait:.0?}"),
        RetryStep::GiveUp(why) => println!("  attempt {attempt} failed, no more: {}", why.as_str()),
        RetryStep::Done => println!("  attempt {attempt} has an answer"),
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
pub async fn main() -> Result<(), Box<dyn Error>> {
    let retry = Retry::new(RetryConfig {
        attempts: 3,
        attempt_limit: Some(Duration::from_millis(600)),
        total_limit: Some(Duration::from_secs(2)),
        budget: Some(RetryBudgetConfig {
            capacity: 20,
            min_per_sec: 0.0,
            ..RetryBudgetConfig::default()
        }),
        ..RetryConfig::default()
    })?
    .classify(judge);
    // A program says `retry.run_async(call)`: the same, with real chance.
    let chance = SeededJitter::new(7);

    let asked_for = Duration::from_millis(500);
    for answers in [
        vec![Err(Fault::ConnectionReset), Ok(12)],
        vec![Err(Fault::Busy(asked_for)), Ok(12)],
        vec![Err(Fault::Busy(asked_for * 10)), Ok(12)],
        vec![Err(Fault::NoSuchItem), Ok(12)],
        vec![Err(Fault::ConnectionReset); 3],
    ] {
        println!("{answers:?}");
        let mut answers = answers.into_iter();
        let call = || std::future::ready(answers.next().expect("no more attempts than that"));
        let retry = retry.clone().hook(report);
        let answer = retry.run_async_with(TokioClock::new(), TokioSleep, chance.clone(), call);
        println!("  {:?}", answer.await);
    }

    println!("an outage");
    let mut attempts = 0;
    for _ in 0..200 {
        let call = || {
            attempts += 1;
            std::future::ready(Err(Fault::ConnectionReset))
        };
        retry.run_async(call).await.expect_err("it is an outage");
    }
    println!("  200 calls made {attempts} attempts, not 600");
    Ok(())
}
