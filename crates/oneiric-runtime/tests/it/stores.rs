//! Stores that fail, and stores of a program's own: what cannot be kept does not happen, and what could not be kept
//! for a while is kept in the end.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use oneiric_core::{Coded, ErrorKind, Slot};
use oneiric_domains::{MemorySelectionStore, Revision, SelectionBook, SelectionStore};
use oneiric_lifecycle::{
    LifecycleError, MemoryStatusStore, SlotHistory, StatusStore, StoreError, SystemWallClock,
};
use oneiric_runtime::{
    Runtime, RuntimeBuilder, RuntimeError, Settings, Stores,
    api::{HistoryDoc, StatusDoc, SwapRequestDoc},
};

use crate::support::{CAST, Scene, Stage, slot, soon};

/// A store in memory that can be full.
#[derive(Default)]
struct Disk {
    selections: MemorySelectionStore,
    status: MemoryStatusStore,
    full: AtomicBool,
    /// Takes its time over history.
    slow: AtomicBool,
    /// While it is set, history that is to be kept waits behind the door.
    held: OnceLock<crate::support::Door>,
    /// Told when a batch came to the door.
    came: tokio::sync::Notify,
    /// Looks at the history.
    looks: AtomicU64,
    /// Is shut down by the next revision, before that is written.
    ended: OnceLock<(Runtime, tokio::runtime::Handle)>,
}

impl Disk {
    fn is_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    fn room(&self) -> Result<(), StoreError> {
        if self.full.load(Ordering::SeqCst) {
            let error = StoreError::new("test.full", ErrorKind::Unavailable, "no space left");
            return Err(error.with_hint("free some space"));
        }
        Ok(())
    }
}

/// The traits are of one crate and `Arc` of another.
#[derive(Clone)]
struct Shared(Arc<Disk>);

impl SelectionStore for Shared {
    fn load(&self) -> Result<SelectionBook, StoreError> {
        self.0.selections.load()
    }

    fn append_all(&self, lines: &[Revision]) -> Result<(), StoreError> {
        self.0.room()?;
        let revision = &lines[0];
        if let Some((runtime, handle)) = self.0.ended.get()
            && revision.revision == 1
        {
            let lifecycle = runtime.lifecycle().clone();
            let ending = lifecycle.clone();
            handle.spawn(async move { ending.shutdown(std::time::Duration::from_secs(5)).await });
            let stopped = || {
                matches!(
                    lifecycle.slot(&revision.slot).lease(),
                    Err(LifecycleError::Stopped { .. })
                )
            };
            while !stopped() {
                std::thread::yield_now();
            }
        }
        self.0.selections.append_all(lines)
    }
}

impl StatusStore for Shared {
    fn load(&self, slot: Option<&Slot>) -> Result<Vec<SlotHistory>, StoreError> {
        self.0.looks.fetch_add(1, Ordering::SeqCst);
        self.0.status.load(slot)
    }

    fn append(&self, batch: &[SlotHistory]) -> Result<(), StoreError> {
        if let Some(door) = self.0.held.get() {
            self.0.came.notify_one();
            door.wait();
        }
        self.0.room()?;
        if self.0.slow.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        self.0.status.append(batch)
    }
}

async fn scene(disk: &Arc<Disk>) -> Scene {
    let (stage, dir) = (Stage::new(), tempfile::tempdir().unwrap());
    let mut settings = Settings::parse(CAST, "oneiric.toml").unwrap();
    settings.state_dir = dir.path().join("state");
    let shared = Shared(Arc::clone(disk));
    let runtime = RuntimeBuilder::new(settings)
        .factories(stage.factories())
        .stores(Stores {
            selections: Arc::new(shared.clone()),
            status: Arc::new(shared),
            ..Stores::in_memory(Arc::new(SystemWallClock::new()))
        })
        .build()
        .unwrap();
    Scene::run(stage, runtime, dir).await
}

