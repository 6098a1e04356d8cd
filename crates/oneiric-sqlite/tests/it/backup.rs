//! Backups while everybody goes on, and putting them back.

use std::{
    cell::Cell,
    fs,
    os::unix::fs::MetadataExt,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use oneiric_domains::{KeyValueStore, SelectionStore};
use oneiric_sqlite::{check, restore};

use crate::support::{Place, code, revision};

#[test]
fn a_backup_under_writers_is_whole_and_has_no_holes() {
    let place = Place::new();
    let db = place.open();
    // Enough for many steps.
    for number in 0..200 {
        db.put("bulk", &number.to_string(), &[7; 20_000], None)
            .unwrap();
    }
    let (stop, begun) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                SelectionStore::append(&db, &revision(number, "adapter/cache", Some("a"))).unwrap();
                db.put("bulk", &(number % 200).to_string(), &[9; 20_000], None)
                    .unwrap();
                begun.store(true, Ordering::Relaxed);
            }
        });
        while !begun.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        for round in 0..5 {
            let copy = Place::new();
            let before = SelectionStore::load(&db).unwrap().last;
            db.backup(&copy.path()).unwrap();
            let after = SelectionStore::load(&db).unwrap().last;
            assert!(round == 0 || after > before, "writers went on");
            let held = fs::metadata(copy.path()).unwrap();
            assert_eq!((held.mode() & 0o777, held.nlink()), (0o600, 1));
            let summary = check(&copy.path()).unwrap();
            assert_eq!(summary.keys, 200);
            let book = SelectionStore::load(&copy.open()).unwrap();
            assert!(
                (before..=after).contains(&book.last),
                "{before} {} {after}",
                book.last
            );
            let numbers: Vec<u64> = book.history.iter().map(|one| one.revision).collect();
            let first = book.last + 1 - numbers.len() as u64;
            assert_eq!(numbers, (first..=book.last).collect::<Vec<_>>());
            assert_eq!(fs::read_dir(copy.dir.path()).unwrap().count(), 1);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(db.summary().unwrap().last_backup_unix_ms, Some(0));
}

#[test]
fn a_backup_overwrites_nothing() {
    let place = Place::new();
    let db = place.open();
    let to = place.dir.path().join("copy.db");
    fs::File::create(&to).unwrap();
    assert_eq!(code(db.backup(&to)), "sqlite.exists");
    assert_eq!(fs::metadata(&to).unwrap().len(), 0);
    let nowhere = place.dir.path().join("no/such/copy.db");
    assert_eq!(code(db.backup(&nowhere)), "sqlite.unreadable");
    assert_eq!(
        fs::read_dir(place.dir.path()).unwrap().count(),
        3,
        "database, log, the file"
    );
}

#[test]
fn two_backups_at_once_are_two_backups() {
    let place = Place::new();
    let db = place.open();
    for number in 0..50 {
        db.put("bulk", &number.to_string(), &[7; 20_000], None)
            .unwrap();
    }
    thread::scope(|scope| {
        for number in 0..4 {
            let (db, to) = (&db, place.dir.path().join(format!("copy{number}.db")));
            scope.spawn(move || {
                db.backup(&to).unwrap();
                assert_eq!(check(&to).unwrap().keys, 50);
            });
        }
    });
}

#[test]
fn a_journal_that_somebody_else_put_beside_a_backup_is_refused() {
    let place = Place::new();
    let db = place.open();
    let backup = place.dir.path().join("copy.db");
    db.backup(&backup).unwrap();
    drop(db);
    let before = fs::read(&backup).unwrap();
    for ending in ["-journal", "-wal"] {
        let log = place.dir.path().join(format!("copy.db{ending}"));
        fs::copy("Cargo.toml", &log).unwrap();
        // Only root can give a file away.
        if std::os::unix::fs::chown(&log, Some(12_345), None).is_err() {
            return;
        }
        assert_eq!(code(check(&backup)), "sqlite.unsafe_file", "{ending}");
        let restored = restore(&backup, &place.path(), &|| true);
        assert_eq!(code(restored), "sqlite.unsafe_file", "{ending}");
        assert!(log.exists());
        fs::remove_file(&log).unwrap();
    }
    assert_eq!(fs::read(&backup).unwrap(), before);
    check(&backup).unwrap();
}

#[test]
fn what_is_restored_is_what_was_backed_up_and_what_was_there_is_kept() {
    let place = Place::new();
    let db = place.open();
    SelectionStore::append(&db, &revision(1, "a/b", Some("kept"))).unwrap();
    let backup = place.dir.path().join("copy.db");
    db.backup(&backup).unwrap();
    SelectionStore::append(&db, &revision(2, "a/b", Some("later"))).unwrap();
    assert_eq!(
        code(restore(&backup, &place.path(), &|| true)),
        "sqlite.locked"
    );
    assert_eq!(SelectionStore::load(&db).unwrap().last, 2);
    drop(db);
    for round in 1..=2 {
        let restored = restore(&backup, &place.path(), &|| true).unwrap();
        assert_eq!(restored.summary.last_revision, 1);
        let kept = restored.kept.unwrap();
        assert!(kept.ends_with(format!("state.db.before-restore-{round}")));
        assert_eq!(
            check(&kept).unwrap().last_revision,
            if round == 1 { 2 } else { 1 }
        );
    }
    assert_eq!(SelectionStore::load(&place.open()).unwrap().last, 1);
}

