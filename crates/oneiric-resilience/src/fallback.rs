//! Something else instead of an error: a cached answer, a default, a second source. It belongs at the
//! outermost place, after all that might still bring the real answer, and it must be seen: a fallback that
//! nobody notices is an outage that nobody mends.

use std::future::Future;

use crate::{Error, NoHook};

/// Answers for a call that failed.
///
/// By itself it does so for any error; [`when`](Self::when) chooses. It takes the result of a call, however
/// that was made, so it fits around everything else.
///
/// Source: docs/spec/resilience.md, "Fallback".
///
/// ```
/// use oneiric_resilience::{Error, Fallback, OnlyRejected};
///
/// let empty = Fallback::value(Vec::<u8>::new());
/// let answer = empty.apply(Err(Error::Inner("unreachable")));
/// assert_eq!(answer, Ok(vec![]));
///
/// let second = Fallback::new(|_: Error<&str>| Ok("from the cache")).when(OnlyRejected);
/// assert_eq!(second.apply(Ok("fresh")), Ok("fresh"));
/// let answer = second.apply(Err(Error::Inner("no such record")));
/// assert_eq!(answer, Err(Error::Inner("no such record")));
/// ```
#[derive(Debug, Clone)]
pub struct Fallback<S, W = AnyError, H = NoHook> {
    substitute: S,
    when: W,
    hook: H,
}

impl<T: Clone> Fallback<FallbackValue<T>> {
    /// This value, again and again.
    pub const fn value(value: T) -> Self {
        Self::new(FallbackValue(value))
    }
}

impl<S> Fallback<S> {
    /// What a function makes of the error: a value, or an error after all. An asynchronous one goes with
    /// [`apply_async`](Self::apply_async).
    pub const fn new(substitute: S) -> Self {
        Self {
            substitute,
            when: AnyError,
            hook: NoHook,
        }
    }
}

impl<S, W, H> Fallback<S, W, H> {
    /// Answers only for the errors that `when` names; a closure needs the type of its argument, as
    /// [`FallbackWhen`] shows.
    #[must_use]
    pub fn when<W2>(self, when: W2) -> Fallback<S, W2, H> {
        Fallback {
            substitute: self.substitute,
            when,
            hook: self.hook,
        }
    }

    /// Tells `hook` of each error that is answered for, before it is; a closure needs the type of its
    /// argument: `|error: &Error<MyError>|`.
    #[must_use]
    pub fn hook<H2>(self, hook: H2) -> Fallback<S, W, H2> {
        Fallback {
            substitute: self.substitute,
            when: self.when,
            hook,
        }
    }

    /// The result of a call, or the substitute for its error.
    ///
    /// # Errors
    /// The result's own, if it is none of those that are answered for; else the substitute's.
    pub fn apply<T, E>(&self, result: Result<T, Error<E>>) -> Result<T, Error<E>>
    where
        S: Substitute<T, E>,
        W: FallbackWhen<E>,
        H: FallbackHook<E>,
    {
        result.or_else(|error| self.substitute.substitute(self.chosen(error)?))
    }

    /// The same with a substitute that has to be waited for. Cancel-safe if that is.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub async fn apply_async<T, E, Fut>(&self, result: Result<T, Error<E>>) -> Result<T, Error<E>>
    where
        S: Fn(Error<E>) -> Fut,
        Fut: Future<Output = Result<T, Error<E>>>,
        W: FallbackWhen<E>,
        H: FallbackHook<E>,
    {
        match result {
            Ok(value) => Ok(value),
            Err(error) => (self.substitute)(self.chosen(error)?).await,
        }
    }

    /// What makes the answer.
    #[cfg(feature = "tower")]
    pub(crate) const fn substitute(&self) -> &S {
        &self.substitute
    }

    /// The error, if it is one to answer for; whoever wants to know is told.
    pub(crate) fn chosen<E>(&self, error: Error<E>) -> Result<Error<E>, Error<E>>
    where
        W: FallbackWhen<E>,
        H: FallbackHook<E>,
    {
        if !self.when.applies(&error) {
            return Err(error);
        }
        self.hook.on_fallback(&error);
        Ok(error)
    }
}

/// Makes an answer out of an error. Closures `Fn(Error<E>) -> Result<T, Error<E>>` do.
pub trait Substitute<T, E> {
    /// The answer, or the error after all.
    ///
    /// # Errors
    /// The one that was given, or another one.
    fn substitute(&self, error: Error<E>) -> Result<T, Error<E>>;
}

impl<T, E, F: Fn(Error<E>) -> Result<T, Error<E>>> Substitute<T, E> for F {
    fn substitute(&self, error: Error<E>) -> Result<T, Error<E>> {
        self(error)
    }
}

/// A value that answers for any error.
#[derive(Debug, Clone, Copy)]
pub struct FallbackValue<T>(T);

impl<T: Clone, E> Substitute<T, E> for FallbackValue<T> {
    fn substitute(&self, _: Error<E>) -> Result<T, Error<E>> {
        Ok(self.0.clone())
    }
}

