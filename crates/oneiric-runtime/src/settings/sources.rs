//! Where settings come from. Everything is handed in as plain values by whoever owns the command line and the
//! environment, so that the same sources can be read again when something has changed.

use std::path::{Path, PathBuf};

use super::{Settings, SettingsError};

/// Where settings come from: files, then the environment, then the command line; later ones win.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<PathBuf>,
}

impl Sources {
    /// Nothing: the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A file that has to be there.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(path.into());
        self
    }

    /// Returns every file that is read, also those that are not there yet.
    #[must_use]
    pub fn files(&self) -> Vec<&Path> {
        self.files.iter().map(PathBuf::as_path).collect()
    }

    /// Reads the settings as they are now. Blocks. Nothing is remembered from one time to the next.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn load(&self) -> Result<Settings, SettingsError> {
        self.files
            .first()
            .map_or_else(|| Ok(Settings::default()), |file| Settings::load(file))
    }
}
