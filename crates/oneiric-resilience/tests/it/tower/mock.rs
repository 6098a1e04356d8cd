//! A service that can be asked afterwards whether its callers kept the contract: it is called only after it said, to this
//! very caller, that it is ready, and once for each time.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::time::sleep;
use tower::Service;

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// At once, with the request.
    Good,
    /// At once, with an error.
    Bad,
    /// Never.
    Hangs,
    /// With the request, after so long.
    After(Duration),
    /// With a panic when it is polled.
    Panics,
    /// With a panic before there is a future.
    PanicsAtOnce,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// With a call.
    Bad,
    /// With the service.
    Broken,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Fault {}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    broken: bool,
    wakers: Vec<Waker>,
    answers: VecDeque<Answer>,
    calls: Vec<u32>,
    asked: u32,
    running: u32,
    most_running: u32,
    violations: u32,
}

/// The service. Clones share all but whether they are ready.
#[derive(Debug, Default)]
pub(super) struct Mock {
    state: Arc<Mutex<State>>,
    ready: bool,
}

impl Clone for Mock {
    fn clone(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
            ready: false,
        }
    }
}

impl Mock {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The next calls end so; those after them are good.
    pub(super) fn answering(self, answers: impl IntoIterator<Item = Answer>) -> Self {
        self.state().answers.extend(answers);
        self
    }

    pub(super) fn next(&self, answer: Answer) {
        self.state().answers.push_back(answer);
    }

    /// The call that was prepared last was not made.
    pub(super) fn take_back(&self) {
        self.state().answers.pop_back();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// From now on it is ready, or not.
    pub(super) fn set_ready(&self, ready: bool) {
        let woken = {
            let mut state = self.state();
            state.closed = !ready;
            std::mem::take(&mut state.wakers)
        };
        woken.into_iter().for_each(Waker::wake);
    }

    /// From now on it fails to become ready.
    pub(super) fn break_down(&self) {
        self.state().broken = true;
        self.set_ready(true);
    }

    /// The requests of all calls.
    pub(super) fn calls(&self) -> Vec<u32> {
        self.state().calls.clone()
    }

    /// How often it was asked whether it is ready.
    pub(super) fn asked(&self) -> u32 {
        self.state().asked
    }

    pub(super) fn running(&self) -> u32 {
        self.state().running
    }

    pub(super) fn most_running(&self) -> u32 {
        self.state().most_running
    }

    /// How often it was called without having said that it is ready.
    pub(super) fn violations(&self) -> u32 {
        self.state().violations
    }
}

impl Service<u32> for Mock {
    type Response = u32;
    type Error = Fault;
    type Future = Pin<Box<dyn Future<Output = Result<u32, Fault>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let mut state = self.state.lock().unwrap();
        state.asked += 1;
        if state.broken {
            return Poll::Ready(Err(Fault::Broken));
        }
        if state.closed && !self.ready {
            state.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        let answer = {
            let mut state = self.state();
            state.violations += u32::from(!self.ready);
            state.calls.push(request);
            state.answers.pop_front().unwrap_or(Answer::Good)
        };
        self.ready = false;
        assert!(answer != Answer::PanicsAtOnce, "as it was told");
        let running = Running::new(Arc::clone(&self.state));
        Box::pin(async move {
            let _running = running;
            match answer {
                Answer::Bad => return Err(Fault::Bad),
                Answer::Hangs => std::future::pending::<()>().await,
                Answer::After(wait) => sleep(wait).await,
                Answer::Panics => panic!("as it was told"),
                Answer::Good | Answer::PanicsAtOnce => {}
            }
            Ok(request)
        })
    }
}

/// Counts the calls that run.
struct Running(Arc<Mutex<State>>);

impl Running {
    fn new(state: Arc<Mutex<State>>) -> Self {
        let mut now = state.lock().unwrap();
        now.running += 1;
        now.most_running = now.most_running.max(now.running);
        drop(now);
        Self(state)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().unwrap().running -= 1;
    }
}

/// Counts how often it is woken.
#[derive(Debug, Default)]
pub(super) struct Alarm(AtomicU32);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Alarm {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// How often since it was last asked.
    pub(super) fn rung(&self) -> u32 {
        self.0.swap(0, Ordering::SeqCst)
    }

    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }
}

/// Asks once whether a service is ready.
pub(super) fn ask<S: Service<u32>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
}

/// Polls once.
pub(super) fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Waits until a service is ready.
pub(super) async fn ready<S: Service<u32>>(service: &mut S) -> Result<(), S::Error> {
    poll_fn(|cx| service.poll_ready(cx)).await
}
