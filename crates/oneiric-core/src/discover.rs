//! Sources that find candidates by themselves: packages, folders, remote manifests. The core only says what they
//! hand over and puts it into a registry; looking is done by the layers that may do I/O.

use std::{error::Error, fmt};

use crate::{
    candidate::Candidate,
    code::{Coded, ErrorKind},
    delta::Delta,
    error::RegisterError,
    origin::{InvalidOrigin, Origin},
    registry::Registry,
    stack_order::StackOrder,
};

/// Finds the candidates of one origin.
pub trait Discover {
    /// Returns the origin that everything found belongs to.
    fn origin(&self) -> Origin;

    /// Looks for candidates, all of them: what is not returned no longer exists.
    ///
    /// # Errors
    /// `core.discovery_failed` when it cannot tell; what was found before stays registered then.
    fn discover(&self) -> Result<Vec<Candidate>, DiscoverError>;
}

fn _dyn_ok(_: &dyn Discover) {}

/// Looks again and replaces what the source registered before, in one step.
///
/// # Errors
/// `core.discovery_failed`, or as [`Registry::replace_origin`]; the registry is unchanged then.
pub fn refresh(registry: &Registry, source: &dyn Discover) -> Result<Delta, RefreshError> {
    let candidates = source.discover().map_err(RefreshError::Discover)?;
    registry
        .replace_origin(&source.origin(), candidates)
        .map_err(RefreshError::Register)
}

/// Registers a package's candidates as origin `plugin:<package>`, replacing those it registered before. A candidate
/// that states no priority gets the one inferred for the package from the stack order and its path.
///
/// # Errors
/// `core.invalid_origin` when the package's name breaks the rule for names, `core.duplicate_candidate`.
pub fn register_pkg(
    registry: &Registry,
    package: &str,
    path: &str,
    order: &StackOrder,
    candidates: impl IntoIterator<Item = Candidate>,
) -> Result<Delta, RefreshError> {
    let origin = Origin::plugin(package).map_err(RefreshError::Package)?;
    let inferred = order.infer(Some(package), Some(path));
    let complete = |candidate: Candidate| {
        let candidate = match candidate.priority() {
            Some(_) => candidate,
            None => candidate.to_builder().priority(inferred).build(),
        };
        candidate.with_origin(origin.clone())
    };
    let candidates: Vec<Candidate> = candidates.into_iter().map(complete).collect();
    registry
        .replace_origin(&origin, candidates)
        .map_err(RefreshError::Register)
}

/// A source could not tell what there is.
#[derive(Debug)]
pub struct DiscoverError {
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl DiscoverError {
    /// Says what was being attempted.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(cause.into());
        self
    }
}

impl fmt::Display for DiscoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for DiscoverError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|cause| cause as _)
    }
}

impl Coded for DiscoverError {
    fn code(&self) -> &'static str {
        "core.discovery_failed"
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }
}

/// Why a source's candidates were not registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// The source could not tell.
    #[error("looking for candidates failed")]
    Discover(#[source] DiscoverError),
    /// The package has no usable name.
    #[error("the package cannot be an origin")]
    Package(#[source] InvalidOrigin),
    /// What it found was refused.
    #[error("the candidates were refused")]
    Register(#[source] RegisterError),
}

impl Coded for RefreshError {
    fn code(&self) -> &'static str {
        match self {
            Self::Discover(error) => error.code(),
            Self::Package(error) => error.code(),
            Self::Register(error) => error.code(),
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Discover(error) => error.kind(),
            Self::Package(error) => error.kind(),
            Self::Register(error) => error.kind(),
        }
    }
}
