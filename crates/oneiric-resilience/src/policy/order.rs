//! In which order a policy's stages stand. The order decides what each of them sees, so it is one of
//! the policy's settings, is checked as they are, and can be asked for.

use std::fmt;

use crate::invalid::Checks;

/// One stage of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Stage {
    /// What is answered instead of an error. Always the outermost: it sees the errors of all others. No
    /// settings name it.
    #[cfg_attr(feature = "serde", serde(skip_deserializing))]
    Fallback,
    /// Until when all must be over. Outside of all but the fallback: it bounds attempts and waits.
    Deadline,
    /// Tries again.
    Retry,
    /// Does not call what is down.
    Breaker,
    /// So many calls a second.
    Bucket,
    /// So many calls at once.
    Bulkhead,
    /// How long one attempt may take. Always the innermost: time spent waiting for a turn is not the
    /// called one's.
    Attempt,
}

impl Stage {
    /// All stages in the order in which they stand unless told otherwise, outermost first.
    pub const ALL: [Self; 7] = [
        Self::Fallback,
        Self::Deadline,
        Self::Retry,
        Self::Breaker,
        Self::Bucket,
        Self::Bulkhead,
        Self::Attempt,
    ];

    /// Its name in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fallback => "fallback",
            Self::Deadline => "deadline",
            Self::Retry => "retry",
            Self::Breaker => "breaker",
            Self::Bucket => "bucket",
            Self::Bulkhead => "bulkhead",
            Self::Attempt => "attempt",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Says what is wrong with an order, given the stages that there are in the order in which they stand
/// unless told otherwise.
pub(super) fn check(checks: &mut Checks, order: &[Stage], present: &[Stage]) {
    for (at, stage) in order.iter().enumerate() {
        if !present.contains(stage) {
            let allowed = format!("one of the stages that are set: {}", list(present));
            checks.that(false, format!("order[{at}]"), stage, allowed);
        } else if order.iter().take(at).any(|before| before == stage) {
            let value = format!("{stage} again");
            checks.that(false, format!("order[{at}]"), value, "each stage once");
        }
    }
    let missing: Vec<Stage> = present
        .iter()
        .copied()
        .filter(|stage| !order.contains(stage))
        .collect();
    if !missing.is_empty() {
        let value = format!("without {}", list(&missing));
        let allowed = format!("every stage that is set: {}", list(present));
        checks.that(false, "order", value, allowed);
    }
    check_end(checks, order, Stage::Deadline, order.first(), "the first");
    check_end(checks, order, Stage::Attempt, order.last(), "the last");
}

/// A stage that is in the order at all stands at one end of it.
fn check_end(
    checks: &mut Checks,
    order: &[Stage],
    stage: Stage,
    end: Option<&Stage>,
    place: &'static str,
) {
    if let Some(at) = order.iter().position(|other| *other == stage) {
        let allowed = format!("{place} stage, which {stage} always is");
        let value = format!("{stage} in the middle");
        checks.that(end == Some(&stage), format!("order[{at}]"), value, allowed);
    }
}

fn list(stages: &[Stage]) -> String {
    if stages.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<&str> = stages.iter().map(|stage| stage.as_str()).collect();
    names.join(", ")
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use super::*;

    const PRESENT: [Stage; 5] = [
        Stage::Deadline,
        Stage::Retry,
        Stage::Breaker,
        Stage::Bucket,
        Stage::Attempt,
    ];

    fn faults(order: &[Stage]) -> Vec<String> {
        let mut checks = Checks::of("policy");
        check(&mut checks, order, &PRESENT);
        match checks.done() {
            Ok(()) => Vec::new(),
            Err(invalid) => invalid.faults().iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn gates_may_stand_on_either_side_of_the_retry_and_in_any_order() {
        use Stage::{Attempt, Breaker, Bucket, Deadline, Retry};
        for gates in [
            [Retry, Breaker, Bucket],
            [Breaker, Retry, Bucket],
            [Bucket, Breaker, Retry],
            [Bucket, Retry, Breaker],
        ] {
            let order = [&[Deadline], &gates[..], &[Attempt]].concat();
            assert_eq!(faults(&order), [""; 0]);
        }
    }

    #[test]
    fn each_fault_is_named_with_its_place() {
        let order = [
            Stage::Attempt,
            Stage::Retry,
            Stage::Bulkhead,
            Stage::Retry,
            Stage::Deadline,
        ];
        let set = "deadline, retry, breaker, bucket, attempt";
        assert_eq!(
            faults(&order),
            [
                format!("`order[2]` is bulkhead, allowed is one of the stages that are set: {set}"),
                "`order[3]` is retry again, allowed is each stage once".to_owned(),
                format!("`order` is without breaker, bucket, allowed is every stage that is set: {set}"),
                "`order[4]` is deadline in the middle, allowed is the first stage, which deadline always is".to_owned(),
                "`order[0]` is attempt in the middle, allowed is the last stage, which attempt always is".to_owned(),
            ]
        );
    }

    #[test]
    fn names_are_those_of_settings() {
        for stage in Stage::ALL {
            assert_eq!(stage.to_string(), stage.as_str());
            #[cfg(feature = "serde")]
            assert_eq!(serde_json::json!(stage), serde_json::json!(stage.as_str()));
        }
    }
}
