//! What operators do to a slot holds for its keys: pauses before anything is built, drains until the last call is back,
//! the role `Pause` as for what serves.

use std::sync::{Arc, Mutex};

use oneiric_core::Coded;
use oneiric_lifecycle::{ActivityRule, ActivityScope, Happening, SwapEvent};

use super::{keyed, limits, number, retired};
use crate::support::{Act, CACHE, Lab, Script, provider, slot, soon, until};

#[tokio::test]
async fn a_paused_slot_builds_nothing_and_nobody_makes_room() {
    let lab = Lab::new(&[
        ("service/clock", "clock", 0, &[]),
        (CACHE, "a", 0, &["service/clock"]),
    ]);
    let keyed = keyed(&lab, limits(1));
    lab.lifecycle
        .set_activity(ActivityRule::pause(slot(CACHE)))
        .unwrap();
    let refused = async |key: &str| keyed.lease(key).await.unwrap_err().code();
    assert_eq!(refused("one").await, "lifecycle.busy");
    assert_eq!((lab.book.all().len(), keyed.len()), (0, 0));
    lab.lifecycle
        .set_activity(ActivityRule::resume(slot(CACHE)))
        .unwrap();
    number(&keyed, "one").await;
    // So does one for the provider.
    let of_a = ActivityScope::Provider(slot(CACHE), provider("a"));
    lab.lifecycle
        .set_activity(ActivityRule::pause(of_a))
        .unwrap();
    assert_eq!(refused("two").await, "lifecycle.busy");
    assert_eq!(retired(&lab), [0, 0]);
    assert_eq!(keyed.keys(), ["one"]);
    // Nor is anything built anew.
    lab.lifecycle.reconfigure(&slot(CACHE)).await.unwrap();
    assert_eq!(refused("one").await, "lifecycle.busy");
    assert_eq!(lab.book.all().len(), 2);
}

