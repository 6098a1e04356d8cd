//! Support for the scenarios in `tests/it`: starts the real binary in a directory of its own, waits
//! for what it says and never for time to pass, and leaves no process behind.

#![expect(
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "this is test code: a panic is how it says that something is not as it must be"
)]

pub mod binary;
pub mod console;
pub mod guide;
pub mod http;
pub mod ports;
pub mod process;
pub mod program;
pub mod random;
pub mod redis;
pub mod settings;
pub mod socket;

pub use process::{Answer, Place, Process, eventually};
