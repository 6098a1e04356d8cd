//! What may go on at one time, in all and for one key (a peer, a slot), so that nobody takes everything.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// So many at one time.
#[derive(Debug)]
pub(super) struct Budget {
    most: usize,
    /// For one key.
    each: usize,
    spent: Mutex<HashMap<String, usize>>,
}

/// A share of a [`Budget`], given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    key: String,
}

impl Budget {
    pub(super) fn new(most: usize, each: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            each,
            spent: Mutex::default(),
        })
    }

    /// Takes a share, if one is left in all and for `key`.
    pub(super) fn share(self: &Arc<Self>, key: &str) -> Option<Share> {
        let mut spent = self.spent();
        let all: usize = spent.values().sum();
        let its = spent.get(key).copied().unwrap_or_default();
        if all >= self.most || its >= self.each {
            return None;
        }
        spent.insert(key.to_owned(), its + 1);
        Some(Share {
            budget: Arc::clone(self),
            key: key.to_owned(),
        })
    }

    /// How many go on.
    pub(super) fn taken(&self) -> usize {
        self.spent().values().sum()
    }

    fn spent(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut spent = self.budget.spent();
        if let Some(count) = spent.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                spent.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_everything_and_what_is_given_back_can_be_taken_again() {
        let budget = Budget::new(3, 2);
        let first = budget.share("a");
        let second = budget.share("a");
        assert!(first.is_some() && second.is_some() && budget.share("a").is_none());
        let other = budget.share("b");
        assert!(other.is_some() && budget.share("c").is_none());
        drop(first);
        assert!(budget.share("c").is_some());
        drop((second, other));
        assert_eq!((budget.taken(), budget.spent().len()), (0, 0));
    }
}
