//! What is required comes up first: all at once, optional or not, and without waiting for what serves already.

use std::sync::Arc;

use oneiric_core::Coded;
use oneiric_lifecycle::{Happening, Stage, Streamed, SwapRequest};
use tokio::sync::Barrier;

use crate::support::{Act, Lab, Script, candidate, provider, slot, soon, until, wanting};

const WEB: &str = "service/web";
const CACHE: &str = "adapter/cache";
const CLOCK: &str = "service/clock";

fn built(with: Act) -> Script {
    Script {
        build: with,
        ..Script::default()
    }
}

/// Each that was built was so after all that it needs.
fn in_order(builds: &[String], needs: &[(&str, &[&str])]) {
    let at = |what: &str, of: &str| builds.iter().position(|one| *one == format!("{what} {of}"));
    for (of, needed) in needs {
        for needed in *needed {
            assert!(
                at("end", needed) < at("begin", of),
                "{needed}, {of}: {builds:?}"
            );
        }
    }
}

#[tokio::test]
async fn the_sides_of_a_diamond_are_built_at_the_same_time_and_each_after_what_it_needs() {
    let lab = Lab::new(&[
        ("service/top", "top", 0, &["service/left", "service/right"]),
        ("service/left", "left", 0, &["service/base"]),
        ("service/right", "right", 0, &["service/base"]),
        ("service/base", "base", 0, &[]),
    ]);
    // Neither is ever done unless both are at work.
    let both = Arc::new(Barrier::new(2));
    lab.book.script("left", built(Act::Meet(Arc::clone(&both))));
    lab.book.script("right", built(Act::Meet(both)));
    soon(lab.lifecycle.activate(&slot("service/top")))
        .await
        .unwrap();
    let needs: [(&str, &[&str]); 3] = [
        ("top", &["left", "right"]),
        ("left", &["base"]),
        ("right", &["base"]),
    ];
    in_order(&lab.book.builds(), &needs);
    assert_eq!(lab.book.all().len(), 4);
    let levels = lab.lifecycle.dependents_of(&slot("service/base"));
    let left_and_right = vec![slot("service/left"), slot("service/right")];
    assert_eq!(levels, [left_and_right, vec![slot("service/top")]]);
}

#[tokio::test]
async fn a_whole_program_comes_up_by_levels_with_all_of_a_level_at_once() {
    const WIDE: usize = 4;
    let name = |level: usize, at: usize| format!("service/s{level}-{at}");
    let lab = Lab::new(&[]);
    let mut slots = Vec::new();
    for level in 0..3_usize {
        let all = Arc::new(Barrier::new(WIDE));
        for at in 0..WIDE {
            let below: Vec<String> = match level {
                0 => Vec::new(),
                _ => (0..WIDE).map(|at| name(level - 1, at)).collect(),
            };
            let below: Vec<&str> = below.iter().map(String::as_str).collect();
            let by = format!("p{level}-{at}");
            lab.book.script(&by, built(Act::Meet(Arc::clone(&all))));
            lab.registry
                .register(candidate(&name(level, at), &by, 0, &below))
                .keep();
            slots.push(slot(&name(level, at)));
        }
    }
    // The last first, so that the order asked for is not the order needed.
    let starts: Vec<_> = slots
        .into_iter()
        .rev()
        .map(|slot| {
            let lifecycle = lab.lifecycle.clone();
            tokio::spawn(async move { lifecycle.activate(&slot).await.unwrap() })
        })
        .collect();
    for start in starts {
        soon(start).await.unwrap();
    }
    let builds = lab.book.builds();
    for level in 1..3_usize {
        let below: Vec<String> = (0..WIDE).map(|at| format!("p{}-{at}", level - 1)).collect();
        let below: Vec<&str> = below.iter().map(String::as_str).collect();
        for at in 0..WIDE {
            in_order(&builds, &[(&format!("p{level}-{at}"), &below)]);
        }
    }
    assert_eq!(lab.book.all().len(), 3 * WIDE);
}

