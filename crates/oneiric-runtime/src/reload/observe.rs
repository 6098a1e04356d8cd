//! Who is told of reloads: a seam for whoever owns the process, who may have to tell the system.

use crate::api::ReloadOutcome;

/// Is told when settings are read again, and what came of it.
pub trait ReloadObserver: Send + Sync {
    /// Must not block: the reload waits for it. A panic is logged and has no other effect.
    fn on_reload(&self, event: &ReloadEvent<'_>);
}

impl<F: Fn(&ReloadEvent<'_>) + Send + Sync> ReloadObserver for F {
    fn on_reload(&self, event: &ReloadEvent<'_>) {
        self(event);
    }
}

fn _reload_observer_is_dyn_safe(_: &dyn ReloadObserver) {}

/// What happens around a reload. After every `Begun` there is one `Ended`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ReloadEvent<'a> {
    /// The files are about to be read.
    Begun {
        /// Who asked: `uid:1000`, `signal`, `file`, or what an embedder says.
        who: &'a str,
    },
    /// The reload is over.
    Ended {
        /// Who asked.
        who: &'a str,
        /// How it ended; absent when the settings could not be read at all.
        outcome: Option<&'a ReloadOutcome>,
    },
}
