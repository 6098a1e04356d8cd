//! Bulkhead: so many calls at once and no more, a queue of bounded length before it, and a limit that
//! may find itself.
//!
//! One slow dependency must not take every thread, connection and byte of memory there is. The limit
//! is exact at every moment; nobody is refused while a permit is free and nobody waits; and who
//! waits is served in order.

mod aimd;
mod config;
mod enter;
mod guard;
mod ledger;
mod permits;
mod queue;
mod shared;
mod shed;

#[cfg(all(test, oneiric_loom))]
mod model;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::aimd::AimdConfig;
pub use self::config::BulkheadConfig;
pub use self::enter::Enter;
#[cfg(feature = "tokio")]
pub use self::enter::EnterBefore;
use self::guard::Seat;
pub use self::guard::{BulkheadGuard, BulkheadPermit};
use self::shared::Shared;
use crate::clock::{Clock, SystemClock};
#[cfg(feature = "tokio")]
use crate::deadline::Deadline;
use crate::error::{Error, Rejected};
use crate::invalid::InvalidConfig;
use crate::outcome::{Classify, ErrIsFailure};
use crate::stripe::Striped;

/// Lets so many calls run at once. Clones are the same bulkhead.
///
/// Threads that come and go do not fight over one line: permits lie in stripes, one for each
/// processor, and a thread goes to another one's only when its own is empty.
///
/// Source: docs/spec/resilience.md, "Bulkhead".
///
/// ```
/// use oneiric_resilience::{Bulkhead, BulkheadConfig, Rejection};
///
/// let bulkhead = Bulkhead::new(BulkheadConfig { limit: 1, ..Default::default() })?;
/// let inside = bulkhead.try_enter().expect("nobody is inside");
/// let refused = bulkhead.try_enter().expect_err("one is inside");
/// assert_eq!(refused.rejection(), Rejection::BulkheadFull);
/// drop(inside);
/// assert!(bulkhead.try_enter().is_ok());
/// # Ok::<(), oneiric_resilience::InvalidConfig>(())
/// ```
pub struct Bulkhead<C: Clock = SystemClock> {
    shared: Arc<Shared<C>>,
    /// What owned permits hold on to: counting them at one place would be a line to fight over.
    seats: Arc<Striped<Seat<C>>>,
}

impl Bulkhead {
    /// A bulkhead by the machine's clock.
    ///
    /// # Errors
    /// `resilience.invalid_config` with every bound that is broken.
    pub fn new(config: BulkheadConfig) -> Result<Self, InvalidConfig> {
        Self::with_clock(config, SystemClock::new())
    }
}

impl<C: Clock> Bulkhead<C> {
    /// A bulkhead by any clock. It is read only to shed or to adapt to latency, and to take the place of
    /// somebody who had a limit and has not come. Limits are in tokio's time: where this clock goes faster,
    /// or jumps, a waiter may lose its place before its time is over.
    ///
    /// # Errors
    /// `resilience.invalid_config` with every bound that is broken.
    pub fn with_clock(config: BulkheadConfig, clock: C) -> Result<Self, InvalidConfig> {
        let shared = Arc::new(Shared::new(&config, clock)?);
        let seats = Arc::new(Striped::new(|| Seat::new(&shared)));
        Ok(Self { shared, seats })
    }

