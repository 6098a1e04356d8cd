//! Ctrl-C, SIGTERM and `kill -9` while a command writes a file: nothing half-written has the file's name, and nothing
//! stays beside it. A stand-in for the process sends half a backup and then no more, so that the instant is known.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use oneiric_tests::random::{one_of, soak_rounds};
use oneiric_tests::settings::CACHES;
use oneiric_tests::{Answer, Place, Process, binary};

const SLOT: &str = "adapter/cache";

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn spawn(place: &Place, words: &[&str]) -> Child {
    let mut command = place.command(binary::path());
    command
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    // It may have ended by itself by now.
    let script = format!("kill -{name} {} 2>/dev/null", child.id());
    Command::new("sh").args(["-c", &script]).status().unwrap();
}

fn end(child: Child) -> Answer {
    let output = child.wait_with_output().unwrap();
    Answer {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Answers the request for a backup with its beginning. The command has its file open once it has asked.
fn half_a_backup(listener: &UnixListener) -> UnixStream {
    let (mut stream, _) = listener.accept().unwrap();
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        asked.extend(byte);
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.sqlite3\r\n";
    let answer = format!("{head}content-length: 100000\r\n\r\nSQLite format 3\0");
    stream.write_all(answer.as_bytes()).unwrap();
    stream
}

#[test]
fn a_backup_that_is_interrupted_leaves_nothing_behind() {
    let place = Place::with(CACHES);
    fs::create_dir(place.path().join(".oneiric")).unwrap();
    let listener = UnixListener::bind(place.socket()).unwrap();
    place.write("kept.db", "what was there");
    for (name, words) in [
        ("INT", &["state", "backup", "one.db"][..]),
        ("TERM", &["state", "backup", "one.db"]),
        ("TERM", &["state", "backup", "kept.db", "--force"]),
    ] {
        let child = spawn(&place, words);
        let _sending = half_a_backup(&listener);
        let all = names(place.path());
        let unfinished = format!("{}.unfinished-{}", words[2], child.id());
        assert!(all.contains(&unfinished), "{all:?}");
        signal(&child, name);
        let said = end(child).failed(8);
        assert!(said.contains("was not written (cli.interrupted)"), "{said}");
        let all = names(place.path());
        assert_eq!(all, [".oneiric", "kept.db", "oneiric.toml"], "{name}");
        let kept = fs::read_to_string(place.path().join("kept.db")).unwrap();
        assert_eq!(kept, "what was there");
    }
}

#[test]
fn what_a_killed_backup_left_is_removed_by_the_next_one_and_nothing_else_is() {
    let place = Place::with(CACHES);
    fs::create_dir(place.path().join(".oneiric")).unwrap();
    let listener = UnixListener::bind(place.socket()).unwrap();
    let mut others = Vec::new();
    for round in 0..3 {
        let child = spawn(&place, &["state", "backup", "one.db"]);
        let sending = half_a_backup(&listener);
        if round == 2 {
            // This one lives on.
            others.push((child, sending));
            continue;
        }
        signal(&child, "KILL");
        assert_eq!(end(child).code, None);
    }
    let (living, _sending) = others.pop().unwrap();
    let of_the_living = format!("one.db.unfinished-{}", living.id());
    fs::remove_file(place.socket()).unwrap();
    fs::set_permissions(
        place.path().join(".oneiric"),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    place.write("one.db.unfinished-2.txt", "mine");
    let process = Process::start_in(place, &["run"]);
    process.oneiric(&["state", "backup", "one.db"]).ok();
    let all = names(process.place().path());
    let expected = [
        ".oneiric",
        "oneiric.toml",
        "one.db",
        "one.db.unfinished-2.txt",
        &of_the_living,
    ];
    let mut expected = expected.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(all, expected);
    signal(&living, "TERM");
    end(living).failed(8);
    assert!(!names(process.place().path()).contains(&of_the_living));
}

#[test]
fn what_a_killed_process_left_in_its_state_directory_is_removed_at_the_next_start() {
    let (_, _, place) = Process::start(CACHES).stop_in_place();
    let state = place.path().join(".oneiric");
    let before = names(&state);
    let left = [
        "backup.77.0",
        "backup.77.1.unfinished",
        "backup.77.1.unfinished-journal",
        "state.db.restored",
        "state.db.restored-journal",
    ];
    for name in left {
        place.write(&format!(".oneiric/{name}"), "half a copy");
    }
    // What others put there is theirs.
    place.write(".oneiric/backup.db", "mine");
    std::os::unix::fs::symlink("../oneiric.toml", state.join("backup.77.2")).unwrap();
    let (_, _, place) = Process::start_in(place, &["run"]).stop_in_place();
    let mut expected = before;
    expected.extend(["backup.db".to_owned(), "backup.77.2".to_owned()]);
    expected.sort();
    assert_eq!(names(&state), expected);
    drop(place);
}

#[test]
fn a_restore_that_is_stopped_at_any_instant_leaves_the_old_state_or_the_new() {
    let process = Process::start(CACHES);
    process.oneiric(&["swap", SLOT, "file"]).ok();
    process.oneiric(&["state", "backup", "one.db"]).ok();
    process.oneiric(&["swap", SLOT, "memory"]).ok();
    let (_, _, place) = process.stop_in_place();
    let state = place.path().join(".oneiric");
    let (rounds, _, mut random) = soak_rounds();
    let mut ended = [0; 3];
    for round in 0..rounds {
        let name = one_of(&mut random, &["INT", "TERM", "KILL"]);
        let child = spawn(&place, &["state", "restore", "one.db", "--yes"]);
        thread::sleep(Duration::from_micros(random.u64(..60_000)));
        signal(&child, name);
        let answer = end(child);
        match answer.code {
            Some(0) => ended[0] += 1,
            Some(8) => {
                ended[1] += 1;
                assert!(answer.stderr.contains("(cli.interrupted)"), "{answer:?}");
            }
            // Before the signals were taken over, or by one that nobody can take over.
            None => ended[2] += 1,
            _ => panic!("{answer:?}"),
        }
        let all = names(&state);
        // What begins like that belongs to the database: its journals, in the moment in which it is killed.
        let stays = |name: &str| {
            ["lock", "state.db"].contains(&name)
                || name.starts_with("state.db-")
                || name.contains(".before-")
        };
        if name == "KILL" {
            // So that what lies there after the next round is of that round, which may end before it begins to write.
            for left in all.iter().filter(|name| !stays(name)) {
                assert!(
                    left.starts_with("state.db.restored"),
                    "round {round}: {all:?}"
                );
                fs::remove_file(state.join(left)).unwrap();
            }
        } else {
            assert!(
                all.iter().all(|name| stays(name)),
                "round {round} {name}: {all:?}"
            );
        }
        let checked = place.oneiric(&["state", "check", "--json"]).json();
        let revision = checked["database"]["last_revision"].as_u64().unwrap();
        assert!((1..=2).contains(&revision), "{checked}");
    }
    let (_, _, place) = Process::start_in(place, &["run"]).stop_in_place();
    let all = names(&place.path().join(".oneiric"));
    assert!(
        all.iter().all(|name| !name.contains(".restored")),
        "{all:?}"
    );
    println!("done, interrupted, ended by the signal: {ended:?}");
}

#[test]
fn a_settings_file_that_init_was_stopped_at_is_whole_or_not_there() {
    let place = Place::new();
    place.oneiric(&["init", "whole.toml"]).ok();
    let whole = fs::read(place.path().join("whole.toml")).unwrap();
    let (rounds, _, mut random) = soak_rounds();
    for _ in 0..rounds {
        let name = one_of(&mut random, &["INT", "TERM", "KILL"]);
        let child = spawn(&place, &["init", "a.toml", "--force"]);
        thread::sleep(Duration::from_micros(random.u64(..20_000)));
        signal(&child, name);
        let code = end(child).code;
        assert!(code.is_none() || code == Some(0), "{code:?}");
        let found = fs::read(place.path().join("a.toml"));
        assert!(found.is_err() || found.unwrap() == whole);
        if name != "KILL" {
            let all = names(place.path());
            let left = all.iter().filter(|name| name.contains(".unfinished-"));
            assert!(left.count() <= 1, "only of one that was killed: {all:?}");
        }
    }
    place.oneiric(&["init", "a.toml", "--force"]).ok();
    assert_eq!(names(place.path()), ["a.toml", "whole.toml"]);
}
