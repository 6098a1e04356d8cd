//! Which implementation of a replaceable part is active, and why.
//!
//! A program asks for a [`Slot`] (`adapter/cache`); sources register [`Candidate`]s for it; a [`Registry`] ranks them
//! by one pure order ([`precedence`]) and [`Registry::explain`] says why one won and what would change it. This crate
//! is pure and synchronous: no files, no network, no environment, no clock, no async runtime, no `unsafe`. It does
//! not build or call anything; that is the lifecycle's part.
//!
//! ```
//! use oneiric_core::{Candidate, Origin, Provider, Query, Registry, SelectionLayer, Slot};
//!
//! let registry = Registry::new();
//! let slot: Slot = "adapter/cache".parse()?;
//! let (memory, redis) = (Provider::new("memory")?, Provider::new("redis")?);
//! registry.register(Candidate::builder(slot.clone(), memory.clone(), Origin::code("demo")?).build()).keep();
//! registry.register(Candidate::builder(slot.clone(), redis, Origin::settings()).priority(20).build()).keep();
//!
//! assert_eq!(registry.resolve(&Query::new(slot.clone()))?.provider().as_str(), "redis");
//! println!("{}", registry.explain(&Query::new(slot.clone())));
//!
//! registry.select(SelectionLayer::Operator, &slot, Some(memory));
//! assert!(registry.read(|now| now.winner(&slot).is_some_and(|winner| winner.provider().as_str() == "memory")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Reads never lock and never write memory that threads share: winners are computed when something is registered,
//! into an immutable [`Snapshot`]; [`Registry::read`] looks at this thread's cached one, and a [`SlotHandle`] follows
//! one slot for the price of an atomic load.
//!
//! The rules are written down in `docs/spec/precedence.md`. Errors carry codes ([`Coded`]); all of this crate's begin
//! with `core.`.

pub mod bounds;
mod candidate;
mod change;
mod clock;
mod code;
mod contest;
mod delta;
mod dependencies;
mod discover;
mod error;
mod explain;
mod factory;
mod future;
mod handle;
mod name;
mod observe;
mod origin;
pub mod precedence;
pub mod query;
mod ranking;
mod registration;
mod registry;
pub mod rfc3339;
#[cfg(feature = "schema")]
mod schema;
mod selection;
mod slot;
mod snapshot;
mod stack_order;
mod state;
mod table;
#[cfg(test)]
mod work;

pub use crate::{
    candidate::{Candidate, CandidateBuilder, CandidateId, Registered},
    change::{Change, InvalidChange},
    clock::WallClock,
    code::{Coded, ErrorKind},
    delta::{Delta, SelectionChange, WinnerChange},
    dependencies::{Dependencies, DependencyFaults, MissingDependency, MissingWhy},
    discover::{Discover, DiscoverError, RefreshError, refresh, register_pkg},
    error::{RegisterError, ResolveError},
    explain::{
        Contender, Decision, Excluded, Explanation, Outcome, RankedCandidate, SelectionNote,
        Verdict, WhatIf,
    },
    factory::{
        DEFAULT_ALLOWLIST, FactoryDenied, FactoryPath, FactoryPolicy, InvalidFactory,
        MAX_FACTORY_BYTES,
    },
    future::BoxFuture,
    handle::SlotHandle,
    name::{InvalidName, Key, MAX_NAME_BYTES, Provider},
    observe::{RegistryObserver, Subscription},
    origin::{InvalidOrigin, Origin},
    precedence::{Score, TiePolicy, Tier},
    query::{Exclusion, Query},
    registration::Registration,
    registry::{Registry, RegistryConfig},
    selection::{Selection, SelectionLayer, UnknownSelection},
    slot::{Domain, InvalidSlot, Slot},
    snapshot::Snapshot,
    stack_order::{InvalidStackOrder, StackOrder},
};
