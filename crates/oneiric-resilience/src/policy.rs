//! All the patterns around one call, in an order that is stated: one value to make from settings, to
//! clone, and to call through.
//!
//! Which stage stands inside of which is most of what a combination means, and the usual way to get it
//! wrong: a retry inside of a breaker is seen by it as one call, a breaker inside of a retry sees each
//! attempt; a time limit outside of a queue counts the waiting, one inside does not. So the order is one
//! of the settings: it has a default that suits most calls ([`Stage::ALL`]), can be asked for
//! ([`Policy::order`]), and can be changed where there is a reason to.
//!
//! Who counts what follows one rule: only what the called one did counts for or against it. A call
//! that was not let through did not reach it; one that its caller gave up says nothing.

mod blocking;
mod build;
mod config;
#[cfg(feature = "tokio")]
pub(crate) mod cut;
mod event;
#[cfg(feature = "tokio")]
mod fallback;
pub(crate) mod gates;
mod order;
pub(crate) mod parts;
#[cfg(feature = "tokio")]
mod run;
mod snapshot;

use std::fmt;
use std::sync::Arc;

pub use self::blocking::BlockingPolicy;
pub use self::build::PolicyBuilder;
pub use self::config::PolicyConfig;
pub use self::event::{PolicyEvent, PolicyObserver};
#[cfg(feature = "tokio")]
pub use self::fallback::PolicyWithFallback;
pub use self::order::Stage;
use self::parts::Parts;
pub use self::snapshot::PolicySnapshot;
use crate::{
    Breaker, Bulkhead, Clock, ErrIsFailure, InvalidConfig, Retry, SystemClock, TokenBucket,
};

/// Deadline, retry, breaker, token bucket, bulkhead and time limit around a call; those that are set.
///
/// Clones are the same policy: they share the breaker, the bucket, the bulkhead and the budget. One
/// policy is for all calls to one thing.
///
/// Source: docs/spec/resilience.md, "Policy".
///
/// # Order
/// Outermost first: fallback, deadline, retry, breaker, bucket, bulkhead, the time limit of an attempt, the
/// call. With [`PolicyConfig::order`] breaker, bucket and bulkhead may stand outside of the retry, or in
/// another order among themselves:
/// - breaker outside of the retry: counts calls that failed with all their attempts; while it is open
///   none is made either way, but a call under way goes on retrying;
/// - bucket outside: a token for each call instead of each attempt; the called one may get more than the
///   rate;
/// - bulkhead outside: a turn is kept while waiting between attempts; fewer calls wait at once;
/// - bulkhead outside of the bucket: no token is spent on a call that then finds the bulkhead full.
///
/// # Who counts what
/// | an attempt ends | breaker, adaptive limit | retry |
/// |---|---|---|
/// | with an answer or an error | as the classifier says | as the classifier says |
/// | at the limit of an attempt | failure | failure |
/// | at the policy's deadline or the retry's `total_limit`, attempts have a limit of their own | not counted | not again |
/// | at those, attempts have none | failure: else nothing would tell that the called one hangs | not again |
/// | at a deadline around the caller | not counted | not again |
/// | turned away by a stage further in | not counted | not again, unless [`PolicyConfig::retry_rejected`] |
/// | dropped by the caller, be it because something else in its task panics | not counted | |
/// | in a panic of its own | failure | |
///
/// Gates outside of the retry are told how its last attempt ended. A slow call, to a breaker inside of the
/// retry, is one that was slow once it had its turn.
///
/// ```
/// use oneiric_resilience::{BreakerConfig, Policy, PolicyConfig, RetryConfig, Stage};
/// use std::time::Duration;
///
/// let policy = Policy::new(PolicyConfig {
///     deadline: Some(Duration::from_secs(2)),
///     retry: Some(RetryConfig::default()),
///     breaker: Some(BreakerConfig::default()),
///     attempt_limit: Some(Duration::from_millis(500)),
///     ..PolicyConfig::default()
/// })?;
/// assert_eq!(policy.order(), [Stage::Deadline, Stage::Retry, Stage::Breaker, Stage::Attempt]);
/// # Ok::<(), oneiric_resilience::InvalidConfig>(())
/// ```
pub struct Policy<K = ErrIsFailure, C: Clock = SystemClock> {
    parts: Arc<Parts<C>>,
    classify: K,
}

