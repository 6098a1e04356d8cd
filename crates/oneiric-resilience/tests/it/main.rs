//! The patterns from outside: only public paths.

#[cfg(feature = "tokio")]
mod deadline;
mod retry;
