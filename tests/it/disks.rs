//! Disks that are full or may not be written, with the real binary. They need a mount, so they need root: elsewhere
//! they are skipped, loudly, and under `CI=true` that is a failure.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use oneiric_tests::http::request;
use oneiric_tests::settings::CACHES;
use oneiric_tests::{Place, Process, eventually};
use serde_json::{Value, json};

const SLOT: &str = "adapter/cache";

/// Something that is mounted, until dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(words: &[&str], at: &Path) -> Option<Self> {
        let mounted = Command::new("mount").args(words).arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            other => {
                skipped(&format!("mount {words:?}: {other:?}"));
                None
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[expect(
    clippy::print_stderr,
    reason = "whoever runs the tests must see what was not tested"
)]
fn skipped(why: &str) {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}");
    eprintln!("SKIPPED: {why}");
}

fn post(socket: &Path, path: &str, body: &Value) -> (u16, Value) {
    request(socket, "POST", path, Some(body)).expect("it answers")
}

fn swap(socket: &Path, provider: &str) -> (u16, Value) {
    post(
        socket,
        "/v1/swap",
        &json!({"slot": SLOT, "provider": provider}),
    )
}

/// Takes all the space there is.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for size in [1 << 16, 1 << 12, 1 << 8, 1] {
        while file.write_all(&vec![7; size]).is_ok() {}
    }
}

#[test]
fn a_full_disk_refuses_changes_calls_go_on_and_it_heals_when_there_is_space() {
    let place = Place::with(CACHES);
    let state = place.path().join("small");
    fs::create_dir(&state).unwrap();
    let words = ["-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs"];
    let Some(_mount) = Mount::new(&words, &state) else {
        return;
    };
    let process = Process::start_in(place, &["run", "--state-dir", "small"]);
    let socket = state.join("admin.sock");
    assert_eq!(swap(&socket, "file").0, 200);
    fill(&state.join("fill"));

    let (status, refused) = swap(&socket, "memory");
    assert_eq!(
        (status, refused["code"].as_str()),
        (409, Some("sqlite.disk_full")),
        "{refused}"
    );
    assert_eq!(refused["report"]["failure"]["stage"], "record", "{refused}");
    let (status, refused) = post(&socket, "/v1/swap", &json!({"slot": SLOT, "clear": true}));
    assert_eq!(
        (status, refused["code"].as_str()),
        (409, Some("sqlite.disk_full")),
        "{refused}"
    );
    let pause = json!({"scope": SLOT, "activity": "paused"});
    let (status, refused) = post(&socket, "/v1/activity", &pause);
    assert_eq!(
        (status, refused["code"].as_str()),
        (503, Some("sqlite.disk_full")),
        "{refused}"
    );
    let said = process
        .oneiric(&["swap", SLOT, "memory", "--state-dir", "small"])
        .failed(7);
    assert!(said.contains("(sqlite.disk_full)"), "{said}");

    // Nothing changed, and all of it works.
    let (_, status) = request(&socket, "GET", &format!("/v1/status?slot={SLOT}"), None).unwrap();
    let slot = &status["slots"][0];
    assert_eq!(slot["active"]["provider"], "file", "{status}");
    assert_eq!(slot["activity"]["activity"], "running", "{status}");
    assert_eq!(slot["last_error"]["code"], "sqlite.disk_full", "{status}");
    assert_eq!(status["selections"][0]["provider"], "file");
    let call = json!({"slot": SLOT, "operation": "put", "input": {"key": "a", "value": "b"}});
    assert_eq!(post(&socket, "/v1/call", &call).0, 200);
    // History waits, and says why.
    let (_, shown) = request(&socket, "GET", "/v1/state", None).unwrap();
    assert_eq!(shown["refused"]["code"], "sqlite.disk_full", "{shown}");
    let (status, _) = request(&socket, "GET", "/v1/state/backup", None).unwrap();
    assert_eq!(status, 503);
    let count = |name: &str| {
        let (_, history) =
            request(&socket, "GET", &format!("/v1/history?slot={SLOT}"), None).unwrap();
        history["slots"][0]["counts"][name].as_u64().unwrap()
    };
    assert_eq!(
        (count("swapped"), count("rolled_back")),
        (1, 3),
        "counted all the same"
    );

    fs::remove_file(state.join("fill")).unwrap();
    let (status, done) = swap(&socket, "memory");
    assert_eq!(
        (status, &done["revision"]["revision"]),
        (200, &json!(2)),
        "no hole: {done}"
    );
    assert_eq!(post(&socket, "/v1/activity", &pause).0, 200);
    assert_eq!((count("swapped"), count("rolled_back")), (2, 3));
    let (_, shown) = request(&socket, "GET", "/v1/state", None).unwrap();
    assert_eq!(shown.get("refused"), None, "{shown}");
    assert_eq!(shown["history_waiting"], 0);

    // All of that is on the disk.
    process.signal("KILL");
    let process = Process::start_in(process.into_place(), &["run", "--state-dir", "small"]);
    let (_, history) = request(&socket, "GET", &format!("/v1/history?slot={SLOT}"), None).unwrap();
    assert_eq!(history["slots"][0]["counts"]["rolled_back"], 3, "{history}");
    process.stop();
}

