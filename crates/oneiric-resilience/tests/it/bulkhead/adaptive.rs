//! A limit that finds itself, and calls that tell it how they ended.

use std::time::Duration;

use oneiric_resilience::{
    AimdConfig, Bulkhead, BulkheadConfig, Clock, Error, ManualClock, Outcome, Rejection,
};

use super::{Caller, assert_whole};

fn adaptive<C: Clock>(limit: u32, latency_above: Option<Duration>, clock: C) -> Bulkhead<C> {
    let config = BulkheadConfig {
        limit,
        adaptive: Some(AimdConfig {
            min: 2,
            max: 12,
            latency_above,
            ..AimdConfig::default()
        }),
        ..BulkheadConfig::default()
    };
    Bulkhead::with_clock(config, clock).unwrap()
}

/// Fills the bulkhead and lets all end so.
fn round_trip<C: Clock>(bulkhead: &Bulkhead<C>, outcome: Outcome) {
    let all: Vec<_> = std::iter::from_fn(|| bulkhead.try_enter().ok()).collect();
    for guard in all {
        guard.record(outcome);
    }
}

#[test]
fn a_burst_of_failures_lowers_it_once_and_successes_raise_it_again() {
    let bulkhead = adaptive(10, None, ManualClock::new());
    round_trip(&bulkhead, Outcome::Failure);
    assert_eq!((bulkhead.limit(), bulkhead.in_flight()), (7, 0));
    round_trip(&bulkhead, Outcome::Failure);
    assert_eq!(bulkhead.limit(), 4);
    for _ in 0..100 {
        round_trip(&bulkhead, Outcome::Success);
        assert_eq!(bulkhead.in_flight(), 0);
    }
    assert_eq!(bulkhead.limit(), 12);
    for _ in 0..100 {
        round_trip(&bulkhead, Outcome::Failure);
    }
    assert_eq!(bulkhead.limit(), 2);
    assert_whole(&bulkhead);
}

#[test]
fn while_it_falls_those_who_wait_go_on_waiting() {
    let bulkhead = adaptive(4, None, ManualClock::new());
    let [first, second, third, last] = [(); 4].map(|()| bulkhead.try_enter().unwrap());
    let mut caller = Caller::new(&bulkhead);
    assert!(caller.poll().is_pending());
    first.record(Outcome::Failure);
    assert_eq!((bulkhead.limit(), bulkhead.in_flight()), (2, 3));
    second.record(Outcome::Failure);
    assert_eq!((bulkhead.limit(), bulkhead.in_flight()), (2, 2));
    assert!(!caller.bell.rang(), "two are inside, and two may be");
    third.record(Outcome::Ignored);
    assert!(caller.bell.rang());
    drop((last, caller));
    assert_whole(&bulkhead);
}

#[test]
fn who_waits_goes_in_as_it_rises() {
    let bulkhead = adaptive(2, None, ManualClock::new());
    let mut callers = [(); 3].map(|()| Caller::new(&bulkhead));
    let stays = bulkhead.try_enter().unwrap();
    // Of two at once one stays and the other goes round.
    for turn in 0..3 {
        bulkhead.try_enter().unwrap().record(Outcome::Success);
        assert_eq!(
            bulkhead.limit(),
            if turn < 1 { 2 } else { 3 },
            "turn {turn}"
        );
    }
    let inside: Vec<_> = std::iter::from_fn(|| bulkhead.try_enter().ok()).collect();
    for caller in &mut callers {
        assert!(caller.poll().is_pending());
    }
    bulkhead.set_limit(5).unwrap();
    let rang = callers.each_ref().map(|caller| caller.bell.rang());
    assert_eq!(rang, [true, true, false]);
    drop((stays, inside, callers));
    bulkhead.set_limit(1).unwrap();
    assert_eq!(bulkhead.limit(), 2, "its own bound");
    assert_whole(&bulkhead);
}

#[test]
fn what_takes_too_long_lowers_it() {
    let clock = ManualClock::new();
    let bulkhead = adaptive(10, Some(Duration::from_millis(100)), clock.clone());
    let guard = bulkhead.try_enter().unwrap();
    clock.advance(Duration::from_millis(100));
    guard.record(Outcome::Success);
    assert_eq!(bulkhead.limit(), 10);
    let guard = bulkhead.try_enter().unwrap();
    clock.advance(Duration::from_millis(101));
    guard.record(Outcome::Success);
    assert_eq!(bulkhead.limit(), 7);
}

#[tokio::test]
async fn calls_give_their_answer_and_tell_how_they_ended() {
    let bulkhead = adaptive(10, None, ManualClock::new());
    assert_eq!(bulkhead.call(|| Ok::<_, ()>(7)), Ok(7));
    assert_eq!(
        bulkhead.call(|| Err::<(), _>("no")),
        Err(Error::Inner("no"))
    );
    assert_eq!(bulkhead.limit(), 7);
    let failing = bulkhead.call_async(async { Err::<(), _>("no") });
    assert_eq!(failing.await, Err(Error::Inner("no")));
    assert_eq!(bulkhead.limit(), 4);
    assert_eq!(bulkhead.call_async(async { Ok::<_, ()>(7) }).await, Ok(7));

    let all: Vec<_> = std::iter::from_fn(|| bulkhead.try_enter().ok()).collect();
    let refused = bulkhead.call(|| -> Result<(), ()> { panic!("it is full") });
    let Err(Error::Rejected(rejected)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(rejected.rejection(), Rejection::BulkheadFull);
    drop(all);
    assert_whole(&bulkhead);
}

/// A call that panics, or is given up, gives its permit back and says nothing of the load.
#[test]
fn a_call_without_an_end_teaches_nothing() {
    let bulkhead = adaptive(10, None, ManualClock::new());
    let panicked = std::thread::spawn({
        let bulkhead = bulkhead.clone();
        move || bulkhead.call(|| -> Result<(), ()> { panic!("on purpose") })
    });
    assert!(panicked.join().is_err());
    drop(bulkhead.try_enter().unwrap());
    assert_eq!(bulkhead.limit(), 10);
    assert_whole(&bulkhead);
}

#[test]
fn a_call_says_what_its_caller_says_that_it_says() {
    let not_found = |result: &Result<(), u16>| match result {
        Err(404) => Outcome::Ignored,
        Err(_) => Outcome::Failure,
        Ok(()) => Outcome::Success,
    };
    let bulkhead = adaptive(10, None, ManualClock::new());
    let answer = bulkhead.call_with(&not_found, || Err(404));
    assert_eq!(answer, Err(Error::Inner(404)));
    let mut call = std::pin::pin!(bulkhead.call_async_with(&not_found, async { Err(404) }));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let answer = call.as_mut().poll(&mut context);
    assert_eq!(answer, std::task::Poll::Ready(Err(Error::Inner(404))));
    assert_eq!(bulkhead.limit(), 10, "it says nothing of the called one");

    let answer = bulkhead.call_with(&not_found, || Err(503));
    assert_eq!(answer, Err(Error::Inner(503)));
    assert_eq!(bulkhead.limit(), 7);
    let mut call = std::pin::pin!(bulkhead.call_async_with(&not_found, async { Err(503) }));
    assert!(call.as_mut().poll(&mut context).is_ready());
    assert_eq!((bulkhead.limit(), bulkhead.in_flight()), (4, 0));
    assert_whole(&bulkhead);
}
