//! The circuit breaker. Calling what is down costs the caller its time and the called one its recovery;
//! so after enough failures calls are answered at once, without being made, and after a while a few are let
//! through to find out whether it is back.
//!
//! Sources: M. Nygard, "Release It!" (2007), ch. 5; resilience4j (windows by count and by time, slow calls,
//! probes, a longest half-open time, metrics-only); Polly (manual control, open time that grows).

mod build;
mod config;
mod control;
mod machine;
mod observe;
mod permit;
mod probes;
mod snapshot;
mod state;
mod window;

#[cfg(all(test, oneiric_loom))]
mod model;
#[cfg(all(test, not(oneiric_loom)))]
mod tests;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Weak};

use crate::{Classify, Clock, ErrIsFailure, Error, InvalidConfig, Rejected, SystemClock};

use control::Obey;
use machine::Machine;
use permit::Here;

pub use build::BreakerBuilder;
pub use config::{BreakerConfig, BreakerWindow};
pub use control::{BreakerControl, BreakerMode};
pub use observe::{BreakerObserver, BreakerReason, BreakerTransition};
pub use permit::BreakerPermit;
pub(crate) use permit::LentPermit;
#[cfg(feature = "tower")]
pub(crate) use permit::OwnPermit;
pub use snapshot::BreakerSnapshot;
pub use state::BreakerState;

/// A circuit breaker. Clones are the same breaker.
///
/// - *Closed*: calls are let through and counted. Only a call that fails, or is slow where that is counted, can
///   open it, and that call's own error is what its caller gets.
/// - *Open*: calls are rejected, and told when to come back. Rejected calls change nothing, least of all how long
///   it stays open.
/// - *Half open*: from the first call after that on, as many probes are let through as the settings say.
///   It closes as soon as they cannot fail any more, and opens for longer as soon as they have. A probe that is
///   given up gives its slot back; if they hang for too long, it opens again without them.
///
/// A [`BreakerControl`] can hold it open, let all pass, or only watch.
///
/// Closed, a call takes no lock and reads no clock; in a window by time one in 32 reads it where calls come in quick
/// succession, and each that fails does. With [`slow_call`](BreakerConfig::slow_call) set each call reads it
/// twice. Rejections read it once, and take no lock. Besides the window it takes about a kilobyte, and 128 bytes
/// for each processor, of which 32 count.
///
/// Source: docs/spec/resilience.md, "Circuit breaker".
///
/// ```
/// use oneiric_resilience::{Breaker, BreakerConfig, Error, BreakerWindow};
///
/// let breaker = Breaker::new(BreakerConfig {
///     window: BreakerWindow::Consecutive(2),
///     ..BreakerConfig::default()
/// })?;
/// for _ in 0..2 {
///     let refused = breaker.call(|| Err::<(), _>("connection refused"));
///     assert_eq!(refused, Err(Error::Inner("connection refused")));
/// }
/// let rejected = breaker.call(|| Err::<(), _>("not called any more")).unwrap_err();
/// assert_eq!(rejected.code(), Some("resilience.breaker_open"));
/// assert!(rejected.retry_after().is_some());
/// # Ok::<(), oneiric_resilience::InvalidConfig>(())
/// ```
pub struct Breaker<C: Clock = SystemClock> {
    machine: Arc<Machine<C>>,
}

impl Breaker {
    /// A closed breaker.
    ///
    /// # Errors
    /// `resilience.invalid_config` with every setting that is out of its bounds.
    pub fn new(config: BreakerConfig) -> Result<Self, InvalidConfig> {
        Self::builder(config).build()
    }

    /// For a breaker with a name, observers, a control or a clock of its own.
    pub fn builder(config: BreakerConfig) -> BreakerBuilder {
        BreakerBuilder::new(config)
    }
}

impl<C: Clock> Breaker<C> {
    /// A closed breaker that goes by another clock than the machine's.
    ///
    /// # Errors
    /// `resilience.invalid_config` with every setting that is out of its bounds.
    pub fn with_clock(config: BreakerConfig, clock: C) -> Result<Self, InvalidConfig> {
        BreakerBuilder::new(config).clock(clock).build()
    }

    fn from_machine(machine: Machine<C>) -> Self {
        Self {
            machine: Arc::new(machine),
        }
    }

    /// Makes a call, if it may be made. Every error counts as failure, and a panic as well.
    ///
    /// # Errors
    /// `resilience.breaker_open` or `resilience.breaker_forced_open` if it was not made, else its own.
    #[inline]
    pub fn call<T, E>(&self, call: impl FnOnce() -> Result<T, E>) -> Result<T, Error<E>> {
        self.call_with(&ErrIsFailure, call)
    }

