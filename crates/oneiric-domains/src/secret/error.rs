//! Why a secret cannot be had. No variant has room for a value.

use oneiric_core::{Coded, ErrorKind};

use super::SecretRef;

/// Why a secret cannot be had. Names the reference or the place, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// A text that begins like a reference is none.
    #[error("{shown} is no reference to a secret: {fault}")]
    InvalidRef {
        /// The text, quoted and cut.
        shown: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// Nobody of that name keeps secrets in this program.
    #[error("nobody called '{}' keeps secrets here; there is {}", reference.provider(), list(known))]
    ProviderUnknown {
        /// The reference.
        reference: SecretRef,
        /// Who does.
        known: Vec<String>,
    },
    /// There is no secret of that name.
    #[error("there is no secret '{name}': {message}")]
    NotFound {
        /// The name.
        name: String,
        /// Where it was looked for.
        message: String,
    },
    /// It is kept where others may read or change it.
    #[error("'{name}' is not kept safely: {message}")]
    Unsafe {
        /// The name.
        name: String,
        /// In what way.
        message: String,
    },
    /// What is kept under the name cannot be a secret.
    #[error("'{name}' cannot be used: {message}")]
    Unusable {
        /// The name.
        name: String,
        /// Why.
        message: String,
    },
    /// Whoever keeps it does not answer.
    #[error("'{name}' cannot be had now: {message}")]
    Unavailable {
        /// The name.
        name: String,
        /// Why.
        message: String,
    },
    /// Whoever keeps it panicked. What the panic said is not here: it may hold the secret.
    #[error("'{name}' cannot be had now: whoever keeps it panicked")]
    Panicked {
        /// The name.
        name: String,
    },
}

impl SecretError {
    /// Whether it says nothing about the secret itself: what was known of it may still hold.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Panicked { .. })
    }
}

fn list(known: &[String]) -> String {
    if known.is_empty() {
        "nobody".to_owned()
    } else {
        known.join(", ")
    }
}

impl Coded for SecretError {
    fn code(&self) -> &'static str {
        match self {
            Self::InvalidRef { .. } => "domains.secret_ref_invalid",
            Self::ProviderUnknown { .. } => "domains.secret_provider_unknown",
            Self::NotFound { .. } => "domains.secret_not_found",
            Self::Unsafe { .. } => "domains.secret_unsafe",
            Self::Unusable { .. } => "domains.secret_unusable",
            Self::Unavailable { .. } => "domains.secret_unavailable",
            Self::Panicked { .. } => "domains.secret_provider_panicked",
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidRef { .. } | Self::ProviderUnknown { .. } | Self::Unusable { .. } => {
                ErrorKind::Config
            }
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Unsafe { .. } => ErrorKind::Denied,
            Self::Unavailable { .. } | Self::Panicked { .. } => ErrorKind::Unavailable,
        }
    }
}
