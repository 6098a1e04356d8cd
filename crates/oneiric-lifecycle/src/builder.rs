//! What a lifecycle is given before it begins.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arc_swap::ArcSwap;
use oneiric_core::{FactoryPolicy, Provider, Registry, Slot, WallClock};

use crate::clock::{Clock, SystemWallClock};
use crate::facet::FacetProxy;
use crate::factory::FactoryTable;
use crate::follow::Followers;
use crate::hook::SwapHook;
use crate::inner::Inner;
use crate::lifecycle::Lifecycle;
use crate::limits::Limits;
use crate::observe::{Announcer, SwapObserver};
use crate::provider_settings::ProviderSettings;
use crate::redact::Redact;
use crate::slot_policy::SlotPolicies;
use crate::slot_turns::{NoTurns, SlotTurns};

/// Events kept for an [`EventStream`](crate::EventStream) that is not read.
const EVENTS_KEPT: usize = 1_024;

/// How many slots are probed at one time where nobody says otherwise (4).
pub const PROBES_AT_ONCE: NonZeroUsize = match NonZeroUsize::new(4) {
    Some(probes) => probes,
    None => NonZeroUsize::MIN,
};

/// Puts a [`Lifecycle`] together.
pub struct LifecycleBuilder {
    registry: Registry,
    factories: FactoryTable,
    policy: FactoryPolicy,
    settings: Arc<dyn ProviderSettings>,
    limits: Limits,
    policies: SlotPolicies,
    probes_at_once: NonZeroUsize,
    turns: Arc<dyn SlotTurns>,
    proxies: Vec<FacetProxy>,
    hooks: Vec<Arc<dyn SwapHook>>,
    observers: Vec<Arc<dyn SwapObserver>>,
    clock: Arc<dyn WallClock>,
    redact: Redact,
}

impl LifecycleBuilder {
    pub(crate) fn new(registry: Registry) -> Self {
        Self {
            registry,
            factories: FactoryTable::new(),
            policy: FactoryPolicy::default(),
            settings: Arc::new(|_: &Slot, _: &Provider| None),
            limits: Limits::default(),
            policies: SlotPolicies::default(),
            probes_at_once: PROBES_AT_ONCE,
            turns: Arc::new(NoTurns),
            proxies: Vec::new(),
            hooks: Vec::new(),
            observers: Vec::new(),
            clock: Arc::new(SystemWallClock::new()),
            redact: Redact::default(),
        }
    }

    /// The factories that candidates may name.
    #[must_use]
    pub fn factories(mut self, factories: FactoryTable) -> Self {
        self.factories = factories;
        self
    }

    /// Which factory names are allowed at all; by default those under `oneiric.`.
    #[must_use]
    pub fn policy(mut self, policy: FactoryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Where provider settings come from; by default there are none.
    #[must_use]
    pub fn settings(mut self, settings: impl ProviderSettings + 'static) -> Self {
        self.settings = Arc::new(settings);
        self
    }

    /// How long each step may take.
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How slots are looked after; by default each as [`SlotPolicy`](crate::SlotPolicy) says.
    #[must_use]
    pub fn slot_policies(mut self, policies: SlotPolicies) -> Self {
        self.policies = policies;
        self
    }

    /// How many slots are probed at one time while nobody asks; by default [`PROBES_AT_ONCE`].
    #[must_use]
    pub const fn probes_at_once(mut self, probes: NonZeroUsize) -> Self {
        self.probes_at_once = probes;
        self
    }

    /// Whose turn it is with a slot, where others change slots as well; by default nobody does but by swaps.
    #[must_use]
    pub fn slot_turns(mut self, turns: impl SlotTurns + 'static) -> Self {
        self.turns = Arc::new(turns);
        self
    }

    /// A facet for instances that only speak `Invoke`.
    #[must_use]
    pub fn proxy(mut self, proxy: FacetProxy) -> Self {
        self.proxies.push(proxy);
        self
    }

    /// Code that runs around every swap, in the order it was added.
    #[must_use]
    pub fn hook(mut self, hook: impl SwapHook + 'static) -> Self {
        self.hooks.push(Arc::new(hook));
        self
    }

    /// Somebody who is told what happens.
    #[must_use]
    pub fn observer(mut self, observer: impl SwapObserver + 'static) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// The clock for times in status and events; by default the machine's. If it panics, the machine's is asked.
    #[must_use]
    pub fn wall_clock(mut self, clock: Arc<dyn WallClock>) -> Self {
        self.clock = clock;
        self
    }

    /// What is not to be passed on of the words of components: every message of theirs goes through
    /// `redact` before it is recorded, announced or returned. By default all is passed on.
    ///
    /// Must not block. If it panics, the message is left out as a whole.
    #[must_use]
    pub fn redact(
        mut self,
        redact: impl for<'a> Fn(&'a str) -> Cow<'a, str> + Send + Sync + 'static,
    ) -> Self {
        self.redact = Redact::new(redact);
        self
    }

    /// The lifecycle. Nothing is activated yet.
    pub fn build(self) -> Lifecycle {
        Lifecycle::from_inner(Inner {
            registry: self.registry,
            factories: self.factories,
            policy: ArcSwap::from_pointee(self.policy),
            settings: self.settings,
            limits: ArcSwap::from_pointee(self.limits),
            policies: ArcSwap::from_pointee(self.policies),
            probes_at_once: AtomicUsize::new(self.probes_at_once.get()),
            turns: self.turns,
            proxies: self.proxies,
            hooks: self.hooks,
            steps: crate::step::Steps::default(),
            announcer: Announcer::new(self.observers, EVENTS_KEPT),
            clock: Clock::new(self.clock),
            redact: self.redact,
            slots: dashmap::DashMap::new(),
            rules: std::sync::Mutex::default(),
            keyed: std::sync::Mutex::default(),
            graph: Arc::default(),
            followers: Followers::default(),
            stopping: std::sync::atomic::AtomicBool::new(false),
            ending: crate::shutdown::Ending::default(),
            instances: std::sync::atomic::AtomicU64::new(0),
            supervised: arc_swap::ArcSwapOption::empty(),
            new_slots: tokio::sync::Notify::new(),
            bell: tokio::sync::watch::Sender::new(0),
            sets_waiting: tokio::sync::Mutex::default(),
        })
    }
}

impl fmt::Debug for LifecycleBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LifecycleBuilder")
            .field("factories", &self.factories)
            .field("limits", &self.limits)
            .field("proxies", &self.proxies)
            .finish_non_exhaustive()
    }
}
