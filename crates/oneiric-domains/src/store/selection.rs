//! The operator's selections, as numbered revisions that only ever grow.
//!
//! A revision changes the selections of one slot or of several at once. It has a [`Revision`], a line, for each slot;
//! the lines of one revision have its number, and are written all or none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use oneiric_core::{ErrorKind, Provider, Slot};
use oneiric_lifecycle::StoreError;

/// Revisions that are remembered; those in force always are.
pub const REVISIONS_KEPT: usize = 1_000;

/// Keeps the operator's selections.
pub trait SelectionStore: Send + Sync {
    /// What is in force, and how it came about.
    ///
    /// # Errors
    /// The store's own.
    fn load(&self) -> Result<SelectionBook, StoreError>;

    /// Writes a revision down, all its `lines` or none; it is in force from then on. [`must_follow`] says what they
    /// have to be.
    ///
    /// # Errors
    /// The store's own; then nothing has changed.
    fn append_all(&self, lines: &[Revision]) -> Result<(), StoreError>;

    /// Writes down a revision of one slot.
    ///
    /// # Errors
    /// As [`SelectionStore::append_all`].
    fn append(&self, revision: &Revision) -> Result<(), StoreError> {
        self.append_all(std::slice::from_ref(revision))
    }
}

fn _selection_store_is_dyn_safe(_: &dyn SelectionStore) {}

/// What a revision takes back: all revisions from one number to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undone {
    /// The first of them.
    pub first: u64,
    /// The last of them, at least the first.
    pub last: u64,
}

impl Undone {
    /// Whether `revision` is among them.
    #[must_use]
    pub const fn contains(self, revision: u64) -> bool {
        self.first <= revision && revision <= self.last
    }
}

/// One numbered change of the operator's selections, or one slot's line of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// From 1, in the order they were made, without holes. The lines of one revision have the same.
    pub revision: u64,
    /// The slot.
    pub slot: Slot,
    /// What was selected; `None` when the selection was taken back.
    pub provider: Option<Provider>,
    /// What was selected before.
    pub before: Option<Provider>,
    /// Who asked.
    pub who: String,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// The revisions that it takes back, if it was made to.
    pub undoes: Option<Undone>,
}

/// Checks that `lines` are those of the next revision after number `last`: one at least, each with that number, of no
/// slot two.
///
/// # Errors
/// `domains.revision_out_of_order`.
pub fn must_follow(lines: &[Revision], last: u64) -> Result<(), StoreError> {
    let wrong = lines
        .iter()
        .find(|line| line.revision.checked_sub(1) != Some(last));
    let message = if let Some(line) = wrong {
        format!("revision {} was to be written after {last}", line.revision)
    } else if lines.is_empty() {
        format!("a revision without a slot was to be written after {last}")
    } else {
        let slots: BTreeSet<&Slot> = lines.iter().map(|line| &line.slot).collect();
        if slots.len() == lines.len() {
            return Ok(());
        }
        format!("revision {} has a slot twice", last.saturating_add(1))
    };
    Err(StoreError::new(
        "domains.revision_out_of_order",
        ErrorKind::Internal,
        message,
    ))
}

/// All that is remembered of the operator's selections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SelectionBook {
    /// The number of the last revision; 0 when there was none.
    pub last: u64,
    /// Selections in force, by slot.
    pub in_force: BTreeMap<Slot, Revision>,
    /// The lines of the last [`REVISIONS_KEPT`] revisions, oldest first; those of one revision by slot.
    pub history: VecDeque<Revision>,
}

impl SelectionBook {
    /// Puts a revision in force.
    pub fn push(&mut self, lines: &[Revision]) {
        let mut lines = lines.to_vec();
        lines.sort_by(|left, right| left.slot.cmp(&right.slot));
        for line in lines {
            self.last = line.revision;
            self.in_force.remove(&line.slot);
            if line.provider.is_some() {
                self.in_force.insert(line.slot.clone(), line.clone());
            }
            self.history.push_back(line);
        }
        let too_old = self.last.saturating_sub(REVISIONS_KEPT as u64);
        while self
            .history
            .front()
            .is_some_and(|line| line.revision <= too_old)
        {
            self.history.pop_front();
        }
    }

    /// The oldest state that is still known: that after the revision of this number.
    #[must_use]
    pub const fn oldest_state(&self) -> u64 {
        self.last.saturating_sub(REVISIONS_KEPT as u64)
    }

    /// What was selected for each slot after revision `number`, where that is something else than what is selected
    /// now; `None` when that is not known any more, or was never so.
    #[must_use]
    pub fn back_to(&self, number: u64) -> Option<BTreeMap<Slot, Option<Provider>>> {
        if number < self.oldest_state() || number > self.last {
            return None;
        }
        let mut then = BTreeMap::new();
        for line in self.history.iter().rev() {
            if line.revision > number {
                then.insert(line.slot.clone(), line.before.clone());
            }
        }
        then.retain(|slot, provider| {
            let now = self.in_force.get(slot);
            now.and_then(|line| line.provider.as_ref()) != provider.as_ref()
        });
        Some(then)
    }
}

/// A [`SelectionStore`] that lasts as long as the process.
#[derive(Debug, Default)]
pub struct MemorySelectionStore {
    book: Mutex<SelectionBook>,
}

