//! What was paused and drained, kept across restarts and lifted when its time is up.
//!
//! A change is kept first and put in force then, one after the other for the whole runtime: what was acknowledged is
//! there after a crash, a store that refuses leaves everything as it was, and no two changes overtake each other
//! between the store and the lifecycle.

mod timer;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use oneiric_core::Coded;
use oneiric_domains::{ActivityRecord, ActivityStore};
use oneiric_lifecycle::{Activity, ActivityRule, ActivityScope};
use tokio::sync::{Notify, OwnedMutexGuard};

use crate::{error::RuntimeError, offload::blocking, runtime::Runtime};

/// One change after the other, and the timer that is told of each.
#[derive(Default)]
pub(crate) struct Activities {
    /// Held while a change is kept and put in force.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Tells the timer that there is something new.
    changed: Notify,
    /// Scopes whose rules ended while nothing ran, and which the store still has to forget.
    ended: Mutex<BTreeSet<ActivityScope>>,
}

/// What was kept, read.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    rules: Vec<ActivityRule>,
    ended: BTreeSet<ActivityScope>,
}

impl Activities {
    /// Keeps everybody from changing anything as long as what it gives is held.
    pub(crate) async fn hold_still(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Waits until the change under way is kept and in force, so that the store can be closed. Cancel-safe.
    pub(crate) async fn settled(&self) {
        drop(self.turn.lock().await);
    }

    fn ended(&self) -> MutexGuard<'_, BTreeSet<ActivityScope>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Reads records, and tells what holds from what has ended by `now`.
    pub(crate) fn read(
        records: Vec<ActivityRecord>,
        now: SystemTime,
    ) -> Result<Self, RuntimeError> {
        let mut kept = Self::default();
        for record in records {
            let scope = format!("{:?}", record.scope);
            let rule = ActivityRule::try_from(record)
                .map_err(|source| RuntimeError::ActivityUnreadable { scope, source })?;
            match rule.until {
                Some(until) if until <= now => drop(kept.ended.insert(rule.scope)),
                _ => kept.rules.push(rule),
            }
        }
        Ok(kept)
    }
}

impl Runtime {
    /// Writes to `store` what was paused and drained in memory, before there was a store. Whoever calls this and
    /// [`Runtime::restore_activity`] holds everybody still.
    pub(crate) async fn adopt_activity(
        &self,
        store: &Arc<dyn ActivityStore>,
    ) -> Result<(), RuntimeError> {
        for rule in self.lifecycle().activity_rules() {
            keep(store, &rule).await?;
        }
        Ok(())
    }

    /// Puts in force what was kept, except what has ended meanwhile and what was said anew before there was a store.
    /// What has ended is forgotten now or, if the store refuses, later.
    pub(crate) async fn restore_activity(&self, kept: Kept) {
        let Kept {
            mut rules,
            mut ended,
        } = kept;
        let anew = |scope: &ActivityScope| self.lifecycle().activity_rule(scope).is_some();
        rules.retain(|rule| !anew(&rule.scope));
        ended.retain(|scope| !anew(scope));
        for rule in &rules {
            tracing::info!(
                scope = %rule.scope,
                activity = rule.activity.name(),
                who = rule.who.as_deref().unwrap_or(""),
                "still not running"
            );
        }
        self.lifecycle().restore_activity(rules);
        for scope in &ended {
            tracing::info!(%scope, "its time was up while nothing ran");
        }
        *self.inner.activity.ended() = ended;
        if let Err(error) = self.forget_ended().await {
            tracing::warn!(
                code = error.code(),
                reason = error.to_string(),
                "what ended while nothing ran is still kept; that is tried again"
            );
        }
    }

    /// Has the store forget the rules that ended while nothing ran. Whoever calls it holds everybody still.
    async fn forget_ended(&self) -> Result<(), RuntimeError> {
        let store = self.stores().activity;
        loop {
            let Some(scope) = self.inner.activity.ended().first().cloned() else {
                return Ok(());
            };
            let lifted = ActivityRule::resume(&scope)
                .who(timer::WHO)
                .since(self.inner.clock.now());
            keep(&store, &lifted).await?;
            self.inner.activity.ended().remove(&scope);
        }
    }

    /// Keeps a rule and puts it in force; gives the one it replaces. With `expected`, only if that is still the one
    /// that holds. Goes on when its caller leaves.
    pub(crate) async fn change_activity(
        &self,
        rule: ActivityRule,
        expected: Option<ActivityRule>,
    ) -> Result<Option<ActivityRule>, RuntimeError> {
        let mine = self.inner.activity.hold_still().await;
        let runtime = self.clone();
        let change = tokio::spawn(async move {
            let _mine = mine;
            let before = runtime.lifecycle().activity_rule(&rule.scope);
            let nothing = before.is_none() && rule.activity == Activity::Running;
            if nothing || expected.is_some_and(|expected| before.as_ref() != Some(&expected)) {
                return Ok(before);
            }
            keep(&runtime.stores().activity, &rule).await?;
            // What was to be forgotten was written over.
            runtime.inner.activity.ended().remove(&rule.scope);
            tracing::info!(
                scope = %rule.scope,
                activity = rule.activity.name(),
                who = rule.who.as_deref().unwrap_or(""),
                note = rule.note.as_deref().unwrap_or(""),
                "activity"
            );
            // It was looked for by whoever asked; what is gone since must not keep a change from being undone.
            runtime.lifecycle().restore_activity([rule]);
            runtime.inner.activity.changed.notify_one();
            Ok(before)
        });
        change.await.unwrap_or_else(|error| {
            Err(RuntimeError::Internal {
                message: error.to_string(),
            })
        })
    }
}

async fn keep(store: &Arc<dyn ActivityStore>, rule: &ActivityRule) -> Result<(), RuntimeError> {
    let (store, record) = (Arc::clone(store), ActivityRecord::from(rule));
    let kept = blocking(move || store.set(&record)).await;
    kept.map_err(RuntimeError::State)
}
