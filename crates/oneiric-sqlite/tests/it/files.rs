//! What is in the place of the database may be anything. It is refused with what it is, and left as it was.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use oneiric_core::{Coded, ErrorKind};
use oneiric_domains::SelectionStore;
use oneiric_sqlite::{APPLICATION_ID, check, schema_version};
use rusqlite::Connection;

use crate::support::{Place, code, revision};

/// A directory with a sound database of some size, closed.
fn with_content() -> Place {
    let place = Place::new();
    let db = place.open();
    for number in 1..=200 {
        let mut made = revision(number, &format!("adapter/s{number}"), Some("a"));
        made.reason = Some("a reason of some length, so that there are a few pages".repeat(4));
        SelectionStore::append(&db, &made).unwrap();
    }
    drop(db);
    place
}

fn overwrite(path: &Path, content: &[u8]) {
    fs::File::create(path).unwrap();
    std::io::Write::write_all(&mut fs::File::create(path).unwrap(), content).unwrap();
}

/// Every file of a directory with what it holds.
fn everything(place: &Place) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(place.dir.path())
        .unwrap()
        .map(|file| {
            let file = file.unwrap();
            (file.file_name(), fs::read(file.path()).unwrap())
        })
        .collect();
    all.sort();
    all
}

/// Opening fails with `expected`, twice the same, gives a next step and the path, and changes no byte.
fn refused(place: &Place, expected: &str) -> String {
    let before = everything(place);
    for _ in 0..2 {
        let error = place.try_open().unwrap_err();
        assert_eq!(error.code(), expected, "{error}");
        assert!(error.hint().is_some());
        let path = place.path().canonicalize().unwrap_or(place.path());
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
        let now = everything(place);
        let mut names = now.iter().map(|(name, _)| name.to_string_lossy());
        for (file, content) in &before {
            let held = now.iter().find(|(name, _)| name == file);
            assert_eq!(
                held.map(|(_, content)| content),
                Some(content),
                "{}",
                file.display()
            );
        }
        assert!(names.all(|name| !name.ends_with(".new")));
    }
    place.try_open().unwrap_err().to_string()
}

#[test]
fn a_new_database_belongs_to_its_user_alone_and_says_what_it_is() {
    let place = Place::new();
    let db = place.open();
    let held = fs::metadata(place.path()).unwrap();
    assert_eq!((held.mode() & 0o777, held.nlink()), (0o600, 1));
    SelectionStore::append(&db, &revision(1, "a/b", Some("a"))).unwrap();
    for file in fs::read_dir(place.dir.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600, "{file:?}");
    }
    drop(db);
    let names: Vec<_> = everything(&place)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["state.db"], "the log is folded in at the end");
    let summary = check(&place.path()).unwrap();
    assert_eq!(
        (summary.schema, summary.last_revision),
        (schema_version(), 1)
    );
}

#[test]
fn garbage_is_refused_and_left_as_it_is() {
    let place = Place::new();
    overwrite(
        &place.path(),
        b"this is no database, it is somebody's shopping list"
            .repeat(99)
            .as_slice(),
    );
    let said = refused(&place, "sqlite.corrupt");
    assert!(said.contains("not a database"), "{said}");
    overwrite(&place.path(), b"");
    refused(&place, "sqlite.corrupt");
    overwrite(&place.path(), b"SQLite format 3\0");
    refused(&place, "sqlite.corrupt");
}

#[test]
fn a_database_that_was_cut_off_is_refused_wherever_it_was_cut() {
    let whole = fs::read(with_content().path()).unwrap();
    let pages = whole.len() / 4096;
    assert!(pages > 20, "{pages}");
    for keep in [
        1,
        99,
        100,
        4095,
        4096,
        4097,
        8192,
        whole.len() / 2,
        whole.len() - 4096,
        whole.len() - 1,
    ] {
        let place = Place::new();
        overwrite(&place.path(), &whole[..keep]);
        refused(&place, "sqlite.corrupt");
    }
}

#[test]
fn a_database_with_overwritten_pages_is_refused() {
    let whole = fs::read(with_content().path()).unwrap();
    for page in [1, 5, whole.len() / 4096 - 1] {
        let mut broken = whole.clone();
        broken[page * 4096..(page + 1) * 4096].fill(0xa5);
        let place = Place::new();
        overwrite(&place.path(), &broken);
        refused(&place, "sqlite.corrupt");
        assert_eq!(code(check(&place.path())), "sqlite.corrupt");
    }
}

#[test]
fn a_newer_database_is_refused_naming_both_versions() {
    let place = with_content();
    let connection = Connection::open(place.path()).unwrap();
    connection
        .pragma_update(None, "user_version", schema_version() + 3)
        .unwrap();
    drop(connection);
    let said = refused(&place, "sqlite.newer");
    let both = format!(
        "schema {}, this one knows up to {}",
        schema_version() + 3,
        schema_version()
    );
    assert!(said.contains(&both), "{said}");
}

#[test]
fn a_newer_database_that_was_killed_keeps_its_log() {
    let place = with_content();
    let killed = Place::new();
    {
        let connection = Connection::open(place.path()).unwrap();
        connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
            .unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        for name in ["state.db", "state.db-wal"] {
            fs::copy(place.dir.path().join(name), killed.dir.path().join(name)).unwrap();
        }
    }
    assert!(
        fs::metadata(killed.dir.path().join("state.db-wal"))
            .unwrap()
            .len()
            > 0
    );
    refused(&killed, "sqlite.newer");
}

