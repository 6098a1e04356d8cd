//! A timer for who may have to look again.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A timer that is made when it is first needed: most never wait.
#[derive(Debug, Default)]
pub(crate) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    /// Whether so much time has passed, from now: a timer that was set before is set anew.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, after: Duration) -> Poll<()> {
        let sleep = match &mut self.0 {
            Some(sleep) => {
                sleep.as_mut().reset(Instant::now() + after);
                sleep
            }
            none => none.insert(Box::pin(tokio::time::sleep(after))),
        };
        sleep.as_mut().poll(cx)
    }
}
