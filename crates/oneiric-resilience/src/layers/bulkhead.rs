//! A bulkhead as a layer.

use std::time::Duration;

use tower_layer::Layer;

use super::gated::Gated;
use crate::policy::gates::Gate;
use crate::{Bulkhead, Clock, ErrIsFailure, SystemClock};

/// Lets so many calls run at once.
///
/// The service is ready once it has a permit, which the next call uses and holds until its response
/// is there or its future is dropped. Services wait in the bulkhead's queue, in the order in which
/// they came; where that is full, the call is rejected. How a call ends is told to an adaptive
/// limit.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use oneiric_resilience::layers::{BulkheadLayer, InnerLayer};
/// use oneiric_resilience::{Bulkhead, BulkheadConfig};
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
///
/// let bulkhead = Bulkhead::new(BulkheadConfig { limit: 1, ..BulkheadConfig::default() })?;
/// let mut client = ServiceBuilder::new()
///     .layer(BulkheadLayer::new(bulkhead.clone()))
///     .layer(InnerLayer)
///     .service(service_fn(async |n: u32| Ok::<_, std::io::Error>(n + 1)));
/// let answer = client.ready().await?.call(1);
/// assert_eq!(bulkhead.in_flight(), 1);
/// assert_eq!(answer.await?, 2);
/// assert_eq!(bulkhead.in_flight(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct BulkheadLayer<K = ErrIsFailure, C: Clock = SystemClock> {
    bulkhead: Bulkhead<C>,
    wait: Duration,
    classify: K,
}

impl<C: Clock> BulkheadLayer<ErrIsFailure, C> {
    /// Behind this bulkhead, which may stand elsewhere too. Services wait for their permit as long
    /// as it takes. To an adaptive limit every error is a failure.
    pub const fn new(bulkhead: Bulkhead<C>) -> Self {
        Self {
            bulkhead,
            wait: Duration::MAX,
            classify: ErrIsFailure,
        }
    }
}

impl<K, C: Clock> BulkheadLayer<K, C> {
    /// Lets a service wait no longer than this for its permit; then its call is rejected. Zero is
    /// the same as [`shed`](Self::shed).
    #[must_use]
    pub const fn max_wait(mut self, limit: Duration) -> Self {
        self.wait = limit;
        self
    }

    /// Does not wait: the service is always ready, and a call for which there is no permit is
    /// rejected.
    #[must_use]
    pub const fn shed(self) -> Self {
        self.max_wait(Duration::ZERO)
    }

    /// Lets `classify` decide what a response or an error of the guarded service says to an
    /// adaptive limit; a closure needs the type of its argument, as [`Classify`](crate::Classify) shows.
    #[must_use]
    pub fn classify<K2>(self, classify: K2) -> BulkheadLayer<K2, C> {
        BulkheadLayer {
            bulkhead: self.bulkhead,
            wait: self.wait,
            classify,
        }
    }
}

impl<S, K: Clone, C: Clock> Layer<S> for BulkheadLayer<K, C> {
    type Service = Gated<S, K, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let gate = Gate::Bulkhead(self.bulkhead.clone(), self.wait);
        Gated::behind(gate, inner, self.classify.clone())
    }
}
