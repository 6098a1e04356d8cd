//! Counters that threads do not fight over: each thread writes a line of its own, and whoever wants to
//! know all of it, seldom, looks at every line.

use std::ops::Deref;
#[cfg(not(all(test, oneiric_loom)))]
use std::sync::OnceLock;
// Not exchanged for a model: nothing follows from a count, and each would make it a good deal longer.
use std::sync::atomic::{AtomicU64, Ordering};

/// A value that shares its cache line with nothing else. Two lines, because processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(T);

impl<T> Padded<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for Padded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// One value for each of a few groups of threads; a power of two of them.
#[derive(Debug)]
pub(crate) struct Striped<T> {
    stripes: Box<[Padded<T>]>,
}

impl<T> Striped<T> {
    /// As many as the machine has processors, between 1 and 32, each made by `make`.
    pub(crate) fn new(make: impl FnMut() -> T) -> Self {
        Self::at_most(usize::MAX, make)
    }

    /// As [`Striped::new`], but no more than so many; one at least.
    pub(crate) fn at_most(most: usize, mut make: impl FnMut() -> T) -> Self {
        let fitting = 1 << most.max(1).ilog2();
        Self {
            stripes: (0..count().min(fitting)).map(|_| Padded(make())).collect(),
        }
    }

    /// How many there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.stripes.len()
    }

    /// The calling thread's own. Other threads may have the same.
    #[inline]
    pub(crate) fn mine(&self) -> &T {
        // The mask keeps the index below the length, a power of two that is never zero.
        &self.stripes[thread::index() & (self.stripes.len() - 1)]
    }

    /// All of them, the calling thread's first.
    #[expect(
        clippy::wrong_self_convention,
        reason = "it begins there and converts nothing"
    )]
    pub(crate) fn from_mine(&self) -> impl Iterator<Item = &T> {
        let start = thread::index() & (self.stripes.len() - 1);
        let (before, after) = self.stripes.split_at(start);
        after.iter().chain(before).map(|stripe| &stripe.0)
    }

    /// All of them, in a fixed order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.stripes.iter().map(|stripe| &stripe.0)
    }
}

/// How often something happened: many threads say so at once, and hardly anybody asks.
#[derive(Debug)]
pub(crate) struct Count(Striped<AtomicU64>);

impl Count {
    pub(crate) fn new() -> Self {
        Self::at_most(usize::MAX)
    }

    /// In no more lines of memory than so many.
    pub(crate) fn at_most(lines: usize) -> Self {
        Self(Striped::at_most(lines, AtomicU64::default))
    }

    /// It happened once more.
    #[cold]
    pub(crate) fn one_more(&self) {
        self.0.mine().fetch_add(1, Ordering::Relaxed);
    }

    /// How often so far; what happens meanwhile may or may not be in it.
    pub(crate) fn so_far(&self) -> u64 {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        counts.fold(0, u64::wrapping_add)
    }
}

#[cfg(not(all(test, oneiric_loom)))]
fn count() -> usize {
    // Asked once: the system answers from files.
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| {
        let processors = std::thread::available_parallelism().map_or(4, std::num::NonZero::get);
        processors.next_power_of_two().min(32)
    })
}

/// A model has few threads, and every stripe multiplies its schedules.
#[cfg(all(test, oneiric_loom))]
fn count() -> usize {
    2
}

/// Which stripe a thread uses: threads are counted off in the order in which they first ask.
#[cfg(not(all(test, oneiric_loom)))]
mod thread {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static NEXT: AtomicUsize = AtomicUsize::new(0);

    thread_local! {
        static INDEX: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    #[inline]
    pub(super) fn index() -> usize {
        // A thread that is about to end has no index left; any will do.
        INDEX
            .try_with(|index| match index.get() {
                usize::MAX => first(index),
                known => known,
            })
            .unwrap_or(0)
    }

    #[cold]
    fn first(index: &Cell<usize>) -> usize {
        let mine = NEXT.fetch_add(1, Ordering::Relaxed) & (usize::MAX >> 1);
        index.set(mine);
        mine
    }
}

#[cfg(all(test, oneiric_loom))]
mod thread {
    use std::cell::Cell;

    loom::lazy_static! {
        static ref NEXT: loom::sync::atomic::AtomicUsize = loom::sync::atomic::AtomicUsize::new(0);
    }

    loom::thread_local! {
        static INDEX: Cell<usize> = Cell::new(usize::MAX);
    }

    pub(super) fn index() -> usize {
        INDEX.with(|index| {
            if index.get() == usize::MAX {
                index.set(NEXT.fetch_add(1, loom::sync::atomic::Ordering::Relaxed));
            }
            index.get()
        })
    }
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_its_stripe_and_all_are_seen_once() {
        let striped = Striped::new(AtomicU64::default);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        striped.mine().fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let sum = |counts: Vec<u64>| counts.into_iter().sum::<u64>();
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        assert_eq!(sum(striped.iter().map(load).collect()), 8_000);
        assert_eq!(sum(striped.from_mine().map(load).collect()), 8_000);
        let first = striped.from_mine().next().unwrap();
        assert!(std::ptr::eq(first, striped.mine()));
    }
}
