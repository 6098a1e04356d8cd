//! Several calls at once, all of which are needed: the first that fails makes the others pointless.

use std::iter::repeat_with;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::caught::{Caught, FirstPanic, Panic};

/// Runs futures at once and returns all their values, in the order of the futures; or the first
/// error, after all others were dropped and are gone.
///
/// They run in the caller's task, so they may borrow, and see its deadline; only one of them runs at a
/// time. Each is polled only when it has something to do. None of them given is no values. What they
/// hold (permits, locks, connections) is free again when the error is told. Where they should run on
/// several threads, or begin further ones, use a [`scope`](crate::scope()).
///
/// Cancel-safe if the futures are: dropping this drops them all.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use oneiric_resilience::join_all_or_cancel;
/// use std::time::Duration;
/// use tokio::time::{Instant, sleep};
///
/// let call = async |seconds: u64| match seconds {
///     3 => Err("no third"),
///     _ => {
///         sleep(Duration::from_secs(seconds)).await;
///         Ok(seconds)
///     }
/// };
/// assert_eq!(join_all_or_cancel([2, 1].map(call)).await, Ok(vec![2, 1]));
///
/// let began = Instant::now();
/// assert_eq!(join_all_or_cancel([9, 3].map(call)).await, Err("no third"));
/// assert_eq!(began.elapsed(), Duration::ZERO);
/// # }
/// ```
///
/// # Errors
/// The first that any of them returns.
///
/// # Panics
/// If one of them does, be it while it is dropped; the others are dropped first.
pub async fn join_all_or_cancel<I, F, T, E>(futures: I) -> Result<Vec<T>, E>
where
    I: IntoIterator<Item = F>,
    F: Future<Output = Result<T, E>>,
{
    let placed = |(place, future)| Placed {
        place,
        future: Some(Caught::new(future)),
    };
    let mut running = Running(futures.into_iter().enumerate().map(placed).collect());
    let mut values: Vec<Option<T>> = repeat_with(|| None).take(running.0.len()).collect();
    while let Some((place, result)) = running.0.next().await {
        // On an error, and on a panic, `running` is dropped on the way out.
        values[place] = Some(result.unwrap_or_else(|panic| resume_unwind(panic))?);
    }
    // Each place was filled.
    Ok(values.into_iter().flatten().collect())
}

/// Drops each by itself, because where one panics the set would keep the others for ever.
struct Running<F>(FuturesUnordered<Placed<F>>);

impl<F> Drop for Running<F> {
    fn drop(&mut self) {
        let mut panics = FirstPanic::default();
        for placed in Pin::new(&mut self.0).iter_pin_mut() {
            let mut future = placed.project().future;
            panics.catch(|| future.set(None));
        }
        panics.resume();
    }
}

pin_project_lite::pin_project! {
    /// A future that remembers where its value goes.
    struct Placed<F> {
        place: usize,
        // Nothing once it was dropped. Caught, as the set would drop one that panics while that goes on,
        // and one that then panics again would end the process.
        #[pin]
        future: Option<Caught<F>>,
    }
}

impl<F: Future> Future for Placed<F> {
    type Output = (usize, Result<F::Output, Panic>);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let place = *this.place;
        let future = this.future.as_pin_mut();
        let future = future.expect("not polled again after it was dropped");
        future.poll(cx).map(|value| (place, value))
    }
}
