//! Being told to stop (Ctrl-C, SIGTERM) while a file is written. From the first byte on the signals no longer end the
//! process by themselves: the command cleans up and says what became of the file.
//!
//! SIGHUP is left as it is: whoever types `nohup` wants it ignored, which we would undo by listening to it. What a
//! hang-up or a kill leaves is removed by the next one that writes the same file.

use oneiric_core::ErrorKind;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// The signals by which a person or a service manager ends a command.
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// Takes the signals over, until the process ends. Within a tokio runtime.
    pub(crate) fn install() -> Result<Self, Failure> {
        let install = |kind| {
            signal(kind).map_err(|error| {
                let message = format!("the system gives no signal handlers: {error}");
                Failure::new("cli.no_resources", ErrorKind::Unavailable, message)
            })
        };
        Ok(Self {
            interrupt: install(SignalKind::interrupt())?,
            terminate: install(SignalKind::terminate())?,
        })
    }

    /// Waits for one of them. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Does `work` with the signals held back until it is done: for what is written in one go and must not be left half-way.
pub(crate) fn shielded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let tokio = tokio.map_err(|error| crate::commands::cannot_start(&error))?;
    tokio.block_on(async {
        let _held_back = Interrupts::install()?;
        work()
    })
}

/// What a command says that was told to stop and did.
pub(crate) fn interrupted(what_is_so: &str) -> Failure {
    let message = format!("interrupted; {what_is_so}");
    Failure::new("cli.interrupted", ErrorKind::Unavailable, message)
}
