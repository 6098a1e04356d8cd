//! The bulkhead under every schedule with so many preemptions as are tried within seconds: that is
//! enough to find the faults each model is about.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use loom::thread::{self, JoinHandle};

use super::{Bulkhead, BulkheadConfig, BulkheadPermit, Enter};
use crate::clock::ManualClock;
use crate::error::Rejected;
use crate::sync::{AtomicU64, Ordering};

type Modelled = Bulkhead<ManualClock>;

fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

fn bulkhead(limit: u32) -> Modelled {
    with_waiters(limit, 2)
}

fn with_waiters(limit: u32, max_waiters: u32) -> Modelled {
    let config = BulkheadConfig {
        limit,
        max_waiters,
        ..BulkheadConfig::default()
    };
    Bulkhead::with_clock(config, ManualClock::new()).unwrap()
}

#[derive(Debug)]
struct Bell(AtomicU64);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(1, Ordering::Release);
    }
}

struct Caller {
    enter: Enter<ManualClock>,
    bell: Arc<Bell>,
}

impl Caller {
    fn new(bulkhead: &Modelled) -> Self {
        Self {
            enter: bulkhead.enter(),
            bell: Arc::new(Bell(AtomicU64::new(0))),
        }
    }

    fn try_poll(&mut self) -> Poll<Result<BulkheadPermit<ManualClock>, Rejected>> {
        let waker = Waker::from(Arc::clone(&self.bell));
        Pin::new(&mut self.enter).poll(&mut Context::from_waker(&waker))
    }

    fn poll(&mut self) -> Poll<BulkheadPermit<ManualClock>> {
        self.try_poll().map(Result::unwrap)
    }

    /// It was told that it is its turn, and it is.
    fn permit(&mut self) -> BulkheadPermit<ManualClock> {
        assert_eq!(self.bell.0.load(Ordering::Acquire), 1, "never woken");
        match self.poll() {
            Poll::Ready(permit) => permit,
            Poll::Pending => panic!("woken for nothing"),
        }
    }

    /// It came in at once, or its turn has come since.
    fn has_been_in(&mut self, entered: Poll<BulkheadPermit<ManualClock>>) {
        match entered {
            Poll::Ready(permit) => drop(permit),
            Poll::Pending => drop(self.permit()),
        }
    }
}

fn drop_elsewhere(permit: BulkheadPermit<ManualClock>) -> JoinHandle<()> {
    thread::spawn(move || drop(permit))
}

fn assert_whole(bulkhead: &Modelled) {
    let limit = usize::try_from(bulkhead.limit()).unwrap();
    let all = std::iter::from_fn(|| bulkhead.try_enter_owned().ok());
    let all: Vec<_> = all.take(limit + 1).collect();
    assert_eq!(all.len(), limit);
}

/// And whoever is in sees what was done by those who were in before.
#[test]
fn never_more_than_the_limit_are_in_and_none_is_lost() {
    for limit in [1, 2] {
        check(2, move || {
            let bulkhead = bulkhead(limit);
            let inside = Arc::new(AtomicU64::new(0));
            let visits = Arc::new(AtomicU64::new(0));
            let visit = |bulkhead: Modelled, inside: Arc<AtomicU64>, visits: Arc<AtomicU64>| {
                move || {
                    let Ok(_guard) = bulkhead.try_enter() else {
                        return 0;
                    };
                    // Not in one step, on purpose: alone inside, nobody can come in between.
                    let before = visits.load(Ordering::Relaxed);
                    visits.store(before + 1, Ordering::Relaxed);
                    assert!(inside.fetch_add(1, Ordering::Relaxed) < u64::from(limit));
                    inside.fetch_sub(1, Ordering::Relaxed);
                    1
                }
            };
            let others = [(); 2].map(|()| {
                let (inside, visits) = (Arc::clone(&inside), Arc::clone(&visits));
                thread::spawn(visit(bulkhead.clone(), inside, visits))
            });
            let mut entered = visit(bulkhead.clone(), inside, Arc::clone(&visits))();
            for other in others {
                entered += other.join().unwrap();
            }
            if limit == 1 {
                assert_eq!(visits.load(Ordering::Relaxed), entered);
            }
            assert_whole(&bulkhead);
        });
    }
}

