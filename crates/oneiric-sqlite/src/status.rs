//! Status history: exact counts, and the last transitions of each slot in a ring. A batch is one transaction; what is
//! written for one change does not depend on how much is there.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oneiric_core::{Provider, Slot};
use oneiric_lifecycle::{
    Ended, HISTORY_KEPT, HistoryEntry, PastDecision, PastFailure, SlotHistory, StatusStore,
    StoreError, SwapCounts,
};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::db::{MAX_TEXT_BYTES, StateDb, loaded, stored, unix_ms, unreadable};

impl StatusStore for StateDb {
    fn load(&self, slot: Option<&Slot>) -> Result<Vec<SlotHistory>, StoreError> {
        let slot = slot.cloned();
        Ok(self
            .worker
            .query(move |connection| load(connection, slot.as_ref()))?)
    }

    fn append(&self, batch: &[SlotHistory]) -> Result<(), StoreError> {
        let batch = batch.to_vec();
        let (run, now) = (self.run(), unix_ms(self.clock.now()));
        let appended = self.worker.query(move |connection| {
            let transaction = connection.unchecked_transaction()?;
            note_run(connection, run, now)?;
            for added in &batch {
                append(connection, run, added)?;
            }
            transaction.commit()
        });
        Ok(appended?)
    }
}

/// With the first thing that a run has to say, not at its start: a full disk keeps no process from starting.
fn note_run(connection: &Connection, run: u64, now: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO runs(run, pid, began_unix_ms) VALUES (?1, ?2, ?3)")?
        .execute((stored(run)?, std::process::id(), stored(now)?))?;
    connection
        .prepare_cached("DELETE FROM runs WHERE run <= ?1 - 1000")?
        .execute([stored(run)?])
        .map(drop)
}

fn append(connection: &Connection, run: u64, added: &SlotHistory) -> rusqlite::Result<()> {
    let slot = added.slot.as_str();
    let counts = &added.counts;
    let entries = i64::try_from(added.entries.len()).unwrap_or(i64::MAX);
    let after: i64 = connection
        .prepare_cached(
            "INSERT INTO history_counts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO UPDATE SET
                 entries = entries + ?2, activated = activated + ?3, swapped = swapped + ?4,
                 forced = forced + ?5, rolled_back = rolled_back + ?6, failed = failed + ?7,
                 retired = retired + ?8
             RETURNING entries",
        )?
        .query_row(
            (
                slot,
                entries,
                stored(counts.activated)?,
                stored(counts.swapped)?,
                stored(counts.forced)?,
                stored(counts.rolled_back)?,
                stored(counts.failed)?,
                stored(counts.retired)?,
            ),
            |row| row.get(0),
        )?;
    let kept = i64::try_from(HISTORY_KEPT).unwrap_or(i64::MAX);
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO history VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?;
    for (number, entry) in (after - entries..).zip(&added.entries) {
        let failure = entry.failure.as_ref();
        let decision = entry.decision.as_ref();
        let instance = entry.instance.map(stored).transpose()?;
        insert.execute(rusqlite::params![
            slot,
            number % kept,
            number,
            stored(run)?,
            stored(unix_ms(entry.at))?,
            entry.ended.name(),
            entry.provider.as_str(),
            entry.from.as_ref().map(Provider::as_str),
            instance,
            entry.forced,
            failure.map(|failure| &failure.stage),
            failure.map(|failure| &failure.code),
            // Whatever a component has to say about itself, a history stays small.
            failure.map(|failure| cut(&failure.message, MAX_TEXT_BYTES)),
            decision.map(|decision| &decision.kind),
            decision.map(|decision| cut(&decision.text, MAX_TEXT_BYTES)),
        ])?;
    }
    Ok(())
}

pub(crate) fn load(
    connection: &Connection,
    slot: Option<&Slot>,
) -> rusqlite::Result<Vec<SlotHistory>> {
    let mut entries = connection.prepare_cached(
        "SELECT run, at_unix_ms, ended, provider, from_provider, instance, forced, stage, code, message,
                decision, decision_text
         FROM history WHERE slot = ?1 ORDER BY number",
    )?;
    let mut with_entries = |slot: Slot, counts: SwapCounts| -> rusqlite::Result<SlotHistory> {
        let mut history = SlotHistory::new(slot);
        let held = entries.query_map([history.slot.as_str()], entry)?;
        history.entries = held.collect::<rusqlite::Result<_>>()?;
        history.counts = counts;
        Ok(history)
    };
    const COUNTS: &str =
        "SELECT slot, activated, swapped, forced, rolled_back, failed, retired FROM history_counts";
    if let Some(slot) = slot {
        let found = connection
            .prepare_cached(&format!("{COUNTS} WHERE slot = ?1"))?
            .query_row([slot.as_str()], counts)
            .optional()?;
        let found = found.map(|(slot, counts)| with_entries(slot, counts));
        return Ok(found.transpose()?.into_iter().collect());
    }
    let mut all = connection.prepare_cached(&format!("{COUNTS} ORDER BY slot"))?;
    let all = all.query_map([], counts)?;
    let all = all.map(|found| found.and_then(|(slot, counts)| with_entries(slot, counts)));
    let mut all: Vec<SlotHistory> = all.collect::<rusqlite::Result<_>>()?;
    all.sort_by(|left, right| left.slot.cmp(&right.slot));
    Ok(all)
}

fn counts(row: &Row<'_>) -> rusqlite::Result<(Slot, SwapCounts)> {
    let slot = row.get::<_, String>(0)?.parse().map_err(unreadable)?;
    let mut counts = SwapCounts::default();
    counts.activated = loaded(row.get(1)?)?;
    counts.swapped = loaded(row.get(2)?)?;
    counts.forced = loaded(row.get(3)?)?;
    counts.rolled_back = loaded(row.get(4)?)?;
    counts.failed = loaded(row.get(5)?)?;
    counts.retired = loaded(row.get(6)?)?;
    Ok((slot, counts))
}

fn entry(row: &Row<'_>) -> rusqlite::Result<HistoryEntry> {
    let ended: String = row.get(2)?;
    let ended = Ended::ALL.into_iter().find(|known| known.name() == ended);
    let ended = ended.ok_or(rusqlite::Error::IntegralValueOutOfRange(2, 0))?;
    let provider: Provider = row.get::<_, String>(3)?.parse().map_err(unreadable)?;
    let mut entry = HistoryEntry::new(time(loaded(row.get(1)?)?), ended, provider);
    entry.run = loaded(row.get(0)?)?;
    let from: Option<String> = row.get(4)?;
    entry.from = from
        .map(|from| from.parse().map_err(unreadable))
        .transpose()?;
    entry.instance = row.get::<_, Option<i64>>(5)?.map(loaded).transpose()?;
    entry.forced = row.get(6)?;
    let (stage, code, message) = (row.get(7)?, row.get(8)?, row.get(9)?);
    if let (Some(stage), Some(code), Some(message)) = (stage, code, message) {
        entry.failure = Some(PastFailure {
            stage,
            code,
            message,
        });
    }
    if let (Some(kind), Some(text)) = (row.get(10)?, row.get(11)?) {
        entry.decision = Some(PastDecision { kind, text });
    }
    Ok(entry)
}

/// The time so many milliseconds after 1970; one that the system cannot express is 1970.
fn time(unix_ms: u64) -> SystemTime {
    UNIX_EPOCH
        .checked_add(Duration::from_millis(unix_ms))
        .unwrap_or(UNIX_EPOCH)
}

/// The first bytes of a text, whole characters only.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
