//! Operator selections: a revision and what it puts in force are written in one transaction, synced before it answers.

use std::collections::VecDeque;

use oneiric_core::{Provider, Slot};
use oneiric_domains::{REVISIONS_KEPT, Revision, SelectionBook, SelectionStore, StoreError};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::{
    db::{StateDb, loaded, must_be_short, stored, unreadable},
    error::StateError,
};

impl SelectionStore for StateDb {
    fn load(&self) -> Result<SelectionBook, StoreError> {
        Ok(self.worker.query(load)?)
    }

    fn append(&self, revision: &Revision) -> Result<(), StoreError> {
        must_be_short("who", &revision.who)?;
        must_be_short("the reason", revision.reason.as_deref().unwrap_or(""))?;
        let revision = revision.clone();
        let path = self.path().to_owned();
        let appended = self.worker.call(move |connection| {
            let last = last(connection).map_err(|error| StateError::of(&path, &error))?;
            revision.must_follow(last).map_err(StateError::Rule)?;
            append(connection, &revision).map_err(|error| StateError::of(&path, &error))
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

fn append(connection: &Connection, revision: &Revision) -> rusqlite::Result<()> {
    let number = stored(revision.revision)?;
    let slot = revision.slot.as_str();
    let transaction = connection.unchecked_transaction()?;
    let replaced: Option<i64> = connection
        .prepare_cached("DELETE FROM selections WHERE slot = ?1 RETURNING revision")?
        .query_row([slot], |row| row.get(0))
        .optional()?;
    connection
        .prepare_cached("INSERT INTO revisions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
        .execute((
            number,
            slot,
            revision.provider.as_ref().map(Provider::as_str),
            revision.before.as_ref().map(Provider::as_str),
            &revision.who,
            &revision.reason,
            stored(revision.at_unix_ms)?,
        ))?;
    if revision.provider.is_some() {
        connection
            .prepare_cached("INSERT INTO selections VALUES (?1, ?2)")?
            .execute((slot, number))?;
    }
    // At most two are forgotten for each that is written: the one that has grown too old now, unless it is in force,
    // and the one that was kept only for being in force.
    let oldest = number - i64::try_from(REVISIONS_KEPT).unwrap_or(i64::MAX);
    let too_old = replaced.filter(|replaced| *replaced <= oldest);
    for forgotten in [Some(oldest), too_old].into_iter().flatten() {
        connection
            .prepare_cached(
                "DELETE FROM revisions WHERE revision = ?1
                 AND NOT EXISTS (SELECT 1 FROM selections WHERE selections.revision = ?1)",
            )?
            .execute([forgotten])?;
    }
    transaction.commit()
}

pub(crate) fn load(connection: &Connection) -> rusqlite::Result<SelectionBook> {
    let mut book = SelectionBook {
        last: last(connection)?,
        ..SelectionBook::default()
    };
    let oldest = book.last.saturating_sub(REVISIONS_KEPT as u64);
    let mut recent = connection.prepare(
        "SELECT revision, slot, provider, before, who, reason, at_unix_ms FROM revisions
         WHERE revision > ?1 ORDER BY revision",
    )?;
    let recent = recent.query_map([stored(oldest)?], revision)?;
    book.history = recent.collect::<rusqlite::Result<VecDeque<_>>>()?;
    let mut in_force = connection.prepare(
        "SELECT revisions.revision, revisions.slot, provider, before, who, reason, at_unix_ms
         FROM selections JOIN revisions USING (revision)",
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
    })
}
