//! The one future type of object-safe seams. A plain alias, so that public signatures show what they return and no
//! macro rewrites them.

use std::{future::Future, pin::Pin};

/// A boxed future that may be sent between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
