//! A bucket for each key: clients, addresses, tenants.
//!
//! Keys come from outside, so what they cost is bounded: there is a hard number of places, in a table
//! that never grows, and a key for which there is none is refused or shares a bucket with others, by
//! setting. A place is free again once its bucket is full, because forgetting a full bucket loses
//! nothing. So nothing has to run in the background: whoever needs a place takes one that is idle.

mod config;
mod slot;
mod table;

#[cfg(all(test, oneiric_loom))]
mod model;
#[cfg(all(test, not(oneiric_loom)))]
mod tests;

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher as _, Hash};
use std::marker::PhantomData;
use std::sync::Arc;

use crate::clock::{Clock, SystemClock};
use crate::error::{Rejected, Rejection};
use crate::invalid::InvalidConfig;
use crate::stripe::Count;
use crate::sync::AtomicU64;

use super::gcra::{self, Terms};
use super::shared::{duration, end, over_capacity, rejected};

pub use config::{KeyOverflow, KeyedBucketsConfig};

use slot::{Asked, NOBODY, Slot};
use table::{Address, Full, Payment, Table};

/// Seeded by chance, each time anew: keys that collide cannot be prepared.
type Hasher = foldhash::quality::RandomState;

/// A rate limit for each key: token buckets that are there when they are needed and forgotten when they
/// are full again.
///
/// Clones are the same buckets. Each key's grants are bounded as those of a
/// [`TokenBucket`](super::TokenBucket), however threads interleave and whenever keys are forgotten. There
/// are never more keys than `max_keys`; [`KeyOverflow`] says what becomes of others.
///
/// Keys are not kept: they are told apart by 64 bits of a hash that is seeded by chance. That any two of
/// a million keys share a bucket has a chance of one in thirty-seven million; then they get less, not
/// more. Nothing is allocated after the start: the table takes 32 to 64 bytes for each of `max_keys`.
///
/// Source: docs/spec/resilience.md, "Keyed buckets".
///
/// ```
/// use oneiric_resilience::{KeyedBuckets, KeyedBucketsConfig};
///
/// let clients = KeyedBuckets::<String>::new(KeyedBucketsConfig {
///     capacity: 1,
///     ..KeyedBucketsConfig::default()
/// })?;
/// assert!(clients.try_take("alice", 1).is_ok());
/// assert!(clients.try_take("bob", 1).is_ok());
/// let rejected = clients.try_take("alice", 1).unwrap_err();
/// assert_eq!(rejected.code(), "resilience.rate_limited");
/// # Ok::<(), oneiric_resilience::InvalidConfig>(())
/// ```
pub struct KeyedBuckets<K: ?Sized, C: Clock = SystemClock> {
    shared: Arc<Shared<C>>,
    key: PhantomData<fn(&K)>,
}

impl<K: ?Sized, C: Clock> Clone for KeyedBuckets<K, C> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            key: PhantomData,
        }
    }
}

impl<K: ?Sized, C: Clock> fmt::Debug for KeyedBuckets<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedBuckets")
            .field("terms", &self.shared.terms)
            .field("keys", &self.len())
            .finish_non_exhaustive()
    }
}

struct Shared<C> {
    config: KeyedBucketsConfig,
    terms: Terms,
    clock: C,
    /// The reading of the clock at tick 0.
    origin: u64,
    hasher: Hasher,
    table: Table,
    /// The bucket of all keys without a place, if they share one.
    rest: Option<Rest>,
    /// Takes that were refused.
    rejected: Count,
}

/// A place that is always no one's, which is to say everyone's.
#[derive(Debug, Default)]
struct Rest {
    owner: AtomicU64,
    word: AtomicU64,
}

impl Rest {
    const fn slot(&self) -> Slot<'_> {
        let Self { owner, word } = self;
        Slot { owner, word }
    }
}

impl<K: ?Sized> KeyedBuckets<K> {
    /// Buckets on the machine's clock, all full.
    ///
    /// # Errors
    /// `resilience.invalid_config` with every setting that cannot work.
    pub fn new(config: KeyedBucketsConfig) -> Result<Self, InvalidConfig> {
        Self::with_clock(config, SystemClock::new())
    }
}

