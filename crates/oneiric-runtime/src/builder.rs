//! Puts a runtime together and refuses settings that cannot work, before anything runs.
//!
//! What can be known now is checked now, all of it at once: every candidate's factory must be in the table, be
//! allowed, and accept the provider's settings. What a component finds out only when it is built (a port that is
//! taken, a disk that is full) is found by activation and does not keep the process from starting.

use std::{fmt, sync::Arc};

use oneiric_core::WallClock;
use oneiric_domains::SecretProvider;
use oneiric_lifecycle::{
    FacetProxy, FactoryTable, Lifecycle, LifecycleBuilder, SwapEvent, SwapHook, SwapObserver,
    SystemWallClock,
};

use crate::{
    error::RuntimeError,
    events::Events,
    history::History,
    log_control::LogControl,
    redact::Redactor,
    reload::{Current, ReloadObserver, Seams},
    runtime::{Parts, Runtime},
    secrets::{Providers, Resolved, Secrets},
    settings::{Settings, Sources},
    store::{State, Stores},
    turns::Turns,
};

/// Puts a [`Runtime`] together.
pub struct RuntimeBuilder {
    settings: Settings,
    factories: FactoryTable,
    version: String,
    clock: Arc<dyn WallClock>,
    redactor: Redactor,
    secret_providers: Providers,
    log: Option<Arc<dyn LogControl>>,
    stores: Option<Stores>,
    seams: Seams,
    extend: Vec<Box<dyn FnOnce(LifecycleBuilder) -> LifecycleBuilder + Send>>,
}

