//! What a row is measured against besides its peer: the barest form of the same kind of work, on data
//! that belongs to one thread. Whatever slows a processor down from outside slows it down as well.

use std::error::Error;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use crate::row::{Contestant, MakeWork, Operation, repeated};

/// On cache lines that no other thread has.
#[repr(align(128))]
struct Own(AtomicU64);

impl Own {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }
}

/// Atomic increments of a cell.
pub(super) fn increments() -> Result<Contestant<Operation>, Box<dyn Error>> {
    let work = || -> MakeWork {
        repeated(|| {
            let cell = Box::new(Own::new());
            move || {
                black_box(cell.0.fetch_add(1, Ordering::Relaxed));
            }
        })
    };
    let name = "control: atomic increment, the thread's own";
    Ok(Contestant::control(name, Operation::new(|| Ok(work()))?))
}

/// Taking a reference to something that may be gone, and giving it back: two atomic operations.
pub(super) fn upgrades() -> Result<Contestant<Operation>, Box<dyn Error>> {
    let work = || -> MakeWork {
        repeated(|| {
            let cell = Arc::new(Own::new());
            let weak = Arc::downgrade(&cell);
            move || {
                // Keeps the cell with the closure; without it there would be nothing to upgrade to.
                let _kept = &cell;
                drop(black_box(Weak::upgrade(&weak)));
            }
        })
    };
    let name = "control: `Weak::upgrade`, drop, the thread's own";
    Ok(Contestant::control(name, Operation::new(|| Ok(work()))?))
}
