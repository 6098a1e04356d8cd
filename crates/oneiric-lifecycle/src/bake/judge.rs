//! Whether the calls on a new instance are worse than those on the old one were. Pure, so that it can be held against
//! numbers.

use crate::decision::Because;
use crate::slot_policy::BakePolicy;
use crate::status::CallCounts;

/// Why an instance on trial should go, if its calls say so: more of them panicked than may, or more failed than on
/// the old instance and a few points. Too few calls say nothing.
pub(super) fn judge(now: CallCounts, before: CallCounts, policy: &BakePolicy) -> Option<Because> {
    let ended = now.ended();
    if ended < u64::from(policy.min_calls.get()) {
        return None;
    }
    let wide = |number: u64| u128::from(number);
    if wide(now.panicked) * 100 > wide(ended) * u128::from(policy.panic_percent) {
        return Some(Because::Panics {
            calls: ended,
            panicked: now.panicked,
            allowed_percent: policy.panic_percent,
        });
    }
    // now.failed / ended - before.failed / before.ended > error_percent / 100, without a division.
    let (failed_before, ended_before) = match before.ended() {
        0 => (0, 1),
        ended => (before.failed, ended),
    };
    let share = wide(now.failed) * 100 * wide(ended_before);
    let allowed = wide(failed_before) * 100 * wide(ended)
        + u128::from(policy.error_percent) * wide(ended) * wide(ended_before);
    (share > allowed).then_some(Because::Errors {
        calls: ended,
        failed: now.failed,
        calls_before: before.ended(),
        failed_before: before.failed,
        allowed_points: policy.error_percent,
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;

    fn counts(ended: u64, failed: u64, panicked: u64) -> CallCounts {
        CallCounts {
            succeeded: ended - failed,
            failed,
            panicked,
        }
    }

    fn policy(min_calls: u32, error_percent: u8, panic_percent: u8) -> BakePolicy {
        BakePolicy {
            min_calls: NonZeroU32::new(min_calls).unwrap(),
            error_percent,
            panic_percent,
            ..BakePolicy::default()
        }
    }

    #[test]
    fn a_share_is_held_against_the_old_instances() {
        let policy = policy(20, 5, 100);
        assert_eq!(judge(counts(19, 19, 0), counts(0, 0, 0), &policy), None);
        assert_eq!(judge(counts(20, 1, 0), counts(0, 0, 0), &policy), None);
        assert!(judge(counts(20, 2, 0), counts(0, 0, 0), &policy).is_some());
        // The old one failed as often: it is not the new one's fault.
        assert_eq!(judge(counts(20, 10, 0), counts(100, 50, 0), &policy), None);
        assert_eq!(judge(counts(20, 11, 0), counts(100, 50, 0), &policy), None);
        assert!(judge(counts(20, 12, 0), counts(100, 50, 0), &policy).is_some());
    }

    #[test]
    fn panics_have_a_share_of_their_own() {
        let policy = policy(10, 100, 1);
        assert_eq!(judge(counts(100, 1, 1), counts(0, 0, 0), &policy), None);
        let panics = judge(counts(100, 2, 2), counts(0, 0, 0), &policy);
        assert!(matches!(panics, Some(Because::Panics { panicked: 2, .. })));
    }

    proptest! {
        #[test]
        fn it_is_what_a_division_would_say(
            ended in 1_u64..1_000, failed in 0_u64..1_000, before in 0_u64..1_000,
            failed_before in 0_u64..1_000, points in 0_u8..=100,
        ) {
            let (failed, failed_before) = (failed.min(ended), failed_before.min(before));
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let share = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 * 100.0 / of as f64 };
            let over = share(failed, ended) - share(failed_before, before) - f64::from(points);
            prop_assume!(over.abs() > 1e-6);
            let judged = judge(counts(ended, failed, 0), counts(before, failed_before, 0), &policy(1, points, 100));
            prop_assert_eq!(judged.is_some(), over > 0.0);
        }
    }
}
