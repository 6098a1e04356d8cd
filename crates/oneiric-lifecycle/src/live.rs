//! Live references: a consumer is wired to a slot, never to an instance.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;

use oneiric_core::Slot;

use crate::cell::Hold;
use crate::error::LifecycleError;
use crate::lease::{CallOutcome, Lease, Leased};
use crate::when_absent::WhenAbsent;
use crate::wiring::Wiring;

/// A reference to facet `T` of whatever serves a slot; follows every swap.
///
/// Cheap to clone, `Send` and `Sync`: keep it in a struct for as long as you like. While one exists,
/// a swap to an instance that lacks the facet is rolled back before it is published.
pub struct Live<T: ?Sized> {
    wiring: Wiring,
    hold: Hold,
    when_absent: WhenAbsent,
    facet: PhantomData<fn() -> Box<T>>,
}

impl<T: ?Sized + Send + Sync + 'static> Live<T> {
    pub(crate) const fn new(wiring: Wiring, hold: Hold) -> Self {
        Self {
            wiring,
            hold,
            when_absent: WhenAbsent::Activate,
            facet: PhantomData,
        }
    }

    /// The slot it follows.
    pub fn slot(&self) -> &Slot {
        &self.hold.cell().slot
    }

    /// Says what [`Live::ready`] and calls do while nothing serves the slot, in place of activating it.
    #[must_use]
    pub const fn when_absent(mut self, when_absent: WhenAbsent) -> Self {
        self.when_absent = when_absent;
        self
    }

    /// Leases the instance that serves now. Never waits.
    ///
    /// # Errors
    /// `lifecycle.not_active` when nothing was activated yet (see [`Live::ready`]),
    /// `lifecycle.busy` when the slot is paused or draining, `lifecycle.handing_over` while state goes to the next
    /// instance ([`Live::ready`] waits for that), `lifecycle.stopped` after shutdown.
    #[inline]
    pub fn lease(&self) -> Result<Leased<T>, LifecycleError> {
        let cell = self.hold.cell();
        match cell.enter() {
            Ok(entrance) => Lease::new(entrance).typed(),
            Err(refusal) => Err(LifecycleError::refused(cell, refusal)),
        }
    }

    /// Leases the instance that serves. If nothing does, activates the slot first, or does what
    /// [`Live::when_absent`] says.
    ///
    /// Cancel-safe: an activation that was begun goes on.
    ///
    /// # Errors
    /// As [`Live::lease`], and why the slot could not be activated; `lifecycle.absent` when it was waited for in vain.
    pub async fn ready(&self) -> Result<Leased<T>, LifecycleError> {
        let entrance = self.when_absent.enter(&self.wiring, self.hold.cell());
        Lease::new(entrance.await?).typed()
    }

    /// Calls the instance that serves and records how it ended; if nothing serves, as [`Live::ready`].
    ///
    /// Every error of `work` counts as the component's failure; where that is not so, see
    /// [`Live::call_judged`].
    ///
    /// A panic inside `work` is this call's error and counts as a failure. If the drain deadline of
    /// a swap passes while `work` waits, it is dropped there and the caller freed.
    ///
    /// # Errors
    /// What `work` returns; otherwise why there is no instance, `lifecycle.panicked` or
    /// `lifecycle.retired`.
    pub async fn call<R, E, F, Fut>(&self, work: F) -> Result<R, E>
    where
        E: From<LifecycleError>,
        F: FnOnce(Leased<T>) -> Fut,
        Fut: Future<Output = Result<R, E>>,
    {
        self.call_judged(work, |_| Some(CallOutcome::Failed)).await
    }

    /// Like [`Live::call`]; `judge` says what an error of `work` means for the component's counters,
    /// `None` for nothing.
    ///
    /// # Errors
    /// As [`Live::call`].
    pub async fn call_judged<R, E, F, Fut>(
        &self,
        work: F,
        judge: impl FnOnce(&E) -> Option<CallOutcome>,
    ) -> Result<R, E>
    where
        E: From<LifecycleError>,
        F: FnOnce(Leased<T>) -> Fut,
        Fut: Future<Output = Result<R, E>>,
    {
        let leased = self.ready().await?;
        // A second lease keeps the count for the record after `work` gave the first one back.
        let record = leased.lease().again();
        let (outcome, result) = match record.guard(async { work(leased).await }).await {
            Ok(Ok(value)) => (Some(CallOutcome::Succeeded), Ok(value)),
            Ok(Err(error)) => (judge(&error), Err(error)),
            Err(error @ LifecycleError::Panicked { .. }) => {
                (Some(CallOutcome::Panicked), Err(error.into()))
            }
            Err(error) => (Some(CallOutcome::Failed), Err(error.into())),
        };
        if let Some(outcome) = outcome {
            record.record(outcome);
        }
        result
    }
}

impl<T: ?Sized> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self {
            wiring: self.wiring.clone(),
            hold: self.hold.clone(),
            when_absent: self.when_absent,
            facet: PhantomData,
        }
    }
}

impl<T: ?Sized> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Live").field(&self.hold.cell().slot).finish()
    }
}
