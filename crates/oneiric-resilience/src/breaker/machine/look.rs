//! What can be seen of a machine from outside.

use std::fmt;

use crate::Clock;
use crate::sync::Ordering;

use super::super::BreakerConfig;
use super::super::snapshot::{BreakerSnapshot, percent};
use super::super::state::{BreakerState, Word};
use super::super::window::Sums;
use super::Machine;

impl<C: Clock> Machine<C> {
    pub(in crate::breaker) fn name(&self) -> &str {
        &self.name
    }

    pub(in crate::breaker) fn config(&self) -> &BreakerConfig {
        &self.config
    }

    pub(in crate::breaker) fn state(&self) -> BreakerState {
        self.word().state()
    }

    pub(in crate::breaker) fn snapshot(&self) -> BreakerSnapshot {
        let rare = self.rare();
        let word = self.word();
        let now = self.clock.now();
        let Sums {
            calls,
            failures,
            slow,
        } = match word.state() {
            BreakerState::Closed | BreakerState::MetricsOnly => {
                self.memory.sums(&self.stripes, word.generation(), now)
            }
            BreakerState::HalfOpen => rare.probes.ended(),
            BreakerState::Open | BreakerState::Disabled | BreakerState::ForcedOpen => {
                Sums::default()
            }
        };
        let rejected = self
            .stripes
            .iter()
            .map(|stripe| stripe.rejected.load(Ordering::Relaxed));
        BreakerSnapshot {
            state: word.state(),
            since: rare.since,
            open_until: (word.state() == BreakerState::Open).then(|| self.open_until()),
            calls,
            failures,
            slow,
            failure_percent: percent(failures, calls),
            slow_percent: percent(slow, calls),
            rejected: rejected.sum(),
            opened: rare.opened,
            generation: word.generation(),
            untold: self.observers.missed(),
        }
    }
}

impl<C> fmt::Debug for Machine<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Word::from_bits(self.word.load(Ordering::Relaxed));
        f.debug_struct("Breaker")
            .field("name", &self.name)
            .field("word", &word)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
