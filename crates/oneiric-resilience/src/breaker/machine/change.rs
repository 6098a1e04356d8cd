//! Transitions, all of which are made here and under the lock. What belongs to the new state is in place
//! before the word says so; until then nobody has a permit of it.

use std::sync::Arc;
use std::time::Duration;

use crate::sync::Ordering;
use crate::{Clock, Moment};

use super::super::control::{BreakerControl, Obey};
use super::super::observe::{BreakerReason, BreakerTransition};
use super::super::probes::Test;
use super::super::state::{BreakerState, Word};
use super::{Machine, Rare};

impl<C: Clock> Machine<C> {
    /// Sets the time of the probes that are under way, of which the first begins now.
    pub(super) fn begin_probing(&self, now: Moment) {
        let until = now.after(self.config.half_open_max);
        self.half_open_until
            .store(until.as_nanos(), Ordering::Release);
    }

    pub(super) fn show_free(&self, rare: &Rare) {
        self.free.store(rare.probes.free(), Ordering::Release);
    }

    /// Opens for the next of its delays, and for no less than was asked.
    pub(super) fn open(
        &self,
        rare: &mut Rare,
        now: Moment,
        why: BreakerReason,
        asked: Option<Duration>,
    ) {
        let delay = rare.delays.next_delay(&mut *rare.jitter);
        let wait = asked.map_or(delay, |asked| delay.max(asked));
        self.open_until
            .store(now.after(wait).as_nanos(), Ordering::Release);
        rare.opened += 1;
        self.go(rare, BreakerState::Open, now, why);
    }

    pub(super) fn half_open(&self, rare: &mut Rare, now: Moment) {
        rare.probes = Test::of(&self.config).begin();
        self.show_free(rare);
        self.go(
            rare,
            BreakerState::HalfOpen,
            now,
            BreakerReason::OpenTimeOver,
        );
    }

    pub(super) fn close(&self, rare: &mut Rare, now: Moment, why: BreakerReason) {
        rare.delays = self.backoff.start();
        self.go(rare, BreakerState::Closed, now, why);
    }

    /// The transition itself. All that belongs to the new state is in place before it can be seen.
    fn go(&self, rare: &mut Rare, to: BreakerState, at: Moment, why: BreakerReason) {
        let before = self.word();
        let after = Word::new(to, before.generation() + 1);
        if after.counts() {
            self.memory.restart(&self.stripes, after.generation(), at);
        }
        rare.since = at;
        self.word.store(after.bits(), Ordering::Release);
        self.observers.note(|| BreakerTransition {
            breaker: Arc::clone(&self.name),
            from: before.state(),
            to,
            at,
            why,
        });
    }

    pub(in crate::breaker) fn control(&self) -> BreakerControl {
        self.rare().control.clone()
    }

    /// From now on another control says; the one that did.
    pub(in crate::breaker) fn set_control(&self, control: BreakerControl) -> BreakerControl {
        std::mem::replace(&mut self.rare().control, control)
    }
}

impl<C: Clock> Obey for Machine<C> {
    fn obey(&self) {
        let mut rare = self.rare();
        let now = self.clock.now();
        let by_hand = rare.control.mode().state();
        match (by_hand, self.state()) {
            (Some(wanted), state) if wanted != state => {
                self.go(&mut rare, wanted, now, BreakerReason::ByHand);
            }
            (
                None,
                BreakerState::Disabled | BreakerState::ForcedOpen | BreakerState::MetricsOnly,
            ) => {
                self.close(&mut rare, now, BreakerReason::Released);
            }
            _ => {}
        }
        drop(rare);
        self.observers.tell();
    }
}