#[test]
fn no_wake_up_is_lost_wherever_the_permit_comes_back() {
    for limit in [1, 2] {
        check(3, move || {
            let bulkhead = bulkhead(limit);
            let inside: Vec<_> = (0..limit)
                .map(|_| bulkhead.try_enter_owned().unwrap())
                .collect();
            let mut caller = Caller::new(&bulkhead);
            let leaving: Vec<_> = inside.into_iter().map(drop_elsewhere).collect();
            let entered = caller.poll();
            for other in leaving {
                other.join().unwrap();
            }
            caller.has_been_in(entered);
            assert_whole(&bulkhead);
        });
    }
}

#[test]
fn a_permit_handed_to_one_who_leaves_goes_to_the_next() {
    check(5, || {
        let bulkhead = bulkhead(1);
        let inside = bulkhead.try_enter_owned().unwrap();
        let mut first = Caller::new(&bulkhead);
        let mut second = Caller::new(&bulkhead);
        assert!(first.poll().is_pending());
        assert!(second.poll().is_pending());
        let leaving = drop_elsewhere(inside);
        drop(first);
        leaving.join().unwrap();
        drop(second.permit());
        assert_whole(&bulkhead);
    });
}

#[test]
fn nobody_overtakes_who_waits() {
    check(5, || {
        let bulkhead = bulkhead(1);
        let inside = bulkhead.try_enter_owned().unwrap();
        let mut caller = Caller::new(&bulkhead);
        assert!(caller.poll().is_pending());
        let leaving = drop_elsewhere(inside);
        assert!(bulkhead.try_enter().is_err(), "it is the other's turn");
        let mut second = Caller::new(&bulkhead);
        assert!(second.poll().is_pending(), "it is the other's turn");
        leaving.join().unwrap();
        drop(caller.permit());
        drop(second.permit());
        assert_whole(&bulkhead);
    });
}

/// Whoever waits has been served when the two permits are back, and one is left.
#[test]
fn nobody_is_refused_for_one_who_only_looks() {
    check(5, || {
        let bulkhead = bulkhead(2);
        let inside = [(); 2].map(|()| bulkhead.try_enter_owned().unwrap());
        let other = thread::spawn({
            let bulkhead = bulkhead.clone();
            move || {
                drop(inside);
                assert!(bulkhead.try_enter().is_ok(), "at most one is in");
            }
        });
        let mut caller = Caller::new(&bulkhead);
        let entered = caller.poll();
        other.join().unwrap();
        caller.has_been_in(entered);
        assert_whole(&bulkhead);
    });
}

/// Who knows of one who waited must learn that it has gone before it can see anybody else look.
#[test]
fn nobody_is_refused_for_one_who_has_gone() {
    check(4, || {
        let bulkhead = bulkhead(2);
        let inside = [(); 2].map(|()| bulkhead.try_enter_owned().unwrap());
        let mut gone = Caller::new(&bulkhead);
        assert!(gone.poll().is_pending());
        let has_gone = Arc::new(AtomicU64::new(0));
        let other = thread::spawn({
            let (bulkhead, has_gone) = (bulkhead.clone(), Arc::clone(&has_gone));
            move || {
                // Which orders nothing.
                if has_gone.load(Ordering::Relaxed) == 1 {
                    drop(inside);
                    assert!(bulkhead.try_enter().is_ok(), "at most one is in");
                }
            }
        });
        drop(gone);
        has_gone.store(1, Ordering::Relaxed);
        let mut caller = Caller::new(&bulkhead);
        let entered = caller.poll();
        other.join().unwrap();
        caller.has_been_in(entered);
        assert_whole(&bulkhead);
    });
}

