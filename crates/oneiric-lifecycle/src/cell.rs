//! The place callers go through to reach a slot's instance.
//!
//! # How a lease finds the instance without writing a shared line
//! Each thread remembers, per slot, a *weak* reference to its entrance and the slot's epoch. While
//! the epoch stands, a lease is one load, one compare and one upgrade on a line only this thread
//! writes. A weak reference keeps no instance alive: when the old one's last lease is back it goes,
//! whatever threads remember.
//!
//! # Why nobody can take a lease on an instance that was exchanged before
//! See [`Epoch`]: whatever a thread remembers was loaded under a stamp, and the stamp is current only
//! while nothing was changed since.
//!
//! # Why no call slips past an activity
//! Who serves and whether work is taken stand in one [`Door`] behind one pointer. A swap away from a
//! paused provider opens the slot in the same step in which the other one takes over, and a swap
//! onto one closes it so; with two fields, one order or the other would leave a moment in between.

#[cfg(all(test, oneiric_loom))]
mod model;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use oneiric_core::{Provider, Slot};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::activity::{Activity, ActivityState, Effective};
use crate::bake::Bake;
use crate::epoch::{Epoch, Stamp};
use crate::facet::FacetType;
use crate::gate::Handing;
use crate::leaving::Leaving;
use crate::ledger::Ledger;
use crate::running::{Calls, Entrance, Published, Running};
use crate::state::Move;
use crate::step::Hung;
use crate::waiting::Waiting;

/// How many slots a thread remembers. More hot slots than that on one thread still work; those that
/// fall on the same place take the slower way in turn.
const REMEMBERED: usize = 64;

/// One slot's state in the lifecycle.
#[derive(Debug)]
pub(crate) struct SlotCell {
    pub(crate) slot: Slot,
    /// Whose it is, where the slot has an instance for each key; none for that of the slot.
    pub(crate) key: Option<Arc<str>>,
    hot: Hot,
    /// Serialises everything that changes the epoch.
    gate: Mutex<()>,
    /// Transitions of a slot run one after the other, in the order they were asked for: each until another instance
    /// serves, or none will.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
    pub(crate) leaving: Leaving,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) calls: Arc<Calls>,
    held: Mutex<Vec<(FacetType, usize)>>,
    /// Cancelled when the slot is shut down.
    pub(crate) stopping: CancellationToken,
    /// Those who need something to serve here before they go on.
    pub(crate) waiting: Waiting,
    builds: Mutex<BTreeMap<Provider, BuildTurn>>,
    /// What each provider left behind.
    hung: Mutex<BTreeMap<Provider, Arc<Hung>>>,
    /// What serves is on trial.
    bake: Mutex<Option<Arc<Bake>>>,
    /// Told when an instance came into service, or none will any more.
    arrived: Notify,
    /// Wakes whoever looks after the slot: something about it changed, and it is to be looked at again.
    pub(crate) news: Notify,
    /// How often whatever is built for the slot came to be another than before: by an exchange, or by new settings. Of
    /// the cells of keys nobody asks.
    renewals: watch::Sender<u64>,
    /// Held while an instance is tried out that is not going to serve, until it is taken down.
    pub(crate) trial: Arc<tokio::sync::Mutex<()>>,
}

/// Held by a factory at work until it really ends, late or not.
pub(crate) type BuildTurn = Arc<tokio::sync::Mutex<()>>;

/// What every lease reads; on lines of its own, away from what status keeping writes.
#[repr(align(128))]
#[derive(Debug)]
struct Hot {
    /// Unique in the process, so that a thread's memory of a dropped slot fits no other.
    id: u64,
    epoch: Epoch,
    door: ArcSwap<Door>,
}

/// Who serves, and whether anybody is let in. Never changed, only exchanged.
#[derive(Debug, Clone)]
struct Door {
    active: Option<Arc<Published>>,
    activity: Arc<Effective>,
    /// State goes from what serves to the next one, and new calls wait for that.
    handing: Option<Arc<Handing>>,
    stopped: bool,
}

