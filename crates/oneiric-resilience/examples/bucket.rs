//! Mails at a steady rate, and a limit for each client of an API. Time is a clock in the program's hand.
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
    KeyedBuckets, KeyedBucketsConfig, ManualClock, TokenBucket, TokenBucketConfig,
};

pub fn main() -> Result<(), Box<dyn Error>> {
    let clock = ManualClock::new();
    // Two a second, and up to five at once after a quiet time.
    let mails = TokenBucket::with_clock(
        TokenBucketConfig {
            capacity: 5,
            refill_per_sec: 2.0,
            max_waiters: 100,
        },
        clock.clone(),
    )?;

    println!("a burst of seven");
    for mail in 1..=7 {
        match mails.try_take(1) {
            Ok(()) => println!("  mail {mail} goes"),
            Err(rejected) => println!("  mail {mail}: {rejected}"),
        }
    }
    clock.advance(Duration::from_millis(500));
    println!("half a second later: {:?}", mails.try_take(1));

    println!("a newsletter costs as much as it has readers");
    for readers in [3, 50] {
        match mails.try_take(readers) {
            Ok(()) => println!("  {readers} readers: goes"),
            Err(rejected) => println!("  {readers} readers: {} ({})", rejected, rejected.code()),
        }
    }

    println!("two are planned ahead");
    let first = mails.reserve(2, Duration::from_secs(10))?;
    let second = mails.reserve(2, Duration::from_secs(10))?;
    println!("  in {:?} and {:?}", first.remaining(), second.remaining());
    drop(first);
    println!(
        "  the first is called off; the second in {:?}",
        second.remaining()
    );

    mails.set_rate(5, 20.0)?;
    println!("ten times as fast from now on: in {:?}", second.remaining());

    println!("each client of an API has its own, and two are kept apart");
    let clients = KeyedBuckets::<String, _>::with_clock(
        KeyedBucketsConfig {
            capacity: 3,
            refill_per_sec: 1.0,
            max_keys: 2,
            ..KeyedBucketsConfig::default()
        },
        clock.clone(),
    )?;
    for (client, calls) in [("ann", 2), ("ann", 2), ("ben", 3), ("cem", 1)] {
        let asked = clients.try_take(client, calls).map_err(|no| no.to_string());
        println!("  {client} asks for {calls}: {asked:?}");
    }
    clock.advance(Duration::from_secs(2));
    println!("  two seconds later, cem: {:?}", clients.try_take("cem", 1));
    Ok(())
}
