//! What all handles of a breaker share. Calls that are let through, and calls that are not, look at one
//! word and take no lock: an outage must not make callers queue up for being told so. Transitions and
//! probes are few, and made under a lock, where nothing can come between.

mod change;
mod look;

use std::sync::Arc;
use std::time::Duration;

use crate::stripe::{Padded, Striped};
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock};
use crate::{Backoff, Clock, Delays, Jitter, Moment, Outcome, Rejected, Rejection};

use super::BreakerConfig;
use super::control::BreakerControl;
use super::observe::{BreakerReason, Observers};
use super::probes::{self, Probes, Test};
use super::state::{BreakerState, Word};
use super::window::{Bad, Memory, Stripe};

/// A call that was let through: what it must show when it ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    word: Word,
    /// When it began; only where slow calls are counted. Not an option, so that a ticket fits into registers.
    started: Moment,
}

/// Aligned so that the count of handles, which lies before it, is on another line than the word.
#[repr(align(128))]
pub(crate) struct Machine<C> {
    word: AtomicU64,
    slow_call: Option<Duration>,
    stripes: Striped<Stripe>,
    memory: Memory,
    clock: C,
    /// Written only while the word says something else than open: what is read under one word is of that
    /// word, or the word has changed.
    open_until: AtomicU64,
    /// Written before the first of some probes begins, so of use only where no more may begin.
    half_open_until: AtomicU64,
    /// Probes that may begin; only written under the lock.
    free: AtomicU64,
    rare: Padded<Mutex<Rare>>,
    config: BreakerConfig,
    backoff: Backoff,
    observers: Observers,
    name: Arc<str>,
}

/// What only transitions and probes need.
struct Rare {
    since: Moment,
    delays: Delays,
    jitter: Box<dyn Jitter + Send>,
    probes: Probes,
    opened: u64,
    control: BreakerControl,
}

/// What a breaker is made of besides its settings.
pub(super) struct Parts<C> {
    pub(super) clock: C,
    pub(super) jitter: Box<dyn Jitter + Send>,
    pub(super) observers: Observers,
    pub(super) name: Arc<str>,
}

impl<C: Clock> Machine<C> {
    /// Closed. The settings were checked.
    pub(super) fn new(config: BreakerConfig, backoff: Backoff, parts: Parts<C>) -> Self {
        let stripes = Striped::new(Stripe::default);
        let memory = Memory::new(&config);
        let since = parts.clock.now();
        memory.restart(&stripes, 0, since);
        Self {
            word: AtomicU64::new(Word::new(BreakerState::Closed, 0).bits()),
            slow_call: config.slow_call,
            stripes,
            memory,
            clock: parts.clock,
            open_until: AtomicU64::new(0),
            half_open_until: AtomicU64::new(0),
            free: AtomicU64::new(0),
            rare: Padded::new(Mutex::new(Rare {
                since,
                delays: backoff.start(),
                jitter: parts.jitter,
                probes: Test::of(&config).begin(),
                opened: 0,
                control: BreakerControl::new(),
            })),
            config,
            backoff,
            observers: parts.observers,
            name: parts.name,
        }
    }

    #[cfg(all(test, not(oneiric_loom)))]
    pub(super) fn without_batches(self) -> Self {
        let memory = match self.memory {
            Memory::Time(time) => Memory::Time(Box::new(time.without_batches())),
            other => other,
        };
        Self { memory, ..self }
    }

    /// Out of line, so that calls that are not timed are not longer for it.
    #[inline(never)]
    fn now(&self) -> Moment {
        self.clock.now()
    }

    #[inline]
    fn word(&self) -> Word {
        Word::from_bits(self.word.load(Ordering::Acquire))
    }

