//! Every route, through the client and as bytes on the wire.

use oneiric_core::ErrorKind;
use oneiric_runtime::{
    ClientError, ExplainQuery,
    api::{CallRequest, Encoding, SwapRequestDoc, Verdict, schema},
};
use serde_json::{Value, json};

use crate::support::{CAST, Scene, slot, soon};

fn call(operation: &str, input: Value) -> CallRequest {
    CallRequest {
        slot: slot("adapter/cache"),
        operation: operation.into(),
        input,
    }
}

fn refused(error: ClientError) -> (String, ErrorKind, u16) {
    match error {
        ClientError::Refused {
            code,
            kind,
            status,
            request_id,
            ..
        } => {
            assert!(!request_id.is_empty());
            (code, kind, status)
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn list_shows_candidates_best_first_and_who_serves() {
    let scene = Scene::start(CAST).await;
    let mut client = scene.client().await;
    let reply = soon(client.list(None)).await.unwrap();
    assert_eq!(reply.json["schema"], schema::LIST);
    let [cache] = reply.doc.slots.as_slice() else {
        panic!("{:?}", reply.doc)
    };
    let order: Vec<_> = cache
        .candidates
        .iter()
        .map(|one| (one.provider.as_str(), one.active, one.winner))
        .collect();
    let expected = [
        ("first", true, true),
        ("second", false, false),
        ("sick", false, false),
        ("broken", false, false),
    ];
    assert_eq!(order, expected);
    assert_eq!(cache.state, "active");
    assert_eq!(soon(client.list(Some("task"))).await.unwrap().doc.slots, []);
    assert_eq!(
        refused(soon(client.list(Some("Task"))).await.unwrap_err()).0,
        "core.invalid_name"
    );
    scene.stop().await;
}

#[tokio::test]
async fn explain_answers_in_json_and_text_and_says_what_serves() {
    let scene = Scene::start(CAST).await;
    let mut client = scene.client().await;
    let mut query = ExplainQuery::new(slot("adapter/cache"));
    let reply = soon(client.explain(&query)).await.unwrap();
    assert_eq!(reply.json["schema"], schema::EXPLAIN);
    assert_eq!(reply.json["winner"]["provider"], "first");
    assert_eq!(reply.doc.explanation["winner"]["provider"], "first");
    assert!(
        reply.doc.text.contains("adapter/cache"),
        "{}",
        reply.doc.text
    );
    assert_eq!(reply.doc.serving.provider.unwrap().as_str(), "first");

    query.what_if = vec!["down=first".into(), "priority:sick=100".into()];
    let reply = soon(client.explain(&query)).await.unwrap();
    assert_eq!(reply.json["winner"]["provider"], "sick");
    assert_eq!(reply.doc.serving.provider.unwrap().as_str(), "first");

    query.what_if = vec!["down=nobody".into()];
    let wrong = refused(soon(client.explain(&query)).await.unwrap_err());
    assert_eq!(wrong, ("core.invalid_change".into(), ErrorKind::Usage, 400));

    let mut query = ExplainQuery::new(slot("adapter/cache"));
    query.capabilities = vec!["ttl".into(), "tls & more".into()];
    query.any = true;
    assert_eq!(
        soon(client.explain(&query)).await.unwrap().json["winner"]["provider"],
        "first"
    );
    query.any = false;
    assert_eq!(
        soon(client.explain(&query)).await.unwrap().json["winner"],
        Value::Null
    );

    let unknown = ExplainQuery::new(slot("adapter/nothing"));
    let unknown = refused(soon(client.explain(&unknown)).await.unwrap_err());
    assert_eq!(
        unknown,
        ("core.no_candidate".into(), ErrorKind::NotFound, 404)
    );
    scene.stop().await;
}

#[tokio::test]
async fn status_tells_of_the_process_and_every_slot() {
    let scene = Scene::start(CAST).await;
    let mut client = scene.client().await;
    soon(client.call(&call("who", Value::Null))).await.unwrap();
    let reply = soon(client.status(None)).await.unwrap();
    assert_eq!(reply.doc.schema, schema::STATUS);
    assert_eq!(reply.doc.process.pid, std::process::id());
    let [cache] = reply.doc.slots.as_slice() else {
        panic!("{:?}", reply.doc)
    };
    assert_eq!(
        (
            cache.state.as_str(),
            cache.calls.succeeded,
            cache.swaps.activated
        ),
        ("active", 1, 1)
    );
    // The mirror has every field that was sent.
    assert_eq!(serde_json::to_value(&reply.doc).unwrap(), reply.json);
    soon(client.status(Some(&slot("adapter/cache"))))
        .await
        .unwrap();
    let unknown = soon(client.status(Some(&slot("adapter/nothing"))))
        .await
        .unwrap_err();
    assert_eq!(refused(unknown).0, "core.no_candidate");
    scene.stop().await;
}

#[tokio::test]
async fn health_is_what_was_heard_last_and_a_probe_asks_now() {
    let scene = Scene::start(CAST).await;
    let mut client = scene.client().await;
    let asked = soon(client.probe(Some(&slot("adapter/cache"))))
        .await
        .unwrap();
    assert!(asked.doc.probed && asked.doc.healthy);
    assert_eq!(asked.doc.slots[0].verdict, Verdict::Good);
    assert_eq!(serde_json::to_value(&asked.doc).unwrap(), asked.json);

    let mut swap = SwapRequestDoc::to_provider(slot("adapter/cache"), "sick".parse().unwrap());
    swap.force = true;
    let swapped = soon(client.swap(&swap)).await.unwrap();
    assert_eq!(swapped.doc.report.unwrap().outcome, "forced");
    soon(client.probe(None)).await.unwrap();
    let heard = soon(client.health(None)).await.unwrap();
    assert!(!heard.doc.probed && !heard.doc.healthy);
    assert_eq!(heard.doc.slots[0].verdict, Verdict::Bad);
    assert_eq!(
        heard.doc.slots[0]
            .report
            .as_ref()
            .unwrap()
            .health
            .as_deref(),
        Some("critical")
    );
    scene.stop().await;
}

#[tokio::test]
async fn p15_an_instance_without_a_probe_reads_unknown() {
    let mute = CAST.replace(
        r#"{ name = "first" }"#,
        r#"{ name = "first", probe = "none" }"#,
    );
    let scene = Scene::start(&mute).await;
    let mut client = scene.client().await;
    for probe in [false, true, false] {
        let health = if probe {
            soon(client.probe(None)).await.unwrap().doc
        } else {
            soon(client.health(None)).await.unwrap().doc
        };
        let [cache] = &health.slots[..] else {
            panic!("{health:?}")
        };
        assert_eq!(
            (cache.state.as_str(), cache.verdict),
            ("active", Verdict::Unknown)
        );
        assert!(
            cache
                .report
                .as_ref()
                .is_none_or(|report| report.health.is_none()),
            "{cache:?}"
        );
    }
    scene.stop().await;
}

#[tokio::test]
async fn a_call_answers_with_the_output_and_who_gave_it() {
    let scene = Scene::start(CAST).await;
    let mut client = scene.client().await;
    let reply = soon(client.call(&call("echo", json!({"a": [1, "é"]}))))
        .await
        .unwrap();
    assert_eq!(reply.doc.output, json!({"a": [1, "é"]}));
    assert_eq!(
        (reply.doc.provider.as_str(), reply.doc.encoding),
        ("first", Encoding::Json)
    );
    let reply = soon(client.call(&call("bytes", Value::Null)))
        .await
        .unwrap();
    assert_eq!(
        (reply.doc.encoding, reply.doc.output),
        (Encoding::Base64, "//4=".into())
    );

    let error = soon(client.call(&call("fly", Value::Null)))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("it answers who"), "{error}");
    assert_eq!(
        refused(error),
        (
            "lifecycle.unknown_operation".into(),
            ErrorKind::NotFound,
            404
        )
    );
    let error = soon(client.call(&call("boom", Value::Null)))
        .await
        .unwrap_err();
    assert_eq!(
        refused(error),
        ("lifecycle.panicked".into(), ErrorKind::Unavailable, 503)
    );
    let nobody = CallRequest {
        slot: slot("adapter/nothing"),
        ..call("who", Value::Null)
    };
    assert_eq!(
        refused(soon(client.call(&nobody)).await.unwrap_err()).0,
        "core.no_candidate"
    );
    scene.still_serves().await;
    scene.stop().await;
}

#[tokio::test]
async fn a_paused_slot_is_busy() {
    let scene = Scene::start(CAST).await;
    let paused = oneiric_lifecycle::ActivityRule::pause(slot("adapter/cache"));
    scene
        .runtime
        .lifecycle()
        .set_activity(paused.note("disk full"))
        .unwrap();
    let error = soon(scene.client().await.call(&call("who", Value::Null)))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("disk full"), "{error}");
    assert_eq!(
        refused(error),
        ("lifecycle.busy".into(), ErrorKind::Busy, 423)
    );
    scene.stop().await;
}

#[tokio::test]
async fn ready_names_the_slots_that_do_not_serve() {
    let broken = "\n[[candidates]]\nslot = 'task/mail'\nprovider = 'broken'\nfactory = 'oneiric.test:actor'\n\
                  [providers.'task/mail'.broken]\nname = 'x'\nbuild = 'fail'\n";
    let scene = Scene::start(&format!("{CAST}{broken}")).await;
    let mut client = scene.client().await;
    assert!(soon(client.alive()).await.unwrap().doc.alive);
    let ready = soon(client.ready()).await.unwrap().doc;
    assert!(!ready.ready);
    assert_eq!(ready.not_active[0].slot, slot("task/mail"));
    assert_eq!(
        ready.not_active[0].code.as_deref(),
        Some("lifecycle.build_failed")
    );
    assert!(scene.get("/readyz").await.starts_with("HTTP/1.1 503 "));
    assert_eq!(
        soon(client.health(None)).await.unwrap().doc.slots[1].verdict,
        Verdict::Bad
    );
    scene.stop().await;
}

#[tokio::test]
async fn slots_used_on_demand_are_ready_before_they_are_used() {
    let scene = Scene::start(&format!("[run]\nactivate = 'on_use'\n{CAST}")).await;
    assert_eq!(scene.stage.events(), [""; 0]);
    assert!(scene.runtime.ready().ready);
    assert_eq!(
        scene.runtime.health(None).unwrap().slots[0].verdict,
        Verdict::Inactive
    );
    scene.still_serves().await;
    assert_eq!(scene.stage.events(), ["built first"]);
    scene.stop().await;
}

#[tokio::test]
async fn metrics_count_calls_swaps_and_requests() {
    let scene = Scene::start(CAST).await;
    let mut client = scene.client().await;
    for operation in ["who", "who", "boom"] {
        drop(soon(client.call(&call(operation, Value::Null))).await);
    }
    let text = soon(client.metrics()).await.unwrap();
    let lines = [
        "oneiric_slot_active{slot=\"adapter/cache\"} 1",
        "oneiric_calls_total{slot=\"adapter/cache\",outcome=\"succeeded\"} 2",
        "oneiric_calls_total{slot=\"adapter/cache\",outcome=\"failed\"} 1",
        "oneiric_swaps_total{slot=\"adapter/cache\",outcome=\"activated\"} 1",
        "oneiric_admin_requests_total{route=\"/v1/call\",status=\"200\"} 2",
        "oneiric_admin_requests_total{route=\"/v1/call\",status=\"503\"} 1",
        "oneiric_selections_unknown 0",
    ];
    for line in lines {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    scene.stop().await;
}

#[tokio::test]
async fn p06_a_selection_of_nobody_shows_in_explain_status_list_and_metric() {
    let scene = Scene::start(&format!(
        "[selections]\n'adapter/cache' = 'frist'\n'task/mail' = 'x'\n{CAST}"
    ))
    .await;
    let mut client = scene.client().await;
    let explained = soon(client.explain(&ExplainQuery::new(slot("adapter/cache"))))
        .await
        .unwrap();
    assert!(
        explained.doc.text.contains("'frist'"),
        "{}",
        explained.doc.text
    );
    let status = soon(client.status(None)).await.unwrap().doc;
    let unknown: Vec<_> = status
        .unknown_selections
        .iter()
        .map(|one| (one.slot.as_str(), one.layer.as_str()))
        .collect();
    assert_eq!(
        unknown,
        [("adapter/cache", "settings"), ("task/mail", "settings")]
    );
    let selection = soon(client.list(None)).await.unwrap().doc.slots[0]
        .selection
        .clone()
        .unwrap();
    assert!(!selection.known);
    assert!(
        soon(client.metrics())
            .await
            .unwrap()
            .contains("oneiric_selections_unknown 2\n")
    );
    soon(client.explain(&ExplainQuery::new(slot("task/mail"))))
        .await
        .unwrap();
    scene.stop().await;
}

#[tokio::test]
async fn p85_refusals_carry_a_code_a_message_and_the_request_id() {
    let scene = Scene::start(CAST).await;
    let refused = |answer: String| {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["schema"], schema::ERROR);
        assert!(!body["message"].as_str().unwrap().is_empty());
        assert!(head.to_lowercase().contains(&format!(
            "x-request-id: {}",
            body["request_id"].as_str().unwrap()
        )));
        (
            head.split(' ').nth(1).unwrap().to_owned(),
            body["code"].as_str().unwrap().to_owned(),
        )
    };
    let is = |status: &str, code: &str| (status.to_owned(), code.to_owned());
    assert_eq!(
        refused(scene.get("/v2/x").await),
        is("404", "runtime.route_unknown")
    );
    let answer = scene.get("/v1/swap").await;
    assert!(answer.contains("allow: POST"), "{answer}");
    assert_eq!(refused(answer), is("405", "runtime.method_not_allowed"));
    for path in [
        "/v1/status?slto=x",
        "/v1/explain",
        "/v1/explain?slot=%zz",
        "/v1/explain?slot=a/b&any=1",
    ] {
        assert_eq!(
            refused(scene.get(path).await),
            is("400", "runtime.request_invalid"),
            "{path}"
        );
    }
    assert_eq!(
        refused(scene.get("/v1/status?slot=x").await),
        is("400", "core.invalid_slot")
    );
    assert_eq!(
        refused(scene.get("/v1/explain?slot=a/b&what_if=x").await),
        is("400", "core.invalid_change")
    );
    for body in [
        "",
        "{",
        "[]",
        r#"{"slot": "adapter/cache", "operation": "who", "inptu": 1}"#,
    ] {
        assert_eq!(
            refused(scene.post("/v1/call", body).await),
            is("400", "runtime.request_invalid"),
            "{body}"
        );
    }
    let both = r#"{"slot": "adapter/cache", "provider": "first", "clear": true}"#;
    assert_eq!(
        refused(scene.post("/v1/swap", both).await),
        is("400", "runtime.request_invalid")
    );

    let theirs =
        "GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-request-id: abc.7\r\n\r\n";
    assert!(
        scene
            .raw(theirs.as_bytes())
            .await
            .contains("\"request_id\":\"abc.7\"")
    );
    let hostile = theirs.replace("abc.7", "abc\"7");
    assert!(!scene.raw(hostile.as_bytes()).await.contains("abc"));
    scene.stop().await;
}
