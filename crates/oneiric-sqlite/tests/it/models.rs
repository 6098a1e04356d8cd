//! Every store answers like the one in memory, also when it is closed and opened in between, and when the file is
//! copied away in the middle and opened as it lies there, which is what a kill leaves.

use std::collections::BTreeMap;
use std::sync::{Arc, atomic::Ordering};

use oneiric_core::{Coded, WallClock};
use oneiric_domains::{
    ActivityRecord, ActivityStore, KeyValueStore, MemoryActivityStore, MemoryKeyValueStore,
    MemorySelectionStore, REVISIONS_KEPT, Revision, SelectionStore, Undone,
};
use oneiric_lifecycle::{
    Activity, Ended, HISTORY_KEPT, HistoryEntry, MemoryStatusStore, PastDecision, PastFailure,
    SlotHistory, StatusStore,
};
use oneiric_sqlite::{MAX_TEXT_BYTES, StateDb, check};
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
};

use rusqlite::Connection;

use crate::support::{Hand, Place, code, revision};

/// Texts that a careless statement would stumble over.
const AWKWARD: [&str; 8] = [
    "plain",
    "it's",
    "'); DROP TABLE revisions; --",
    "\"quoted\"",
    "100% _sure_",
    "line\nbreak\u{0}zero",
    "ünïcödé \u{1f980}",
    "",
];

fn awkward() -> impl Strategy<Value = String> {
    (0..AWKWARD.len()).prop_map(|index| AWKWARD[index].to_owned())
}

#[derive(Debug, Clone)]
enum Step {
    Select(BTreeMap<u8, Option<u8>>, String, Option<String>, bool),
    Status(u8, Vec<(u8, bool)>),
    Activity(u8, u8, Option<String>, Option<u64>),
    Put(u8, String, Vec<u8>, Option<u64>),
    Delete(u8, String),
    List(u8, String, usize),
    Advance(u64),
    Reopen,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (
            btree_map(0..4_u8, option::of(0..3_u8), 1..4), awkward(), option::of(awkward()), any::<bool>()
        )
            .prop_map(|(slots, who, why, undoes)| Step::Select(slots, who, why, undoes)),
        4 => (0..3_u8, vec((0..6_u8, any::<bool>()), 0..60))
            .prop_map(|(slot, entries)| Step::Status(slot, entries)),
        4 => (0..2_u8, awkward(), vec(any::<u8>(), 0..40), option::of(0..60_u64))
            .prop_map(|(space, key, value, until)| Step::Put(space, key, value, until)),
        4 => (0..3_u8, 0..3_u8, option::of(awkward()), option::of(any::<u64>()))
            .prop_map(|(scope, activity, note, until)| Step::Activity(scope, activity, note, until)),
        1 => (0..2_u8, awkward()).prop_map(|(space, key)| Step::Delete(space, key)),
        2 => (0..2_u8, awkward(), 0..9_usize)
            .prop_map(|(space, prefix, limit)| Step::List(space, prefix, limit)),
        1 => (1..20_u64).prop_map(Step::Advance),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
    ]
}

/// The file as it lies there while it is open, under another directory.
fn as_a_kill_leaves_it(place: &Place, db: &StateDb) -> Place {
    let left = Place {
        dir: tempfile::tempdir().unwrap(),
        hand: Arc::clone(&place.hand),
    };
    for file in std::fs::read_dir(db.path().parent().unwrap()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), left.dir.path().join(file.file_name())).unwrap();
    }
    left
}

fn entry(ended: u8, forced: bool) -> HistoryEntry {
    let kind = Ended::ALL[usize::from(ended)];
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(u64::from(ended) * 1_000 + 7);
    let mut entry = HistoryEntry::new(at, kind, "a".parse().unwrap());
    entry.forced = forced;
    if forced {
        entry.from = Some("b".parse().unwrap());
        entry.instance = Some(7);
        entry.failure = Some(PastFailure {
            stage: "probe".into(),
            code: "lifecycle.probe_failed".into(),
            message: AWKWARD[usize::from(ended)].into(),
        });
    }
    if kind == Ended::Decided {
        entry.decision = Some(PastDecision {
            kind: "fail_over".into(),
            text: AWKWARD[usize::from(ended)].into(),
        });
    }
    entry
}

/// What the store adds by itself.
fn without_runs(mut histories: Vec<SlotHistory>) -> Vec<SlotHistory> {
    for entry in histories
        .iter_mut()
        .flat_map(|history| &mut history.entries)
    {
        entry.run = 0;
    }
    histories
}

