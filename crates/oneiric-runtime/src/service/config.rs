//! What the settings are and who set them.

use oneiric_core::Slot;

use crate::{
    api::{ConfigDoc, ConfigExplainDoc},
    error::RuntimeError,
    runtime::Runtime,
};

impl Runtime {
    /// Returns every setting in force and who set it, without secrets.
    #[must_use]
    pub fn config(&self) -> ConfigDoc {
        self.settings().show()
    }

    /// Explains one setting; of a selection also what an operator selected above it.
    ///
    /// # Errors
    /// `runtime.settings_key_unknown`.
    pub fn config_explain(&self, key: &str) -> Result<ConfigExplainDoc, RuntimeError> {
        let settings = self.settings();
        let mut doc = settings.explain(key).map_err(RuntimeError::SettingsKey)?;
        if let Some(slot) = settings.slot_of_selection(key) {
            doc.operator = self.operator_selection(&slot);
        }
        Ok(doc)
    }

    fn operator_selection(&self, slot: &Slot) -> Option<crate::api::RevisionDoc> {
        let in_force = self.inner.revisions.in_force();
        in_force.into_iter().find(|revision| revision.slot == *slot)
    }
}
