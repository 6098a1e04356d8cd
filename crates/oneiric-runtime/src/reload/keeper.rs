//! What goes on beside everything else while a runtime runs: files are watched, and slots that are resumed get what
//! waited for them.

use std::{io, path::PathBuf};

use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    runtime::Runtime,
    settings::{Settings, SettingsError, Sources},
};

/// Where settings come from.
#[derive(Debug)]
pub(crate) struct Files(Sources);

impl Files {
    pub(crate) const fn new(sources: Sources) -> Self {
        Self(sources)
    }

    #[cfg(feature = "watch")]
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.0
            .files()
            .into_iter()
            .map(|file| file.to_path_buf())
            .collect()
    }

    /// Reads the settings as they are now; `good` are those in force. Blocks.
    ///
    /// A file that has gone is a fault and not one that says nothing, and so is one in which nothing stands any more:
    /// whoever writes it may be between two steps, and taking all that it said as taken back would retire components
    /// for a moment's absence. What has faults comes with them, for whoever finds more.
    pub(super) fn read(
        &self,
        good: &Settings,
    ) -> Result<(Settings, Option<SettingsError>), SettingsError> {
        must_be_there(good.files())?;
        let read = self.0.load_what_can_be_read()?;
        // Once more: one may have gone while they were read.
        must_be_there(good.files())?;
        match good.emptied(&read.0) {
            None => Ok(read),
            Some(file) => {
                let emptied = "nothing stands in it any more; if that is meant, leave a comment";
                let file = file.display().to_string();
                Err(SettingsError::unreadable(&file, io::Error::other(emptied)))
            }
        }
    }
}

fn must_be_there(files: &[PathBuf]) -> Result<(), SettingsError> {
    for file in files {
        let unreadable = |error| SettingsError::unreadable(&file.display().to_string(), error);
        let about = file.metadata().map_err(unreadable)?;
        // Opening a pipe waits for its other end, which may never come.
        if !about.is_file() && !about.is_dir() {
            let no_file = "it is neither a file nor a directory";
            return Err(unreadable(io::Error::other(no_file)));
        }
    }
    Ok(())
}

/// The task that does it, until this is dropped.
pub(crate) struct Keeper {
    task: AbortOnDropHandle<()>,
    stop: CancellationToken,
}

impl Keeper {
    pub(crate) fn start(runtime: Runtime) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let work = async {
                tokio::join!(resume(&runtime), watch(&runtime));
            };
            tokio::select! {
                () = stopped.cancelled() => {}
                () = work => {}
            }
        }));
        Self { task, stop }
    }

    /// Ends it. A reload under way goes on; it finds its slots stopped.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await
            && error.is_panic()
        {
            tracing::error!(%error, "watching settings panicked");
        }
    }
}

async fn resume(runtime: &Runtime) {
    loop {
        runtime.inner.reload.held.resumed().await;
        runtime.apply_held().await;
    }
}

#[cfg(feature = "watch")]
async fn watch(runtime: &Runtime) {
    if let Some(files) = &runtime.inner.reload.files {
        super::watch::run(runtime, files.paths()).await;
    }
}

#[cfg(not(feature = "watch"))]
async fn watch(_: &Runtime) {
    std::future::pending().await
}
