//! Wrong tokens by address: each failure in a row makes the next refusal slower. Right ones are never slowed, so an
//! attacker behind the same address locks nobody out; and what is remembered is bounded, the oldest goes first.
//!
//! A refusal that waits holds no connection's place, or wrong tokens would keep out the right one; and so few wait at
//! one time that waiting costs little. Beyond those a refusal comes at once: it ends its connection, so that the next
//! attempt needs another handshake.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{budget::Budget, places::Place};

/// So many addresses are remembered.
const MOST: usize = 1_024;
/// So long after the last failure.
const KEPT: Duration = Duration::from_secs(600);
/// After the first failure; each further one doubles it.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(3);
/// So many refusals wait at one time.
const MOST_WAITING: usize = 32;
/// Of these, to one address.
const MOST_WAITING_EACH: usize = 4;

/// Failures by address.
#[derive(Debug)]
pub(super) struct Failures {
    by_address: Mutex<HashMap<IpAddr, Row>>,
    waiting: Arc<Budget>,
}

/// Failures in a row.
#[derive(Debug)]
struct Row {
    count: u32,
    last: Instant,
}

impl Default for Failures {
    fn default() -> Self {
        Self {
            by_address: Mutex::default(),
            waiting: Budget::new(MOST_WAITING, MOST_WAITING_EACH),
        }
    }
}

impl Failures {
    /// Notes a failure, and returns when it may be told. Meanwhile the place is somebody else's.
    pub(super) async fn refuse_late(&self, address: IpAddr, place: &Place) {
        let wait = self.failed(address);
        if let Some(_turn) = self.waiting.share(&address.to_string()) {
            place.give_back();
            sleep(wait).await;
        }
    }

    /// How many refusals wait.
    #[cfg(any(test, feature = "metrics"))]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.taken()
    }

    /// Notes a failure: how long to wait before saying so.
    fn failed(&self, address: IpAddr) -> Duration {
        let now = Instant::now();
        let mut rows = self.rows();
        if rows.len() >= MOST && !rows.contains_key(&address) {
            rows.retain(|_, row| now - row.last < KEPT);
            let oldest = rows.iter().min_by_key(|(_, row)| row.last);
            if let Some(oldest) = oldest.map(|(address, _)| *address)
                && rows.len() >= MOST
            {
                rows.remove(&oldest);
            }
        }
        let row = rows.entry(address).or_insert(Row {
            count: 0,
            last: now,
        });
        if now - row.last >= KEPT {
            row.count = 0;
        }
        row.last = now;
        row.count = row.count.saturating_add(1);
        let doubled = FIRST.saturating_mul(1 << (row.count - 1).min(16));
        doubled.min(LONGEST)
    }

    /// Forgets the failures of an address that has shown who it is.
    pub(super) fn forgive(&self, address: IpAddr) {
        self.rows().remove(&address);
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<IpAddr, Row>> {
        self.by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::places::Places;

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from(number).into()
    }

    #[tokio::test(start_paused = true)]
    async fn each_failure_in_a_row_is_told_later_up_to_a_bound() {
        let failures = Failures::default();
        let waits: Vec<_> = (0..20).map(|_| failures.failed(address(1))).collect();
        assert_eq!((waits[0], waits[1], waits[19]), (FIRST, FIRST * 2, LONGEST));
        assert_eq!(failures.failed(address(2)), FIRST);
        failures.forgive(address(1));
        assert_eq!(failures.failed(address(1)), FIRST);
        tokio::time::advance(KEPT).await;
        assert_eq!(failures.failed(address(1)), FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_that_wait_hold_no_place_and_few_wait() {
        let failures = Arc::new(Failures::default());
        let places = Arc::new(Places::new(1));
        let mut refusals = tokio::task::JoinSet::new();
        for number in 0..100 {
            // Four of an address and, where they all wait, the fifth at once; of all addresses so many and no more.
            let from = address(number / 5);
            let (place, _) = places.enter(Some(from)).await;
            place.busy();
            let failures = Arc::clone(&failures);
            refusals.spawn(async move {
                failures.refuse_late(from, &place).await;
            });
            tokio::task::yield_now().await;
        }
        assert_eq!((failures.waiting(), places.taken()), (MOST_WAITING, 0));
        let mut at_once = 0;
        while refusals.try_join_next().is_some() {
            at_once += 1;
        }
        assert_eq!(at_once, 100 - MOST_WAITING);
        while refusals.join_next().await.is_some() {}
        assert_eq!(failures.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let failures = Failures::default();
        for number in 0..5_000 {
            failures.failed(address(number));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(failures.rows().len(), MOST);
        assert!(failures.rows().contains_key(&address(4_999)));
    }
}
