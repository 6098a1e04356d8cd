//! `kill -9` at random instants of a stream of changes. After each restart everything that was acknowledged is there,
//! and nothing else; of the one request that was under way either is right.
//!
//! Ten rounds by default; `cargo xtask soak` makes two hundred. The seed is printed, and `ONEIRIC_SOAK_SEED` takes one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use oneiric_tests::http::request;
use oneiric_tests::random::{Rng, one_of, soak_rounds};
use oneiric_tests::settings::CACHES;
use oneiric_tests::{Place, Process};
use serde_json::{Value, json};

const SLOT: &str = "adapter/cache";
const SCOPES: [&str; 4] = [
    "adapter/*",
    "adapter/cache",
    "adapter/cache:file",
    "service/clock",
];

/// What a change did, or may have done.
#[derive(Debug, Clone)]
enum Change {
    Swap {
        to: Option<&'static str>,
        clear: bool,
    },
    Activity {
        scope: &'static str,
        activity: &'static str,
        note: String,
    },
    Settings {
        priority: u64,
    },
}

/// Everything that must be there after a restart.
#[derive(Debug, Clone, PartialEq, Default)]
struct Known {
    /// The number of the last revision.
    last: u64,
    /// Provider of each of the last thousand revisions, in order.
    revisions: Vec<Option<String>>,
    /// Activity and note of each scope that does not run.
    activity: BTreeMap<String, (String, String)>,
    swapped: u64,
    rolled_back: u64,
    priority: u64,
}

/// What a client saw until the process was gone.
struct Seen {
    acknowledged: Vec<(Change, Value)>,
    under_way: Option<Change>,
}

fn settings(priority: u64) -> String {
    CACHES.replace("priority = 10", &format!("priority = {priority}"))
}

/// In one step, as an operator's editor does it.
fn write_settings(directory: &Path, priority: u64) {
    let new = directory.join("oneiric.toml.new");
    let mut file = std::fs::File::create(&new).unwrap();
    std::io::Write::write_all(&mut file, settings(priority).as_bytes()).unwrap();
    std::fs::rename(new, directory.join("oneiric.toml")).unwrap();
}

fn change(random: &mut Rng) -> Change {
    match random.u64(..10) {
        0..5 => {
            let to = one_of(random, &["memory", "file", "flaky"]);
            Change::Swap {
                to: Some(to),
                clear: false,
            }
        }
        5 => Change::Swap {
            to: None,
            clear: true,
        },
        6..9 => Change::Activity {
            scope: one_of(random, &SCOPES),
            activity: one_of(random, &["paused", "draining", "running"]),
            note: format!("it's \"{}\"; -- ", random.u64(..1_000)),
        },
        _ => Change::Settings {
            priority: 1 + random.u64(..9),
        },
    }
}

/// Makes changes one after the other until the process is gone.
fn make_changes(directory: &Path, mut random: Rng, begun: &mpsc::Sender<()>) -> Seen {
    let socket = directory.join(".oneiric/admin.sock");
    let mut seen = Seen {
        acknowledged: Vec::new(),
        under_way: None,
    };
    loop {
        let change = change(&mut random);
        let (path, body) = match &change {
            Change::Swap { to, clear } => (
                "/v1/swap",
                json!({"slot": SLOT, "provider": to, "clear": clear, "reason": "o'clock"}),
            ),
            Change::Activity {
                scope,
                activity,
                note,
            } => (
                "/v1/activity",
                json!({"scope": scope, "activity": activity, "note": note}),
            ),
            Change::Settings { priority } => {
                write_settings(directory, *priority);
                ("/v1/reload", json!({}))
            }
        };
        seen.under_way = Some(change.clone());
        // Nobody waits any more when the process was killed already.
        let _told = begun.send(());
        let Some((status, answer)) = request(&socket, "POST", path, Some(&body)) else {
            return seen;
        };
        assert!(
            [200, 409].contains(&status),
            "{change:?}: {status} {answer}"
        );
        seen.acknowledged.push((change, answer));
        seen.under_way = None;
    }
}

impl Known {
    fn selected(&self) -> Option<&String> {
        self.revisions.last().and_then(Option::as_ref)
    }

    /// What is known when `change` was made with this outcome.
    fn after(&self, change: &Change, outcome: Outcome) -> Self {
        let mut after = self.clone();
        match change {
            Change::Swap { to, clear } => {
                let selects = if *clear {
                    self.selected().is_some()
                } else {
                    to.is_some()
                };
                let is_new = *clear || self.selected().map(String::as_str) != *to;
                if selects && is_new && outcome != Outcome::RolledBack {
                    after.last += 1;
                    after.revisions.push(to.map(str::to_owned));
                    let forgotten = after.revisions.len().saturating_sub(1_000);
                    after.revisions.drain(..forgotten);
                }
                after.swapped += u64::from(outcome == Outcome::Swapped);
                after.rolled_back += u64::from(outcome == Outcome::RolledBack);
            }
            Change::Activity {
                scope,
                activity,
                note,
            } => {
                if *activity == "running" {
                    after.activity.remove(*scope);
                } else {
                    let said = ((*activity).to_owned(), note.clone());
                    after.activity.insert((*scope).to_owned(), said);
                }
            }
            Change::Settings { priority } => after.priority = *priority,
        }
        after
    }

    fn acknowledged(&self, change: &Change, answer: &Value) -> Self {
        let after = self.after(change, Outcome::of(answer));
        if let Some(revision) = answer.get("revision")
            && after.last > self.last
        {
            assert_eq!(revision["revision"], after.last, "{answer}");
        }
        after
    }

