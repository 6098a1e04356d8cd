//! Every fault at once: what is wrong with settings by themselves, and what is wrong with them in a program that brings
//! certain factories and keeps certain secrets. A person who corrects a misspelt key should not be told only then that
//! a factory is misspelt too. What only follows from another fault is not told: it is gone when that one is.

use oneiric_core::FactoryPolicy;
use oneiric_lifecycle::FactoryTable;

use super::{Fault, Settings, SettingsError, Sources, catalog};

impl Sources {
    /// Reads the settings as they are now, for a program that brings `factories` and whose secrets `keepers` keep.
    /// Blocks. Nothing is fetched or built.
    ///
    /// # Errors
    /// As [`Sources::load`] and [`Settings::check_parts`]: all faults of both together.
    pub fn load_for(
        &self,
        factories: &FactoryTable,
        keepers: &[&str],
    ) -> Result<Settings, SettingsError> {
        let (mut settings, error) = self.load_what_can_be_read()?;
        match error {
            None => settings.check_parts(factories, keepers).map(drop)?,
            Some(error) => return Err(error.with_parts(&mut settings, factories, keepers)),
        }
        Ok(settings)
    }
}

impl Settings {
    /// Checks the settings against everything that a program brings: all faults of both kinds together.
    ///
    /// # Errors
    /// As [`check_factories`](Self::check_factories) and [`check_secrets`](Self::check_secrets).
    pub fn check_parts(
        &mut self,
        factories: &FactoryTable,
        keepers: &[&str],
    ) -> Result<FactoryPolicy, SettingsError> {
        let references = self.check_secrets(keepers);
        match (self.check_factories(factories), references) {
            (Ok(policy), Ok(())) => Ok(policy),
            (Err(error), Ok(())) | (Ok(_), Err(error)) => Err(error),
            (Err(one), Err(other)) => Err(one.and(other)),
        }
    }
}

impl SettingsError {
    /// With what is wrong besides in what could be read of the settings.
    pub(crate) fn with_parts(
        self,
        settings: &mut Settings,
        factories: &FactoryTable,
        keepers: &[&str],
    ) -> Self {
        match settings.check_parts(factories, keepers) {
            Ok(_) => self,
            Err(mut more) => {
                more.retain(|fault| !follows(fault, self.faults()));
                self.and(more)
            }
        }
    }
}

/// Whether a fault may be there only because of what others made unreadable.
fn follows(fault: &Fault, others: &[Fault]) -> bool {
    let depends_on: &str = match fault.code {
        "core.factory_denied" => "security",
        "lifecycle.settings_invalid" => &fault.key,
        _ => return false,
    };
    let lies_within = |key: &str| {
        let rest = key.strip_prefix(depends_on);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    // What could not be read, or stands in a misspelt section, may be what is missing.
    let may_hide = |key: &str| {
        let is_at_the_top = !key.contains(['.', '[']);
        is_at_the_top && catalog::root().below(key).is_none()
    };
    others
        .iter()
        .any(|other| may_hide(&other.key) || lies_within(&other.key))
}