impl MemorySelectionStore {
    /// One without selections.
    pub fn new() -> Self {
        Self::default()
    }

    fn book(&self) -> MutexGuard<'_, SelectionBook> {
        // No foreign code runs under this lock, so a poisoned book is still a sound one.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SelectionStore for MemorySelectionStore {
    fn load(&self) -> Result<SelectionBook, StoreError> {
        Ok(self.book().clone())
    }

    fn append_all(&self, lines: &[Revision]) -> Result<(), StoreError> {
        let mut book = self.book();
        must_follow(lines, book.last)?;
        book.push(lines);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use oneiric_core::Coded;

    use super::*;

    fn revision(number: u64, slot: &str, provider: Option<&str>) -> Revision {
        Revision {
            revision: number,
            slot: slot.parse().unwrap(),
            provider: provider.map(|name| name.parse().unwrap()),
            before: None,
            who: "uid:1".into(),
            reason: None,
            at_unix_ms: 7,
            undoes: None,
        }
    }

    #[test]
    fn history_is_bounded_and_what_is_in_force_is_kept() {
        let store = MemorySelectionStore::new();
        let kept = revision(1, "adapter/cache", Some("a"));
        store.append(&kept).unwrap();
        let last = REVISIONS_KEPT as u64 + 1;
        for number in 2..=last {
            store
                .append(&revision(number, "task/mail", Some("b")))
                .unwrap();
        }
        store
            .append(&revision(last + 1, "task/mail", None))
            .unwrap();
        let book = store.load().unwrap();
        assert_eq!((book.last, book.history.len()), (last + 1, REVISIONS_KEPT));
        assert_eq!(book.in_force.values().collect::<Vec<_>>(), [&kept]);
    }

    #[test]
    fn a_revision_that_is_not_the_next_is_refused() {
        let store = MemorySelectionStore::new();
        for wrong in [0, 2] {
            let refused = store.append(&revision(wrong, "adapter/cache", Some("a")));
            assert_eq!(refused.unwrap_err().code(), "domains.revision_out_of_order");
        }
        assert_eq!(store.load().unwrap(), SelectionBook::default());
    }

    #[test]
    fn a_revision_of_several_slots_is_taken_whole_or_not_at_all() {
        let store = MemorySelectionStore::new();
        let lines = |number| {
            [
                revision(number, "task/mail", Some("b")),
                revision(number, "adapter/cache", Some("a")),
            ]
        };
        store.append_all(&lines(1)).unwrap();
        let book = store.load().unwrap();
        let slots: Vec<_> = book.history.iter().map(|line| line.slot.as_str()).collect();
        assert_eq!((book.last, slots), (1, vec!["adapter/cache", "task/mail"]));
        let twice = revision(2, "task/mail", None);
        let other = revision(3, "task/mail", None);
        let wrong: [&[Revision]; 4] = [
            &[],
            &lines(1),
            &[twice.clone(), twice.clone()],
            &[twice, other],
        ];
        for lines in wrong {
            let refused = store.append_all(lines).unwrap_err();
            assert_eq!(refused.code(), "domains.revision_out_of_order");
            assert_eq!(store.load().unwrap(), book);
        }
    }

    #[test]
    fn the_way_back_leads_over_every_line_since() {
        let store = MemorySelectionStore::new();
        let mut before = BTreeMap::new();
        let mut append = |number, lines: &[(&str, Option<&str>)]| {
            let line = |(slot, provider): &(&str, Option<&str>)| {
                let mut line = revision(number, slot, *provider);
                line.before = before
                    .insert(line.slot.clone(), line.provider.clone())
                    .flatten();
                line
            };
            let lines: Vec<_> = lines.iter().map(line).collect();
            store.append_all(&lines).unwrap();
        };
        append(1, &[("a/a", Some("x"))]);
        append(2, &[("a/a", Some("y")), ("a/b", Some("z"))]);
        append(3, &[("a/b", None)]);
        append(4, &[("a/b", Some("z"))]);
        let book = store.load().unwrap();
        let back = |number| {
            let then = book.back_to(number)?.into_iter();
            let text = |(slot, to): (Slot, Option<Provider>)| {
                format!("{slot}={}", to.map_or(String::new(), |to| to.to_string()))
            };
            Some(then.map(text).collect::<Vec<_>>())
        };
        assert_eq!(back(4), Some(vec![]));
        assert_eq!(back(3), Some(vec!["a/b=".to_owned()]));
        // As it is now.
        assert_eq!(back(2), Some(vec![]));
        assert_eq!(back(1), Some(vec!["a/a=x".to_owned(), "a/b=".to_owned()]));
        assert_eq!(back(0), Some(vec!["a/a=".to_owned(), "a/b=".to_owned()]));
        assert_eq!(back(5), None);
    }

    #[test]
    fn what_is_too_old_to_go_back_to_is_not_known() {
        let store = MemorySelectionStore::new();
        let last = REVISIONS_KEPT as u64 + 2;
        for number in 1..=last {
            store
                .append(&revision(number, "task/mail", Some("b")))
                .unwrap();
        }
        let book = store.load().unwrap();
        assert_eq!((book.back_to(1), book.oldest_state()), (None, 2));
        assert!(book.back_to(2).is_some());
    }
}