impl<K: ?Sized, C: Clock> KeyedBuckets<K, C> {
    /// Buckets on any clock, all full. They count 18 years from now; after that nothing comes back.
    ///
    /// # Errors
    /// `resilience.invalid_config` with every setting that cannot work.
    pub fn with_clock(config: KeyedBucketsConfig, clock: C) -> Result<Self, InvalidConfig> {
        config.checked()?;
        let rest = match config.overflow {
            KeyOverflow::Refuse => None,
            KeyOverflow::Share => Some(Rest::default()),
        };
        let shared = Shared {
            config,
            terms: Terms::of(config.capacity, config.refill_per_sec),
            origin: clock.now().as_nanos(),
            clock,
            hasher: Hasher::default(),
            table: Table::new(config.max_keys),
            rest,
            rejected: Count::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            key: PhantomData,
        })
    }

    /// Takes so many tokens from a key's bucket if it holds them, all or nothing; never waits. Taking
    /// none always works.
    ///
    /// If a new key finds as many keys as may be, up to 1,024 places are looked through for idle ones,
    /// from where the last search ended: so with more than 512 keys it may be refused although one
    /// elsewhere has become idle.
    ///
    /// # Errors
    /// `resilience.rate_limited`, with the shortest wait after which the same call succeeds if nobody
    /// else comes with this key; `resilience.over_capacity` if the bucket can never hold so many;
    /// `resilience.too_many_keys`, with the shortest wait after which there may be a place if all were
    /// looked through.
    #[inline]
    pub fn try_take<Q>(&self, key: &Q, tokens: u32) -> Result<(), Rejected>
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
    {
        let shared = &*self.shared;
        let address = Address::of(shared.hasher.hash_one(key));
        let terms = shared.terms;
        let cost = terms.cost(u64::from(tokens));
        let payment = Payment { cost, terms };
        match shared.table.take(address, payment, shared.tick()) {
            Asked::Taken => Ok(()),
            asked => shared.otherwise(address, payment, asked),
        }
    }

    /// The whole tokens that a key's bucket holds now.
    pub fn available<Q>(&self, key: &Q) -> u32
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
    {
        let shared = &*self.shared;
        let address = Address::of(shared.hasher.hash_one(key));
        let ahead = shared.table.ahead(address, shared.tick());
        u32::try_from(shared.terms.tokens(ahead)).unwrap_or(u32::MAX)
    }

    /// The keys that have a place now, `max_keys` at most.
    pub fn len(&self) -> usize {
        self.shared.table.len()
    }

    /// The settings.
    pub fn config(&self) -> &KeyedBucketsConfig {
        &self.shared.config
    }

    /// How many takes were refused, ever, whichever the key.
    pub fn rejected(&self) -> u64 {
        self.shared.rejected.so_far()
    }

    /// These buckets, for who does not keep them.
    #[cfg(feature = "metrics")]
    pub(crate) fn weakly(&self) -> crate::metrics::Weakly<Self>
    where
        K: 'static,
    {
        crate::metrics::Weakly::new(&self.shared, |shared| Self {
            shared,
            key: PhantomData,
        })
    }

    /// Whether no key has a place.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all keys whose buckets are full, and says how many. Nobody has to call it: it only makes
    /// [`KeyedBuckets::len`] tell of those that matter.
    pub fn sweep(&self) -> usize {
        self.shared.table.sweep(self.shared.tick())
    }
}

impl<C: Clock> Shared<C> {
    #[inline]
    fn tick(&self) -> u64 {
        let nanos = self.clock.now().as_nanos();
        if nanos < self.origin || nanos > end(self.origin) {
            return self.far_tick(nanos);
        }
        gcra::tick(nanos - self.origin)
    }

    #[cold]
    fn far_tick(&self, nanos: u64) -> u64 {
        gcra::tick(nanos.clamp(self.origin, end(self.origin)) - self.origin)
    }

    /// What a take comes to that is not simply granted.
    #[inline(never)]
    fn otherwise(&self, address: Address, payment: Payment, asked: Asked) -> Result<(), Rejected> {
        let taken = self.take_in_the_end(address, payment, asked);
        taken.inspect_err(|_| self.rejected.one_more())
    }

    fn take_in_the_end(
        &self,
        address: Address,
        payment: Payment,
        mut asked: Asked,
    ) -> Result<(), Rejected> {
        if payment.cost == 0 {
            return Ok(());
        }
        if payment.cost > payment.terms.span {
            return Err(over_capacity());
        }
        if asked == Asked::Gone {
            asked = match self.table.take_or_insert(address, payment, || self.tick()) {
                Ok(asked) => asked,
                Err(full) => self.without_place(payment, full)?,
            };
        }
        match asked {
            Asked::Later(wait) => Err(rejected(Rejection::RateLimited, wait)),
            // Whoever has no place has none that could go.
            Asked::Taken | Asked::Gone => Ok(()),
        }
    }

    fn without_place(
        &self,
        Payment { cost, terms }: Payment,
        Full(wait): Full,
    ) -> Result<Asked, Rejected> {
        match &self.rest {
            Some(rest) => Ok(rest.slot().take(NOBODY, cost, terms, self.tick())),
            None => {
                let wait = wait.map(duration);
                Err(Rejected::new(Rejection::TooManyKeys, wait))
            }
        }
    }
}