#[test]
fn a_database_of_another_program_is_refused_naming_both_ids() {
    let place = Place::new();
    let connection = Connection::open(place.path()).unwrap();
    connection
        .execute_batch("CREATE TABLE bookmarks(url TEXT)")
        .unwrap();
    drop(connection);
    let said = refused(&place, "sqlite.foreign");
    assert!(
        said.contains(&format!("found {:#010x}", 0)) || said.contains("0x00000000"),
        "{said}"
    );
    assert!(said.contains(&format!("{APPLICATION_ID:#010x}")), "{said}");
}

#[test]
fn a_database_without_its_tables_is_damaged() {
    let place = with_content();
    let connection = Connection::open(place.path()).unwrap();
    connection
        .execute_batch("DROP TABLE selections; DROP TABLE runs")
        .unwrap();
    drop(connection);
    refused(&place, "sqlite.corrupt");
    assert_eq!(code(check(&place.path())), "sqlite.corrupt");
}

#[test]
fn a_name_in_the_database_that_is_none_is_damage() {
    let place = with_content();
    let connection = Connection::open(place.path()).unwrap();
    // Or the selection would hold its line in place.
    connection
        .pragma_update(None, "foreign_keys", false)
        .unwrap();
    connection
        .execute(
            "UPDATE revisions SET slot = 'no slot' WHERE revision = 7",
            [],
        )
        .unwrap();
    drop(connection);
    assert_eq!(code(SelectionStore::load(&place.open())), "sqlite.corrupt");
    assert_eq!(code(check(&place.path())), "sqlite.corrupt");
}

#[test]
fn a_link_is_not_followed() {
    let place = with_content();
    let elsewhere = Place::new();
    let link = elsewhere.path();
    symlink(place.path(), &link).unwrap();
    assert_eq!(code(elsewhere.try_open()), "sqlite.unsafe_file");
    fs::remove_file(&link).unwrap();
    symlink(elsewhere.dir.path().join("nowhere"), &link).unwrap();
    assert_eq!(code(elsewhere.try_open()), "sqlite.unsafe_file");
    assert!(!elsewhere.dir.path().join("nowhere").exists());
    fs::remove_file(&link).unwrap();
    fs::create_dir(&link).unwrap();
    assert_eq!(code(elsewhere.try_open()), "sqlite.unsafe_file");
}

#[test]
fn a_log_without_its_database_is_not_taken_for_a_new_one() {
    let place = Place::new();
    overwrite(
        &place.dir.path().join("state.db-wal"),
        b"the last things that were said",
    );
    let said = refused(&place, "sqlite.corrupt");
    assert!(said.contains("it is missing, but its log"), "{said}");
    assert!(!place.path().exists());
}

#[test]
fn p21_a_second_opening_of_one_file_is_refused_under_whatever_name() {
    let place = Place::new();
    let db = place.open();
    SelectionStore::append(&db, &revision(1, "a/b", Some("a"))).unwrap();
    assert_eq!(code(place.try_open()), "sqlite.locked");
    // By SQLite's own means, as another program would.
    let other = Connection::open(place.path()).unwrap();
    assert!(
        other
            .query_row("SELECT count(*) FROM revisions", [], |row| row
                .get::<_, i64>(0))
            .is_err()
    );
    drop(other);
    let linked = place.dir.path().join("other.db");
    fs::hard_link(place.path(), &linked).unwrap();
    let refused = place.try_open_at(&linked).unwrap_err();
    assert_eq!(
        (refused.code(), refused.kind()),
        ("sqlite.unsafe_file", ErrorKind::Config)
    );
    assert!(refused.to_string().contains("2 names"), "{refused}");
    // Also where the second name is not seen: the lock is on the file.
    assert_eq!(code(check(&linked)), "sqlite.locked");
    fs::remove_file(&linked).unwrap();
    SelectionStore::append(&db, &revision(2, "a/b", Some("b"))).unwrap();
    drop(db);
    assert_eq!(SelectionStore::load(&place.open()).unwrap().last, 2);
}

#[test]
fn a_copy_is_a_database_of_its_own() {
    let place = with_content();
    let copy = Place::new();
    fs::copy(place.path(), copy.path()).unwrap();
    let (first, second) = (place.open(), copy.open());
    SelectionStore::append(&first, &revision(201, "a/b", Some("a"))).unwrap();
    assert_eq!(SelectionStore::load(&second).unwrap().last, 200);
}

#[test]
fn a_file_that_a_crash_left_half_made_does_not_matter() {
    let place = Place::new();
    let new = place.dir.path().join("state.db.new");
    overwrite(&new, b"half");
    drop(place.open());
    assert!(!new.exists());
    // Killed between the two names.
    fs::hard_link(place.path(), &new).unwrap();
    drop(place.open());
    assert!(!new.exists());
}

#[test]
fn a_file_that_may_not_be_written_is_refused() {
    let place = with_content();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o400)).unwrap();
    if fs::OpenOptions::new()
        .write(true)
        .open(place.path())
        .is_ok()
    {
        // Root may write whatever it likes; `read_only_disks` in the scenarios has a disk that says no.
        return;
    }
    refused(&place, "sqlite.unwritable");
}
