//! Instances that want to know whether their slot takes work.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use oneiric_core::Coded;
use oneiric_lifecycle::{Activity, ActivityRule, Happening, SwapEvent, SwapRequest};

use crate::support::{Act, CACHE, Lab, Record, Script, provider, slot, soon, until};

const SCOPE: &str = "adapter/cache";

/// Whose instances are told, and what an observer hears of it.
fn lab(pause: Act, resume: Act) -> (Lab, Arc<Mutex<Vec<String>>>) {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let hears = Arc::clone(&heard);
    let candidates: &[(&str, &str, i64, &[&str])] = &[(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])];
    let lab = Lab::with(candidates, |builder| {
        builder.observer(move |event: &SwapEvent| {
            let line = match &event.what {
                Happening::InstancePaused { provider, instance } => {
                    format!("{provider} {instance} paused")
                }
                Happening::InstanceResumed { provider, instance } => {
                    format!("{provider} {instance} resumed")
                }
                Happening::ActivityChanged { activity, .. } => activity.name().to_owned(),
                Happening::Warned { failure } => {
                    format!("{} {}", failure.stage.name(), failure.code)
                }
                _ => return,
            };
            hears.lock().unwrap().push(line);
        })
    });
    for provider in ["a", "b"] {
        let pausing = Some((pause.clone(), resume.clone()));
        lab.book.script(
            provider,
            Script {
                pausing,
                ..Script::default()
            },
        );
    }
    (lab, heard)
}

fn set(lab: &Lab, activity: Activity) {
    let rule = ActivityRule::new(slot(SCOPE), activity);
    lab.lifecycle.set_activity(rule).unwrap();
}

async fn told(lab: &Lab) {
    soon(lab.lifecycle.told(&slot(SCOPE).into())).await;
}

/// What callers meet: `open`, or the code they are refused with.
fn gate(lab: &Lab) -> &'static str {
    match lab.lifecycle.slot(&slot(CACHE)).lease() {
        Ok(_) => "open",
        Err(error) => error.code(),
    }
}

fn said(record: &Record) -> Vec<&'static str> {
    record.told.lock().unwrap().clone()
}

fn only(lab: &Lab, of: &str) -> Arc<Record> {
    let records = lab.book.records_of(of);
    assert_eq!(records.len(), 1);
    Arc::clone(&records[0])
}

#[tokio::test]
async fn the_gate_closes_before_the_instance_is_told_and_opens_after() {
    let ((pause, paused), (resume, resumed)) = (Act::gate(), Act::gate());
    let (lab, heard) = lab(pause, resume);
    lab.who(CACHE).await;
    let record = only(&lab, "a");

    set(&lab, Activity::Paused);
    assert_eq!(gate(&lab), "lifecycle.busy");
    until(|| said(&record) == ["pause"]).await;
    paused.add_permits(1);
    told(&lab).await;
    assert_eq!(said(&record), ["pause", "done"]);

    set(&lab, Activity::Running);
    until(|| said(&record).len() == 3).await;
    // It does not know yet.
    assert_eq!(gate(&lab), "lifecycle.busy");
    let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
    assert!(status.activity.note.unwrap().contains("told to go on"));
    resumed.add_permits(1);
    told(&lab).await;
    assert_eq!(gate(&lab), "open");
    assert_eq!(said(&record), ["pause", "done", "resume", "done"]);
    assert_eq!(
        *heard.lock().unwrap(),
        ["paused", "a 1 paused", "paused", "a 1 resumed", "running"]
    );
}

