//! A bulkhead's permit, taken and given back.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use oneiric_resilience::{Bulkhead, BulkheadConfig};
use tokio::sync::Semaphore;

use crate::row::{Contest, Contestant, Goal, MakeWork, Operation, Row, repeated};
use crate::rows::control;

pub(in crate::rows) const NAME: &str = "resilience-bulkhead";

/// Never reached: what is measured is the way in and out.
const LIMIT: u32 = 64;

pub(in crate::rows) fn row() -> Result<Row, Box<dyn Error>> {
    let goal = |threads, at_most| Goal::Ratio {
        threads,
        at_most,
        stretch: None,
    };
    Ok(Row {
        name: NAME,
        title: "Bulkhead: take a permit and give it back",
        note: "All threads share the bulkhead; permits are never short. A permit that wakes who waits costs two \
               atomic operations at least, as the control does. The owned forms are compared to each other \
               and have no goal.",
        contest: Contest::Operations(vec![
            control::upgrades()?,
            Contestant::peer("tokio `Semaphore::try_acquire`, drop", semaphore()?),
            Contestant::ours("`Bulkhead::try_enter`, drop", bulkhead()?)
                .goal(goal(1, 0.5))
                .goal(goal(2, 0.35)),
            Contestant::peer(
                "tokio `Semaphore::try_acquire_owned`, drop",
                semaphore_owned()?,
            ),
            Contestant::ours("`Bulkhead::try_enter_owned`, drop", bulkhead_owned()?),
        ]),
    })
}

fn semaphore() -> Result<Operation, Box<dyn Error>> {
    Operation::new(|| -> Result<MakeWork, _> {
        let semaphore = Arc::new(Semaphore::new(LIMIT as usize));
        Ok(repeated(move || {
            let semaphore = Arc::clone(&semaphore);
            move || {
                drop(black_box(semaphore.try_acquire()));
            }
        }))
    })
}

fn semaphore_owned() -> Result<Operation, Box<dyn Error>> {
    Operation::new(|| -> Result<MakeWork, _> {
        let semaphore = Arc::new(Semaphore::new(LIMIT as usize));
        Ok(repeated(move || {
            let semaphore = Arc::clone(&semaphore);
            move || {
                drop(black_box(Arc::clone(&semaphore).try_acquire_owned()));
            }
        }))
    })
}

fn bulkhead() -> Result<Operation, Box<dyn Error>> {
    Operation::new(|| -> Result<MakeWork, _> {
        let bulkhead = new()?;
        Ok(repeated(move || {
            let bulkhead = bulkhead.clone();
            move || {
                drop(black_box(bulkhead.try_enter()));
            }
        }))
    })
}

fn bulkhead_owned() -> Result<Operation, Box<dyn Error>> {
    Operation::new(|| -> Result<MakeWork, _> {
        let bulkhead = new()?;
        Ok(repeated(move || {
            let bulkhead = bulkhead.clone();
            move || {
                drop(black_box(bulkhead.try_enter_owned()));
            }
        }))
    })
}

fn new() -> Result<Bulkhead, Box<dyn Error>> {
    Ok(Bulkhead::new(BulkheadConfig {
        limit: LIMIT,
        max_waiters: 0,
        ..BulkheadConfig::default()
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_is_taken_and_given_back() {
        let bulkhead = new().unwrap();
        let guard = bulkhead.try_enter().unwrap();
        assert_eq!(bulkhead.in_flight(), 1);
        drop(guard);
        assert_eq!(bulkhead.in_flight(), 0);
    }
}
