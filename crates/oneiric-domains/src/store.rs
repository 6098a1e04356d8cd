//! What this layer and those above it ask of a store of state: operator selections and key-value pairs. What the
//! lifecycle asks (status history) is beside it: `oneiric_lifecycle::StatusStore`.
//!
//! The traits are synchronous, because what implements them is a disk: callers use the pool for blocking work.
//! Whatever a method has answered is durable; what it refused has not happened.

mod activity;
mod key_value;
mod selection;

pub use activity::MemoryActivityStore;
pub use key_value::{
    KeyValueStore, MAX_KEY_BYTES, MAX_VALUE_BYTES, MemoryKeyValueStore, check_pair,
};
pub use selection::{
    MemorySelectionStore, REVISIONS_KEPT, Revision, SelectionBook, SelectionStore, Undone,
    must_follow,
};
