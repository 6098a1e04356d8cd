//! Time as a benchmark needs it: the thread's own CPU time beside wall time, so that a sample during
//! which the thread did not run can be told from a slow one; and threads kept on one processor, so
//! that the scheduler's moves are not measured.

use std::time::Duration;

use rustix::io;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// How long something took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// By the clock on the wall.
    pub(crate) wall: Duration,
    /// What this thread ran of it.
    pub(crate) cpu: Duration,
}

/// Times `work` on this thread.
pub(crate) fn time(work: impl FnOnce()) -> Timing {
    let (wall, cpu) = (now(ClockId::Monotonic), now(ClockId::ThreadCPUTime));
    work();
    let (cpu_after, wall_after) = (now(ClockId::ThreadCPUTime), now(ClockId::Monotonic));
    Timing {
        wall: wall_after.saturating_sub(wall),
        cpu: cpu_after.saturating_sub(cpu),
    }
}

/// The time since some moment that stays the same.
pub(crate) fn monotonic() -> Duration {
    now(ClockId::Monotonic)
}

/// The time since 1970-01-01, UTC.
pub(crate) fn since_epoch() -> Duration {
    now(ClockId::Realtime)
}

fn now(clock: ClockId) -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
    let seconds = u64::try_from(tv_sec).unwrap_or_default();
    let nanos = u32::try_from(tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}

/// The processors this process may use, lowest first.
///
/// # Errors
/// When the system does not tell.
pub(crate) fn processors() -> io::Result<Vec<usize>> {
    let allowed = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|&cpu| allowed.is_set(cpu))
        .collect())
}

/// Keeps this thread on one processor from now on.
///
/// # Errors
/// When the processor is not this process's to use.
pub(crate) fn pin(processor: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(processor);
    sched_setaffinity(None, &only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_can_be_kept_on_any_processor_it_may_use() {
        let last = *processors().unwrap().last().unwrap();
        std::thread::spawn(move || {
            pin(last).unwrap();
            assert_eq!(processors().unwrap(), [last]);
        })
        .join()
        .unwrap();
    }
}