/// Chooses the errors that are answered for. Closures `Fn(&Error<E>) -> bool` do, with the type of their
/// argument.
///
/// ```
/// use oneiric_resilience::{Error, Fallback};
///
/// let fallback = Fallback::value(0).when(|error: &Error<&str>| error.code().is_some());
/// assert_eq!(fallback.apply(Err(Error::DeadlineExceeded)), Ok(0));
/// assert!(fallback.apply(Err(Error::Inner("no such record"))).is_err());
/// ```
pub trait FallbackWhen<E> {
    /// Whether this error is one.
    fn applies(&self, error: &Error<E>) -> bool;
}

impl<E, F: Fn(&Error<E>) -> bool> FallbackWhen<E> for F {
    fn applies(&self, error: &Error<E>) -> bool {
        self(error)
    }
}

/// All errors, those that the call itself answered too.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnyError;

impl<E> FallbackWhen<E> for AnyError {
    fn applies(&self, _: &Error<E>) -> bool {
        true
    }
}

/// Only calls that were not let through, and of which no attempt was made: what was never asked. What the call
/// itself answered stays, and so does a refusal after an attempt that may have done its work
/// ([`Rejected::attempts_made`](crate::Rejected::attempts_made)): of a policy or a retry's layer, as a retry that is
/// nested by hand does not know.
#[derive(Debug, Clone, Copy, Default)]
pub struct OnlyRejected;

impl<E> FallbackWhen<E> for OnlyRejected {
    fn applies(&self, error: &Error<E>) -> bool {
        matches!(error, Error::Rejected(rejected) if rejected.attempts_made() == 0)
    }
}

/// Is told of each error that is answered for. Closures `Fn(&Error<E>)` do.
pub trait FallbackHook<E> {
    /// This error is about to be answered for.
    fn on_fallback(&self, error: &Error<E>);
}

fn _dyn_ok(_: &dyn Substitute<(), ()>, _: &dyn FallbackWhen<()>, _: &dyn FallbackHook<()>) {}

impl<E, F: Fn(&Error<E>)> FallbackHook<E> for F {
    fn on_fallback(&self, error: &Error<E>) {
        self(error);
    }
}

impl<E> FallbackHook<E> for NoHook {
    fn on_fallback(&self, _: &Error<E>) {}
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use super::*;
    use crate::{Rejected, Rejection};

    const REJECTED: Error<&str> = Error::Rejected(Rejected::new(Rejection::BreakerOpen, None));

    #[test]
    fn a_value_answers_for_every_error_and_leaves_values_alone() {
        let fallback = Fallback::value(0);
        let limit = Duration::from_secs(1);
        for error in [
            REJECTED,
            Error::Inner("no"),
            Error::TimedOut { limit },
            Error::DeadlineExceeded,
        ] {
            assert_eq!(fallback.apply(Err(error)), Ok(0));
        }
        assert_eq!(fallback.apply(Ok::<_, Error<&str>>(7)), Ok(7));
    }

    #[test]
    fn only_chosen_errors_are_answered_for_and_told_of() {
        let told = RefCell::new(vec![]);
        let hook = |error: &Error<&'static str>| told.borrow_mut().push(*error);
        let rejections = Fallback::value(0).when(OnlyRejected).hook(hook);
        assert_eq!(rejections.apply(Err(REJECTED)), Ok(0));
        let inner = Error::Inner("no");
        assert_eq!(rejections.apply(Err(inner)), Err(inner));
        assert_eq!(*told.borrow(), [REJECTED]);
        let again = REJECTED.after(1);
        assert_eq!(rejections.apply(Err(again)), Err(again));

        let by_text = Fallback::value(0)
            .when(|error: &Error<&'static str>| matches!(error, Error::Inner("gone")))
            .hook(hook);
        assert_eq!(by_text.apply(Err(inner)), Err(inner));
        let gone = Error::Inner("gone");
        assert_eq!(by_text.apply(Err(gone)), Ok(0));
        assert_eq!(*told.borrow(), [REJECTED, gone]);
    }

    #[test]
    fn a_function_sees_the_error_and_may_fail_itself() {
        let fallback = Fallback::new(|error: Error<&'static str>| match error {
            Error::Inner(text) => Ok(text.len()),
            _ => Err(Error::Inner("no cache")),
        });
        assert_eq!(fallback.apply(Err(Error::Inner("four"))), Ok(4));
        assert_eq!(fallback.apply(Err(REJECTED)), Err(Error::Inner("no cache")));
    }

    #[cfg(feature = "tokio")]
    #[tokio::test(start_paused = true)]
    async fn a_substitute_may_have_to_be_waited_for() {
        let second = |error: Error<&'static str>| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            error.into_inner().map(str::len).ok_or(REJECTED)
        };
        let fallback = Fallback::new(second);
        assert_eq!(fallback.apply_async(Ok(1)).await, Ok(1));
        let answer = fallback.apply_async(Err(Error::Inner("four"))).await;
        assert_eq!(answer, Ok(4));
        let picky = fallback.when(OnlyRejected);
        let inner = Error::Inner("four");
        assert_eq!(picky.apply_async(Err(inner)).await, Err(inner));
    }
}
