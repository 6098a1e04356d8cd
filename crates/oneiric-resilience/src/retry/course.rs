//! How far a run is, but for the attempt itself: what was decided, when the attempt that runs began and when
//! it is cut off. Kept apart from the future because nothing of it has to stay where it is.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Retry;
use super::attempts::{Attempts, RetryStep};
use super::hook::RetryHook;
use super::sleep::Sleep;
#[cfg(feature = "tokio")]
use crate::Deadline;
use crate::around::time_left;
use crate::{Clock, Error, Jitter, Moment, Outcome};

/// A clock, or one that is made when it is first read.
pub(super) trait Time {
    fn now(&mut self) -> Moment;

    /// What the called ones shall see as their deadline, if that can be told on their clock.
    #[cfg(feature = "tokio")]
    fn deadline(&self, _: Moment) -> Option<Deadline> {
        None
    }
}

impl<C: Clock> Time for C {
    fn now(&mut self) -> Moment {
        Clock::now(self)
    }
}

/// Tokio's clock, from the first look at it on.
#[cfg(feature = "tokio")]
pub(super) struct LazyClock(pub(super) Option<crate::TokioClock>);

#[cfg(feature = "tokio")]
impl Time for LazyClock {
    fn now(&mut self) -> Moment {
        match &self.0 {
            Some(clock) => clock.now(),
            None => {
                self.0 = Some(crate::TokioClock::new());
                Moment::ORIGIN
            }
        }
    }

    fn deadline(&self, at: Moment) -> Option<Deadline> {
        self.0.as_ref().map(|clock| Deadline::at(clock.instant(at)))
    }
}

pub(super) struct Course<'a, C, H, K, S, J> {
    pub(super) retry: &'a Retry<C, H>,
    time: K,
    pub(super) sleep: S,
    jitter: J,
    over: bool,
    /// Whether the clock is read at all.
    timed: bool,
    /// When the attempt that runs began; stands still if time is not limited.
    began: Moment,
    /// When it is cut off.
    limit: Option<Limit>,
    /// The same, for all that it calls.
    #[cfg(feature = "tokio")]
    deadline: Option<Deadline>,
    /// Nothing as long as a first attempt runs whose time is not limited.
    attempts: Option<Attempts<'a>>,
}

/// The time for all attempts is over.
pub(super) struct OutOfTime;

impl<'a, C, H, K, S, J> Course<'a, C, H, K, S, J> {
    #[inline]
    pub(super) const fn new(retry: &'a Retry<C, H>, time: K, sleep: S, jitter: J) -> Self {
        Self {
            retry,
            time,
            sleep,
            jitter,
            over: false,
            timed: false,
            began: Moment::ORIGIN,
            limit: None,
            #[cfg(feature = "tokio")]
            deadline: None,
            attempts: None,
        }
    }

    /// Whether a first attempt runs whose time is not limited.
    #[inline]
    pub(super) const fn is_at_first(&self) -> bool {
        self.attempts.is_none()
    }

    /// There is a result.
    #[inline]
    pub(super) const fn end(&mut self) {
        self.over = true;
    }
}

#[cfg(feature = "tokio")]
impl<C, H, K, S, J> Course<'_, C, H, K, S, J> {
    /// Lets what is called see when it is cut off, as long as the guard lives.
    #[inline]
    pub(super) fn enter(&self) -> Option<crate::deadline::Entered> {
        self.deadline.map(Deadline::enter)
    }
}

#[cfg(not(feature = "tokio"))]
impl<C, H, K, S, J> Course<'_, C, H, K, S, J> {
    /// Without a runtime there are no deadlines to be seen.
    #[inline]
    pub(super) const fn enter(&self) -> Option<std::convert::Infallible> {
        None
    }
}