impl RuntimeBuilder {
    /// Begins with settings and no factories.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            factories: FactoryTable::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            clock: Arc::new(SystemWallClock::new()),
            redactor: Redactor::new(),
            secret_providers: Providers::new(),
            log: None,
            stores: None,
            seams: Seams::default(),
            extend: Vec::new(),
        }
    }

    /// The factories that candidates may name.
    #[must_use]
    pub fn factories(mut self, factories: FactoryTable) -> Self {
        self.factories = factories;
        self
    }

    /// The version that `status` shows; by default this crate's.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// A facet for instances that only speak `Invoke`. Those of `oneiric-domains` are there already; one for the same
    /// facet takes its place.
    #[must_use]
    pub fn proxy(self, proxy: FacetProxy) -> Self {
        self.extend(|builder| builder.proxy(proxy))
    }

    /// Code that runs around every swap.
    #[must_use]
    pub fn hook(self, hook: impl SwapHook + 'static) -> Self {
        self.extend(|builder| builder.hook(hook))
    }

    /// Somebody who is told what happens.
    #[must_use]
    pub fn observer(self, observer: impl SwapObserver + 'static) -> Self {
        self.extend(|builder| builder.observer(observer))
    }

    /// The clock for times in documents; by default the machine's.
    #[must_use]
    pub fn wall_clock(mut self, clock: Arc<dyn WallClock>) -> Self {
        self.clock = clock;
        self
    }

    /// Somebody who keeps secrets that settings may name, as `secret://NAME/...` with the name that it gives itself.
    /// Of two with one name the later is taken. Without any, a reference is a fault of the settings.
    ///
    /// If it panics, that is an error of the fetch (`domains.secret_provider_panicked`), and what it said is dropped. The
    /// program's panic hook sees it before; it can ask [`asking_for_secret`](crate::asking_for_secret), and leave it out.
    #[must_use]
    pub fn secret_provider(mut self, provider: impl SecretProvider + 'static) -> Self {
        let name = provider.name().to_owned();
        self.secret_providers.insert(name, Arc::new(provider));
        self
    }

    /// What covers secrets; give it the one that the program's log is written through. By default one of its own.
    #[must_use]
    pub fn redactor(mut self, redactor: Redactor) -> Self {
        self.redactor = redactor;
        self
    }

    /// Whoever writes the log, to be told when settings of it change. None by default: the log is the program's.
    #[must_use]
    pub fn log(mut self, log: impl LogControl + 'static) -> Self {
        self.log = Some(Arc::new(log));
        self
    }

    /// Stores of your own for selections, activity, history and values. By default they are opened in the state
    /// directory (feature `sqlite`), and without that feature kept in memory.
    ///
    /// They are read when the runtime begins to run; until then it keeps everything in memory.
    #[must_use]
    pub fn stores(mut self, stores: Stores) -> Self {
        self.stores = Some(stores);
        self
    }

    /// Where the settings came from, so that they can be read again: on request, and while the runtime runs whenever
    /// their files change.
    #[must_use]
    pub fn sources(mut self, sources: Sources) -> Self {
        self.seams.sources = Some(sources);
        self
    }

    /// Somebody who is told of reloads.
    #[must_use]
    pub fn reload_observer(mut self, observer: impl ReloadObserver + 'static) -> Self {
        self.seams.observers.push(Box::new(observer));
        self
    }

    fn extend(
        mut self,
        step: impl FnOnce(LifecycleBuilder) -> LifecycleBuilder + Send + 'static,
    ) -> Self {
        self.extend.push(Box::new(step));
        self
    }

    /// The runtime. Its candidates are registered; nothing is activated, no file is touched.
    ///
    /// # Errors
    /// `runtime.settings_invalid` naming every candidate whose factory is not there (`lifecycle.factory_unknown`),
    /// not allowed (`core.factory_denied`) or does not take the provider's settings (`lifecycle.settings_invalid`), and
    /// every reference to a secret that is none (`domains.secret_ref_invalid`) or that nobody keeps
    /// (`domains.secret_provider_unknown`).
    pub fn build(self) -> Result<Runtime, RuntimeError> {
        let Self {
            settings,
            factories,
            version,
            clock,
            redactor,
            secret_providers,
            log,
            stores,
            seams,
            extend,
        } = self;
        let mut settings = settings;
        let keepers: Vec<&str> = secret_providers.keys().map(String::as_str).collect();
        let policy = settings
            .check_parts(&factories, &keepers)
            .map_err(RuntimeError::Settings)?;
        let registry = settings
            .registry()
            .map_err(|error| RuntimeError::Internal {
                message: error.to_string(),
            })?;
        settings.log_warnings(false);
        let (limits, policies) = (settings.limits.clone(), settings.slot_policies.clone());
        let probes_at_once = settings.probes_at_once();
        let current = Current::new(settings);
        let events = Arc::new(Events::new(Arc::clone(&clock)));
        let told = Arc::clone(&events);
        let held = Arc::clone(&seams.held);
        let covering = redactor.clone();
        let history = History::default();
        let noting = history.clone();
        let secrets = Secrets::new(
            secret_providers,
            current.clone(),
            redactor.clone(),
            Arc::clone(&clock),
            Arc::clone(&events),
        );
        let observing = secrets.clone();
        let lifecycle = Lifecycle::builder(registry)
            .factories(factories)
            .policy(policy)
            .settings(Resolved(secrets.clone()))
            .limits(limits)
            .slot_policies(policies)
            .probes_at_once(probes_at_once)
            .redact(move |text| covering.redact(text))
            .wall_clock(Arc::clone(&clock))
            .observer(crate::swap_log::log)
            .observer(move |event: &SwapEvent| told.swap(event))
            .observer(move |event: &SwapEvent| noting.note(event))
            .observer(move |event: &SwapEvent| held.observe(event))
            .observer(move |event: &SwapEvent| observing.observe(event));
        #[cfg(feature = "metrics")]
        let (lifecycle, probes) = {
            let probes = crate::metrics::Probes::default();
            let observing = probes.clone();
            let observe = move |event: &SwapEvent| observing.observe(event);
            (lifecycle.observer(observe), probes)
        };
        let lifecycle = extend
            .into_iter()
            .fold(lifecycle, |lifecycle, step| step(lifecycle));
        // Last, because of two proxies for one facet the first is taken.
        let lifecycle = oneiric_domains::proxies()
            .into_iter()
            .fold(lifecycle, LifecycleBuilder::proxy);
        let turns = Turns::default();
        let lifecycle = lifecycle.slot_turns(turns.clone());
        let state = State::new(stores, &clock);
        Ok(Runtime::new(Parts {
            lifecycle: lifecycle.build(),
            settings: current,
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
        }))
    }
}

impl fmt::Debug for RuntimeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeBuilder")
            .field("settings", &self.settings.name)
            .field("factories", &self.factories)
            .finish_non_exhaustive()
    }
}
