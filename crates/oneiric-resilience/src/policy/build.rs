//! Putting a policy together: from settings, from parts that others use too, or from both.

use std::fmt;
use std::sync::Arc;

use super::Policy;
use super::config::PolicyConfig;
use super::event::{Observers, PolicyObserver};
use super::gates::{Gate, Gates};
use super::order::Stage;
use super::parts::Parts;
use crate::invalid::Checks;
use crate::jitter::Chance;
use crate::{
    Breaker, BreakerObserver, Bulkhead, Clock, ErrIsFailure, InvalidConfig, Jitter, Retry,
    RetryBudget, SystemClock, TokenBucket,
};

/// Builds a [`Policy`]: settings, and parts that are shared with others in place of settings of its own.
#[must_use = "it is `build` that makes a policy"]
pub struct PolicyBuilder<C: Clock = SystemClock> {
    config: PolicyConfig,
    clock: C,
    name: Arc<str>,
    breaker: Option<Breaker<C>>,
    bucket: Option<TokenBucket<C>>,
    bulkhead: Option<Bulkhead<C>>,
    budget: Option<RetryBudget>,
    observers: Observers,
    breaker_observers: Vec<Arc<dyn BreakerObserver>>,
    /// Of the retries, and of the breaker.
    chances: (Chance, Chance),
}

impl<C: Clock + Clone> PolicyBuilder<C> {
    pub(super) fn new(config: PolicyConfig, clock: C) -> Self {
        Self {
            config,
            clock,
            name: Arc::from(""),
            breaker: None,
            bucket: None,
            bulkhead: None,
            budget: None,
            observers: Observers::default(),
            breaker_observers: Vec::new(),
            chances: <(Chance, Chance)>::default(),
        }
    }

    /// What it is called. A breaker that is made from its settings is called the same.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// With this breaker, which others may use too. In place of the settings' `breaker`.
    pub fn breaker(mut self, breaker: &Breaker<C>) -> Self {
        self.breaker = Some(breaker.clone());
        self
    }

    /// With this bucket, which others may use too. In place of the settings' `bucket`.
    pub fn bucket(mut self, bucket: &TokenBucket<C>) -> Self {
        self.bucket = Some(bucket.clone());
        self
    }

    /// With this bulkhead, which others may use too. In place of the settings' `bulkhead`.
    pub fn bulkhead(mut self, bulkhead: &Bulkhead<C>) -> Self {
        self.bulkhead = Some(bulkhead.clone());
        self
    }

