//! What is paused and draining: one row for each scope that does not run.

use oneiric_domains::{ActivityRecord, ActivityStore, StoreError};
use oneiric_lifecycle::Activity;
use rusqlite::{Connection, Row};

use crate::db::{StateDb, loaded, must_be_short, stored};

const ACTIVITIES: [Activity; 3] = [Activity::Running, Activity::Paused, Activity::Draining];

impl ActivityStore for StateDb {
    fn load(&self) -> Result<Vec<ActivityRecord>, StoreError> {
        Ok(self.worker.query(load)?)
    }

    fn set(&self, record: &ActivityRecord) -> Result<(), StoreError> {
        must_be_short("the scope", &record.scope)?;
        must_be_short("the note", record.note.as_deref().unwrap_or(""))?;
        must_be_short("who", record.who.as_deref().unwrap_or(""))?;
        let record = record.clone();
        Ok(self
            .worker
            .query(move |connection| set(connection, &record))?)
    }
}

fn set(connection: &Connection, record: &ActivityRecord) -> rusqlite::Result<()> {
    if record.activity == Activity::Running {
        return connection
            .prepare_cached("DELETE FROM activity WHERE scope = ?1")?
            .execute([&record.scope])
            .map(drop);
    }
    // A time that cannot be written lies beyond every clock.
    let time = |unix_ms| stored(unix_ms).unwrap_or(i64::MAX);
    connection
        .prepare_cached("INSERT OR REPLACE INTO activity VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute((
            &record.scope,
            record.activity.name(),
            &record.note,
            &record.who,
            time(record.since_unix_ms),
            record.until_unix_ms.map(time),
        ))
        .map(drop)
}

pub(crate) fn load(connection: &Connection) -> rusqlite::Result<Vec<ActivityRecord>> {
    let mut all = connection.prepare_cached(
        "SELECT scope, activity, note, who, since_unix_ms, until_unix_ms FROM activity ORDER BY scope",
    )?;
    all.query_map([], record)?.collect()
}

fn record(row: &Row<'_>) -> rusqlite::Result<ActivityRecord> {
    let name: String = row.get(1)?;
    let activity = ACTIVITIES.into_iter().find(|known| known.name() == name);
    Ok(ActivityRecord {
        scope: row.get(0)?,
        activity: activity.ok_or(rusqlite::Error::IntegralValueOutOfRange(1, 0))?,
        note: row.get(2)?,
        who: row.get(3)?,
        since_unix_ms: loaded(row.get(4)?)?,
        until_unix_ms: row.get::<_, Option<i64>>(5)?.map(loaded).transpose()?,
    })
}
