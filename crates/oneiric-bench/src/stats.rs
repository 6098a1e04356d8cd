//! What is made of samples. Medians, because noise on a shared machine is one-sided; ratios of samples
//! taken in the same round, because whatever slows a machine down for a while slows both.

use crate::clock::Timing;

/// The share of a sample's wall time that its thread must have been running.
const ACCEPTED_SHARE: f64 = 0.98;

/// One contestant's samples, a place for each round; `None` where the round was rejected.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<Option<f64>>);

/// The middle of some samples, and the range that holds four fifths of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) p10: f64,
    pub(crate) median: f64,
    pub(crate) p90: f64,
}

/// Whether the thread ran nearly all of the time; otherwise somebody else's work was measured too.
pub(crate) fn is_accepted(timing: Timing) -> bool {
    timing.cpu.as_secs_f64() >= ACCEPTED_SHARE * timing.wall.as_secs_f64()
}

/// One operation's nanoseconds from a batch that ran on one or more threads at once, `iterations`
/// on each: the mean over the threads, or `None` if any of them was interrupted.
pub(crate) fn per_operation(timings: &[Timing], iterations: u64) -> Option<f64> {
    if timings.is_empty() || !timings.iter().copied().all(is_accepted) {
        return None;
    }
    let total: f64 = timings.iter().map(|timing| timing.wall.as_secs_f64()).sum();
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of threads and iterations are far below 2^52"
    )]
    let operations = timings.len() as f64 * iterations as f64;
    Some(total * 1e9 / operations)
}

impl Samples {
    pub(crate) fn push(&mut self, sample: Option<f64>) {
        self.0.push(sample);
    }

    pub(crate) fn accepted(&self) -> usize {
        self.0.iter().flatten().count()
    }

    pub(crate) fn rejected(&self) -> usize {
        self.0.len() - self.accepted()
    }

    /// `None` when nothing was accepted.
    pub(crate) fn spread(&self) -> Option<Spread> {
        spread(self.0.iter().flatten().copied().collect())
    }

    /// The median of what this is to `other`, round by round; `None` when no round has both.
    pub(crate) fn ratio_to(&self, other: &Self) -> Option<f64> {
        let both = self.0.iter().zip(&other.0);
        let ratios = both.filter_map(|(ours, theirs)| Some((*ours)? / (*theirs)?));
        spread(ratios.collect()).map(|spread| spread.median)
    }
}

impl FromIterator<Option<f64>> for Samples {
    fn from_iter<I: IntoIterator<Item = Option<f64>>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

fn spread(mut values: Vec<f64>) -> Option<Spread> {
    values.sort_by(f64::total_cmp);
    Some(Spread {
        p10: quantile(&values, 1)?,
        median: quantile(&values, 5)?,
        p90: quantile(&values, 9)?,
    })
}

/// The value below which `tenths` tenths of the sorted values lie; between two, a value in between.
fn quantile(sorted: &[f64], tenths: usize) -> Option<f64> {
    let position = sorted.len().checked_sub(1)? * tenths;
    let (below, rest) = (position / 10, position % 10);
    let low = *sorted.get(below)?;
    let high = sorted.get(below + 1).copied().unwrap_or(low);
    #[expect(clippy::cast_precision_loss, reason = "below ten")]
    let share = rest as f64 / 10.0;
    Some(low + (high - low) * share)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn timing(wall: u64, cpu: u64) -> Timing {
        Timing {
            wall: Duration::from_micros(wall),
            cpu: Duration::from_micros(cpu),
        }
    }

    fn samples(values: &[f64]) -> Samples {
        values.iter().copied().map(Some).collect()
    }

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(samples(&[9.0, 1.0, 5.0]).spread().unwrap().median, 5.0);
        assert_eq!(samples(&[4.0, 1.0, 2.0, 3.0]).spread().unwrap().median, 2.5);
        assert_eq!(samples(&[7.0]).spread().unwrap().p90, 7.0);
        assert_eq!(samples(&[]).spread(), None);
    }

    #[test]
    fn the_range_leaves_a_tenth_out_on_either_side() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        let spread = samples(&values).spread().unwrap();
        assert_eq!((spread.p10, spread.p90), (10.0, 90.0));
    }

    #[test]
    fn a_batch_is_accepted_only_if_its_thread_ran_nearly_all_of_the_time() {
        assert!(is_accepted(timing(400, 400)));
        assert!(is_accepted(timing(400, 392)));
        assert!(!is_accepted(timing(400, 391)));
    }

    #[test]
    fn a_batch_on_two_threads_counts_only_if_both_ran_undisturbed() {
        let good = timing(400, 400);
        assert_eq!(per_operation(&[good, timing(200, 200)], 1_000), Some(300.0));
        assert_eq!(per_operation(&[good, timing(900, 400)], 1_000), None);
        assert_eq!(per_operation(&[], 1_000), None);
    }

    #[test]
    fn rejected_rounds_are_counted_and_left_out_of_figures() {
        let samples: Samples = [Some(1.0), None, Some(3.0)].into_iter().collect();
        assert_eq!((samples.accepted(), samples.rejected()), (2, 1));
        assert_eq!(samples.spread().unwrap().median, 2.0);
    }

    #[test]
    fn a_ratio_compares_samples_of_the_same_round() {
        // A machine that runs at half speed from the third round on changes no ratio.
        let ours = samples(&[1.0, 1.0, 2.0, 2.0, 2.0]);
        let peer = samples(&[4.0, 4.0, 8.0, 8.0, 8.0]);
        assert_eq!(ours.ratio_to(&peer), Some(0.25));
        let gaps: Samples = [None, Some(2.0)].into_iter().collect();
        assert_eq!(samples(&[6.0, 1.0]).ratio_to(&gaps), Some(0.5));
        assert_eq!(samples(&[6.0]).ratio_to(&gaps), None);
    }
}
