//! What is around a call, for what is built without a runtime too: there are no deadlines then.

use std::time::Duration;

#[cfg(feature = "tokio")]
use crate::Deadline;

/// What is left of the time of the call around this one, if that is limited.
#[cfg(feature = "tokio")]
#[inline]
pub(crate) fn time_left() -> Option<Duration> {
    Deadline::current().map(Deadline::remaining)
}

#[cfg(not(feature = "tokio"))]
pub(crate) const fn time_left() -> Option<Duration> {
    None
}