impl Door {
    fn is_running(&self) -> bool {
        self.activity.state.activity == Activity::Running
    }
}

/// Why there is no way in. Given back boxed: so the way in is two registers wide, as it is taken often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotActive,
    Busy(Arc<Effective>),
    HandingOver(Arc<Handing>),
    Stopped,
}

struct Memory {
    lane: usize,
    entries: [Option<Remembered>; REMEMBERED],
}

struct Remembered {
    id: u64,
    stamp: Stamp,
    entrance: Weak<Entrance>,
}

thread_local! {
    static MEMORY: RefCell<Memory> = {
        static LANES: AtomicUsize = AtomicUsize::new(0);
        let lane = LANES.fetch_add(1, Ordering::Relaxed);
        RefCell::new(Memory { lane, entries: [const { None }; REMEMBERED] })
    };
}

impl SlotCell {
    pub(crate) fn new(slot: Slot, activity: Effective) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let door = Door {
            active: None,
            activity: Arc::new(activity),
            handing: None,
            stopped: false,
        };
        Self {
            slot,
            key: None,
            hot: Hot {
                id: IDS.fetch_add(1, Ordering::Relaxed),
                epoch: Epoch::new(),
                door: ArcSwap::from_pointee(door),
            },
            gate: Mutex::default(),
            turn: Arc::default(),
            leaving: Leaving::default(),
            ledger: Mutex::new(Ledger::default()),
            calls: Arc::default(),
            held: Mutex::default(),
            stopping: CancellationToken::new(),
            waiting: Waiting::default(),
            builds: Mutex::default(),
            hung: Mutex::default(),
            bake: Mutex::default(),
            arrived: Notify::new(),
            news: Notify::new(),
            renewals: watch::Sender::default(),
            trial: Arc::default(),
        }
    }

    /// As [`SlotCell::new`], for one key.
    pub(crate) fn of_key(slot: Slot, key: Arc<str>, activity: Effective) -> Self {
        Self {
            key: Some(key),
            ..Self::new(slot, activity)
        }
    }

    /// How often it was renewed. Whoever builds an instance by key asks before it looks what to build, and with what
    /// settings: another number afterwards means that the instance is of the past.
    pub(crate) fn renewals(&self) -> u64 {
        *self.renewals.borrow()
    }

    /// For those who want to know when the number changes.
    pub(crate) fn watch_renewals(&self) -> watch::Receiver<u64> {
        self.renewals.subscribe()
    }

    /// Instances by key are of the past from now on.
    pub(crate) fn renew(&self) {
        self.renewals.send_modify(|renewals| *renewals += 1);
    }

    /// A counted way to the instance that serves now. Never waits.
    pub(crate) fn enter(&self) -> Result<Arc<Entrance>, Box<Refusal>> {
        let stamp = self.hot.epoch.stamp();
        let place = self.place();
        // No component's code may run while the memory is borrowed: it could ask for a lease
        // itself. Upgrading a weak reference runs none.
        let remembered = MEMORY.try_with(|memory| {
            let memory = memory.borrow();
            let entrance = match &memory.entries[place] {
                Some(entry) if entry.id == self.hot.id && entry.stamp == stamp => {
                    entry.entrance.upgrade()
                }
                _ => None,
            };
            (memory.lane, entrance)
        });
        match remembered {
            Ok((_, Some(entrance))) => Ok(entrance),
            Ok((lane, None)) => self.enter_and_remember(stamp, lane),
            // The thread is ending and its memory is gone already.
            Err(_) => self.enter_at(0),
        }
    }

    #[cold]
    fn enter_and_remember(&self, stamp: Stamp, lane: usize) -> Result<Arc<Entrance>, Box<Refusal>> {
        let entrance = self.enter_at(lane)?;
        if stamp.may_be_remembered() {
            let place = self.place();
            let entry = Remembered {
                id: self.hot.id,
                stamp,
                entrance: Arc::downgrade(&entrance),
            };
            // Not remembering costs the next lease some time and nothing else.
            let _gone = MEMORY.try_with(|memory| memory.borrow_mut().entries[place] = Some(entry));
        }
        Ok(entrance)
    }

    fn enter_at(&self, lane: usize) -> Result<Arc<Entrance>, Box<Refusal>> {
        let door = self.hot.door.load();
        if door.stopped {
            return Err(Box::new(Refusal::Stopped));
        }
        if !door.is_running() {
            return Err(Box::new(Refusal::Busy(Arc::clone(&door.activity))));
        }
        if let Some(handing) = &door.handing {
            return Err(Box::new(Refusal::HandingOver(Arc::clone(handing))));
        }
        match &door.active {
            Some(published) => Ok(published.enter(lane)),
            None => Err(Box::new(Refusal::NotActive)),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "only the low bits are wanted"
    )]
    const fn place(&self) -> usize {
        self.hot.id as usize % REMEMBERED
    }

    /// Points the slot at `next`; gives back what it pointed at. From here on every new lease is on
    /// `next`, if `activity` lets it. Refused by a slot that was stopped, and when somebody relies on
    /// a facet that `next` lacks; those who begin to rely on one during the call find `next` already
    /// there.
    ///
    /// The caller keeps the rules from which `activity` follows locked until this returns.
    pub(crate) fn publish(
        &self,
        next: Arc<Published>,
        activity: Effective,
    ) -> Result<Was, Rejected> {
        let doorway = self.doorway();
        doorway.admits(&next.running)?;
        Ok(doorway.exchange(next, activity))
    }

    /// Returns when an instance serves, or none ever will again. By the time it is looked at, it may be gone.
    /// Cancel-safe.
    pub(crate) async fn arrival(&self) {
        let arrived = || (self.published().is_some() || self.is_stopped()).then_some(());
        self.arrives(arrived).await;
    }

    /// Tells those who wait for an instance that one serves and is in the books.
    pub(crate) fn tell_of_arrival(&self) {
        self.arrived.notify_waiters();
    }

    /// Returns what `found` gives as soon as it gives something; it is asked when an instance was put in service, when
    /// that is in the books, and when the slot is stopped. Cancel-safe.
    pub(crate) async fn arrives<T>(&self, found: impl Fn() -> Option<T>) -> T {
        loop {
            let mut arrived = pin!(self.arrived.notified());
            // Before looking: whatever comes from now on is told to this one.
            arrived.as_mut().enable();
            if let Some(found) = found() {
                return found;
            }
            arrived.await;
        }
    }

    /// Keeps the slot as it is until it is exchanged or dropped, so that several can be looked at and then exchanged
    /// together. Whoever has more than one has the rules locked, as nobody else ever does.
    pub(crate) fn doorway(&self) -> Doorway<'_> {
        Doorway {
            cell: self,
            _gate: self.gate(),
            held: self.held(),
        }
    }

    /// Points the slot at nothing; gives back what it pointed at. As for [`SlotCell::publish`], the
    /// rules stay locked meanwhile.
    pub(crate) fn unpublish(&self, activity: Effective) -> Was {
        let _gate = self.gate();
        self.exchange(|door| Door {
            active: None,
            activity: Arc::new(activity),
            ..door
        })
    }

    /// What the slot points at, for those who look after it rather than call it.
    pub(crate) fn published(&self) -> Option<Arc<Published>> {
        self.hot.door.load().active.clone()
    }

    /// A counted way to the instance of this number while it serves, whether the slot takes work or not: for those who look
    /// after it and want it to be there until they are done.
    pub(crate) fn enter_if_serving(&self, instance: u64) -> Option<Arc<Entrance>> {
        let published = self.published()?;
        (published.running.number == instance).then(|| published.enter(0))
    }

    pub(crate) fn activity(&self) -> ActivityState {
        self.hot.door.load().activity.state.clone()
    }

    /// Takes effect for every lease asked for after this returns.
    ///
    /// The caller keeps the rules from which `activity` follows locked until this returns, so that
    /// what serves is still what it was computed for.
    pub(crate) fn set_activity(&self, activity: Effective) {
        let _gate = self.gate();
        self.exchange(|door| Door {
            activity: Arc::new(activity),
            ..door
        });
    }

    /// As [`SlotCell::set_activity`], and exchanges the entrances of what serves, so that the term of
    /// those that were in use ends with the last lease. What it gives back keeps them: drop it when
    /// nothing is locked.
    pub(crate) fn set_draining(&self, activity: Effective) -> Was {
        let _gate = self.gate();
        self.exchange(|door| Door {
            active: door.active.map(|published| {
                let running = Arc::clone(&published.running);
                Arc::new(Published::new(running))
            }),
            activity: Arc::new(activity),
            ..door
        })
    }

    /// Has new leases wait, and exchanges the entrances of what serves as [`SlotCell::set_draining`] does; `None` when
    /// nothing serves, or nothing ever will.
    pub(crate) fn close(&self, handing: &Arc<Handing>) -> Option<Was> {
        let _gate = self.gate();
        let door = self.hot.door.load();
        let serves = door.active.as_ref().filter(|_| !door.stopped);
        let next = Arc::new(Published::new(Arc::clone(&serves?.running)));
        Some(self.exchange(|door| Door {
            active: Some(next),
            handing: Some(Arc::clone(handing)),
            ..door
        }))
    }

    /// Lets new leases in again, if it is `handing` for which they wait.
    pub(crate) fn open(&self, handing: &Arc<Handing>) {
        let _gate = self.gate();
        if self.hot.door.load().handing.as_ref() == Some(handing) {
            self.exchange(|door| Door {
                handing: None,
                ..door
            });
        }
    }

    /// Refuses every lease from now on, for good.
    pub(crate) fn stop(&self) {
        let gate = self.gate();
        let was = self.exchange(|door| Door {
            stopped: true,
            ..door
        });
        drop(gate);
        if let Some(handing) = was.handing {
            handing.end();
        }
        self.stopping.cancel();
        self.arrived.notify_waiters();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.hot.door.load().stopped
    }

    /// The turn of `provider`'s factory: a build that blocks its thread for ever costs one thread,
    /// and not one for every time somebody tries again.
    pub(crate) fn build_turn(&self, provider: &Provider) -> BuildTurn {
        let mut builds = self.builds.lock().unwrap_or_else(PoisonError::into_inner);
        builds.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(builds.entry(provider.clone()).or_default())
    }

    /// Steps of instances of `provider` that go on past their time.
    pub(crate) fn hung(&self, provider: &Provider) -> Arc<Hung> {
        let mut hung = self.hung.lock().unwrap_or_else(PoisonError::into_inner);
        hung.retain(|_, one| Arc::strong_count(one) > 1);
        Arc::clone(hung.entry(provider.clone()).or_default())
    }

    /// The providers whose factory is at work, with what it gives back when it ends.
    pub(crate) fn builds_under_way(&self) -> Vec<(Provider, BuildTurn)> {
        let builds = self.builds.lock().unwrap_or_else(PoisonError::into_inner);
        builds
            .iter()
            .filter(|(_, turn)| Arc::strong_count(turn) > 1)
            .map(|(provider, turn)| (provider.clone(), Arc::clone(turn)))
            .collect()
    }

    /// The trial of what serves, while it is on one.
    pub(crate) fn bake(&self) -> Option<Arc<Bake>> {
        self.bake_slot().clone()
    }

    pub(crate) fn set_bake(&self, bake: Arc<Bake>) {
        *self.bake_slot() = Some(bake);
        self.leaving.look_again();
    }

    /// Ends the trial of what serves; whoever gets it says what becomes of its warm instance.
    pub(crate) fn take_bake(&self) -> Option<Arc<Bake>> {
        self.bake_slot().take()
    }

    /// Ends the trial if it is this one; `false` when somebody else has.
    pub(crate) fn end_bake(&self, bake: &Arc<Bake>) -> bool {
        let mut held = self.bake_slot();
        let same = held.as_ref().is_some_and(|held| Arc::ptr_eq(held, bake));
        if same {
            *held = None;
            self.news.notify_one();
        }
        same
    }

    fn bake_slot(&self) -> MutexGuard<'_, Option<Arc<Bake>>> {
        self.bake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that somebody relies on `facet` of whatever serves here.
    pub(crate) fn hold(self: &Arc<Self>, facet: FacetType) -> Hold {
        let mut held = self.held();
        match held.iter_mut().find(|(of, _)| *of == facet) {
            Some((_, count)) => *count += 1,
            None => held.push((facet, 1)),
        }
        Hold {
            cell: Arc::clone(self),
            facet,
        }
    }

    /// The facets that somebody relies on and `running` lacks.
    pub(crate) fn facets_missing_on(&self, running: &Running) -> Vec<FacetType> {
        missing_on(&self.held(), running)
    }

    /// How many live references point here.
    pub(crate) fn live_references(&self) -> usize {
        self.held().iter().map(|(_, count)| count).sum()
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Each change to the ledger is complete in itself; a panic elsewhere leaves it usable.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the slot's state. What time it is was asked before, for nothing is locked then.
    pub(crate) fn step(&self, step: Move, at: SystemTime) {
        self.ledger().step(step, at);
    }

    /// Changes what leases see; the caller holds the gate.
    fn exchange(&self, next: impl FnOnce(Door) -> Door) -> Was {
        let next = Arc::new(next(Door::clone(&self.hot.door.load())));
        let was = self.hot.epoch.change(|| self.hot.door.swap(next));
        self.news.notify_one();
        Was {
            published: was.active.clone(),
            activity: was.activity.state.clone(),
            handing: was.handing.clone(),
        }
    }

    fn gate(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, Vec<(FacetType, usize)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot that nobody else exchanges now, and of which nobody begins to hold a facet.
pub(crate) struct Doorway<'c> {
    cell: &'c SlotCell,
    _gate: MutexGuard<'c, ()>,
    held: MutexGuard<'c, Vec<(FacetType, usize)>>,
}

impl Doorway<'_> {
    /// Whether the slot would take `running`.
    pub(crate) fn admits(&self, running: &Running) -> Result<(), Rejected> {
        if self.cell.is_stopped() {
            return Err(Rejected::Stopped);
        }
        let missing = missing_on(&self.held, running);
        if missing.is_empty() {
            Ok(())
        } else {
            Err(Rejected::FacetMissing(missing))
        }
    }

    /// Points the slot at `next`, which it admits; gives back what it pointed at.
    pub(crate) fn exchange(self, next: Arc<Published>, activity: Effective) -> Was {
        let cell = self.cell;
        let was = cell.exchange(|door| Door {
            active: Some(next),
            activity: Arc::new(activity),
            handing: None,
            ..door
        });
        if was.published.is_some() {
            cell.renew();
        }
        drop(self);
        cell.arrived.notify_waiters();
        was
    }
}

/// What a door was before it was exchanged.
#[derive(Debug)]
pub(crate) struct Was {
    pub(crate) published: Option<Arc<Published>>,
    pub(crate) activity: ActivityState,
    handing: Option<Arc<Handing>>,
}

/// Why a slot did not take an instance.
#[derive(Debug)]
pub(crate) enum Rejected {
    Stopped,
    FacetMissing(Vec<FacetType>),
}

fn missing_on(held: &[(FacetType, usize)], running: &Running) -> Vec<FacetType> {
    let facets = held.iter().map(|(facet, _)| *facet);
    facets.filter(|facet| !running.facets.has(*facet)).collect()
}

/// Somebody relies on a facet of a slot until this is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    cell: Arc<SlotCell>,
    facet: FacetType,
}

impl Hold {
    pub(crate) fn cell(&self) -> &Arc<SlotCell> {
        &self.cell
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        self.cell.hold(self.facet)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.cell.held();
        if let Some(place) = held.iter().position(|(of, _)| *of == self.facet) {
            held[place].1 -= 1;
            if held[place].1 == 0 {
                held.swap_remove(place);
            }
        }
    }
}
