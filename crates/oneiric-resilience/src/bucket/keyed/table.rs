//! The places, in an array that is made once: nothing is allocated for a key, nothing is freed, and
//! looking a key up writes nothing and takes no lock.
//!
//! Keys are told apart by 64 bits of a hash whose seed nobody knows, not by themselves: so they are
//! neither copied nor kept. A key may be in two groups of eight places, which its hash says; of twice as
//! many places as there may be keys, that both are full although there are fewer keys does not happen
//! in practice. A key comes in under a lock that it shares with few others, or it might come in twice.
//!
//! Source: Azar, Broder, Karlin, Upfal, "Balanced allocations" (1999), for the two choices.

use crate::bucket::gcra::Terms;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock};

use super::slot::{Asked, Closed, NOBODY, Slot};

/// Places of a group.
#[cfg(not(all(test, oneiric_loom)))]
const GROUP: usize = 8;
#[cfg(all(test, oneiric_loom))]
const GROUP: usize = 2;

/// A key goes to its second group if that has more room and the first has no more than this.
const ROOM: usize = GROUP / 4;

/// Places that one new key looks through for idle ones, when there are as many keys as may be.
const LOOKED_THROUGH: usize = 1_024;

/// Locks under which keys come in. A power of two.
#[cfg(not(all(test, oneiric_loom)))]
const LOCKS: usize = 64;
#[cfg(all(test, oneiric_loom))]
const LOCKS: usize = 1;

/// Whose its places are, and their words, each on a cache line of their own: looking a key up reads
/// lines that are hardly ever written, and touches one that is.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Group {
    owners: [AtomicU64; GROUP],
    words: [AtomicU64; GROUP],
}

#[derive(Debug)]
pub(super) struct Table {
    /// A power of two of them.
    groups: Box<[Group]>,
    locks: Box<[Mutex<()>]>,
    places: Places,
}

/// On a line of its own: new keys write it.
#[derive(Debug)]
#[repr(align(128))]
struct Places {
    most: u64,
    taken: AtomicU64,
    /// The group where idle keys are looked for next. Held while one looks: or somebody could find a
    /// place neither taken nor given back yet.
    hand: Mutex<usize>,
}

/// Where a key may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address {
    owner: u64,
    hash: u64,
}

impl Address {
    #[inline]
    pub(super) fn of(hash: u64) -> Self {
        let owner = if hash == NOBODY { 1 } else { hash };
        Self { owner, hash }
    }

    /// The place in a group that it comes to first.
    #[inline]
    fn first(self) -> usize {
        index(self.hash >> 29)
    }
}

/// There is no place; one may be free after so many ticks, if that is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full(pub(super) Option<u64>);

/// What a new key brings: it pays at once, as its bucket is full.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payment {
    pub(super) cost: u64,
    pub(super) terms: Terms,
}

impl Table {
    pub(super) fn new(most: u32) -> Self {
        let most_keys = usize::try_from(most).unwrap_or(usize::MAX);
        let groups = most_keys
            .saturating_mul(2)
            .div_ceil(GROUP)
            .next_power_of_two();
        Self {
            groups: (0..groups).map(|_| Group::default()).collect(),
            locks: (0..LOCKS).map(|_| Mutex::new(())).collect(),
            places: Places {
                most: u64::from(most),
                taken: AtomicU64::new(0),
                hand: Mutex::new(0),
            },
        }
    }

    /// The keys that have a place.
    pub(super) fn len(&self) -> usize {
        index(self.places.taken.load(Ordering::Acquire))
    }

    /// The two groups a key may be in; different ones, if there are two.
    #[inline]
    fn groups(&self, address: Address) -> [&Group; 2] {
        let mask = self.groups.len() - 1;
        let first = index(address.hash >> 32) & mask;
        // An odd step never leads back to the same of an even number of groups.
        let second = first.wrapping_add(index(address.hash & 0xFFFF_FFFF) | 1) & mask;
        [&self.groups[first], &self.groups[second]]
    }

    /// Takes from a key's bucket, if it has one.
    #[inline]
    pub(super) fn take(&self, address: Address, payment: Payment, tick: u64) -> Asked {
        // Mostly it is in the place that it comes to first.
        let [group, _] = self.groups(address);
        let slot = group.slot(address.first());
        if slot.is_of(address.owner) {
            let asked = slot.take(address.owner, payment.cost, payment.terms, tick);
            if asked != Asked::Gone {
                return asked;
            }
        }
        self.take_anywhere(address, payment, tick)
    }

    #[inline(never)]
    fn take_anywhere(
        &self,
        address: Address,
        Payment { cost, terms }: Payment,
        tick: u64,
    ) -> Asked {
        for group in self.groups(address) {
            for slot in group.slots() {
                if slot.is_of(address.owner) {
                    match slot.take(address.owner, cost, terms, tick) {
                        // It may have got another place meanwhile.
                        Asked::Gone => {}
                        asked => return asked,
                    }
                }
            }
        }
        Asked::Gone
    }

