//! Files that change under a running process: whatever is done to them, the last good settings stay in force and the
//! next good ones are taken up.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use oneiric_runtime::{
    ReloadEvent, RuntimeBuilder, Settings, Sources,
    api::{CallRequest, ReloadOutcome},
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::support::{Scene, Stage, slot, soon};

/// A runtime whose settings are in files that a test changes.
struct Watched {
    scene: Scene,
    ended: UnboundedReceiver<&'static str>,
}

/// One slot, whose component answers `name`.
fn text(dir: &Path, name: &str, retry_ms: u32) -> String {
    format!(
        "state_dir = '{}'
[[candidates]]
slot = 'adapter/cache'
provider = 'only'
factory = 'oneiric.test:actor'
[providers.'adapter/cache'.only]
name = '{name}'
[reload]
debounce_ms = 5
retry_ms = {retry_ms}
",
        dir.join("state").display()
    )
}

/// With this, nobody looks at files unless the system says so.
const NEVER: u32 = 3_600_000;
/// With this, files that cannot be used are read again at once.
const AT_ONCE: u32 = 10;

impl Watched {
    async fn start(dir: tempfile::TempDir, sources: Sources) -> Self {
        let settings = sources.load().unwrap();
        Self::start_with(dir, sources, settings).await
    }

    /// With settings that were read from there some time ago.
    async fn start_with(dir: tempfile::TempDir, sources: Sources, settings: Settings) -> Self {
        let stage = Stage::new();
        let (tell, ended) = unbounded_channel();
        let runtime = RuntimeBuilder::new(settings)
            .sources(sources)
            .factories(stage.factories())
            .reload_observer(move |event: &ReloadEvent<'_>| {
                if let ReloadEvent::Ended { outcome, .. } = event {
                    tell.send(outcome.map_or("unread", ReloadOutcome::name))
                        .unwrap_or_default();
                }
            })
            .build()
            .unwrap();
        let scene = Scene::run(stage, runtime, dir).await;
        let watched = Self { scene, ended };
        // Before files are watched nobody notices what is done to them.
        soon(async {
            while watched.scene.runtime.settings_state().watching == "off" {
                tokio::task::yield_now().await;
            }
        })
        .await;
        watched
    }

    async fn who(&self) -> String {
        let request = CallRequest {
            slot: slot("adapter/cache"),
            operation: "who".into(),
            input: serde_json::Value::Null,
        };
        let answer = soon(self.scene.runtime.call(request)).await.unwrap();
        answer.output.as_str().unwrap().to_owned()
    }

    /// Waits for a reload that ends so; those that ended otherwise in between do not matter.
    async fn until(&mut self, outcome: &str) {
        soon(async { while self.ended.recv().await.unwrap() != outcome {} }).await;
    }

    fn refused(&self) -> Option<(String, u64)> {
        let refused = self.scene.runtime.settings_state().refused?;
        Some((refused.code, refused.attempts))
    }
}

/// Over what is there, as somebody does who is not careful: for a moment the file is empty.
pub(crate) fn write(file: impl AsRef<Path>, text: impl AsRef<[u8]>) -> io::Result<()> {
    File::create(file)?.write_all(text.as_ref())
}

/// As editors do it: a new file in the place of the old one.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

