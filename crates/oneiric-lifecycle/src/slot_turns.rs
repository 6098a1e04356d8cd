//! Whose turn it is with a slot, where others change it as well: those who embed the lifecycle and do more than swap.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;

use oneiric_core::{BoxFuture, Slot};
use tokio::sync::OwnedMutexGuard;

use crate::cell::SlotCell;
use crate::error::LifecycleError;
use crate::inner::Inner;
use crate::wiring::Wiring;

/// Turns that whoever embeds the lifecycle takes before it changes a slot. Whatever is done by itself takes them too.
pub trait SlotTurns: Send + Sync {
    /// Waits for the turn of `slot`, which lasts until the answer is dropped. Asked for before each step that is taken
    /// by itself, by whoever holds no other turn. Dropped half-way, nobody waits any more.
    fn acquire<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Box<dyn Any + Send>>;
}

fn _slot_turns_is_dyn_safe(_: &dyn SlotTurns) {}

/// Nobody else changes slots but by swaps.
pub(crate) struct NoTurns;

impl SlotTurns for NoTurns {
    fn acquire<'a>(&'a self, _: &'a Slot) -> BoxFuture<'a, Box<dyn Any + Send>> {
        Box::pin(async { Box::new(()) as _ })
    }
}

/// The turn of whoever embeds the lifecycle, and the slot's own.
pub(crate) type Turns = (Box<dyn Any + Send>, OwnedMutexGuard<()>);

/// Does `work` that nobody asked for, in the slot's own turn as well, when that comes. A task of its own then: whoever goes
/// away leaves nothing half-done behind.
pub(crate) async fn in_both<T, Fut>(
    inner: &Arc<Inner>,
    cell: Arc<SlotCell>,
    turn: Box<dyn Any + Send>,
    work: impl FnOnce(Arc<Inner>, Arc<SlotCell>, Turns) -> Fut + Send + 'static,
) -> Result<T, LifecycleError>
where
    T: Send + 'static,
    Fut: Future<Output = Result<T, LifecycleError>> + Send + 'static,
{
    let in_turn = |inner, cell, slot_turn| work(inner, cell, (turn, slot_turn));
    Wiring::of(inner).in_turn(cell, in_turn).await
}
