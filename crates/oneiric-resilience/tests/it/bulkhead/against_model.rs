//! A bulkhead does what a slow and obvious one does, whatever comes in whatever order.

use std::collections::VecDeque;
use std::task::Poll;

use oneiric_resilience::{BulkheadPermit, Rejection};
use proptest::prelude::*;

use super::{Caller, assert_whole, bulkhead};

const WAITERS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    Try,
    Enter,
    Poll(usize),
    GiveUp(usize),
    Leave { who: usize, elsewhere: bool },
    SetLimit(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Try),
        4 => Just(Step::Enter),
        3 => any::<usize>().prop_map(Step::Poll),
        2 => any::<usize>().prop_map(Step::GiveUp),
        4 => (any::<usize>(), prop::bool::weighted(0.2))
            .prop_map(|(who, elsewhere)| Step::Leave { who, elsewhere }),
        1 => (1_u32..7).prop_map(Step::SetLimit),
    ]
}

/// The obvious one: a number, a limit, a line of names.
#[derive(Debug)]
struct Model {
    limit: u32,
    out: u32,
    line: VecDeque<u32>,
    handed: Vec<u32>,
}

impl Model {
    fn enter(&mut self) -> bool {
        let free = self.line.is_empty() && self.out < self.limit;
        self.out += u32::from(free);
        free
    }

    fn leave(&mut self) {
        self.out -= 1;
        self.serve();
    }

    fn serve(&mut self) {
        while self.out < self.limit
            && let Some(first) = self.line.pop_front()
        {
            self.out += 1;
            self.handed.push(first);
        }
    }
}

fn pick<T>(from: &[T], who: usize) -> Option<usize> {
    who.checked_rem(from.len())
}

proptest! {
    #[test]
    fn it_does_what_the_obvious_one_does(
        limit in 1_u32..6,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let real = bulkhead(limit, u32::try_from(WAITERS).unwrap());
        let mut model = Model { limit, out: 0, line: VecDeque::new(), handed: Vec::new() };
        let mut permits: Vec<BulkheadPermit> = Vec::new();
        let mut callers = Vec::new();
        for (name, step) in (0_u32..).zip(steps) {
            match step {
                Step::Try => {
                    let entered = real.try_enter_owned();
                    prop_assert_eq!(entered.is_ok(), model.enter());
                    permits.extend(entered.ok());
                }
                Step::Enter => {
                    let mut caller = Caller::new(&real);
                    match caller.poll() {
                        Poll::Ready(Ok(permit)) => {
                            prop_assert!(model.enter());
                            permits.push(permit);
                        }
                        Poll::Ready(Err(rejection)) => {
                            prop_assert_eq!(rejection, Rejection::QueueFull);
                            prop_assert!(!model.enter());
                            prop_assert_eq!(model.line.len(), WAITERS);
                        }
                        Poll::Pending => {
                            prop_assert!(!model.enter());
                            prop_assert!(model.line.len() < WAITERS);
                            model.line.push_back(name);
                            callers.push((name, caller));
                        }
                    }
                }
                Step::Poll(who) => {
                    let Some(at) = pick(&callers, who) else { continue };
                    let name = callers[at].0;
                    let handed = model.handed.iter().position(|one| *one == name);
                    match callers[at].1.poll() {
                        Poll::Ready(Ok(permit)) => {
                            model.handed.remove(handed.expect("it was handed one"));
                            permits.push(permit);
                            callers.remove(at);
                        }
                        Poll::Ready(Err(rejection)) => prop_assert!(false, "{rejection:?}"),
                        Poll::Pending => prop_assert!(handed.is_none()),
                    }
                }
                Step::GiveUp(who) => {
                    let Some(at) = pick(&callers, who) else { continue };
                    let (name, caller) = callers.remove(at);
                    drop(caller);
                    model.line.retain(|one| *one != name);
                    if let Some(at) = model.handed.iter().position(|one| *one == name) {
                        model.handed.remove(at);
                        model.leave();
                    }
                }
                Step::Leave { who, elsewhere } => {
                    let Some(at) = pick(&permits, who) else { continue };
                    let permit = permits.remove(at);
                    if elsewhere {
                        std::thread::spawn(move || drop(permit)).join().unwrap();
                    } else {
                        drop(permit);
                    }
                    model.leave();
                }
                Step::SetLimit(limit) => {
                    real.set_limit(limit).unwrap();
                    model.limit = limit;
                    model.serve();
                }
            }
            prop_assert_eq!(real.limit(), model.limit);
            prop_assert_eq!(real.in_flight(), model.out);
            prop_assert_eq!(usize::try_from(real.waiting()).unwrap(), model.line.len());
            for (name, caller) in &callers {
                let rang = caller.bell.0.load(std::sync::atomic::Ordering::Acquire);
                prop_assert_eq!(rang, model.handed.contains(name), "the bell of {}", name);
            }
        }
        drop((permits, callers));
        assert_whole(&real);
    }
}
