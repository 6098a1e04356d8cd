//! When a key gets another instance: whenever the slot has new settings or another instance, and until it really has it.

use oneiric_core::Coded;
use oneiric_lifecycle::SwapRequest;

use super::{keyed, limits, number, retired};
use crate::support::{Act, CACHE, Lab, Script, provider, slot, soon, until};

fn build(lab: &Lab, of: &str, build: Act) {
    let script = Script {
        build,
        ..Script::default()
    };
    lab.book.script(of, script);
}

#[tokio::test]
async fn what_could_not_be_built_anew_is_tried_again_and_the_old_one_never_handed_out() {
    let lab = Lab::pair();
    let keyed = keyed(&lab, limits(8));
    let old = number(&keyed, "one").await;
    lab.lifecycle.reconfigure(&slot(CACHE)).await.unwrap();
    for act in [Act::Fail, Act::Panic, Act::Fail] {
        build(&lab, "a", act);
        let error = keyed.lease("one").await.unwrap_err();
        assert!(
            ["lifecycle.build_failed", "lifecycle.panicked"].contains(&error.code()),
            "{error}"
        );
    }
    build(&lab, "a", Act::Ok);
    assert_ne!(number(&keyed, "one").await, old);
    until(|| retired(&lab) == [1, 0]).await;
}

#[tokio::test]
async fn another_instance_of_the_same_candidate_in_the_slot_means_others_by_key() {
    let lab = Lab::pair();
    let keyed = keyed(&lab, limits(8));
    lab.lifecycle.activate(&slot(CACHE)).await.unwrap();
    let first = number(&keyed, "one").await;
    let rebuild = || SwapRequest::to_provider(slot(CACHE), provider("a")).rebuild(true);
    lab.lifecycle.swap(rebuild()).await.unwrap();
    let second = number(&keyed, "one").await;
    assert_ne!(second, first);
    // And back, when the instance before serves again.
    let report = lab
        .lifecycle
        .begin_swap(rebuild().keep_old())
        .await
        .unwrap();
    let third = number(&keyed, "one").await;
    assert_ne!(third, second);
    let baking = report.baking().unwrap();
    baking.swing_back("the test wants it back");
    soon(baking.ended()).await;
    assert_ne!(number(&keyed, "one").await, third);
}

#[tokio::test]
async fn a_first_activation_of_the_slot_leaves_its_keys_alone() {
    let lab = Lab::pair();
    let keyed = keyed(&lab, limits(8));
    let one = number(&keyed, "one").await;
    lab.lifecycle.activate(&slot(CACHE)).await.unwrap();
    assert_eq!(number(&keyed, "one").await, one);
}

#[tokio::test]
async fn whoever_asks_for_a_new_one_does_not_wait_for_the_work_of_the_old_one() {
    let lab = Lab::pair();
    let keyed = keyed(&lab, limits(8));
    let old = keyed.lease("one").await.unwrap();
    lab.lifecycle.reconfigure(&slot(CACHE)).await.unwrap();
    // The very one who has the old one could not give it back.
    let new = soon(keyed.lease("one")).await.unwrap();
    assert_ne!(new.instance(), old.instance());
    assert!(!old.is_retired(), "its work goes on");
    drop(old);
    until(|| retired(&lab) == [1, 0]).await;
}

#[tokio::test]
async fn new_settings_mean_others_although_nothing_serves_the_slot() {
    let lab = Lab::pair();
    let keyed = keyed(&lab, limits(8));
    let (held, left) = (
        keyed.lease("held").await.unwrap(),
        number(&keyed, "left").await,
    );
    lab.lifecycle.settings_changed(&slot(CACHE));
    // Nobody could be handed it any more.
    until(|| retired(&lab) == [0, 1]).await;
    assert_ne!(number(&keyed, "left").await, left);
    assert_ne!(number(&keyed, "held").await, held.instance());
    assert!(!held.is_retired());
    // Of other slots nothing follows.
    let left = number(&keyed, "left").await;
    lab.lifecycle.settings_changed(&slot("adapter/other"));
    assert_eq!(number(&keyed, "left").await, left);
}

#[tokio::test]
async fn what_is_of_the_past_is_retired_when_that_is_asked_for_leased_or_not() {
    let lab = Lab::pair();
    let keyed = keyed(&lab, limits(8));
    let held = keyed.lease("held").await.unwrap();
    lab.lifecycle.retire_outdated(&slot(CACHE)).await;
    assert_eq!(keyed.keys(), ["held"], "it is what it should be");
    lab.lifecycle.settings_changed(&slot(CACHE));
    let asked = {
        let lifecycle = lab.lifecycle.clone();
        tokio::spawn(async move { lifecycle.retire_outdated(&slot(CACHE)).await })
    };
    until(|| keyed.is_empty()).await;
    assert!(!asked.is_finished(), "its work goes on");
    drop(held);
    soon(asked).await.unwrap();
    assert_eq!(retired(&lab), [1]);
}
