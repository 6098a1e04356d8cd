//! The right to be inside, in two forms: one that borrows the bulkhead, for the way that is taken most,
//! and one that may go anywhere.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::permits::Stripe;
use super::shared::{Admission, Shared};
use crate::clock::{Clock, SystemClock};
use crate::outcome::Outcome;
use crate::stripe::Padded;

/// One of the references that keep a bulkhead alive, counted on a line of its own.
pub(super) struct Seat<C>(Arc<Padded<Arc<Shared<C>>>>);

impl<C> Seat<C> {
    pub(super) fn new(shared: &Arc<Shared<C>>) -> Self {
        Self(Arc::new(Padded::new(Arc::clone(shared))))
    }

    #[cfg(feature = "metrics")]
    pub(super) fn shared(&self) -> Arc<Shared<C>> {
        Arc::clone(&self.0)
    }
}

impl<C> Clone for Seat<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> fmt::Debug for Seat<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seat")
    }
}

impl<C> Deref for Seat<C> {
    type Target = Shared<C>;

    fn deref(&self) -> &Shared<C> {
        &self.0
    }
}

/// The right of one call to run, until it is dropped. The cheapest: it borrows the bulkhead.
#[must_use = "dropped at once it protects nothing"]
pub struct BulkheadGuard<'a, C: Clock = SystemClock> {
    shared: &'a Shared<C>,
    stripe: &'a Stripe,
    admission: Admission,
}

impl<'a, C: Clock> BulkheadGuard<'a, C> {
    /// For a permit that is out already, to be given back to the stripe.
    #[inline]
    pub(super) fn new(shared: &'a Shared<C>, stripe: &'a Stripe) -> Self {
        Self {
            shared,
            stripe,
            admission: shared.admission(stripe),
        }
    }

    /// Ends the call: tells an adaptive limit how, and gives the permit back. Dropped instead, it gives
    /// the permit back and tells nothing.
    pub fn record(self, outcome: Outcome) {
        self.shared.learn(self.admission, outcome);
    }
}

impl<C: Clock> Drop for BulkheadGuard<'_, C> {
    #[inline]
    fn drop(&mut self) {
        self.shared.leave(self.stripe, self.admission);
    }
}

impl<C: Clock> fmt::Debug for BulkheadGuard<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkheadGuard").finish_non_exhaustive()
    }
}

/// The right of one call to run, until it is dropped. Owned: it may be sent and kept anywhere.
#[must_use = "dropped at once it protects nothing"]
pub struct BulkheadPermit<C: Clock = SystemClock> {
    seat: Seat<C>,
    admission: Admission,
}

impl<C: Clock> BulkheadPermit<C> {
    /// For a permit that is out already.
    pub(super) fn new(seat: Seat<C>) -> Self {
        Self {
            admission: seat.admission(seat.permits.mine()),
            seat,
        }
    }

    /// Ends the call: tells an adaptive limit how, and gives the permit back. Dropped instead, it gives
    /// the permit back and tells nothing.
    pub fn record(self, outcome: Outcome) {
        self.seat.learn(self.admission, outcome);
    }
}

impl<C: Clock> Drop for BulkheadPermit<C> {
    #[inline]
    fn drop(&mut self) {
        // To the thread that lets it go, wherever it came from: there it is wanted next.
        self.seat.leave(self.seat.permits.mine(), self.admission);
    }
}

impl<C: Clock> fmt::Debug for BulkheadPermit<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkheadPermit").finish_non_exhaustive()
    }
}
