//! Pausing, draining and resuming through a runtime: who may be meant, what is kept, what comes back after a restart,
//! and what ends by itself (docs/spec/activity.md).

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use oneiric_core::{Coded, ErrorKind, WallClock};
use oneiric_domains::{ActivityRecord, ActivityStore, StoreError};
use oneiric_lifecycle::{Activity, ActivityScope, DrainEnd};
use oneiric_runtime::{
    ClientError, Runtime, RuntimeBuilder, Settings, Stores,
    api::{ActivityRequest, CallRequest, ScopeDoc},
};
use serde_json::{Value, json};

use crate::support::{CAST, Scene, Stage, slot, soon};

const HOUR: u64 = 3_600_000;

fn scope(text: &str) -> ActivityScope {
    text.parse().unwrap()
}

fn request(text: &str, activity: Activity) -> ActivityRequest {
    ActivityRequest::new(scope(text), activity)
}

fn pause(text: &str) -> ActivityRequest {
    request(text, Activity::Paused)
}

fn resume(text: &str) -> ActivityRequest {
    request(text, Activity::Running)
}

fn for_ms(request: ActivityRequest, ms: u64) -> ActivityRequest {
    ActivityRequest {
        for_ms: Some(ms),
        ..request
    }
}

/// A store that can be told to refuse.
#[derive(Default)]
struct Kept {
    records: Mutex<BTreeMap<String, ActivityRecord>>,
    full: Mutex<bool>,
}

impl Kept {
    fn records(&self) -> Vec<ActivityRecord> {
        self.records.lock().unwrap().values().cloned().collect()
    }

    fn is_full(&self, full: bool) {
        *self.full.lock().unwrap() = full;
    }
}

impl ActivityStore for Kept {
    fn load(&self) -> Result<Vec<ActivityRecord>, StoreError> {
        Ok(self.records())
    }

    fn set(&self, record: &ActivityRecord) -> Result<(), StoreError> {
        if *self.full.lock().unwrap() {
            let error = StoreError::new("test.full", ErrorKind::Unavailable, "no space left");
            return Err(error.with_hint("free some space"));
        }
        let mut records = self.records.lock().unwrap();
        match record.activity {
            Activity::Running => records.remove(&record.scope),
            _ => records.insert(record.scope.clone(), record.clone()),
        };
        Ok(())
    }
}

/// A clock that stands still until it is set.
struct Still(Mutex<SystemTime>);

impl Still {
    fn at(ms: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(UNIX_EPOCH + Duration::from_millis(ms))))
    }

    fn set(&self, ms: u64) {
        *self.0.lock().unwrap() = UNIX_EPOCH + Duration::from_millis(ms);
    }
}

impl WallClock for Still {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

fn build(text: &str, dir: &Path, kept: &Arc<Kept>, clock: Arc<dyn WallClock>) -> (Stage, Runtime) {
    let stage = Stage::new();
    let mut settings = Settings::parse(text, "oneiric.toml").unwrap();
    settings.state_dir = dir.join("state");
    let runtime = RuntimeBuilder::new(settings)
        .factories(stage.factories())
        .stores(Stores {
            activity: Arc::clone(kept) as Arc<dyn ActivityStore>,
            ..Stores::in_memory(Arc::clone(&clock))
        })
        .wall_clock(clock)
        .build()
        .unwrap();
    (stage, runtime)
}

async fn scene(kept: &Arc<Kept>, clock: Arc<Still>) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let (stage, runtime) = build(CAST, dir.path(), kept, clock);
    Scene::run(stage, runtime, dir).await
}

fn who() -> CallRequest {
    CallRequest {
        slot: slot("adapter/cache"),
        operation: "who".into(),
        input: Value::Null,
    }
}

/// `scope activity by who`, for everything that does not run.
fn held(runtime: &Runtime) -> Vec<String> {
    let scopes = runtime.activity(None).unwrap().scopes.into_iter();
    let line = |doc: ScopeDoc| {
        let who = doc.who.unwrap_or_default();
        format!("{} {} by {who}", doc.scope, doc.activity.name())
    };
    scopes.map(line).collect()
}

