//! The one word that every call reads: what the breaker says, and which time it says so.

use std::fmt;

/// What a breaker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum BreakerState {
    /// All calls are let through and counted.
    Closed,
    /// None is, until its time is over. It stays open until the first call after that.
    Open,
    /// Some are, to find out whether it may close.
    HalfOpen,
    /// By hand: all are let through, none is counted.
    Disabled,
    /// By hand: none is let through.
    ForcedOpen,
    /// By hand: all are let through and counted, and it never opens.
    MetricsOnly,
}

impl BreakerState {
    /// As it stands in settings, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Disabled => "disabled",
            Self::ForcedOpen => "forced_open",
            Self::MetricsOnly => "metrics_only",
        }
    }
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A state and its generation, which grows by one with each transition: a call that ends under another
/// word than it began under says nothing any more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(u64);

const KIND_BITS: u32 = 3;
const CLOSED: u64 = 0;
const METRICS_ONLY: u64 = 1;
const DISABLED: u64 = 2;
const OPEN: u64 = 3;
const HALF_OPEN: u64 = 4;
const FORCED_OPEN: u64 = 5;

impl Word {
    pub(super) const fn new(state: BreakerState, generation: u64) -> Self {
        let kind = match state {
            BreakerState::Closed => CLOSED,
            BreakerState::MetricsOnly => METRICS_ONLY,
            BreakerState::Disabled => DISABLED,
            BreakerState::Open => OPEN,
            BreakerState::HalfOpen => HALF_OPEN,
            BreakerState::ForcedOpen => FORCED_OPEN,
        };
        Self(generation << KIND_BITS | kind)
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    const fn kind(self) -> u64 {
        self.0 & ((1 << KIND_BITS) - 1)
    }

    pub(super) const fn generation(self) -> u64 {
        self.0 >> KIND_BITS
    }

    pub(super) const fn state(self) -> BreakerState {
        match self.kind() {
            CLOSED => BreakerState::Closed,
            METRICS_ONLY => BreakerState::MetricsOnly,
            DISABLED => BreakerState::Disabled,
            OPEN => BreakerState::Open,
            HALF_OPEN => BreakerState::HalfOpen,
            _ => BreakerState::ForcedOpen,
        }
    }

    /// Whether every call is let through.
    #[inline]
    pub(super) const fn passes(self) -> bool {
        self.kind() <= DISABLED
    }

    /// Whether calls are let through and counted in the window.
    #[inline]
    pub(super) const fn counts(self) -> bool {
        self.kind() <= METRICS_ONLY
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, generation {}", self.state(), self.generation())
    }
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_word_keeps_state_and_generation() {
        let all = [
            (BreakerState::Closed, true, true),
            (BreakerState::MetricsOnly, true, true),
            (BreakerState::Disabled, true, false),
            (BreakerState::Open, false, false),
            (BreakerState::HalfOpen, false, false),
            (BreakerState::ForcedOpen, false, false),
        ];
        for (state, passes, counts) in all {
            let word = Word::from_bits(Word::new(state, 1 << 50).bits());
            assert_eq!((word.state(), word.generation()), (state, 1 << 50));
            assert_eq!((word.passes(), word.counts()), (passes, counts), "{state}");
        }
    }
}
