//! What keeps a program standing when what it calls does not: circuit breaker, retry, token bucket,
//! bulkhead, deadlines and scopes. By itself, or as one [`Policy`].
//!
//! Every pattern is a state machine that is told what time it is and how a call ended. So each works
//! without a runtime, and each test decides what time it is. Waiting, time limits and scopes are
//! behind the feature `tokio`.

mod backoff;
mod breaker;
mod bucket;
mod budget;
mod bulkhead;
mod clock;
mod error;
mod fallback;
mod invalid;
mod jitter;
mod nested;
mod outcome;
mod retry;
mod stripe;
mod sync;

#[cfg(feature = "tokio")]
mod caught;
#[cfg(feature = "tokio")]
mod cleanup;
#[cfg(feature = "tokio")]
mod deadline;
#[cfg(feature = "tokio")]
mod join;
#[cfg(feature = "tokio")]
mod limited;
#[cfg(feature = "serde")]
mod millis;
#[cfg(feature = "tokio")]
mod scope;
#[cfg(feature = "tokio")]
mod shield;
#[cfg(feature = "tokio")]
mod timeout;
#[cfg(feature = "tokio")]
mod tracker;

pub use backoff::{Backoff, BackoffConfig, BackoffJitter, BackoffStrategy, Delays};
pub use breaker::{
    Breaker, BreakerBuilder, BreakerConfig, BreakerControl, BreakerMode, BreakerObserver,
    BreakerPermit, BreakerReason, BreakerSnapshot, BreakerState, BreakerTransition, BreakerWindow,
};
pub use bucket::{Reservation, TokenBucket, TokenBucketConfig, TokenBucketSnapshot};
#[cfg(feature = "tokio")]
pub use bucket::{ReservationWait, Take};
pub use budget::{RetryBudget, RetryBudgetConfig};
#[cfg(feature = "tokio")]
pub use bulkhead::EnterBefore;
pub use bulkhead::{
    Aimd, AimdConfig, Bulkhead, BulkheadConfig, BulkheadGuard, BulkheadPermit, BulkheadSnapshot,
    Enter, Round,
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
pub use outcome::{Classify, ErrIsFailure, Outcome};
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
