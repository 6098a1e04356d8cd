//! Nothing is left over, whenever it all ends.

use std::time::Duration;

use oneiric_lifecycle::{DecisionKind, Health};
use serde_json::{Value, json};

use super::{Ward, bad, seconds, wait_until};
use crate::support::{Act, CACHE, Script};

fn policy(on_failure: &str) -> Value {
    json!({
        "health_interval_ms": 1_000, "on_failure": on_failure, "restarts": 3,
        "fail_back": true, "fail_back_after_ms": 30_000,
    })
}

/// Shuts down after so long, in whatever state that is.
async fn ends(ward: &Ward, after: Duration) {
    tokio::time::sleep(after).await;
    let report = ward.lab.lifecycle.shutdown(Duration::from_secs(60)).await;
    assert!(report.is_clean(), "after {after:?}: {report:?}");
    let decided = ward.decisions().len();
    let builds = ward.builds();
    seconds(600).await;
    ward.nothing_is_left_over(0);
    assert_eq!((ward.decisions().len(), ward.builds()), (decided, builds));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_at_any_time_of_an_episode_leaves_nothing_behind() {
    for on_failure in ["report", "restart", "fail_over", "restart_then_fail_over"] {
        for step in 0..25 {
            let (ward, _supervision) = Ward::begun(policy(on_failure)).await;
            ward.set("a", bad());
            if step % 2 == 0 {
                ward.set("b", bad());
            }
            ends(&ward, Duration::from_millis(2_900 + 150 * step)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_while_it_fails_back_leaves_nothing_behind() {
    for step in 0..20 {
        let (ward, _supervision) = Ward::begun(policy("fail_over")).await;
        ward.set("a", bad());
        ward.decided(DecisionKind::FailOver, 1).await;
        ward.set("a", Health::Ok);
        ends(&ward, Duration::from_millis(29_000 + 150 * step)).await;
    }
}

/// Not in paused time, which stands still while a factory is at work.
#[tokio::test]
async fn a_shutdown_while_a_factory_hangs_leaves_nothing_behind() {
    let mut often = policy("fail_over");
    often["health_interval_ms"] = 5.into();
    let hangs = Script {
        build: Act::Hang,
        ..Script::default()
    };
    for only_tried_out in [false, true] {
        let (ward, _supervision) = Ward::begun(often.clone()).await;
        let who = if only_tried_out { "a" } else { "b" };
        ward.lab.book.script(who, hangs.clone());
        ward.set("a", bad());
        if only_tried_out {
            ward.decided(DecisionKind::FailOver, 1).await;
        }
        let builds = ward.builds();
        wait_until(|| ward.builds() > builds, String::new).await;
        let report = ward.lab.lifecycle.shutdown(Duration::from_secs(60)).await;
        assert!(report.is_clean(), "{report:?}");
        ward.nothing_is_left_over(0);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_does_anything_once_nobody_looks_after_it() {
    for step in 0..25 {
        let (ward, supervision) = Ward::begun(policy("fail_over")).await;
        ward.set("a", bad());
        tokio::time::sleep(Duration::from_millis(2_900 + 20 * step)).await;
        drop(supervision);
        // What was begun goes on, and then nothing does.
        seconds(10).await;
        let (builds, served) = (ward.builds(), ward.serves());
        seconds(600).await;
        assert_eq!((ward.builds(), ward.serves()), (builds, served));
        ward.nothing_is_left_over(1);
        assert!(!ward.lab.who(CACHE).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_looks_after_it_last_does_and_alone() {
    let (ward, first) = Ward::begun(policy("report")).await;
    let _second = ward.supervise();
    let before = ward.probes();
    tokio::time::sleep(Duration::from_millis(10_500)).await;
    assert_eq!(ward.probes() - before, 10);
    drop(first);
    seconds(10).await;
    assert_eq!(ward.probes() - before, 20);
}
