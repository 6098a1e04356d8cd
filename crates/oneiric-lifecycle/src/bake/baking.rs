//! What those who asked for a swap hold of its bake: to wait for its end, or to end it.

use std::fmt;
use std::sync::Arc;

use super::{Bake, BakeStatus, Order};
use crate::cell::SlotCell;
use crate::report::SwapReport;

/// A swap whose old instance is still warm: to wait for its end, or to end it. Cheap to clone.
///
/// Dropping it changes nothing about a trial. An old instance that was to be
/// [kept until told](crate::SwapRequest::keep_old) is released when nobody is left who could tell.
#[derive(Clone)]
pub struct Baking {
    pub(crate) bake: Arc<Bake>,
    pub(crate) cell: Arc<SlotCell>,
    /// Kept for what it does when the last goes.
    pub(crate) _held: Option<Arc<Held>>,
}

/// Whoever is to say what becomes of an instance that is kept until told.
pub(crate) struct Held(pub(crate) Arc<Bake>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.order(Order::Release);
    }
}

impl Baking {
    /// How it stands.
    pub fn status(&self) -> BakeStatus {
        self.bake.status(&self.cell)
    }

    /// Returns what became of the swap, when that is known and whatever had to go is retired. Cancel-safe.
    pub async fn ended(&self) -> SwapReport {
        self.bake.ended().await
    }

    /// Ends the time in which the old instance is kept until somebody says so: if the slot's policy asks for a bake it
    /// begins now, else the old instance is drained and retired. Does nothing to a bake that has begun.
    pub fn release(&self) {
        self.bake.order(Order::Release);
    }

    /// Ends the trial, or the time in which the old instance is kept: that is drained and retired. Wait for
    /// [`Baking::ended`] to know that it is.
    pub fn let_go(&self) {
        self.bake.order(Order::Pass);
    }

    /// Has the old instance serve again, for a reason in words, unless the bake has ended or there is no way back. Wait
    /// for [`Baking::ended`] to know.
    pub fn swing_back(&self, why: impl Into<String>) {
        self.bake.order(Order::Back(why.into()));
    }
}

impl fmt::Debug for Baking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Baking").field(&self.status()).finish()
    }
}
