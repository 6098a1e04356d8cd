//! What an instance does when a slot that it needs is exchanged.
//!
//! Nobody counts exchanges. Each edge of the graph knows the instance that whoever needs it was built with, or answered
//! to last; what is to be done is the difference between that and what serves. So nothing is lost that happens while
//! an instance is being built, paused or busy answering, and any number of exchanges in a row come to one answer, to
//! the last.
//!
//! For each dependent there is at most one task at work. A task that is about to restart its slot waits for those at
//! work on slots that this one rests on: with `a <- b <- c` and `a <- c`, an exchange of `a` restarts `b` and then `c`,
//! once. It waits outside the slot's turn and along edges that have no ring, so nobody waits for each other.

mod restart;
mod tell;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use oneiric_core::{BoxFuture, Provider, Slot};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use self::restart::{Lately, Places};
use crate::activity::Activity;
use crate::graph::Known;
use crate::inner::Inner;
use crate::lifecycle::Lifecycle;
use crate::running::{Published, Running};
use crate::slot_policy::OnDependencyChange;
use crate::step;

/// Is told when a slot that its instance needs was exchanged.
pub trait FollowDependency: Send + Sync {
    /// Another instance serves the slot. Calls go on meanwhile, and live references are on the new instance already.
    /// May block; is given `Limits::hook`. Told of one after the other; of several exchanges of a slot in a row perhaps
    /// only of the last.
    ///
    /// # Errors
    /// A text for the operator. It is recorded as a warning of this instance; nothing is undone because of it.
    fn dependency_changed(&self, change: DependencyChange) -> BoxFuture<'_, Result<(), String>>;
}

fn _follow_dependency_is_dyn_safe(_: &dyn FollowDependency) {}

/// A slot that was exchanged, for whoever needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DependencyChange {
    /// The slot.
    pub slot: Slot,
    /// Whose instance this one was built with, or told of last; none if nobody served then.
    pub from: Option<Provider>,
    /// Whose instance serves now.
    pub to: Provider,
    /// Its number.
    pub instance: u64,
}

/// The dependents that somebody is at work on.
#[derive(Debug, Default)]
pub(crate) struct Followers {
    at_work: Mutex<BTreeMap<Slot, AtWork>>,
    /// Something in `at_work` changed, or the edges between those in it.
    moved: Notify,
    /// For those who resume a slot from outside the runtime.
    runtime: OnceLock<Handle>,
    lately: Lately,
    places: Places,
}

#[derive(Debug, Clone, Copy)]
struct AtWork {
    /// Something happened since the task looked.
    again: bool,
    /// It is going to have a new instance.
    restarts: bool,
}

impl Followers {
    fn at_work(&self) -> MutexGuard<'_, BTreeMap<Slot, AtWork>> {
        // Each change is complete in itself.
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn restarting(&self) -> BTreeSet<Slot> {
        let at_work = self.at_work();
        let restarting = at_work.iter().filter(|(_, at_work)| at_work.restarts);
        restarting.map(|(slot, _)| slot.clone()).collect()
    }
}

impl Lifecycle {
    /// Returns when every slot has answered to the exchanges of what it needs that there were so far: was told, or has
    /// a new instance, or could not have one. Those that are paused, draining, on trial, or were restarted too often are not
    /// waited for. Cancel-safe.
    pub async fn dependents_settled(&self) {
        let followers = &self.inner().followers;
        loop {
            let mut moved = pin!(followers.moved.notified());
            moved.as_mut().enable();
            if followers.at_work().is_empty() {
                return;
            }
            moved.await;
        }
    }
}

impl Inner {
    /// Another instance serves `slot`. Those who need it answer to that, and so does the instance itself to what was
    /// exchanged while it was being built. Never waits.
    pub(crate) fn dependency_exchanged(self: &Arc<Self>, slot: &Slot) {
        let mut concerned = self.graph.holders(slot);
        concerned.push(slot.clone());
        self.follow_dependencies(concerned);
    }

