//! A persistent hash table from slots to their rows: what a snapshot is made of.
//!
//! A radix tree over the upper bits of the slot's cached hash, whose leaves are small ordinary hash tables. A write
//! copies one leaf and the branches above it and shares everything else with the snapshot before, so registering N
//! slots one by one costs O(N log N) in all; a read takes one or two branch steps and one probe, and never hashes.

use std::sync::Arc;

use hashbrown::{HashTable, hash_table};

use crate::{candidate::Registered, ranking::Entry, slot::Slot};

const FAN: usize = 16;
const FAN_BITS: u32 = 4;
/// Leaves use the lowest bits (bucket) and the seven highest (tag); the tree goes by those between.
const FIRST_SHIFT: u32 = 20;
const LAST_SHIFT: u32 = 52;
const LEAF_ROWS: usize = 32;

/// One slot: its winner, ready to be handed out, and what a write needs to find the next one.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) slot: Slot,
    pub(crate) winner: Option<Registered>,
    pub(crate) entry: Arc<Entry>,
}

#[derive(Clone, Debug)]
pub(crate) struct Table {
    root: Node,
}

#[derive(Clone, Debug)]
enum Node {
    Leaf(Arc<HashTable<Row>>),
    Branch(Arc<[Self; FAN]>),
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            root: Node::empty(),
        }
    }

    #[inline]
    pub(crate) fn get(&self, slot: &Slot) -> Option<&Row> {
        self.find(slot.cached_hash(), |row| row.slot == *slot)
    }

    #[inline]
    pub(crate) fn find(&self, hash: u64, is_it: impl FnMut(&Row) -> bool) -> Option<&Row> {
        let mut node = &self.root;
        let mut shift = FIRST_SHIFT;
        loop {
            match node {
                Node::Leaf(rows) => return rows.find(hash, is_it),
                Node::Branch(nodes) => {
                    node = &nodes[way(hash, shift)];
                    shift += FAN_BITS;
                }
            }
        }
    }

    pub(crate) fn insert(&mut self, row: Row) {
        let hash = row.slot.cached_hash();
        self.root.insert(FIRST_SHIFT, hash, row);
    }

    pub(crate) fn remove(&mut self, slot: &Slot) {
        self.root.remove(FIRST_SHIFT, slot.cached_hash(), slot);
    }
}

/// Which of a branch's nodes a hash belongs to.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "four bits are left")]
fn way(hash: u64, shift: u32) -> usize {
    (hash >> shift) as usize & (FAN - 1)
}

impl Node {
    fn empty() -> Self {
        Self::Leaf(Arc::new(HashTable::new()))
    }

    /// Puts a row in the place of the slot's former one.
    fn insert(&mut self, shift: u32, hash: u64, row: Row) {
        let rows = match self {
            Self::Branch(nodes) => {
                return Arc::make_mut(nodes)[way(hash, shift)].insert(shift + FAN_BITS, hash, row);
            }
            Self::Leaf(rows) => rows,
        };
        count_copy(rows);
        let rows = Arc::make_mut(rows);
        match rows.entry(
            hash,
            |other| other.slot == row.slot,
            |other| other.slot.cached_hash(),
        ) {
            hash_table::Entry::Occupied(mut former) => {
                *former.get_mut() = row;
            }
            hash_table::Entry::Vacant(place) => {
                place.insert(row);
            }
        }
        if rows.len() > LEAF_ROWS && shift <= LAST_SHIFT {
            let mut nodes: [Self; FAN] = std::array::from_fn(|_| Self::empty());
            for row in std::mem::take(rows) {
                let hash = row.slot.cached_hash();
                nodes[way(hash, shift)].insert(shift + FAN_BITS, hash, row);
            }
            *self = Self::Branch(Arc::new(nodes));
        }
    }

    fn remove(&mut self, shift: u32, hash: u64, slot: &Slot) {
        match self {
            Self::Branch(nodes) => {
                Arc::make_mut(nodes)[way(hash, shift)].remove(shift + FAN_BITS, hash, slot)
            }
            Self::Leaf(rows) => {
                count_copy(rows);
                let rows = Arc::make_mut(rows);
                if let Ok(row) = rows.find_entry(hash, |row| row.slot == *slot) {
                    row.remove();
                }
            }
        }
    }
}

/// Counts the rows a write copies, so that a test can show that the cost does not grow with the table.
#[cfg(test)]
fn count_copy(rows: &Arc<HashTable<Row>>) {
    if Arc::strong_count(rows) > 1 {
        crate::work::add(rows.len());
    }
}

#[cfg(not(test))]
fn count_copy(_: &Arc<HashTable<Row>>) {}
