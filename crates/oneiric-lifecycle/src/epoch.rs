//! Says whether what a thread remembers of a slot still holds.
//!
//! A writer makes the epoch odd, changes what readers see, and makes it even again. A reader takes a
//! stamp, then loads what it wants, and may remember it together with the stamp if the stamp is
//! even. While its stamp equals the epoch, no change has begun since it was taken; so what was
//! loaded after it is what everyone sees. The moment the epoch turns odd is the moment a change takes
//! effect for all who remember.
//!
//! One step before the change would not do (a reader could take the new stamp and then load the old
//! value, and keep it for ever), and one step after it would not either (a reader that remembers
//! could see the old value after another thread saw the new one).

use crate::sync::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Epoch(AtomicU64);

/// A moment of an [`Epoch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

impl Epoch {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The moment it is now. What is loaded after this is at least as new.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp(self.0.load(Ordering::Acquire))
    }

    /// Makes `change`. Writers must take turns.
    pub(crate) fn change<T>(&self, change: impl FnOnce() -> T) -> T {
        self.0.fetch_add(1, Ordering::SeqCst);
        let result = change();
        self.0.fetch_add(1, Ordering::SeqCst);
        result
    }
}

impl Stamp {
    /// Whether no change was under way when it was taken.
    pub(crate) const fn may_be_remembered(self) -> bool {
        self.0.is_multiple_of(2)
    }
}

#[cfg(all(test, oneiric_loom))]
mod model {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicU64, Ordering};

    use super::{Epoch, Stamp};

    /// A pointer that only grows, as instance numbers do, and readers that remember it.
    struct Slot {
        epoch: Epoch,
        pointer: AtomicU64,
    }

    impl Slot {
        fn read(&self, memory: &mut Option<(Stamp, u64)>) -> u64 {
            let stamp = self.epoch.stamp();
            if let Some((remembered, value)) = *memory
                && remembered == stamp
            {
                return value;
            }
            let value = self.pointer.load(Ordering::SeqCst);
            *memory = stamp.may_be_remembered().then_some((stamp, value));
            value
        }

        fn publish(&self, value: u64) {
            self.epoch
                .change(|| self.pointer.store(value, Ordering::SeqCst));
        }
    }

    #[test]
    fn a_reader_never_sees_the_old_after_anyone_saw_the_new() {
        // Every schedule with up to two preemptions: enough to find the faults this is about (no step
        // before the change, an odd stamp remembered), and done within seconds.
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let slot = Arc::new(Slot {
                epoch: Epoch::new(),
                pointer: AtomicU64::new(0),
            });
            let newest_seen = Arc::new(AtomicU64::new(0));
            let reader = loom::thread::spawn({
                let (slot, newest_seen) = (Arc::clone(&slot), Arc::clone(&newest_seen));
                move || {
                    let mut memory = None;
                    for _ in 0..2 {
                        let at_least = newest_seen.load(Ordering::SeqCst);
                        let value = slot.read(&mut memory);
                        assert!(value >= at_least, "read {value} after {at_least} was seen");
                    }
                }
            });
            let other = loom::thread::spawn({
                let (slot, newest_seen) = (Arc::clone(&slot), Arc::clone(&newest_seen));
                move || {
                    let value = slot.read(&mut None);
                    newest_seen.fetch_max(value, Ordering::SeqCst);
                }
            });
            slot.publish(1);
            newest_seen.fetch_max(1, Ordering::SeqCst);
            reader.join().unwrap();
            other.join().unwrap();
        });
    }
}
