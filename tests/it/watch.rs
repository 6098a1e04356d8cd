//! `oneiric watch`: what happens, while it happens, and over a restart.

use std::fs::{Permissions, set_permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use oneiric_tests::settings::CACHES;
use oneiric_tests::{Place, Process, binary};
use serde_json::Value;

/// A `watch` that runs, and its lines as they come.
pub(crate) struct Watching {
    child: Child,
    pub(crate) stdout: Receiver<String>,
    stderr: Receiver<String>,
}

fn lines(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Watching {
    pub(crate) fn begin(place: &Place, words: &[&str]) -> Self {
        let mut command = place.command(binary::path());
        command.arg("watch").args(words);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdout: lines(child.stdout.take().unwrap()),
            stderr: lines(child.stderr.take().unwrap()),
            child,
        }
    }

    /// The next line with `text` in it.
    pub(crate) fn line(receiver: &Receiver<String>, text: &str) -> String {
        loop {
            let line = receiver.recv_timeout(Duration::from_secs(60));
            let line = line.unwrap_or_else(|_| panic!("no line with {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    fn code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

/// Swaps to and fro until the watcher, which may be slow to begin, has seen what it waits for.
fn swap_until(process: &Process, mut seen: impl FnMut() -> bool) {
    for provider in ["file", "memory"].iter().cycle().take(200) {
        process.oneiric(&["swap", "adapter/cache", provider]).ok();
        if seen() {
            return;
        }
    }
    panic!("nothing was seen");
}

#[test]
fn a_swap_is_a_line_and_until_ends_the_watch() {
    let process = Process::start(CACHES);
    let mut watching = Watching::begin(process.place(), &["adapter/cache", "--until", "published"]);
    swap_until(&process, || watching.child.try_wait().unwrap().is_some());
    let line = Watching::line(&watching.stdout, "published");
    assert!(line.contains("Z adapter/cache published "), "{line}");
    assert!(line.contains(" -> "), "{line}");
    assert_eq!(watching.code(), Some(0));
    let nothing = ["watch", "--until", "no_such_event", "--timeout", "100ms"];
    let said = process.oneiric(&nothing).failed(8);
    assert!(said.contains("cli.timed_out"), "{said}");
    let misspelt = ["watch", "--until", "publishd", "--timeout", "100ms"];
    let said = process.oneiric(&misspelt).failed(8);
    assert!(
        said.starts_with("warning: ") && said.contains("'published'?"),
        "{said}"
    );
    assert_eq!(process.oneiric(&["watch", "--timeout", "100ms"]).ok(), "");
    let unknown = process.oneiric(&["watch", "adapter/nothing"]).failed(4);
    assert!(unknown.contains("core.no_candidate"), "{unknown}");
    process.stop();
}

#[test]
fn a_watch_outlives_the_process_and_ends_well_on_ctrl_c() {
    let process = Process::start(CACHES);
    let mut watching = Watching::begin(process.place(), &["--json"]);
    let first = std::cell::RefCell::new(None);
    swap_until(&process, || {
        *first.borrow_mut() = watching.stdout.try_recv().ok();
        first.borrow().is_some()
    });
    let event: Value = serde_json::from_str(&first.take().unwrap()).unwrap();
    assert_eq!(event["schema"], "oneiric.event/1");
    let (_, _, place) = process.stop_in_place();
    Watching::line(&watching.stderr, "the process has ended");
    let process = Process::start_in(place, &["run"]);
    Watching::line(&watching.stderr, "there again");
    // What the new process did before cannot be known, which is said.
    Watching::line(&watching.stdout, "\"oneiric.missed/1\"");
    // Whichever of them was selected before and still is.
    for provider in ["file", "memory"] {
        process.oneiric(&["swap", "adapter/cache", provider]).ok();
    }
    Watching::line(&watching.stdout, "\"published\"");
    let interrupt = format!("kill -INT {}", watching.child.id());
    assert!(
        Command::new("sh")
            .args(["-c", &interrupt])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(watching.child.wait().unwrap().code(), Some(0));
    process.stop();
}

/// Two slots, one of which has a secret; nobody watches files, so that a test says when.
const NIGHT: &str = r#"
[[candidates]]
slot = "adapter/other"
provider = "flaky"
factory = "oneiric.builtins:flaky_cache"

[providers."adapter/other".flaky]
token = "secret://file/token"

[reload]
watch = false
"#;

#[test]
fn a_night_of_settings_secrets_and_pauses_is_told_line_by_line() {
    let settings = format!("{CACHES}{NIGHT}");
    let place = Place::with(&settings);
    let keep = |place: &Place, value: &str| {
        place.write(".oneiric/secrets/token", value);
        for (name, mode) in [
            (".oneiric", 0o700),
            (".oneiric/secrets", 0o700),
            (".oneiric/secrets/token", 0o600),
        ] {
            set_permissions(place.path().join(name), Permissions::from_mode(mode)).unwrap();
        }
    };
    keep(&place, "hunter2-first");
    let process = Process::start_in(place, &["run"]);
    let place = process.place();
    let mut watching = Watching::begin(place, &["--until", "secret_failed"]);
    // Until the watcher is there.
    oneiric_tests::eventually("a reload is told", || {
        process.oneiric(&["reload"]).ok();
        let line = watching.stdout.try_recv();
        line.is_ok_and(|line| line.contains(" - settings_unchanged who=uid:"))
    });
    let mut seen = Vec::new();
    let mut line = |text: &str| {
        let line = Watching::line(&watching.stdout, text);
        seen.push(line.clone());
        line
    };

    process
        .oneiric(&["pause", "adapter/cache", "--note", "no \u{1b}[2J calls"])
        .ok();
    let told = line("adapter/cache activity_changed");
    assert!(told.contains("note=\"no \\u{1b}[2J calls\""), "{told}");
    let select = "\n[selections]\n\"adapter/cache\" = \"file\"\n";
    place.write("oneiric.toml", &format!("{settings}{select}"));
    process.oneiric(&["reload"]).ok();
    let told = line("change_held");
    assert!(
        told.ends_with(" adapter/cache change_held action=swap activity=paused why=selection"),
        "{told}"
    );
    let told = line("settings_applied");
    assert!(told.contains(" - settings_applied keys="), "{told}");
    process.oneiric(&["resume", "adapter/cache"]).ok();
    line("adapter/cache change_applied action=swap why=selection");

    place.write("oneiric.toml", settings.split_at(settings.len() / 2).0);
    let socket = ["--socket", ".oneiric/admin.sock"];
    process
        .oneiric(&[&["reload"][..], &socket].concat())
        .failed(3);
    let told = line("settings_invalid");
    assert!(
        told.contains(" - settings_invalid oneiric.toml:")
            && told.contains(" code=runtime.settings_invalid faults="),
        "{told}"
    );
    place.write(
        "oneiric.toml",
        &format!("{settings}[admin]\nmax_connections = 65\n"),
    );
    process.oneiric(&["reload"]).failed(3);
    let told = line("settings_refused");
    assert!(
        told.contains("code=runtime.reload_refused keys=admin.max_connections who="),
        "{told}"
    );
    let bad = "\n[selections]\n\"adapter/cache\" = \"flaky\"\n";
    place.write("oneiric.toml", &format!("{settings}{bad}"));
    process.oneiric(&["reload"]).failed(7);
    let told = line("settings_restored");
    assert!(
        told.contains("failed_slot=adapter/cache problem=lifecycle.probe_failed"),
        "{told}"
    );

    process
        .oneiric(&["swap", "adapter/cache", "memory", "--reason", "a try"])
        .ok();
    let told = line("selection_changed");
    assert!(
        told.contains(
            " adapter/cache selection_changed memory reason=\"a try\" revision=1 who=uid:"
        ),
        "{told}"
    );

    keep(place, "hunter2-second");
    process.oneiric(&["secrets", "rotate"]).ok();
    line(" - secret_changed secret://file/token");
    line("adapter/other secret_told flaky outcome=");
    let told = line("secrets_rotated");
    assert!(
        told.contains(
            "changed=1 failed=0 secrets=secret://file/token slots=adapter/other who=uid:"
        ),
        "{told}"
    );
    // The last one, which is waited for.
    std::fs::remove_file(place.path().join(".oneiric/secrets/token")).unwrap();
    process.oneiric(&["secrets", "rotate"]).failed(8);
    line(" - secret_failed secret://file/token code=domains.secret_not_found stale=false");
    for line in &seen {
        assert!(
            !line.contains("hunter2") && !line.contains('\u{1b}'),
            "{line}"
        );
    }
    assert_eq!(watching.child.wait().unwrap().code(), Some(0));
    process.stop();
}

#[test]
fn a_file_that_changes_is_told_of_without_anybody_asking_and_no_document_moves_a_terminal() {
    let settings = format!("{CACHES}\n[reload]\ndebounce_ms = 20\nretry_ms = 20\n");
    let process = Process::start(&settings);
    let watching = Watching::begin(process.place(), &["--json"]);
    let note = "x \u{9b}2J \u{7f}\u{1b}c";
    oneiric_tests::eventually("the watcher is there", || {
        process
            .oneiric(&["pause", "adapter/cache", "--note", note])
            .ok();
        watching.stdout.try_recv().is_ok_and(|line| {
            assert!(!line.contains(char::is_control), "{line:?}");
            let event: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(event["note"], note);
            true
        })
    });
    process.place().write("oneiric.toml", "[run\n");
    let line = Watching::line(&watching.stdout, "\"settings_invalid\"");
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&event["who"], &event["file"], &event["line"]),
        (&"file".into(), &"oneiric.toml".into(), &1.into())
    );
    process
        .place()
        .write("oneiric.toml", &format!("{settings}[run]\ngrace_ms = 7\n"));
    let line = Watching::line(&watching.stdout, "\"settings_applied\"");
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&event["who"], &event["keys"]), (&"file".into(), &1.into()));
    let mut watching = watching;
    watching.child.kill().unwrap();
    watching.child.wait().unwrap();
    process.stop();
}