impl Policy {
    /// A policy from settings.
    ///
    /// # Errors
    /// `resilience.invalid_config` with everything in the settings that cannot work.
    pub fn new(config: PolicyConfig) -> Result<Self, InvalidConfig> {
        Self::builder(config).build()
    }

    /// A policy from settings, and from parts that others use too.
    pub fn builder(config: PolicyConfig) -> PolicyBuilder {
        PolicyBuilder::new(config, SystemClock::new())
    }
}

impl<C: Clock + Clone> Policy<ErrIsFailure, C> {
    /// A policy from settings, all parts of which go by this clock. Waits and time limits go by tokio's.
    ///
    /// # Errors
    /// `resilience.invalid_config` with everything in the settings that cannot work.
    pub fn with_clock(config: PolicyConfig, clock: C) -> Result<Self, InvalidConfig> {
        Self::builder_with_clock(config, clock).build()
    }

    /// A policy from settings and from parts that others use too, all of which go by this clock.
    pub fn builder_with_clock(config: PolicyConfig, clock: C) -> PolicyBuilder<C> {
        PolicyBuilder::new(config, clock)
    }
}

impl<C: Clock> Policy<ErrIsFailure, C> {
    fn new_from(parts: Parts<C>) -> Self {
        Self {
            parts: Arc::new(parts),
            classify: ErrIsFailure,
        }
    }
}

impl<K, C: Clock> Policy<K, C> {
    /// Lets `classify` decide what the result of an attempt says. Shares all parts with this one. A closure needs
    /// the type of its argument, as [`Classify`](crate::Classify) shows.
    #[must_use]
    pub fn classify<K2>(self, classify: K2) -> Policy<K2, C> {
        Policy {
            parts: self.parts,
            classify,
        }
    }

    /// Its name; empty if it has none.
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// Its stages, the outermost first.
    pub fn order(&self) -> &[Stage] {
        &self.parts.order
    }

    /// Its retry, if it has one: for its settings and its budget.
    pub fn retry(&self) -> Option<&Retry> {
        self.parts.retry.as_ref()
    }

    /// Its breaker, if it has one.
    pub fn breaker(&self) -> Option<&Breaker<C>> {
        self.parts.breaker()
    }

    /// Its bucket, if it has one.
    pub fn bucket(&self) -> Option<&TokenBucket<C>> {
        self.parts.bucket()
    }

    /// Its bulkhead, if it has one.
    pub fn bulkhead(&self) -> Option<&Bulkhead<C>> {
        self.parts.bulkhead()
    }

    /// What its clones share, and what decides what a result says.
    #[cfg(feature = "tower")]
    pub(crate) const fn stages(&self) -> (&Arc<Parts<C>>, &K) {
        (&self.parts, &self.classify)
    }

    /// How its parts stand.
    pub fn snapshot(&self) -> PolicySnapshot {
        PolicySnapshot::of(&self.parts)
    }

    /// This policy with an answer for its errors, outside of all its stages. To a result that came from
    /// elsewhere, a blocking call for one, a [`Fallback`](crate::Fallback) can be applied by itself.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub const fn with_fallback<F>(self, fallback: F) -> PolicyWithFallback<F, K, C> {
        PolicyWithFallback::new(self, fallback)
    }
}

impl<K: Clone, C: Clock> Clone for Policy<K, C> {
    fn clone(&self) -> Self {
        Self {
            parts: Arc::clone(&self.parts),
            classify: self.classify.clone(),
        }
    }
}

impl<K, C: Clock> fmt::Debug for Policy<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.fmt(f)
    }
}
