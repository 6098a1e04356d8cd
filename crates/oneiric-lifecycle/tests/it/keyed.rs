//! One instance for each key: built once, bounded, retired once, and of whoever serves the slot.

mod bounds;
mod dependencies;
mod ends;
mod operators;
mod renewal;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use oneiric_core::Coded;
use oneiric_lifecycle::{ActivityRule, Keyed, KeyedLimits, Payload, SwapRequest};

use crate::support::{Act, CACHE, Lab, Script, provider, slot, soon, until};

fn limits(instances: usize) -> KeyedLimits {
    let mut limits = KeyedLimits::default();
    limits.instances = NonZeroUsize::new(instances).unwrap();
    limits.idle = None;
    limits
}

fn keyed(lab: &Lab, limits: KeyedLimits) -> Keyed {
    lab.lifecycle.keyed(&slot(CACHE), limits)
}

async fn number(keyed: &Keyed, key: &str) -> u64 {
    keyed.lease(key).await.unwrap().instance()
}

fn retired(lab: &Lab) -> Vec<u32> {
    lab.book
        .all()
        .iter()
        .map(|record| record.retired.load(Ordering::SeqCst))
        .collect()
}

/// Lets everything that can go on do so, also what runs on the blocking pool.
async fn quiet() {
    for _ in 0..100 {
        tokio::task::spawn_blocking(std::thread::yield_now)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn many_who_ask_for_one_key_share_one_instance_and_other_keys_have_their_own() {
    let lab = Lab::pair();
    let (build, gate) = Act::gate();
    lab.book.script(
        "a",
        Script {
            build,
            ..Script::default()
        },
    );
    let keyed = keyed(&lab, limits(8));
    let ask = |key: &'static str| {
        let keyed = keyed.clone();
        tokio::spawn(async move { number(&keyed, key).await })
    };
    let (ones, others): (Vec<_>, Vec<_>) = (0..5).map(|_| (ask("one"), ask("two"))).unzip();
    until(|| keyed.len() == 2).await;
    gate.add_permits(2);
    let mut numbers = Vec::new();
    for asked in ones.into_iter().chain(others) {
        numbers.push(soon(asked).await.unwrap());
    }
    assert_eq!(lab.book.builds_begun.load(Ordering::SeqCst), 2);
    assert!(numbers[..5].iter().all(|one| *one == numbers[0]));
    assert!(numbers[5..].iter().all(|two| *two == numbers[5]));
    assert_ne!(numbers[0], numbers[5]);
    // The slot itself has none because of it, and no history.
    let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
    assert!(status.active.is_none() && status.swaps.activated == 0);
}

#[tokio::test]
async fn those_who_wait_for_a_build_share_its_error_and_the_next_tries_again() {
    let lab = Lab::pair();
    lab.book.script(
        "a",
        Script {
            build: Act::Fail,
            ..Script::default()
        },
    );
    let keyed = keyed(&lab, limits(8));
    let error = keyed.lease("one").await.unwrap_err();
    assert_eq!(error.code(), "lifecycle.build_failed");
    lab.book.script("a", Script::default());
    assert!(keyed.lease("one").await.is_ok());
    assert_eq!(keyed.len(), 1);
}

#[tokio::test]
async fn the_least_recently_used_makes_room_and_is_retired_before_the_next_is_built() {
    let lab = Lab::pair();
    let keyed = keyed(&lab, limits(2));
    let (one, two) = (number(&keyed, "one").await, number(&keyed, "two").await);
    assert_eq!(number(&keyed, "one").await, one);
    number(&keyed, "three").await;
    assert_eq!(keyed.keys(), ["three", "one"]);
    assert_eq!(retired(&lab), [0, 1, 0], "instance {two} was the one");
    assert_eq!(number(&keyed, "one").await, one);
    assert_ne!(number(&keyed, "two").await, two, "built anew");
    assert_eq!(retired(&lab), [0, 1, 1, 0]);
}

#[tokio::test]
async fn what_is_leased_does_not_make_room() {
    let lab = Lab::pair();
    let keyed = keyed(&lab, limits(2));
    let one = keyed.lease("one").await.unwrap();
    let two = keyed.lease("two").await.unwrap();
    let error = keyed.lease("three").await.unwrap_err();
    assert_eq!(error.code(), "lifecycle.keys_exhausted");
    assert_eq!(
        error.to_string(),
        "adapter/cache: all of the 2 instances by key that there may be are in use"
    );
    drop(two);
    drop(keyed.lease("three").await.unwrap());
    assert_eq!(keyed.keys(), ["three", "one"]);
    one.invoke("who", Payload::empty()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_nobody_uses_goes_by_itself_and_what_is_leased_stays() {
    let lab = Lab::pair();
    let mut limits = limits(8);
    limits.idle = Some(Duration::from_secs(60));
    let keyed = keyed(&lab, limits);
    let held = keyed.lease("held").await.unwrap();
    number(&keyed, "left").await;
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(
        (keyed.keys(), retired(&lab)),
        (vec!["held".to_owned()], vec![0, 1])
    );
    drop(held);
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert!(keyed.is_empty());
    assert_eq!(retired(&lab), [1, 1]);
    // It is looked after again when there is something again.
    number(&keyed, "again").await;
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(retired(&lab), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_old_one_is_exchanged_when_it_is_asked_for() {
    let lab = Lab::pair();
    let mut limits = limits(8);
    limits.age = Some(Duration::from_secs(60));
    let keyed = keyed(&lab, limits);
    let held = keyed.lease("one").await.unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    let asked = {
        let keyed = keyed.clone();
        tokio::spawn(async move { number(&keyed, "one").await })
    };
    until(|| lab.book.all().len() == 2).await;
    assert!(!held.is_retired(), "its work goes on");
    let old = held.instance();
    drop(held);
    assert_ne!(soon(asked).await.unwrap(), old);
    until(|| retired(&lab) == [1, 0]).await;
}

#[tokio::test]
async fn each_key_follows_the_slot_when_it_is_next_asked_for() {
    let lab = Lab::pair();
    let keyed = keyed(&lab, limits(8));
    let who = async |key: &str| keyed.lease(key).await.unwrap().provider().to_string();
    assert_eq!(
        (who("one").await, who("two").await),
        ("a".into(), "a".into())
    );
    lab.lifecycle.activate(&slot(CACHE)).await.unwrap();
    let to_b = SwapRequest::to_provider(slot(CACHE), provider("b"));
    lab.lifecycle.swap(to_b).await.unwrap();
    assert_eq!(who("one").await, "b");
    // The slot's own and both by key, of which nobody has leased one.
    until(|| retired(&lab) == [1, 1, 1, 0, 0]).await;
    // New settings mean new instances as well.
    let before = number(&keyed, "one").await;
    lab.lifecycle.reconfigure(&slot(CACHE)).await.unwrap();
    assert_ne!(number(&keyed, "one").await, before);
}

#[tokio::test]
async fn a_paused_slot_refuses_its_keys_and_a_drain_waits_for_them() {
    let lab = Lab::pair();
    let keyed = keyed(&lab, limits(8));
    let held = keyed.lease("one").await.unwrap();
    let scope = slot(CACHE).into();
    lab.lifecycle
        .set_activity(ActivityRule::drain(slot(CACHE)))
        .unwrap();
    assert_eq!(lab.lifecycle.in_flight(&scope), 1);
    assert!(!lab.lifecycle.is_drained(&scope));
    for key in ["one", "another"] {
        assert_eq!(keyed.lease(key).await.unwrap_err().code(), "lifecycle.busy");
    }
    drop(held);
    soon(lab.lifecycle.drained(&scope)).await;
    lab.lifecycle
        .set_activity(ActivityRule::resume(slot(CACHE)))
        .unwrap();
    assert!(keyed.lease("one").await.is_ok());
}

#[tokio::test]
async fn a_shutdown_retires_all_of_them_once_before_what_they_need() {
    let lab = Lab::new(&[
        ("service/clock", "clock", 0, &[]),
        (CACHE, "a", 0, &["service/clock"]),
    ]);
    let keyed = keyed(&lab, limits(8));
    for key in ["one", "two", "three"] {
        number(&keyed, key).await;
    }
    let report = lab.lifecycle.shutdown(Duration::from_secs(10)).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(retired(&lab), [1, 1, 1, 1]);
    assert_eq!(lab.book.retirements().last().unwrap(), "clock");
    assert_eq!(
        keyed.lease("one").await.unwrap_err().code(),
        "lifecycle.stopped"
    );
}

#[tokio::test]
async fn a_caller_that_goes_away_while_room_is_made_leaves_nothing_behind() {
    let lab = Lab::pair();
    let (retire, gate) = Act::gate();
    lab.book.script(
        "a",
        Script {
            retire,
            ..Script::default()
        },
    );
    let keyed = keyed(&lab, limits(1));
    number(&keyed, "one").await;
    let asked = {
        let keyed = keyed.clone();
        tokio::spawn(async move { number(&keyed, "two").await })
    };
    until(|| retired(&lab) == [1]).await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    gate.add_permits(100);
    number(&keyed, "two").await;
    assert_eq!(keyed.keys(), ["two"]);
    assert_eq!(retired(&lab), [1, 0]);
    assert!(soon(keyed.retire("two")).await && !soon(keyed.retire("two")).await);
    assert_eq!(retired(&lab), [1, 1]);
}

/// Threads that ask for random keys of more than there may be: never more alive than may be, none called after it was
/// retired, each retired once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_there_are_never_more_than_may_be() {
    const MOST: usize = 6;
    let lab = Arc::new(Lab::pair());
    let keyed = keyed(&lab, limits(MOST));
    let refused = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..4_u64)
        .map(|caller| {
            let (lab, keyed, refused) = (Arc::clone(&lab), keyed.clone(), Arc::clone(&refused));
            tokio::spawn(async move {
                let mut seed = caller + 1;
                for _ in 0..300 {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let key = format!("key{}", (seed >> 33) % 12);
                    match keyed.lease(&key).await {
                        Ok(lease) => drop(lease.invoke("who", Payload::empty()).await.unwrap()),
                        Err(error) => {
                            assert_eq!(error.code(), "lifecycle.keys_exhausted");
                            refused.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                    let alive = retired(&lab).iter().filter(|times| **times == 0).count();
                    assert!(alive <= MOST, "{alive} are alive");
                }
            })
        })
        .collect();
    for caller in callers {
        soon(caller).await.unwrap();
    }
    soon(lab.lifecycle.shutdown(Duration::from_secs(30))).await;
    assert!(retired(&lab).iter().all(|times| *times == 1));
    let all = lab.book.all();
    assert!(
        all.iter()
            .all(|record| !record.called_after_retirement.load(Ordering::SeqCst))
    );
    assert!(all.len() > MOST);
}
