//! Operators' swaps and the selections they leave behind (docs/spec/selections.md).

use oneiric_core::ErrorKind;
use oneiric_runtime::{
    Client, ClientError,
    api::{SwapDoc, SwapRequestDoc},
};

use crate::support::{CAST, Scene, slot, soon};

fn to(provider: &str) -> SwapRequestDoc {
    SwapRequestDoc::to_provider(slot("adapter/cache"), provider.parse().unwrap())
}

fn clear() -> SwapRequestDoc {
    SwapRequestDoc {
        clear: true,
        ..SwapRequestDoc::to_winner(slot("adapter/cache"))
    }
}

async fn swap(client: &mut Client, request: &SwapRequestDoc) -> SwapDoc {
    soon(client.swap(request)).await.unwrap().doc
}

/// Who serves, who wins, and the operator's selection, as the process tells.
async fn state(scene: &Scene) -> (String, String, Option<String>) {
    let status = soon(scene.client().await.status(None)).await.unwrap().doc;
    let cache = &status.slots[0];
    let name = |provider: Option<&oneiric_core::Provider>| provider.map(ToString::to_string);
    (
        name(cache.active.as_ref().map(|active| &active.provider)).unwrap(),
        name(cache.winner.as_ref()).unwrap(),
        name(
            status
                .selections
                .first()
                .and_then(|selection| selection.provider.as_ref()),
        ),
    )
}

fn is(active: &str, winner: &str, selected: Option<&str>) -> (String, String, Option<String>) {
    (active.into(), winner.into(), selected.map(Into::into))
}

#[tokio::test]
async fn a_swap_selects_whom_it_swaps_in_and_clear_takes_it_back() {
    let scene = Scene::start(CAST).await;
    let mut client = scene.client().await;
    let done = swap(
        &mut client,
        &SwapRequestDoc {
            reason: Some("trial".into()),
            ..to("second")
        },
    )
    .await;
    let revision = done.revision.unwrap();
    assert_eq!(
        (revision.revision, revision.reason.as_deref()),
        (1, Some("trial"))
    );
    assert!(revision.who.starts_with("uid:"), "{}", revision.who);
    assert_eq!(state(&scene).await, is("second", "second", Some("second")));

    let again = swap(&mut client, &to("second")).await;
    assert_eq!(again.report.unwrap().outcome, "unchanged");
    assert_eq!(again.revision.unwrap().revision, 1);

    let cleared = swap(&mut client, &clear()).await;
    let revision = cleared.revision.unwrap();
    assert_eq!(
        (
            revision.revision,
            revision.provider,
            revision.before.unwrap().as_str()
        ),
        (2, None, "second")
    );
    assert_eq!(state(&scene).await, is("first", "first", None));
    let nothing_to_clear = swap(&mut client, &clear()).await;
    assert_eq!(nothing_to_clear.revision, None);
    assert_eq!(scene.runtime.revisions().len(), 2);
    assert_eq!(
        scene.stage.events(),
        [
            "built first",
            "built second",
            "retired first",
            "built first",
            "retired second"
        ]
    );
    scene.stop().await;
}

