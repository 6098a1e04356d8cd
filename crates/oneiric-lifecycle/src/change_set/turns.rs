//! The turns of several slots, without ever holding one while waiting for another.
//!
//! Whoever builds what requires a slot that does not serve yet keeps their own turn while they wait for that slot's. If
//! a set held one of the two and waited for the other, both would wait for ever, whatever order the set had chosen: the
//! requirement may point either way. Who holds nothing while waiting is in nobody's way, so that no ring of waiting
//! can close over a set.
//!
//! Sets that have to wait do so one after the other: several at once could take turns from under each other for ever, in
//! step. A slot of which too many exchanged instances have not gone yet counts as one whose turn is not free. What is left of that price: a queue that never becomes empty at two slots of a set holds it up for as long as
//! that lasts.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::cell::SlotCell;

/// Waits until the turns of all `cells`, none of them twice, are there at one time. In the order of the cells.
/// `waiting` is held by the one set that waits. Cancel-safe.
pub(super) async fn take(waiting: &Mutex<()>, cells: &[Arc<SlotCell>]) -> Vec<OwnedMutexGuard<()>> {
    let mut missed = match those_free(cells, None) {
        Ok(turns) => return turns,
        Err(missed) => missed,
    };
    let _the_one_that_waits = waiting.lock().await;
    loop {
        // There is one: it was missed.
        let Some(cell) = cells.get(missed) else {
            return Vec::new();
        };
        let turn = cell.turn_to_swap().await;
        match those_free(cells, Some((missed, turn))) {
            Ok(turns) => return turns,
            Err(next) => missed = next,
        }
    }
}

/// All turns, of which one is `held` already; or the place of the first that is not free, and then none.
fn those_free(
    cells: &[Arc<SlotCell>],
    mut held: Option<(usize, OwnedMutexGuard<()>)>,
) -> Result<Vec<OwnedMutexGuard<()>>, usize> {
    let mut turns = Vec::with_capacity(cells.len());
    for (place, cell) in cells.iter().enumerate() {
        let turn = match held.take_if(|(of, _)| *of == place) {
            Some((_, turn)) => Some(turn),
            None => {
                let free = Arc::clone(&cell.turn).try_lock_owned().ok();
                free.filter(|_| cell.leaving.has_place())
            }
        };
        match turn {
            Some(turn) => turns.push(turn),
            None => return Err(place),
        }
    }
    Ok(turns)
}