/// Whoever has it next sees what was done by who had it before, although nobody had it in between.
#[test]
fn a_permit_that_nobody_came_for_carries_what_was_done() {
    check(2, || {
        let clock = ManualClock::new();
        let config = BulkheadConfig {
            limit: 2,
            ..BulkheadConfig::default()
        };
        let bulkhead = Bulkhead::with_clock(config, clock.clone()).unwrap();
        let [stays, inside] = [(); 2].map(|()| bulkhead.try_enter_owned().unwrap());
        let no_time = || Some(Duration::ZERO);
        let late = bulkhead.shared.enter(Waker::noop(), no_time);
        assert!(matches!(late, Ok(Some(_))), "it waits, and never comes");
        let done = Arc::new(AtomicU64::new(0));
        let leaving = thread::spawn({
            let done = Arc::clone(&done);
            move || {
                done.store(1, Ordering::Relaxed);
                drop(inside);
            }
        });
        let looking = thread::spawn({
            let bulkhead = bulkhead.clone();
            move || {
                clock.advance(Duration::from_secs(1));
                bulkhead.set_limit(2).unwrap();
            }
        });
        if let Ok(_guard) = bulkhead.try_enter() {
            assert_eq!(done.load(Ordering::Relaxed), 1, "there was none before");
        }
        leaving.join().unwrap();
        looking.join().unwrap();
        drop(stays);
        assert_whole(&bulkhead);
    });
}

#[test]
fn who_is_behind_one_that_did_not_come_is_served_when_it_looks() {
    check(3, || {
        let clock = ManualClock::new();
        let bulkhead = Bulkhead::with_clock(BulkheadConfig::default(), clock.clone()).unwrap();
        bulkhead.set_limit(1).unwrap();
        let inside = bulkhead.try_enter_owned().unwrap();
        let no_time = || Some(Duration::ZERO);
        let late = bulkhead.shared.enter(Waker::noop(), no_time);
        assert!(matches!(late, Ok(Some(_))), "it waits, and never comes");
        let mut caller = Caller::new(&bulkhead);
        assert!(caller.poll().is_pending());
        let leaving = drop_elsewhere(inside);
        clock.advance(Duration::from_secs(1));
        let mut entered = caller.poll();
        leaving.join().unwrap();
        if entered.is_pending() {
            entered = caller.poll();
        }
        assert!(entered.is_ready(), "nobody is inside");
        drop(entered);
        assert_whole(&bulkhead);
    });
}

#[test]
fn a_lower_limit_is_kept_from_when_it_is_told() {
    check(3, || {
        let bulkhead = bulkhead(2);
        let inside = bulkhead.try_enter_owned().unwrap();
        let stays = bulkhead.try_enter_owned().unwrap();
        let other = thread::spawn({
            let bulkhead = bulkhead.clone();
            move || {
                drop(inside);
                bulkhead.try_enter_owned().ok()
            }
        });
        bulkhead.set_limit(1).unwrap();
        assert!(bulkhead.try_enter().is_err(), "one stays");
        let newcomer = other.join().unwrap();
        assert_eq!(bulkhead.in_flight(), 1 + u32::from(newcomer.is_some()));
        drop((stays, newcomer));
        assert_whole(&bulkhead);
    });
}

#[test]
fn a_higher_limit_lets_in_who_waits() {
    check(5, || {
        let bulkhead = bulkhead(1);
        let inside = bulkhead.try_enter_owned().unwrap();
        let raising = thread::spawn({
            let bulkhead = bulkhead.clone();
            move || bulkhead.set_limit(2).unwrap()
        });
        let mut caller = Caller::new(&bulkhead);
        let entered = caller.poll();
        raising.join().unwrap();
        caller.has_been_in(entered);
        drop(inside);
        assert_whole(&bulkhead);
    });
}

#[test]
fn no_more_wait_than_may() {
    check(5, || {
        let bulkhead = with_waiters(1, 1);
        let inside = bulkhead.try_enter_owned().unwrap();
        let other = thread::spawn({
            let bulkhead = bulkhead.clone();
            move || {
                let mut caller = Caller::new(&bulkhead);
                let waits = caller.try_poll().is_pending();
                waits.then_some(caller)
            }
        });
        let mut caller = Caller::new(&bulkhead);
        let waits = caller.try_poll().is_pending();
        let other = other.join().unwrap();
        assert_ne!(waits, other.is_some(), "one of them");
        drop((inside, caller, other));
        assert_whole(&bulkhead);
    });
}
