//! A breaker that is obvious and slow: it remembers every call, and goes through all of them each time.

use std::time::Duration;

use crate::breaker::window::{Sums, fewest};
use crate::{BreakerConfig, BreakerMode, BreakerState, BreakerWindow, Outcome};

/// A call that ended while calls were counted.
#[derive(Debug, Clone, Copy)]
struct Call {
    at: Duration,
    failed: bool,
    slow: bool,
}

/// A call that was let through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Permit {
    generation: u64,
    began: Duration,
}

#[derive(Debug)]
pub(super) struct Model {
    config: BreakerConfig,
    pub(super) now: Duration,
    pub(super) state: BreakerState,
    pub(super) generation: u64,
    pub(super) rejected: u64,
    calls: Vec<Call>,
    until: Duration,
    /// How often it opened since it last closed.
    opened: u32,
    under_way: u32,
}

impl Model {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            now: Duration::ZERO,
            state: BreakerState::Closed,
            generation: 0,
            rejected: 0,
            calls: Vec::new(),
            until: Duration::ZERO,
            opened: 0,
            under_way: 0,
        }
    }

    /// A permit, or what a rejected one is told.
    pub(super) fn permit(&mut self) -> Result<Permit, Option<Duration>> {
        let hung = self.under_way > 0 && self.now >= self.until;
        if self.state == BreakerState::HalfOpen && hung {
            self.open(None);
        }
        if self.state == BreakerState::Open && self.now >= self.until {
            self.go(BreakerState::HalfOpen);
        }
        if self.state == BreakerState::HalfOpen && self.under_way == 0 {
            self.until = self.now + self.config.half_open_max;
        }
        let rejected = match self.state {
            BreakerState::Open => Some(Some(self.until - self.now)),
            BreakerState::ForcedOpen => Some(None),
            BreakerState::HalfOpen => {
                let ended = u32::try_from(self.calls.len()).unwrap();
                let full = self.under_way + ended >= self.config.probes;
                self.under_way += u32::from(!full);
                full.then_some(None)
            }
            _ => None,
        };
        match rejected {
            Some(wait) => {
                self.rejected += 1;
                Err(wait)
            }
            None => Ok(Permit {
                generation: self.generation,
                began: self.now,
            }),
        }
    }

    /// The end of a call, which took so long if that is told.
    pub(super) fn end(&mut self, permit: Permit, outcome: Outcome, took: Option<Duration>) {
        if permit.generation != self.generation {
            return;
        }
        if self.state == BreakerState::HalfOpen {
            self.under_way -= 1;
        }
        if outcome == Outcome::Ignored || self.state == BreakerState::Disabled {
            return;
        }
        let took = took.unwrap_or(self.now - permit.began);
        let call = Call {
            at: self.now,
            failed: outcome.is_failure(),
            slow: self.config.slow_call.is_some_and(|longest| took > longest),
        };
        self.calls.push(call);
        let asked = match outcome {
            Outcome::Overloaded { retry_after } => {
                Some(retry_after.min(self.config.max_retry_after))
            }
            _ => None,
        };
        match self.state {
            BreakerState::Closed if asked.is_some() || self.too_bad(call) => self.open(asked),
            BreakerState::HalfOpen => self.judge_probes(asked),
            _ => {}
        }
    }

    pub(super) fn by_hand(&mut self, mode: BreakerMode) {
        let wanted = match mode {
            BreakerMode::Released => match self.state {
                BreakerState::Disabled | BreakerState::ForcedOpen | BreakerState::MetricsOnly => {
                    BreakerState::Closed
                }
                other => other,
            },
            BreakerMode::Disabled => BreakerState::Disabled,
            BreakerMode::ForcedOpen => BreakerState::ForcedOpen,
            BreakerMode::MetricsOnly => BreakerState::MetricsOnly,
        };
        if wanted != self.state {
            self.go(wanted);
        }
    }

    /// What is in the window now.
    pub(super) fn sums(&self) -> Sums {
        match self.state {
            BreakerState::Closed | BreakerState::MetricsOnly => self.window(),
            BreakerState::HalfOpen => sums(&self.calls),
            _ => Sums::default(),
        }
    }

    fn window(&self) -> Sums {
        match self.config.window {
            BreakerWindow::Calls(last) => {
                let skipped = self.calls.len().saturating_sub(last as usize);
                sums(&self.calls[skipped..])
            }
            BreakerWindow::Time { length, buckets } => {
                let bucket = (length / buckets).as_nanos();
                let age = |call: &&Call| self.now.as_nanos() / bucket - call.at.as_nanos() / bucket;
                sums(
                    self.calls
                        .iter()
                        .filter(|call| age(call) < u128::from(buckets)),
                )
            }
            BreakerWindow::Consecutive(_) => {
                sums(self.calls.iter().rev().take_while(|call| call.failed))
            }
        }
    }

    /// Whether the breaker must open, now that this call is counted.
    fn too_bad(&self, call: Call) -> bool {
        let window = self.window();
        if let BreakerWindow::Consecutive(enough) = self.config.window {
            return window.failures >= u64::from(enough);
        }
        let too_many = |part: u64, percent: f64| {
            part > 0 && part as f64 * 100.0 >= percent * window.calls as f64
        };
        (call.failed || call.slow)
            && window.calls >= u64::from(self.config.min_calls)
            && (too_many(window.failures, self.config.failure_percent)
                || too_many(window.slow, self.config.slow_percent))
    }

    fn judge_probes(&mut self, asked: Option<Duration>) {
        let ended = sums(&self.calls);
        let probes = u64::from(self.config.probes);
        let to_come = probes - ended.calls;
        let failures = match self.config.window {
            BreakerWindow::Consecutive(_) => 1,
            _ => fewest(probes, self.config.failure_percent),
        };
        let slow = fewest(probes, self.config.slow_percent);
        let timed = self.config.slow_call.is_some();
        if asked.is_some() || ended.failures >= failures || timed && ended.slow >= slow {
            self.open(asked);
        } else if ended.failures + to_come < failures && (!timed || ended.slow + to_come < slow) {
            self.go(BreakerState::Closed);
        }
    }

    fn open(&mut self, asked: Option<Duration>) {
        let open = self.config.open;
        self.opened += 1;
        let grown = open.min * 2_u32.pow(self.opened.min(20) - 1);
        self.until = self.now + grown.min(open.max).max(asked.unwrap_or_default());
        self.go(BreakerState::Open);
    }

    fn go(&mut self, to: BreakerState) {
        self.calls.clear();
        self.under_way = 0;
        self.generation += 1;
        self.state = to;
        if to == BreakerState::Closed {
            self.opened = 0;
        }
    }
}

fn sums<'a>(calls: impl IntoIterator<Item = &'a Call>) -> Sums {
    let mut sums = Sums::default();
    for call in calls {
        sums.calls += 1;
        sums.failures += u64::from(call.failed);
        sums.slow += u64::from(call.slow);
    }
    sums
}
