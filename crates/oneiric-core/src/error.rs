//! What can go wrong when registering and resolving.

use std::fmt;

use crate::{
    candidate::{Candidate, Registered},
    code::{Coded, ErrorKind},
    name::Provider,
    origin::Origin,
    query::Query,
    slot::Slot,
};

/// Why a batch was refused; nothing of it was registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Two candidates of the batch have one slot and one provider.
    #[error("{origin} offers {slot} from '{provider}' twice")]
    Duplicate {
        /// Whose batch it is.
        origin: Origin,
        /// The slot.
        slot: Slot,
        /// The provider.
        provider: Provider,
    },
    /// A candidate belongs to another origin than the one being replaced.
    #[error("{slot} from '{provider}' belongs to {found}, not to {expected}")]
    OriginMismatch {
        /// The slot.
        slot: Slot,
        /// The provider.
        provider: Provider,
        /// The origin being replaced.
        expected: Origin,
        /// The candidate's.
        found: Origin,
    },
    /// The registration has ended, so there is nothing to update.
    #[error("{slot} from '{provider}' is no longer registered")]
    Ended {
        /// The slot.
        slot: Slot,
        /// The provider.
        provider: Provider,
    },
}

impl RegisterError {
    pub(crate) fn duplicate(candidate: &Candidate) -> Self {
        Self::Duplicate {
            origin: candidate.origin().clone(),
            slot: candidate.slot().clone(),
            provider: candidate.provider().clone(),
        }
    }

    pub(crate) fn mismatch(candidate: &Candidate, expected: &Origin) -> Self {
        Self::OriginMismatch {
            slot: candidate.slot().clone(),
            provider: candidate.provider().clone(),
            expected: expected.clone(),
            found: candidate.origin().clone(),
        }
    }

    pub(crate) fn ended(candidate: &Candidate) -> Self {
        Self::Ended {
            slot: candidate.slot().clone(),
            provider: candidate.provider().clone(),
        }
    }
}

impl Coded for RegisterError {
    fn code(&self) -> &'static str {
        match self {
            Self::Duplicate { .. } => "core.duplicate_candidate",
            Self::OriginMismatch { .. } => "core.origin_mismatch",
            Self::Ended { .. } => "core.registration_ended",
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Duplicate { .. } => ErrorKind::Config,
            Self::OriginMismatch { .. } => ErrorKind::Usage,
            Self::Ended { .. } => ErrorKind::NotFound,
        }
    }
}

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ResolveError {
    /// No candidate satisfies the query.
    NoCandidate {
        /// What was asked.
        query: Box<Query>,
        /// How many candidates the slot has that do not satisfy it.
        excluded: usize,
    },
    /// The best candidates are equal, and the tie policy is to refuse.
    Tied {
        /// The slot.
        slot: Slot,
        /// The tied candidates.
        among: Vec<Registered>,
    },
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCandidate { query, excluded: 0 } => {
                write!(f, "no candidate is registered for {}", query.slot())
            }
            Self::NoCandidate { query, excluded } => {
                write!(
                    f,
                    "none of the {excluded} candidates for {} satisfies the query",
                    query.slot()
                )
            }
            Self::Tied { slot, among } => {
                write!(f, "{slot} is tied between ")?;
                for (index, held) in among.iter().enumerate() {
                    write!(f, "{}{held}", if index == 0 { "" } else { " and " })?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ResolveError {}

impl Coded for ResolveError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoCandidate { .. } => "core.no_candidate",
            Self::Tied { .. } => "core.tied",
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoCandidate { .. } => ErrorKind::NotFound,
            Self::Tied { .. } => ErrorKind::Config,
        }
    }
}
