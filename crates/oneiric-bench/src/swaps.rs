//! What swaps cost callers: how long it takes to get a lease while nothing happens and while the slot is swapped a hundred
//! times a second, in turns, and how long the swaps take.
//!
//! Every single lease is timed, by a thread that does nothing else, and counted by whole nanoseconds; reading the clock
//! is in each figure, and so is whatever else the machine does with that thread. Percentiles are of all that were taken.

use std::error::Error;
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use oneiric_core::Slot;
use oneiric_lifecycle::{Lifecycle, SwapRequest};
use tokio::time::Instant;

use crate::clock::monotonic;
use crate::rows::lease::active;

/// From one swap to the next.
const PAUSE: Duration = Duration::from_millis(10);
/// A turn with swaps, or without.
const TURN: Duration = Duration::from_millis(500);
/// Turns of each kind in a full run.
const TURNS: usize = 20;
/// Up to here each nanosecond is counted by itself.
const FINE: usize = 100_000;

/// How often a lease took how long.
struct Latencies {
    counts: Vec<u64>,
    /// Those above, each by itself: there are few.
    longer: Vec<u64>,
}

impl Latencies {
    fn new() -> Self {
        Self {
            counts: vec![0; FINE],
            longer: Vec::new(),
        }
    }

    fn note(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        match usize::try_from(nanos)
            .ok()
            .and_then(|at| self.counts.get_mut(at))
        {
            Some(count) => *count += 1,
            None => self.longer.push(nanos),
        }
    }

    fn total(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.longer.len() as u64
    }

    /// The value that `per_mille` of a thousand are at most, in nanoseconds.
    fn at(&mut self, per_mille: u64) -> u64 {
        let rank = (self.total() * per_mille).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (nanos, count) in (0_u64..).zip(&self.counts) {
            seen += count;
            if seen >= rank {
                return nanos;
            }
        }
        self.longer.sort_unstable();
        let place = usize::try_from(rank - seen).unwrap_or(usize::MAX) - 1;
        self.longer.get(place).copied().unwrap_or_default()
    }
}

/// The table of a run.
///
/// # Errors
/// When nothing can be activated.
pub(crate) fn measure(quick: bool) -> Result<String, Box<dyn Error>> {
    let (lifecycle, slot) = active()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let (mut quiet, mut swapped, mut swaps) = (Latencies::new(), Latencies::new(), 0);
    for _ in 0..if quick { 1 } else { TURNS } {
        during(&lifecycle, &slot, &mut quiet, || {
            thread::sleep(TURN);
            Ok(0)
        })?;
        swaps += during(&lifecycle, &slot, &mut swapped, || {
            runtime.block_on(swap(&lifecycle, &slot))
        })?;
    }
    let mut table = String::from(
        "| a lease and its return | leases | p50 | p99 | p99.9 | longest |\n|---|---|---|---|---|---|\n",
    );
    for (name, latencies) in [
        ("no swaps", &mut quiet),
        ("100 swaps a second", &mut swapped),
    ] {
        let [p50, p99, p999, longest] = [500, 990, 999, 1_000].map(|at| latencies.at(at));
        let millions = latencies.total() / 1_000_000;
        writeln!(
            table,
            "| {name} | {millions} million | {p50} ns | {p99} ns | {p999} ns | {} us |",
            longest / 1_000
        )?;
    }
    let status = lifecycle.status(&slot).ok_or("the slot is gone")?;
    let took = status.swap_duration.ok_or("there was no swap")?;
    writeln!(
        table,
        "\n{swaps} swaps; of the last {} from begin to the old instance being retired: p50 {} us, p90 {} us, p99 {} us, \
         longest {} us.",
        took.count,
        took.p50.as_micros(),
        took.p90.as_micros(),
        took.p99.as_micros(),
        took.max.as_micros()
    )?;
    Ok(table)
}

/// Takes leases for as long as `what` lasts.
fn during(
    lifecycle: &Lifecycle,
    slot: &Slot,
    latencies: &mut Latencies,
    what: impl FnOnce() -> Result<u64, Box<dyn Error>>,
) -> Result<u64, Box<dyn Error>> {
    let over = Arc::new(AtomicBool::new(false));
    let slot = lifecycle.slot(slot);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let begun = monotonic();
                drop(black_box(slot.lease()));
                latencies.note(monotonic().saturating_sub(begun));
            }
        });
        let result = what();
        over.store(true, Ordering::Relaxed);
        reader.join().map_err(|_panic| "the reader panicked")?;
        result
    })
}

async fn swap(lifecycle: &Lifecycle, slot: &Slot) -> Result<u64, Box<dyn Error>> {
    let mut ticks = tokio::time::interval(PAUSE);
    let (begun, mut swaps) = (Instant::now(), 0);
    while begun.elapsed() < TURN {
        ticks.tick().await;
        let request = SwapRequest::to_winner(slot.clone()).rebuild(true);
        let report = lifecycle.swap(request).await?;
        if !report.serves() {
            return Err(format!("a swap failed: {:?}", report.outcome).into());
        }
        swaps += 1;
    }
    Ok(swaps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let mut latencies = Latencies::new();
        for nanos in 1..=1_000 {
            latencies.note(Duration::from_nanos(nanos));
        }
        assert_eq!((latencies.at(500), latencies.at(999)), (500, 999));
        assert_eq!(latencies.at(1_000), 1_000);
        latencies.note(Duration::from_millis(7));
        assert_eq!(latencies.at(1_000), 7_000_000);
        assert_eq!(latencies.total(), 1_001);
    }

    #[test]
    fn a_quick_run_has_both_kinds() {
        let table = measure(true).unwrap();
        assert!(
            table.contains("| no swaps |") && table.contains("| 100 swaps a second |"),
            "{table}"
        );
        assert!(table.contains(" swaps; of the last "), "{table}");
    }
}
