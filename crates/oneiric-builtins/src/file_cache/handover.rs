//! State of a cache in files, for the next instance of its slot.
//!
//! One over the same directory needs none: everything is there, and it only counts it anew. One over another
//! directory, or in memory, gets the entries.

use std::collections::HashSet;
use std::fs;

use oneiric_core::BoxFuture;
use oneiric_domains::check_cache_key;
use oneiric_lifecycle::{Handover, HandoverState, StateWriter};

use super::FileCache;
use super::entry::{Entry, EntryName};
use super::shelf::Put;
use crate::cache_state;

/// Of one that is over the same directory, which is named behind it.
const DIRECTORY: &str = "oneiric.cache-directory/1";

impl Handover for FileCache {
    fn writes(&self) -> Vec<String> {
        let same = self.same_directory();
        same.into_iter()
            .chain([cache_state::FORMAT.to_owned()])
            .collect()
    }

    fn reads(&self, format: &str) -> bool {
        format == cache_state::FORMAT || self.same_directory().is_some_and(|same| same == format)
    }

    /// Everything that has not run out and can be read, with the time that it has left. Nothing for the same directory.
    fn export<'a>(
        &'a self,
        format: &'a str,
        into: &'a mut StateWriter,
    ) -> BoxFuture<'a, Result<(), String>> {
        let exported = if format == cache_state::FORMAT {
            self.export_entries(into)
        } else {
            Ok(())
        };
        Box::pin(std::future::ready(exported))
    }

    /// Takes the entries, and removes whatever else is in the directory: what the cache before did not have any more
    /// must not be there again. That comes last, so that an import that fails has removed nothing.
    fn import(&self, state: HandoverState) -> BoxFuture<'_, Result<(), String>> {
        let imported = if state.format() == cache_state::FORMAT {
            self.import_entries(&state)
        } else {
            let counted = self.shelf.take_stock(self.now());
            counted.map_err(|error| format!("cannot list the directory: {error}"))
        };
        Box::pin(std::future::ready(imported))
    }
}

impl FileCache {
    fn same_directory(&self) -> Option<String> {
        let directory = fs::canonicalize(self.shelf.directory()).ok()?;
        Some(format!("{DIRECTORY}:{}", directory.to_str()?))
    }

    fn export_entries(&self, into: &mut StateWriter) -> Result<(), String> {
        let mut writer = cache_state::Writer::new(into);
        for name in self.shelf.names() {
            let file = self.shelf.peek(name);
            let file = file.map_err(|error| format!("cannot read the entry {name}: {error}"))?;
            let now = self.now();
            // One that is damaged is not there.
            let entry = file
                .as_deref()
                .and_then(|file| Some((file, Entry::decode(file)?)));
            if let Some((file, entry)) = entry
                && !entry.is_expired(now)
                && let Some(value) = file.get(entry.value.clone())
            {
                let (key, ttl) = (entry.key, entry.expires.map(|at| at.saturating_sub(now)));
                let entry = cache_state::Entry { key, value, ttl };
                writer.put(&entry).map_err(|error| error.to_string())?;
            }
        }
        writer.end().map_err(|error| error.to_string())
    }

    fn import_entries(&self, state: &HandoverState) -> Result<(), String> {
        // Before anything is written: a state that is none changes nothing.
        let entries: Result<Vec<_>, _> = cache_state::Reader::new(state.bytes()).collect();
        let entries = entries.map_err(|error| error.to_string())?;
        for entry in &entries {
            check_cache_key(entry.key).map_err(|error| error.to_string())?;
        }
        let mut taken = HashSet::new();
        for cache_state::Entry { key, value, ttl } in entries {
            match self.shelf.put(key, value, ttl, self.now()) {
                Ok(Put::Done) => {
                    taken.insert(EntryName::of(key));
                }
                // More than the whole cache holds.
                Ok(Put::TooLarge { .. }) => {}
                Ok(Put::Closed) => return Err("this cache was retired meanwhile".to_owned()),
                Err(error) => return Err(format!("cannot write an entry: {error}")),
            }
        }
        let tidied = self.shelf.keep_only(&taken, self.now());
        tidied.map_err(|error| format!("cannot remove an entry: {error}"))
    }
}
