//! What the accept loop does while the system cannot give it connections: wait longer and longer, and say so once.

use std::time::Duration;

/// After the first failure; each further one in a row doubles it.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// Failures in a row.
#[derive(Debug, Default)]
pub(super) struct Breath {
    failures: u32,
}

impl Breath {
    /// Notes a failure: how long to wait, and whether it is the first of its run.
    pub(super) fn failed(&mut self) -> (Duration, bool) {
        let first = self.failures == 0;
        let wait = FIRST.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        (wait.min(LONGEST), first)
    }

    /// Notes a success: how many failures were before it.
    pub(super) fn succeeded(&mut self) -> u32 {
        std::mem::take(&mut self.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_failures_is_told_once_and_waited_for_longer_and_longer() {
        let mut breath = Breath::default();
        assert_eq!(breath.succeeded(), 0);
        let waits: Vec<_> = (0..100).map(|_| breath.failed()).collect();
        assert_eq!(waits[0], (FIRST, true));
        assert_eq!(waits[1], (FIRST * 2, false));
        assert_eq!(waits[99], (LONGEST, false));
        assert_eq!(waits.iter().filter(|(_, first)| *first).count(), 1);
        assert_eq!(breath.succeeded(), 100);
        assert_eq!(breath.failed(), (FIRST, true));
    }
}
