//! The schema and how it came about: each version by one step, each step in one transaction with its number.
//!
//! A step that was released is never changed. The number is SQLite's `user_version`; `docs/spec/state.md` lists what
//! each version brought.

use rusqlite::Connection;

/// Tells our databases from others': `ONEI`, at byte 68 of the file.
pub const APPLICATION_ID: u32 = 0x4f4e_4549;

/// One step each, from version 0 on.
pub(crate) const STEPS: &[&str] = &[
    // 1: runs, selections, activity, history, key-value.
    "
    CREATE TABLE facts(
        name TEXT PRIMARY KEY,
        value INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE runs(
        run INTEGER PRIMARY KEY,
        pid INTEGER NOT NULL,
        began_unix_ms INTEGER NOT NULL,
        ended_unix_ms INTEGER
    ) STRICT;

    CREATE TABLE revisions(
        revision INTEGER PRIMARY KEY CHECK (revision > 0),
        slot TEXT NOT NULL,
        provider TEXT,
        before TEXT,
        who TEXT NOT NULL,
        reason TEXT,
        at_unix_ms INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE selections(
        slot TEXT PRIMARY KEY,
        revision INTEGER NOT NULL UNIQUE REFERENCES revisions(revision)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE activity(
        scope TEXT PRIMARY KEY,
        activity TEXT NOT NULL,
        note TEXT,
        who TEXT,
        since_unix_ms INTEGER NOT NULL,
        until_unix_ms INTEGER
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE history_counts(
        slot TEXT PRIMARY KEY,
        entries INTEGER NOT NULL,
        activated INTEGER NOT NULL,
        swapped INTEGER NOT NULL,
        forced INTEGER NOT NULL,
        rolled_back INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        retired INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- A ring for each slot: place is number modulo the entries kept, so that the oldest makes room by itself.
    CREATE TABLE history(
        slot TEXT NOT NULL REFERENCES history_counts(slot),
        place INTEGER NOT NULL,
        number INTEGER NOT NULL,
        run INTEGER NOT NULL,
        at_unix_ms INTEGER NOT NULL,
        ended TEXT NOT NULL,
        provider TEXT NOT NULL,
        from_provider TEXT,
        instance INTEGER,
        forced INTEGER NOT NULL,
        stage TEXT,
        code TEXT,
        message TEXT,
        PRIMARY KEY (slot, place)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE key_value(
        namespace TEXT NOT NULL,
        key TEXT NOT NULL,
        value BLOB NOT NULL,
        until_unix_ms INTEGER,
        PRIMARY KEY (namespace, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX key_value_until ON key_value(until_unix_ms) WHERE until_unix_ms IS NOT NULL;
    ",
    // 2: what was decided by itself, in the history.
    "
    ALTER TABLE history ADD COLUMN decision TEXT;
    ALTER TABLE history ADD COLUMN decision_text TEXT;
    ",
    // 3: a revision has a line for each slot that it changes, and may take back others.
    "
    CREATE TABLE lines(
        revision INTEGER NOT NULL CHECK (revision > 0),
        slot TEXT NOT NULL,
        provider TEXT,
        before TEXT,
        who TEXT NOT NULL,
        reason TEXT,
        at_unix_ms INTEGER NOT NULL,
        undoes_first INTEGER,
        undoes_last INTEGER,
        PRIMARY KEY (revision, slot)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO lines SELECT *, NULL, NULL FROM revisions;

    CREATE TABLE in_force(
        slot TEXT PRIMARY KEY,
        revision INTEGER NOT NULL,
        FOREIGN KEY (revision, slot) REFERENCES lines(revision, slot)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO in_force SELECT slot, revision FROM selections;

    DROP TABLE selections;
    DROP TABLE revisions;
    ALTER TABLE lines RENAME TO revisions;
    ALTER TABLE in_force RENAME TO selections;
    ",
];

/// The version that this program writes.
#[must_use]
pub const fn schema_version() -> u32 {
    let mut version = 0;
    let mut step = 0;
    while step < STEPS.len() {
        version += 1;
        step += 1;
    }
    version
}

/// Takes a database from version `from` on through all `steps` that follow.
pub(crate) fn run(connection: &Connection, from: u32, steps: &[&str]) -> rusqlite::Result<()> {
    for (version, step) in (1_u32..).zip(steps) {
        if version <= from {
            continue;
        }
        let transaction = connection.unchecked_transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(connection: &Connection) -> u32 {
        connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .unwrap()
    }

    #[test]
    fn steps_run_in_order_once_and_one_that_fails_leaves_the_version_before_it() {
        let connection = Connection::open_in_memory().unwrap();
        let first = ["CREATE TABLE a(x)", "INSERT INTO a VALUES (1)"];
        run(&connection, 0, &first).unwrap();
        assert_eq!(version(&connection), 2);
        let all = [
            first[0],
            first[1],
            "INSERT INTO a VALUES (2)",
            "INSERT INTO a VALUES (3); INSERT INTO nowhere VALUES (3)",
        ];
        run(&connection, 2, &all).unwrap_err();
        assert_eq!(version(&connection), 3);
        let sum: i64 = connection
            .query_row("SELECT sum(x) FROM a", [], |row| row.get(0))
            .unwrap();
        assert_eq!(sum, 3, "the step that failed left nothing behind");
    }

    #[test]
    fn a_history_of_the_first_version_is_read_as_it_was() {
        let connection = Connection::open_in_memory().unwrap();
        run(&connection, 0, &STEPS[..1]).unwrap();
        connection
            .execute_batch(
                "INSERT INTO history_counts VALUES ('adapter/cache', 1, 0, 1, 0, 0, 0, 0);
                 INSERT INTO history VALUES
                     ('adapter/cache', 0, 0, 1, 7, 'swapped', 'b', 'a', 2, 0, NULL, NULL, NULL)",
            )
            .unwrap();
        run(&connection, 1, STEPS).unwrap();
        let held = crate::status::load(&connection, None).unwrap();
        let entry = &held[0].entries[0];
        assert_eq!(
            (entry.ended.name(), entry.provider.as_str()),
            ("swapped", "b")
        );
        assert_eq!((entry.instance, &entry.decision), (Some(2), &None));
    }

    #[test]
    fn the_version_is_the_number_of_steps() {
        let connection = Connection::open_in_memory().unwrap();
        run(&connection, 0, STEPS).unwrap();
        assert_eq!(version(&connection), schema_version());
    }

    #[test]
    fn revisions_of_one_slot_each_are_read_as_before() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .pragma_update(None, "foreign_keys", true)
            .unwrap();
        run(&connection, 0, &STEPS[..1]).unwrap();
        connection
            .execute_batch(
                "INSERT INTO revisions VALUES (1, 'a/b', 'x', NULL, 'uid:1', 'why', 7);
                 INSERT INTO revisions VALUES (2, 'a/c', 'y', NULL, 'uid:1', NULL, 8);
                 INSERT INTO revisions VALUES (3, 'a/b', NULL, 'x', 'uid:1', NULL, 9);
                 INSERT INTO selections VALUES ('a/c', 2);",
            )
            .unwrap();
        run(&connection, 1, STEPS).unwrap();
        assert_eq!(version(&connection), schema_version());
        let book = crate::selections::load(&connection).unwrap();
        let numbers: Vec<u64> = book.history.iter().map(|line| line.revision).collect();
        assert_eq!((book.last, numbers), (3, vec![1, 2, 3]));
        assert_eq!(book.history[0].reason.as_deref(), Some("why"));
        let in_force: Vec<_> = book.in_force.values().map(|line| line.revision).collect();
        assert_eq!(in_force, [2]);
        assert!(book.history.iter().all(|line| line.undoes.is_none()));
        // What is in force stays bound to its line.
        connection
            .execute_batch("INSERT INTO selections VALUES ('a/b', 2)")
            .unwrap_err();
    }
}
