//! Facet traits with their proxies, and one typed way into each domain.
//!
//! A *facet* is what a consumer needs of a component: [`Cache`], [`Clock`]. A component's author
//! implements that trait and nothing else; [`cache_instance`] adds the operations by name that the
//! command line and sandboxes use. The other way round, [`cache_proxy`] gives the trait to components
//! that only know operations by name. So both kinds can be called both ways, and one can take over
//! from the other.
//!
//! A *bridge* ([`Adapters`], [`Services`]) is the way to a domain's slots. It resolves, activates and
//! leases; it keeps no state of its own, for all of that is the lifecycle's.
//!
//! A *secret* is named in settings ([`SecretRef`]), fetched from whoever keeps it ([`SecretProvider`]) and
//! never shown ([`Secret`]).
//!
//! What is not here: components (see `oneiric-builtins`), settings, anything that listens or stores.
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Arc, Mutex};
//! use std::time::Duration;
//! use bytes::Bytes;
//! use oneiric_core::{BoxFuture, Candidate, FactoryPath, Key, Origin, Registry, Slot};
//! use oneiric_domains::{Adapters, Cache, cache_instance};
//! use oneiric_lifecycle::{CallError, FactoryTable, Lifecycle, Payload, factory_fn};
//!
//! #[derive(Default)]
//! struct Map(Mutex<HashMap<String, Bytes>>);
//! # fn done<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, Result<T, CallError>> {
//! #     Box::pin(std::future::ready(Ok(value)))
//! # }
//! impl Cache for Map {
//!     // ...
//! #     fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, CallError>> {
//! #         done(self.0.lock().unwrap().get(key).cloned())
//! #     }
//! #     fn put<'a>(
//! #         &'a self,
//! #         key: &'a str,
//! #         value: Bytes,
//! #         _: Option<Duration>,
//! #     ) -> BoxFuture<'a, Result<(), CallError>> {
//! #         self.0.lock().unwrap().insert(key.to_owned(), value);
//! #         done(())
//! #     }
//! #     fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, CallError>> {
//! #         done(self.0.lock().unwrap().remove(key).is_some())
//! #     }
//! }
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct NoSettings {}
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let path: FactoryPath = "oneiric.example:map".parse()?;
//! let mut factories = FactoryTable::new();
//! factories.insert(path.clone(), factory_fn(|_, NoSettings {}| async {
//!     Ok(cache_instance(Arc::new(Map::default())))
//! }));
//! let registry = Registry::new();
//! let slot: Slot = "adapter/cache".parse()?;
//! registry.register(Candidate::builder(slot, "map".parse()?, Origin::settings()).factory(path).build()).keep();
//!
//! let adapters = Adapters::new(Lifecycle::builder(registry).factories(factories).build());
//! let key: Key = "cache".parse()?;
//!
//! // A consumer holds the facet; swaps happen underneath.
//! let cache: Arc<dyn Cache> = Arc::new(adapters.live::<dyn Cache>(&key));
//! cache.put("a", Bytes::from_static(b"1"), None).await?;
//!
//! // The same component by name, as the command line calls it.
//! let found = adapters.invoke(&key, "get", Payload::json(&"a")?).await?;
//! assert_eq!(found, Payload::json(&"1")?);
//! # Ok(()) }
//! ```

mod activity;
mod adapter;
mod base64;
mod bridge;
mod cache;
mod clock;
mod live;
mod secret;
mod service;
mod store;

use oneiric_lifecycle::FacetProxy;

pub use activity::{ActivityRecord, ActivityStore};
pub use adapter::{Adapter, Adapters};
pub use bridge::{Bridge, InDomain};
pub use cache::{
    Cache, CacheInvoke, CacheProxy, MAX_CACHE_KEY_BYTES, cache_instance, cache_proxy,
    check_cache_key,
};
pub use clock::{Clock, ClockInvoke, ClockProxy, clock_instance, clock_proxy};
pub use oneiric_lifecycle::StoreError;
pub use secret::{MAX_SECRET_BYTES, Secret, SecretError, SecretProvider, SecretRef};
pub use service::{Service, Services};
pub use store::{
    KeyValueStore, MAX_KEY_BYTES, MAX_VALUE_BYTES, MemoryActivityStore, MemoryKeyValueStore,
    MemorySelectionStore, REVISIONS_KEPT, Revision, SelectionBook, SelectionStore, Undone,
    check_pair, must_follow,
};

/// The proxies of all facets of this crate, for `LifecycleBuilder::proxy`.
pub fn proxies() -> Vec<FacetProxy> {
    vec![cache_proxy(), clock_proxy()]
}
