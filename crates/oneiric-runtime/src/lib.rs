//! The composition root of a program made of slots, as a library.

pub mod api;
#[cfg(feature = "client")]
mod client;

#[cfg(feature = "client")]
pub use client::{Client, ClientError, ExplainQuery, Reply};
