//! What a factory hands over: one built component with its facets and roles.

use std::fmt;
use std::sync::Arc;

use oneiric_core::BoxFuture;

use crate::facet::Facets;
use crate::follow::FollowDependency;
use crate::handover::Handover;
use crate::health::Probe;
use crate::invoke::Invoke;
use crate::pause::Pause;
use crate::reconfigure::Reconfigure;

/// Lets go of what an instance holds, after its last call and before it is dropped.
pub trait Retire: Send + Sync {
    /// Closes connections, flushes files, stops tasks. Called exactly once for every instance that
    /// was built, published or not. May block; is given `Limits::retire`.
    ///
    /// # Errors
    /// A text for the operator. It is recorded; nothing is undone because of it.
    fn retire(&self) -> BoxFuture<'_, Result<(), String>>;
}

fn _retire_is_dyn_safe(_: &dyn Retire) {}

/// One built component, not yet in service.
///
/// ```
/// use std::sync::Arc;
/// use oneiric_core::BoxFuture;
/// use oneiric_lifecycle::{CallError, Instance, Invoke, Payload};
///
/// trait Greet: Send + Sync {
///     fn greet(&self) -> String;
/// }
/// struct English;
/// impl Greet for English {
///     fn greet(&self) -> String {
///         "hello".into()
///     }
/// }
/// impl Invoke for English {
///     fn invoke<'a>(&'a self, operation: &'a str, _: Payload) -> BoxFuture<'a, Result<Payload, CallError>> {
///         Box::pin(async move {
///             match operation {
///                 "greet" => Payload::json(&self.greet()),
///                 other => Err(CallError::unknown_operation(other, self)),
///             }
///         })
///     }
/// }
/// let english = Arc::new(English);
/// let instance = Instance::new(english.clone()).facet::<dyn Greet>(english);
/// # let _ = instance;
/// ```
pub struct Instance {
    pub(crate) invoke: Arc<dyn Invoke>,
    pub(crate) facets: Facets,
    pub(crate) probe: Option<Arc<dyn Probe>>,
    pub(crate) retire: Option<Arc<dyn Retire>>,
    pub(crate) reconfigure: Option<Arc<dyn Reconfigure>>,
    pub(crate) pause: Option<Arc<dyn Pause>>,
    pub(crate) follow: Option<Arc<dyn FollowDependency>>,
    pub(crate) handover: Option<Arc<dyn Handover>>,
}

impl Instance {
    /// An instance that answers operations by name and has no other role.
    pub fn new(invoke: Arc<dyn Invoke>) -> Self {
        Self {
            invoke,
            facets: Facets::default(),
            probe: None,
            retire: None,
            reconfigure: None,
            pause: None,
            follow: None,
            handover: None,
        }
    }

    /// Adds a typed side: `.facet::<dyn Cache>(cache)`.
    #[must_use]
    pub fn facet<T: ?Sized + Send + Sync + 'static>(mut self, facet: Arc<T>) -> Self {
        self.facets.insert::<T>(facet);
        self
    }

    /// Says who answers probes. Without one, the instance's health is unknown and never "ok".
    #[must_use]
    pub fn probe(mut self, probe: Arc<dyn Probe>) -> Self {
        self.probe = Some(probe);
        self
    }

    /// Says who cleans up.
    #[must_use]
    pub fn retire(mut self, retire: Arc<dyn Retire>) -> Self {
        self.retire = Some(retire);
        self
    }

    /// Says who takes new settings. Without one, new settings mean a new instance.
    #[must_use]
    pub fn reconfigure(mut self, reconfigure: Arc<dyn Reconfigure>) -> Self {
        self.reconfigure = Some(reconfigure);
        self
    }

    /// Says who is told that the slot is paused, drained and resumed. Without one, calls stay away and
    /// the instance does not know why.
    #[must_use]
    pub fn pause(mut self, pause: Arc<dyn Pause>) -> Self {
        self.pause = Some(pause);
        self
    }

    /// Says who is told when a slot that the candidate requires, optionally or not, was exchanged, where
    /// `on_dependency_change` is `tell`. Without one nobody is, and live references follow by themselves.
    #[must_use]
    pub fn on_dependency_changed(mut self, follow: Arc<dyn FollowDependency>) -> Self {
        self.follow = Some(follow);
        self
    }

    /// Says who gives the instance's state to the next one, and takes that of the one before. Without one, a new
    /// instance begins with what it finds.
    #[must_use]
    pub fn handover(mut self, handover: Arc<dyn Handover>) -> Self {
        self.handover = Some(handover);
        self
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("facets", &self.facets)
            .field("probe", &self.probe.is_some())
            .field("retire", &self.retire.is_some())
            .field("reconfigure", &self.reconfigure.is_some())
            .field("pause", &self.pause.is_some())
            .field("follow", &self.follow.is_some())
            .field("handover", &self.handover.is_some())
            .finish_non_exhaustive()
    }
}