#[test]
fn a_process_starts_on_a_full_disk_that_knows_it_and_not_on_one_that_does_not() {
    let place = Place::with(CACHES);
    let state = place.path().join("small");
    fs::create_dir(&state).unwrap();
    let words = ["-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs"];
    let Some(_mount) = Mount::new(&words, &state) else {
        return;
    };
    // The lock is a file too.
    let mut lock = fs::File::create(state.join("lock")).unwrap();
    lock.write_all(b"1234567\n").unwrap();
    fill(&state.join("fill"));
    let said = place.oneiric(&["run", "--state-dir", "small"]).failed(8);
    assert!(
        said.contains("(sqlite.disk_full)") && said.contains("\nhint: free some space"),
        "{said}"
    );
    fs::remove_file(state.join("fill")).unwrap();
    let process = Process::start_in(place, &["run", "--state-dir", "small"]);
    let socket = state.join("admin.sock");
    assert_eq!(swap(&socket, "file").0, 200);
    // Its time is up before the next one runs, and then there is no space to forget it in.
    let pause = json!({"scope": SLOT, "activity": "paused", "for_ms": 1_000});
    assert_eq!(post(&socket, "/v1/activity", &pause).0, 200);
    process.signal("KILL");
    let place = process.into_place();
    fill(&state.join("fill"));
    thread::sleep(Duration::from_secs(2));
    let process = Process::start_in(place, &["run", "--state-dir", "small"]);
    let status = process
        .oneiric(&["status", SLOT, "--json", "--state-dir", "small"])
        .json();
    assert_eq!(status["slots"][0]["active"]["provider"], "file");
    assert_eq!(status["slots"][0]["activity"]["activity"], "running");
    process.wait_for_line("what ended while nothing ran is still kept");
    fs::remove_file(state.join("fill")).unwrap();
    eventually("what has ended is forgotten", || {
        let (_, shown) = request(&socket, "GET", "/v1/state", None).unwrap();
        shown["database"]["activity"] == 0
    });
    process.stop();
}

#[test]
fn read_only_disks_are_refused_at_the_start() {
    let place = Place::with(CACHES);
    let process = Process::start_in(place, &["run"]);
    let (_, _, place) = process.stop_in_place();
    let database = place.path().join(".oneiric/state.db");
    let Some(_mount) = Mount::new(&["--bind", database.to_str().unwrap()], &database) else {
        return;
    };
    let remounted = Command::new("mount")
        .args(["-o", "remount,bind,ro"])
        .arg(&database)
        .status();
    if !remounted.is_ok_and(|status| status.success()) {
        skipped("a bind mount cannot be made read-only");
        return;
    }
    let said = place.oneiric(&["run"]).failed(8);
    assert!(
        said.contains("(sqlite.unwritable)") && said.contains("read-only"),
        "{said}"
    );
    // Looking at it is no writing.
    place.oneiric(&["state", "check"]).ok();
}

#[test]
fn a_state_directory_that_may_not_be_written_is_refused() {
    let place = Place::with(CACHES);
    let state = place.path().join(".oneiric");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o500)).unwrap();
    let Some(_mount) = Mount::new(
        &["-t", "tmpfs", "-o", "size=64k,mode=0700,ro", "tmpfs"],
        &state,
    ) else {
        return;
    };
    let said = place.oneiric(&["run"]).failed(3);
    assert!(said.contains("(runtime.state_dir_unusable)"), "{said}");
}