fn home() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("etc");
    fs::create_dir(&home).unwrap();
    (dir, home)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_way_a_file_is_changed_the_system_tells_of_it() {
    let (dir, home) = home();
    let (root, file) = (dir.path().to_owned(), home.join("oneiric.toml"));
    let say = |name: &str| text(&root, name, NEVER);
    write(&file, say("one")).unwrap();
    let mut watched = Watched::start(dir, Sources::new().file(&file)).await;
    assert_eq!(watched.scene.runtime.settings_state().watching, "events");

    write(&file, say("written over")).unwrap();
    watched.until("applied").await;
    assert_eq!(watched.who().await, "written over");

    replace(&file, &say("replaced"));
    watched.until("applied").await;
    assert_eq!(watched.who().await, "replaced");

    // The directory goes and comes back.
    fs::remove_dir_all(&home).unwrap();
    watched.until("unread").await;
    fs::create_dir(&home).unwrap();
    write(&file, say("back")).unwrap();
    watched.until("applied").await;
    assert_eq!(watched.who().await, "back");

    // As directories are mounted into containers: a link is exchanged, and no file is touched.
    for (version, name) in [("v1", "mounted"), ("v2", "remounted")] {
        fs::create_dir(home.join(version)).unwrap();
        write(home.join(version).join("oneiric.toml"), say(name)).unwrap();
    }
    symlink("v1", home.join("data")).unwrap();
    symlink("data/oneiric.toml", home.join("link")).unwrap();
    fs::rename(home.join("link"), &file).unwrap();
    watched.until("applied").await;
    assert_eq!(watched.who().await, "mounted");
    symlink("v2", home.join("new")).unwrap();
    fs::rename(home.join("new"), home.join("data")).unwrap();
    watched.until("applied").await;
    assert_eq!(watched.who().await, "remounted");
    watched.scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_comes_later_in_a_directory_that_comes_later_is_noticed() {
    let (dir, home) = home();
    let (root, file, later) = (
        dir.path().to_owned(),
        home.join("oneiric.toml"),
        home.join("a/b"),
    );
    write(&file, text(&root, "one", NEVER)).unwrap();
    let sources = Sources::new().file(&file).maybe_file(later.join("more"));
    let mut watched = Watched::start(dir, sources).await;
    fs::create_dir_all(&later).unwrap();
    write(
        later.join("more.toml"),
        "[providers.'adapter/cache'.only]\nname = 'later'",
    )
    .unwrap();
    watched.until("applied").await;
    assert_eq!(watched.who().await, "later");
    watched.scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p81_half_written_settings_keep_the_last_good_ones_and_are_tried_again() {
    let (dir, home) = home();
    let (root, file) = (dir.path().to_owned(), home.join("oneiric.toml"));
    let say = |name: &str| text(&root, name, AT_ONCE);
    write(&file, say("one")).unwrap();
    let mut watched = Watched::start(dir, Sources::new().file(&file)).await;

    let whole = say("two");
    write(&file, &whole.as_bytes()[..whole.len() / 2]).unwrap();
    watched.until("unread").await;
    watched.until("unread").await;
    let (code, attempts) = watched.refused().unwrap();
    assert_eq!(code, "runtime.settings_invalid");
    assert!(attempts >= 2, "{attempts}");
    assert_eq!(watched.who().await, "one");

    write(&file, &whole).unwrap();
    watched.until("applied").await;
    assert_eq!(
        (watched.who().await, watched.refused()),
        ("two".into(), None)
    );

    // A directory in its place, a link to nowhere, nothing at all: none of it is taken as settings that say nothing.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    watched.until("unread").await;
    assert_eq!(watched.who().await, "two");
    fs::remove_dir(&file).unwrap();
    symlink("nowhere", &file).unwrap();
    soon(async {
        while watched.refused().unwrap().0 != "runtime.settings_not_found" {
            watched.ended.recv().await.unwrap();
        }
    })
    .await;
    assert_eq!(watched.who().await, "two");
    fs::remove_file(&file).unwrap();
    watched.until("unread").await;
    assert_eq!(
        watched.scene.stage.events(),
        ["built one", "built two", "retired one"]
    );

    write(&file, say("three")).unwrap();
    watched.until("applied").await;
    assert_eq!(
        (watched.who().await, watched.refused()),
        ("three".into(), None)
    );
    watched.scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p81_a_file_that_is_gone_or_empty_for_a_moment_takes_nothing_back() {
    let (dir, home) = home();
    let (root, file, more) = (
        dir.path().to_owned(),
        home.join("oneiric.toml"),
        home.join("more.toml"),
    );
    write(&file, text(&root, "one", AT_ONCE)).unwrap();
    // Without it everything that the process needs would still be said.
    let another = "
[[candidates]]
slot = 'adapter/other'
provider = 'only'
factory = 'oneiric.test:actor'
[providers.'adapter/other'.only]
name = 'other'
";
    write(&more, another).unwrap();
    let sources = Sources::new().file(&file).maybe_file(home.join("more"));
    let mut watched = Watched::start(dir, sources).await;
    let built = ["built one", "built other"];
    let mut events = watched.scene.stage.events();
    events.sort();
    assert_eq!(events, built);

    fs::remove_file(&more).unwrap();
    watched.until("unread").await;
    watched.until("unread").await;
    let (code, _) = watched.refused().unwrap();
    assert_eq!(code, "runtime.settings_not_found");
    for nothing in ["", "\n \n"] {
        write(&more, nothing).unwrap();
        soon(async {
            while watched.refused().unwrap().0 != "runtime.settings_unreadable" {
                watched.ended.recv().await.unwrap();
            }
        })
        .await;
        watched.until("unread").await;
        let refused = watched.scene.runtime.settings_state().refused.unwrap();
        assert!(refused.message.contains("more.toml"), "{refused:?}");
    }
    let mut events = watched.scene.stage.events();
    events.sort();
    assert_eq!(events, built, "nothing was retired");

    // What is meant is done: whoever wants a file to say nothing can say so.
    write(&more, "# nothing for now\n").unwrap();
    watched.until("applied").await;
    let events = watched.scene.stage.events();
    assert_eq!(events.last().unwrap(), "retired other", "{events:?}");
    assert_eq!(watched.refused(), None);
    watched.scene.stop().await;
}

#[tokio::test]
async fn a_file_that_never_said_anything_may_go_on_saying_nothing() {
    let (dir, home) = home();
    let (root, file, more) = (
        dir.path().to_owned(),
        home.join("oneiric.toml"),
        home.join("more.toml"),
    );
    let say = |name: &str| format!("{}watch = false\n", text(&root, name, NEVER));
    write(&file, say("one")).unwrap();
    write(&more, "").unwrap();
    let sources = Sources::new().file(&file).file(&more);
    let stage = Stage::new();
    let runtime = RuntimeBuilder::new(sources.load().unwrap())
        .sources(sources)
        .factories(stage.factories())
        .build()
        .unwrap();
    let scene = Scene::run(stage, runtime, dir).await;
    write(&file, say("two")).unwrap();
    let done = soon(scene.runtime.reload("test")).await.unwrap();
    assert_eq!(done.outcome, ReloadOutcome::Applied);
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_failed_are_not_tried_over_and_over() {
    let (dir, home) = home();
    let (root, file) = (dir.path().to_owned(), home.join("oneiric.toml"));
    write(&file, text(&root, "one", AT_ONCE)).unwrap();
    let mut watched = Watched::start(dir, Sources::new().file(&file)).await;
    let failing =
        text(&root, "two", AT_ONCE).replace("name = 'two'", "name = 'two'\nbuild = 'fail'");
    replace(&file, &failing);
    watched.until("restored").await;
    let others = watched.ended.try_recv();
    assert!(others.is_err(), "{others:?}");
    assert_eq!(watched.who().await, "one");
    assert_eq!(
        watched.refused().unwrap(),
        ("runtime.reload_restored".into(), 1)
    );
    // The same file again is no change, another one is; and in between nobody tried.
    replace(&file, &failing);
    replace(&file, &text(&root, "three", AT_ONCE));
    let next = soon(watched.ended.recv()).await;
    assert_eq!(next, Some("applied"));
    assert_eq!(watched.who().await, "three");
    watched.scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_changed_while_the_process_starts_is_taken_up() {
    let (dir, home) = home();
    let (root, file) = (dir.path().to_owned(), home.join("oneiric.toml"));
    write(&file, text(&root, "one", NEVER)).unwrap();
    let sources = Sources::new().file(&file).maybe_file(home.join("local"));
    let read = sources.load().unwrap();
    replace(&file, &text(&root, "two", NEVER));
    let local = "[providers.'adapter/cache'.only]\nname = 'three'";
    write(home.join("local.toml"), local).unwrap();
    let mut watched = Watched::start_with(dir, sources, read).await;
    watched.until("applied").await;
    assert_eq!(watched.who().await, "three");
    watched.scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_found_unreadable_is_tried_again_too() {
    let (dir, home) = home();
    let (root, file) = (dir.path().to_owned(), home.join("oneiric.toml"));
    write(&file, text(&root, "one", AT_ONCE)).unwrap();
    let mut watched = Watched::start(dir, Sources::new().file(&file)).await;
    // Of its content nothing changes, so nobody but the operator finds it wrong, and nothing tells when it is right.
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o666);
    watched.scene.runtime.reload("operator").await.unwrap_err();
    mode(0o644);
    watched.until("unchanged").await;
    assert_eq!(watched.refused(), None);
    watched.scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_come_during_a_reload_are_one_more() {
    let (dir, home) = home();
    let (root, file) = (dir.path().to_owned(), home.join("oneiric.toml"));
    let say = |name: &str| format!("{}watch = false\n", text(&root, name, NEVER));
    let held = |name: &str| say(name).replace("name = 'two'", "name = 'two'\nbuild = 'wait'");
    write(&file, say("one")).unwrap();
    let sources = Sources::new().file(&file);
    let stage = Stage::new();
    let (tell, mut ended) = unbounded_channel();
    let runtime = RuntimeBuilder::new(sources.load().unwrap())
        .sources(sources)
        .factories(stage.factories())
        .reload_observer(move |event: &ReloadEvent<'_>| {
            if let ReloadEvent::Ended { .. } = event {
                tell.send(()).unwrap_or_default();
            }
        })
        .build()
        .unwrap();
    let scene = Scene::run(stage, runtime, dir).await;
    assert_eq!(scene.runtime.settings_state().watching, "off");
    write(&file, held("two")).unwrap();
    let reload = || {
        let runtime = scene.runtime.clone();
        async move { runtime.reload("test").await.unwrap().outcome }
    };
    let first = tokio::spawn(reload());
    soon(scene.stage.begun.acquire()).await.unwrap().forget();
    let mut burst = Vec::new();
    for _ in 0..20 {
        let mut one = Box::pin(reload());
        // It has asked and waits from here on.
        tokio::select! {
            biased;
            outcome = &mut one => panic!("{outcome:?} before its turn"),
            () = std::future::ready(()) => {}
        }
        burst.push(one);
    }
    scene.stage.gate.add_permits(1);
    assert_eq!(soon(first).await.unwrap(), ReloadOutcome::Applied);
    for one in burst {
        assert_eq!(soon(one).await, ReloadOutcome::Unchanged);
    }
    let mut reloads = 0;
    while ended.try_recv().is_ok() {
        reloads += 1;
    }
    assert_eq!(reloads, 2);
    scene.stop().await;
}