#[tokio::test]
async fn of_several_that_fail_the_first_stated_is_named_whichever_fails_first() {
    let lab = Lab::new(&[
        (WEB, "web", 0, &["service/x", "service/y"]),
        ("service/x", "x", 0, &[]),
        ("service/y", "y", 0, &[]),
    ]);
    let (wait, gate) = Act::gate();
    lab.book.script(
        "x",
        Script {
            probe: Act::Fail,
            build: wait,
            ..Script::default()
        },
    );
    lab.book.script("y", built(Act::Fail));
    let (lifecycle, web) = (lab.lifecycle.clone(), slot(WEB));
    let asked = tokio::spawn(async move { lifecycle.activate(&web).await.unwrap_err() });
    until(|| {
        lab.lifecycle
            .status(&slot("service/y"))
            .unwrap()
            .last_error
            .is_some()
    })
    .await;
    gate.add_permits(1);
    let error = soon(asked).await.unwrap();
    assert_eq!(error.code(), "lifecycle.dependency_failed");
    assert!(error.to_string().contains("requires service/x"), "{error}");
}

#[tokio::test]
async fn what_serves_already_is_not_waited_for_while_it_is_being_exchanged() {
    let lab = Lab::new(&[
        (WEB, "web", 0, &[CACHE]),
        (CACHE, "a", 2, &[]),
        (CACHE, "b", 1, &[]),
    ]);
    // The old one's work keeps the swap, and with it the slot's turn, from ending.
    let lease = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
    let lifecycle = lab.lifecycle.clone();
    let request = SwapRequest::to_provider(slot(CACHE), provider("b"));
    let swap = tokio::spawn(async move { lifecycle.swap(request).await.unwrap() });
    until(|| lab.lifecycle.status(&slot(CACHE)).unwrap().draining.len() == 1).await;
    assert_eq!(soon(lab.who(WEB)).await, "web");
    assert!(!swap.is_finished());
    drop(lease);
    assert!(soon(swap).await.unwrap().serves());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_taken_out_of_service_at_the_same_time_stays_or_comes_back() {
    for _ in 0..200 {
        let lab = Lab::new(&[(WEB, "web", 0, &[CACHE]), (CACHE, "mem", 0, &[])]);
        lab.who(CACHE).await;
        let (one, other) = (lab.lifecycle.clone(), lab.lifecycle.clone());
        let up = tokio::spawn(async move { one.activate(&slot(WEB)).await });
        let down = tokio::spawn(async move { other.deactivate(&slot(CACHE)).await });
        let (up, down) = (soon(up).await.unwrap(), soon(down).await.unwrap());
        up.unwrap();
        if let Err(error) = down {
            assert_eq!(error.code(), "lifecycle.in_use");
        }
        assert!(lab.lifecycle.serving(&slot(CACHE)).is_some());
        assert_eq!(lab.lifecycle.holders(&slot(CACHE)), [slot(WEB)]);
    }
}

#[tokio::test]
async fn an_optional_requirement_is_up_first_and_counts_like_any_other() {
    let lab = Lab::new(&[(CACHE, "mem", 0, &[])]);
    lab.registry
        .register(wanting(WEB, "web", &[], &[CACHE]))
        .keep();
    assert_eq!(lab.who(WEB).await, "web");
    in_order(&lab.book.builds(), &[("web", &["mem"])]);
    assert_eq!(lab.lifecycle.holders(&slot(CACHE)), [slot(WEB)]);
    let error = lab.lifecycle.deactivate(&slot(CACHE)).await.unwrap_err();
    assert_eq!(error.code(), "lifecycle.in_use");
    lab.lifecycle
        .shutdown(std::time::Duration::from_secs(60))
        .await;
    assert_eq!(lab.book.retirements(), ["web", "mem"]);
}

#[tokio::test]
async fn one_that_nobody_provides_is_done_without_in_silence_until_somebody_does() {
    let lab = Lab::new(&[]);
    lab.registry
        .register(wanting(WEB, "web", &[], &[CACHE]))
        .keep();
    let mut events = lab.lifecycle.events();
    assert_eq!(lab.who(WEB).await, "web");
    lab.registry
        .register(candidate(CACHE, "mem", 0, &[]))
        .keep();
    lab.who(CACHE).await;
    assert_eq!(lab.lifecycle.holders(&slot(CACHE)), [slot(WEB)]);
    lab.lifecycle
        .shutdown(std::time::Duration::from_secs(60))
        .await;
    assert_eq!(lab.book.retirements(), ["web", "mem"]);
    drop(lab);
    while let Some(Streamed::Event(event)) = events.next().await {
        assert!(!matches!(event.what, Happening::Warned { .. }), "{event:?}");
    }
}

#[tokio::test]
async fn one_that_fails_is_a_warning_and_the_dependent_serves() {
    let lab = Lab::new(&[(CACHE, "mem", 0, &[])]);
    lab.registry
        .register(wanting(WEB, "web", &[], &[CACHE]))
        .keep();
    lab.book.script("mem", built(Act::Fail));
    let mut events = lab.lifecycle.events();
    assert_eq!(lab.who(WEB).await, "web");
    let status = lab.lifecycle.status(&slot(WEB)).unwrap();
    assert!(status.last_error.is_none(), "it does without: {status:?}");
    let failure = loop {
        match soon(events.next()).await {
            Some(Streamed::Event(event)) => {
                if let Happening::Warned { failure } = &event.what {
                    assert_eq!(event.slot, slot(WEB));
                    break failure.clone();
                }
            }
            other => panic!("no warning: {other:?}"),
        }
    };
    assert_eq!(
        (failure.stage, failure.code),
        (Stage::Dependencies, "lifecycle.dependency_failed")
    );
    assert!(
        failure.message.contains("goes on without adapter/cache"),
        "{failure}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_through_an_optional_requirement_comes_up_from_any_end_or_all_at_once() {
    // web -> cache -> clock ~> web: the clock does without.
    let start = |first: &'static [&'static str]| async move {
        let lab = Lab::new(&[(WEB, "web", 0, &[CACHE]), (CACHE, "mem", 0, &[CLOCK])]);
        lab.registry
            .register(wanting(CLOCK, "sys", &[], &[WEB]))
            .keep();
        let starts = first.iter().map(|name| {
            let (lifecycle, name) = (lab.lifecycle.clone(), slot(name));
            tokio::spawn(async move { lifecycle.activate(&name).await })
        });
        for start in starts.collect::<Vec<_>>() {
            soon(start).await.unwrap().unwrap();
        }
        // Whoever was not asked for is up by now, or comes.
        for name in [WEB, CACHE, CLOCK] {
            soon(lab.who(name)).await;
        }
        assert_eq!(lab.book.all().len(), 3, "each once");
        assert_eq!(lab.lifecycle.holders(&slot(CLOCK)), [slot(CACHE)]);
        assert_eq!(lab.lifecycle.holders(&slot(WEB)), []);
        let levels = lab.lifecycle.dependents_of(&slot(CLOCK));
        assert_eq!(levels, [vec![slot(CACHE)], vec![slot(WEB)]]);
    };
    for _ in 0..50 {
        for first in [&[WEB][..], &[CACHE], &[CLOCK], &[WEB, CACHE, CLOCK]] {
            start(first).await;
        }
    }
}

#[tokio::test]
async fn rings_of_every_length_are_refused_from_every_slot_and_hang_nobody() {
    for length in 1..=8_usize {
        let lab = Lab::new(&[]);
        let name = |at: usize| format!("service/s{}", at % length);
        for at in 0..length {
            let next = name(at + 1);
            lab.registry
                .register(candidate(&name(at), &format!("p{at}"), 0, &[&next]))
                .keep();
        }
        let ends: Vec<_> = (0..length)
            .map(|at| {
                let (lifecycle, slot) = (lab.lifecycle.clone(), slot(&name(at)));
                tokio::spawn(async move { lifecycle.activate(&slot).await.unwrap_err().code() })
            })
            .collect();
        for end in ends {
            assert_eq!(soon(end).await.unwrap(), "lifecycle.dependency_cycle");
        }
        let faults = lab.lifecycle.dependency_faults();
        assert_eq!(
            (faults.cycles.len(), faults.cycles[0].len()),
            (1, length + 1)
        );
        assert_eq!(lab.book.all().len(), 0);
    }
}

#[tokio::test]
async fn what_cannot_come_up_is_named_before_anything_is_started() {
    let lab = Lab::new(&[
        (WEB, "web", 0, &[CACHE, "service/nobody"]),
        (CACHE, "mem", 0, &[WEB]),
        ("service/odd", "odd", 0, &["service/strange"]),
    ]);
    let strange = candidate("service/strange", "strange", 0, &[]).to_builder();
    let strange = strange.factory("oneiric.test:nobody_has_it".parse().unwrap());
    lab.registry.register(strange.build()).keep();
    let faults = lab.lifecycle.dependency_faults();
    let lines: Vec<String> = faults.lines().collect();
    assert_eq!(
        lines,
        [
            "service/web: web needs service/nobody, which nobody provides",
            "service/odd: odd needs service/strange, whose winner strange cannot be built here",
            "adapter/cache -> service/web -> adapter/cache need each other in a circle",
        ]
    );
    assert_eq!(lab.book.builds(), Vec::<String>::new());
}
