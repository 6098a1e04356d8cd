//! A token bucket as a layer.

use std::time::Duration;

use tower_layer::Layer;

use super::gated::Gated;
use crate::policy::gates::Gate;
use crate::{Clock, ErrIsFailure, SystemClock, TokenBucket};

/// Lets so many calls a second through: each takes one token.
///
/// The service is ready once it has a token, which the next call uses. Services wait in the
/// bucket's queue, in the order in which they came; where that is full, the call is rejected. A
/// token that a service had and did not use is spent.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use oneiric_resilience::layers::{InnerLayer, BucketLayer};
/// use oneiric_resilience::{Error, Rejection, TokenBucket, TokenBucketConfig};
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
///
/// let bucket = TokenBucket::new(TokenBucketConfig {
///     capacity: 1,
///     refill_per_sec: 0.1,
///     ..TokenBucketConfig::default()
/// })?;
/// let mut client = ServiceBuilder::new()
///     .layer(BucketLayer::new(bucket).shed())
///     .layer(InnerLayer)
///     .service(service_fn(async |n: u32| Ok::<_, std::io::Error>(n + 1)));
/// assert_eq!(client.ready().await?.call(1).await?, 2);
/// let Err(Error::Rejected(rejected)) = client.ready().await?.call(1).await else {
///     panic!("there was one token");
/// };
/// assert_eq!(rejected.rejection(), Rejection::RateLimited);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct BucketLayer<C: Clock = SystemClock> {
    bucket: TokenBucket<C>,
    wait: Duration,
}

impl<C: Clock> BucketLayer<C> {
    /// Behind this bucket, which may stand elsewhere too. Services wait for their token as long as
    /// it takes.
    pub const fn new(bucket: TokenBucket<C>) -> Self {
        Self {
            bucket,
            wait: Duration::MAX,
        }
    }

    /// Lets a service wait no longer than this for its token; then its call is rejected. Zero is
    /// the same as [`shed`](Self::shed).
    #[must_use]
    pub const fn max_wait(mut self, limit: Duration) -> Self {
        self.wait = limit;
        self
    }

    /// Does not wait: the service is always ready, and a call for which there is no token is
    /// rejected.
    #[must_use]
    pub const fn shed(self) -> Self {
        self.max_wait(Duration::ZERO)
    }
}

impl<S, C: Clock> Layer<S> for BucketLayer<C> {
    type Service = Gated<S, ErrIsFailure, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let gate = Gate::Bucket(self.bucket.clone(), self.wait);
        Gated::behind(gate, inner, ErrIsFailure)
    }
}
