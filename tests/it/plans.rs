//! Plans through the real binary: made, shown, refused when they are outdated, taken back; and killed at random instants.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use oneiric_tests::http::request;
use oneiric_tests::random::{Rng, soak_rounds};
use oneiric_tests::{Place, Process};
use serde_json::{Value, json};

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Five caches, each of which can be `memory`, which ranks best, `file`, or `flaky`, which fails its probe.
fn caches() -> String {
    let mut text = String::new();
    for key in KEYS {
        for (provider, priority) in [("memory", 20), ("file", 10), ("flaky", 1)] {
            text.push_str(&format!(
                "[[candidates]]\nslot = \"adapter/{key}\"\nprovider = \"{provider}\"\n\
                 factory = \"oneiric.builtins:{provider}_cache\"\npriority = {priority}\n\n"
            ));
        }
        text.push_str(&format!(
            "[providers.\"adapter/{key}\"]\nfile = {{ directory = \"entries-{key}\" }}\n\
             flaky = {{ probe = \"critical\" }}\n\n"
        ));
    }
    text
}

/// Who serves each cache.
fn serving(process: &Process) -> String {
    let status = process.oneiric(&["status", "--json"]).json();
    let slots = status["slots"].as_array().unwrap();
    let names: Vec<&str> = slots
        .iter()
        .map(|slot| slot["active"]["provider"].as_str().unwrap())
        .collect();
    names.join(" ")
}

