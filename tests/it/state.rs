//! What a process remembers, with the real binary: across restarts, in backups, and when what it finds is not right.

use std::fs;
use std::path::Path;

use oneiric_tests::http::request;
use oneiric_tests::settings::CACHES;
use oneiric_tests::{Place, Process};
use serde_json::{Value, json};

const SLOT: &str = "adapter/cache";

fn get(process: &Process, path: &str) -> Value {
    let (status, document) = request(&process.place().socket(), "GET", path, None).unwrap();
    assert_eq!(status, 200, "{document}");
    document
}

fn serves(process: &Process) -> String {
    let status = process.oneiric(&["status", SLOT, "--json"]).json();
    status["slots"][0]["active"]["provider"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn database(place: &Place) -> std::path::PathBuf {
    place.path().join(".oneiric/state.db")
}

/// A place whose process selected `file` and was stopped.
fn with_selection() -> Place {
    let process = Process::start(CACHES);
    process.oneiric(&["swap", SLOT, "file"]).ok();
    process.stop_in_place().2
}

#[test]
fn what_was_selected_and_paused_holds_from_the_first_moment_after_a_restart() {
    let process = Process::start(CACHES);
    let why = "it's \"full\"'); DROP TABLE revisions; --\n\u{1b}[2J";
    process
        .oneiric(&["swap", SLOT, "file", "--reason", why])
        .ok();
    let paused = json!({"scope": "service/*", "activity": "paused", "note": why});
    let (status, said) = request(
        &process.place().socket(),
        "POST",
        "/v1/activity",
        Some(&paused),
    )
    .unwrap();
    assert_eq!(status, 200, "{said}");
    process.signal("KILL");
    let process = Process::start_in(process.into_place(), &["run"]);
    assert_eq!(serves(&process), "file");
    let status = get(&process, "/v1/status");
    assert_eq!(status["process"]["state_persists"], true);
    assert_eq!(status["selections"][0]["reason"], why);
    let said = process.oneiric(&["call", "service/clock", "now"]).failed(6);
    assert!(said.contains("(lifecycle.busy)"), "{said}");
    // Nothing was exchanged: the selected one was the first.
    let history = get(&process, &format!("/v1/history?slot={SLOT}"));
    assert_eq!(history["slots"][0]["counts"]["swapped"], 1, "{history}");
    assert_eq!(history["revisions"][0]["revision"], 1);
    let shown = process.oneiric(&["state", "show"]).ok();
    assert!(
        shown.contains("\nrevision    1\n") && shown.contains("\npaused      1 scope\n"),
        "{shown}"
    );
}

#[test]
fn p20_a_fresh_process_remembers_what_ended_and_claims_nothing_to_be_active() {
    let place = Place::with(&format!("{CACHES}\n[run]\nactivate = \"on_use\"\n"));
    let process = Process::start_in(place, &["run"]);
    process
        .oneiric(&["call", SLOT, "put", "key=a", "value=b"])
        .ok();
    let count = |process: &Process| {
        let history = get(process, &format!("/v1/history?slot={SLOT}"));
        let entries = history["slots"][0]["entries"].as_array().unwrap().clone();
        (
            history["run"].clone(),
            history["slots"][0]["counts"]["activated"].clone(),
            entries,
        )
    };
    assert_eq!(count(&process).1, 1);
    process.signal("KILL");
    let process = Process::start_in(process.into_place(), &["run"]);
    let status = process.oneiric(&["status", SLOT, "--json"]).json();
    assert_eq!(status["slots"][0]["state"], "inactive");
    assert_eq!(status["slots"][0].get("active"), None);
    assert_eq!(
        status["slots"][0]["swaps"]["activated"], 0,
        "of this process"
    );
    let (run, activated, entries) = count(&process);
    assert_eq!((run, activated), (json!(2), json!(1)));
    assert_eq!(entries[0]["run"], 1, "{entries:?}");
    process
        .oneiric(&["call", SLOT, "put", "key=a", "value=b"])
        .ok();
    let (_, activated, entries) = count(&process);
    assert_eq!(activated, 2);
    assert_eq!(entries[1]["run"], 2);
}

#[test]
fn p06_a_selection_whose_provider_is_gone_is_seen_and_not_lost() {
    let place = with_selection();
    let without = CACHES
        .replace("provider = \"file\"", "provider = \"disk\"")
        .replace(
            "[providers.\"adapter/cache\".file]",
            "[providers.\"adapter/cache\".disk]",
        );
    place.write("oneiric.toml", &without);
    let process = Process::start_in(place, &["run"]);
    assert_eq!(serves(&process), "memory");
    let status = get(&process, "/v1/status");
    assert_eq!(status["unknown_selections"][0]["provider"], "file");
    assert_eq!(status["unknown_selections"][0]["layer"], "operator");
    let (_, _, place) = process.stop_in_place();
    place.write("oneiric.toml", CACHES);
    let process = Process::start_in(place, &["run"]);
    assert_eq!(serves(&process), "file");
}

#[test]
fn a_damaged_foreign_or_newer_database_ends_the_start_and_is_left_alone() {
    let whole = fs::read(database(&with_selection())).unwrap();
    let changed = |from: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[from..from + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let cases: [(&str, Vec<u8>); 7] = [
        ("sqlite.corrupt", whole[..whole.len() / 2].to_vec()),
        ("sqlite.corrupt", Vec::new()),
        ("sqlite.corrupt", b"my notes".repeat(2_000)),
        ("sqlite.corrupt", changed(5 * 4096, &[0xa5; 4096])),
        ("sqlite.newer", changed(60, &99_u32.to_be_bytes())),
        ("sqlite.foreign", changed(68, &7_u32.to_be_bytes())),
        ("sqlite.corrupt", changed(0, b"SQLite format 4")),
    ];
    for (code, content) in cases {
        let place = with_selection();
        write(&database(&place), &content);
        let said = place.oneiric(&["run"]).failed(3);
        assert!(said.contains(&format!("({code})")), "{code}: {said}");
        assert!(
            said.contains("state.db") && said.contains("\nhint: "),
            "{said}"
        );
        let said = place.oneiric(&["state", "check", "--json"]).failed_json(3);
        assert_eq!(said["code"], code);
        assert_eq!(fs::read(database(&place)).unwrap(), content, "{code}");
        let mut names: Vec<_> = fs::read_dir(place.path().join(".oneiric"))
            .unwrap()
            .collect();
        names.retain(|name| {
            !name
                .as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .starts_with("state.db-")
        });
        assert!(names.len() <= 2, "the lock and the database: {names:?}");
    }
    let place = with_selection();
    write(&database(&place), &changed(60, &99_u32.to_be_bytes()));
    let said = place.oneiric(&["run"]).failed(3);
    assert!(said.contains("schema 99, this one knows up to 3"), "{said}");
}

fn write(path: &Path, content: &[u8]) {
    std::io::Write::write_all(&mut fs::File::create(path).unwrap(), content).unwrap();
}

#[test]
fn p21_a_copy_of_a_state_directory_is_another_process_own_and_a_link_is_refused() {
    let process = Process::start(CACHES);
    process.oneiric(&["swap", SLOT, "file"]).ok();
    let (first, second) = (process.place().path().join(".oneiric"), Place::with(CACHES));
    let copy = second.path().join(".oneiric");
    fs::create_dir(&copy).unwrap();
    fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for file in fs::read_dir(&first).unwrap().map(Result::unwrap) {
        if file.file_type().unwrap().is_file() {
            fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
    }
    let other = Process::start_in(second, &["run"]);
    assert_eq!(serves(&other), "file");
    other.oneiric(&["swap", SLOT, "memory"]).ok();
    assert_eq!(
        (serves(&process).as_str(), serves(&other).as_str()),
        ("file", "memory")
    );
    let (_, _, second) = other.stop_in_place();

    fs::remove_file(copy.join("state.db")).unwrap();
    fs::hard_link(first.join("state.db"), copy.join("state.db")).unwrap();
    let said = second.oneiric(&["run"]).failed(3);
    assert!(
        said.contains("(sqlite.unsafe_file)") && said.contains("2 names"),
        "{said}"
    );
    fs::remove_file(copy.join("state.db")).unwrap();
    std::os::unix::fs::symlink(first.join("state.db"), copy.join("state.db")).unwrap();
    let said = second.oneiric(&["run"]).failed(3);
    assert!(said.contains("it is a symbolic link"), "{said}");
    process.oneiric(&["swap", SLOT, "memory"]).ok();
    // By its own name nobody else opens it either.
    let said = process.oneiric(&["state", "check"]).failed(6);
    assert!(said.contains("(runtime.already_running)"), "{said}");
    let own = [".oneiric/state.db"];
    let said = process.oneiric(&["state", "check", own[0]]).failed(6);
    assert!(said.contains("(sqlite.locked)"), "{said}");
}

#[test]
fn a_backup_taken_under_load_is_whole_and_can_be_restored() {
    let process = Process::start(CACHES);
    let socket = process.place().socket();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for provider in ["file", "memory"].iter().cycle() {
                let swap = json!({"slot": SLOT, "provider": provider});
                request(&socket, "POST", "/v1/swap", Some(&swap)).unwrap();
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
            }
        });
        process.oneiric(&["state", "backup", "one.db"]).ok();
        let said = process.oneiric(&["state", "backup", "one.db"]).failed(2);
        assert!(said.contains("(sqlite.exists)"), "{said}");
        process
            .oneiric(&["state", "backup", "one.db", "--force"])
            .ok();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let place = process.place();
    let kept = place
        .oneiric(&["state", "check", "one.db", "--json"])
        .json();
    let revision = kept["database"]["last_revision"].as_u64().unwrap();
    assert!(kept["whole"] == true && revision > 0, "{kept}");
    let shown = process.oneiric(&["state", "show", "--json"]).json();
    assert!(
        shown["database"]["last_backup_unix_ms"].as_u64().unwrap() > 0,
        "{shown}"
    );
    let names: Vec<_> = fs::read_dir(place.path().join(".oneiric"))
        .unwrap()
        .collect();
    assert_eq!(names.len(), 4, "database, log, lock and socket: {names:?}");

    process.oneiric(&["swap", SLOT, "file"]).ok();
    process.oneiric(&["swap", SLOT, "--clear"]).ok();
    let said = process
        .oneiric(&["state", "restore", "one.db", "--yes"])
        .failed(6);
    assert!(said.contains("(runtime.already_running)"), "{said}");
    let (_, _, place) = process.stop_in_place();
    let said = place.oneiric(&["state", "restore", "one.db"]).failed(2);
    assert!(
        said.contains("takes the place of") && said.contains("--yes"),
        "{said}"
    );
    let said = place
        .oneiric(&["state", "restore", "oneiric.toml", "--yes"])
        .failed(3);
    assert!(said.contains("(sqlite.corrupt)"), "{said}");
    let done = place
        .oneiric(&["state", "restore", "one.db", "--yes", "--json"])
        .json();
    assert_eq!(done["database"]["last_revision"], revision);
    let before = done["kept"].as_str().unwrap();
    assert!(before.ends_with("state.db.before-restore-1"), "{before}");
    let before = place.oneiric(&["state", "check", before, "--json"]).json();
    assert!(before["database"]["last_revision"].as_u64().unwrap() > revision);
    let process = Process::start_in(place, &["run"]);
    let history = get(&process, "/v1/history");
    let last = history["revisions"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(last["revision"], revision);
    assert_eq!(serves(&process), last["provider"].as_str().unwrap());
}

#[test]
fn a_process_that_is_started_while_somebody_checks_its_state_waits_for_that() {
    let place = with_selection();
    // As `oneiric state check` holds it; there it is a matter of how large the database is.
    let looks = fs::File::open(place.path().join(".oneiric/lock")).unwrap();
    looks.lock_shared().unwrap();
    place.oneiric(&["state", "check"]).ok();
    let socket = place.socket();
    let (begun, begins) = std::sync::mpsc::channel();
    let starts = std::thread::spawn(move || {
        begun.send(()).unwrap();
        Process::start_in(place, &["run"])
    });
    begins.recv().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!socket.exists() && !starts.is_finished());
    looks.unlock().unwrap();
    assert_eq!(serves(&starts.join().unwrap()), "file");
}

#[test]
fn a_backup_is_for_who_asks_the_running_process() {
    let place = Place::with(CACHES);
    let said = place.oneiric(&["state", "backup", "one.db"]).failed(8);
    assert!(said.contains("(runtime.not_running)"), "{said}");
    assert!(!place.path().join("one.db").exists());
    assert_eq!(
        fs::read_dir(place.path()).unwrap().count(),
        1,
        "nothing is left behind"
    );
    let said = place.oneiric(&["state", "check"]).failed(3);
    assert!(said.contains("(sqlite.unreadable)"), "{said}");
}

#[test]
fn what_is_too_long_is_refused_and_nothing_changes() {
    let process = Process::start(CACHES);
    let socket = process.place().socket();
    for (length, status) in [(2_000, 400), (10 << 20, 413)] {
        let swap = json!({"slot": SLOT, "provider": "file", "reason": "x".repeat(length)});
        let answer = request(&socket, "POST", "/v1/swap", Some(&swap));
        // Who sends ten megabytes may be hung up on before it reads why.
        if let Some((found, said)) = answer {
            assert_eq!(found, status, "{said}");
        }
    }
    assert_eq!(serves(&process), "memory");
    assert_eq!(get(&process, "/v1/history")["revisions"], json!([]));
}

#[test]
fn where_a_file_cannot_go_every_command_says_the_same() {
    let process = Process::start(CACHES);
    let place = process.place();
    place.write("there.toml", "");
    place.write("there.db", "");
    for (words, code, step) in [
        (vec!["init", "there.toml"], 2, "--force"),
        (vec!["state", "backup", "there.db"], 2, "name another file"),
        (vec!["init", "no/x.toml"], 8, "in a directory that is there"),
        (
            vec!["state", "backup", "no/x.db"],
            8,
            "in a directory that is there",
        ),
        (vec!["state", "backup", "."], 3, "name a file"),
        (
            vec!["state", "check", "there.db"],
            3,
            "cannot be restored; use another",
        ),
        (
            vec!["state", "restore", "there.db", "--yes"],
            3,
            "cannot be restored; use another",
        ),
    ] {
        let said = process.oneiric(&words).failed(code);
        assert!(
            said.contains("hint: ") && said.contains(step),
            "{words:?}: {said}"
        );
        assert!(!said.contains("may read it"), "{words:?}: {said}");
    }
}
