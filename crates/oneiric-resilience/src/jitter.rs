//! Chance, where it is wanted: callers that failed together must not come back together. It is passed
//! in, so that a test can say what it will be.

use std::fmt;
use std::sync::Arc;

use crate::sync::{Mutex, lock};

/// Draws numbers from `[0, 1)`.
pub trait Jitter {
    /// The next number, at least 0 and less than 1. What is outside counts as the nearest that is not.
    fn next_f64(&mut self) -> f64;
}

fn _dyn_ok(_: &dyn Jitter) {}

impl<J: Jitter + ?Sized> Jitter for &mut J {
    fn next_f64(&mut self) -> f64 {
        (**self).next_f64()
    }
}

/// Chance as it comes: one generator a thread, seeded by the system. Not for secrets.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThreadJitter;

impl Jitter for ThreadJitter {
    fn next_f64(&mut self) -> f64 {
        fastrand::f64()
    }
}

/// The same numbers for the same seed.
#[derive(Debug, Clone)]
pub struct SeededJitter {
    rng: fastrand::Rng,
}

impl SeededJitter {
    /// A generator that starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
        }
    }
}

impl Jitter for SeededJitter {
    fn next_f64(&mut self) -> f64 {
        self.rng.f64()
    }
}

/// What all clones of one part draw from: the thread's own chance, which costs nothing to share, or what was
/// handed in, behind a lock that only drawing touches.
#[derive(Clone, Default)]
pub(crate) struct Chance(Option<Arc<Mutex<Box<dyn Jitter + Send>>>>);

impl Chance {
    pub(crate) fn new(jitter: impl Jitter + Send + 'static) -> Self {
        Self(Some(Arc::new(Mutex::new(Box::new(jitter)))))
    }
}

impl Jitter for &Chance {
    fn next_f64(&mut self) -> f64 {
        match &self.0 {
            None => ThreadJitter.next_f64(),
            Some(jitter) => lock(jitter).next_f64(),
        }
    }
}

impl Jitter for Chance {
    fn next_f64(&mut self) -> f64 {
        (&*self).next_f64()
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            None => "ThreadJitter",
            Some(_) => "handed in",
        })
    }
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_numbers_and_all_are_below_one() {
        let draw = |seed| {
            let mut jitter = SeededJitter::new(seed);
            std::array::from_fn::<f64, 100, _>(|_| jitter.next_f64())
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().all(|number| (0.0..1.0).contains(number)));
        assert!((0.0..1.0).contains(&ThreadJitter.next_f64()));
    }
}