#[tokio::test]
async fn it_ends_in_the_last_state_asked_for_and_is_told_one_thing_at_a_time() {
    let (pause, paused) = Act::gate();
    let (lab, _) = lab(pause, Act::Ok);
    lab.who(CACHE).await;
    let record = only(&lab, "a");
    set(&lab, Activity::Paused);
    until(|| said(&record) == ["pause"]).await;
    // All of this while it is still at work on the first.
    for activity in [Activity::Running, Activity::Draining, Activity::Running] {
        set(&lab, activity);
        assert_eq!(gate(&lab), "lifecycle.busy");
    }
    paused.add_permits(1);
    told(&lab).await;
    assert_eq!(gate(&lab), "open");
    assert_eq!(said(&record), ["pause", "done", "resume", "done"]);

    set(&lab, Activity::Paused);
    until(|| said(&record).len() == 5).await;
    set(&lab, Activity::Running);
    set(&lab, Activity::Paused);
    paused.add_permits(1);
    told(&lab).await;
    assert_eq!(gate(&lab), "lifecycle.busy");
    assert_eq!(said(&record)[4..], ["pause", "done"]);
    // Of one closed state to the other there is nothing to tell.
    set(&lab, Activity::Draining);
    told(&lab).await;
    assert_eq!(said(&record).len(), 6);
}

#[tokio::test]
async fn an_instance_that_refuses_is_a_warning_and_locks_nobody_out() {
    for (act, code) in [
        (Act::Fail, "lifecycle.pause_failed"),
        (Act::Panic, "lifecycle.panicked"),
    ] {
        let (lab, heard) = lab(act.clone(), act);
        lab.who(CACHE).await;
        set(&lab, Activity::Paused);
        told(&lab).await;
        assert_eq!(gate(&lab), "lifecycle.busy");
        let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
        assert_eq!(status.last_error.unwrap().failure.code, code);
        set(&lab, Activity::Running);
        told(&lab).await;
        assert_eq!(gate(&lab), "open");
        assert_eq!(
            *heard.lock().unwrap(),
            [
                "paused",
                &format!("pause {code}"),
                "paused",
                &format!("resume {code}"),
                "running"
            ]
        );
    }
}

#[tokio::test]
async fn an_instance_that_does_not_answer_is_waited_for_no_longer_than_the_limit() {
    let (lab, heard) = lab(Act::Ok, Act::Hang);
    lab.who(CACHE).await;
    set(&lab, Activity::Paused);
    told(&lab).await;
    let mut limits = lab.lifecycle.limits();
    limits.hook = Duration::from_millis(20);
    lab.lifecycle.set_limits(limits);
    set(&lab, Activity::Running);
    told(&lab).await;
    assert_eq!(gate(&lab), "open");
    assert!(
        heard
            .lock()
            .unwrap()
            .contains(&"resume lifecycle.timed_out".to_owned())
    );
}

#[tokio::test]
async fn one_that_blocks_its_thread_for_ever_is_not_told_anything_else_meanwhile() {
    let (pause, open) = Act::thread_gate();
    let (lab, heard) = lab(pause, Act::Ok);
    let mut limits = lab.lifecycle.limits();
    limits.hook = Duration::from_millis(20);
    lab.lifecycle.set_limits(limits);
    lab.who(CACHE).await;
    let record = only(&lab, "a");
    set(&lab, Activity::Paused);
    told(&lab).await;
    set(&lab, Activity::Running);
    told(&lab).await;
    assert_eq!((gate(&lab), said(&record)), ("open", vec!["pause"]));
    let expected = ["pause lifecycle.timed_out", "resume lifecycle.timed_out"];
    let heard = heard.lock().unwrap().clone();
    assert!(
        expected
            .iter()
            .all(|line| heard.iter().any(|said| said == line)),
        "{heard:?}"
    );
    drop(open);
    until(|| said(&record).len() == 2).await;
    set(&lab, Activity::Paused);
    told(&lab).await;
    assert_eq!(said(&record), ["pause", "done", "pause", "done"]);
}