fn to(provider: &str) -> SwapRequestDoc {
    SwapRequestDoc::to_provider(slot("adapter/cache"), provider.parse().unwrap())
}

fn clear() -> SwapRequestDoc {
    SwapRequestDoc {
        clear: true,
        ..SwapRequestDoc::to_winner(slot("adapter/cache"))
    }
}

/// Who serves, who ranks best, and what is selected.
async fn now(scene: &Scene) -> (String, String, Option<String>) {
    let status = soon(scene.client().await.status(None)).await.unwrap();
    let StatusDoc {
        slots, selections, ..
    } = status.doc;
    let selected = selections.first().and_then(|one| one.provider.clone());
    (
        slots[0].active.clone().unwrap().provider.to_string(),
        slots[0].winner.clone().unwrap().to_string(),
        selected.map(|provider| provider.to_string()),
    )
}

fn is(serves: &str, wins: &str, selected: Option<&str>) -> (String, String, Option<String>) {
    (serves.into(), wins.into(), selected.map(str::to_owned))
}

#[tokio::test]
async fn a_selection_that_cannot_be_kept_is_refused_and_nothing_changes() {
    let disk = Arc::new(Disk::default());
    let scene = scene(&disk).await;
    let mut client = scene.client().await;
    disk.is_full(true);
    let reply = soon(client.swap(&to("second"))).await.unwrap();
    let error = reply.doc.error.unwrap();
    assert_eq!(
        (error.code.as_str(), error.kind.as_str()),
        ("test.full", "rolled_back")
    );
    assert_eq!(now(&scene).await, is("first", "first", None));
    // What serves already is not exchanged, so there is nothing to roll back.
    let refused = soon(client.swap(&to("first"))).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.hint()),
        ("test.full", Some("free some space"))
    );
    assert_eq!(now(&scene).await, is("first", "first", None));

    disk.is_full(false);
    assert_eq!(
        soon(client.swap(&to("second")))
            .await
            .unwrap()
            .doc
            .revision
            .unwrap()
            .revision,
        1
    );
    disk.is_full(true);
    let reply = soon(client.swap(&clear())).await.unwrap();
    assert_eq!(reply.doc.error.unwrap().code, "test.full");
    assert_eq!(now(&scene).await, is("second", "second", Some("second")));
    // A swap that changes no selection needs no disk.
    let winner = SwapRequestDoc::to_winner(slot("adapter/cache"));
    assert!(
        soon(client.swap(&winner))
            .await
            .unwrap()
            .doc
            .error
            .is_none()
    );
    scene.still_serves().await;

    disk.is_full(false);
    assert_eq!(
        soon(client.swap(&clear()))
            .await
            .unwrap()
            .doc
            .revision
            .unwrap()
            .revision,
        2
    );
    assert_eq!(now(&scene).await, is("first", "first", None));
    let book = disk.selections.load().unwrap();
    assert_eq!((book.last, book.in_force.len()), (2, 0));
    let retired = scene
        .stage
        .events()
        .iter()
        .filter(|event| event.starts_with("retired"))
        .count();
    assert_eq!(
        retired, 4,
        "both that were exchanged and both that could not be recorded"
    );
    scene.stop().await;
}

#[tokio::test]
async fn a_clear_of_what_would_serve_anyway_that_cannot_be_kept_keeps_the_selection() {
    let disk = Arc::new(Disk::default());
    let scene = scene(&disk).await;
    let mut client = scene.client().await;
    soon(client.swap(&to("first"))).await.unwrap();
    disk.is_full(true);
    let refused = soon(client.swap(&clear())).await.unwrap_err();
    assert_eq!(refused.code(), "test.full");
    assert_eq!(now(&scene).await, is("first", "first", Some("first")));
    let list = soon(client.list(None)).await.unwrap();
    assert_eq!(
        list.doc.slots[0].selection.clone().unwrap().layer,
        "operator"
    );
    scene.stop().await;
}

