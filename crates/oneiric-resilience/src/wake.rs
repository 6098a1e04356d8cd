//! Wakers are foreign code: cloned, called or dropped, they may run anything, a call back into what they
//! wait for or a panic. So none of that is done under a lock, and a panic of one leaves no other asleep.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Waker;
use std::time::Duration;

use crate::caught::discard;

/// Whoever waits with a limit may come so much later than that and still find its place: timers count
/// milliseconds, and a task that was woken is not polled at once. After that its place is lost, for it
/// may have been given up by somebody who keeps the future.
pub(crate) const LATE: Duration = Duration::from_millis(10);

/// Some wakers, mostly one at most: that one needs no memory.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    first: Option<Waker>,
    more: Vec<Waker>,
}

impl Wakers {
    pub(crate) fn push(&mut self, waker: Waker) {
        match &self.first {
            None => self.first = Some(waker),
            Some(_) => self.more.push(waker),
        }
    }
}

impl Extend<Waker> for Wakers {
    fn extend<I: IntoIterator<Item = Waker>>(&mut self, wakers: I) {
        wakers.into_iter().for_each(|waker| self.push(waker));
    }
}

/// What is to be done with wakers when the lock is free again; done when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Afterwards {
    /// To be woken.
    pub(crate) woken: Wakers,
    /// Not needed any more.
    pub(crate) spent: Wakers,
}

impl Drop for Afterwards {
    fn drop(&mut self) {
        let Wakers { first, more } = std::mem::take(&mut self.woken);
        let mut panicked = None;
        for waker in first.into_iter().chain(more) {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| waker.wake()))
                && let Some(further) = panicked.replace(panic)
            {
                discard(further);
            }
        }
        match panicked {
            // What goes on already is more than enough.
            Some(panic) if std::thread::panicking() => discard(panic),
            Some(panic) => resume_unwind(panic),
            None => {}
        }
    }
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    struct Bell {
        rang: AtomicU32,
        panics: bool,
    }

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.rang.fetch_add(1, Ordering::SeqCst);
            assert!(!self.panics, "a waker's own");
        }
    }

    #[test]
    fn a_waker_that_panics_leaves_no_other_asleep() {
        let bells = [true, false, true, false].map(|panics| {
            let rang = AtomicU32::new(0);
            Arc::new(Bell { rang, panics })
        });
        let mut afterwards = Afterwards::default();
        let wakers = bells.iter().map(|bell| Waker::from(Arc::clone(bell)));
        afterwards.woken.extend(wakers);
        let panicked = catch_unwind(AssertUnwindSafe(|| drop(afterwards)));
        assert!(panicked.is_err(), "it goes on once all are awake");
        let rang = bells.map(|bell| bell.rang.load(Ordering::SeqCst));
        assert_eq!(rang, [1; 4]);
    }
}
