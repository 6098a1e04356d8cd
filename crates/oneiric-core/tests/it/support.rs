//! Short forms of what every test makes.

use oneiric_core::{Candidate, CandidateBuilder, Origin, Provider, Query, Registry, Slot};

pub(crate) fn slot(text: &str) -> Slot {
    text.parse().unwrap()
}

pub(crate) fn provider(text: &str) -> Provider {
    text.parse().unwrap()
}

pub(crate) fn origin(text: &str) -> Origin {
    text.parse().unwrap()
}

/// Begins a candidate of `adapter/cache`.
pub(crate) fn cache(provider_name: &str, origin_name: &str) -> CandidateBuilder {
    Candidate::builder(
        slot("adapter/cache"),
        provider(provider_name),
        origin(origin_name),
    )
}

pub(crate) fn query() -> Query {
    Query::new(slot("adapter/cache"))
}

pub(crate) fn winner(registry: &Registry) -> Option<String> {
    registry.read(|now| {
        now.winner(&slot("adapter/cache"))
            .map(|held| held.provider().to_string())
    })
}
