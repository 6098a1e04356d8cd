//! `requires`: brought up first, never in a ring, known by who holds them.

use oneiric_core::Coded;
use oneiric_lifecycle::{SlotState, SwapRequest};

use crate::support::{Act, Lab, Script, candidate, provider, slot};

const WEB: &str = "service/web";
const CACHE: &str = "adapter/cache";
const CLOCK: &str = "service/clock";

fn chain() -> Lab {
    Lab::new(&[
        (WEB, "web", 0, &[CACHE]),
        (CACHE, "mem", 0, &[CLOCK]),
        (CLOCK, "sys", 0, &[]),
    ])
}

#[tokio::test]
async fn activating_a_slot_brings_up_what_it_requires_first() {
    let lab = chain();
    assert_eq!(lab.who(WEB).await, "web");
    for name in [WEB, CACHE, CLOCK] {
        assert_eq!(
            lab.lifecycle.status(&slot(name)).unwrap().state,
            SlotState::Active,
            "{name}"
        );
    }
    assert_eq!(lab.lifecycle.holders(&slot(CACHE)), [slot(WEB)]);
    assert_eq!(lab.lifecycle.holders(&slot(CLOCK)), [slot(CACHE)]);
}

#[tokio::test]
async fn a_ring_is_refused_with_its_path_and_nothing_hangs() {
    let lab = Lab::new(&[(WEB, "web", 0, &[CACHE]), (CACHE, "mem", 0, &[WEB])]);
    let error = lab.lifecycle.activate(&slot(WEB)).await.unwrap_err();
    assert_eq!(error.code(), "lifecycle.dependency_cycle");
    let path = "adapter/cache -> service/web -> adapter/cache";
    assert!(error.to_string().contains(path), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_activations_that_close_a_ring_from_both_ends_end_with_an_error() {
    for _ in 0..50 {
        let lab = Lab::new(&[(WEB, "web", 0, &[CACHE]), (CACHE, "mem", 0, &[WEB])]);
        let ends = [WEB, CACHE].map(|name| {
            let (lifecycle, name) = (lab.lifecycle.clone(), slot(name));
            tokio::spawn(async move { lifecycle.activate(&name).await.unwrap_err().code() })
        });
        for end in ends {
            assert_eq!(end.await.unwrap(), "lifecycle.dependency_cycle");
        }
    }
}

#[tokio::test]
async fn a_dependency_that_fails_is_named_and_the_dependent_is_not_built() {
    let lab = chain();
    lab.book.script(
        "sys",
        Script {
            build: Act::Fail,
            ..Script::default()
        },
    );
    let error = lab.lifecycle.activate(&slot(WEB)).await.unwrap_err();
    assert_eq!(error.code(), "lifecycle.dependency_failed");
    assert!(error.to_string().contains("service/clock"), "{error}");
    assert_eq!(lab.book.all().len(), 0);
}

#[tokio::test]
async fn a_swap_takes_over_the_edges_of_the_new_candidate() {
    let lab = chain();
    lab.who(WEB).await;
    lab.registry
        .register(candidate(WEB, "plain", 9, &[]))
        .keep();
    let request = SwapRequest::to_provider(slot(WEB), provider("plain"));
    assert!(lab.lifecycle.swap(request).await.unwrap().serves());
    assert_eq!(lab.lifecycle.holders(&slot(CACHE)), []);
}

#[tokio::test]
async fn a_swap_that_is_rolled_back_leaves_the_edges_as_they_were() {
    let lab = chain();
    lab.who(WEB).await;
    lab.registry
        .register(candidate(WEB, "bad", 9, &[CLOCK]))
        .keep();
    lab.book.script(
        "bad",
        Script {
            probe: Act::Fail,
            ..Script::default()
        },
    );
    let request = SwapRequest::to_provider(slot(WEB), provider("bad"));
    assert!(!lab.lifecycle.swap(request).await.unwrap().serves());
    assert_eq!(lab.lifecycle.holders(&slot(CACHE)), [slot(WEB)]);
    assert_eq!(lab.lifecycle.holders(&slot(CLOCK)), [slot(CACHE)]);
}
