//! Measures the operations of a row: short batches, visited in turn, on one pinned thread and on two.
//!
//! A batch is short (0.4 ms) so that most batches are not interrupted, and those that are can be
//! thrown away. Contestants are visited in turn, in every mode in the same round, so that a machine
//! that slows down for a second slows all of them down.
//!
//! What two threads on shared data lose is told by two threads on data of their own, not by one
//! thread: two processors may be two halves of one core, and then each is slower when both run,
//! whatever they do, and the more so the better the code uses the core.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use std::{hint, io, thread};

use crate::clock::{self, Timing};
use crate::row::{Contestant, Operation, Work};
use crate::stats::{Samples, per_operation};

const BATCH: Duration = Duration::from_micros(400);

/// When there are samples enough.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Rounds in which everything was accepted.
    pub(crate) wanted: usize,
    /// Rounds after which to make do with what there is.
    pub(crate) at_most: usize,
}

impl Plan {
    pub(crate) const FULL: Self = Self {
        wanted: 300,
        at_most: 3_000,
    };
    pub(crate) const QUICK: Self = Self {
        wanted: 10,
        at_most: 60,
    };
}

/// One contestant's samples, nanoseconds an operation.
#[derive(Debug, Default)]
pub(crate) struct Series {
    pub(crate) one: Samples,
    /// Two threads on shared data; empty where the machine has one processor only.
    pub(crate) two: Samples,
    /// Two threads, each on its own.
    pub(crate) apart: Samples,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    One,
    Two,
    Apart,
}

/// A thread's share of a contestant.
struct Works {
    shared: Work,
    apart: Work,
}

impl Works {
    fn all(contestants: &[Contestant<Operation>], thread: usize) -> Vec<Self> {
        let works = contestants.iter().map(|Contestant { work, .. }| Self {
            shared: (work.shared)(),
            apart: (work.apart[thread])(),
        });
        works.collect()
    }

    fn of(&mut self, mode: Mode) -> &mut Work {
        match mode {
            Mode::One | Mode::Two => &mut self.shared,
            Mode::Apart => &mut self.apart,
        }
    }
}

/// Measures all contestants; the answer is in their order.
///
/// # Errors
/// When threads cannot be started or kept on a processor.
pub(crate) fn measure(
    contestants: &[Contestant<Operation>],
    processors: &[usize],
    plan: Plan,
) -> io::Result<Vec<Series>> {
    let gate = Gate::default();
    thread::scope(|scope| {
        // The second thread sleeps whenever only one is measured.
        let second = match processors.get(1) {
            Some(&processor) => {
                let (jobs, inbox) = channel();
                let (outbox, timings) = channel();
                let gate = &gate;
                thread::Builder::new().spawn_scoped(scope, move || {
                    clock::pin(processor).map(|()| assist(contestants, gate, &inbox, &outbox))
                })?;
                Some(Second { jobs, timings })
            }
            None => None,
        };
        let first = thread::Builder::new().spawn_scoped(scope, || {
            if let Some(&processor) = processors.first() {
                clock::pin(processor)?;
            }
            let mut lead = Lead {
                works: Works::all(contestants, 0),
                second,
                gate: &gate,
                passed: 0,
            };
            lead.rounds(plan)
        })?;
        first
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("a contestant panicked")))
    })
}

/// One batch for the second thread.
struct Job {
    contestant: usize,
    mode: Mode,
    iterations: u64,
    pass: u64,
}

struct Second {
    jobs: Sender<Job>,
    timings: Receiver<Timing>,
}

/// Where two threads wait for each other, awake: a sleeper would come late by a good part of a batch.
#[derive(Debug, Default)]
struct Gate {
    arrived: AtomicU64,
}

impl Gate {
    /// Returns when both threads have come to the gate for the `pass`th time, counted from 1.
    fn pass(&self, pass: u64) {
        self.arrived.fetch_add(1, Ordering::AcqRel);
        while self.arrived.load(Ordering::Acquire) < 2 * pass {
            hint::spin_loop();
        }
    }
}

fn assist(
    contestants: &[Contestant<Operation>],
    gate: &Gate,
    inbox: &Receiver<Job>,
    outbox: &Sender<Timing>,
) {
    let mut works = Works::all(contestants, 1);
    while let Ok(job) = inbox.recv() {
        let work = works[job.contestant].of(job.mode);
        if outbox
            .send(batch(work, job.iterations, Some((gate, job.pass))))
            .is_err()
        {
            return;
        }
    }
}

/// Times one batch, after some iterations that only warm the caches and predictors up.
fn batch(work: &mut Work, iterations: u64, together: Option<(&Gate, u64)>) -> Timing {
    work(iterations / 16);
    if let Some((gate, pass)) = together {
        gate.pass(pass);
    }
    clock::time(|| work(iterations))
}