    /// With this budget for its retries, which others may use too. In place of the settings' `retry.budget`.
    pub fn budget(mut self, budget: &RetryBudget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

    /// Draws the waits of the retries and the open times of its breaker from this chance instead of the
    /// thread's: the retries from this one, the breaker that is made from the settings from a clone of it. So
    /// how often the one draws does not change what the other waits. A breaker that is handed in keeps its
    /// own. Both are drawn from under a lock, so they must not use the policy that they are for.
    pub fn jitter(mut self, jitter: impl Jitter + Clone + Send + 'static) -> Self {
        self.chances = (Chance::new(jitter.clone()), Chance::new(jitter));
        self
    }

    /// One more who is told what the policy does, after those before.
    pub fn observer(mut self, observer: impl PolicyObserver) -> Self {
        self.observers.0.push(Box::new(observer));
        self
    }

    /// One more who is told of the transitions of the breaker that is made from the settings. Where they
    /// leave the breaker out there is nothing to tell. One that is handed in has its own observers, so
    /// with [`PolicyBuilder::breaker`] this is refused.
    pub fn breaker_observer(mut self, observer: impl BreakerObserver) -> Self {
        self.breaker_observers.push(Arc::new(observer));
        self
    }

    /// The policy.
    ///
    /// # Errors
    /// `resilience.invalid_config` with everything that cannot work: each setting that is out of its
    /// bounds, a part that is there twice, a wait or an order without the stage that it is for.
    pub fn build(self) -> Result<Policy<ErrIsFailure, C>, InvalidConfig> {
        let present = self.present();
        self.check(&present)
            .map_err(|invalid| invalid.named(&self.name))?;
        let order = self.config.order.clone().unwrap_or(present);
        let mut breaker = self.made_breaker()?;
        let mut bucket = match (&self.bucket, self.config.bucket) {
            (Some(bucket), _) => Some(bucket.clone()),
            (None, Some(config)) => Some(TokenBucket::with_clock(config, self.clock.clone())?),
            (None, None) => None,
        };
        let mut bulkhead = match (&self.bulkhead, self.config.bulkhead) {
            (Some(bulkhead), _) => Some(bulkhead.clone()),
            (None, Some(config)) => Some(Bulkhead::with_clock(config, self.clock.clone())?),
            (None, None) => None,
        };
        let mut gate = |stage: &Stage| match stage {
            Stage::Breaker => breaker.take().map(Gate::Breaker),
            Stage::Bucket => bucket
                .take()
                .map(|bucket| Gate::Bucket(bucket, self.config.bucket_wait)),
            Stage::Bulkhead => bulkhead
                .take()
                .map(|bulkhead| Gate::Bulkhead(bulkhead, self.config.bulkhead_wait)),
            _ => None,
        };
        // Without a retry each call is one attempt, and on which side a gate stands is all the same.
        let retry_at = order.iter().position(|stage| *stage == Stage::Retry);
        let (before, after) = order.split_at(retry_at.unwrap_or(0));
        let outer = Gates::new(before.iter().filter_map(&mut gate));
        let inner = Gates::new(after.iter().filter_map(&mut gate));
        Ok(Policy::new_from(Parts {
            retry: self.made_retry()?,
            name: self.name,
            order: order.into(),
            deadline: self.config.deadline,
            outer,
            retry_rejected: self.config.retry_rejected,
            time_attempts: inner.time_calls(),
            inner,
            attempt_limit: self.config.attempt_limit,
            observers: self.observers,
            clock: self.clock,
        }))
    }

    /// The stages there are, from the settings or handed in, in the order in which they stand unless told
    /// otherwise.
    fn present(&self) -> Vec<Stage> {
        let config = &self.config;
        let is_there = |stage: &Stage| match stage {
            Stage::Fallback => false,
            Stage::Deadline => config.deadline.is_some(),
            Stage::Retry => config.retry.is_some(),
            Stage::Breaker => config.breaker.is_some() || self.breaker.is_some(),
            Stage::Bucket => config.bucket.is_some() || self.bucket.is_some(),
            Stage::Bulkhead => config.bulkhead.is_some() || self.bulkhead.is_some(),
            Stage::Attempt => config.attempt_limit.is_some(),
        };
        Stage::ALL.into_iter().filter(is_there).collect()
    }

    /// Everything that is wrong, with the settings or between them and what was handed in.
    fn check(&self, present: &[Stage]) -> Result<(), InvalidConfig> {
        let config = &self.config;
        let mut checks = Checks::of("policy");
        config.check(&mut checks, present);
        for (field, handed_in, is_set) in [
            ("breaker", self.breaker.is_some(), config.breaker.is_some()),
            ("bucket", self.bucket.is_some(), config.bucket.is_some()),
            (
                "bulkhead",
                self.bulkhead.is_some(),
                config.bulkhead.is_some(),
            ),
        ] {
            let twice = handed_in && is_set;
            checks.that(!twice, field, "there twice", "set, or handed in, not both");
        }
        let unheard = self.breaker.is_some() && !self.breaker_observers.is_empty();
        let allowed = "none where the breaker is handed in: it has its own";
        checks.that(!unheard, "breaker_observer", "registered", allowed);
        let without_retry = self.budget.is_some() && config.retry.is_none();
        let allowed = "none without `retry`: leave it out, or add `retry`";
        checks.that(!without_retry, "retry.budget", "handed in", allowed);
        checks.done()
    }

    fn made_breaker(&self) -> Result<Option<Breaker<C>>, InvalidConfig> {
        if self.breaker.is_some() {
            return Ok(self.breaker.clone());
        }
        let Some(config) = self.config.breaker else {
            return Ok(None);
        };
        let name = Arc::clone(&self.name);
        let mut builder = Breaker::builder(config)
            .clock(self.clock.clone())
            .name(name)
            .jitter(self.chances.1.clone());
        for observer in &self.breaker_observers {
            let observer = Arc::clone(observer);
            builder = builder.observer(move |transition: &_| observer.on_transition(transition));
        }
        builder.build().map(Some)
    }

    fn made_retry(&self) -> Result<Option<Retry>, InvalidConfig> {
        let Some(config) = self.config.retry else {
            return Ok(None);
        };
        let mut retry = Retry::new(config)?;
        retry.draw_from(self.chances.0.clone());
        let budget = match (&self.budget, config.budget) {
            (Some(budget), _) => Some(budget.clone()),
            (None, Some(config)) => Some(RetryBudget::with_clock(config, self.clock.clone())?),
            (None, None) => None,
        };
        Ok(Some(match budget {
            Some(budget) => retry.with_budget(budget),
            None => retry,
        }))
    }
}

impl<C: Clock> fmt::Debug for PolicyBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyBuilder")
            .field("name", &self.name)
            .field("config", &self.config)
            .field("breaker", &self.breaker)
            .field("bucket", &self.bucket)
            .field("bulkhead", &self.bulkhead)
            .field("budget", &self.budget)
            .field("observers", &self.observers)
            .finish_non_exhaustive()
    }
}