    /// A permit, if one is free and nobody waits; never waits.
    ///
    /// # Errors
    /// `resilience.bulkhead_full`.
    #[inline]
    pub fn try_enter(&self) -> Result<BulkheadGuard<'_, C>, Rejected> {
        self.try_enter_counted_if(true)
    }

    /// As [`Bulkhead::try_enter`]. Who waits after a refusal does not have it counted, as it is not the
    /// last word.
    #[inline]
    pub(crate) fn try_enter_counted_if(
        &self,
        counted: bool,
    ) -> Result<BulkheadGuard<'_, C>, Rejected> {
        let stripe = self.shared.try_enter(counted)?;
        Ok(BulkheadGuard::new(&self.shared, stripe))
    }

    /// As [`Bulkhead::try_enter`], with a permit that may go anywhere; costs twice as much.
    ///
    /// # Errors
    /// `resilience.bulkhead_full`.
    pub fn try_enter_owned(&self) -> Result<BulkheadPermit<C>, Rejected> {
        self.try_enter_owned_counted_if(true)
    }

    /// As [`Bulkhead::try_enter_owned`]. Who waits after a refusal does not have it counted.
    #[inline]
    pub(crate) fn try_enter_owned_counted_if(
        &self,
        counted: bool,
    ) -> Result<BulkheadPermit<C>, Rejected> {
        self.shared.try_enter(counted)?;
        Ok(BulkheadPermit::new(self.seats.mine().clone()))
    }

    /// A permit as soon as it is this caller's turn. Needs no runtime.
    ///
    /// Where [`BulkheadConfig::shed`] is set and the turn is expected later than the deadline of the
    /// scope around the caller (feature `tokio`), says so at once. Cancel-safe: see [`Enter`].
    ///
    /// # Errors
    /// `resilience.queue_full` when as many wait as may, `resilience.bulkhead_full` when none may and no
    /// permit is free, `resilience.deadline_too_near`.
    pub fn enter(&self) -> Enter<C> {
        Enter::new(self.seats.mine().clone())
    }

    /// A permit as soon as it is this caller's turn, if that comes within `max_wait` from now.
    ///
    /// As [`Bulkhead::enter_before`].
    ///
    /// # Errors
    /// `resilience.deadline_too_near`, and those of [`Bulkhead::enter`].
    ///
    /// # Panics
    /// When it has to wait outside of a tokio runtime, or in one without timers.
    #[cfg(feature = "tokio")]
    pub fn enter_within(&self, max_wait: Duration) -> EnterBefore<C> {
        self.enter_before(Deadline::within(max_wait))
    }

    /// A permit as soon as it is this caller's turn, if that comes before the deadline and that of the
    /// scope around the caller. One that is free when it is first polled is given however late that is.
    ///
    /// Where [`BulkheadConfig::shed`] is set and the turn is expected later than that, says so at
    /// once. Not polled for 10 ms after its deadline, it has lost its place, and a permit that was handed
    /// to it goes to others. Cancel-safe: see [`Enter`].
    ///
    /// # Errors
    /// `resilience.deadline_too_near`, and those of [`Bulkhead::enter`].
    ///
    /// # Panics
    /// When it has to wait outside of a tokio runtime, or in one without timers.
    #[cfg(feature = "tokio")]
    pub fn enter_before(&self, deadline: Deadline) -> EnterBefore<C> {
        EnterBefore::new(self.enter(), deadline)
    }

    /// Calls `call` if a permit is free. Every error of its is a failure to the adaptive limit.
    ///
    /// # Errors
    /// `resilience.bulkhead_full`, or what the call said.
    pub fn call<T, E>(&self, call: impl FnOnce() -> Result<T, E>) -> Result<T, Error<E>> {
        self.call_with(&ErrIsFailure, call)
    }

    /// Calls `call` if a permit is free; what its result says to the adaptive limit is decided by
    /// `classify`.
    ///
    /// # Errors
    /// `resilience.bulkhead_full`, or what the call said.
    pub fn call_with<T, E>(
        &self,
        classify: &(impl Classify<T, E> + ?Sized),
        call: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, Error<E>> {
        let guard = self.try_enter()?;
        let result = call();
        guard.record(classify.classify(&result));
        result.map_err(Error::Inner)
    }

    /// Waits for a permit, then for `call`. Every error of its is a failure to the adaptive limit.
    ///
    /// Cancel-safe: gives its place or its permit back.
    ///
    /// # Errors
    /// Those of [`Bulkhead::enter`], or what the call said.
    pub async fn call_async<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error<E>> {
        self.call_async_with(&ErrIsFailure, call).await
    }

    /// Waits for a permit, then for `call`; what its result says to the adaptive limit is decided by
    /// `classify`. As cancel-safe as [`Bulkhead::call_async`].
    ///
    /// # Errors
    /// Those of [`Bulkhead::enter`], or what the call said.
    pub async fn call_async_with<T, E>(
        &self,
        classify: &(impl Classify<T, E> + ?Sized),
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error<E>> {
        let permit = self.enter().await?;
        let result = call.await;
        permit.record(classify.classify(&result));
        result.map_err(Error::Inner)
    }

    /// This bulkhead, for who does not keep it.
    #[cfg(feature = "metrics")]
    pub(crate) fn weakly(&self) -> crate::metrics::Weakly<Self> {
        crate::metrics::Weakly::new(&self.seats, |seats| Self {
            shared: seats.mine().shared(),
            seats,
        })
    }

    /// Changes the limit now. If more calls run than it allows, the next permits that come back are
    /// kept until they do not; if it allows more, those who wait go in. An adaptive limit goes on from
    /// there, or from the nearer of its bounds. Permits stay in as many stripes as the first limit asked
    /// for: one that begins at 1 and rises to 1,000 is one line that all threads write.
    ///
    /// # Errors
    /// `resilience.invalid_config` unless 1 to 1,000,000.
    pub fn set_limit(&self, limit: u32) -> Result<(), InvalidConfig> {
        config::checked_limit(limit)?;
        self.shared.set_limit(limit);
        Ok(())
    }

    /// Calls that may run at once.
    pub fn limit(&self) -> u32 {
        self.shared.limit()
    }

    /// Permits that are out, those counted that were handed to a waiter that has not run since. Counted
    /// stripe by stripe: exact while nobody comes or goes.
    pub fn in_flight(&self) -> u32 {
        self.shared.in_flight()
    }

    /// Callers that wait without a permit.
    pub fn waiting(&self) -> u32 {
        self.shared.waiting()
    }

    /// How it stands: its limit as well, which may no longer be the one that it was made with.
    pub fn snapshot(&self) -> BulkheadSnapshot {
        BulkheadSnapshot {
            limit: self.limit(),
            in_flight: self.in_flight(),
            waiting: self.waiting(),
            hold_time: self.shared.hold_time(),
            expected_wait: self.shared.expected_wait(),
            rejected: self.shared.rejected(),
        }
    }
}

impl<C: Clock> Clone for Bulkhead<C> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            seats: Arc::clone(&self.seats),
        }
    }
}

impl<C: Clock> fmt::Debug for Bulkhead<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bulkhead").field(&self.snapshot()).finish()
    }
}

/// How a bulkhead stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BulkheadSnapshot {
    /// Calls that may run at once.
    pub limit: u32,
    /// Permits that are out; may exceed a limit that was lowered.
    pub in_flight: u32,
    /// Callers that wait without a permit.
    pub waiting: u32,
    /// How long a permit is out, on average; known where [`BulkheadConfig::shed`] is set.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "hold_time_ms", with = "crate::millis::optional")
    )]
    pub hold_time: Option<Duration>,
    /// How long the next caller that has to wait would do so.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "expected_wait_ms", with = "crate::millis::optional")
    )]
    pub expected_wait: Option<Duration>,
    /// How many callers it refused, ever, at once or after a wait. One that gave its wait up is none.
    pub rejected: u64,
}
