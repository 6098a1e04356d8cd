//! The settings in force, exchanged whole.
//!
//! Everything that reads a setting while the process runs asks here each time, so that a reload holds for whoever
//! comes next and nobody sees half of one. What is asked for within one request should be asked for once.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::settings::Settings;

/// A handle to the settings in force. Cheap to clone; all clones see the same.
#[derive(Debug, Clone)]
pub(crate) struct Current(Arc<ArcSwap<Settings>>);

impl Current {
    pub(crate) fn new(settings: Settings) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(settings)))
    }

    /// The settings as they are now; later changes do not touch them.
    pub(crate) fn load(&self) -> Arc<Settings> {
        self.0.load_full()
    }

    pub(super) fn store(&self, settings: Arc<Settings>) {
        self.0.store(settings);
    }
}
