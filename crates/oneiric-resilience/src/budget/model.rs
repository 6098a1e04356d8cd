//! Every interleaving of two or three callers at one budget; few enough steps to need no bound.

use loom::sync::Arc;

use super::*;
use crate::ManualClock;

fn budget(capacity: u32, ratio: f64, min_per_sec: f64) -> RetryBudget {
    let config = RetryBudgetConfig {
        capacity,
        ratio,
        min_per_sec,
    };
    RetryBudget::with_clock(config, ManualClock::new()).expect("in bounds")
}

#[test]
fn no_token_is_taken_twice_and_none_is_lost() {
    loom::model(|| {
        let budget = Arc::new(budget(2, 1.0, 0.0));
        let callers = [(); 2].map(|()| {
            let budget = Arc::clone(&budget);
            loom::thread::spawn(move || {
                let taken = u32::from(budget.withdraw());
                // What is given back was taken, so there is room for it.
                if taken == 1 {
                    budget.give_back();
                }
                u32::from(budget.withdraw())
            })
        });
        let taken: u32 = callers
            .map(|caller| caller.join().expect("ends"))
            .iter()
            .sum();
        assert_eq!(taken, 2);
        assert_eq!(budget.available(), 0);
    });
}

#[test]
fn deposits_add_up_and_stop_at_the_capacity() {
    loom::model(|| {
        let budget = Arc::new(budget(2, 0.5, 0.0));
        assert!(budget.withdraw() && budget.withdraw());
        let caller = {
            let budget = Arc::clone(&budget);
            loom::thread::spawn(move || {
                budget.deposit();
                budget.deposit();
                budget.deposit();
            })
        };
        budget.deposit();
        let taken = budget.withdraw();
        caller.join().expect("ends");
        assert_eq!(budget.available(), if taken { 1 } else { 2 });
    });
}

#[test]
fn what_is_allowed_without_a_token_is_allowed_once() {
    loom::model(|| {
        let budget = Arc::new(budget(1, 0.0, 1.0));
        let callers = [(); 2].map(|()| {
            let budget = Arc::clone(&budget);
            loom::thread::spawn(move || budget.withdraw())
        });
        let mine = budget.withdraw();
        let theirs = callers.map(|caller| caller.join().expect("ends"));
        // One token and the one that is allowed anyway, for three.
        let taken = [mine, theirs[0], theirs[1]];
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 2);
        assert!(!budget.withdraw());
    });
}
