//! Runs one step of a transition: off the async workers, with a time limit, panics caught.
//!
//! Factories, probes, hooks and retirements are other people's code. Each runs on the blocking pool
//! and is driven there, so that one that blocks a thread blocks no other slot; when its time is up
//! the step is given up, and a product that still arrives is handed to `late`.
//!
//! The pool is tokio's, and whatever else blocks uses it too. So the time of a step begins when the step does: that
//! there was no thread says nothing about whoever was to be asked. One that has to wait too long never begins, which
//! is an error of its own. What kinds of steps there are and how many of each at once says [`lanes`].

mod hung;
mod lanes;

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

pub(crate) use self::hung::{HUNG_AT_MOST, Hung};
use self::lanes::KeptPlace;
pub(crate) use self::lanes::Steps;
pub use self::lanes::{STEPS_AT_ONCE, StepKind, StepLoad};

/// A step waits for a thread as long as it may take itself, and never less than this.
const SHORTEST_WAIT: Duration = Duration::from_secs(5);

/// As good as for ever.
const AGES: Duration = Duration::from_hours(24 * 365 * 30);

/// Why a step has no product.
#[derive(Debug)]
pub(crate) enum StepError {
    TimedOut,
    /// In so much time there was no thread for it. It never ran; a retirement still will, once there is a thread.
    NotBegun(Duration),
    /// Nobody wants its product any more.
    Abandoned,
    Panicked(String),
}

impl Steps {
    /// Runs a step of which nothing is left when it is given up: a hook, or telling an instance something.
    pub(crate) async fn hook<T, Fut>(
        &self,
        limit: Duration,
        step: impl FnOnce() -> Fut + Send + 'static,
    ) -> Result<T, StepError>
    where
        T: Send + 'static,
        Fut: Future<Output = T> + Send,
    {
        let never = CancellationToken::new();
        self.run(StepKind::Hook, limit, never, step, |_| async {})
            .await
    }

    /// Runs `step` for at most `limit` from when it begins, and no longer than until `abandon` is cancelled, which
    /// happens when the time is up at the latest. A future that awaits is dropped then, a thread that blocks goes on,
    /// and `late` gets what it still makes. A step that has not begun by then never does, except that an instance is
    /// retired all the same, at the latest when there is a thread. Dropped half-way, it gives the step up in the same
    /// way, and what the step still makes is dropped: only those that run in a task of their own may make something
    /// that has to be taken down.
    ///
    /// Must run inside a tokio runtime with time enabled.
    pub(crate) async fn run<T, Fut, L>(
        &self,
        kind: StepKind,
        limit: Duration,
        abandon: CancellationToken,
        step: impl FnOnce() -> Fut + Send + 'static,
        late: impl FnOnce(T) -> L + Send + 'static,
    ) -> Result<T, StepError>
    where
        T: Send + 'static,
        Fut: Future<Output = T> + Send,
        L: Future<Output = ()> + Send,
    {
        let (driver, span, abandoned) = (Handle::current(), Span::current(), abandon.clone());
        let unbegun = Unbegun(Arc::new(Mutex::new(Some(step))));
        let mut gives_up = GivesUp {
            abandon: Some(abandon.clone()),
            place: None,
            unbegun: (kind != StepKind::Retire).then(|| unbegun.clone()),
        };
        let (began, mut begins) = oneshot::channel();
        let place = self.place(kind);
        gives_up.place = Some(place.kept());
        let mut work = Box::pin(async move {
            let place = place.taken().await;
            let on_its_thread = move || {
                // Nobody wants it any more.
                let step = unbegun.take()?;
                let _at_work = place.begin();
                // Whoever waits for it may be gone.
                let _nobody = began.send(Instant::now());
                driver.block_on(async move {
                    let mut step = pin!(span.in_scope(step).instrument(span.clone()));
                    tokio::select! {
                        biased;
                        product = &mut step => Some(product),
                        () = abandoned.cancelled() => None,
                    }
                })
            };
            tokio::task::spawn_blocking(on_its_thread).await
        });
        let wait = limit.max(SHORTEST_WAIT);
        let (mut begun, mut deadline) = (false, after(Instant::now(), wait));
        let error = loop {
            tokio::select! {
                biased;
                ended = &mut work => {
                    // Its product may rely on not being told to stop any more.
                    gives_up.abandon = None;
                    return match ended {
                        Ok(Some(product)) => Ok(product),
                        Ok(None) => Err(StepError::Abandoned),
                        Err(join) => Err(StepError::Panicked(join_message(join))),
                    };
                }
                // By the step's own clock: this task may look at it late.
                at = &mut begins, if !begun => {
                    begun = true;
                    // Without an answer it ends in this very moment: the runtime goes down.
                    deadline = after(at.unwrap_or_else(|_| Instant::now()), limit);
                }
                () = abandon.cancelled() => break StepError::Abandoned,
                () = tokio::time::sleep_until(deadline) => {
                    if begun {
                        break StepError::TimedOut;
                    }
                    if gives_up.withdraw() {
                        return Err(StepError::NotBegun(wait));
                    }
                    if kind == StepKind::Retire {
                        break StepError::NotBegun(wait);
                    }
                    // It begins in this very moment.
                    deadline = after(Instant::now(), limit);
                }
            }
        };
        if gives_up.withdraw() {
            return Err(error);
        }
        let keeps_its_time = matches!(error, StepError::NotBegun(_));
        if keeps_its_time {
            gives_up.abandon = None;
        }
        drop(gives_up);
        tokio::spawn(async move {
            if keeps_its_time && let Ok(at) = begins.await {
                tokio::select! {
                    biased;
                    ended = &mut work => return drop(ended),
                    () = tokio::time::sleep_until(after(at, limit)) => abandon.cancel(),
                }
            }
            if let Ok(Some(product)) = work.await {
                late(product).await;
            }
        });
        Err(error)
    }
}

