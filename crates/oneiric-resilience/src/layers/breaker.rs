//! A breaker as a layer.

use tower_layer::Layer;

use super::gated::Gated;
use crate::policy::gates::Gate;
use crate::{Breaker, Clock, ErrIsFailure, SystemClock};

/// Makes no calls while the breaker is open.
///
/// The call takes the breaker's permit, and how the call ends is recorded when its response is
/// there; a response future that is dropped counts for nothing, one that panics as a failure. While
/// the breaker is open the service is ready at once, without a look at what is inside, and every
/// call is rejected. What a layer further inside rejected is not counted; a call that took too long
/// is, if the time limit lies further inside.
///
/// An inner service that fails to become ready is of no use any more and counts for nothing here.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use oneiric_resilience::layers::{BreakerLayer, InnerLayer};
/// use oneiric_resilience::{Breaker, BreakerConfig, Outcome};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// let breaker = Breaker::new(BreakerConfig::default())?;
/// let by_status = |result: &Result<u16, std::io::Error>| match result {
///     Ok(500..) | Err(_) => Outcome::Failure,
///     Ok(_) => Outcome::Success,
/// };
/// let client = ServiceBuilder::new()
///     .layer(BreakerLayer::new(breaker.clone()).classify(by_status))
///     .layer(InnerLayer)
///     .service(service_fn(async |_: &'static str| Ok(503)));
/// assert_eq!(client.oneshot("/").await?, 503);
/// assert_eq!(breaker.snapshot().failures, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct BreakerLayer<K = ErrIsFailure, C: Clock = SystemClock> {
    breaker: Breaker<C>,
    classify: K,
}

impl<C: Clock> BreakerLayer<ErrIsFailure, C> {
    /// Behind this breaker, which may stand elsewhere too. Every error is a failure.
    pub const fn new(breaker: Breaker<C>) -> Self {
        Self {
            breaker,
            classify: ErrIsFailure,
        }
    }
}

impl<K, C: Clock> BreakerLayer<K, C> {
    /// Lets `classify` decide what a response or an error of the guarded service says; a closure needs
    /// the type of its argument, as [`Classify`](crate::Classify) shows.
    #[must_use]
    pub fn classify<K2>(self, classify: K2) -> BreakerLayer<K2, C> {
        BreakerLayer {
            breaker: self.breaker,
            classify,
        }
    }
}

impl<S, K: Clone, C: Clock> Layer<S> for BreakerLayer<K, C> {
    type Service = Gated<S, K, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let gate = Gate::Breaker(self.breaker.clone());
        Gated::behind(gate, inner, self.classify.clone())
    }
}