impl<C, H, K: Time, S: Sleep, J: Jitter> Course<'_, C, H, K, S, J> {
    /// An attempt begins.
    #[inline]
    pub(super) fn begin(&mut self) -> Result<(), OutOfTime> {
        assert!(!self.over, "polled after it was ready");
        if self.attempts.is_some() {
            return self.begin_timed(None);
        }
        let around = time_left();
        if around.is_none() && !self.retry.plan.is_timed() {
            return Ok(());
        }
        self.timed = true;
        self.begin_timed(around)
    }

    /// Finds out when the attempt that begins is cut off. Kept out of the way of those that never are.
    #[inline(never)]
    fn begin_timed(&mut self, around: Option<Duration>) -> Result<(), OutOfTime> {
        self.began = self.now();
        let (plan, began) = (&self.retry.plan, self.began);
        let attempts = self
            .attempts
            .get_or_insert_with(|| Attempts::lent(plan, began));
        if let Some(left) = around {
            attempts.end_by(began.after(left));
        }
        let left = attempts.left(began);
        let of_one = plan.config.attempt_limit.map(Limit::of_one);
        self.limit = match (of_one, left) {
            (_, Some(Duration::ZERO)) => {
                return Err(OutOfTime);
            }
            (Some(of_one), Some(left)) if of_one.after < left => Some(of_one),
            (_, Some(left)) => Some(Limit::of_all(left)),
            (of_one, None) => of_one,
        };
        attempts.begin();
        #[cfg(feature = "tokio")]
        {
            let limit = self.limit;
            self.deadline = limit.and_then(|limit| self.time.deadline(began.after(limit.after)));
        }
        Ok(())
    }

    fn now(&mut self) -> Moment {
        if self.timed {
            self.time.now()
        } else {
            Moment::ORIGIN
        }
    }

    /// Ready when the attempt that runs must not run any longer.
    pub(super) fn cut_off<T, E>(
        &mut self,
        mut timer: Pin<&mut Option<S::Sleeping>>,
        cx: &mut Context<'_>,
    ) -> Poll<Ended<T, E>> {
        let Some(limit) = self.limit else {
            return Poll::Pending;
        };
        if timer.is_none() {
            // Not before the attempt has to wait: an answer that is there at once needs no timer.
            let gone = self.now().since(self.began);
            let left = limit.after.saturating_sub(gone);
            timer.set(Some(self.sleep.sleep(left)));
        }
        match timer.as_pin_mut() {
            Some(timer) => timer.poll(cx).map(|()| Ended::cut_off(limit)),
            None => Poll::Pending,
        }
    }

    /// There is no time for the attempt that was to begin. Whoever is told of attempts is told of it.
    #[cold]
    pub(super) fn too_late<T, E>(&mut self) -> Result<T, Error<E>>
    where
        H: RetryHook<E>,
    {
        let settled = self.settle(Ended::cut_off(Limit::of_all(Duration::ZERO)));
        settled.err().unwrap_or(Err(Error::DeadlineExceeded))
    }

    /// The wait before the next attempt, or the result if there is none.
    #[cold]
    pub(super) fn settle<T, E>(
        &mut self,
        ended: Ended<T, E>,
    ) -> Result<Duration, Result<T, Error<E>>>
    where
        H: RetryHook<E>,
    {
        // What stands is not worth a look at the clock.
        let now = if ended.outcome.may_retry() {
            self.now()
        } else {
            self.began
        };
        let retry = self.retry;
        let attempts = self
            .attempts
            .get_or_insert_with(|| Attempts::lent(&retry.plan, now));
        let step = if ended.out_of_time {
            attempts.cut_off()
        } else {
            attempts.ended(now, ended.outcome, &mut self.jitter)
        };
        retry.tell(attempts, ended.outcome, &ended.result, step);
        match step {
            RetryStep::Wait(wait) => Ok(wait),
            RetryStep::Done | RetryStep::GiveUp(_) => {
                self.end();
                Err(ended.result)
            }
        }
    }
}

/// How an attempt ended.
pub(super) struct Ended<T, E> {
    result: Result<T, Error<E>>,
    outcome: Outcome,
    /// Because the time for all attempts is over.
    out_of_time: bool,
}

impl<T, E> Ended<T, E> {
    pub(super) fn by_itself(result: Result<T, E>, outcome: Outcome) -> Self {
        Self {
            result: result.map_err(Error::Inner),
            outcome,
            out_of_time: false,
        }
    }

    const fn cut_off(limit: Limit) -> Self {
        Self {
            result: Err(if limit.of_all {
                Error::DeadlineExceeded
            } else {
                Error::TimedOut { limit: limit.after }
            }),
            // Whose time for all is over says nothing of the called one.
            outcome: if limit.of_all {
                Outcome::Ignored
            } else {
                Outcome::Failure
            },
            out_of_time: limit.of_all,
        }
    }
}

/// When a running attempt is cut off.
#[derive(Clone, Copy)]
struct Limit {
    after: Duration,
    /// Because the time for all attempts is over, not that of one.
    of_all: bool,
}

impl Limit {
    const fn of_one(after: Duration) -> Self {
        Self {
            after,
            of_all: false,
        }
    }

    const fn of_all(after: Duration) -> Self {
        Self {
            after,
            of_all: true,
        }
    }
}
