//! The attempt that may follow.

/// What another attempt would be made with, and by whom: both or neither.
pub(super) struct Next<S, R> {
    pub(super) spare: Option<R>,
    pub(super) service: Option<S>,
}

/// Why both are there when another attempt begins.
pub(super) const NEXT: &str =
    "another attempt is decided on only where there is something to make it with";
