//! What operators see of instances by key.

use serde::Serialize;

/// The instances by key of one slot at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeyedStatus {
    /// How many there are, those that are being built or retired among them.
    pub instances: u64,
    /// How many there may be.
    pub limit: u64,
    /// Leases that are out on them.
    pub in_flight: u64,
    /// Their keys as they are shown, the most recently used first, no more than [`KeyedStatus::KEYS`].
    pub keys: Vec<String>,
}

impl KeyedStatus {
    /// How many keys are shown.
    pub const KEYS: usize = 20;

    /// With those of another [`Keyed`](crate::Keyed) of the same slot.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.instances += other.instances;
        self.limit += other.limit;
        self.in_flight += other.in_flight;
        let left = Self::KEYS - self.keys.len();
        self.keys.extend(other.keys.into_iter().take(left));
        self
    }
}
