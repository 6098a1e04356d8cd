//! The handle of one registration. It owns the registration: whoever dropped it has unregistered, so nothing stays
//! behind by being forgotten.

use std::fmt;

use crate::{
    candidate::{Candidate, CandidateBuilder, CandidateId, Registered},
    delta::Delta,
    error::RegisterError,
    registry::Registry,
};

/// One candidate's registration; dropping it unregisters.
#[must_use = "dropping a registration ends it; keep() lets it stay"]
pub struct Registration {
    registry: Registry,
    id: CandidateId,
    first: Registered,
    kept: bool,
}

impl Registration {
    pub(crate) fn new(registry: Registry, held: Registered) -> Self {
        Self {
            registry,
            id: held.id(),
            first: held,
            kept: false,
        }
    }

    /// Ends the registration and returns what that changed.
    pub fn unregister(mut self) -> Delta {
        self.kept = true;
        self.registry.unregister(self.id)
    }

    /// Leaves the candidate registered; [`Registry::unregister`] ends it.
    pub fn keep(mut self) -> CandidateId {
        self.kept = true;
        self.id
    }

    /// Changes properties of the candidate and ranks it anew. Slot, provider and origin stay as they are, and so does
    /// the sequence number. Of two updates at once the later one holds whole.
    ///
    /// # Errors
    /// `core.registration_ended` when the candidate was replaced or removed meanwhile.
    pub fn update(
        &self,
        edit: impl FnOnce(CandidateBuilder) -> CandidateBuilder,
    ) -> Result<Delta, RegisterError> {
        let ended = || RegisterError::ended(self.first.candidate());
        // The edit is foreign code: it runs without any lock.
        let held = self.registry.held(self.id).ok_or_else(ended)?;
        let candidate: Candidate = edit(held.to_builder()).build_in_place_of(&held);
        self.registry.update(self.id, candidate).ok_or_else(ended)
    }

    /// Returns the number in order of registration.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.id.sequence()
    }

    /// Returns what names the registration.
    #[must_use]
    pub fn id(&self) -> CandidateId {
        self.id
    }

    /// Returns the candidate as it is registered now; the first one after the registration ended.
    #[must_use]
    pub fn registered(&self) -> Registered {
        self.registry
            .held(self.id)
            .unwrap_or_else(|| self.first.clone())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if !self.kept {
            self.registry.unregister(self.id);
        }
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registration").field(&self.first).finish()
    }
}
