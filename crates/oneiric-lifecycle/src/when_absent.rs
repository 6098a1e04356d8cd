//! What a reference to a slot does while nothing serves it.

use std::sync::Arc;
use std::time::Duration;

use crate::cell::{Refusal, SlotCell};
use crate::error::LifecycleError;
use crate::running::Entrance;
use crate::wiring::Wiring;

/// What a [`Live`](crate::Live) reference or a [`SlotRef`](crate::SlotRef) does while nothing serves its slot. A slot
/// that is paused or draining refuses work whatever is said here, and while state is handed over to the next instance
/// the outcome is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenAbsent {
    /// Activates the slot.
    #[default]
    Activate,
    /// Fails at once: `lifecycle.not_active`.
    Fail,
    /// Waits until somebody else activates it, for at most so long: `lifecycle.absent`. An activation that fails
    /// meanwhile does not end the waiting; the end of the process does.
    Wait(Duration),
}

impl WhenAbsent {
    /// A counted way to the instance that serves, when there is one. Cancel-safe.
    pub(crate) async fn enter(
        self,
        wiring: &Wiring,
        cell: &Arc<SlotCell>,
    ) -> Result<Arc<Entrance>, LifecycleError> {
        let refused = |refusal| LifecycleError::refused(cell, refusal);
        match cell.entered().await {
            Ok(entrance) => return Ok(entrance),
            Err(refusal) if *refusal != Refusal::NotActive => return Err(refused(refusal)),
            Err(refusal) if self == Self::Fail => return Err(refused(refusal)),
            Err(_) => {}
        }
        let Self::Wait(limit) = self else {
            wiring.use_cell(cell).await?;
            return cell.entered().await.map_err(refused);
        };
        let arrival = async {
            loop {
                cell.arrival().await;
                match cell.entered().await {
                    // It came and went.
                    Err(refusal) if *refusal == Refusal::NotActive => {}
                    entered => return entered.map_err(refused),
                }
            }
        };
        let absent = |_| LifecycleError::Absent {
            slot: cell.slot.clone(),
            waited: limit,
        };
        tokio::time::timeout(limit, arrival).await.map_err(absent)?
    }
}
