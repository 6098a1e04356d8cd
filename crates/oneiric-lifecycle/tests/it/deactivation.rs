//! Taking one slot out of service while the process goes on.

use std::sync::atomic::Ordering;

use oneiric_core::{Coded, Origin};
use oneiric_lifecycle::{SlotState, SwapRequest};

use crate::support::{CACHE, Lab, provider, slot, soon};

#[tokio::test]
async fn a_deactivated_slot_finishes_its_work_retires_and_can_be_used_again() {
    let lab = Lab::pair();
    let lease = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
    let lifecycle = lab.lifecycle.clone();
    let going = tokio::spawn(async move { lifecycle.deactivate(&slot(CACHE)).await });
    // Nothing serves while the old instance finishes its work, which shows.
    soon(async {
        loop {
            let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
            if status.draining.len() == 1 {
                assert_eq!(status.state, SlotState::Inactive);
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!going.is_finished());
    assert_eq!(
        lab.book.records_of("a")[0].retired.load(Ordering::SeqCst),
        0
    );
    drop(lease);
    let gone = soon(going).await.unwrap().unwrap().unwrap();
    assert_eq!((gone.provider, gone.warnings.len()), (provider("a"), 0));
    assert_eq!(
        lab.book.records_of("a")[0].retired.load(Ordering::SeqCst),
        1
    );
    let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
    assert_eq!((status.active.is_none(), status.draining.len()), (true, 0));
    assert!(
        lab.lifecycle
            .deactivate(&slot(CACHE))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(lab.who(CACHE).await, "a");
}

#[tokio::test]
async fn a_slot_that_others_need_is_not_deactivated() {
    let lab = Lab::new(&[
        ("service/clock", "sys", 0, &[]),
        ("service/web", "web", 0, &["service/clock"]),
    ]);
    lab.who("service/web").await;
    let refused = lab
        .lifecycle
        .deactivate(&slot("service/clock"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "lifecycle.in_use");
    assert_eq!(
        refused.to_string(),
        "service/clock is needed by service/web"
    );
    assert_eq!(lab.who("service/clock").await, "sys");
    lab.lifecycle
        .deactivate(&slot("service/web"))
        .await
        .unwrap()
        .unwrap();
    lab.lifecycle
        .deactivate(&slot("service/clock"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(lab.book.retirements(), ["web", "sys"]);
}

#[tokio::test]
async fn a_slot_without_candidates_and_instance_is_not_known_any_more() {
    let lab = Lab::pair();
    lab.who(CACHE).await;
    lab.lifecycle
        .swap(SwapRequest::to_provider(slot(CACHE), provider("b")))
        .await
        .unwrap();
    lab.registry.remove_origin(&Origin::settings());
    assert!(lab.lifecycle.status(&slot(CACHE)).is_some(), "it serves");
    lab.lifecycle
        .deactivate(&slot(CACHE))
        .await
        .unwrap()
        .unwrap();
    assert!(lab.lifecycle.status(&slot(CACHE)).is_none());
    assert!(lab.lifecycle.statuses().is_empty());
    let error = lab.lifecycle.lease(&slot(CACHE)).await.unwrap_err();
    assert_eq!(error.code(), "core.no_candidate");
}