struct Lead<'a> {
    works: Vec<Works>,
    second: Option<Second>,
    gate: &'a Gate,
    passed: u64,
}

impl Lead<'_> {
    fn rounds(&mut self, plan: Plan) -> io::Result<Vec<Series>> {
        let modes: &[Mode] = match self.second {
            Some(_) => &[Mode::One, Mode::Two, Mode::Apart],
            None => &[Mode::One],
        };
        let mut visits = Vec::new();
        for contestant in 0..self.works.len() {
            for &mode in modes {
                visits.push((contestant, mode, self.calibrate(contestant, mode)?));
            }
        }
        let mut series: Vec<Series> = self.works.iter().map(|_| Series::default()).collect();
        let mut complete = 0;
        for _ in 0..plan.at_most {
            let mut all = true;
            for &(contestant, mode, iterations) in &visits {
                let timings = self.batch(contestant, mode, iterations)?;
                let sample = per_operation(&timings, iterations);
                all &= sample.is_some();
                let of = &mut series[contestant];
                let samples = match mode {
                    Mode::One => &mut of.one,
                    Mode::Two => &mut of.two,
                    Mode::Apart => &mut of.apart,
                };
                samples.push(sample);
            }
            complete += usize::from(all);
            if complete == plan.wanted {
                break;
            }
        }
        Ok(series)
    }

    /// How many iterations make a batch. Interruptions only ever make it look slower, so the quickest
    /// of a few tries counts.
    fn calibrate(&mut self, contestant: usize, mode: Mode) -> io::Result<u64> {
        let mut iterations: u64 = 64;
        loop {
            let mut quickest = Duration::MAX;
            for _ in 0..5 {
                let timings = self.batch(contestant, mode, iterations)?;
                quickest = timings
                    .iter()
                    .map(|one| one.wall)
                    .fold(quickest, Duration::min);
            }
            if quickest >= BATCH / 8 {
                let nanos = quickest.as_nanos().max(1);
                let scaled = u128::from(iterations) * BATCH.as_nanos() / nanos;
                return Ok(u64::try_from(scaled).unwrap_or(u64::MAX).max(1));
            }
            iterations *= 2;
        }
    }

    fn batch(&mut self, contestant: usize, mode: Mode, iterations: u64) -> io::Result<Vec<Timing>> {
        let work = self.works[contestant].of(mode);
        let Some(second) = self.second.as_ref().filter(|_| mode != Mode::One) else {
            return Ok(vec![batch(work, iterations, None)]);
        };
        let gone = |_| io::Error::other("the second thread is gone");
        self.passed += 1;
        let job = Job {
            contestant,
            mode,
            iterations,
            pass: self.passed,
        };
        second.jobs.send(job).map_err(|_| gone(()))?;
        let first = batch(work, iterations, Some((self.gate, self.passed)));
        let other = second.timings.recv().map_err(|_| gone(()))?;
        Ok(vec![first, other])
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::hint::black_box;

    use super::*;
    use crate::row::repeated;

    const PLAN: Plan = Plan {
        wanted: 1,
        at_most: 3,
    };

    fn counting() -> Contestant<Operation> {
        let count = || {
            let count = Cell::new(0_u64);
            move || {
                count.set(black_box(count.get() + 1));
            }
        };
        let work = Operation::new(|| Ok(repeated(count))).unwrap();
        Contestant::control("counting", work)
    }

    #[test]
    fn every_contestant_has_a_sample_for_every_round() {
        let both = [counting(), counting()];
        let processors = clock::processors().unwrap();
        let series = measure(&both, &processors[..1], PLAN).unwrap();
        let rounds = |samples: &Samples| samples.accepted() + samples.rejected();
        assert_eq!(series.len(), 2);
        assert!((1..=3).contains(&rounds(&series[0].one)));
        assert_eq!(rounds(&series[0].one), rounds(&series[1].one));
        assert_eq!(rounds(&series[0].two), 0, "one processor, one thread");
    }

    #[test]
    fn two_threads_are_measured_where_there_are_two_processors() {
        let processors = clock::processors().unwrap();
        // Two threads on one processor wait for each other all the same, only longer.
        let pair = [processors[0], *processors.last().unwrap()];
        let series = measure(&[counting()], &pair, PLAN).unwrap();
        let rounds = |samples: &Samples| samples.accepted() + samples.rejected();
        assert!(rounds(&series[0].two) > 0);
        assert_eq!(rounds(&series[0].two), rounds(&series[0].apart));
    }
}
