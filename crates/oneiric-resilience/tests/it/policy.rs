//! The policy from outside: each stage alone, those that meet, their order, cancellation, settings.

#[cfg(feature = "tokio")]
mod cancel;
#[cfg(feature = "tokio")]
mod meetings;
#[cfg(feature = "tokio")]
mod order;
#[cfg(feature = "serde")]
mod settings;
#[cfg(feature = "tokio")]
mod stages;

mod blocking;
mod faults;

use std::time::Duration;

use oneiric_resilience::{
    BackoffConfig, BreakerConfig, BreakerWindow, BulkheadConfig, PolicyConfig, RetryConfig,
    TokenBucketConfig,
};

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// So many attempts, 100 ms apart.
pub(crate) fn retry(attempts: u32) -> Option<RetryConfig> {
    Some(RetryConfig {
        attempts,
        backoff: BackoffConfig::constant(ms(100)),
        ..RetryConfig::default()
    })
}

/// Opens for a second after so many failures in a row; one probe.
pub(crate) fn breaker(failures: u32) -> Option<BreakerConfig> {
    Some(BreakerConfig {
        window: BreakerWindow::Consecutive(failures),
        open: BackoffConfig::constant(ms(1_000)),
        probes: 1,
        ..BreakerConfig::default()
    })
}

/// So many tokens, and one more each ten seconds.
pub(crate) fn bucket(capacity: u32) -> Option<TokenBucketConfig> {
    Some(TokenBucketConfig {
        capacity,
        refill_per_sec: 0.1,
        max_waiters: 10,
    })
}

pub(crate) fn bulkhead(limit: u32) -> Option<BulkheadConfig> {
    Some(BulkheadConfig {
        limit,
        max_waiters: 10,
        ..BulkheadConfig::default()
    })
}

pub(crate) fn nothing() -> PolicyConfig {
    PolicyConfig::default()
}

#[cfg(feature = "tokio")]
pub(crate) use with_tokio::{Called, answers, policy};

#[cfg(feature = "tokio")]
mod with_tokio {
    use std::cell::Cell;
    use std::future::{Ready, ready};

    use oneiric_resilience::{ErrIsFailure, Policy, PolicyConfig, TokioClock};

    pub(crate) fn policy(config: PolicyConfig) -> Policy<ErrIsFailure, TokioClock> {
        Policy::with_clock(config, TokioClock::new()).unwrap()
    }

    /// How often a call was made.
    #[derive(Debug, Default)]
    pub(crate) struct Called(pub(crate) Cell<usize>);

    impl Called {
        pub(crate) fn again(&self) -> usize {
            self.0.set(self.0.get() + 1);
            self.0.get()
        }
    }

    type Answer = Result<u32, &'static str>;

    /// Answers one after the other; the last one for ever.
    pub(crate) fn answers<'a>(
        all: &'a [Answer],
        called: &'a Called,
    ) -> impl FnMut() -> Ready<Answer> + 'a {
        move || {
            let at = called.again().min(all.len()) - 1;
            ready(all[at])
        }
    }
}