    fn rare(&self) -> MutexGuard<'_, Rare> {
        lock(&self.rare)
    }

    /// Lets a call through, or not.
    #[inline]
    pub(super) fn enter(&self) -> Result<Ticket, Rejected> {
        let word = self.word();
        if word.passes() {
            Ok(self.ticket(word))
        } else {
            self.ask()
        }
    }

    #[inline]
    fn ticket(&self, word: Word) -> Ticket {
        let started = match self.slow_call {
            Some(_) => self.now(),
            None => Moment::ORIGIN,
        };
        Ticket { word, started }
    }

    #[cold]
    fn ask(&self) -> Result<Ticket, Rejected> {
        let answer = match self.refused() {
            Some(rejected) => Err(rejected),
            None => {
                let answer = self.ask_again();
                self.observers.tell();
                answer
            }
        };
        if answer.is_err() {
            self.stripes.mine().rejected.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    /// The answer to most of the calls of an outage, for which no lock is needed.
    pub(super) fn refused(&self) -> Option<Rejected> {
        let word = self.word();
        let (until, free) = match word.state() {
            BreakerState::Open => (&self.open_until, 0),
            BreakerState::HalfOpen => (&self.half_open_until, self.free.load(Ordering::Acquire)),
            BreakerState::ForcedOpen => return Some(forced_open()),
            BreakerState::Closed | BreakerState::MetricsOnly | BreakerState::Disabled => {
                return None;
            }
        };
        let until = Moment::from_nanos(until.load(Ordering::Acquire));
        if free > 0 || self.word() != word {
            return None;
        }
        let now = self.clock.now();
        (now < until).then(|| closed_door(word, until, now))
    }

    /// The answer where something may have to change first.
    fn ask_again(&self) -> Result<Ticket, Rejected> {
        let mut rare = self.rare();
        loop {
            let word = self.word();
            let now = self.clock.now();
            match word.state() {
                BreakerState::Open => {
                    let until = self.open_until();
                    if now < until {
                        return Err(closed_door(word, until, now));
                    }
                    self.half_open(&mut rare, now);
                }
                BreakerState::HalfOpen => {
                    let until = self.half_open_until();
                    if rare.probes.none_under_way() && rare.probes.free() > 0 {
                        // Nobody came for a while, which is no sign of anything. Where none is free either, the
                        // chance panicked as it was to open: then its time runs out, too.
                        self.begin_probing(now);
                    } else if now >= until {
                        self.open(&mut rare, now, BreakerReason::ProbesHung, None);
                        continue;
                    }
                    if !rare.probes.take() {
                        return Err(closed_door(word, until, now));
                    }
                    self.show_free(&rare);
                    // Not from the clock again, which may panic: the probe would be nobody's.
                    let started = now;
                    return Ok(Ticket { word, started });
                }
                BreakerState::ForcedOpen => return Err(forced_open()),
                BreakerState::Closed | BreakerState::MetricsOnly | BreakerState::Disabled => {
                    return Ok(self.ticket(word));
                }
            }
        }
    }

    /// A call ended.
    #[inline(always)]
    pub(super) fn end(&self, ticket: Ticket, outcome: Outcome) {
        let slow = match self.slow_call {
            Some(longest) => self.now().since(ticket.started) > longest,
            None => false,
        };
        self.note(ticket.word, outcome, slow);
    }

    /// A call ended that took so long.
    pub(super) fn end_after(&self, ticket: Ticket, outcome: Outcome, elapsed: Duration) {
        let slow = self.slow_call.is_some_and(|longest| elapsed > longest);
        self.note(ticket.word, outcome, slow);
    }

    #[inline(always)]
    fn note(&self, word: Word, outcome: Outcome, slow: bool) {
        if outcome != Outcome::Success || slow || !word.counts() {
            self.judge(word, outcome, slow);
        } else if word == self.word() {
            let now = || self.clock.now();
            self.memory.good(&self.stripes, word.generation(), now);
        }
    }

    /// A call says nothing. If it was a probe its slot is free again.
    pub(super) fn give_back(&self, ticket: Ticket) {
        self.judge(ticket.word, Outcome::Ignored, false);
    }

    #[cold]
    fn judge(&self, word: Word, outcome: Outcome, slow: bool) {
        if word != self.word() {
            return;
        }
        match word.state() {
            BreakerState::HalfOpen => self.end_probe(word, outcome, slow),
            BreakerState::Closed | BreakerState::MetricsOnly if outcome != Outcome::Ignored => {
                self.count(word, outcome, slow);
            }
            _ => return,
        }
        self.observers.tell();
    }

    fn count(&self, word: Word, outcome: Outcome, slow: bool) {
        let bad = bad(outcome, slow);
        let now = || self.clock.now();
        let too_much = self.memory.bad(&self.stripes, word.generation(), bad, now);
        let asked = self.asked(outcome);
        let why = asked.map(|_| BreakerReason::Overloaded).or(too_much);
        if let (BreakerState::Closed, Some(why)) = (word.state(), why) {
            let mut rare = self.rare();
            // Of those who find out together the first one opens it.
            if word == self.word() {
                let now = self.clock.now();
                self.open(&mut rare, now, why, asked);
            }
        }
    }

    fn end_probe(&self, word: Word, outcome: Outcome, slow: bool) {
        let mut rare = self.rare();
        if word != self.word() {
            return;
        }
        if outcome == Outcome::Ignored {
            rare.probes.give_back();
            return self.show_free(&rare);
        }
        let asked = self.asked(outcome);
        let now = self.clock.now();
        match rare.probes.end(bad(outcome, slow)) {
            _ if asked.is_some() => self.open(&mut rare, now, BreakerReason::Overloaded, asked),
            probes::Result::Failed(why) => self.open(&mut rare, now, why, None),
            probes::Result::Passed => self.close(&mut rare, now, BreakerReason::ProbesSucceeded),
            probes::Result::Unknown => {}
        }
    }

    /// For how long the outcome asks to be left alone, if it does.
    fn asked(&self, outcome: Outcome) -> Option<Duration> {
        match outcome {
            Outcome::Overloaded { retry_after } => {
                Some(retry_after.min(self.config.max_retry_after))
            }
            _ => None,
        }
    }

    fn open_until(&self) -> Moment {
        Moment::from_nanos(self.open_until.load(Ordering::Acquire))
    }

    fn half_open_until(&self) -> Moment {
        Moment::from_nanos(self.half_open_until.load(Ordering::Acquire))
    }
}

const fn bad(outcome: Outcome, slow: bool) -> Bad {
    Bad {
        failed: outcome.is_failure(),
        slow,
    }
}

const fn forced_open() -> Rejected {
    Rejected::new(Rejection::BreakerForcedOpen, None)
}

/// Open: come back when it is over. Half open: nobody knows when a probe ends.
fn closed_door(word: Word, until: Moment, now: Moment) -> Rejected {
    let open = word.state() == BreakerState::Open;
    Rejected::new(Rejection::BreakerOpen, open.then(|| until.since(now)))
}
