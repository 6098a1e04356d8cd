//! Wakers as nobody would write them, and as they may be all the same.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Wake, Waker};
use std::time::Duration;

/// Counts how often it was woken, and may panic then.
pub(crate) struct Bell {
    rang: AtomicU32,
    panics: bool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rang.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics, "in a waker, as planned");
    }
}

/// As many bells, of which only the first panics.
pub(crate) fn bells<const N: usize>() -> [Arc<Bell>; N] {
    std::array::from_fn(|at| {
        let rang = AtomicU32::new(0);
        let panics = at == 0;
        Arc::new(Bell { rang, panics })
    })
}

pub(crate) fn rang<const N: usize>(bells: &[Arc<Bell>; N]) -> [u32; N] {
    bells
        .each_ref()
        .map(|bell| bell.rang.load(Ordering::SeqCst))
}

/// A waker that owns something, as that of an executor whose tasks own their futures: what it owns is
/// dropped with the last of its clones.
pub(crate) fn owning<T: Send + 'static>(owned: T) -> Waker {
    struct Owner<T>(Mutex<T>);

    impl<T: Send> Wake for Owner<T> {
        fn wake(self: Arc<Self>) {}
    }

    Arc::new(Owner(Mutex::new(owned))).into()
}

/// Runs something that must not wait for ever, in a thread of its own.
pub(crate) fn ends(what: impl FnOnce() + Send + 'static) {
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || {
        what();
        ended.send(())
    });
    end.recv_timeout(Duration::from_secs(60)).expect("it ends");
}

/// What to panic with, to panic once more.
pub(crate) struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("in what was panicked with, as planned");
        }
    }
}
