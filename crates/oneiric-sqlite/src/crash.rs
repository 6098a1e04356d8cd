//! What a power cut leaves, tried out: the steps that `disk.rs` noted are replayed, cut off after each of them. Of what
//! was not synced by then, bytes are gone; names are gone too, or there as far as the disk happened to get, in order.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use crate::{
    backup::{Incoming, check, restore},
    disk::{STEPS, Step},
    error::StateError,
    open,
};

/// What lies in a folder: names of files, and what of each file is on the disk.
#[derive(Debug, Clone, Default, PartialEq)]
struct Folder {
    names: BTreeMap<String, usize>,
    files: Vec<Vec<u8>>,
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

impl Folder {
    fn of(path: &Path) -> Self {
        let mut folder = Self::default();
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            folder.names.insert(name(&path), folder.files.len());
            folder.files.push(fs::read(&path).unwrap());
        }
        folder
    }

    /// What the folder shows while the system is up.
    fn step(&mut self, step: &Step) {
        match step {
            Step::Create(path) => {
                self.names.insert(name(path), self.files.len());
                self.files.push(Vec::new());
            }
            Step::Link(from, to) => {
                let file = self.names[&name(from)];
                self.names.insert(name(to), file);
            }
            Step::Rename(from, to) => {
                let file = self.names.remove(&name(from)).unwrap();
                self.names.insert(name(to), file);
            }
            Step::Remove(path) => drop(self.names.remove(&name(path))),
            Step::Sync(path, bytes) => {
                let file = self.names[&name(path)];
                self.files[file].clone_from(bytes);
            }
            Step::SyncFolder(_) => {}
        }
    }

    fn write_to(&self, folder: &Path) {
        let mut written: BTreeMap<usize, PathBuf> = BTreeMap::new();
        for (name, file) in &self.names {
            let path = folder.join(name);
            match written.get(file) {
                Some(first) => fs::hard_link(first, &path).unwrap(),
                None => {
                    let mut new = fs::File::create_new(&path).unwrap();
                    new.write_all(&self.files[*file]).unwrap();
                    written.insert(*file, path);
                }
            }
        }
    }
}

/// Everything that a disk may hold if the power goes during `steps` or right after them; the last one is what it holds
/// at least when all of them are done.
fn after_power_cuts(before: &Folder, steps: &[Step]) -> Vec<Folder> {
    let mut all = Vec::new();
    for cut in 0..=steps.len() {
        let mut shown = before.clone();
        // The names that may be on the disk: since the last sync of the folder, as after any of the steps.
        let mut names = vec![shown.names.clone()];
        for step in &steps[..cut] {
            shown.step(step);
            if matches!(step, Step::SyncFolder(_)) {
                names.clear();
            }
            names.push(shown.names.clone());
        }
        names.reverse();
        all.extend(names.into_iter().map(|names| Folder {
            names,
            files: shown.files.clone(),
        }));
    }
    all
}

/// Does something in a folder, and then looks at each folder that a power cut might have left of it; `look` is told
/// whether it was done by then.
fn with_power_cuts(folder: &Path, work: impl FnOnce(&Path), mut look: impl FnMut(&Path, bool)) {
    let before = Folder::of(folder);
    STEPS.take();
    work(folder);
    let steps = STEPS.take();
    assert!(steps.len() > 3, "{steps:?}");
    let all = after_power_cuts(&before, &steps);
    let last = all.len() - 1;
    for (number, left) in all.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        left.write_to(dir.path());
        println!("{number}: {:?}", left.names);
        look(dir.path(), number == last);
    }
}

const NAME: &str = "state.db";

/// Leaves a database with `keys` values in it, closed.
fn database(folder: &Path, keys: u64) {
    let (connection, _) = open::open(&folder.join(NAME)).unwrap();
    fill(&connection, keys);
}

fn fill(connection: &Connection, keys: u64) {
    for key in 0..keys {
        let sql = "INSERT INTO key_value VALUES ('bulk', ?1, zeroblob(5000), NULL)";
        connection.execute(sql, [key.to_string()]).unwrap();
    }
}

