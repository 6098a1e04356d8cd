//! What slots need of each other and cannot have.

use oneiric_core::{DependencyFaults, MissingWhy, Provider, Slot};
use serde::{Deserialize, Serialize};

/// Something that keeps slots from ever being activated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct DependencyFaultDoc {
    /// `cycle` for slots that need each other in a circle, or why nobody can serve a slot that is needed:
    /// `no_candidate`, `tied`, `not_buildable`.
    pub fault: String,
    /// Each slot needs the next one: two of them, or a circle that ends with its first.
    pub slots: Vec<Slot>,
    /// Who would win in the first slot and needs the second; absent with `cycle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// With `not_buildable`: who would win in the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winner: Option<Provider>,
    /// The same as a line for people.
    pub text: String,
}

impl DependencyFaultDoc {
    /// Those that no optional requirement opens or makes dispensable.
    pub(crate) fn all(faults: &DependencyFaults) -> Vec<Self> {
        let required = faults.missing.iter().filter(|one| !one.optional);
        let missing = required.map(|one| {
            let (fault, winner) = match &one.why {
                MissingWhy::NoCandidate => ("no_candidate", None),
                MissingWhy::Tied => ("tied", None),
                MissingWhy::NotBuildable { winner } => ("not_buildable", Some(winner.clone())),
                _ => ("unknown", None),
            };
            let slots = vec![one.slot.clone(), one.needs.clone()];
            (fault, slots, Some(one.provider.clone()), winner)
        });
        let rings = faults.cycles.iter();
        let rings = rings.map(|ring| ("cycle", ring.clone(), None, None));
        let worded = missing.chain(rings).zip(faults.lines());
        let doc = |((fault, slots, provider, winner), text): ((&str, _, _, _), _)| Self {
            fault: fault.to_owned(),
            slots,
            provider,
            winner,
            text,
        };
        worded.map(doc).collect()
    }
}
