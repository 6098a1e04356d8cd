//! A model of a change set's one step, in which the pointers of several slots move (docs/spec/change-sets.md, 3 and 4),
//! for every schedule beside callers, a shutdown of one of them, and another set over the same slots.

use loom::sync::atomic::{AtomicBool, Ordering::SeqCst};
use loom::sync::{Arc, Mutex};

use super::{Door, Slot, check};

/// As `SlotCell`, with the gate that serialises its changes; under it, whether it was stopped.
struct Cell {
    slot: Slot,
    stopped: Mutex<bool>,
}

/// As `Inner`: two slots, and the rules that whoever exchanges both has locked.
struct Inner {
    rules: Mutex<()>,
    cells: [Cell; 2],
}

const NEW: Door = Door {
    entrance: 1,
    instance: 2,
    open: true,
};

impl Inner {
    fn new() -> Arc<Self> {
        let cell = || Cell {
            slot: Slot::new(true),
            stopped: Mutex::new(false),
        };
        Arc::new(Self {
            rules: Mutex::new(()),
            cells: [cell(), cell()],
        })
    }

    /// As `Inner::put_all_in_service`, of slots in this order.
    fn put_all_in_service(&self, order: [usize; 2]) -> bool {
        let _rules = self.rules.lock().unwrap();
        let mut doorways = Vec::new();
        for place in order {
            let doorway = self.cells[place].stopped.lock().unwrap();
            if *doorway {
                return false;
            }
            doorways.push(doorway);
        }
        for (place, doorway) in order.into_iter().zip(doorways) {
            self.cells[place].slot.exchange(NEW);
            drop(doorway);
        }
        true
    }

    /// As `SlotCell::stop`: it has the gate and nothing else.
    fn stop(&self, place: usize) {
        let cell = &self.cells[place];
        let mut stopped = cell.stopped.lock().unwrap();
        *stopped = true;
        let was = cell.slot.load();
        cell.slot.exchange(Door { open: false, ..was });
        cell.slot.let_go(was.entrance);
    }

    /// Whom a caller without memory reaches.
    fn reached(&self, place: usize) -> Option<u64> {
        let slot = &self.cells[place].slot;
        let lease = slot.enter(&mut None)?;
        let instance = lease.instance;
        slot.leave(lease);
        Some(instance)
    }
}

#[test]
fn once_a_set_is_acknowledged_nobody_reaches_anything_old() {
    check(|| {
        let inner = Inner::new();
        let acknowledged = Arc::new(AtomicBool::new(false));
        let caller = loom::thread::spawn({
            let (inner, acknowledged) = (Arc::clone(&inner), Arc::clone(&acknowledged));
            move || {
                let mut memories = [None, None];
                for _ in 0..2 {
                    let is_over = acknowledged.load(SeqCst);
                    for (cell, memory) in inner.cells.iter().zip(&mut memories) {
                        let lease = cell.slot.enter(memory).unwrap();
                        assert!(!is_over || lease.instance == 2, "an old one afterwards");
                        cell.slot.leave(lease);
                    }
                }
            }
        });
        assert!(inner.put_all_in_service([0, 1]));
        acknowledged.store(true, SeqCst);
        caller.join().unwrap();
        for cell in &inner.cells {
            assert!(cell.slot.drained.load(SeqCst), "the old one was not told");
        }
    });
}

#[test]
fn a_shutdown_of_one_slot_comes_before_the_whole_set_or_after_it() {
    check(|| {
        let inner = Inner::new();
        let stops = loom::thread::spawn({
            let inner = Arc::clone(&inner);
            move || inner.stop(1)
        });
        let caller = loom::thread::spawn({
            let inner = Arc::clone(&inner);
            move || inner.reached(0) == Some(2)
        });
        let moved = inner.put_all_in_service([0, 1]);
        stops.join().unwrap();
        let reached_new = caller.join().unwrap();
        assert!(moved || !reached_new, "a pointer moved and another did not");
        let serves = inner.reached(0);
        assert_eq!(serves, Some(if moved { 2 } else { 1 }));
        assert_eq!(inner.reached(1), None);
        for cell in &inner.cells {
            assert_eq!(cell.slot.drained.load(SeqCst), moved);
        }
    });
}

#[test]
fn two_sets_in_whatever_order_do_not_wait_for_each_other_for_ever() {
    check(|| {
        let inner = Inner::new();
        let other = loom::thread::spawn({
            let inner = Arc::clone(&inner);
            move || inner.put_all_in_service([1, 0])
        });
        let stops = loom::thread::spawn({
            let inner = Arc::clone(&inner);
            move || inner.stop(0)
        });
        let one = inner.put_all_in_service([0, 1]);
        let other = other.join().unwrap();
        stops.join().unwrap();
        // Who comes first has moved both or none, and nobody undoes that.
        let new = if one || other { 2 } else { 1 };
        assert_eq!(inner.reached(1), Some(new));
    });
}
