//! A runtime from start to shutdown.

use std::{
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::PathBuf,
    sync::Arc,
};

use oneiric_core::{BoxFuture, Coded, ErrorKind};
use oneiric_domains::Cache;
use oneiric_lifecycle::{
    CallError, FactoryTable, Instance, Invoke, Operation, Payload, factory_fn,
};
use oneiric_runtime::{Client, ClientError, RuntimeBuilder, Settings};
use tokio::net::UnixStream;

use crate::support::{CAST, Scene, Stage, build, slot, soon};

#[tokio::test]
async fn p21_a_second_runtime_on_one_state_directory_is_refused_and_the_first_goes_on() {
    let scene = Scene::start(CAST).await;
    let second = build(&Stage::new(), CAST, scene.dir.path());
    let refused = soon(second.run(std::future::pending())).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.kind()),
        ("runtime.already_running", ErrorKind::Busy)
    );
    assert!(refused.hint().unwrap().contains("state directory"));
    scene.still_serves().await;
    scene.stop().await;
}

#[tokio::test]
async fn a_socket_that_another_process_serves_is_not_taken_over() {
    let scene = Scene::start(CAST).await;
    let other = tempfile::tempdir().unwrap();
    let text = format!("[admin]\nsocket = {:?}\n{CAST}", scene.socket);
    let refused = soon(build(&Stage::new(), &text, other.path()).run(std::future::pending()))
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), refused.kind()),
        ("runtime.socket_in_use", ErrorKind::Busy)
    );
    scene.still_serves().await;
    scene.stop().await;
}

#[tokio::test]
async fn a_socket_left_by_a_crash_is_replaced_and_a_file_in_its_place_is_not() {
    let (stage, dir) = (Stage::new(), tempfile::tempdir().unwrap());
    let runtime = build(&stage, CAST, dir.path());
    let socket = runtime.settings().socket_path();
    let mut private = std::fs::DirBuilder::new();
    private.mode(0o700);
    private.create(socket.parent().unwrap()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let scene = Scene::run(stage, runtime, dir).await;
    assert_eq!(
        std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o600
    );
    scene.still_serves().await;

    let other = tempfile::tempdir().unwrap();
    let file = other.path().join("notes.txt");
    std::fs::File::create(&file).unwrap();
    let text = format!("[admin]\nsocket = {file:?}\n{CAST}");
    let refused = soon(build(&Stage::new(), &text, other.path()).run(std::future::pending()))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "runtime.socket_unusable");
    assert!(file.exists());
    scene.stop().await;
}

#[tokio::test]
async fn a_socket_path_that_is_too_long_is_refused_with_its_length_and_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let long: PathBuf = dir.path().join("x".repeat(120));
    let refused = soon(build(&Stage::new(), CAST, &long).run(std::future::pending()))
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), refused.kind()),
        ("runtime.socket_path_too_long", ErrorKind::Config)
    );
    let length = long.join("state/admin.sock").as_os_str().len();
    assert!(
        refused
            .to_string()
            .contains(&format!("is {length} bytes long")),
        "{refused}"
    );
    assert!(refused.hint().unwrap().contains("admin.socket"));
}

#[tokio::test]
async fn a_slot_that_cannot_be_activated_does_not_keep_the_others_from_it() {
    let sick = "\n[[candidates]]\nslot = 'task/mail'\nprovider = 'sick'\nfactory = 'oneiric.test:actor'\n\
                [providers.'task/mail'.sick]\nname = 'mail'\nprobe = 'critical'\n";
    let scene = Scene::start(&format!("{CAST}{sick}")).await;
    let status = scene.runtime.status(Some(&slot("task/mail"))).unwrap();
    assert_eq!(
        status.slots[0].last_error.as_ref().unwrap().failure.code,
        "lifecycle.probe_failed"
    );
    scene.still_serves().await;
    scene.stop().await;
}

#[tokio::test]
async fn slots_that_need_each_other_are_refused_one_by_one_and_the_process_goes_on() {
    let circle = ["task/a", "task/b"].map(|name| {
        let other = if name == "task/a" { "task/b" } else { "task/a" };
        format!(
            "[[candidates]]\nslot = '{name}'\nprovider = 'p'\nfactory = 'oneiric.test:actor'\nrequires = ['{other}']\n\
             [providers.'{name}'.p]\nname = '{name}'\n"
        )
    });
    let scene = Scene::start(&format!("{CAST}\n{}", circle.concat())).await;
    let status = scene.runtime.status(Some(&slot("task/a"))).unwrap();
    let code = status.slots[0].last_error.as_ref().unwrap().failure.code;
    assert!(
        ["lifecycle.dependency_cycle", "lifecycle.dependency_failed"].contains(&code),
        "{code}"
    );
    scene.still_serves().await;
    scene.stop().await;
}

