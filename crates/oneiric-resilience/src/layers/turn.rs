//! The turn of one service's next call: not asked for, waited for, had, or refused. Bucket and
//! bulkhead differ in what is had, and in nothing else.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep_until};

use crate::{BulkheadPermit, Clock, Deadline, Enter, Rejected, Rejection};

/// `W` waits for an `H`.
#[derive(Debug, Default)]
pub(super) enum Turn<W, H> {
    #[default]
    None,
    Waiting(W),
    Had(H),
    /// The wait ended without one.
    Refused(Rejected),
}

impl<W, H> Turn<W, H>
where
    W: Future<Output = Result<H, Rejected>> + Unpin,
{
    /// Waits until it is decided. Once decided it stays so until the call. `try_now` is told that a
    /// refusal does not count: that of `wait` does.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        try_now: impl FnOnce(bool) -> Result<H, Rejected>,
        wait: impl FnOnce() -> W,
    ) -> Poll<Result<(), Rejected>> {
        if let Self::None = self {
            *self = match try_now(false) {
                Ok(had) => Self::Had(had),
                Err(_) => Self::Waiting(wait()),
            };
        }
        if let Self::Waiting(waiting) = self {
            *self = match ready!(Pin::new(waiting).poll(cx)) {
                Ok(had) => Self::Had(had),
                Err(rejected) => Self::Refused(rejected),
            };
        }
        Poll::Ready(match self {
            Self::Refused(rejected) => Err(*rejected),
            Self::None | Self::Waiting(_) | Self::Had(_) => Ok(()),
        })
    }

    /// What was had, or what can be had without waiting. `try_now` is told whether a refusal counts.
    pub(super) fn take(
        &mut self,
        try_now: impl FnOnce(bool) -> Result<H, Rejected>,
    ) -> Result<H, Rejected> {
        match mem::take(self) {
            Self::Had(had) => Ok(had),
            Self::None => try_now(true),
            Self::Waiting(waiting) => {
                // Its place first: nobody may pass those who wait, not even who is one of them.
                drop(waiting);
                try_now(true)
            }
            // Once more: the call may come much later. It was counted when the wait ended.
            Self::Refused(rejected) => try_now(false).map_err(|_| rejected),
        }
    }
}

/// Waits for a permit of a bulkhead, for so long at most.
pub(super) struct WaitForPermit<C: Clock> {
    enter: Enter<C>,
    until: Option<Deadline>,
    /// Made when it first has to wait, if there is a limit.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<C: Clock> WaitForPermit<C> {
    /// From now on. The longest limit that there is is none.
    pub(super) fn new(enter: Enter<C>, limit: Duration) -> Self {
        let until = (limit != Duration::MAX).then(|| Deadline::within(limit));
        Self {
            enter,
            until,
            timer: None,
        }
    }
}

impl<C: Clock> Future for WaitForPermit<C> {
    type Output = Result<BulkheadPermit<C>, Rejected>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        {
            // A bulkhead looks at it: then the place is lost. One that sheds lets nobody begin to wait who
            // would have to do so for longer.
            let _entered = this.until.map(|until| until.or_earlier().enter());
            if let Poll::Ready(entered) = Pin::new(&mut this.enter).poll(cx) {
                return Poll::Ready(entered);
            }
        }
        let Some(until) = this.until else {
            return Poll::Pending;
        };
        let timer = this
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(until.instant())));
        ready!(timer.as_mut().poll(cx));
        this.enter.count_refusal();
        Poll::Ready(Err(Rejected::new(Rejection::DeadlineTooNear, None)))
    }
}

impl<C: Clock> fmt::Debug for WaitForPermit<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitForPermit")
            .field("enter", &self.enter)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}
