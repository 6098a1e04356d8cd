//! The patterns as layers for [tower](https://docs.rs/tower): one for each, and one for a whole
//! policy.
//!
//! # Readiness
//! A service has two questions to answer: whether it can take a call (`poll_ready`), and the call
//! itself. What the layers here do at which of them:
//!
//! - **What is scarce is reserved in `poll_ready`**: the permit of a bulkhead and the token of a
//!   bucket. A service that has none yet is not ready; that is the back pressure. What was reserved
//!   belongs to the service that was polled, never to its clones, and the next call uses it. A
//!   service that is dropped, or told of an error by the one inside, gives its permit back. A token
//!   that was waited for counts as used once it was given: the bucket cannot know that it was not.
//!   So a service that is ready, or was asked for readiness, must be polled on and called, or
//!   dropped, not kept: what it holds is missing elsewhere, and while it waits nobody passes it.
//!   (With a `max_wait`, one that waits loses its place in the line when that is over; what it has
//!   of the layers outside, it keeps.)
//! - **Permits are taken from the outside in.** A bulkhead's own comes first, and only who has it
//!   asks the inner service. A retry further inside asks again while its call holds what is outside
//!   of it; so whoever has what is inside must have what is outside, or two callers could each have
//!   what the other one waits for. (tower's own `ConcurrencyLimit` does the same.) The price: who
//!   waits for an inner service that is slow to be ready holds a permit meanwhile, as its call will,
//!   and to an adaptive limit that is latency. A bulkhead that several services share is better
//!   placed further inside, or its callers within a deadline.
//! - **Tokens are taken last**, once the inner service is ready: else those that were saved up while
//!   it was not would go out in one burst. A token is waited for by the clock alone, and is part of
//!   no circle.
//!   Two stacks that share two bulkheads must have them in the same order, as with any two locks.
//! - **A rejection is an answer, not a broken service.** `poll_ready` fails only if the inner
//!   service's does, which means that it is of no use any more. Whoever cannot have a turn (the
//!   queue is full, the wait took too long) is told that it is ready, and the call answers
//!   [`Error::Rejected`](crate::Error::Rejected); for a token it tries once more before.
//! - **A call that is refused is not made**, though what is further inside was ready for it. What that
//!   had reserved goes back: a layer that refuses goes on with a clone of its inner service, which has
//!   nothing reserved. So the inner service is [`Clone`]; where it is not, `tower::buffer` makes it so.
//! - **A breaker that is open is ready at once**, without a look at what is inside it, so that
//!   nobody waits for a connection only to be turned away. Its permit is taken by the call, costs
//!   nothing when refused, and is given back when the response future is dropped. A service that
//!   waits already is not woken when the breaker opens.
//! - **Waiting or shedding**: a bulkhead or bucket makes callers wait in `poll_ready` unless its
//!   layer is told to `shed`; then nothing is reserved and the call is answered at once, one way or
//!   the other.
//! - **A call without readiness** takes its permit and its token by itself if there are any, and is
//!   rejected if not. It never waits. What the inner service makes of such a call is its own
//!   affair.
//!
//! The time that `poll_ready` takes is the caller's: time limits begin with the call. To bound
//! both, poll both within a [`Deadline`](crate::Deadline):
//! `deadline.scope(service.oneshot(request))`.
//!
//! # Errors
//! All layers have one error, [`Error<E>`](crate::Error), where `E` is that of the service they
//! guard; however many of them lie on each other, it is not nested. So each can tell what the call
//! said from what another layer said: a rejection further inside is no failure of the called one,
//! and a retry does not repeat it by itself. For that the innermost layer is [`InnerLayer`], which
//! makes [`Error::Inner`](crate::Error::Inner) of the service's own errors. (A [`PolicyLayer`] does
//! so by itself.)
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use oneiric_resilience::layers::{BreakerLayer, BulkheadLayer, InnerLayer};
//! use oneiric_resilience::{Breaker, BreakerConfig, Bulkhead, BulkheadConfig};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! let client = service_fn(async |name: &'static str| Ok::<_, std::io::Error>(name.len()));
//! let guarded = ServiceBuilder::new()
//!     .layer(BreakerLayer::new(Breaker::new(BreakerConfig::default())?))
//!     .layer(BulkheadLayer::new(Bulkhead::new(BulkheadConfig::default())?))
//!     .layer(InnerLayer)
//!     .service(client);
//! assert_eq!(guarded.oneshot("four").await?, 4);
//! # Ok(())
//! # }
//! ```
//!
//! # What it costs
//! No future is boxed and nothing is allocated for a call that goes through; a service that has to
//! wait allocates its place in the queue and a timer. Clones of a service share breaker, bucket,
//! bulkhead and budget, as those of the patterns do.

mod asked;
mod bounded;
mod breaker;
mod bucket;
mod bulkhead;
mod deadline;
mod fallback;
mod fallback_async;
mod gated;
mod gates;
mod inner;
mod next;
mod policy;
mod policy_call;
mod retry;
mod retrying;
mod timeout;
mod turn;

pub use breaker::BreakerLayer;
pub use bucket::BucketLayer;
pub use bulkhead::BulkheadLayer;
pub use deadline::{DeadlineFuture, DeadlineLayer, WithDeadline};
pub use fallback::{FallbackFuture, FallbackLayer, WithFallback};
pub use fallback_async::{AsyncFallbackFuture, AsyncFallbackLayer, WithAsyncFallback};
pub use gated::{Gated, GatedFuture};
pub use inner::{InnerFuture, InnerLayer, WithInner};
pub use policy::{PolicyLayer, WithPolicy};
pub use policy_call::PolicyFuture;
pub use retry::{CloneRequest, CopyRequest, RetryLayer, WithRetry};
pub use retrying::RetryFuture;
pub use timeout::{TimeoutFuture, TimeoutLayer, WithTimeout};