#[tokio::test]
async fn p68_a_pause_over_the_socket_refuses_the_next_call_and_says_why_and_until_when() {
    let clock = Still::at(1_000_000_400);
    let scene = scene(&Arc::default(), clock).await;
    let mut client = scene.client().await;
    let mut pause = for_ms(pause("adapter/*"), HOUR);
    pause.note = Some("migrating".into());
    let change = soon(client.set_activity(&pause)).await.unwrap().doc;
    assert_eq!(
        (change.before, change.now.activity),
        (Activity::Running, Activity::Paused)
    );
    assert_eq!(change.now.until_unix_ms, Some(1_003_600_400));
    assert_eq!(change.now.slots, [slot("adapter/cache")]);
    let Err(ClientError::Refused {
        code,
        status,
        message,
        hint,
        ..
    }) = soon(scene.client().await.call(&who())).await
    else {
        panic!("a call slipped through")
    };
    assert_eq!((code.as_str(), status), ("lifecycle.busy", 423));
    let who = change.now.who.unwrap();
    assert_eq!(
        message,
        format!(
            "adapter/cache is paused (adapter/*) by {who} since 1970-01-12T13:46:40Z: migrating; \
             until 1970-01-12T14:46:40Z"
        )
    );
    assert!(hint.unwrap().contains("oneiric resume 'adapter/*'"));
    let call = r#"{"slot": "adapter/cache", "operation": "who"}"#;
    let answer = scene.post("/v1/call", call).await;
    assert!(answer.contains("\r\nretry-after: 3600\r\n"), "{answer}");
    assert!(answer.contains(r#""retry_after_ms":3600000"#), "{answer}");
    soon(client.set_activity(&resume("adapter/*")))
        .await
        .unwrap();
    scene.still_serves().await;
    scene.stop().await;
}

#[tokio::test]
async fn one_scope_is_told_in_full_with_what_holds_it() {
    let scene = scene(&Arc::default(), Still::at(5)).await;
    let runtime = &scene.runtime;
    runtime
        .set_activity(pause("adapter/*"), "ann")
        .await
        .unwrap();
    let one = |text| {
        runtime
            .activity(Some(&scope(text)))
            .unwrap()
            .scopes
            .remove(0)
    };
    let cache = one("adapter/cache");
    assert_eq!(
        (cache.activity, cache.held_by),
        (Activity::Running, Some(scope("adapter/*")))
    );
    assert_eq!(
        one("adapter/cache:second").held_by,
        Some(scope("adapter/*"))
    );
    let domain = one("adapter/*");
    assert_eq!((domain.held_by, domain.who.as_deref()), (None, Some("ann")));
    assert_eq!(one("task/*").slots, []);
    let json = scene.get("/v1/activity?scope=adapter/%2A").await;
    assert!(json.contains(r#""schema":"oneiric.activity/1""#), "{json}");
    scene.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_refused_with_what_may_be_meant() {
    let scene = scene(&Arc::default(), Still::at(5)).await;
    let runtime = &scene.runtime;
    for (text, code, hint) in [
        (
            "adapter/cahce",
            "runtime.scope_unknown",
            Some("did you mean 'adapter/cache'?"),
        ),
        (
            "adapter/cahce:first",
            "runtime.scope_unknown",
            Some("did you mean 'adapter/cache'?"),
        ),
        (
            "adaptr/*",
            "runtime.scope_unknown",
            Some("did you mean 'adapter/*'?"),
        ),
        (
            "zebras/*",
            "runtime.scope_unknown",
            Some("`oneiric list` shows the slots there are"),
        ),
        ("adapter/cache:frist", "runtime.provider_unknown", None),
    ] {
        let error = runtime.set_activity(pause(text), "ann").await.unwrap_err();
        assert_eq!(
            (error.code(), error.kind()),
            (code, ErrorKind::NotFound),
            "{text}"
        );
        assert_eq!(error.hint().as_deref(), hint, "{text}");
        assert_eq!(
            runtime.activity(Some(&scope(text))).unwrap_err().code(),
            code
        );
    }
    // A known domain may be empty: whatever appears in it is meant.
    runtime
        .set_activity(pause("workflow/*"), "ann")
        .await
        .unwrap();
    assert_eq!(held(runtime), ["workflow/* paused by ann"]);
    scene.stop().await;
}

#[tokio::test]
async fn notes_and_times_have_their_bounds() {
    let scene = scene(&Arc::default(), Still::at(5)).await;
    let runtime = &scene.runtime;
    let noted = |length| ActivityRequest {
        note: Some("n".repeat(length)),
        ..pause("adapter/cache")
    };
    let day = 24 * HOUR;
    for (request, fits) in [
        (noted(1_024), true),
        (noted(1_025), false),
        (for_ms(pause("adapter/cache"), 1_000), true),
        (for_ms(pause("adapter/cache"), 999), false),
        (for_ms(pause("adapter/cache"), 30 * day), true),
        (for_ms(pause("adapter/cache"), 30 * day + 1), false),
        (for_ms(pause("adapter/cache"), u64::MAX), false),
        (for_ms(resume("adapter/cache"), 1_000), false),
    ] {
        let result = runtime.set_activity(request.clone(), "ann").await;
        assert_eq!(result.is_ok(), fits, "{request:?}");
        if let Err(error) = result {
            assert_eq!(error.code(), "runtime.request_invalid");
        }
    }
    let body = json!({"scope": "adapter", "activity": "paused"}).to_string();
    let answer = scene.post("/v1/activity", &body).await;
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("'adapter/*'"),
        "{answer}"
    );
    scene.stop().await;
}

#[tokio::test]
async fn a_store_that_refuses_leaves_everything_as_it_was() {
    let kept = Arc::new(Kept::default());
    let scene = scene(&kept, Still::at(5)).await;
    let runtime = &scene.runtime;
    runtime.set_activity(pause("task/*"), "ann").await.unwrap();
    kept.is_full(true);
    for request in [pause("adapter/cache"), resume("task/*")] {
        let error = runtime.set_activity(request, "ann").await.unwrap_err();
        assert_eq!(
            (error.code(), error.kind()),
            ("test.full", ErrorKind::Unavailable)
        );
        assert_eq!(error.to_string(), "no space left");
        assert_eq!(error.hint().as_deref(), Some("free some space"));
    }
    assert_eq!(held(runtime), ["task/* paused by ann"]);
    scene.still_serves().await;
    // What changes nothing needs no store.
    runtime
        .set_activity(resume("adapter/cache"), "ann")
        .await
        .unwrap();
    kept.is_full(false);
    runtime
        .set_activity(pause("adapter/cache"), "ann")
        .await
        .unwrap();
    assert_eq!(kept.records().len(), 2);
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn p68_concurrent_writers_lose_no_flag() {
    use std::fmt::Write;
    let slots = (0..100).fold(CAST.to_owned(), |mut text, number| {
        let lines = "provider = 'p'\nfactory = 'oneiric.test:actor'\n";
        write!(text, "\n[[candidates]]\nslot = 'task/s{number}'\n{lines}").unwrap();
        write!(text, "[providers.'task/s{number}'.p]\nname = 'p'\n").unwrap();
        text
    });
    let (stage, dir) = (Stage::new(), tempfile::tempdir().unwrap());
    let runtime = crate::support::build(&stage, &slots, dir.path());
    let scene = Scene::run(stage, runtime, dir).await;
    let mut shells = Vec::new();
    for shell in 0..2 {
        let mut client = scene.client().await;
        shells.push(tokio::spawn(async move {
            for number in 0..100 {
                // Each its own half, both the same one in between, now paused and now drained.
                let own = if number % 2 == shell {
                    Activity::Paused
                } else {
                    Activity::Draining
                };
                let mine = format!("task/s{}", (number / 2) * 2 + shell);
                soon(client.set_activity(&request(&mine, own)))
                    .await
                    .unwrap();
                let mut both = request("adapter/cache", own);
                both.note = Some(format!("{shell}/{number}"));
                soon(client.set_activity(&both)).await.unwrap();
            }
        }));
    }
    for shell in shells {
        soon(shell).await.unwrap();
    }
    let in_force = soon(scene.client().await.activity(None)).await;
    let in_force = in_force.unwrap().doc.scopes;
    assert_eq!(in_force.len(), 101);
    // What is kept is what was in force, to the note and the time, the one that both wrote among them.
    let said = |scopes: Vec<ScopeDoc>| -> BTreeMap<String, _> {
        let said = |doc: ScopeDoc| (doc.activity, doc.note, doc.who, doc.since_unix_ms);
        let scopes = scopes.into_iter();
        scopes
            .map(|doc| (doc.scope.to_string(), said(doc)))
            .collect()
    };
    let dir = scene.stop_in_place().await;
    let stage = Stage::new();
    let runtime = crate::support::build(&stage, &slots, dir.path());
    let scene = Scene::run(stage, runtime, dir).await;
    let kept = scene.runtime.activity(None).unwrap().scopes;
    assert_eq!(said(kept), said(in_force), "after a restart");
    let refused = soon(scene.client().await.call(&who())).await.unwrap_err();
    assert_eq!(refused.code(), "lifecycle.busy");
    scene.stop().await;
}

#[tokio::test]
async fn what_was_paused_stays_paused_after_a_restart_before_anything_can_be_called() {
    let kept = Arc::new(Kept::default());
    let before = scene(&kept, Still::at(1_000)).await;
    let runtime = &before.runtime;
    runtime
        .set_activity(pause("adapter/cache:first"), "ann")
        .await
        .unwrap();
    runtime
        .set_activity(for_ms(pause("task/*"), 2_000), "ben")
        .await
        .unwrap();
    let drain = for_ms(request("adapter/*", Activity::Draining), HOUR);
    runtime.set_activity(drain, "cas").await.unwrap();
    before.stop().await;
    let dir = tempfile::tempdir().unwrap();
    let (stage, runtime) = build(CAST, dir.path(), &kept, Still::at(3_000));
    let scene = Scene::run(stage, runtime, dir).await;
    // What ended while nothing ran is neither in force nor kept.
    assert_eq!(
        held(&scene.runtime),
        [
            "adapter/* draining by cas",
            "adapter/cache:first paused by ann"
        ]
    );
    assert_eq!(kept.records().len(), 2);
    let error = scene.runtime.call(who()).await.unwrap_err();
    assert_eq!(error.code(), "lifecycle.busy");
    assert_eq!(error.retry_at(), None, "the other rule has no end");
    let until = scene.runtime.activity(None).unwrap().scopes[0].until_unix_ms;
    assert_eq!(until, Some(1_000 + HOUR));
    let drained = scope("adapter/*");
    let drained = soon(scene.runtime.lifecycle().drained(&drained)).await;
    assert_eq!(drained, DrainEnd::Empty);
    scene.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_forget_what_ended_meanwhile_keeps_nobody_from_starting() {
    let kept = Arc::new(Kept::default());
    for (scope, until_unix_ms) in [("task/*", 2_000), ("adapter/cache", 2_500)] {
        let record = ActivityRecord {
            scope: scope.into(),
            activity: Activity::Paused,
            note: None,
            who: None,
            since_unix_ms: 1,
            until_unix_ms: Some(until_unix_ms),
        };
        kept.set(&record).unwrap();
    }
    kept.is_full(true);
    let dir = tempfile::tempdir().unwrap();
    let (_stage, runtime) = build(CAST, dir.path(), &kept, Still::at(3_000));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (started, has_started) = tokio::sync::oneshot::channel();
    let run = tokio::spawn({
        let runtime = runtime.clone();
        let until = async { drop(stopped.await) };
        async move { runtime.run_with(until, |_| started.send(()).unwrap()).await }
    });
    has_started.await.unwrap();
    assert_eq!(held(&runtime), [""; 0]);
    runtime.call(who()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(kept.records().len(), 2, "the store still refuses");
    // What is said anew meanwhile is not forgotten with what was there before.
    kept.is_full(false);
    runtime.set_activity(pause("task/*"), "ann").await.unwrap();
    let forgotten = async {
        while kept.records().len() > 1 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let hour = Duration::from_millis(HOUR);
    tokio::time::timeout(hour, forgotten).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(kept.records()[0].scope, "task/*");
    assert_eq!(held(&runtime), ["task/* paused by ann"]);
    drop(stop);
    run.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_paused_before_it_runs_is_kept_when_it_runs() {
    let kept = Arc::new(Kept::default());
    let first = scene(&kept, Still::at(5)).await;
    for scope in ["task/*", "adapter/*"] {
        let drain = request(scope, Activity::Draining);
        first.runtime.set_activity(drain, "ann").await.unwrap();
    }
    first.stop().await;
    let dir = tempfile::tempdir().unwrap();
    let (stage, runtime) = build(CAST, dir.path(), &kept, Still::at(9));
    for scope in ["adapter/cache", "task/*"] {
        runtime.set_activity(pause(scope), "ben").await.unwrap();
    }
    let expected = [
        "adapter/* draining by ann",
        "adapter/cache paused by ben",
        "task/* paused by ben",
    ];
    let second = Scene::run(stage, runtime, dir).await;
    assert_eq!(held(&second.runtime), expected);
    second.stop().await;
    let third = scene(&kept, Still::at(10)).await;
    assert_eq!(held(&third.runtime), expected);
    third.stop().await;
}

#[tokio::test]
async fn what_was_paused_before_it_runs_and_cannot_be_kept_ends_the_run() {
    let kept = Arc::new(Kept::default());
    kept.is_full(true);
    let dir = tempfile::tempdir().unwrap();
    let (stage, runtime) = build(CAST, dir.path(), &kept, Still::at(9));
    let pause = pause("adapter/cache");
    runtime.set_activity(pause, "ben").await.unwrap();
    let ended = soon(runtime.run(std::future::pending())).await.unwrap_err();
    assert_eq!(ended.code(), "test.full");
    assert_eq!(stage.events(), [""; 0]);
    assert_eq!(held(&runtime), ["adapter/cache paused by ben"]);
}

#[tokio::test]
async fn a_process_does_not_start_over_what_it_cannot_read() {
    let kept = Arc::new(Kept::default());
    let record = ActivityRecord {
        scope: "from/the:future:!".into(),
        activity: Activity::Paused,
        note: None,
        who: None,
        since_unix_ms: 1,
        until_unix_ms: None,
    };
    kept.set(&record).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (stage, runtime) = build(CAST, dir.path(), &kept, Still::at(3_000));
    let error = soon(runtime.run(std::future::pending())).await.unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("runtime.activity_unreadable", ErrorKind::Config)
    );
    assert!(error.to_string().contains("from/the:future"), "{error}");
    assert_eq!(stage.events(), [""; 0]);
}

/// Waits until nothing is held, while the clock of tokio runs on by itself whenever all else rests.
async fn until_lifted(runtime: &Runtime) -> Duration {
    let begun = tokio::time::Instant::now();
    while !held(runtime).is_empty() {
        assert!(
            begun.elapsed() < Duration::from_secs(24 * 3_600),
            "never lifted"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn what_is_paused_for_a_time_resumes_by_itself_even_if_the_clock_is_set_back() {
    let (kept, clock) = (Arc::new(Kept::default()), Still::at(10 * HOUR));
    let dir = tempfile::tempdir().unwrap();
    let (_stage, runtime) = build(
        CAST,
        dir.path(),
        &kept,
        Arc::clone(&clock) as Arc<dyn WallClock>,
    );
    let mut events = runtime.lifecycle().events();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let run = tokio::spawn({
        let runtime = runtime.clone();
        async move { runtime.run(async { drop(stopped.await) }).await }
    });
    runtime
        .set_activity(for_ms(pause("adapter/cache"), HOUR), "ann")
        .await
        .unwrap();
    clock.set(HOUR);
    let took = until_lifted(&runtime).await;
    assert!(took >= Duration::from_secs(3_600), "lifted after {took:?}");
    assert_eq!(kept.records(), []);
    let mut last = None;
    // Of the probes of an hour not all are kept.
    while let Ok(Some(streamed)) =
        tokio::time::timeout(Duration::from_millis(1), events.next()).await
    {
        let oneiric_lifecycle::Streamed::Event(event) = streamed else {
            continue;
        };
        if let oneiric_lifecycle::Happening::ActivityChanged { activity, who, .. } = &event.what {
            last = Some((*activity, who.clone()));
        }
    }
    assert_eq!(last, Some((Activity::Running, Some("timer".to_owned()))));
    drop(stop);
    run.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_paused_until_a_time_resumes_when_the_clock_is_there_however_it_came_there() {
    let (kept, clock) = (Arc::new(Kept::default()), Still::at(HOUR));
    let dir = tempfile::tempdir().unwrap();
    let (_stage, runtime) = build(
        CAST,
        dir.path(),
        &kept,
        Arc::clone(&clock) as Arc<dyn WallClock>,
    );
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let run = tokio::spawn({
        let runtime = runtime.clone();
        async move { runtime.run(async { drop(stopped.await) }).await }
    });
    runtime
        .set_activity(for_ms(pause("adapter/cache"), 20 * HOUR), "ann")
        .await
        .unwrap();
    // As after a night asleep.
    clock.set(21 * HOUR);
    let took = until_lifted(&runtime).await;
    assert!(took < Duration::from_secs(60), "lifted after {took:?}");
    // A store that refuses at that moment is asked again.
    runtime
        .set_activity(for_ms(pause("adapter/cache"), HOUR), "ann")
        .await
        .unwrap();
    kept.is_full(true);
    clock.set(23 * HOUR);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(held(&runtime), ["adapter/cache paused by ann"]);
    kept.is_full(false);
    until_lifted(&runtime).await;
    // Set anew before its time is up, it lasts as long as was said last.
    runtime
        .set_activity(for_ms(pause("adapter/cache"), HOUR), "ann")
        .await
        .unwrap();
    runtime
        .set_activity(for_ms(pause("adapter/cache"), 3 * HOUR), "ben")
        .await
        .unwrap();
    let took = until_lifted(&runtime).await;
    assert!(
        took >= Duration::from_secs(3 * 3_600),
        "lifted after {took:?}"
    );
    drop(stop);
    run.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_ends_while_the_process_stops_is_left_to_the_next_start() {
    let (kept, clock) = (Arc::new(Kept::default()), Still::at(HOUR));
    let dir = tempfile::tempdir().unwrap();
    let (stage, runtime) = build(
        CAST,
        dir.path(),
        &kept,
        Arc::clone(&clock) as Arc<dyn WallClock>,
    );
    let mut scene = Scene::run(stage, runtime, dir).await;
    // No call: that holds a thread of its own, and so the clock.
    let lifecycle = scene.runtime.lifecycle().clone();
    let lease = lifecycle.lease(&slot("adapter/cache")).await.unwrap();
    scene
        .runtime
        .set_activity(for_ms(pause("service/*"), 2_000), "ann")
        .await
        .unwrap();
    scene.tell_to_stop();
    let stopped = || {
        let lease = scene
            .runtime
            .lifecycle()
            .slot(&slot("adapter/cache"))
            .lease();
        lease.is_err_and(|error| error.code() == "lifecycle.stopped")
    };
    while !stopped() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Its time is up long before the work that is waited for ends; time passes in an instant here.
    clock.set(2 * HOUR);
    tokio::time::sleep(Duration::from_secs(8)).await;
    drop(lease);
    assert!(scene.stop().await.is_clean());
    let scopes: Vec<String> = kept.records().into_iter().map(|one| one.scope).collect();
    assert_eq!(scopes, ["service/*"], "nothing was written any more");
}

#[tokio::test]
async fn changes_that_were_begun_are_kept_before_the_store_is_closed() {
    let mut scene = Scene::start(CAST).await;
    let runtime = scene.runtime.clone();
    let changes: Vec<_> = (0..100)
        .map(|number| {
            let mut change = pause("service/*");
            change.note = Some(number.to_string());
            let runtime = runtime.clone();
            tokio::spawn(async move { runtime.set_activity(change, "ann").await })
        })
        .collect();
    // One is under way, and all others wait in line: each had its first turn on this one thread.
    while runtime.activity(None).unwrap().scopes.is_empty() {
        tokio::task::yield_now().await;
    }
    scene.tell_to_stop();
    for change in changes {
        soon(change).await.unwrap().unwrap();
    }
    let dir = scene.stop_in_place().await;
    let stage = Stage::new();
    let again = crate::support::build(&stage, CAST, dir.path());
    let scene = Scene::run(stage, again, dir).await;
    let kept = scene.runtime.activity(None).unwrap().scopes;
    assert_eq!(kept[0].note.as_deref(), Some("99"));
    scene.stop().await;
}

#[tokio::test]
async fn p69_drain_waits_for_what_runs_and_an_operators_swap_goes_ahead() {
    let scene = scene(&Arc::default(), Still::at(5)).await;
    let mut caller = scene.client().await;
    let call = tokio::spawn(async move {
        let call = CallRequest {
            operation: "wait".into(),
            ..who()
        };
        soon(caller.call(&call)).await
    });
    soon(scene.stage.begun.acquire()).await.unwrap().forget();
    let mut client = scene.client().await;
    let drain = request("adapter/cache", Activity::Draining);
    let now = soon(client.set_activity(&drain)).await.unwrap().doc.now;
    assert_eq!((now.in_flight, now.drained), (1, false));
    let second = oneiric_runtime::api::SwapRequestDoc::to_provider(
        slot("adapter/cache"),
        "second".parse().unwrap(),
    );
    let mut operator = scene.client().await;
    let swap = tokio::spawn(async move { soon(operator.swap(&second)).await });
    let serves = || {
        let status = scene
            .runtime
            .lifecycle()
            .status(&slot("adapter/cache"))
            .unwrap();
        status.active.unwrap().provider.to_string()
    };
    soon(async {
        while serves() != "second" {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let doc = soon(client.activity(Some(&scope("adapter/cache"))))
        .await
        .unwrap()
        .doc;
    assert_eq!((doc.scopes[0].in_flight, doc.scopes[0].drained), (1, false));
    scene.stage.gate.add_permits(1);
    assert_eq!(soon(call).await.unwrap().unwrap().doc.output, "first");
    assert!(soon(swap).await.unwrap().unwrap().doc.error.is_none());
    let drained = scope("adapter/cache");
    let drained = soon(scene.runtime.lifecycle().drained(&drained)).await;
    assert_eq!(drained, DrainEnd::Empty);
    let doc = soon(client.activity(Some(&scope("adapter/cache"))))
        .await
        .unwrap()
        .doc;
    assert_eq!((doc.scopes[0].in_flight, doc.scopes[0].drained), (0, true));
    scene.stop().await;
}

#[tokio::test]
async fn what_is_said_again_without_a_note_keeps_the_note_and_who_said_it() {
    let scene = Scene::start(CAST).await;
    let said = async |document: &str, who: &str| {
        let request = serde_json::from_str(document).unwrap();
        let done = soon(scene.runtime.set_activity(request, who))
            .await
            .unwrap();
        (
            done.now.note,
            done.now.who,
            done.now.until_unix_ms.is_some(),
        )
    };
    let drain = r#"{"scope": "adapter/cache", "activity": "draining""#;
    let text = |text: &str| Some(text.to_owned());
    said(&format!(r#"{drain}, "note": "moving"}}"#), "ann").await;
    let again = said(&format!("{drain}}}"), "bob").await;
    assert_eq!(again, (text("moving"), text("ann"), false));
    let ends = said(&format!(r#"{drain}, "for_ms": 60000}}"#), "bob").await;
    assert_eq!(ends, (text("moving"), text("bob"), true));
    let no_end = said(&format!("{drain}}}"), "cid").await;
    assert_eq!(no_end, (text("moving"), text("cid"), false));
    let other = r#"{"scope": "adapter/cache", "activity": "paused"}"#;
    assert_eq!(said(other, "dan").await, (None, text("dan"), false));
    scene.stop().await;
}
