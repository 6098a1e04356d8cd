//! Counts work done by this thread (comparisons, copied rows, visited slots), for tests that show how cost grows.
//! Work is counted, never timed: a slow machine must not fail a test.

use std::cell::Cell;

thread_local! {
    static WORK: Cell<usize> = const { Cell::new(0) };
}

pub(crate) fn add(amount: usize) {
    WORK.with(|work| work.set(work.get() + amount));
}

/// Returns how much work `f` did.
pub(crate) fn of(f: impl FnOnce()) -> usize {
    let before = WORK.with(Cell::get);
    f();
    WORK.with(Cell::get) - before
}
