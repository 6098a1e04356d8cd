//! The embedded stores of a state directory: one SQLite file behind the narrow store traits of the layers above.
//!
//! [`StateDb`] is `state.db`. It implements the stores that `oneiric-domains` and `oneiric-lifecycle` ask for:
//! operator selections, activity, status history and key-value pairs. SQLite is built in; the file is in WAL mode, and
//! every write that was answered was synced to the disk before.
//!
//! What is promised (`docs/spec/state.md` in full):
//!
//! - The file belongs to one process at a time.
//! - What is damaged, newer, another program's or no plain file is an error that says so, and is left as it is.
//! - A backup can be taken while everybody goes on; see [`StateDb::backup`]. [`check`] and [`restore`] are for when
//!   nothing runs.
//!
//! ```
//! use std::sync::Arc;
//! use oneiric_domains::KeyValueStore;
//! use oneiric_lifecycle::SystemWallClock;
//! use oneiric_sqlite::{FILE_NAME, StateDb, check};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let state_dir = dir.path();
//! let db = StateDb::open(&state_dir.join(FILE_NAME), Arc::new(SystemWallClock::new()))?;
//! db.put("greeter", "last", b"hello", None)?;
//! db.backup(&state_dir.join("copy.db"))?;
//! assert_eq!(check(&state_dir.join("copy.db"))?.keys, 1);
//! # Ok(()) }
//! ```

mod activity;
mod backup;
#[cfg(test)]
mod crash;
mod db;
mod disk;
mod error;
mod keep;
mod kv;
mod migrations;
mod open;
mod selections;
mod status;
mod unfinished;
mod worker;

pub use backup::{Incoming, Restored, check, restore};
pub use db::{FILE_NAME, MAX_TEXT_BYTES, StateDb, Summary};
pub use error::StateError;
pub use migrations::{APPLICATION_ID, schema_version};
pub use unfinished::{sweep_unfinished, unfinished_name};
