//! A runtime from start to shutdown: lock, open the state, serve, activate, wait, and take down in the opposite order.
//!
//! The admin socket is opened before slots are activated, so that an operator can look at an activation that hangs,
//! and closed after the last instance is retired, so that a call under way gets its answer.

use std::{
    fmt,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use oneiric_core::{Coded, Registry, Slot, WallClock};
use oneiric_lifecycle::{Lifecycle, LifecycleError, ShutdownReport, Supervise, SwapReport};
use tokio::task::JoinSet;

use crate::{
    activity::Activities,
    error::RuntimeError,
    events::Events,
    history::History,
    log_control::LogControl,
    offload::blocking,
    redact::Redactor,
    reload::{Current, Keeper, Reloading, Seams},
    revisions::Revisions,
    secrets::Secrets,
    settings::{Activate, Settings},
    state_dir::StateDir,
    store::State,
    turns::Turns,
};

/// Everything a program made of slots is run and operated by. Cheap to clone; all clones are the same runtime.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) lifecycle: Lifecycle,
    pub(crate) settings: Current,
    pub(crate) reload: Reloading,
    pub(crate) version: String,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) redactor: Redactor,
    pub(crate) secrets: Secrets,
    pub(crate) log: Option<Arc<dyn LogControl>>,
    pub(crate) since: SystemTime,
    pub(crate) revisions: Revisions,
    pub(crate) events: Arc<Events>,
    pub(crate) history: History,
    pub(crate) state: State,
    pub(crate) activity: Activities,
    #[cfg(feature = "metrics")]
    pub(crate) metrics: crate::metrics::Metrics,
    run: AtomicBool,
}

/// What a runtime is put together from.
pub(crate) struct Parts {
    pub(crate) seams: Seams,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) settings: Current,
    pub(crate) version: String,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) redactor: Redactor,
    pub(crate) secrets: Secrets,
    pub(crate) log: Option<Arc<dyn LogControl>>,
    pub(crate) events: Arc<Events>,
    pub(crate) history: History,
    pub(crate) state: State,
    pub(crate) turns: Turns,
    #[cfg(feature = "metrics")]
    pub(crate) probes: crate::metrics::Probes,
}

/// A runtime that has begun to run.
#[derive(Debug)]
#[non_exhaustive]
pub struct Started {
    /// What came of activating each slot, by name; empty when slots are activated on use.
    pub activated: Vec<(Slot, Result<SwapReport, LifecycleError>)>,
    /// Where operators connect; absent without the feature `admin`.
    pub socket: Option<std::path::PathBuf>,
    /// Where they connect over TCP; absent where settings name no address.
    pub address: Option<std::net::SocketAddr>,
}