#[tokio::test]
async fn p20_history_waits_for_a_full_disk_and_its_counts_stay_exact() {
    let disk = Arc::new(Disk::default());
    let scene = scene(&disk).await;
    let mut client = scene.client().await;
    let winner = slot("adapter/cache");
    soon(client.history(None)).await.unwrap();
    disk.is_full(true);
    for _ in 0..150 {
        // Rolled back each time, because it cannot be recorded.
        soon(client.swap(&to("second"))).await.unwrap();
    }
    let counts = |doc: &HistoryDoc| {
        let slot = &doc.slots[0];
        (
            slot.counts.activated,
            slot.counts.rolled_back,
            slot.counts.retired,
            slot.entries.len(),
        )
    };
    let waiting = soon(client.history(Some(&winner))).await.unwrap().doc;
    assert_eq!(counts(&waiting), (1, 150, 150, 100));
    let state = soon(client.state()).await.unwrap().doc;
    assert_eq!(
        (state.kind.as_str(), state.refused.unwrap().code.as_str()),
        ("own", "test.full")
    );
    assert!(state.history_waiting > 0);
    assert_eq!(disk.status.load(None).unwrap()[0].counts.rolled_back, 0);

    disk.is_full(false);
    soon(client.swap(&to("second"))).await.unwrap();
    let kept = disk.status.load(None).unwrap();
    assert_eq!(
        (kept[0].counts.rolled_back, kept[0].counts.swapped),
        (150, 1)
    );
    let state = soon(client.state()).await.unwrap().doc;
    assert_eq!((state.refused, state.history_waiting), (None, 0));
    scene.stop().await;
    let kept = disk.status.load(None).unwrap();
    assert_eq!(kept[0].counts.retired, 152, "the last one too, at the end");
}

#[tokio::test(start_paused = true)]
async fn p20_no_look_misses_history_that_is_on_its_way_to_the_store() {
    let disk = Arc::new(Disk::default());
    disk.is_full(true);
    let scene = scene(&disk).await;
    let activated = |doc: &HistoryDoc| {
        let counts = doc.slots.iter().map(|slot| slot.counts.activated);
        counts.sum::<u64>()
    };
    let known = activated(&soon(scene.runtime.history(None)).await.unwrap());
    assert!(known > 0);
    // The store is offered again what it refused, and takes its time. Seconds pass by themselves here.
    let door = disk.held.get_or_init(Default::default);
    disk.came.notified().await;
    let looks = disk.looks.load(Ordering::SeqCst);
    let looking = tokio::spawn({
        let runtime = scene.runtime.clone();
        async move { runtime.history(None).await.unwrap() }
    });
    // One that did not wait would have looked into the store long before.
    for _ in 0..20_000 {
        tokio::task::yield_now().await;
        if disk.looks.load(Ordering::SeqCst) > looks {
            break;
        }
    }
    door.open();
    let seen = looking.await.unwrap();
    assert_eq!(activated(&seen), known, "{seen:?}");
    disk.is_full(false);
    scene.stop().await;
}

