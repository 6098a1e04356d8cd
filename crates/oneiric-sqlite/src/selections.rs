//! Operator selections: a revision and what it puts in force are written in one transaction, synced before it answers.

use std::collections::VecDeque;

use oneiric_core::{Provider, Slot};
use oneiric_domains::{
    REVISIONS_KEPT, Revision, SelectionBook, SelectionStore, StoreError, Undone, must_follow,
};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::{
    db::{StateDb, loaded, must_be_short, stored, unreadable},
    error::StateError,
};

impl SelectionStore for StateDb {
    fn load(&self) -> Result<SelectionBook, StoreError> {
        Ok(self.worker.query(load)?)
    }

    fn append_all(&self, lines: &[Revision]) -> Result<(), StoreError> {
        for line in lines {
            must_be_short("who", &line.who)?;
            must_be_short("the reason", line.reason.as_deref().unwrap_or(""))?;
        }
        let lines = lines.to_vec();
        let path = self.path().to_owned();
        let appended = self.worker.call(move |connection| {
            let last = last(connection).map_err(|error| StateError::of(&path, &error))?;
            must_follow(&lines, last).map_err(StateError::Rule)?;
            append(connection, &lines).map_err(|error| StateError::of(&path, &error))
        });
        Ok(appended?)
    }
}

fn last(connection: &Connection) -> rusqlite::Result<u64> {
    let last: Option<i64> = connection
        .prepare_cached("SELECT max(revision) FROM revisions")?
        .query_row([], |row| row.get(0))?;
    loaded(last.unwrap_or(0))
}

/// All lines or none, in one transaction.
fn append(connection: &Connection, lines: &[Revision]) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    for line in lines {
        append_line(connection, line)?;
    }
    transaction.commit()
}

fn append_line(connection: &Connection, line: &Revision) -> rusqlite::Result<()> {
    let number = stored(line.revision)?;
    let slot = line.slot.as_str();
    let replaced: Option<i64> = connection
        .prepare_cached("DELETE FROM selections WHERE slot = ?1 RETURNING revision")?
        .query_row([slot], |row| row.get(0))
        .optional()?;
    connection
        .prepare_cached("INSERT INTO revisions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?
        .execute((
            number,
            slot,
            line.provider.as_ref().map(Provider::as_str),
            line.before.as_ref().map(Provider::as_str),
            &line.who,
            &line.reason,
            stored(line.at_unix_ms)?,
            line.undoes.map(|undone| stored(undone.first)).transpose()?,
            line.undoes.map(|undone| stored(undone.last)).transpose()?,
        ))?;
    if line.provider.is_some() {
        connection
            .prepare_cached("INSERT INTO selections VALUES (?1, ?2)")?
            .execute((slot, number))?;
    }
    // Forgotten is the revision that has grown too old now, but for the lines of it that are in force, and the line
    // that was kept only for being in force.
    let oldest = number - i64::try_from(REVISIONS_KEPT).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "DELETE FROM revisions WHERE revision = ?1 AND NOT EXISTS
             (SELECT 1 FROM selections WHERE selections.revision = ?1
              AND selections.slot = revisions.slot)",
        )?
        .execute([oldest])?;
    if let Some(replaced) = replaced.filter(|replaced| *replaced < oldest) {
        connection
            .prepare_cached("DELETE FROM revisions WHERE revision = ?1 AND slot = ?2")?
            .execute((replaced, slot))?;
    }
    Ok(())
}

pub(crate) fn load(connection: &Connection) -> rusqlite::Result<SelectionBook> {
    let mut book = SelectionBook {
        last: last(connection)?,
        ..SelectionBook::default()
    };
    let oldest = book.last.saturating_sub(REVISIONS_KEPT as u64);
    let mut recent = connection.prepare(
        "SELECT revision, slot, provider, before, who, reason, at_unix_ms, undoes_first, undoes_last
         FROM revisions WHERE revision > ?1 ORDER BY revision, slot",
    )?;
    let recent = recent.query_map([stored(oldest)?], revision)?;
    book.history = recent.collect::<rusqlite::Result<VecDeque<_>>>()?;
    let mut in_force = connection.prepare(
        "SELECT revision, slot, provider, before, who, reason, at_unix_ms, undoes_first, undoes_last
         FROM selections JOIN revisions USING (revision, slot)",
    )?;
    for held in in_force.query_map([], revision)? {
        let held = held?;
        book.in_force.insert(held.slot.clone(), held);
    }
    Ok(book)
}

fn revision(row: &Row<'_>) -> rusqlite::Result<Revision> {
    let provider = |text: Option<String>| -> rusqlite::Result<Option<Provider>> {
        text.map(|text| text.parse().map_err(unreadable))
            .transpose()
    };
    Ok(Revision {
        revision: loaded(row.get(0)?)?,
        slot: row
            .get::<_, String>(1)?
            .parse::<Slot>()
            .map_err(unreadable)?,
        provider: provider(row.get(2)?)?,
        before: provider(row.get(3)?)?,
        who: row.get(4)?,
        reason: row.get(5)?,
        at_unix_ms: loaded(row.get(6)?)?,
        undoes: match (row.get::<_, Option<i64>>(7)?, row.get::<_, Option<i64>>(8)?) {
            (Some(first), Some(last)) => Some(Undone {
                first: loaded(first)?,
                last: loaded(last)?,
            }),
            _ => None,
        },
    })
}
