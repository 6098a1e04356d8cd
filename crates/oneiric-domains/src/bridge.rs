//! The one path from a key to a component: gate, resolve, activate, lease.
//!
//! Domains differ in what they do with an instance, not in how they come to it, so the path exists
//! once. The gate is the slot's activity, which the lifecycle checks whenever a lease is taken: a
//! second check here could only disagree with it.

use std::fmt;
use std::marker::PhantomData;

use oneiric_core::{Domain, Key, Slot};
use oneiric_lifecycle::{
    CallError, Leased, Lifecycle, LifecycleError, Live, Payload, SlotRef, SlotStatus,
};

/// A domain as a type, so that a function can say which one it needs.
pub trait InDomain {
    /// The domain.
    const DOMAIN: Domain;
}

/// The way into one domain of a lifecycle: [`Adapters`](crate::Adapters),
/// [`Services`](crate::Services). Cheap to clone.
pub struct Bridge<D> {
    lifecycle: Lifecycle,
    domain: PhantomData<fn() -> D>,
}

impl<D: InDomain> Bridge<D> {
    /// The way into the domain of `lifecycle`.
    pub const fn new(lifecycle: Lifecycle) -> Self {
        Self {
            lifecycle,
            domain: PhantomData,
        }
    }

    /// The lifecycle underneath.
    pub const fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// A handle to the slot of `key`, for those who call it often.
    pub fn slot(&self, key: &Key) -> SlotRef {
        self.lifecycle.slot(&slot_of::<D>(key))
    }

    /// Leases facet `T` of what serves `key`, activating it first if nothing does. Hold it for one
    /// piece of work. Cancel-safe: an activation that was begun goes on.
    ///
    /// # Errors
    /// `core.no_candidate` and `core.tied` when nobody wins, where and why the winner could not be
    /// activated, `lifecycle.busy` when the slot is paused or draining, `lifecycle.facet_missing`
    /// when what serves is something else, `lifecycle.stopped` after shutdown.
    pub async fn lease<T: ?Sized + Send + Sync + 'static>(
        &self,
        key: &Key,
    ) -> Result<Leased<T>, LifecycleError> {
        self.lifecycle.lease(&slot_of::<D>(key)).await?.typed()
    }

    /// A reference to facet `T` of whatever serves `key`, now and after every swap. Where the facet
    /// is one of this crate, the reference is itself the facet: `Arc::new(live)` is an
    /// `Arc<dyn Cache>`.
    pub fn live<T: ?Sized + Send + Sync + 'static>(&self, key: &Key) -> Live<T> {
        self.lifecycle.live(&slot_of::<D>(key))
    }

    /// Carries out an operation by name on what serves `key`, activating it first if nothing does.
    /// Cancel-safe as far as the component is.
    ///
    /// # Errors
    /// As [`Bridge::lease`], and what the component answers.
    pub async fn invoke(
        &self,
        key: &Key,
        operation: &str,
        input: Payload,
    ) -> Result<Payload, CallError> {
        let lease = self.lifecycle.lease(&slot_of::<D>(key)).await?;
        lease.invoke(operation, input).await
    }

    /// The status of every slot of the domain that has candidates, in the order in which they were
    /// first registered. Does not look at other domains.
    pub fn list(&self) -> Vec<SlotStatus> {
        let registered = self.lifecycle.registry().snapshot();
        registered
            .slots_in(&D::DOMAIN)
            .filter_map(|slot| self.lifecycle.status(slot))
            .collect()
    }
}

fn slot_of<D: InDomain>(key: &Key) -> Slot {
    Slot::new(D::DOMAIN, key.clone())
}

impl<D> Clone for Bridge<D> {
    fn clone(&self) -> Self {
        Self {
            lifecycle: self.lifecycle.clone(),
            domain: PhantomData,
        }
    }
}

impl<D: InDomain> fmt::Debug for Bridge<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge")
            .field("domain", &D::DOMAIN)
            .field("lifecycle", &self.lifecycle)
            .finish()
    }
}