/// A step that has not begun, for whoever comes first: its thread, or whoever does not want it any more.
struct Unbegun<S>(Arc<Mutex<Option<S>>>);

impl<S> Unbegun<S> {
    fn take(&self) -> Option<S> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<S> Clone for Unbegun<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Gives the step up when it is dropped: without the one who waits for a step, nobody would ever end one that hangs.
struct GivesUp<S> {
    abandon: Option<CancellationToken>,
    place: Option<KeptPlace>,
    /// Of one that is not to begin any more then.
    unbegun: Option<Unbegun<S>>,
}

impl<S> GivesUp<S> {
    /// Sees to it that the step never begins; `false` if it has. What it holds is let go of here, and not when a thread
    /// comes to it.
    fn withdraw(&self) -> bool {
        let step = self.unbegun.as_ref().and_then(Unbegun::take);
        step.is_some()
    }
}

impl<S> Drop for GivesUp<S> {
    fn drop(&mut self) {
        if let Some(abandon) = &self.abandon {
            abandon.cancel();
            if !self.withdraw()
                && let Some(place) = &self.place
            {
                place.give_back();
            }
        }
    }
}

fn after(at: Instant, limit: Duration) -> Instant {
    at.checked_add(limit).unwrap_or_else(|| at + AGES)
}

/// Runs `call` and turns a panic inside it into its message.
pub(crate) async fn catch_panic<T>(call: impl Future<Output = T>) -> Result<T, String> {
    let mut call = pin!(call);
    std::future::poll_fn(|context| {
        // The future is dropped right after a panic and never polled again, and what it shares with
        // others (the instance) is the component's to keep sound; hence unwind safety is asserted.
        let poll = std::panic::AssertUnwindSafe(|| call.as_mut().poll(context));
        match std::panic::catch_unwind(poll) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(panic) => Poll::Ready(Err(panic_message(panic.as_ref()))),
        }
    })
    .await
}

fn join_message(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => panic_message(panic.as_ref()),
        Err(_cancelled) => "the runtime is shutting down".to_owned(),
    }
}

pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&'static str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
