//! Leases: the only way to call a component.
//!
//! While a lease is out, the instance it is on is not retired (until the drain deadline). Whoever
//! calls without one would call into a component that is being taken down.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use oneiric_core::{Provider, Registered};
use tracing::Instrument;

use crate::error::LifecycleError;
use crate::facet::FacetType;
use crate::invoke::{CallError, Invoke, Operation, Payload};
use crate::running::{Entrance, Running};
use crate::step;
use crate::work::Underway;

/// How a call on a leased instance ended, for the slot's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallOutcome {
    /// It did its work.
    Succeeded,
    /// It failed, and the component is to blame.
    Failed,
    /// It panicked; counts as failed as well.
    Panicked,
}

/// The right to call the instance that served a slot when the lease was taken.
///
/// Owned and `Send`; may be held across awaits. Counts as in flight until dropped. Hold it for one
/// piece of work, not for ever: a swap waits for it, and after `Limits::drain` retires the instance
/// all the same (see [`Lease::retired`]).
#[must_use = "a lease that is dropped at once protects nothing"]
pub struct Lease {
    entrance: Arc<Entrance>,
}

impl Lease {
    pub(crate) const fn new(entrance: Arc<Entrance>) -> Self {
        Self { entrance }
    }

    /// A second lease on the same instance, whoever serves by now.
    pub(crate) fn again(&self) -> Self {
        Self::new(Arc::clone(&self.entrance))
    }

    /// The candidate whose instance this is.
    pub fn candidate(&self) -> &Registered {
        &self.running().candidate
    }

    /// The provider whose instance this is.
    pub fn provider(&self) -> &Provider {
        self.candidate().provider()
    }

    /// The instance's number, unique in this process.
    pub fn instance(&self) -> u64 {
        self.running().number
    }

    /// The instance's facet `T`, if it has one: `lease.get::<dyn Cache>()`.
    pub fn get<T: ?Sized + Send + Sync + 'static>(&self) -> Option<&T> {
        self.running().facets.get::<T>().map(AsRef::as_ref)
    }

    /// Makes this a lease on facet `T`.
    ///
    /// # Errors
    /// `lifecycle.facet_missing` when the instance has no such facet.
    #[inline]
    pub fn typed<T: ?Sized + Send + Sync + 'static>(self) -> Result<Leased<T>, LifecycleError> {
        match self.running().facets.position::<T>() {
            Some(position) => Ok(Leased {
                lease: self,
                position,
                facet: PhantomData,
            }),
            None => Err(self.lacks::<T>()),
        }
    }

    #[cold]
    fn lacks<T: ?Sized + 'static>(&self) -> LifecycleError {
        LifecycleError::FacetMissing {
            slot: self.candidate().slot().clone(),
            provider: self.provider().clone(),
            facet: FacetType::of::<T>().name(),
        }
    }

    /// Carries out an operation by name and records how it ended. A panic in the component is this
    /// call's error and nobody else's.
    ///
    /// # Errors
    /// What the component answers; `lifecycle.panicked`; `lifecycle.retired` when the instance was
    /// retired while this lease was held.
    pub async fn invoke(&self, operation: &str, input: Payload) -> Result<Payload, CallError> {
        let mut call = pin!(self.invoke_unnoted(operation, input));
        // Written down when it has to wait: a call that ends at once holds nothing up.
        let mut note = None;
        std::future::poll_fn(|context| {
            let poll = call.as_mut().poll(context);
            if poll.is_pending() {
                note.get_or_insert_with(|| Underway::begin(&self.entrance, operation));
            }
            poll
        })
        .await
    }

    pub(crate) async fn invoke_unnoted(
        &self,
        operation: &str,
        input: Payload,
    ) -> Result<Payload, CallError> {
        // Whoever looks at single calls asks for it; nobody else pays for it.
        let span = tracing::debug_span!(
            "call",
            slot = %self.candidate().slot(),
            provider = self.provider().as_str(),
            instance = self.instance(),
            operation,
        );
        let call = async { self.running().invoke.invoke(operation, input).await }.instrument(span);
        let result = match self.guard(call).await {
            Ok(result) => result,
            Err(error) => Err(error.into()),
        };
        match &result {
            Ok(_) => self.record(CallOutcome::Succeeded),
            Err(CallError::Panicked { .. }) => self.record(CallOutcome::Panicked),
            Err(error) if error.is_components_fault() => self.record(CallOutcome::Failed),
            // The caller's mistake says nothing about the component.
            Err(_) => {}
        }
        result
    }

    /// Awaits `call`; ends early, with an error, if it panics or the instance is retired under it.
    pub(crate) async fn guard<R>(
        &self,
        call: impl Future<Output = R>,
    ) -> Result<R, LifecycleError> {
        // A component that never has to wait would let its callers keep the runtime's workers to
        // themselves, and a swap would never get its turn.
        tokio::task::coop::consume_budget().await;
        let slot = || self.candidate().slot().clone();
        tokio::select! {
            // The call first: one that ends at once never looks at the other.
            biased;
            result = step::catch_panic(call) => {
                result.map_err(|message| LifecycleError::Panicked { slot: slot(), message })
            }
            () = self.retired() => {
                Err(LifecycleError::Retired { slot: slot(), provider: self.provider().clone() })
            }
        }
    }

    /// The operations this instance answers.
    pub fn operations(&self) -> Vec<Operation> {
        self.running().invoke.operations()
    }

    /// Adds to the slot's counters how a call on this lease ended.
    pub fn record(&self, outcome: CallOutcome) {
        let calls = &self.entrance.calls;
        match outcome {
            CallOutcome::Succeeded => {
                calls.succeeded.fetch_add(1, Ordering::Relaxed);
                return;
            }
            CallOutcome::Failed => {}
            CallOutcome::Panicked => {
                calls.panicked.fetch_add(1, Ordering::Relaxed);
            }
        }
        calls.failed.fetch_add(1, Ordering::Relaxed);
        self.running().failed_calls.one_more();
    }

    /// Returns when the instance has been retired under this lease because the drain deadline
    /// passed. Cancel-safe.
    pub async fn retired(&self) {
        self.running().revoked.cancelled().await;
    }

    /// Whether that has happened.
    pub fn is_retired(&self) -> bool {
        self.running().revoked.is_cancelled()
    }

    pub(crate) fn entrance(&self) -> &Entrance {
        &self.entrance
    }

    fn running(&self) -> &Running {
        &self.entrance.running
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("slot", &self.candidate().slot())
            .field("provider", &self.provider())
            .field("instance", &self.instance())
            .finish()
    }
}

/// A lease on one facet; dereferences to it.
#[must_use = "a lease that is dropped at once protects nothing"]
pub struct Leased<T: ?Sized> {
    lease: Lease,
    position: usize,
    facet: PhantomData<fn() -> Box<T>>,
}

impl<T: ?Sized> Leased<T> {
    /// The lease underneath.
    pub const fn lease(&self) -> &Lease {
        &self.lease
    }
}

impl<T: ?Sized + Send + Sync + 'static> Deref for Leased<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self.lease.running().facets.at::<T>(self.position) {
            Some(facet) => facet,
            None => unreachable!("an instance's facets are fixed before `typed` looks for one"),
        }
    }
}

impl<T: ?Sized> fmt::Debug for Leased<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lease.fmt(f)
    }
}
