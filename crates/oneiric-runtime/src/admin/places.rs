//! Places for connections. Whoever comes gets one: if all are taken, the connection that has waited longest without
//! asking anything makes room, that of whichever address holds the most. A client that opens connections and says
//! nothing therefore costs itself, and nobody waits long behind it. Everybody has a moment in which to ask.
//!
//! A place is held only for what ends by itself within a time limit. What can take long (a call, a swap, a stream)
//! has a budget of its own and gives the place back meanwhile.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

/// For a new connection to ask something before it can be asked to leave.
const MOMENT: Duration = Duration::from_millis(100);

/// So many places.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    held: Mutex<Held>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Held {
    last: u64,
    /// By the order in which they were taken.
    places: BTreeMap<u64, Seat>,
}

#[derive(Debug)]
struct Seat {
    address: Option<IpAddr>,
    since: Instant,
    idle: Arc<AtomicBool>,
    leave: CancellationToken,
}

/// One connection's place. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: Mutex<u64>,
    address: Option<IpAddr>,
    idle: Arc<AtomicBool>,
    leave: CancellationToken,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            held: Mutex::default(),
            freed: Notify::new(),
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub(super) const fn most(&self) -> usize {
        self.most
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.held().places.len()
    }

    /// Takes a place; waits only while nobody who holds one has been idle for a moment. Says whether somebody had to
    /// leave for it.
    pub(super) async fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> (Place, bool) {
        loop {
            let freed = self.freed.notified();
            {
                let mut held = self.held();
                let evicted = held.places.len() >= self.most && held.evict();
                if held.places.len() < self.most {
                    let (idle, leave) = (Arc::new(AtomicBool::new(true)), CancellationToken::new());
                    let seat = Seat {
                        address,
                        since: Instant::now(),
                        idle: Arc::clone(&idle),
                        leave: leave.clone(),
                    };
                    let number = held.seat(seat);
                    let place = Place {
                        places: Arc::clone(self),
                        number: Mutex::new(number),
                        address,
                        idle,
                        leave,
                    };
                    return (place, evicted);
                }
            }
            // Who is idle now may be asked to leave in a moment.
            let wait = MOMENT / 4;
            drop(tokio::time::timeout(wait, freed).await);
        }
    }
}

impl Held {
    fn seat(&mut self, seat: Seat) -> u64 {
        self.last += 1;
        self.places.insert(self.last, seat);
        self.last
    }

    /// Has the one leave who has been idle longest at the address that holds the most; `false` if nobody there has
    /// been idle for a moment. Whoever holds less is not asked in their stead.
    fn evict(&mut self) -> bool {
        let idlers = self.places.values();
        let idlers = idlers.filter(|seat| seat.idle.load(Ordering::Acquire));
        let mut by_address: HashMap<Option<IpAddr>, usize> = HashMap::new();
        for seat in idlers {
            *by_address.entry(seat.address).or_default() += 1;
        }
        let Some(most) = by_address.values().max().copied() else {
            return false;
        };
        // Numbers are given in order, so the first is the one who came first.
        let victim = self.places.iter().find(|(_, seat)| {
            by_address.get(&seat.address) == Some(&most)
                && seat.idle.load(Ordering::Acquire)
                && seat.since.elapsed() >= MOMENT
        });
        let Some(victim) = victim.map(|(number, _)| *number) else {
            return false;
        };
        if let Some(seat) = self.places.remove(&victim) {
            seat.leave.cancel();
        }
        true
    }
}

impl Place {
    /// Is done when somebody else needs the place and this connection is idle.
    pub(super) fn leave(&self) -> &CancellationToken {
        &self.leave
    }

    /// Whether nothing is being done on the connection.
    pub(super) fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Acquire)
    }

    /// Marks the connection as one on which something is done: it is not asked to leave.
    pub(super) fn busy(&self) {
        self.idle.store(false, Ordering::Release);
    }

    /// Marks the connection as idle, from now on.
    pub(super) fn idle(&self) {
        let mut number = self.number();
        let mut held = self.places.held();
        if let Some(mut seat) = held.places.remove(&number) {
            seat.since = Instant::now();
            *number = held.seat(seat);
        }
        drop(held);
        self.idle.store(true, Ordering::Release);
        self.places.freed.notify_one();
    }

    /// Gives the place back for as long as something else bounds what is done.
    pub(super) fn give_back(&self) {
        // In the same order as everywhere else: the number, then the places.
        let number = self.number();
        let seat = self.places.held().places.remove(&number);
        drop(number);
        if seat.is_some() {
            self.places.freed.notify_one();
        }
    }

    /// Takes a place again; `false` when there is none, and the connection should end.
    pub(super) fn retake(&self) -> bool {
        let mut number = self.number();
        let mut held = self.places.held();
        if held.places.contains_key(&number) {
            return true;
        }
        if self.leave.is_cancelled() || held.places.len() >= self.places.most {
            return false;
        }
        let seat = Seat {
            address: self.address,
            since: Instant::now(),
            idle: Arc::clone(&self.idle),
            leave: self.leave.clone(),
        };
        *number = held.seat(seat);
        true
    }

    fn number(&self) -> std::sync::MutexGuard<'_, u64> {
        self.number.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([127, 0, 0, last]))
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_idles_longest_makes_room_and_whoever_works_does_not() {
        let places = Arc::new(Places::new(2));
        let (first, _) = places.enter(None).await;
        let (second, _) = places.enter(None).await;
        first.busy();
        let (third, evicted) = places.enter(None).await;
        assert!(evicted && second.leave().is_cancelled() && !first.leave().is_cancelled());
        third.busy();
        let waiting = places.enter(None);
        tokio::pin!(waiting);
        assert!(
            tokio::time::timeout(MOMENT * 9, &mut waiting)
                .await
                .is_err()
        );
        first.idle();
        let since = Instant::now();
        let (_fourth, evicted) = waiting.await;
        assert!(since.elapsed() >= MOMENT);
        assert!(evicted && first.leave().is_cancelled());
        assert_eq!(places.taken(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_address_that_holds_the_most_makes_room_first() {
        let places = Arc::new(Places::new(3));
        let (lone, _) = places.enter(address(1)).await;
        let (one, _) = places.enter(address(2)).await;
        let (_two, _) = places.enter(address(2)).await;
        let (_new, evicted) = places.enter(address(3)).await;
        assert!(evicted && one.leave().is_cancelled() && !lone.leave().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_was_given_back_is_somebody_elses_until_it_is_free() {
        let places = Arc::new(Places::new(1));
        let (long, _) = places.enter(None).await;
        long.busy();
        long.give_back();
        let (brief, evicted) = places.enter(None).await;
        assert!(!evicted && !long.retake());
        drop(brief);
        assert!(long.retake());
        assert_eq!(places.taken(), 1);
        drop(long);
        assert_eq!(places.taken(), 0);
    }
}
