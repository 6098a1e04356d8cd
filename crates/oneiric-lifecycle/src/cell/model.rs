//! A model of how a slot lets callers in, for every schedule of a few threads: pausing, draining, resuming and swapping
//! against callers who remember their entrance (docs/spec/activity.md, 3, 4, 7, 10 to 12).
//!
//! The epoch is the real one. The door is a number behind a lock, which stands for `ArcSwap`: what is loaded from it is
//! held from the moment it is loaded. An entrance is its count of references, one of which is the slot's own; a weak
//! reference to it can be made a lease while the count is not zero.

mod sets;

use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use loom::sync::{Arc, Mutex};

use crate::epoch::{Epoch, Stamp};

/// What a slot points at: the entrance that is in use, which instance it leads to, and whether it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Door {
    entrance: usize,
    instance: u64,
    open: bool,
}

struct Slot {
    epoch: Epoch,
    door: Mutex<Door>,
    /// References to each entrance.
    counts: [AtomicU64; 2],
    /// Set in the moment in which nobody has a reference to the first entrance any more.
    drained: AtomicBool,
}

/// A way in; one reference to the entrance.
struct Lease {
    entrance: usize,
    instance: u64,
}

/// What a thread remembers: no reference.
type Memory = Option<(Stamp, usize, u64)>;

impl Slot {
    fn new(open: bool) -> Self {
        Self {
            epoch: Epoch::new(),
            door: Mutex::new(Door {
                entrance: 0,
                instance: 1,
                open,
            }),
            counts: [AtomicU64::new(1), AtomicU64::new(1)],
            drained: AtomicBool::new(false),
        }
    }

    /// As `SlotCell::enter`.
    fn enter(&self, memory: &mut Memory) -> Option<Lease> {
        let stamp = self.epoch.stamp();
        if let Some((remembered, entrance, instance)) = *memory
            && remembered == stamp
            && self.upgrade(entrance)
        {
            return Some(Lease { entrance, instance });
        }
        let door = self.load();
        if !door.open {
            self.let_go(door.entrance);
            return None;
        }
        let Door {
            entrance, instance, ..
        } = door;
        *memory = stamp
            .may_be_remembered()
            .then_some((stamp, entrance, instance));
        Some(Lease { entrance, instance })
    }

    /// The door, with a reference to its entrance.
    fn load(&self) -> Door {
        let door = self.door.lock().unwrap();
        self.counts[door.entrance].fetch_add(1, SeqCst);
        *door
    }

    fn upgrade(&self, entrance: usize) -> bool {
        let more = |count: u64| (count > 0).then_some(count + 1);
        self.counts[entrance]
            .fetch_update(SeqCst, SeqCst, more)
            .is_ok()
    }

    fn let_go(&self, entrance: usize) {
        if self.counts[entrance].fetch_sub(1, SeqCst) == 1 {
            assert_eq!(entrance, 0, "the slot keeps the entrance in use");
            self.drained.store(true, SeqCst);
        }
    }

    fn leave(&self, lease: Lease) {
        self.let_go(lease.entrance);
    }

    /// As `SlotCell::exchange`; the slot lets go of an entrance that is not in use any more.
    fn exchange(&self, next: Door) {
        let was = self.epoch.change(|| {
            let mut door = self.door.lock().unwrap();
            std::mem::replace(&mut *door, next)
        });
        if was.entrance != next.entrance {
            self.let_go(was.entrance);
        }
    }

    fn set_open(&self, open: bool) {
        self.exchange(Door {
            entrance: 0,
            instance: 1,
            open,
        });
    }

    /// As `SlotCell::set_draining`: closed, and with an entrance that nobody was let in by.
    fn drain(&self) {
        self.exchange(Door {
            entrance: 1,
            instance: 1,
            open: false,
        });
    }
}

/// Every schedule with up to two preemptions: enough for the faults this is about, and done within seconds.
fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

/// Runs `change` beside a caller who asks three times and remembers, and one who asks once. Whoever knows that the
/// change was acknowledged before it asks gets what `after` says; nobody ever gets what `ever` does not allow.
fn beside_callers(
    begins_open: bool,
    change: fn(&Slot),
    ever: fn(Option<u64>) -> bool,
    after: fn(Option<u64>) -> bool,
) {
    check(move || {
        let slot = Arc::new(Slot::new(begins_open));
        let acknowledged = Arc::new(AtomicBool::new(false));
        let caller = |times: usize| {
            let (slot, acknowledged) = (Arc::clone(&slot), Arc::clone(&acknowledged));
            move || {
                let mut memory = None;
                for _ in 0..times {
                    let is_over = acknowledged.load(SeqCst);
                    let lease = slot.enter(&mut memory);
                    let instance = lease.as_ref().map(|lease| lease.instance);
                    assert!(ever(instance), "{instance:?}");
                    assert!(!is_over || after(instance), "{instance:?} afterwards");
                    if let Some(lease) = lease {
                        slot.leave(lease);
                    }
                }
            }
        };
        let often = loom::thread::spawn(caller(3));
        let once = loom::thread::spawn(caller(1));
        change(&slot);
        acknowledged.store(true, SeqCst);
        often.join().unwrap();
        once.join().unwrap();
    });
}

#[test]
fn nobody_is_let_in_after_a_pause_was_acknowledged() {
    let pause = |slot: &Slot| slot.set_open(false);
    beside_callers(true, pause, |_| true, |got| got.is_none());
}

#[test]
fn nobody_is_refused_after_a_resume_was_acknowledged() {
    let resume = |slot: &Slot| slot.set_open(true);
    beside_callers(false, resume, |_| true, |got| got == Some(1));
}

#[test]
fn nobody_is_let_in_after_a_pause_that_followed_a_resume() {
    let both = |slot: &Slot| {
        slot.set_open(true);
        slot.set_open(false);
    };
    beside_callers(false, both, |_| true, |got| got.is_none());
}

#[test]
fn a_swap_away_from_a_paused_provider_lets_nobody_reach_it_and_refuses_nobody_afterwards() {
    let swap = |slot: &Slot| {
        slot.exchange(Door {
            entrance: 1,
            instance: 2,
            open: true,
        });
    };
    beside_callers(false, swap, |got| got != Some(1), |got| got == Some(2));
}

#[test]
fn a_swap_onto_a_paused_provider_lets_nobody_reach_it() {
    let swap = |slot: &Slot| {
        slot.exchange(Door {
            entrance: 1,
            instance: 2,
            open: false,
        });
    };
    beside_callers(true, swap, |got| got != Some(2), |got| got.is_none());
}

#[test]
fn nothing_runs_when_a_slot_is_told_as_drained_and_it_is_told() {
    check(|| {
        let slot = Arc::new(Slot::new(true));
        let caller = |times: usize| {
            let slot = Arc::clone(&slot);
            move || {
                let mut memory = None;
                for _ in 0..times {
                    let Some(lease) = slot.enter(&mut memory) else {
                        continue;
                    };
                    assert!(!slot.drained.load(SeqCst), "work in a drained slot");
                    slot.leave(lease);
                }
            }
        };
        let often = loom::thread::spawn(caller(3));
        let once = loom::thread::spawn(caller(1));
        slot.drain();
        often.join().unwrap();
        once.join().unwrap();
        assert!(slot.drained.load(SeqCst), "never told");
    });
}