    /// Makes a call, if it may be made; what its result says is decided by `classify`. A panic in either
    /// counts as failure.
    ///
    /// # Errors
    /// `resilience.breaker_open` or `resilience.breaker_forced_open` if it was not made, else its own.
    #[inline]
    pub fn call_with<T, E>(
        &self,
        classify: &(impl Classify<T, E> + ?Sized),
        call: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, Error<E>> {
        let ticket = self.machine.enter()?;
        let permit = Here::new(&*self.machine, ticket);
        let result = call();
        permit.end(classify.classify(&result));
        result.map_err(Error::Inner)
    }

    /// Awaits a call, if it may be made. Every error counts as failure, and a panic as well.
    ///
    /// Needs no runtime. Cancel-safe: dropped before the call has ended, nothing is counted and a probe's slot is
    /// free again. Asks for leave when it is first polled.
    ///
    /// # Errors
    /// `resilience.breaker_open` or `resilience.breaker_forced_open` if it was not made, else its own.
    pub async fn call_async<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error<E>> {
        self.call_async_with(&ErrIsFailure, call).await
    }

    /// Awaits a call, if it may be made; what its result says is decided by `classify`. A panic in either
    /// counts as failure. As cancel-safe as [`call_async`](Self::call_async).
    ///
    /// # Errors
    /// `resilience.breaker_open` or `resilience.breaker_forced_open` if it was not made, else its own.
    pub async fn call_async_with<T, E>(
        &self,
        classify: &(impl Classify<T, E> + ?Sized),
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error<E>> {
        let ticket = self.machine.enter()?;
        let mut permit = Here::new(&*self.machine, ticket);
        let mut call = pin!(call);
        let result = poll_fn(|context| {
            permit.running = true;
            let poll = call.as_mut().poll(context);
            permit.running = false;
            poll
        })
        .await;
        permit.running = true;
        permit.end(classify.classify(&result));
        result.map_err(Error::Inner)
    }

    /// Leave to make one call, which the caller then makes by itself.
    ///
    /// Never waits. The permit owns what it needs, so it can be kept and sent anywhere; that costs two
    /// writes to a count that all handles share, which [`call`](Self::call) does without.
    ///
    /// # Errors
    /// `resilience.breaker_open`, with the time until it is worth asking again, unless probes are under way;
    /// `resilience.breaker_forced_open`.
    pub fn permit(&self) -> Result<BreakerPermit<C>, Rejected> {
        let ticket = self.machine.enter()?;
        Ok(BreakerPermit::new(Arc::clone(&self.machine), ticket))
    }

    /// A permit for who knows better than its thread whether it was its call that panicked.
    ///
    /// # Errors
    /// As [`permit`](Self::permit).
    #[cfg(feature = "tower")]
    #[inline]
    pub(crate) fn own(&self) -> Result<OwnPermit<C>, Rejected> {
        let ticket = self.machine.enter()?;
        Ok(OwnPermit::new(Arc::clone(&self.machine), ticket))
    }

    /// A [`permit`](Self::permit) for who keeps this breaker until the call has ended: writes to no count of
    /// handles.
    ///
    /// # Errors
    /// As [`permit`](Self::permit).
    #[inline]
    pub(crate) fn lend(&self) -> Result<LentPermit<'_, C>, Rejected> {
        let ticket = self.machine.enter()?;
        Ok(LentPermit::new(&self.machine, ticket))
    }

    /// What a call would be told now if it were not let through. Changes nothing and counts nothing.
    #[cfg(feature = "tower")]
    #[inline]
    pub(crate) fn refusal(&self) -> Option<Rejected> {
        self.machine.refused()
    }

    /// This breaker, for who does not keep it.
    #[cfg(feature = "metrics")]
    pub(crate) fn weakly(&self) -> crate::metrics::Weakly<Self> {
        crate::metrics::Weakly::new(&self.machine, |machine| Self { machine })
    }

    /// What it says. An open one is open until the first call after its time.
    pub fn state(&self) -> BreakerState {
        self.machine.state()
    }

    /// All there is to see of it. Takes its lock, and adds up the window.
    pub fn snapshot(&self) -> BreakerSnapshot {
        self.machine.snapshot()
    }

    /// Its name; empty if it has none.
    pub fn name(&self) -> &str {
        self.machine.name()
    }

    /// The settings.
    pub fn config(&self) -> &BreakerConfig {
        self.machine.config()
    }

    /// The control that holds it: its own, unless it was given another.
    pub fn control(&self) -> BreakerControl {
        self.machine.control()
    }

    /// From now on it is held by this control, and no longer by the one before.
    pub fn obey(&self, control: &BreakerControl) {
        let machine: Arc<dyn Obey> = Arc::clone(&self.machine) as Arc<dyn Obey>;
        let machine = Arc::downgrade(&machine);
        let before = self.machine.set_control(control.clone());
        before.remove(&machine);
        control.add(Weak::clone(&machine));
        self.machine.obey();
    }
}

impl<C: Clock> Clone for Breaker<C> {
    fn clone(&self) -> Self {
        Self {
            machine: Arc::clone(&self.machine),
        }
    }
}

impl<C: Clock> fmt::Debug for Breaker<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.machine.fmt(f)
    }
}