/// Leaves a database as `kill -9` leaves it, with its log; in that is a version that this program does not know.
fn newer(folder: &Path) {
    let (connection, path) = open::open(&folder.join(NAME)).unwrap();
    fill(&connection, 1);
    connection.pragma_update(None, "user_version", 99).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let log = open::with_ending(&path, "-wal");
    for file in [&path, &log] {
        fs::copy(file, elsewhere.path().join(name(file))).unwrap();
    }
    drop(connection);
    for file in [&path, &log] {
        fs::copy(elsewhere.path().join(name(file)), file).unwrap();
    }
}

fn keys(path: &Path) -> u64 {
    let (connection, path) = open::open(path).unwrap();
    connection.close().unwrap();
    check(&path).unwrap().keys
}

#[test]
fn a_new_database_is_whole_or_not_there_after_a_power_cut() {
    let dir = tempfile::tempdir().unwrap();
    with_power_cuts(
        dir.path(),
        |folder| drop(open::open(&folder.join(NAME)).unwrap()),
        |left, done| {
            let path = left.join(NAME);
            assert!(!done || path.exists());
            assert_eq!(keys(&path), 0);
            let names = Folder::of(left).names.into_keys();
            let names: Vec<_> = names.filter(|name| !name.ends_with("-wal")).collect();
            assert_eq!(names, [NAME]);
        },
    );
}

#[test]
fn a_copy_is_whole_or_has_no_name_after_a_power_cut() {
    let from = tempfile::tempdir().unwrap();
    database(from.path(), 3);
    let bytes = fs::read(from.path().join(NAME)).unwrap();
    for replace in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        if replace {
            database(dir.path(), 1);
        }
        let receive = |folder: &Path| {
            let mut incoming = Incoming::begin(&folder.join(NAME), replace).unwrap();
            incoming.write_all(&bytes).unwrap();
            incoming.finish().unwrap();
        };
        with_power_cuts(dir.path(), receive, |left, done| {
            let copy = left.join(NAME);
            let found = copy.exists().then(|| check(&copy).unwrap().keys);
            let before = replace.then_some(1);
            assert!(found == Some(3) || (!done && found == before), "{found:?}");
        });
    }
}

#[test]
fn a_restore_leaves_the_one_or_the_other_after_a_power_cut() {
    let backup = tempfile::tempdir().unwrap();
    database(backup.path(), 3);
    let backup = backup.path().join(NAME);
    let dir = tempfile::tempdir().unwrap();
    database(dir.path(), 1);
    let put_back = |folder: &Path| drop(restore(&backup, &folder.join(NAME), &|| true).unwrap());
    with_power_cuts(dir.path(), put_back, |left, done| {
        let found = keys(&left.join(NAME));
        assert!(found == 3 || (!done && found == 1), "{found}");
        let kept = left.join("state.db.before-restore-1");
        if found == 3 {
            assert_eq!(check(&kept).unwrap().keys, 1);
        }
    });
}

#[test]
fn a_database_that_cannot_be_used_keeps_its_log_through_a_power_cut() {
    let backup = tempfile::tempdir().unwrap();
    database(backup.path(), 3);
    let backup = backup.path().join(NAME);
    let dir = tempfile::tempdir().unwrap();
    newer(dir.path());
    let path = dir.path().join(NAME);
    let newer = fs::read(&path).unwrap();
    let log = fs::read(open::with_ending(&path, "-wal")).unwrap();
    let put_back = |folder: &Path| drop(restore(&backup, &folder.join(NAME), &|| true).unwrap());
    with_power_cuts(dir.path(), put_back, |left, done| {
        let path = left.join(NAME);
        let old = match open::open(&path) {
            Ok(_) => open::with_ending(&path, ".before-restore-1"),
            Err(error) => {
                assert!(
                    !done && matches!(error, StateError::Newer { .. }),
                    "{error}"
                );
                path
            }
        };
        assert!(fs::read(&old).unwrap() == newer, "{}", old.display());
        assert!(fs::read(open::with_ending(&old, "-wal")).unwrap() == log);
    });
}

#[test]
fn what_is_written_is_on_the_disk_before_it_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let (connection, _) = open::open(&dir.path().join(NAME)).unwrap();
        let text = |name| connection.pragma_query_value(None, name, |row| row.get::<_, String>(0));
        let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        assert_eq!(number("synchronous"), Ok(2), "FULL, in round {round}");
        assert_eq!(text("journal_mode").unwrap(), "wal");
        assert_eq!(text("locking_mode").unwrap(), "exclusive");
        assert_eq!(number("foreign_keys"), Ok(1));
    }
}
