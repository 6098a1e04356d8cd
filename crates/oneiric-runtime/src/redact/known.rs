//! The values that are covered, and for whom.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use oneiric_domains::Secret;

use super::forms::Forms;

/// How many values that were exchanged for others are still covered.
pub(super) const FORMER: usize = 64;

/// Whose values are covered. Each state has a number, so that a search can be told from a newer one.
#[derive(Default)]
pub(super) struct Known {
    now: BTreeMap<String, Vec<Arc<Forms>>>,
    /// The last values that were exchanged for others: what was built with them may still speak of them.
    former: VecDeque<Arc<Forms>>,
    number: u64,
}

impl Known {
    /// Puts `values` in the place of those that `owner` had; tells the number of the state in which they are covered.
    pub(super) fn put(&mut self, owner: String, values: Vec<Secret>) -> u64 {
        let before = self.now.remove(&owner).unwrap_or_default();
        let mut had: BTreeMap<&str, &Arc<Forms>> = BTreeMap::new();
        for forms in before.iter().chain(&self.former) {
            had.entry(forms.secret.expose()).or_insert(forms);
        }
        let mut seen = BTreeSet::new();
        let mut after: Vec<Arc<Forms>> = Vec::new();
        for value in &values {
            if seen.insert(value.expose()) {
                // What was searched for before has its forms already.
                let known = had.get(value.expose()).map(|forms| Arc::clone(forms));
                after.push(known.unwrap_or_else(|| Arc::new(Forms::of(value.clone()))));
            }
        }
        let stays = |forms: &Arc<Forms>| seen.contains(forms.secret.expose());
        let left: Vec<_> = before.iter().filter(|forms| !stays(forms)).collect();
        if left.is_empty() && after.len() == before.len() {
            if !before.is_empty() {
                self.now.insert(owner, before);
            }
            return self.number;
        }
        let gone: BTreeSet<&str> = left.iter().map(|forms| forms.secret.expose()).collect();
        self.former
            .retain(|old| !stays(old) && !gone.contains(old.secret.expose()));
        self.former.extend(left.into_iter().cloned());
        let too_many = self.former.len().saturating_sub(FORMER);
        self.former.drain(..too_many);
        if !after.is_empty() {
            self.now.insert(owner, after);
        }
        self.number += 1;
        self.number
    }

    /// Everything that is to be searched for, and the number of this state.
    pub(super) fn all(&self) -> (u64, Vec<Arc<Forms>>) {
        let all = self.now.values().flatten().chain(&self.former);
        (self.number, all.cloned().collect())
    }

    /// How many have values that are covered.
    pub(super) fn owners(&self) -> usize {
        self.now.len()
    }
}
