//! What every row is measured against besides its peer: work that no other thread can slow down.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::row::{Contestant, MakeWork, repeated};

/// On cache lines that no other thread has.
#[repr(align(128))]
struct Own(AtomicU64);

/// Atomic increments of a cell that belongs to one thread.
pub(super) fn increments() -> Contestant<MakeWork> {
    let work = repeated(|| {
        let cell = Box::new(Own(AtomicU64::new(0)));
        move || {
            black_box(cell.0.fetch_add(1, Ordering::Relaxed));
        }
    });
    Contestant::control("control: atomic increment of a thread's own cell", work)
}