/// Each reopens files and waits for disks, so fewer than usual; `cargo xtask soak` asks for more.
fn soak_rounds() -> u32 {
    let asked = std::env::var("ONEIRIC_SOAK_ROUNDS").ok();
    asked.and_then(|rounds| rounds.parse().ok()).unwrap_or(48)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: soak_rounds(), ..ProptestConfig::default() })]

    #[test]
    fn the_stores_answer_like_their_models_across_reopening(steps in vec(step(), 1..60)) {
        let mut place = Place::new();
        let mut db = place.open();
        let hand: Arc<Hand> = Arc::clone(&place.hand);
        let selections = MemorySelectionStore::new();
        let status = MemoryStatusStore::new();
        let scopes = MemoryActivityStore::new();
        let pairs = MemoryKeyValueStore::new(Arc::clone(&hand) as Arc<dyn WallClock>);
        for step in steps {
            match step {
                Step::Select(slots, who, reason, undoes) => {
                    let number = selections.load().unwrap().last + 1;
                    let undone = Undone { first: 1, last: number };
                    let line = |(slot, provider): (u8, Option<u8>)| {
                        let mut made = revision(number, &format!("adapter/s{slot}"), None);
                        made.provider = provider.map(|number| format!("p{number}").parse().unwrap());
                        (made.who, made.reason) = (who.clone(), reason.clone());
                        made.undoes = undoes.then_some(undone);
                        made
                    };
                    // In whatever order somebody puts them.
                    let lines: Vec<_> = slots.into_iter().rev().map(line).collect();
                    db.append_all(&lines).unwrap();
                    selections.append_all(&lines).unwrap();
                }
                Step::Status(slot, entries) => {
                    let mut batch = SlotHistory::new(format!("task/s{slot}").parse().unwrap());
                    for (ended, forced) in entries {
                        batch.push(entry(ended, forced));
                    }
                    let batch = [batch];
                    StatusStore::append(&db, &batch).unwrap();
                    status.append(&batch).unwrap();
                }
                Step::Activity(scope, activity, note, until) => {
                    let kinds = [Activity::Running, Activity::Paused, Activity::Draining];
                    let record = ActivityRecord {
                        scope: format!("adapter/s{scope}"),
                        activity: kinds[usize::from(activity)],
                        who: note.clone(),
                        note,
                        since_unix_ms: 7,
                        until_unix_ms: until.map(|until| until.min(i64::MAX.unsigned_abs())),
                    };
                    db.set(&record).unwrap();
                    scopes.set(&record).unwrap();
                }
                Step::Put(space, key, value, until) => {
                    let (space, now) = (space.to_string(), hand.0.load(Ordering::Relaxed));
                    let until = until.map(|after| now + after);
                    db.put(&space, &key, &value, until).unwrap();
                    pairs.put(&space, &key, &value, until).unwrap();
                    prop_assert_eq!(db.get(&space, &key).unwrap(), pairs.get(&space, &key).unwrap());
                }
                Step::Delete(space, key) => {
                    let space = space.to_string();
                    prop_assert_eq!(
                        db.delete(&space, &key).unwrap(), pairs.delete(&space, &key).unwrap()
                    );
                }
                Step::List(space, prefix, limit) => {
                    let space = space.to_string();
                    prop_assert_eq!(
                        db.list(&space, &prefix, limit).unwrap(), pairs.list(&space, &prefix, limit).unwrap()
                    );
                }
                Step::Advance(by) => { hand.0.fetch_add(by, Ordering::Relaxed); }
                Step::Reopen => {
                    drop(db);
                    db = place.open();
                }
                Step::Kill => {
                    let left = as_a_kill_leaves_it(&place, &db);
                    drop(db);
                    place = left;
                    db = place.open();
                }
            }
        }
        prop_assert_eq!(SelectionStore::load(&db).unwrap(), selections.load().unwrap());
        prop_assert_eq!(
            without_runs(StatusStore::load(&db, None).unwrap()), status.load(None).unwrap()
        );
        prop_assert_eq!(ActivityStore::load(&db).unwrap(), scopes.load().unwrap());
        for space in ["0", "1"] {
            prop_assert_eq!(db.list(space, "", 99).unwrap(), pairs.list(space, "", 99).unwrap());
        }
        drop(db);
        check(&place.path()).unwrap();
    }
}

#[test]
fn history_is_bounded_and_what_is_in_force_is_kept() {
    let place = Place::new();
    let db = place.open();
    let model = MemorySelectionStore::new();
    let append = |made| {
        SelectionStore::append(&db, &made).unwrap();
        model.append(&made).unwrap();
    };
    // Of one that is too old, the line that is in force.
    let first = [
        revision(1, "adapter/cache", Some("a")),
        revision(1, "task/mail", Some("a")),
    ];
    db.append_all(&first).unwrap();
    model.append_all(&first).unwrap();
    let many = REVISIONS_KEPT as u64 + 50;
    for number in 2..=many {
        append(revision(number, "task/mail", Some("b")));
    }
    assert_eq!(SelectionStore::load(&db).unwrap(), model.load().unwrap());
    append(revision(many + 1, "adapter/cache", None));
    assert_eq!(SelectionStore::load(&db).unwrap(), model.load().unwrap());
    drop(db);
    let db = place.open();
    assert_eq!(SelectionStore::load(&db).unwrap(), model.load().unwrap());

    let slot: oneiric_core::Slot = "adapter/cache".parse().unwrap();
    for _ in 0..3 * HISTORY_KEPT {
        let mut batch = SlotHistory::new(slot.clone());
        batch.push(entry(1, false));
        StatusStore::append(&db, &[batch]).unwrap();
    }
    let summary = db.summary().unwrap();
    assert_eq!(summary.history, HISTORY_KEPT as u64);
    assert_eq!(summary.last_revision, many + 1);
    let held = StatusStore::load(&db, Some(&slot)).unwrap();
    assert_eq!(held[0].counts.swapped, 3 * HISTORY_KEPT as u64);
    drop(db);
    // Nothing that was forgotten is left in the file.
    let kept = check(&place.path()).unwrap();
    assert!(kept.bytes < 1 << 20, "{kept:?}");
}

