//! The instances of a slot that were exchanged and are not gone yet.
//!
//! A slot's turn ends when another instance serves; what served before finishes its work, or is kept warm, in nobody's
//! way. So there may be several of those at once, each with all that a component holds. Whoever exchanges an instance
//! because somebody asked for that waits until there are fewer than [`MOST`]; what a slot does by itself never waits,
//! for it is done because the instance that serves is no good.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{OwnedMutexGuard, watch};

use crate::cell::SlotCell;

/// So many exchanged instances there are before a swap waits for one of them to go.
pub(crate) const MOST: usize = 4;

/// How many are leaving, and who waits for there to be fewer.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    now: watch::Sender<usize>,
    /// Held by the one that waits for a place; the others wait for that, in the order in which they had their turn.
    queue: tokio::sync::Mutex<()>,
}

/// An exchanged instance that is not gone yet. It is when this is dropped.
#[derive(Debug)]
pub(crate) struct Leaves(Arc<SlotCell>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.leaving.now.send_modify(|now| *now -= 1);
    }
}

impl Leaving {
    /// Whether one more may be exchanged, as far as that depends on how many there are.
    pub(crate) fn has_place(&self) -> bool {
        self.now() < MOST
    }

    pub(crate) fn now(&self) -> usize {
        *self.now.borrow()
    }

    /// Returns when there are no more than so many. Cancel-safe.
    pub(crate) async fn at_most(&self, most: usize) {
        self.are(|now| now <= most).await;
    }

    async fn are(&self, fine: impl Fn(usize) -> bool) {
        let mut now = self.now.subscribe();
        // Fails only when the sender is gone, and it is here.
        drop(now.wait_for(|now| fine(*now)).await);
    }

    /// Has those who wait look again: one that is leaving is kept warm now.
    pub(crate) fn look_again(&self) {
        self.now.send_modify(|_| {});
    }
}

impl SlotCell {
    /// Counts an instance that was exchanged just now, in the slot's turn.
    pub(crate) fn leaves(self: &Arc<Self>) -> Leaves {
        self.leaving.now.send_modify(|now| *now += 1);
        Leaves(Arc::clone(self))
    }

    /// Returns when no exchanged instance is left but for one that is kept warm. Cancel-safe.
    pub(crate) async fn left(&self) {
        let are = |now| now <= usize::from(self.bake().is_some());
        self.leaving.are(are).await;
    }

    /// The slot's turn, for whoever may be kept waiting: when it comes and there is a place for one more that leaves.
    /// Cancel-safe.
    pub(crate) async fn turn_to_swap(&self) -> OwnedMutexGuard<()> {
        let mut queue = pin!(self.leaving.queue.lock());
        {
            let turn = Arc::clone(&self.turn).lock_owned().await;
            if self.leaving.has_place() && self.leaving.queue.try_lock().is_ok() {
                return turn;
            }
            // In line before the turn is let go of, so that nobody who asked later comes before.
            tokio::select! {
                biased;
                _first = &mut queue => {
                    drop(turn);
                    return self.next_turn_with_place().await;
                }
                () = std::future::ready(()) => {}
            }
        }
        let _first = queue.await;
        self.next_turn_with_place().await
    }

    async fn next_turn_with_place(&self) -> OwnedMutexGuard<()> {
        loop {
            self.leaving.at_most(MOST - 1).await;
            let turn = Arc::clone(&self.turn).lock_owned().await;
            // Only who has the turn adds to them.
            if self.leaving.has_place() {
                return turn;
            }
        }
    }
}
