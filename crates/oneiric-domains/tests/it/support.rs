//! Small components and a lifecycle around them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use oneiric_core::{BoxFuture, Candidate, FactoryPath, Origin, Registry, Slot};
use oneiric_domains::{Cache, CacheInvoke, Clock};
use oneiric_lifecycle::{
    CallError, FactoryTable, Instance, Invoke, Lifecycle, LifecycleBuilder, Operation, Payload,
    factory_fn,
};
use serde::Deserialize;

/// A map that remembers what time to live it was given, and counts as a cache.
#[derive(Debug, Default)]
pub(crate) struct Map {
    pub(crate) entries: Mutex<HashMap<String, (Bytes, Option<Duration>)>>,
}

fn done<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, Result<T, CallError>> {
    Box::pin(std::future::ready(Ok(value)))
}

impl Cache for Map {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, CallError>> {
        done(
            self.entries
                .lock()
                .unwrap()
                .get(key)
                .map(|(value, _)| value.clone()),
        )
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        self.entries
            .lock()
            .unwrap()
            .insert(key.to_owned(), (value, ttl));
        done(())
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, CallError>> {
        done(self.entries.lock().unwrap().remove(key).is_some())
    }
}

/// A cache that always does the same wrong thing.
pub(crate) enum Wrong {
    Failing,
    Refusing,
    Panicking,
    Hanging,
}

impl Wrong {
    fn act<'a, T: Send + 'a>(&'a self) -> BoxFuture<'a, Result<T, CallError>> {
        Box::pin(async {
            match self {
                Self::Failing => Err(CallError::failed("it broke")),
                Self::Refusing => Err(CallError::InvalidPayload {
                    message: "not like this".to_owned(),
                }),
                Self::Panicking => panic!("it fell over"),
                Self::Hanging => std::future::pending().await,
            }
        })
    }
}

impl Cache for Wrong {
    fn get<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, CallError>> {
        self.act()
    }

    fn put<'a>(
        &'a self,
        _: &'a str,
        _: Bytes,
        _: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        self.act()
    }

    fn delete<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<bool, CallError>> {
        self.act()
    }
}

/// A clock that stands still.
pub(crate) struct Standing(pub(crate) SystemTime);

impl Clock for Standing {
    fn now(&self) -> BoxFuture<'_, Result<SystemTime, CallError>> {
        done(self.0)
    }
}

/// Answers operations by name and nothing else, as a sandboxed component does.
pub(crate) struct Sandboxed(CacheInvoke<Map>);

impl Sandboxed {
    pub(crate) fn new() -> Self {
        Self(CacheInvoke::new(Arc::new(Map::default())))
    }
}

impl Invoke for Sandboxed {
    fn invoke<'a>(
        &'a self,
        operation: &'a str,
        input: Payload,
    ) -> BoxFuture<'a, Result<Payload, CallError>> {
        self.0.invoke(operation, input)
    }

    fn operations(&self) -> Vec<Operation> {
        self.0.operations()
    }
}

#[derive(Deserialize)]
struct NoSettings {}

pub(crate) type Make = fn() -> Instance;

/// A lifecycle whose slots have these (slot, provider, how to build it), best first within a slot.
pub(crate) fn lifecycle(candidates: &[(&str, &str, Make)]) -> LifecycleBuilder {
    let (registry, mut factories) = (Registry::new(), FactoryTable::new());
    for (rank, (slot, provider, make)) in candidates.iter().enumerate() {
        let make = *make;
        let path: FactoryPath = format!("oneiric.test:{provider}").parse().unwrap();
        factories.insert(
            path.clone(),
            factory_fn(move |_, NoSettings {}| async move { Ok(make()) }),
        );
        let slot: Slot = slot.parse().unwrap();
        let candidate = Candidate::builder(slot, provider.parse().unwrap(), Origin::settings())
            .priority(-i64::try_from(rank).unwrap())
            .factory(path);
        registry.register(candidate.build()).keep();
    }
    Lifecycle::builder(registry).factories(factories)
}