    /// Has those of `slots` answer that have something to answer to.
    pub(crate) fn follow_dependencies(self: &Arc<Self>, slots: Vec<Slot>) {
        let policy = |slot: &Slot| self.policy_of(slot).on_dependency_change;
        let mut concerned: Vec<(Slot, bool)> = Vec::new();
        for slot in slots {
            let policy = policy(&slot);
            if policy != OnDependencyChange::Nothing {
                let restarts = policy == OnDependencyChange::Restart && self.is_to_restart(&slot);
                concerned.push((slot, restarts));
            }
        }
        let runtime = match Handle::try_current() {
            Ok(runtime) => self.followers.runtime.get_or_init(|| runtime),
            Err(_) => match self.followers.runtime.get() {
                Some(runtime) => runtime,
                // Nothing was ever put in service.
                None => return,
            },
        };
        let mut begin = Vec::new();
        // All at once, so that none of them begins before it can see the others.
        let mut at_work = self.followers.at_work();
        for (slot, restarts) in concerned {
            match at_work.get_mut(&slot) {
                Some(at_work) => {
                    *at_work = AtWork {
                        again: true,
                        restarts,
                    }
                }
                None => {
                    let again = false;
                    at_work.insert(slot.clone(), AtWork { again, restarts });
                    begin.push(slot);
                }
            }
        }
        let anybody = !at_work.is_empty();
        drop(at_work);
        if anybody {
            self.followers.moved.notify_waiters();
        }
        for slot in begin {
            runtime.spawn(follow(Arc::clone(self), slot));
        }
    }

    /// What an instance does not know yet of those it needs, and what it is going to know.
    fn unanswered(&self, running: &Running) -> (Vec<DependencyChange>, Vec<(Slot, Option<Known>)>) {
        let mut knowledge = self
            .graph
            .knowledge(running.candidate.slot(), running.number);
        let mut changes = Vec::new();
        for (need, known) in &mut knowledge {
            let now = self.known(need);
            if let Some(now) = now
                && known.as_ref() != Some(&now)
            {
                let before = known.replace(now.clone());
                changes.push(DependencyChange {
                    slot: need.clone(),
                    from: before.map(|before| before.provider),
                    to: now.provider,
                    instance: now.instance,
                });
            }
        }
        (changes, knowledge)
    }

    /// Whether it would be told of something, or restarted for it, if it served its slot.
    pub(crate) fn has_to_answer(&self, running: &Running) -> bool {
        match self
            .policy_of(running.candidate.slot())
            .on_dependency_change
        {
            OnDependencyChange::Nothing => false,
            OnDependencyChange::Tell if running.follow.is_none() => false,
            OnDependencyChange::Tell | OnDependencyChange::Restart => {
                !self.unanswered(running).0.is_empty()
            }
        }
    }

    /// Whether there is something to restart it for, and it is not to be left alone: it takes work, is on no trial, and
    /// was not restarted too often.
    fn is_to_restart(&self, slot: &Slot) -> bool {
        let Some(cell) = self.existing_cell(slot) else {
            return false;
        };
        let takes_work = cell.activity().activity == Activity::Running;
        if !takes_work || cell.bake().is_some() || self.followers.lately.is_left_alone(&cell) {
            return false;
        }
        let is_behind =
            |published: Arc<Published>| !self.unanswered(&published.running).0.is_empty();
        cell.published().is_some_and(is_behind)
    }
}

/// Answers for one slot until there is nothing to answer to.
async fn follow(inner: Arc<Inner>, slot: Slot) {
    loop {
        if let Err(message) = step::catch_panic(answer(&inner, &slot)).await {
            tracing::error!(%slot, message, "answering to an exchanged dependency panicked");
        }
        let mut at_work = inner.followers.at_work();
        let again = at_work
            .get_mut(&slot)
            .is_some_and(|at_work| std::mem::take(&mut at_work.again));
        if !again {
            at_work.remove(&slot);
        }
        drop(at_work);
        inner.followers.moved.notify_waiters();
        if !again {
            return;
        }
    }
}

async fn answer(inner: &Arc<Inner>, slot: &Slot) {
    match inner.policy_of(slot).on_dependency_change {
        OnDependencyChange::Nothing => {}
        OnDependencyChange::Tell => tell::tell_all(inner, slot).await,
        OnDependencyChange::Restart => {
            if !inner.is_to_restart(slot) {
                return;
            }
            inner.wait_for_those_below(slot).await;
            restart::restart(inner, slot).await;
        }
    }
}

impl Inner {
    /// Returns when no slot that `slot` rests on is going to have a new instance.
    async fn wait_for_those_below(&self, slot: &Slot) {
        loop {
            let mut moved = pin!(self.followers.moved.notified());
            moved.as_mut().enable();
            let restarting = self.followers.restarting();
            if !self.graph.rests_on_any(slot, &restarting) {
                return;
            }
            moved.await;
        }
    }
}
