//! Activates components, leases them to callers, and exchanges them while the program runs.
//!
//! [`oneiric_core`] says *which* candidate of a slot should serve. This crate makes it so: a
//! [`Factory`] builds an [`Instance`], a probe says whether it works, and from then on callers reach
//! it through a [`Lease`] or a [`Live`] reference. A [swap](Lifecycle::swap) builds and probes the
//! next instance while the old one serves, moves one pointer, lets work in flight finish and retires
//! the old one. Up to that pointer everything that fails leads back to what was; callers notice
//! nothing either way.
//!
//! It does no I/O of its own, reads no settings and opens nothing: those who embed it hand in what it
//! needs.
//!
//! ```
//! use std::sync::Arc;
//! use oneiric_core::{BoxFuture, Candidate, Origin, Registry, Slot};
//! use oneiric_lifecycle::*;
//!
//! struct Hello(&'static str);
//! impl Invoke for Hello {
//!     fn invoke<'a>(&'a self, _: &'a str, _: Payload) -> BoxFuture<'a, Result<Payload, CallError>> {
//!         Box::pin(async { Payload::json(&self.0) })
//!     }
//! }
//! #[derive(serde::Deserialize)]
//! struct NoSettings {}
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let slot: Slot = "service/greeter".parse()?;
//! let registry = Registry::new();
//! let mut factories = FactoryTable::new();
//! for (provider, text, priority) in [("english", "hello", 2), ("french", "bonjour", 1)] {
//!     let path: oneiric_core::FactoryPath = format!("oneiric.example:{provider}").parse()?;
//!     factories.insert(path.clone(), factory_fn(move |_, NoSettings {}| async move {
//!         Ok(Instance::new(Arc::new(Hello(text))))
//!     }));
//!     let candidate = Candidate::builder(slot.clone(), provider.parse()?, Origin::settings())
//!         .factory(path).priority(priority).build();
//!     registry.register(candidate).keep();
//! }
//! let lifecycle = Lifecycle::builder(registry).factories(factories).build();
//!
//! let greeter = lifecycle.slot(&slot);
//! let said = greeter.ready().await?.invoke("greet", Payload::empty()).await?;
//! assert_eq!(said, Payload::json(&"hello")?);
//!
//! lifecycle.swap(SwapRequest::to_provider(slot, "french".parse()?)).await?;
//! let said = greeter.lease()?.invoke("greet", Payload::empty()).await?;
//! assert_eq!(said, Payload::json(&"bonjour")?);
//! # Ok(()) }
//! ```
//!
//! # Features
//! `entry-points`: factories that register themselves at compile time (`entry_point!`).

mod activity;
mod bake;
mod bring_up;
mod builder;
mod care;
mod cell;
mod change_set;
mod clock;
mod construction;
mod deactivate;
mod decision;
mod drain_watch;
#[cfg(feature = "entry-points")]
mod entry;
mod epoch;
mod error;
mod facet;
mod factory;
mod follow;
mod gate;
mod graph;
mod handing_over;
mod handover;
mod health;
mod history;
mod hook;
mod in_service;
mod inner;
mod instance;
mod invoke;
mod judge;
mod keyed;
mod lease;
mod leaving;
mod ledger;
mod lifecycle;
mod limits;
mod live;
mod observe;
mod pause;
mod pausing;
mod preparation;
mod provider_settings;
mod reconfigure;
mod redact;
mod report;
mod retirement;
mod running;
mod shutdown;
mod slot_policy;
mod slot_ref;
mod slot_turns;
mod state;
mod status;
mod step;
mod store;
mod supervise;
mod survey;
mod sync;
mod transition;
mod waiting;
mod when_absent;
mod wiring;
mod work;

pub use activity::{Activity, ActivityRule, ActivityScope, ActivityState, InvalidScope};
pub use bake::{BakeEnd, BakeStatus, Baking};
pub use builder::{LifecycleBuilder, PROBES_AT_ONCE};
pub use change_set::{ChangeOutcome, ChangeReport, ChangeSet, SlotChange, SlotOutcome};
pub use clock::SystemWallClock;
pub use deactivate::Deactivated;
pub use decision::{Because, Decision, DecisionKind};
#[cfg(feature = "entry-points")]
pub use entry::{EntryPoint, EntryPointError};
pub use error::{Failure, LifecycleError, Stage};
pub use facet::FacetProxy;
pub use factory::{BuildContext, BuildError, Factory, FactoryTable, factory_fn};
pub use follow::{DependencyChange, FollowDependency};
pub use handover::{Handover, HandoverReport, HandoverState, StateTooLarge, StateWriter};
pub use health::{Health, Probe, Reason};
pub use history::{Ended, HistoryEntry, PastDecision, PastFailure};
pub use hook::{SwapContext, SwapHook};
pub use instance::{Instance, Retire};
pub use invoke::{CallError, Invoke, Operation, Payload};
pub use judge::{Judged, Judgement};
pub use keyed::{Keyed, KeyedLimits, KeyedStatus};
pub use lease::{CallOutcome, Lease, Leased};
pub use lifecycle::Lifecycle;
pub use limits::Limits;
pub use live::Live;
pub use observe::{EventStream, Happening, Streamed, SwapEvent, SwapObserver};
pub use pause::Pause;
pub use pausing::DrainEnd;
pub use provider_settings::{ProviderSettings, Receiver, SettingsUnavailable};
pub use reconfigure::{Reconfigure, Reconfigured};
pub use report::{Outcome, SlotReport, SwapReport, SwapRequest};
pub use shutdown::{ShutdownReport, Unfinished};
pub use slot_policy::{
    BakePolicy, FailurePolicy, HandoverMode, HandoverPolicy, HealthPolicy, OnDependencyChange,
    OnFailure, PolicyEntry, PolicyScope, Rebind, RebindPolicy, SlotPolicies, SlotPolicy,
};
pub use slot_ref::SlotRef;
pub use slot_turns::SlotTurns;
pub use state::SlotState;
pub use status::{
    ActiveStatus, CallCounts, Difference, DrainingStatus, HealthReport, LastError, Percentiles,
    SlotStatus, SwapCounts,
};
pub use step::{STEPS_AT_ONCE, StepKind, StepLoad};
pub use store::{HISTORY_KEPT, MemoryStatusStore, SlotHistory, StatusStore, StoreError};
pub use supervise::{Supervise, Supervision};
pub use when_absent::WhenAbsent;
pub use work::{Held, NotedLease, Work};

/// What macros of this crate expand to. Not part of the API.
#[doc(hidden)]
#[cfg(feature = "entry-points")]
pub mod __private {
    pub use inventory;
}