    /// How long until a key's bucket is full.
    pub(super) fn ahead(&self, address: Address, tick: u64) -> u64 {
        let groups = self.groups(address);
        let mut slots = groups
            .iter()
            .flat_map(|group| group.slots_from(address.first()));
        slots
            .find_map(|slot| slot.ahead(address.owner, tick))
            .unwrap_or(0)
    }

    /// Takes from a key's bucket, giving it one if it has none.
    ///
    /// # Errors
    /// When there is no place for it.
    pub(super) fn take_or_insert(
        &self,
        address: Address,
        payment: Payment,
        clock: impl Fn() -> u64,
    ) -> Result<Asked, Full> {
        let _held = lock(&self.locks[index(address.hash) & (LOCKS - 1)]);
        match self.take(address, payment, clock()) {
            Asked::Gone => {}
            asked => return Ok(asked),
        }
        // Read now that the key has no place: where it had one that was given away, its bucket was full
        // by then, and so it is at this later tick. Nobody else can bring it in under this lock.
        let tick = clock();
        let place = self.place(address, tick)?;
        place.open_for(address.owner, tick, payment.cost);
        Ok(Asked::Taken)
    }

    /// A closed place for a key: that of an idle one, or one that is free.
    fn place(&self, address: Address, tick: u64) -> Result<Closed<'_>, Full> {
        let groups = self.groups(address);
        let slots = || {
            groups
                .iter()
                .flat_map(|group| group.slots_from(address.first()))
        };
        if let Some(closed) = slots().find_map(|slot| slot.close_if_idle(tick).ok()) {
            return Ok(closed);
        }
        if !self.places.take() {
            let mut hand = self.places.hand();
            let (_, first_idle) = self.free_idle(&mut hand, LOOKED_THROUGH, tick);
            if !self.places.take() {
                let all = self.groups.len() * GROUP <= LOOKED_THROUGH;
                let wait = first_idle.saturating_sub(tick);
                return Err(Full((all && wait > 0).then_some(wait)));
            }
        }
        let [first, second] = groups;
        let (room, more) = (first.room(), second.room());
        let order = if room <= ROOM && more > room {
            [second, first]
        } else {
            [first, second]
        };
        let mut slots = order
            .into_iter()
            .flat_map(|group| group.slots_from(address.first()));
        slots.find_map(|slot| slot.close_if_free()).ok_or_else(|| {
            self.places.give_back();
            Full(None)
        })
    }

    /// Forgets all keys whose buckets are full. Answers with how many.
    pub(super) fn sweep(&self, tick: u64) -> usize {
        let mut hand = self.places.hand();
        self.free_idle(&mut hand, self.groups.len() * GROUP, tick).0
    }

    /// Frees the places of idle keys among the next so many. Answers with how many, and when the first
    /// of the others will be idle.
    fn free_idle(&self, hand: &mut usize, most: usize, tick: u64) -> (usize, u64) {
        let (mut freed, mut first_idle) = (0, u64::MAX);
        for _ in 0..most.div_ceil(GROUP).min(self.groups.len()) {
            let group = &self.groups[*hand];
            *hand = (*hand + 1) & (self.groups.len() - 1);
            for slot in group.slots() {
                match slot.close_if_idle(tick) {
                    Ok(closed) => {
                        closed.open_for_anyone();
                        self.places.give_back();
                        freed += 1;
                    }
                    Err(word) if word > tick => first_idle = first_idle.min(word),
                    Err(_) => {}
                }
            }
        }
        (freed, first_idle)
    }
}

impl Group {
    #[inline]
    fn slot(&self, at: usize) -> Slot<'_> {
        let at = at % GROUP;
        Slot {
            owner: &self.owners[at],
            word: &self.words[at],
        }
    }

    fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        self.slots_from(0)
    }

    /// All places, from one that a key comes to first.
    fn slots_from(&self, first: usize) -> impl Iterator<Item = Slot<'_>> {
        (0..GROUP).map(move |step| self.slot(first.wrapping_add(step)))
    }

    /// The places that are no one's.
    fn room(&self) -> usize {
        self.slots().filter(|slot| slot.is_of(NOBODY)).count()
    }
}

impl Places {
    fn take(&self) -> bool {
        let more = |taken| (taken < self.most).then_some(taken + 1);
        let taken = self
            .taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.is_ok()
    }

    fn hand(&self) -> MutexGuard<'_, usize> {
        lock(&self.hand)
    }

    fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "what an array can hold fits; of a hash any bits do"
)]
#[inline]
fn index(bits: u64) -> usize {
    bits as usize
}
