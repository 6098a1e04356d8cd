//! Being told what a retry does: for logs and counts, never to decide anything.

use std::fmt;

use super::attempts::RetryStep;
use crate::{Error, Outcome};

/// What a retry decided after an attempt.
#[non_exhaustive]
pub struct RetryEvent<'a, E> {
    /// Which attempt ended; the first is 1.
    pub attempt: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Its error; nothing if a value was taken for a failure.
    pub error: Option<&'a Error<E>>,
    /// What is next.
    pub step: RetryStep,
}

impl<E> fmt::Debug for RetryEvent<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryEvent")
            .field("attempt", &self.attempt)
            .field("outcome", &self.outcome)
            .field("code", &self.error.and_then(Error::code))
            .field("step", &self.step)
            .finish()
    }
}

/// Is told after each attempt, but for a first one after which nothing is next; and of one that there was no
/// time to begin.
///
/// Closures `Fn(&RetryEvent<'_, E>)` do, with the type of their argument. It is called between attempts, so
/// it should be quick.
///
/// ```
/// use oneiric_resilience::{Retry, RetryConfig, RetryEvent};
/// use std::io;
///
/// let retry = Retry::new(RetryConfig { attempts: 1, ..RetryConfig::default() })?
///     .hook(|event: &RetryEvent<'_, io::Error>| eprintln!("{event:?}"));
/// let answer = retry.run(|| Err::<(), _>(io::ErrorKind::TimedOut.into()));
/// assert!(answer.is_err());
/// # Ok::<(), oneiric_resilience::InvalidConfig>(())
/// ```
pub trait RetryHook<E> {
    /// An attempt has ended and the next step is decided.
    fn on_step(&self, event: &RetryEvent<'_, E>);
}

fn _dyn_ok(_: &dyn RetryHook<()>) {}

impl<E, F: Fn(&RetryEvent<'_, E>)> RetryHook<E> for F {
    fn on_step(&self, event: &RetryEvent<'_, E>) {
        self(event);
    }
}

/// Nobody is told.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHook;

impl<E> RetryHook<E> for NoHook {
    #[inline]
    fn on_step(&self, _: &RetryEvent<'_, E>) {}
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_the_code_of_an_error_that_has_one() {
        let text = |error: Option<&Error<()>>| {
            let event = RetryEvent {
                attempt: 2,
                outcome: Outcome::Failure,
                error,
                step: RetryStep::Done,
            };
            format!("{event:?}")
        };
        let late = text(Some(&Error::DeadlineExceeded));
        assert!(
            late.contains(r#"code: Some("resilience.deadline_exceeded")"#),
            "{late}"
        );
        for without in [text(Some(&Error::Inner(()))), text(None)] {
            assert!(without.contains("code: None"), "{without}");
        }
    }
}