#[tokio::test]
async fn a_store_that_never_answers_keeps_no_process_from_ending() {
    let disk = Arc::new(Disk::default());
    let scene = scene(&disk).await;
    let door = disk.held.get_or_init(Default::default).clone();
    let runtime = scene.runtime.clone();
    let swap = tokio::spawn(async move { runtime.swap(to("second"), "tester").await });
    soon(disk.came.notified()).await;
    let report = scene.stop().await;
    assert!(report.is_clean(), "{report:?}");
    door.open();
    soon(swap).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_selection_whose_swap_failed_after_it_was_kept_is_taken_back() {
    let disk = Arc::new(Disk::default());
    let scene = scene(&disk).await;
    let handle = tokio::runtime::Handle::current();
    assert!(disk.ended.set((scene.runtime.clone(), handle)).is_ok());
    let swapped = soon(scene.runtime.swap(to("second"), "tester"))
        .await
        .unwrap();
    assert!(!swapped.report.unwrap().serves());
    assert_eq!(swapped.revision, None);
    let book = disk.selections.load().unwrap();
    let revisions: Vec<_> = book
        .history
        .iter()
        .map(|one| one.provider.as_ref().map(|name| name.as_str()))
        .collect();
    assert_eq!(
        (revisions, book.in_force.len()),
        (vec![Some("second"), None], 0)
    );
    let why = book.history[1].reason.clone().unwrap();
    assert_eq!(why, "revision 1 was written, and its swap failed");
    scene.stop().await;
}

#[tokio::test]
async fn without_a_database_there_is_nothing_to_back_up_and_no_pretence() {
    let disk = Arc::new(Disk::default());
    let scene = scene(&disk).await;
    let mut copy = Vec::new();
    let refused = soon(scene.client().await.backup(&mut copy))
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), refused.kind()),
        ("runtime.state_not_kept", ErrorKind::NotFound)
    );
    assert!(refused.hint().unwrap().contains("stores of its own"));
    assert!(copy.is_empty());
    scene.stop().await;
}

