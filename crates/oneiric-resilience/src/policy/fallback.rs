//! A policy that has an answer for its errors. Around all of it and never in between: an answer that
//! the called one did not give would be counted as its success by the stages outside.

use std::fmt;

use super::Policy;
use super::order::Stage;
use crate::fallback::{Fallback, FallbackHook, FallbackWhen, Substitute};
use crate::{Classify, Clock, ErrIsFailure, Error, SystemClock};

/// A [`Policy`] with a [`Fallback`](crate::Fallback) around it. From [`Policy::with_fallback`].
#[derive(Clone)]
pub struct PolicyWithFallback<F, K = ErrIsFailure, C: Clock = SystemClock> {
    policy: Policy<K, C>,
    fallback: F,
}

impl<F, K, C: Clock> PolicyWithFallback<F, K, C> {
    pub(super) const fn new(policy: Policy<K, C>, fallback: F) -> Self {
        Self { policy, fallback }
    }

    /// The policy itself.
    pub const fn policy(&self) -> &Policy<K, C> {
        &self.policy
    }

    /// Its stages, the outermost first: the fallback.
    pub fn order(&self) -> impl Iterator<Item = Stage> {
        std::iter::once(Stage::Fallback).chain(self.policy.order().iter().copied())
    }
}

impl<S, W, H, K, C: Clock> PolicyWithFallback<Fallback<S, W, H>, K, C> {
    /// Makes a call, as the policy says, and answers for its error as the fallback says.
    ///
    /// Cancel-safe as [`Policy::call`] is.
    ///
    /// # Errors
    /// Those of [`Policy::call`] that are not answered for, or the substitute's.
    ///
    /// # Panics
    /// As [`Policy::call`].
    pub async fn call<T, E, Fut>(&self, call: impl FnMut() -> Fut) -> Result<T, Error<E>>
    where
        K: Classify<T, E>,
        Fut: Future<Output = Result<T, E>>,
        S: Substitute<T, E>,
        W: FallbackWhen<E>,
        H: FallbackHook<E>,
    {
        self.fallback.apply(self.policy.call(call).await)
    }

    /// The same with a substitute that has to be waited for. The policy's deadline is not its deadline: it
    /// stands outside.
    ///
    /// Cancel-safe as [`Policy::call`] and the substitute are.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    ///
    /// # Panics
    /// As [`Policy::call`].
    pub async fn call_with_async_substitute<T, E, Fut, Sub>(
        &self,
        call: impl FnMut() -> Fut,
    ) -> Result<T, Error<E>>
    where
        K: Classify<T, E>,
        Fut: Future<Output = Result<T, E>>,
        S: Fn(Error<E>) -> Sub,
        Sub: Future<Output = Result<T, Error<E>>>,
        W: FallbackWhen<E>,
        H: FallbackHook<E>,
    {
        self.fallback
            .apply_async(self.policy.call(call).await)
            .await
    }
}

impl<F, K, C: Clock> fmt::Debug for PolicyWithFallback<F, K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyWithFallback")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
