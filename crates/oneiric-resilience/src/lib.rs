//! What keeps a program standing when what it calls does not: circuit breaker, retry with a budget, token
//! bucket, bulkhead, time limits and deadlines, shielded work and scopes, fallback. Each by itself, or
//! several around one call, as one [`Policy`].
//!
//! ```
//! use oneiric_resilience::{Breaker, BreakerConfig, Error, InnerErrIsFailure, Retry, RetryConfig};
//!
//! fn ask_stock() -> Result<u32, std::io::Error> {
//!     Ok(12)
//! }
//!
//! // Made once for each thing that is called; clones are the same breaker and share the budget.
//! let breaker = Breaker::new(BreakerConfig::default())?;
//! let retry = Retry::new(RetryConfig::default())?.classify(InnerErrIsFailure);
//!
//! // The breaker inside the retry: each attempt is counted, and an open breaker ends them. A `Policy` does the
//! // same, and also knows whether an attempt was made before one was refused.
//! let answer = retry.run(|| breaker.call(ask_stock)).map_err(Error::flatten);
//! assert_eq!(answer.ok(), Some(12));
//! # Ok::<(), oneiric_resilience::InvalidConfig>(())
//! ```
//!
//! Every pattern is a state machine that is told what time it is ([`Clock`]) and how a call ended
//! ([`Outcome`]). So each works without a runtime and in any thread, and each test decides what time it is
//! ([`ManualClock`]). A call that is not made is told by [`Rejected`], with a code and the wait after
//! which it can be.
//!
//! | for | |
//! |---|---|
//! | calls that fail for a while | [`Breaker`] |
//! | calls that fail now and then | [`Retry`], [`Backoff`], [`RetryBudget`] |
//! | so many a second, for all or for each key | [`TokenBucket`], [`KeyedBuckets`] |
//! | so many at once | [`Bulkhead`], by itself or adaptive |
//! | so long and no longer | `timeout`, `Deadline` |
//! | work whose caller goes away | `shield`, `timeout_with_cleanup` |
//! | several things of which none outlives the call | `scope`, `join_all_or_cancel` |
//! | something else instead of an error | [`Fallback`] |
//! | all of this around one call, in an order that is stated and checked | [`Policy`] |
//!
//! Where a part can be used with and without a runtime, the plain name is synchronous and the one with `_async`
//! is awaited ([`Breaker::call`] and [`Breaker::call_async`], [`Retry::run`] and `run_async`); what stands on one side
//! only has no such ending (`Policy::call` is awaited, [`BlockingPolicy::call`] is not). An observer is told after the fact and can disturb nothing;
//! a hook is part of the call, and its panic is the call's.
//!
//! It does not hedge, cache, balance load or inject faults, and it knows no protocol: what an answer means is
//! said by a [`Classify`]. Its limits hold in one process, not across machines.
//!
//! # Features
//!
//! None is on by default: what is left sets no timer. It is called from any thread, and breaker, bulkhead and
//! fallback are awaited on any executor ([`Retry::run_async_with`] takes a timer of yours).
//!
//! - `tokio`: `Policy::call`, `Retry::run_async`, waiting in a bucket's line, time limits, deadlines, shields, scopes.
//! - `serde`: settings that can be read from a file; durations in whole milliseconds.
//! - `quanta`: reads the machine's clock from the processor's time stamp counter, at less than half the cost.
//! - `metrics`: what happened and how the parts stand, through the facade `metrics`: `ResilienceMetrics`.
//! - `tower`: a layer for each pattern and for a policy, in the module `layers`.
//! - `full`: all of these.
//!
//! # Stability
//!
//! The public items are meant to stay, under semantic versioning; error codes never change. What may grow at any
//! time is `#[non_exhaustive]`. What a program has to handle whole ([`Outcome`], [`RetryStep`], [`BreakerState`],
//! [`BreakerMode`]) is not, and neither are settings, which a program writes out.
//!
//! Which numbers to choose and why is in `docs/resilience`, what is promised exactly in `docs/spec/resilience.md`.

