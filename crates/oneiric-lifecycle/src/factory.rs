//! Factories: how an instance comes to be, and the table they are looked up in.
//!
//! A candidate names its factory as `dotted.module:function`. Nothing is looked up by symbol: a
//! program inserts its factories into a table under such names, and the policy decides which names
//! may be used at all.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use oneiric_core::{BoxFuture, FactoryPath, Registered, Slot};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::instance::Instance;
use crate::live::Live;
use crate::provider_settings::Wiped;
use crate::wiring::Wiring;

/// Builds instances.
///
/// Runs on the blocking pool, so slow or blocking code in it holds up no other slot; it has
/// `Limits::activation` to finish. When the time is up its future is dropped at the next await and
/// its product, should one still come, is retired at once.
pub trait Factory: Send + Sync {
    /// Builds one instance.
    ///
    /// # Errors
    /// [`BuildError`]; the slot keeps what it had.
    fn build(&self, context: BuildContext) -> BoxFuture<'static, Result<Instance, BuildError>>;

    /// Checks provider settings without building anything, so that a mistake is found at start.
    ///
    /// # Errors
    /// A text naming the wrong setting.
    fn check_settings(&self, settings: &Value) -> Result<(), String> {
        let _ = settings;
        Ok(())
    }
}

fn _factory_is_dyn_safe(_: &dyn Factory) {}

/// Why a factory built nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The provider's settings are not what the factory takes.
    #[error("settings: {message}")]
    Settings {
        /// Which setting is wrong and how.
        message: String,
    },
    /// The factory asked for a slot that its candidate lists neither under `requires` nor under `optional_requires`.
    #[error("{slot} is not among the candidate's `requires` or `optional_requires`")]
    Undeclared {
        /// The slot it asked for.
        slot: Slot,
    },
    /// The work failed.
    #[error("{message}")]
    Failed {
        /// What went wrong, for the operator.
        message: String,
    },
}

impl BuildError {
    /// The work failed.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::Failed {
            message: message.to_string(),
        }
    }
}

/// What a factory is given.
pub struct BuildContext {
    pub(crate) candidate: Registered,
    pub(crate) settings: Wiped,
    pub(crate) key: Option<Arc<str>>,
    pub(crate) wiring: Wiring,
    pub(crate) cancelled: CancellationToken,
}

impl BuildContext {
    /// The candidate to build.
    pub const fn candidate(&self) -> &Registered {
        &self.candidate
    }

    /// For whom the instance is, where a slot has [one for each key](crate::Keyed); `None` for the one that serves it.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The provider's settings read as `T`. Absent settings read as an empty table, so that a type
    /// whose fields all have defaults needs none.
    ///
    /// # Errors
    /// [`BuildError::Settings`] naming the wrong field.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, BuildError> {
        read_settings(self.settings.value()).map_err(|message| BuildError::Settings { message })
    }

    /// A reference to a slot that the candidate requires, optionally or not. It follows that slot's swaps. Behind an
    /// optional requirement there may be nobody, now or ever: see [`Live::when_absent`].
    ///
    /// # Errors
    /// [`BuildError::Undeclared`] when the candidate lists `slot` neither under `requires` nor under
    /// `optional_requires`: the graph of who needs whom would be wrong.
    pub fn live<T: ?Sized + Send + Sync + 'static>(
        &self,
        slot: &Slot,
    ) -> Result<Live<T>, BuildError> {
        if self.candidate.uses(slot) {
            Ok(self.wiring.live(slot))
        } else {
            Err(BuildError::Undeclared { slot: slot.clone() })
        }
    }

    /// Returns when nobody waits for this instance any more, because its time is up. Cancel-safe.
    pub async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }

    /// Whether nobody waits for this instance any more; for code that blocks, to look at now and then.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }
}

impl fmt::Debug for BuildContext {
    /// Leaves the settings out: they may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildContext")
            .field("candidate", &self.candidate)
            .finish_non_exhaustive()
    }
}

fn read_settings<T: DeserializeOwned>(settings: &Value) -> Result<T, String> {
    // Read by reference: a copy would leave secrets behind in memory that nobody wipes.
    match settings {
        Value::Null => T::deserialize(&Value::Object(serde_json::Map::new())),
        given => T::deserialize(given),
    }
    .map_err(|error| error.to_string())
}

/// A factory from an async closure that takes its settings as a serde type.
///
/// The type should refuse unknown fields (`#[serde(deny_unknown_fields)]`), so that a misspelt
/// setting is an error and not a silent default.
///
/// ```
/// use std::sync::Arc;
/// use oneiric_lifecycle::{Instance, factory_fn};
/// # use oneiric_lifecycle::{CallError, Invoke, Payload};
/// # struct Greeter(String);
/// # impl Invoke for Greeter {
/// #     fn invoke<'a>(&'a self, _: &'a str, _: Payload) -> oneiric_core::BoxFuture<'a, Result<Payload, CallError>> {
/// #         Box::pin(async { Payload::json(&self.0) })
/// #     }
/// # }
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Settings {
///     greeting: String,
/// }
/// let factory = factory_fn(|_context, settings: Settings| async move {
///     Ok(Instance::new(Arc::new(Greeter(settings.greeting))))
/// });
/// # let _ = factory;
/// ```
pub fn factory_fn<S, F, Fut>(build: F) -> impl Factory
where
    S: DeserializeOwned + Send + 'static,
    F: Fn(BuildContext, S) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Instance, BuildError>> + Send + 'static,
{
    FactoryFn {
        build,
        settings: PhantomData,
    }
}

struct FactoryFn<S, F> {
    build: F,
    settings: PhantomData<fn() -> S>,
}

impl<S, F, Fut> Factory for FactoryFn<S, F>
where
    S: DeserializeOwned + Send + 'static,
    F: Fn(BuildContext, S) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Instance, BuildError>> + Send + 'static,
{
    fn build(&self, context: BuildContext) -> BoxFuture<'static, Result<Instance, BuildError>> {
        match context.settings::<S>() {
            Ok(settings) => Box::pin((self.build)(context, settings)),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn check_settings(&self, settings: &Value) -> Result<(), String> {
        read_settings::<S>(settings).map(drop)
    }
}

/// Factories by name. Cheap to clone.
#[derive(Clone, Default)]
pub struct FactoryTable {
    factories: Arc<BTreeMap<FactoryPath, Arc<dyn Factory>>>,
}

impl FactoryTable {
    /// A table without factories.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `factory` under `path`; gives back the one that was there.
    pub fn insert(
        &mut self,
        path: FactoryPath,
        factory: impl Factory + 'static,
    ) -> Option<Arc<dyn Factory>> {
        Arc::make_mut(&mut self.factories).insert(path, Arc::new(factory))
    }

    #[cfg(feature = "entry-points")]
    pub(crate) fn insert_boxed(&mut self, path: FactoryPath, factory: Box<dyn Factory>) {
        Arc::make_mut(&mut self.factories).insert(path, Arc::from(factory));
    }

    /// The factory under `path`.
    pub fn get(&self, path: &FactoryPath) -> Option<&Arc<dyn Factory>> {
        self.factories.get(path)
    }

    /// Every name in the table, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &FactoryPath> {
        self.factories.keys()
    }
}

impl fmt::Debug for FactoryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.factories.keys().map(FactoryPath::as_str))
            .finish()
    }
}