#[tokio::test]
async fn a_swap_that_is_rolled_back_changes_neither_instance_nor_selection() {
    let scene = Scene::start(CAST).await;
    let mut client = scene.client().await;
    for (provider, stage, code) in [
        ("sick", "probe", "lifecycle.probe_failed"),
        ("broken", "build", "lifecycle.build_failed"),
    ] {
        let reply = soon(client.swap(&to(provider))).await.unwrap();
        let report = reply.doc.report.unwrap();
        assert!(!report.serves());
        assert_eq!(
            (report.failure.unwrap().stage, reply.doc.revision),
            (stage.to_owned(), None)
        );
        let error = reply.doc.error.unwrap();
        assert_eq!(
            (error.code.as_str(), error.kind.as_str()),
            (code, "rolled_back")
        );
        assert_eq!(error.hint.unwrap(), "first still serves adapter/cache");
        assert_eq!(state(&scene).await, is("first", "first", None));
    }
    let answer = scene
        .post(
            "/v1/swap",
            r#"{"slot": "adapter/cache", "provider": "sick"}"#,
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 409 "), "{answer}");
    assert_eq!(scene.runtime.revisions(), []);
    scene.stop().await;
}

#[tokio::test]
async fn a_clear_that_is_rolled_back_keeps_the_selection() {
    let text = format!("[selections]\n'adapter/cache' = 'first'\n{CAST}");
    let scene = Scene::start(&text).await;
    let mut client = scene.client().await;
    swap(&mut client, &to("second")).await;
    // Meanwhile the one that would win without the selection goes bad.
    let candidate = oneiric_core::Candidate::builder(
        slot("adapter/cache"),
        "first".parse().unwrap(),
        oneiric_core::Origin::code("test").unwrap(),
    );
    let worse = candidate
        .factory("oneiric.test:gone".parse().unwrap())
        .priority(99)
        .build();
    scene.runtime.registry().register(worse).keep();
    let reply = swap(&mut client, &clear()).await;
    assert_eq!(reply.error.unwrap().code, "lifecycle.factory_unknown");
    assert_eq!(reply.revision, None);
    assert_eq!(state(&scene).await, is("second", "second", Some("second")));
    scene.stop().await;
}

#[tokio::test]
async fn a_provider_that_nobody_has_is_refused_with_those_that_there_are() {
    let scene = Scene::start(CAST).await;
    let error = soon(scene.client().await.swap(&to("frist")))
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("runtime.provider_unknown", ErrorKind::NotFound)
    );
    let message = "adapter/cache has no candidate of 'frist'; it has broken, first, second, sick";
    assert_eq!(error.to_string(), message);
    let nowhere = SwapRequestDoc::to_winner(slot("adapter/nothing"));
    let error = soon(scene.client().await.swap(&nowhere)).await.unwrap_err();
    assert_eq!(error.code(), "core.no_candidate");
    scene.stop().await;
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_touches_nothing() {
    let scene = Scene::start(CAST).await;
    let mut client = scene.client().await;
    let dry = |request| SwapRequestDoc {
        dry_run: true,
        ..request
    };
    let plan = swap(&mut client, &dry(to("second"))).await.plan.unwrap();
    assert_eq!(
        (plan.from.unwrap().as_str(), plan.to.as_str()),
        ("first", "second")
    );
    assert_eq!(
        (plan.build.as_deref(), plan.retire.unwrap().as_str()),
        (Some("oneiric.test:actor"), "first")
    );
    assert_eq!(
        (
            plan.selection_before,
            plan.selection_after.unwrap().as_str()
        ),
        (None, "second")
    );
    assert!(plan.text.contains("second"), "{}", plan.text);
    let unchanged = swap(&mut client, &dry(to("first"))).await.plan.unwrap();
    assert_eq!((unchanged.build, unchanged.retire), (None, None));
    assert_eq!(state(&scene).await, is("first", "first", None));
    assert_eq!(scene.stage.events(), ["built first"]);

    swap(&mut client, &to("second")).await;
    let plan = swap(&mut client, &dry(clear())).await.plan.unwrap();
    assert_eq!(
        (plan.to.as_str(), plan.selection_before.unwrap().as_str()),
        ("first", "second")
    );
    assert_eq!(plan.selection_after, None);
    let why = "what if unselect=operator: first wins instead of second\n\n\
               adapter/cache -> first   (from settings)\n  won over 3 others by priority: 10 beats 5";
    assert!(plan.text.starts_with(why), "{}", plan.text);
    let plan = swap(
        &mut client,
        &dry(SwapRequestDoc::to_winner(slot("adapter/cache"))),
    )
    .await
    .plan
    .unwrap();
    assert_eq!(
        (plan.to.as_str(), plan.selection_after.unwrap().as_str()),
        ("second", "second")
    );
    assert_eq!(state(&scene).await, is("second", "second", Some("second")));
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_concurrent_swaps_leave_the_selection_of_the_instance_that_serves() {
    let scene = Scene::start(CAST).await;
    for _ in 0..10 {
        let mut swaps = tokio::task::JoinSet::new();
        for provider in [
            "first", "second", "sick", "first", "second", "broken", "second", "first",
        ] {
            let mut client = scene.client().await;
            swaps.spawn(async move { swap(&mut client, &to(provider)).await });
        }
        soon(swaps.join_all()).await;
        let (active, winner, selected) = state(&scene).await;
        assert_eq!((&active, Some(&active)), (&winner, selected.as_ref()));
    }
    let revisions = scene.runtime.revisions();
    for pair in revisions.windows(2) {
        assert_eq!(
            (pair[1].revision, &pair[1].before),
            (pair[0].revision + 1, &pair[0].provider)
        );
    }
    let built = scene
        .stage
        .events()
        .iter()
        .filter(|event| event.starts_with("built"))
        .count();
    let stage = scene.stage.clone();
    scene.stop().await;
    let retired = stage
        .events()
        .iter()
        .filter(|event| event.starts_with("retired"))
        .count();
    assert_eq!(built, retired);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_swaps_of_a_slot_run_in_the_order_they_were_asked_for() {
    let scene = Scene::start(CAST).await;
    for round in 0..50 {
        let runtime = scene.runtime.clone();
        // On a worker, where what is spawned last runs first.
        let both = tokio::spawn(async move {
            tokio::join!(
                runtime.swap(to("second"), "test"),
                runtime.swap(to("first"), "test")
            )
        });
        let (earlier, later) = soon(both).await.unwrap();
        assert_eq!(earlier.unwrap().report.unwrap().to.as_str(), "second");
        assert_eq!(later.unwrap().report.unwrap().to.as_str(), "first");
        let status = scene.runtime.status(None).unwrap();
        let active = status.slots[0].active.as_ref().unwrap();
        assert_eq!(active.provider.as_str(), "first", "round {round}");
    }
    scene.stop().await;
}

/// One thread, so that yielding to it often enough lets everything go as far as it can.
#[tokio::test]
async fn p10_a_swap_sees_the_selection_of_the_one_before_it() {
    let cast = CAST.replace(
        r#"name = "second" }"#,
        r#"name = "second", build = "wait" }"#,
    );
    assert_ne!(cast, CAST);
    let scene = Scene::start(&cast).await;
    let ask = |request| {
        let runtime = scene.runtime.clone();
        tokio::spawn(async move { runtime.swap(request, "test").await })
    };
    // The first swap is held before it publishes and selects.
    let earlier = ask(to("second"));
    soon(scene.stage.begun.acquire()).await.unwrap().forget();
    let later = ask(clear());
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.runtime.revisions(), [], "nothing is selected yet");
    scene.stage.gate.add_permits(1);
    soon(earlier).await.unwrap().unwrap();
    soon(later).await.unwrap().unwrap();

    let selected: Vec<_> = scene.runtime.revisions();
    let selected = selected.iter().map(|one| one.provider.as_ref());
    let selected: Vec<_> = selected.map(|one| one.map(|name| name.as_str())).collect();
    assert_eq!(selected, [Some("second"), None]);
    let built = ["built first", "built second", "built first"];
    let events = scene.stage.events();
    let events = events.iter().filter(|event| event.starts_with("built"));
    assert_eq!(events.collect::<Vec<_>>(), built);
    assert_eq!(state(&scene).await, is("first", "first", None));
    scene.stop().await;
}

#[tokio::test]
async fn what_serves_is_selected_while_the_old_one_still_finishes_its_work() {
    let scene = Scene::start(CAST).await;
    let mut caller = scene.client().await;
    let request =
        serde_json::from_str(r#"{"slot": "adapter/cache", "operation": "wait"}"#).unwrap();
    let held = tokio::spawn(async move { caller.call(&request).await });
    soon(scene.stage.begun.acquire()).await.unwrap().forget();
    let mut events = scene.runtime.lifecycle().events();
    let mut operator = scene.client().await;
    let asked = tokio::spawn(async move { operator.swap(&to("second")).await });
    while !format!("{:?}", soon(events.next()).await.unwrap()).contains("Published") {}
    assert_eq!(state(&scene).await, is("second", "second", Some("second")));
    assert!(!asked.is_finished(), "the old one still works");
    scene.stage.gate.add_permits(1);
    soon(held).await.unwrap().unwrap();
    soon(asked).await.unwrap().unwrap();
    scene.stop().await;
}

#[tokio::test]
async fn an_operator_who_hangs_up_does_not_stop_the_swap_half_way() {
    let scene = Scene::start(CAST).await;
    // A call keeps the old instance from being retired, so that the swap takes as long as we like.
    let mut caller = scene.client().await;
    let request =
        serde_json::from_str(r#"{"slot": "adapter/cache", "operation": "wait"}"#).unwrap();
    let held =
        tokio::spawn(async move { caller.call(&request).await.map(|reply| reply.doc.output) });
    soon(scene.stage.begun.acquire()).await.unwrap().forget();
    let mut events = scene.runtime.lifecycle().events();
    let mut impatient = scene.client().await;
    let asked = tokio::spawn(async move { impatient.swap(&to("second")).await });
    loop {
        let event = soon(events.next()).await.unwrap();
        if format!("{event:?}").contains("Published") {
            break;
        }
    }
    asked.abort();
    drop(asked.await);
    scene.stage.gate.add_permits(1);
    assert_eq!(soon(held).await.unwrap().unwrap(), "first");
    // The next swap of the slot waits for its turn, so the first one is done when this one answers.
    swap(
        &mut scene.client().await,
        &SwapRequestDoc::to_winner(slot("adapter/cache")),
    )
    .await;
    assert_eq!(state(&scene).await, is("second", "second", Some("second")));
    scene.stop().await;
}

#[tokio::test]
async fn p22_without_a_running_process_a_client_says_so_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let socket = oneiric_runtime::socket_in(dir.path());
    let error = Client::connect(&socket).await.unwrap_err();
    assert!(matches!(error, ClientError::NotRunning { .. }));
    assert_eq!(
        (error.code(), error.kind()),
        ("runtime.not_running", ErrorKind::Unavailable)
    );
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p14_calls_that_block_their_thread_hold_up_no_other_request() {
    let scene = Scene::start(CAST).await;
    let block: oneiric_runtime::api::CallRequest =
        serde_json::from_str(r#"{"slot": "adapter/cache", "operation": "block"}"#).unwrap();
    let mut calls = Vec::new();
    // More than there are workers.
    for _ in 0..4 {
        let (mut client, block) = (scene.client().await, block.clone());
        calls.push(tokio::spawn(async move { client.call(&block).await }));
        soon(scene.stage.begun.acquire()).await.unwrap().forget();
    }
    assert_eq!(state(&scene).await, is("first", "first", None));
    let mut events = scene.runtime.lifecycle().events();
    let mut operator = scene.client().await;
    let cure = tokio::spawn(async move { operator.swap(&to("second")).await });
    while !format!("{:?}", soon(events.next()).await.unwrap()).contains("Published") {}
    assert_eq!(state(&scene).await, is("second", "second", Some("second")));
    scene.stage.door.open();
    for call in calls {
        soon(call).await.unwrap().unwrap();
    }
    soon(cure).await.unwrap().unwrap();
    scene.stop().await;
}
