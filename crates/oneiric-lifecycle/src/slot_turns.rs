//! Whose turn it is with a slot, where others change it as well: those who embed the lifecycle and do more than swap.

use std::any::Any;

use oneiric_core::{BoxFuture, Slot};

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