#[test]
fn a_plan_is_shown_carried_out_and_taken_back() {
    let process = Process::start(&caches());
    let wanted = ["adapter/a=file", "adapter/b=file", "adapter/c="];
    let planned = process.oneiric(&[&["plan"][..], &wanted].concat());
    assert_eq!(planned.code, Some(1), "{planned:?}");
    for part in [
        "adapter/a: swap memory -> file\n",
        "  builds      oneiric.builtins:file_cache\n",
        "  selects     file, was nobody\n",
        "  if it dies  that is reported; memory is next in rank, and is not taken by itself\n",
        "adapter/c: memory serves already\n",
        "in this order, on revision 0:\n  1. build and probe: adapter/a, adapter/b\n",
        "nothing was changed\n",
    ] {
        assert!(planned.stdout.contains(part), "{part}\n{}", planned.stdout);
    }
    let nothing = process.oneiric(&["plan", "adapter/c="]).ok();
    assert!(nothing.ends_with("there is nothing to do\n"), "{nothing}");

    // Nobody can be asked here, so nothing is done without --yes.
    let refused = process.oneiric(&["apply", "adapter/a=file"]).failed(2);
    assert!(refused.contains("--yes"), "{refused}");
    let apply = ["apply", "--yes", "--reason", "ticket 4711"];
    let done = process.oneiric(&[&apply[..], &wanted].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(
        done.stdout.contains("adapter/b: memory -> file ("),
        "{done:?}"
    );
    assert!(
        done.stdout.contains("selection revision 1, in "),
        "{done:?}"
    );
    assert_eq!(serving(&process), "file file memory memory memory");

    let history = process.oneiric(&["history", "--json"]).json();
    let lines = history["revisions"].as_array().unwrap();
    let said = lines
        .iter()
        .map(|line| (&line["revision"], &line["slot"], &line["became"]));
    let said: Vec<_> = said.collect();
    let (one, in_force) = (&json!(1), &json!("in_force"));
    let (a, b) = (json!("adapter/a"), json!("adapter/b"));
    assert_eq!(said, [(one, &a, in_force), (one, &b, in_force)]);

    let shown = process.oneiric(&["undo", "--dry-run"]);
    assert_eq!(shown.code, Some(1), "{shown:?}");
    assert!(
        shown.stdout.starts_with("takes back revision 1\n"),
        "{shown:?}"
    );
    let undone = process.oneiric(&["undo", "--yes"]).ok();
    assert!(undone.contains("selection revision 2, in "), "{undone}");
    assert_eq!(serving(&process), "memory memory memory memory memory");
    let history = process.oneiric(&["history", "adapter/a"]).ok();
    assert!(history.contains("selected, undone by 2"), "{history}");
    assert!(history.contains("undid 1: unselected"), "{history}");
    process.oneiric(&["undo", "--yes"]).ok();
    assert_eq!(serving(&process), "file file memory memory memory");
    let refused = process.oneiric(&["undo", "--to", "9", "--yes"]).failed(4);
    assert!(refused.contains("(runtime.revision_unknown)"), "{refused}");
    let nothing = process.oneiric(&["undo", "--to", "3", "--yes"]).ok();
    assert_eq!(nothing, "there was nothing to do\n");
}

#[test]
fn of_two_operators_with_plans_made_on_one_revision_the_second_is_refused_with_what_changed() {
    let process = Process::start(&caches());
    for (name, change) in [("first", "adapter/a=file"), ("second", "adapter/b=file")] {
        let planned = process.oneiric(&["plan", change, "--json"]);
        assert_eq!(planned.code, Some(1), "{planned:?}");
        process
            .place()
            .write(&format!("{name}.json"), &planned.stdout);
    }
    process.oneiric(&["apply", "first.json", "--yes"]).ok();
    let refused = process
        .oneiric(&["apply", "second.json", "--yes"])
        .failed(7);
    assert!(
        refused.contains("made on revision 0, and 1 is in force now"),
        "{refused}"
    );
    assert!(
        refused.contains("1 adapter/a nobody -> file by uid:"),
        "{refused}"
    );
    assert!(refused.contains("(runtime.plan_outdated)"), "{refused}");
    let document = process
        .oneiric(&["apply", "second.json", "--yes", "--json"])
        .failed_json(7);
    let since = &document["details"]["since"][0];
    assert_eq!(
        (&since["slot"], &since["provider"]),
        (&"adapter/a".into(), &"file".into())
    );
    assert!(since["at_unix_ms"].is_u64(), "{document}");
    assert_eq!(serving(&process), "file memory memory memory memory");
}

#[test]
fn of_five_the_fourth_fails_its_probe_and_none_moves() {
    let process = Process::start(&caches());
    process.place().write(
        "changes.yaml",
        "selections:\n  adapter/a: file\n  adapter/b: file\n  adapter/c: file\n  adapter/d: flaky\n  adapter/e: file\n",
    );
    let said = process
        .oneiric(&["apply", "changes.yaml", "--yes"])
        .failed(7);
    assert!(
        said.contains("nothing was changed: adapter/d failed at probe"),
        "{said}"
    );
    assert!(
        said.contains("adapter/e: file was ready (before_swap) and is retired"),
        "{said}"
    );
    assert_eq!(serving(&process), "memory memory memory memory memory");
    let status = process.oneiric(&["status", "--json"]).json();
    for slot in status["slots"].as_array().unwrap() {
        let swaps = &slot["swaps"];
        assert_eq!(
            (&swaps["rolled_back"], &swaps["retired"]),
            (&json!(1), &json!(1)),
            "{slot}"
        );
    }
    assert_eq!(status["selections"], json!([]));
    let wrong = process.oneiric(&["plan", "nowhere.toml"]).failed(3);
    assert!(wrong.contains("(runtime.changes_unreadable)"), "{wrong}");
    process.oneiric(&["plan", "adapter/a=nobody"]).failed(4);
}

/// The selections of all slots, in the order of their names.
type Selected = Vec<Option<String>>;

/// Carries out one random plan after the other until the process is gone; gives what the last one that was
/// acknowledged left, and what the one that was under way wanted.
fn make_changes(directory: &Path, mut random: Rng, mut now: Selected) -> (Selected, Selected) {
    let socket = directory.join(".oneiric/admin.sock");
    loop {
        let mut wanted = now.clone();
        for one in &mut wanted {
            *one = match random.u64(..5) {
                0 => None,
                1 | 2 => Some("file".to_owned()),
                3 => Some("memory".to_owned()),
                _ => one.clone(),
            };
        }
        let fails = random.u64(..4) == 0;
        let changes: Vec<Value> = KEYS
            .iter()
            .zip(&wanted)
            .map(|(key, provider)| match provider {
                _ if fails && *key == "d" => json!({"slot": "adapter/d", "provider": "flaky"}),
                Some(provider) => json!({"slot": format!("adapter/{key}"), "provider": provider}),
                None => json!({"slot": format!("adapter/{key}")}),
            })
            .collect();
        let body = json!({"changes": changes});
        let Some((200, plan)) = request(&socket, "POST", "/v1/plan", Some(&body)) else {
            return (now.clone(), now);
        };
        let body = json!({"plan": plan});
        match request(&socket, "POST", "/v1/apply", Some(&body)) {
            None if fails => return (now.clone(), now),
            None => return (now, wanted),
            Some((200, _)) if !fails => now = wanted,
            Some((status, answer)) => {
                assert_eq!((status, fails), (409, true), "{answer}");
                assert_eq!(answer["outcome"], "rolled_back", "{answer}");
            }
        }
    }
}

/// What is selected after a start; that serves too.
fn found(socket: &Path) -> Selected {
    let (_, status) = request(socket, "GET", "/v1/status", None).expect("it answers");
    let in_force: BTreeMap<&str, &str> = status["selections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["slot"].as_str().unwrap(),
                one["provider"].as_str().unwrap(),
            )
        })
        .collect();
    let slots = status["slots"].as_array().unwrap();
    slots
        .iter()
        .map(|slot| {
            let selected = in_force.get(slot["slot"].as_str().unwrap()).copied();
            let serves = slot["active"]["provider"].as_str();
            assert_eq!(serves, Some(selected.unwrap_or("memory")), "{status}");
            selected.map(str::to_owned)
        })
        .collect()
}

#[test]
fn p20_kill_9_while_plans_are_carried_out_leaves_all_selections_old_or_all_new() {
    let (rounds, seed, mut random) = soak_rounds();
    let mut place = Place::with(&caches());
    let mut now: Selected = vec![None; KEYS.len()];
    let mut cut_short = 0;
    for round in 0..rounds {
        let process = Process::start_in(place, &["run"]);
        let directory: PathBuf = process.place().path().to_owned();
        let (theirs, before) = (random.fork(), now.clone());
        let client = thread::spawn(move || make_changes(&directory, theirs, before));
        // Plans take some milliseconds each: some are done, and then one is cut short.
        thread::sleep(Duration::from_micros(random.u64(..150_000)));
        process.signal("KILL");
        let (old, new) = client.join().unwrap();
        cut_short += usize::from(old != new);
        let process = Process::start_in(process.into_place(), &["run"]);
        let found = found(&process.place().socket());
        assert!(
            found == old || found == new,
            "after round {round} of seed {seed}: {found:?} is neither {old:?} nor {new:?}"
        );
        now = found;
        process.signal("KILL");
        place = process.into_place();
    }
    println!("{cut_short} of {rounds} kills cut a plan short");
    place.oneiric(&["state", "check"]).ok();
}
