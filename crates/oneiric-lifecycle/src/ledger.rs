//! The books of one slot: its state, what it last failed at, how often and how long.
//!
//! Written by transitions and probes only, never by calls.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use oneiric_core::{Candidate, Provider};

use crate::error::{Failure, LifecycleError};
use crate::running::Tally;
use crate::state::{Move, SlotState};
use crate::status::{HealthReport, LastError, Percentiles, SwapCounts};

/// Swap durations kept for the percentiles.
const DURATIONS: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) state: SlotState,
    pub(crate) since: Option<SystemTime>,
    pub(crate) last_error: Option<LastError>,
    /// The failing probe that was skipped by force for the instance that serves.
    pub(crate) forced: Option<Failure>,
    pub(crate) swaps: SwapCounts,
    pub(crate) health: Option<HealthReport>,
    pub(crate) draining: Vec<Draining>,
    /// Activations that ended, and how the last one failed: those who waited for it share it.
    pub(crate) attempts: u64,
    pub(crate) last_failure: Option<LifecycleError>,
    durations: VecDeque<Duration>,
}

/// An instance that was unpublished and is not retired yet.
#[derive(Debug)]
pub(crate) struct Draining {
    pub(crate) instance: u64,
    pub(crate) provider: Provider,
    pub(crate) tally: Tally,
}

impl Ledger {
    /// Moves the slot's state; a move that the table does not have leaves it and says so in the log.
    pub(crate) fn step(&mut self, step: Move, at: SystemTime) {
        match self.state.moved(step) {
            Some(state) if state != self.state => {
                self.state = state;
                // A swap that is under way or given up does not change who serves, nor since when.
                let serving = [SlotState::Active, SlotState::Swapping];
                if step == Move::Publish || !serving.contains(&state) {
                    self.since = Some(at);
                }
            }
            Some(_) => {}
            None => tracing::error!(state = self.state.name(), ?step, "no such move of a slot"),
        }
    }

    pub(crate) fn fail(&mut self, candidate: &Candidate, failure: Failure, at: SystemTime) {
        self.last_error = Some(LastError {
            provider: candidate.provider().clone(),
            failure,
            at,
        });
    }

    pub(crate) fn took(&mut self, duration: Duration) {
        if self.durations.len() == DURATIONS {
            self.durations.pop_front();
        }
        self.durations.push_back(duration);
    }

    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        Percentiles::of(self.durations.iter().copied())
    }

    pub(crate) fn drained(&mut self, instance: u64) {
        self.draining
            .retain(|draining| draining.instance != instance);
    }
}