#[test]
fn numbers_have_no_holes_and_no_number_is_given_twice() {
    let db = Place::new();
    let db = db.open();
    SelectionStore::append(&db, &revision(1, "a/b", Some("a"))).unwrap();
    for wrong in [0, 1, 3] {
        let refused = SelectionStore::append(&db, &revision(wrong, "a/b", Some("b")));
        assert_eq!(code(refused), "domains.revision_out_of_order");
    }
    let twice = [revision(2, "a/b", None), revision(2, "a/b", Some("b"))];
    for wrong in [&twice[..], &[]] {
        let refused = db.append_all(wrong);
        assert_eq!(code(refused), "domains.revision_out_of_order");
    }
    let book = SelectionStore::load(&db).unwrap();
    assert_eq!((book.last, book.history.len()), (1, 1));
}

#[test]
fn a_revision_of_several_slots_is_written_whole_or_not_at_all() {
    let place = Place::new();
    let db = place.open();
    let lines = [
        revision(1, "a/b", Some("a")),
        revision(1, "a/c", Some("a")),
        revision(1, "a/d", None),
    ];
    db.append_all(&lines).unwrap();
    drop(db);
    // What the last line meets keeps the first ones out as well.
    Connection::open(place.path())
        .unwrap()
        .execute_batch(
            "CREATE TRIGGER no BEFORE INSERT ON revisions WHEN NEW.slot = 'a/d' AND NEW.revision > 1
             BEGIN SELECT RAISE(ABORT, 'no'); END",
        )
        .unwrap();
    let db = place.open();
    let next = lines.clone().map(|line| Revision {
        revision: 2,
        provider: Some("b".parse().unwrap()),
        ..line
    });
    db.append_all(&next).unwrap_err();
    drop(db);
    let book = SelectionStore::load(&place.open()).unwrap();
    assert_eq!((book.last, book.in_force.len()), (1, 2));
    assert_eq!(Vec::from(book.history), lines);
}

#[test]
fn what_is_too_long_is_refused_and_what_components_say_is_cut() {
    let place = Place::new();
    let db = place.open();
    let mut long = revision(1, "a/b", Some("a"));
    long.reason = Some("x".repeat(10 << 20));
    let refused = SelectionStore::append(&db, &long).unwrap_err();
    assert_eq!(refused.code(), "sqlite.too_large");
    assert!(
        refused
            .to_string()
            .starts_with("the reason is 10485760 bytes long"),
        "{refused}"
    );
    long.reason = None;
    long.who = "x".repeat(MAX_TEXT_BYTES + 1);
    assert_eq!(code(SelectionStore::append(&db, &long)), "sqlite.too_large");
    assert_eq!(SelectionStore::load(&db).unwrap().last, 0);
    assert_eq!(
        code(db.put("a", "k", &vec![0; 10 << 20], None)),
        "domains.too_large"
    );

    let mut said = entry(2, true);
    said.failure.as_mut().unwrap().message = "é".repeat(MAX_TEXT_BYTES);
    let mut batch = SlotHistory::new("a/b".parse().unwrap());
    batch.push(said);
    StatusStore::append(&db, &[batch]).unwrap();
    let held = StatusStore::load(&db, None).unwrap();
    let message = &held[0].entries[0].failure.as_ref().unwrap().message;
    assert_eq!(*message, "é".repeat(MAX_TEXT_BYTES / 2));
}

#[test]
fn p20_entries_say_in_which_run_of_the_program_they_were_made() {
    let place = Place::new();
    for run in 1..=3 {
        let db = place.open();
        assert_eq!(db.run(), run);
        let mut batch = SlotHistory::new("a/b".parse().unwrap());
        batch.push(entry(0, false));
        StatusStore::append(&db, &[batch]).unwrap();
        db.close();
        assert_eq!(code(db.put("a", "k", b"", None)), "sqlite.internal");
    }
    let held = StatusStore::load(&place.open(), None).unwrap();
    let runs: Vec<u64> = held[0].entries.iter().map(|entry| entry.run).collect();
    assert_eq!(runs, [1, 2, 3]);
}
