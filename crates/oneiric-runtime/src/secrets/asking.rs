//! Marks the thread on which a keeper of secrets is at work. A keeper is foreign code that has a secret in its hands which
//! nobody else knows yet, so no redactor covers it: what such code says when it panics must not be repeated. The panic's
//! payload is dropped unseen; the program's panic hook runs before that, and can ask here.

use std::{cell::Cell, future::Future, pin::pin};

thread_local! {
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is in the code of a keeper of secrets just now. A panic hook that gets `true` should leave the
/// panic's message out: it may hold a secret that nothing covers yet.
///
/// What a keeper does on threads of its own is not seen here.
#[must_use]
pub fn asking_for_secret() -> bool {
    // A thread that is ending asks nobody.
    ASKING.try_with(Cell::get).unwrap_or(false)
}

/// Marks the thread for as long as it lives; puts back what was, also while a panic unwinds.
struct Mark(bool);

impl Mark {
    fn set() -> Self {
        Self(ASKING.replace(true))
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        ASKING.set(self.0);
    }
}

/// Awaits what `begin` begins, with the thread marked whenever its code runs.
pub(super) async fn marked<F: Future>(begin: impl FnOnce() -> F) -> F::Output {
    let mut asked = pin!({
        let _mark = Mark::set();
        begin()
    });
    std::future::poll_fn(|context| {
        let _mark = Mark::set();
        asked.as_mut().poll(context)
    })
    .await
}