impl Runtime {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            lifecycle,
            settings,
            version,
            clock,
            redactor,
            secrets,
            log,
            events,
            history,
            state,
            seams,
            turns,
            #[cfg(feature = "metrics")]
            probes,
        } = parts;
        let inner = Inner {
            reload: Reloading::new(seams, clock.now()),
            lifecycle,
            settings,
            version,
            since: clock.now(),
            clock,
            redactor,
            secrets,
            log,
            revisions: Revisions::new(turns),
            events,
            history,
            state,
            activity: Activities::default(),
            #[cfg(feature = "metrics")]
            metrics: crate::metrics::Metrics::new(probes),
            run: AtomicBool::new(false),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Returns the lifecycle.
    #[must_use]
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.inner.lifecycle
    }

    /// Returns the registry.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        self.inner.lifecycle.registry()
    }

    /// Returns what covers secrets in texts that leave the process.
    #[must_use]
    pub fn redactor(&self) -> Redactor {
        self.inner.redactor.clone()
    }

    /// Returns the settings in force. A reload puts others in their place; what was returned stays as it is.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.inner.settings.load()
    }

    /// Runs until `shutdown` is done, and then for at most the grace period, a second for answers under way, and five
    /// for a state that is slow to be written. `lifecycle().shutdown(Duration::ZERO)` ends the grace period at once.
    ///
    /// A slot that cannot be activated is logged, shows in status, and does not end the run.
    ///
    /// Not cancel-safe: dropped half-way, instances stay up, the socket stays behind, and the lock on the state
    /// directory is given up. `lifecycle().shutdown` takes the instances down.
    ///
    /// # Errors
    /// `runtime.already_running`, `runtime.state_dir_looked_at`, `runtime.state_dir_unusable`,
    /// `runtime.socket_path_too_long`, `runtime.socket_unusable`, `runtime.socket_in_use`; what is wrong with the state
    /// (`sqlite.corrupt`, `sqlite.newer`, `sqlite.unwritable`, `runtime.activity_unreadable`, ...); `runtime.run_before`
    /// the second time.
    pub async fn run(
        &self,
        shutdown: impl Future<Output = ()>,
    ) -> Result<ShutdownReport, RuntimeError> {
        self.run_with(shutdown, |_| {}).await
    }

    /// Runs as [`Runtime::run`] does, and calls `on_started` when every slot was tried and operators are served.
    ///
    /// # Errors
    /// As [`Runtime::run`].
    pub async fn run_with(
        &self,
        shutdown: impl Future<Output = ()>,
        on_started: impl FnOnce(&Started),
    ) -> Result<ShutdownReport, RuntimeError> {
        if self.inner.run.swap(true, Ordering::AcqRel) {
            return Err(RuntimeError::RunBefore);
        }
        let settings = self.settings();
        let path = settings.state_dir.clone();
        let state_dir = blocking(move || StateDir::enter(&path)).await?;
        self.open_state().await?;
        let timer = self.spawn_activity_timer();
        let operators = match Operators::admit(self, &settings).await {
            Ok(operators) => operators,
            Err(error) => {
                timer.stop().await;
                self.close_state().await;
                return Err(error);
            }
        };
        let keeper = Keeper::start(self.clone());
        let mut shutdown = pin!(shutdown);
        let working = async {
            self.log_dependency_faults();
            let activated = self.activate_all().await;
            on_started(&Started {
                activated,
                socket: operators.socket(),
                address: operators.address(),
            });
            let turns = self.inner.revisions.turns();
            // Until the end of this, which comes before anything is taken down.
            let _supervision = self.inner.lifecycle.supervise(Supervise::new());
            self.inner.secrets.watch(&self.inner.lifecycle, turns).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = working => {}
            () = &mut shutdown => {}
        }
        tracing::debug!("shutting down");
        keeper.stop().await;
        // What ends from now on is lifted by the next start: nothing runs that it would open the way to.
        timer.stop().await;
        operators.stop_admitting();
        let report = self.inner.lifecycle.shutdown(self.settings().grace).await;
        for unfinished in &report.unfinished {
            tracing::error!(
                slot = %unfinished.slot,
                key = unfinished.key,
                stage = unfinished.failure.stage.name(),
                code = unfinished.failure.code,
                reason = unfinished.failure.message,
                "not shut down cleanly"
            );
        }
        self.inner.events.end();
        operators.dismiss().await;
        self.close_state().await;
        drop(state_dir);
        Ok(report)
    }

    /// Says what can never come up, before anything is activated: whoever reads the log need not work it out from the
    /// errors of all slots that it drags along.
    fn log_dependency_faults(&self) {
        let faults = self.inner.lifecycle.dependency_faults();
        for reason in faults.lines() {
            tracing::error!(reason, "cannot be activated");
        }
        for reason in faults.notes() {
            tracing::warn!(reason, "is going to be done without");
        }
    }

    async fn activate_all(&self) -> Vec<(Slot, Result<SwapReport, LifecycleError>)> {
        if self.settings().activate == Activate::OnUse {
            return Vec::new();
        }
        let mut activations = JoinSet::new();
        for slot in self.registry().snapshot().slots().cloned() {
            let lifecycle = self.inner.lifecycle.clone();
            activations.spawn(async move {
                let result = lifecycle.activate(&slot).await;
                (slot, result)
            });
        }
        let mut results = activations.join_all().await;
        results.sort_by(|(left, _), (right, _)| left.cmp(right));
        for (slot, result) in &results {
            match result {
                Ok(report) => tracing::debug!(%slot, provider = %report.to, "active"),
                // Logged when it happened.
                Err(LifecycleError::ActivationFailed { .. }) => {}
                Err(error) => {
                    let (code, reason) = (error.code(), error.to_string());
                    tracing::error!(%slot, code, reason, "not activated");
                }
            }
        }
        results
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("lifecycle", &self.inner.lifecycle)
            .finish_non_exhaustive()
    }
}

/// The admin server while the runtime runs, or nothing without the feature.
struct Operators {
    #[cfg(feature = "admin")]
    server: crate::admin::Server,
}

#[cfg(feature = "admin")]
impl Operators {
    async fn admit(runtime: &Runtime, settings: &Settings) -> Result<Self, RuntimeError> {
        Ok(Self {
            server: crate::admin::Server::start(runtime.clone(), settings).await?,
        })
    }

    fn socket(&self) -> Option<std::path::PathBuf> {
        Some(self.server.socket().to_owned())
    }

    fn address(&self) -> Option<std::net::SocketAddr> {
        self.server.address()
    }

    fn stop_admitting(&self) {
        self.server.stop_accepting();
    }

    async fn dismiss(self) {
        self.server.finish().await;
    }
}

#[cfg(not(feature = "admin"))]
impl Operators {
    fn admit(_: &Runtime, _: &Settings) -> std::future::Ready<Result<Self, RuntimeError>> {
        std::future::ready(Ok(Self {}))
    }

    fn socket(&self) -> Option<std::path::PathBuf> {
        None
    }

    fn address(&self) -> Option<std::net::SocketAddr> {
        None
    }

    fn stop_admitting(&self) {}

    fn dismiss(self) -> std::future::Ready<()> {
        std::future::ready(())
    }
}
