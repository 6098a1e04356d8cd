//! How many instances by key there may be, and for how long.

use std::num::NonZeroUsize;
use std::time::Duration;

/// How many instances by key there may be, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyedLimits {
    /// So many at most, those that are being built or retired among them (64); one that is exchanged for a new one
    /// while it is leased is one more until its leases are back.
    pub instances: NonZeroUsize,
    /// One that nobody has leased for so long is retired (5 min); `None`: none is because of that.
    pub idle: Option<Duration>,
    /// One that is so old is exchanged for a new one when its key is next asked for, and retired when nobody does
    /// (`None`: never).
    pub age: Option<Duration>,
}

impl Default for KeyedLimits {
    fn default() -> Self {
        Self {
            instances: NonZeroUsize::new(64).unwrap_or(NonZeroUsize::MIN),
            idle: Some(Duration::from_secs(300)),
            age: None,
        }
    }
}