#[tokio::test]
async fn a_drain_waits_for_calls_on_instances_that_are_going() {
    let lab = Lab::pair();
    let keyed = keyed(&lab, limits(8));
    let held = keyed.lease("one").await.unwrap();
    let retiring = {
        let keyed = keyed.clone();
        tokio::spawn(async move { keyed.retire("one").await })
    };
    until(|| keyed.is_empty()).await;
    let scope = slot(CACHE).into();
    lab.lifecycle
        .set_activity(ActivityRule::drain(slot(CACHE)))
        .unwrap();
    assert_eq!(lab.lifecycle.in_flight(&scope), 1);
    assert!(!lab.lifecycle.is_drained(&scope));
    drop(held);
    soon(lab.lifecycle.drained(&scope)).await;
    assert!(soon(retiring).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_calls_that_an_instance_was_retired_under() {
    let lab = Lab::pair();
    let keyed = keyed(&lab, limits(8));
    let held = keyed.lease("one").await.unwrap();
    assert!(soon(keyed.retire("one")).await);
    assert!(held.is_retired(), "its time was up");
    let scope = slot(CACHE).into();
    lab.lifecycle
        .set_activity(ActivityRule::drain(slot(CACHE)))
        .unwrap();
    assert_eq!(lab.lifecycle.in_flight(&scope), 1);
    assert!(!lab.lifecycle.is_drained(&scope));
    drop(held);
    soon(lab.lifecycle.drained(&scope)).await;
}

#[tokio::test]
async fn an_instance_by_key_is_told_of_pauses_and_events_say_which() {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let lab = {
        let told = Arc::clone(&told);
        Lab::with(&[(CACHE, "a", 0, &[])], |builder| {
            builder.observer(move |event: &SwapEvent| {
                let what = match &event.what {
                    Happening::InstancePaused { .. } => "paused",
                    Happening::InstanceResumed { .. } => "resumed",
                    Happening::ActivityChanged { activity, .. } => activity.name(),
                    _ => return,
                };
                let key = event.key.as_deref().unwrap_or("-");
                told.lock().unwrap().push(format!("{key} {what}"));
            })
        })
    };
    lab.book.script(
        "a",
        Script {
            pausing: Some((Act::Ok, Act::Ok)),
            ..Script::default()
        },
    );
    let keyed = keyed(&lab, limits(8));
    number(&keyed, "one").await;
    lab.lifecycle.activate(&slot(CACHE)).await.unwrap();
    let scope = slot(CACHE).into();
    lab.lifecycle
        .set_activity(ActivityRule::pause(slot(CACHE)))
        .unwrap();
    soon(lab.lifecycle.told(&scope)).await;
    lab.lifecycle
        .set_activity(ActivityRule::resume(slot(CACHE)))
        .unwrap();
    soon(lab.lifecycle.told(&scope)).await;
    assert!(keyed.lease("one").await.is_ok());
    for record in lab.book.all() {
        assert_eq!(
            *record.told.lock().unwrap(),
            ["pause", "done", "resume", "done"]
        );
    }
    let told = told.lock().unwrap();
    let of = |key: &str| {
        let mut of: Vec<&str> = told
            .iter()
            .filter_map(|one| one.strip_prefix(key))
            .collect();
        of.sort_unstable();
        of
    };
    assert_eq!(of("one "), ["paused", "resumed"], "{told:?}");
    // That the slot is resumed is said when that is asked for, and when it is so.
    assert_eq!(
        of("- "),
        ["paused", "paused", "paused", "resumed", "running"],
        "{told:?}"
    );
}

#[tokio::test]
async fn a_key_is_shown_in_part_and_without_what_is_secret() {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let lab = {
        let told = Arc::clone(&told);
        Lab::with(&[(CACHE, "a", 0, &[])], |builder| {
            builder
                .redact(|text| text.replace("hunter2", "***").into())
                .observer(move |event: &SwapEvent| told.lock().unwrap().extend(event.key.clone()))
        })
    };
    let keyed = keyed(&lab, limits(8));
    let long = "tenant\u{e9}".repeat(1_000);
    for key in [
        long.as_str(),
        "postgres://me:hunter2@db/x",
        "two\nlines\u{1b}[2J",
    ] {
        number(&keyed, key).await;
    }
    let told = told.lock().unwrap();
    assert!(!told.is_empty());
    assert!(told.iter().all(|key| key.chars().count() <= 64), "{told:?}");
    assert!(told.iter().all(|key| !key.contains(char::is_control)));
    assert!(told.contains(&"postgres://me:***@db/x".to_owned()));
    assert!(
        keyed.keys().contains(&long),
        "the program knows its own keys"
    );
}

#[tokio::test]
async fn the_status_of_a_slot_counts_and_names_its_keys() {
    let lab = Lab::pair();
    let status = || lab.lifecycle.status(&slot(CACHE)).unwrap().keyed;
    assert!(status().is_none(), "nobody asks for any");
    let keyed = keyed(&lab, limits(30));
    let none = status().unwrap();
    assert_eq!((none.instances, none.limit, none.in_flight), (0, 30, 0));
    for nth in 0..25 {
        number(&keyed, &format!("key{nth}")).await;
    }
    let _held = keyed.lease("key7").await.unwrap();
    let status = status().unwrap();
    assert_eq!((status.instances, status.in_flight), (25, 1));
    assert_eq!(status.keys.len(), 20);
    assert_eq!(status.keys[..3], ["key7", "key24", "key23"]);
    // A slot that has only these is known, whatever became of its candidates.
    lab.registry
        .update_origin(&oneiric_core::Origin::settings(), [])
        .unwrap();
    assert!(lab.lifecycle.status(&slot(CACHE)).is_some());
    assert!(
        lab.lifecycle
            .statuses()
            .iter()
            .any(|one| one.slot == slot(CACHE))
    );
}
