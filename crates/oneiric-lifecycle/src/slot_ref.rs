//! A handle to one slot.

use std::sync::Arc;

use oneiric_core::Slot;

use crate::cell::SlotCell;
use crate::error::LifecycleError;
use crate::lease::Lease;
use crate::when_absent::WhenAbsent;
use crate::wiring::Wiring;

/// One slot of a lifecycle; cheap to clone, and the quickest way to a lease.
#[derive(Debug, Clone)]
pub struct SlotRef {
    pub(crate) wiring: Wiring,
    pub(crate) cell: Arc<SlotCell>,
    pub(crate) when_absent: WhenAbsent,
}

impl SlotRef {
    /// Which slot.
    pub fn slot(&self) -> &Slot {
        &self.cell.slot
    }

    /// Says what [`SlotRef::ready`] does while nothing serves the slot, in place of activating it.
    #[must_use]
    pub const fn when_absent(mut self, when_absent: WhenAbsent) -> Self {
        self.when_absent = when_absent;
        self
    }

    /// Leases what serves now. Never waits.
    ///
    /// # Errors
    /// `lifecycle.not_active`, `lifecycle.busy`, `lifecycle.handing_over` ([`SlotRef::ready`] waits for that),
    /// `lifecycle.stopped`.
    pub fn lease(&self) -> Result<Lease, LifecycleError> {
        match self.cell.enter() {
            Ok(entrance) => Ok(Lease::new(entrance)),
            Err(refusal) => Err(LifecycleError::refused(&self.cell, refusal)),
        }
    }

    /// Leases what serves. If nothing does, activates the slot first, or does what [`SlotRef::when_absent`] says.
    /// Cancel-safe.
    ///
    /// # Errors
    /// As [`SlotRef::lease`], and why the slot could not be activated; `lifecycle.absent` when it was waited for in
    /// vain.
    pub async fn ready(&self) -> Result<Lease, LifecycleError> {
        let entrance = self.when_absent.enter(&self.wiring, &self.cell);
        Ok(Lease::new(entrance.await?))
    }
}
