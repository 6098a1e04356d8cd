//! A model of how an instance's term in service ends: with the last lease and not before, and everybody who waits for it
//! is woken, in every schedule of leases that come back, an exchange, and those who begin to wait.
//!
//! An entrance is a count of references whose last one is noticed where it is dropped, as in [`Entrance`](super::Entrance);
//! the end is a flag that stays and wakes who registered before, as a cancelled token does; and the watches are those of
//! [`Term`](super::Term). A waiter who is not woken is a deadlock, which the model does not survive.

use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use loom::sync::{Arc, Condvar, Mutex};

/// As [`Term`](super::Term).
struct Term {
    entrances_left: AtomicUsize,
    over: Mutex<bool>,
    waiters: Condvar,
    /// Watches that wait for the end; `None` once it has come.
    watches: Mutex<Option<usize>>,
    /// How often a watch was told.
    told: AtomicUsize,
    in_flight: AtomicUsize,
}

impl Term {
    fn new(entrances: usize) -> Arc<Self> {
        Arc::new(Self {
            entrances_left: AtomicUsize::new(entrances),
            over: Mutex::new(false),
            waiters: Condvar::new(),
            watches: Mutex::new(Some(0)),
            told: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
        })
    }

    /// As `Term::over`.
    fn wait(&self) {
        let mut over = self.over.lock().unwrap();
        while !*over {
            over = self.waiters.wait(over).unwrap();
        }
        drop(over);
        assert_eq!(self.in_flight.load(SeqCst), 0, "over while a lease is out");
    }

    /// As `Term::watch`: whether the end is still to come, and will be told.
    fn watch(&self) -> bool {
        let mut watches = self.watches.lock().unwrap();
        match &mut *watches {
            Some(watches) => {
                *watches += 1;
                true
            }
            None => false,
        }
    }

    fn end(&self) {
        let was = std::mem::replace(&mut *self.over.lock().unwrap(), true);
        assert!(!was, "over twice");
        self.waiters.notify_all();
        let watches = self.watches.lock().unwrap().take();
        self.told.fetch_add(watches.unwrap(), SeqCst);
    }
}

/// As [`Entrance`](super::Entrance).
struct Entrance {
    term: Arc<Term>,
    references: AtomicUsize,
}

impl Entrance {
    /// One reference, the slot's own.
    fn new(term: &Arc<Term>) -> Arc<Self> {
        Arc::new(Self {
            term: Arc::clone(term),
            references: AtomicUsize::new(1),
        })
    }

    /// One more reference, if there is one: as a weak one that is upgraded.
    fn enter(&self) -> bool {
        let more = |count: usize| (count > 0).then_some(count + 1);
        let entered = self.references.fetch_update(SeqCst, SeqCst, more).is_ok();
        self.term.in_flight.fetch_add(usize::from(entered), SeqCst);
        entered
    }

    fn leave(&self) {
        self.term.in_flight.fetch_sub(1, SeqCst);
        self.let_go();
    }

    fn let_go(&self) {
        if self.references.fetch_sub(1, SeqCst) == 1
            && self.term.entrances_left.fetch_sub(1, SeqCst) == 1
        {
            self.term.end();
        }
    }
}

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

fn call(entrance: &Arc<Entrance>) -> loom::thread::JoinHandle<()> {
    let entrance = Arc::clone(entrance);
    loom::thread::spawn(move || {
        if entrance.enter() {
            entrance.leave();
        }
    })
}

#[test]
fn whoever_waits_for_the_last_lease_is_woken() {
    check(|| {
        let term = Term::new(2);
        let entrances = [Entrance::new(&term), Entrance::new(&term)];
        let calls = [call(&entrances[0]), call(&entrances[1])];
        let waiter = loom::thread::spawn({
            let term = Arc::clone(&term);
            move || term.wait()
        });
        for entrance in &entrances {
            entrance.let_go();
        }
        for thread in calls.into_iter().chain([waiter]) {
            thread.join().unwrap();
        }
        assert!(!entrances.iter().any(|entrance| entrance.enter()));
    });
}

#[test]
fn a_watch_is_told_of_the_end_or_told_that_it_has_come() {
    check(|| {
        let term = Term::new(1);
        let entrance = Entrance::new(&term);
        let leased = entrance.enter();
        assert!(leased);
        let leaves = loom::thread::spawn({
            let entrance = Arc::clone(&entrance);
            move || entrance.leave()
        });
        let watches = loom::thread::spawn({
            let term = Arc::clone(&term);
            move || usize::from(term.watch())
        });
        entrance.let_go();
        leaves.join().unwrap();
        let waiting = watches.join().unwrap();
        term.wait();
        assert_eq!(term.told.load(SeqCst), waiting);
    });
}
