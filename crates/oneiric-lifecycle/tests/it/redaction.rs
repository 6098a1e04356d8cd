//! What must not be told is not told: by whomever it is said, and wherever it goes.

use std::borrow::Cow;

use oneiric_lifecycle::{HandoverMode, SlotPolicies, Streamed, SwapRequest};

use crate::handover::handover;
use crate::support::{CACHE, Lab, Script, State, policies, provider, slot, soon};

const SECRET: &str = "hunter2";

fn lab() -> Lab {
    let candidates: &[(&str, &str, i64, &[&str])] = &[(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])];
    Lab::with(candidates, |builder| {
        builder.redact(|text| match text.contains(SECRET) {
            true => Cow::Owned(text.replace(SECRET, "***")),
            false => Cow::Borrowed(text),
        })
    })
}

/// All that was told so far.
async fn told(events: &mut oneiric_lifecycle::EventStream, lab: &Lab) -> String {
    // The last event is known: nothing comes after it.
    soon(lab.lifecycle.shutdown(crate::handover::LONG)).await;
    let mut told = Vec::new();
    while let Ok(next) = tokio::time::timeout(crate::handover::LONG, events.next()).await {
        let Some(Streamed::Event(event)) = next else {
            panic!("the stream ended");
        };
        told.push(serde_json::to_string(&event).unwrap());
    }
    told.join("\n")
}

fn is_covered(text: &str, by: &str) {
    assert!(text.contains(by), "{text}");
    assert!(!text.contains(SECRET), "{text}");
}

#[tokio::test(start_paused = true)]
async fn why_it_could_not_be_written_down_is_redacted() {
    let lab = lab();
    let mut events = lab.lifecycle.events();
    lab.who(CACHE).await;
    let record = || -> oneiric_core::BoxFuture<'static, _> {
        Box::pin(async { Err(("sqlite.disk_full", format!("no room for {SECRET}"))) })
    };
    let request = SwapRequest::to_provider(slot(CACHE), provider("b")).record(record);
    let report = soon(lab.lifecycle.swap(request)).await.unwrap();
    is_covered(&format!("{report:?}"), "no room for ***");
    let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
    is_covered(&serde_json::to_string(&status).unwrap(), "no room for ***");
    is_covered(&told(&mut events, &lab).await, "no room for ***");
}

#[tokio::test(start_paused = true)]
async fn what_callers_say_of_their_work_is_redacted() {
    for deactivated in [false, true] {
        let lab = lab();
        let mut events = lab.lifecycle.events();
        lab.who(CACHE).await;
        let call = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
        let call = call.noted(&format!("get {SECRET}"), Some(SECRET));
        let report = if deactivated {
            let of = slot(CACHE);
            format!("{:?}", soon(lab.lifecycle.deactivate(&of)).await.unwrap())
        } else {
            let request = SwapRequest::to_provider(slot(CACHE), provider("b"));
            format!("{:?}", soon(lab.lifecycle.swap(request)).await.unwrap())
        };
        drop(call);
        is_covered(&report, "get *** by ***");
        is_covered(&told(&mut events, &lab).await, "get *** by ***");
    }
}

#[tokio::test(start_paused = true)]
async fn the_name_of_a_format_is_redacted_and_not_longer_than_anybody_reads() {
    let mode = serde_json::json!({"handover": HandoverMode::Abort});
    let long: &'static str = Box::leak("x".repeat(129).into_boxed_str());
    for (format, expected) in [("hunter2/1", Some("***/1")), (long, None)] {
        let lab = lab();
        lab.lifecycle
            .set_slot_policies(policies(&[(CACHE, mode.clone())]));
        let state = State {
            format,
            ..State::default()
        };
        for by in ["a", "b"] {
            let state = Some(state.clone());
            lab.book.script(
                by,
                Script {
                    state,
                    ..Script::default()
                },
            );
        }
        let mut events = lab.lifecycle.events();
        lab.who(CACHE).await;
        let request = SwapRequest::to_provider(slot(CACHE), provider("b"));
        let report = soon(lab.lifecycle.swap(request)).await.unwrap();
        let handed = handover(&report);
        assert_eq!(handed.format.as_deref(), expected);
        let failure = handed.failure.as_ref();
        let code = failure.map(|failure| failure.code);
        assert_eq!(code.is_none(), expected.is_some(), "{code:?}");
        assert!(!format!("{report:?}").contains(long));
        lab.lifecycle.set_slot_policies(SlotPolicies::new());
        is_covered(&told(&mut events, &lab).await, "published");
    }
}