    /// Everything that may be so if `change` was under way.
    fn possibly(&self, change: Option<&Change>) -> Vec<Self> {
        let mut all = vec![self.clone()];
        if let Some(change) = change {
            let outcomes = [Outcome::Unchanged, Outcome::Swapped, Outcome::RolledBack];
            all.extend(outcomes.map(|outcome| self.after(change, outcome)));
            // Written down and not carried out, or not yet in the history.
            let mut selected = self.after(change, Outcome::Swapped);
            selected.swapped = self.swapped;
            all.push(selected);
            if let Change::Settings { priority } = change {
                all.retain(|one| one.priority == *priority);
            }
        }
        all
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Unchanged,
    Swapped,
    RolledBack,
}

impl Outcome {
    fn of(answer: &Value) -> Self {
        match answer["report"]["outcome"].as_str() {
            Some("swapped") => Self::Swapped,
            Some("rolled_back") => Self::RolledBack,
            _ => Self::Unchanged,
        }
    }
}

/// What the process says that there is.
fn found(socket: &Path) -> Known {
    let get = |path: &str| {
        let (status, document) = request(socket, "GET", path, None).expect("it answers");
        assert_eq!(status, 200, "{path}: {document}");
        document
    };
    let history = get("/v1/history");
    assert_eq!(history["persists"], true);
    let revisions = history["revisions"].as_array().unwrap();
    let numbers: Vec<u64> = revisions
        .iter()
        .map(|one| one["revision"].as_u64().unwrap())
        .collect();
    let last = numbers.last().copied().unwrap_or(0);
    let first = last + 1 - numbers.len() as u64;
    assert_eq!(numbers, (first..=last).collect::<Vec<_>>(), "no holes");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let revisions: Vec<_> = revisions.iter().map(|one| text(&one["provider"])).collect();
    let slots = history["slots"].as_array().unwrap();
    let counts = slots.iter().find(|slot| slot["slot"] == SLOT);
    let count = |name: &str| counts.map_or(0, |slot| slot["counts"][name].as_u64().unwrap());
    let status = get(&format!("/v1/status?slot={SLOT}"));
    let in_force = status["selections"].as_array().unwrap();
    let in_force: Vec<_> = in_force.iter().map(|one| text(&one["provider"])).collect();
    let selected = revisions.last().cloned().flatten();
    assert_eq!(
        in_force,
        selected.clone().map(Some).into_iter().collect::<Vec<_>>()
    );
    // What was selected serves, from the first moment on; without a selection the one that ranks best.
    let serves = status["slots"][0]["active"]["provider"].as_str();
    assert_eq!(
        serves,
        Some(selected.as_deref().unwrap_or("memory")),
        "{status}"
    );
    let scopes = get("/v1/activity");
    let scopes = scopes["scopes"].as_array().unwrap().iter().map(|scope| {
        let said = (
            text(&scope["activity"]).unwrap(),
            text(&scope["note"]).unwrap_or_default(),
        );
        (text(&scope["scope"]).unwrap(), said)
    });
    let list = get("/v1/list?domain=adapter");
    let candidates = list["slots"][0]["candidates"].as_array().unwrap();
    let file = candidates
        .iter()
        .find(|one| one["provider"] == "file")
        .unwrap();
    Known {
        last,
        revisions,
        activity: scopes.collect(),
        swapped: count("swapped"),
        rolled_back: count("rolled_back"),
        priority: file["priority"].as_u64().unwrap(),
    }
}

#[test]
fn p20_kill_9_at_random_instants_loses_nothing_that_was_acknowledged() {
    let (rounds, seed, mut random) = soak_rounds();
    let mut place = Place::with(&settings(9));
    let mut known = Known {
        priority: 9,
        ..Known::default()
    };
    let (mut changes, mut cut_short) = (0, 0);
    for round in 0..rounds {
        let process = Process::start_in(place, &["run"]);
        let directory: PathBuf = process.place().path().to_owned();
        let now = found(&directory.join(".oneiric/admin.sock"));
        assert_eq!(now, known, "at the start of round {round} of seed {seed}");
        let (begun, begins) = mpsc::channel();
        let theirs = random.fork();
        let client = thread::spawn(move || make_changes(&directory, theirs, &begun));
        // After some changes, and then somewhere within one.
        for _ in 0..random.u64(..40) {
            begins.recv().unwrap();
        }
        thread::sleep(Duration::from_micros(random.u64(..20_000)));
        process.signal("KILL");
        let seen = client.join().unwrap();
        place = process.into_place();
        for (change, answer) in &seen.acknowledged {
            known = known.acknowledged(change, answer);
        }
        changes += seen.acknowledged.len();
        cut_short += usize::from(seen.under_way.is_some());
        let process = Process::start_in(place, &["run"]);
        let now = found(&process.place().socket());
        let possible = known.possibly(seen.under_way.as_ref());
        assert!(
            possible.contains(&now),
            "after round {round} of seed {seed}: found {now:?}\nknown {known:?}\nunder way {:?}",
            seen.under_way
        );
        known = now;
        process.signal("KILL");
        place = process.into_place();
    }
    println!("{changes} changes acknowledged, {cut_short} of {rounds} kills cut one short");
    let checked = place.oneiric(&["state", "check", "--json"]).json();
    assert_eq!(checked["database"]["last_revision"], known.last);
}