#[tokio::test]
async fn what_is_selected_before_it_runs_is_kept_when_it_runs() {
    let (stage, dir) = (Stage::new(), tempfile::tempdir().unwrap());
    let runtime = crate::support::build(&stage, CAST, dir.path());
    soon(runtime.swap(to("second"), "tester")).await.unwrap();
    assert!(!runtime.status(None).unwrap().process.state_persists);
    let scene = Scene::run(stage, runtime, dir).await;
    assert_eq!(now(&scene).await, is("second", "second", Some("second")));
    assert!(scene.runtime.status(None).unwrap().process.state_persists);
    let path = scene.dir.path().to_owned();
    let (stage, kept) = (Stage::new(), tempfile::tempdir().unwrap());
    soon(scene.runtime.backup(&path.join("copy.db")))
        .await
        .unwrap();
    std::fs::create_dir(kept.path().join("state")).unwrap();
    std::fs::set_permissions(
        kept.path().join("state"),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    std::fs::rename(path.join("copy.db"), kept.path().join("state/state.db")).unwrap();
    scene.stop().await;
    let runtime = crate::support::build(&stage, CAST, kept.path());
    let scene = Scene::run(stage, runtime, kept).await;
    assert_eq!(now(&scene).await, is("second", "second", Some("second")));
    let history = soon(scene.runtime.history(None)).await.unwrap();
    assert_eq!((history.run, history.slots[0].entries[0].run), (2, 1));
    scene.stop().await;
}

#[tokio::test]
async fn a_state_that_cannot_be_used_ends_the_run_before_anything_begins() {
    let (stage, dir) = (Stage::new(), tempfile::tempdir().unwrap());
    let runtime = crate::support::build(&stage, CAST, dir.path());
    let state = dir.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::create_dir(state.join("state.db")).unwrap();
    let ended = soon(runtime.run(std::future::ready(()))).await.unwrap_err();
    assert!(matches!(ended, RuntimeError::State(_)), "{ended}");
    assert_eq!(
        (ended.code(), ended.kind()),
        ("sqlite.unsafe_file", ErrorKind::Config)
    );
    assert!(stage.events().is_empty() && !state.join("admin.sock").exists());
}

/// However slow the disk is: what was answered can be read by whoever opens the state next, history included.
#[tokio::test]
async fn p20_a_swap_is_answered_when_its_history_is_kept() {
    let disk = Arc::new(Disk::default());
    let scene = scene(&disk).await;
    disk.slow.store(true, Ordering::SeqCst);
    let cache = slot("adapter/cache");
    for (number, provider) in (1..).zip(["second", "first", "second"]) {
        soon(scene.runtime.swap(to(provider), "test"))
            .await
            .unwrap();
        let kept = disk.status.load(Some(&cache)).unwrap();
        assert_eq!(kept[0].counts.swapped, number, "{:?}", kept[0].entries);
    }
    disk.slow.store(false, Ordering::SeqCst);
    scene.stop().await;
}

#[tokio::test]
async fn a_run_that_cannot_keep_what_was_selected_before_it_leaves_the_file_to_others() {
    let (stage, dir) = (Stage::new(), tempfile::tempdir().unwrap());
    let runtime = crate::support::build(&stage, CAST, dir.path());
    let mut request = to("second");
    request.reason = Some("x".repeat(5_000));
    soon(runtime.swap(request, "tester")).await.unwrap();
    let ended = soon(runtime.run(std::future::pending())).await.unwrap_err();
    assert_eq!(ended.code(), "sqlite.too_large");
    // In memory everything goes on.
    let status = runtime.status(None).unwrap();
    assert_eq!(status.selections[0].provider, to("second").provider);
    let first = soon(runtime.swap(to("first"), "tester")).await.unwrap();
    assert_eq!(first.revision.unwrap().revision, 2);
    let other = crate::support::build(&stage, CAST, dir.path());
    let scene = Scene::run(stage, other, dir).await;
    assert_eq!(now(&scene).await, is("first", "first", None));
    scene.stop().await;
    drop(runtime);
}

/// Says when a revision is written to it.
struct Told(
    MemorySelectionStore,
    tokio::sync::mpsc::UnboundedSender<Revision>,
);

impl SelectionStore for Told {
    fn load(&self) -> Result<SelectionBook, StoreError> {
        self.0.load()
    }

    fn append_all(&self, lines: &[Revision]) -> Result<(), StoreError> {
        for line in lines {
            let _told = self.1.send(line.clone());
        }
        self.0.append_all(lines)
    }
}

#[tokio::test]
async fn a_selection_that_is_taken_back_while_the_stores_are_opened_does_not_come_back() {
    let waits = CAST.replace(
        "first = { name = \"first\" }",
        "first = { name = \"first\", build = \"wait\" }",
    );
    let (stage, dir) = (Stage::new(), tempfile::tempdir().unwrap());
    let (told, mut is_told) = tokio::sync::mpsc::unbounded_channel();
    let mut settings = Settings::parse(&waits, "oneiric.toml").unwrap();
    settings.state_dir = dir.path().join("state");
    let runtime = RuntimeBuilder::new(settings)
        .factories(stage.factories())
        .stores(Stores {
            selections: Arc::new(Told(MemorySelectionStore::new(), told)),
            ..Stores::in_memory(Arc::new(SystemWallClock::new()))
        })
        .build()
        .unwrap();
    soon(runtime.swap(to("second"), "tester")).await.unwrap();
    let clearing = tokio::spawn({
        let runtime = runtime.clone();
        async move { soon(runtime.swap(clear(), "tester")).await }
    });
    soon(stage.begun.acquire()).await.unwrap().forget();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (started, has_started) = tokio::sync::oneshot::channel();
    let run = tokio::spawn({
        let (runtime, until) = (runtime.clone(), async { drop(stopped.await) });
        async move { runtime.run_with(until, |_| started.send(()).unwrap()).await }
    });
    // Whoever opens them waits for the one who is at it; if nobody did, this would tell.
    let early = tokio::time::timeout(std::time::Duration::from_millis(200), is_told.recv()).await;
    stage.gate.add_permits(1);
    assert!(early.is_err(), "{early:?}");
    soon(clearing).await.unwrap().unwrap();
    soon(has_started).await.unwrap();
    let status = runtime.status(None).unwrap();
    let snapshot = runtime.registry().snapshot();
    let selected = snapshot.selection(&slot("adapter/cache"));
    assert_eq!((status.selections.len(), selected), (0, None));
    drop(stop);
    soon(run).await.unwrap().unwrap();
}
