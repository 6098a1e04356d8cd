//! What a policy does besides making the call, told when it happens: for logs and counts. A call that
//! goes through at the first attempt is not an event, so being told of the others costs it nothing.

use std::fmt;
use std::time::Duration;

use super::order::Stage;
use crate::caught::contained;
use crate::{GiveUp, Rejected};

/// What a policy did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyEvent {
    /// A breaker, bucket or bulkhead did not let a call or an attempt through.
    Rejected {
        /// Which of them.
        stage: Stage,
        /// Why, and when it is worth asking again.
        rejected: Rejected,
    },
    /// An attempt took longer than one may, and was cut off.
    TimedOut {
        /// The time limit.
        limit: Duration,
    },
    /// The time was over before an attempt was, or before it began: the policy's, or that of a deadline around
    /// the caller.
    DeadlineExceeded,
    /// An attempt failed, and the call is tried again.
    Retrying {
        /// Which attempt failed; the first is 1.
        attempt: u32,
        /// How long until the next one.
        wait: Duration,
    },
    /// An attempt failed, and the call is not tried again.
    GaveUp {
        /// How many attempts there were.
        attempts: u32,
        /// Why there is no other.
        why: GiveUp,
    },
}

/// Is told what a policy does. Closures `Fn(&PolicyEvent)` do.
///
/// It is called while the call goes on, between two of its steps and holding no lock, so it should be
/// quick. A panic in it is caught.
pub trait PolicyObserver: Send + Sync + 'static {
    /// Something happened.
    fn on_event(&self, event: &PolicyEvent);
}

fn _dyn_ok(_: &dyn PolicyObserver) {}

impl<F: Fn(&PolicyEvent) + Send + Sync + 'static> PolicyObserver for F {
    fn on_event(&self, event: &PolicyEvent) {
        self(event);
    }
}

/// Those who are told; for most policies nobody.
#[derive(Default)]
pub(crate) struct Observers(pub(super) Vec<Box<dyn PolicyObserver>>);

impl Observers {
    #[cold]
    pub(crate) fn tell(&self, event: PolicyEvent) {
        for observer in &self.0 {
            contained(|| observer.on_event(&event));
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} observers", self.0.len())
    }
}
