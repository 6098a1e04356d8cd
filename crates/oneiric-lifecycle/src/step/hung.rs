//! Steps of one provider in one slot that go on past their time. Each costs a thread for as long as it blocks it, so who
//! leaves too many behind is not built again: a provider that hangs takes its own threads, and not everybody's.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// So many may go on; then the provider is not built in this slot until one of them ends.
pub(crate) const HUNG_AT_MOST: usize = 4;

/// How many go on past their time.
#[derive(Debug, Default)]
pub(crate) struct Hung(AtomicUsize);

impl Hung {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// For a step, which holds the first until it ends, and whoever waits for it, who holds the second.
    pub(crate) fn watch(self: &Arc<Self>) -> (OnItsThread, Waits) {
        let step = Arc::new(Step {
            hung: Arc::clone(self),
            is_late: AtomicBool::new(false),
        });
        let waits = Waits(Arc::downgrade(&step));
        (OnItsThread { _step: step }, waits)
    }
}

#[derive(Debug)]
struct Step {
    hung: Arc<Hung>,
    is_late: AtomicBool,
}

impl Drop for Step {
    fn drop(&mut self) {
        if *self.is_late.get_mut() {
            self.hung.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The step is not over yet.
#[derive(Debug)]
pub(crate) struct OnItsThread {
    _step: Arc<Step>,
}

/// Somebody waits for the step. A step that is not over when this is dropped counts until it is.
#[derive(Debug)]
pub(crate) struct Waits(Weak<Step>);

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(step) = self.0.upgrade() {
            step.is_late.store(true, Ordering::Relaxed);
            step.hung.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_counts_from_when_nobody_waits_for_it_until_it_ends() {
        let hung = Arc::new(Hung::default());
        let (step, waits) = hung.watch();
        drop(step);
        drop(waits);
        assert_eq!(hung.count(), 0);
        let (step, waits) = hung.watch();
        assert_eq!(hung.count(), 0);
        drop(waits);
        let (other, waits) = hung.watch();
        drop(waits);
        assert_eq!(hung.count(), 2);
        drop((step, other));
        assert_eq!(hung.count(), 0);
    }
}