#[test]
fn a_damaged_database_can_be_replaced_with_its_log_kept_beside_it() {
    let place = Place::new();
    let db = place.open();
    let backup = place.dir.path().join("copy.db");
    db.backup(&backup).unwrap();
    drop(db);
    fs::copy("Cargo.toml", place.path()).unwrap();
    fs::copy("Cargo.toml", place.dir.path().join("state.db-wal")).unwrap();
    let restored = restore(&backup, &place.path(), &|| true).unwrap();
    let kept = restored.kept.unwrap();
    let lies_there =
        |path: std::path::PathBuf| fs::read(path).unwrap() == fs::read("Cargo.toml").unwrap();
    assert!(lies_there(kept.clone()));
    let mut log = kept.into_os_string();
    log.push("-wal");
    assert!(lies_there(log.into()));
    assert_eq!(SelectionStore::load(&place.open()).unwrap().last, 0);
}

#[test]
fn what_is_no_backup_is_not_restored() {
    let place = Place::new();
    drop(place.open());
    let before = fs::read(place.path()).unwrap();
    let wrong = place.dir.path().join("wrong.db");
    assert_eq!(
        code(restore(&wrong, &place.path(), &|| true)),
        "sqlite.unreadable"
    );
    fs::copy("Cargo.toml", &wrong).unwrap();
    assert_eq!(
        code(restore(&wrong, &place.path(), &|| true)),
        "sqlite.corrupt"
    );
    assert_eq!(fs::read(place.path()).unwrap(), before);
    assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 2);
}

#[test]
fn a_log_without_its_database_is_not_taken_for_that_of_the_restored_one() {
    let place = Place::new();
    let db = place.open();
    let backup = place.dir.path().join("copy.db");
    db.backup(&backup).unwrap();
    SelectionStore::append(&db, &revision(1, "a/b", Some("later"))).unwrap();
    let log = place.dir.path().join("state.db-wal");
    let left = fs::read(&log).unwrap();
    drop(db);
    fs::remove_file(place.path()).unwrap();
    std::io::Write::write_all(&mut fs::File::create(&log).unwrap(), &left).unwrap();
    let restored = restore(&backup, &place.path(), &|| true).unwrap();
    assert_eq!(restored.kept, None);
    assert!(!log.exists());
    let kept = place.dir.path().join("state.db.before-restore-1-wal");
    assert_eq!(fs::read(kept).unwrap(), left);
    assert_eq!(SelectionStore::load(&place.open()).unwrap().last, 0);
}

#[test]
fn a_restore_that_is_interrupted_anywhere_leaves_everything_as_it_was() {
    let place = Place::new();
    let db = place.open();
    for number in 0..40 {
        db.put("bulk", &number.to_string(), &[7; 20_000], None)
            .unwrap();
    }
    let backup = place.dir.path().join("copy.db");
    db.backup(&backup).unwrap();
    SelectionStore::append(&db, &revision(1, "a/b", Some("later"))).unwrap();
    drop(db);
    let before = fs::read(place.path()).unwrap();
    let mut asked_most = 0;
    loop {
        let asked = Cell::new(0);
        let go_on = || {
            asked.set(asked.get() + 1);
            asked.get() <= asked_most
        };
        match restore(&backup, &place.path(), &go_on) {
            Ok(_) => break,
            Err(error) => assert_eq!(code(Err::<(), _>(error)), "sqlite.interrupted"),
        }
        assert_eq!(fs::read(place.path()).unwrap(), before);
        assert_eq!(fs::metadata(place.path()).unwrap().nlink(), 1);
        assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 2);
        asked_most += 1;
    }
    assert!(asked_most > 2, "it was asked in between: {asked_most}");
    assert_eq!(check(&place.path()).unwrap().last_revision, 0);
}

#[test]
fn what_a_killed_restore_left_does_not_stay() {
    let place = Place::new();
    drop(place.open());
    let beside = |ending: &str| place.dir.path().join(format!("state.db{ending}"));
    for ending in [".restored", ".restored-journal", ".new"] {
        fs::copy("Cargo.toml", beside(ending)).unwrap();
    }
    // Killed between giving what was there its second name and the exchange.
    fs::hard_link(place.path(), beside(".before-restore-2")).unwrap();
    fs::copy("Cargo.toml", beside(".before-restore-1")).unwrap();
    let db = place.open();
    assert_eq!(fs::metadata(place.path()).unwrap().nlink(), 1);
    db.close();
    let mut names: Vec<_> = fs::read_dir(place.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["state.db", "state.db.before-restore-1"]);
}
