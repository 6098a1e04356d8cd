//! What instances by key need is treated as what the slot's own instance needs: it is there first, it stays as long as
//! it is needed, and whoever asks is told who needs it.

use oneiric_core::Coded;
use oneiric_lifecycle::SwapRequest;
use serde_json::json;

use super::{keyed, limits, number};
use crate::support::{Act, CACHE, Lab, Script, policies, slot, soon, wanting};

const CLOCK: &str = "service/clock";

fn clock_and(candidates: &[(&[&str], &[&str])]) -> Lab {
    let lab = Lab::new(&[(CLOCK, "clock", 0, &[])]);
    for (requires, optional) in candidates {
        let candidate = wanting(CACHE, "a", requires, optional);
        lab.registry.register(candidate).keep();
    }
    lab
}

#[tokio::test]
async fn optional_requirements_are_brought_up_as_well() {
    let lab = clock_and(&[(&[], &[CLOCK])]);
    let keyed = keyed(&lab, limits(8));
    number(&keyed, "one").await;
    assert!(lab.lifecycle.serving(&slot(CLOCK)).is_some());
}

#[tokio::test]
async fn an_optional_requirement_that_cannot_come_up_is_done_without() {
    let lab = clock_and(&[(&[], &[CLOCK])]);
    let build = Act::Fail;
    let script = Script {
        build,
        ..Script::default()
    };
    lab.book.script("clock", script);
    let keyed = keyed(&lab, limits(8));
    number(&keyed, "one").await;
}

#[tokio::test]
async fn a_ring_is_refused_with_its_path() {
    let lab = Lab::new(&[(CACHE, "a", 0, &[CLOCK]), (CLOCK, "clock", 0, &[CACHE])]);
    let keyed = keyed(&lab, limits(8));
    let error = soon(keyed.lease("one")).await.unwrap_err();
    assert_eq!(error.code(), "lifecycle.dependency_cycle");
}

#[tokio::test]
async fn what_keys_need_is_not_taken_away_and_who_needs_it_is_named() {
    let lab = clock_and(&[(&[CLOCK], &[])]);
    let keyed = keyed(&lab, limits(8));
    for key in ["one", "two"] {
        number(&keyed, key).await;
    }
    let clock = slot(CLOCK);
    let in_use = async || {
        let error = lab.lifecycle.deactivate(&clock).await.unwrap_err();
        assert_eq!(error.code(), "lifecycle.in_use");
    };
    in_use().await;
    assert_eq!(lab.lifecycle.holders(&clock), [slot(CACHE)]);
    assert_eq!(lab.lifecycle.dependents_of(&clock), [[slot(CACHE)]]);
    assert!(soon(keyed.retire("one")).await);
    in_use().await;
    assert!(soon(keyed.retire("two")).await);
    assert!(lab.lifecycle.holders(&clock).is_empty());
    assert!(lab.lifecycle.deactivate(&clock).await.unwrap().is_some());
}

#[tokio::test]
async fn a_key_gets_another_when_what_it_needs_was_exchanged_and_the_policy_says_so() {
    for (policy, follows, is_renewed) in [
        ("nothing", true, false),
        ("tell", true, true),
        ("tell", false, false),
        ("restart", false, true),
    ] {
        let entries = [(CACHE, json!({"on_dependency_change": policy}))];
        let lab = Lab::with(
            &[(CLOCK, "clock", 0, &[]), (CACHE, "a", 0, &[CLOCK])],
            |builder| builder.slot_policies(policies(&entries)),
        );
        let script = Script {
            without_follow: !follows,
            ..Script::default()
        };
        lab.book.script("a", script);
        let keyed = keyed(&lab, limits(8));
        let before = number(&keyed, "one").await;
        assert_eq!(number(&keyed, "one").await, before);
        let rebuild = SwapRequest::to_winner(slot(CLOCK)).rebuild(true);
        lab.lifecycle.swap(rebuild).await.unwrap();
        let renewed = number(&keyed, "one").await != before;
        assert_eq!(renewed, is_renewed, "{policy} {follows}");
    }
}
