//! A handle to one slot.

use std::sync::Arc;

use oneiric_core::Slot;

use crate::cell::SlotCell;
use crate::error::LifecycleError;
use crate::lease::Lease;
use crate::wiring::Wiring;

/// One slot of a lifecycle; cheap to clone, and the quickest way to a lease.
#[derive(Debug, Clone)]
pub struct SlotRef {
    pub(crate) wiring: Wiring,
    pub(crate) cell: Arc<SlotCell>,
}

impl SlotRef {
    /// Which slot.
    pub fn slot(&self) -> &Slot {
        &self.cell.slot
    }

    /// Leases what serves now. Never waits.
    ///
    /// # Errors
    /// `lifecycle.not_active`, `lifecycle.busy`, `lifecycle.stopped`.
    pub fn lease(&self) -> Result<Lease, LifecycleError> {
        match self.cell.enter() {
            Ok(entrance) => Ok(Lease::new(entrance)),
            Err(refusal) => Err(LifecycleError::refused(&self.cell, refusal)),
        }
    }

    /// Leases what serves, activating the slot first if nothing does. Cancel-safe.
    ///
    /// # Errors
    /// As [`SlotRef::lease`], and why the slot could not be activated.
    pub async fn ready(&self) -> Result<Lease, LifecycleError> {
        match self.lease() {
            Err(LifecycleError::NotActive { .. }) => {
                self.wiring.use_cell(&self.cell).await?;
                self.lease()
            }
            other => other,
        }
    }
}