mod around;
mod backoff;
mod breaker;
mod bucket;
mod budget;
mod bulkhead;
mod caught;
mod clock;
mod error;
mod fallback;
mod invalid;
mod jitter;
mod nested;
mod outcome;
mod policy;
mod retry;
mod stripe;
mod sync;
mod wake;

#[cfg(feature = "tokio")]
mod cleanup;
#[cfg(feature = "tokio")]
mod deadline;
#[cfg(feature = "tokio")]
mod join;
#[cfg(feature = "tower")]
pub mod layers;
#[cfg(feature = "tokio")]
mod limited;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "serde")]
mod millis;
#[cfg(feature = "tokio")]
mod scope;
#[cfg(feature = "tokio")]
mod shield;
#[cfg(feature = "tokio")]
mod timeout;
#[cfg(feature = "tokio")]
mod timer;
#[cfg(feature = "tokio")]
mod tracker;

pub use backoff::{Backoff, BackoffConfig, BackoffJitter, BackoffStrategy, Delays};
pub use breaker::{
    Breaker, BreakerBuilder, BreakerConfig, BreakerControl, BreakerMode, BreakerObserver,
    BreakerPermit, BreakerReason, BreakerSnapshot, BreakerState, BreakerTransition, BreakerWindow,
};
pub use bucket::{KeyOverflow, KeyedBuckets, KeyedBucketsConfig};
pub use bucket::{Reservation, TokenBucket, TokenBucketConfig, TokenBucketSnapshot};
#[cfg(feature = "tokio")]
pub use bucket::{ReservationWait, Take};
pub use budget::{RetryBudget, RetryBudgetConfig};
#[cfg(feature = "tokio")]
pub use bulkhead::EnterBefore;
pub use bulkhead::{
    AimdConfig, Bulkhead, BulkheadConfig, BulkheadGuard, BulkheadPermit, BulkheadSnapshot, Enter,
};
#[cfg(feature = "tokio")]
pub use cleanup::{CleanedUp, Cleanup, CleanupError, timeout_with_cleanup};
#[cfg(feature = "tokio")]
pub use clock::TokioClock;
pub use clock::{Clock, ManualClock, Moment, SystemClock};
#[cfg(feature = "tokio")]
pub use deadline::{Deadline, DeadlineExceeded, DeadlineScope};
pub use error::{Error, Rejected, Rejection};
pub use fallback::{
    AnyError, Fallback, FallbackHook, FallbackValue, FallbackWhen, OnlyRejected, Substitute,
};
pub use invalid::{Fault, InvalidConfig};
pub use jitter::{Jitter, SeededJitter, ThreadJitter};
#[cfg(feature = "tokio")]
pub use join::join_all_or_cancel;
#[cfg(feature = "metrics")]
pub use metrics::{MetricsObserver, ResilienceMetrics};
pub use outcome::{Classify, ErrIsFailure, InnerErrIsFailure, Outcome};
#[cfg(feature = "tokio")]
pub use policy::PolicyWithFallback;
pub use policy::{
    BlockingPolicy, Policy, PolicyBuilder, PolicyConfig, PolicyEvent, PolicyObserver,
    PolicySnapshot, Stage,
};
#[cfg(feature = "tokio")]
pub use retry::TokioSleep;
pub use retry::{
    Attempts, GiveUp, NoHook, Retry, RetryConfig, RetryEvent, RetryHook, RetryStep, Sleep,
};
#[cfg(feature = "tokio")]
pub use scope::{Child, Scope, scope, scope_limited};
#[cfg(feature = "tokio")]
pub use shield::{Shielded, Shields, Unfinished, shield};
#[cfg(feature = "tokio")]
pub use timeout::{Elapsed, Timeout, timeout};

/// The start page's own example.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/resilience/README.md")]
mod start_page {}
