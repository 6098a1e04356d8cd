//! What a runtime can tell whoever writes its log, without knowing who that is: the log is the program's, and a
//! runtime that is embedded may have none.

use crate::settings::LogSettings;

/// Changes how a log is written while it is.
pub trait LogControl: Send + Sync {
    /// Refuses settings that cannot be used, saying why, and changes nothing.
    ///
    /// # Errors
    /// What is wrong with the filter, for a person.
    fn check(&self, settings: &LogSettings) -> Result<(), String>;

    /// Logs as `settings` say from now on. Called with settings that [`LogControl::check`] took.
    fn apply(&self, settings: &LogSettings);

    /// How many lines were lost because nobody read them.
    fn dropped(&self) -> u64;
}

fn _log_control_is_dyn_safe(_: &dyn LogControl) {}
