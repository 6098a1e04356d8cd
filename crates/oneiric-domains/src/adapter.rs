//! Adapters: technical parts that others are built on, such as caches, stores and clients.

use oneiric_core::Domain;

use crate::bridge::{Bridge, InDomain};

/// The domain of adapters, `adapter/...`.
#[derive(Debug)]
pub enum Adapter {}

impl InDomain for Adapter {
    const DOMAIN: Domain = Domain::ADAPTER;
}

/// The way to a program's adapters: `adapters.live::<dyn Cache>(&key)`.
pub type Adapters = Bridge<Adapter>;