#[tokio::test]
async fn a_new_instance_in_a_paused_slot_is_told_and_the_old_one_is_not_resumed() {
    let (lab, _) = lab(Act::Ok, Act::Ok);
    lab.who(CACHE).await;
    set(&lab, Activity::Paused);
    told(&lab).await;
    let request = SwapRequest::to_provider(slot(CACHE), provider("b"));
    assert!(lab.lifecycle.swap(request).await.unwrap().serves());
    told(&lab).await;
    let (old, new) = (only(&lab, "a"), only(&lab, "b"));
    assert_eq!(
        (said(&old), said(&new)),
        (vec!["pause", "done"], vec!["pause", "done"])
    );
    set(&lab, Activity::Running);
    told(&lab).await;
    assert_eq!(gate(&lab), "open");
    assert_eq!(said(&old), ["pause", "done"]);
    assert_eq!(said(&new), ["pause", "done", "resume", "done"]);
}

#[tokio::test]
async fn a_rule_of_the_provider_that_leaves_opens_the_slot_without_telling_anybody() {
    let (lab, _) = lab(Act::Ok, Act::Ok);
    lab.who(CACHE).await;
    let rule = ActivityRule::pause(
        "adapter/cache:a"
            .parse::<oneiric_lifecycle::ActivityScope>()
            .unwrap(),
    );
    lab.lifecycle.set_activity(rule).unwrap();
    told(&lab).await;
    let request = SwapRequest::to_provider(slot(CACHE), provider("b"));
    assert!(lab.lifecycle.swap(request).await.unwrap().serves());
    assert_eq!(gate(&lab), "open");
    told(&lab).await;
    assert_eq!(said(&only(&lab, "b")), [""; 0]);
}

#[tokio::test]
async fn rules_may_be_set_where_there_is_no_runtime() {
    let (lab, _) = lab(Act::Ok, Act::Ok);
    lab.who(CACHE).await;
    let lab = Arc::new(lab);
    let other = Arc::clone(&lab);
    std::thread::spawn(move || {
        set(&other, Activity::Paused);
        set(&other, Activity::Running);
        set(&other, Activity::Paused);
    })
    .join()
    .unwrap();
    told(&lab).await;
    assert_eq!(said(&only(&lab, "a")).last(), Some(&"done"));
    assert_eq!(gate(&lab), "lifecycle.busy");
    set(&lab, Activity::Running);
    told(&lab).await;
    assert_eq!(gate(&lab), "open");
}

/// Operators who disagree, swaps in between: what serves always ends up knowing what holds, and is
/// never told two things at once, nor the same twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_operators_do_at_once_what_serves_knows_what_holds() {
    let (lab, _) = lab(Act::Ok, Act::Ok);
    lab.who(CACHE).await;
    let lab = Arc::new(lab);
    for round in 0..40_u64 {
        let tasks = (0..4_u64).map(|who| {
            let lab = Arc::clone(&lab);
            tokio::spawn(async move {
                for step in 0..6 {
                    let activity = match (who * 7 + round * 3 + step * 5) % 4 {
                        0 => Activity::Paused,
                        1 => Activity::Draining,
                        _ => Activity::Running,
                    };
                    set(&lab, activity);
                    if who == 0 && step == 3 {
                        let to = if round % 2 == 0 { "b" } else { "a" };
                        let request = SwapRequest::to_provider(slot(CACHE), provider(to));
                        lab.lifecycle.swap(request).await.unwrap();
                    }
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            soon(task).await.unwrap();
        }
        told(&lab).await;
        let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
        let rule = lab.lifecycle.activity_rule(&slot(CACHE).into());
        assert_eq!(gate(&lab) == "open", rule.is_none(), "{rule:?}");
        let serves = status.active.unwrap().provider;
        let record = lab.book.records_of(serves.as_str()).pop().unwrap();
        let said = said(&record);
        assert!(
            said.iter().step_by(2).all(|what| *what != "done"),
            "{said:?}"
        );
        assert!(
            said.iter().skip(1).step_by(2).all(|what| *what == "done"),
            "{said:?}"
        );
        let told: Vec<&str> = said.iter().step_by(2).copied().collect();
        assert!(told.windows(2).all(|two| two[0] != two[1]), "{told:?}");
        assert_eq!(told.last() == Some(&"pause"), rule.is_some(), "{told:?}");
    }
}
