//! Values by key. One whose time is up is not seen any more, and goes when something else is written.

use bytes::Bytes;
use oneiric_domains::{KeyValueStore, StoreError, check_pair};
use rusqlite::{Connection, OptionalExtension};

use crate::db::{StateDb, stored, unix_ms};

/// Expired values that are removed with each one that is written.
const SWEPT: u32 = 16;

impl StateDb {
    fn now(&self) -> i64 {
        i64::try_from(unix_ms(self.clock.now())).unwrap_or(i64::MAX)
    }
}

impl KeyValueStore for StateDb {
    fn get(&self, namespace: &str, key: &str) -> Result<Option<Bytes>, StoreError> {
        let (namespace, key, now) = (namespace.to_owned(), key.to_owned(), self.now());
        let value = self.worker.query(move |connection| {
            connection
                .prepare_cached(
                    "SELECT value FROM key_value WHERE namespace = ?1 AND key = ?2
                     AND (until_unix_ms IS NULL OR until_unix_ms > ?3)",
                )?
                .query_row((namespace, key, now), |row| row.get::<_, Vec<u8>>(0))
                .optional()
        })?;
        Ok(value.map(Bytes::from))
    }

    fn put(
        &self,
        namespace: &str,
        key: &str,
        value: &[u8],
        until_unix_ms: Option<u64>,
    ) -> Result<(), StoreError> {
        check_pair(namespace, key, value)?;
        let (namespace, key, value) = (namespace.to_owned(), key.to_owned(), value.to_owned());
        let now = self.now();
        let put = self.worker.query(move |connection| {
            // A time beyond what can be written is beyond every clock.
            let until = until_unix_ms.map(|until| stored(until).unwrap_or(i64::MAX));
            let transaction = connection.unchecked_transaction()?;
            sweep(connection, now)?;
            connection
                .prepare_cached(
                    "INSERT INTO key_value VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO UPDATE SET value = ?3, until_unix_ms = ?4",
                )?
                .execute((namespace, key, value, until))?;
            transaction.commit()
        });
        Ok(put?)
    }

    fn delete(&self, namespace: &str, key: &str) -> Result<bool, StoreError> {
        let (namespace, key, now) = (namespace.to_owned(), key.to_owned(), self.now());
        let lived = self.worker.query(move |connection| {
            connection
                .prepare_cached(
                    "DELETE FROM key_value WHERE namespace = ?1 AND key = ?2
                     RETURNING until_unix_ms IS NULL OR until_unix_ms > ?3",
                )?
                .query_row((namespace, key, now), |row| row.get::<_, bool>(0))
                .optional()
        })?;
        Ok(lived.unwrap_or(false))
    }

    fn list(&self, namespace: &str, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let (namespace, prefix, now) = (namespace.to_owned(), prefix.to_owned(), self.now());
        let keys = self.worker.query(move |connection| {
            // Keys with the prefix are neighbours, from the prefix itself on; nothing in it is a wildcard.
            let mut keys = connection.prepare_cached(
                "SELECT key FROM key_value WHERE namespace = ?1 AND key >= ?2
                 AND (until_unix_ms IS NULL OR until_unix_ms > ?3) ORDER BY key",
            )?;
            let mut rows = keys.query((namespace, &prefix, now))?;
            let mut found = Vec::new();
            while found.len() < limit
                && let Some(row) = rows.next()?
            {
                let key: String = row.get(0)?;
                if !key.starts_with(&prefix) {
                    break;
                }
                found.push(key);
            }
            Ok(found)
        });
        Ok(keys?)
    }
}

fn sweep(connection: &Connection, now: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM key_value WHERE (namespace, key) IN (
                 SELECT namespace, key FROM key_value
                 WHERE until_unix_ms IS NOT NULL AND until_unix_ms <= ?1 LIMIT ?2)",
        )?
        .execute((now, SWEPT))
        .map(drop)
}
