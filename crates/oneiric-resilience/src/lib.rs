//! What keeps a program standing when what it calls does not: circuit breaker, retry, token bucket,
//! bulkhead, deadlines and scopes. By itself, or as one [`Policy`].
//!
//! Every pattern is a state machine that is told what time it is and how a call ended. So each works
//! without a runtime, and each test decides what time it is. Waiting, time limits and scopes are
//! behind the feature `tokio`.

mod backoff;
mod bucket;
mod bulkhead;
mod clock;
mod error;
mod invalid;
mod jitter;
mod outcome;
mod stripe;
mod sync;

#[cfg(feature = "tokio")]
mod deadline;
#[cfg(feature = "tokio")]
mod limited;
#[cfg(feature = "serde")]
mod millis;
#[cfg(feature = "tokio")]
mod timeout;

pub use backoff::{Backoff, BackoffConfig, BackoffJitter, BackoffStrategy, Delays};
pub use bucket::{Reservation, TokenBucket, TokenBucketConfig, TokenBucketSnapshot};
#[cfg(feature = "tokio")]
pub use bucket::{ReservationWait, Take};
pub use bulkhead::{
    Aimd, AimdConfig, Bulkhead, BulkheadConfig, BulkheadGuard, BulkheadPermit, BulkheadSnapshot,
    Enter, Round,
};
#[cfg(feature = "tokio")]
pub use clock::TokioClock;
pub use clock::{Clock, ManualClock, Moment, SystemClock};
#[cfg(feature = "tokio")]
pub use deadline::{Deadline, DeadlineExceeded, DeadlineScope};
pub use error::{Error, Rejected, Rejection};
pub use invalid::{Fault, InvalidConfig};
pub use jitter::{Jitter, SeededJitter, ThreadJitter};
pub use outcome::{Classify, ErrIsFailure, Outcome};
#[cfg(feature = "tokio")]
pub use timeout::{Elapsed, Timeout, timeout};