#[tokio::test]
async fn p19_shutdown_answers_the_call_under_way_then_retires_dependents_first_and_cleans_up() {
    let text = "[[candidates]]\nslot = 'service/top'\nprovider = 'p'\nfactory = 'oneiric.test:actor'\n\
                requires = ['adapter/cache']\n[providers.'service/top'.p]\nname = 'top'\n";
    let mut scene = Scene::start(&format!("{CAST}\n{text}")).await;
    let mut caller = scene.client().await;
    let request =
        serde_json::from_str(r#"{"slot": "adapter/cache", "operation": "wait"}"#).unwrap();
    let call =
        tokio::spawn(async move { caller.call(&request).await.map(|reply| reply.doc.output) });
    soon(scene.stage.begun.acquire()).await.unwrap().forget();
    let idle = scene.client().await;
    scene.tell_to_stop();
    // The door is closed before anything is taken down.
    soon(async {
        while UnixStream::connect(&scene.socket).await.is_ok() {
            tokio::task::yield_now().await
        }
    })
    .await;
    scene.stage.gate.add_permits(1);
    assert_eq!(soon(call).await.unwrap().unwrap(), "first");
    let (stage, socket) = (scene.stage.clone(), scene.socket.clone());
    let report = scene.stop().await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.retired, [slot("service/top"), slot("adapter/cache")]);
    let expected = [
        "built first",
        "built top",
        "retired top",
        "answered first",
        "retired first",
    ];
    let events = stage.events();
    assert!(
        events == expected
            || events
                == [
                    "built first",
                    "built top",
                    "answered first",
                    "retired top",
                    "retired first"
                ],
        "{events:?}"
    );
    assert!(!socket.exists());
    drop(idle);
    assert!(matches!(
        Client::connect(&socket).await,
        Err(ClientError::NotRunning { .. })
    ));
}

#[tokio::test]
async fn a_runtime_runs_once_and_its_state_directory_can_be_used_again() {
    let scene = Scene::start(CAST).await;
    let (runtime, path) = (scene.runtime.clone(), scene.dir.path().to_owned());
    scene.stop().await;
    let again = soon(runtime.run(std::future::ready(()))).await.unwrap_err();
    assert_eq!(
        (again.code(), again.kind()),
        ("runtime.run_before", ErrorKind::Usage)
    );
    let next = build(&Stage::new(), CAST, &path);
    assert!(
        soon(next.run(std::future::ready(())))
            .await
            .unwrap()
            .is_clean()
    );
}

#[tokio::test]
async fn a_shutdown_during_start_is_a_clean_one() {
    let (stage, dir) = (Stage::new(), tempfile::tempdir().unwrap());
    let report = soon(build(&stage, CAST, dir.path()).run(std::future::ready(())))
        .await
        .unwrap();
    assert!(report.is_clean(), "{report:?}");
    let count = |what: &str| {
        stage
            .events()
            .iter()
            .filter(|event| event.starts_with(what))
            .count()
    };
    assert_eq!(count("built"), count("retired"));
}

#[test]
fn nothing_is_touched_before_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = build(&Stage::new(), CAST, dir.path());
    assert_eq!(runtime.list(None).slots.len(), 1);
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    assert_eq!(
        Settings::default().socket_path(),
        PathBuf::from(".oneiric/admin.sock")
    );
}

/// A cache that can only be called by name, as a sandboxed one is.
struct ByName;

impl Invoke for ByName {
    fn invoke<'a>(
        &'a self,
        operation: &'a str,
        _: Payload,
    ) -> BoxFuture<'a, Result<Payload, CallError>> {
        Box::pin(async move {
            match operation {
                "get" => Payload::json(&"by name"),
                other => Err(CallError::unknown_operation(other, self)),
            }
        })
    }

    fn operations(&self) -> Vec<Operation> {
        ["get", "put", "delete"]
            .map(|name| Operation::new(name, "as every cache"))
            .to_vec()
    }
}

#[tokio::test]
async fn a_component_called_by_name_has_the_facets_of_the_domains_without_asking() {
    let text = "[[candidates]]\nslot = 'adapter/cache'\nprovider = 'p'\nfactory = 'oneiric.test:by_name'\n";
    let mut table = FactoryTable::new();
    let by_name =
        factory_fn(|_, _: serde_json::Value| async { Ok(Instance::new(Arc::new(ByName))) });
    table.insert("oneiric.test:by_name".parse().unwrap(), by_name);
    let settings = Settings::parse(text, "oneiric.toml").unwrap();
    let runtime = RuntimeBuilder::new(settings).factories(table).build();
    let runtime = runtime.unwrap();
    let lease = soon(runtime.lifecycle().lease(&slot("adapter/cache"))).await;
    let lease = lease.unwrap();
    let cache = lease.get::<dyn Cache>().unwrap();
    let value = soon(cache.get("a")).await.unwrap();
    assert_eq!(value.as_deref(), Some(&b"by name"[..]));
}

#[tokio::test]
async fn the_socket_is_its_owners_alone_wherever_it_is() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let elsewhere = dir.path().join("admin.sock");
    let scene = Scene::start(&format!("[admin]\nsocket = {elsewhere:?}\n{CAST}")).await;
    assert_eq!(scene.socket, elsewhere);
    let mode = elsewhere.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    scene.stop().await;
}

/// Half a request would be waited for ten seconds. The clock stands still except when nobody has anything to do.
#[tokio::test(start_paused = true)]
async fn a_connection_that_still_waits_does_not_hold_up_the_end() {
    let scene = Scene::start(CAST).await;
    let socket = scene.socket.clone();
    let mut half = UnixStream::connect(&socket).await.unwrap();
    let sent = tokio::io::AsyncWriteExt::write_all(
        &mut half,
        b"POST /v1/call HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{",
    );
    soon(sent).await.unwrap();
    scene.still_serves().await;
    let begun = tokio::time::Instant::now();
    assert!(scene.stop().await.is_clean());
    let seconds = begun.elapsed().as_secs();
    assert!(seconds < 5, "{seconds} s by the clock that stands still");
    assert!(!socket.exists());
    drop(half);
}
