//! A model of who retires what when a trial ends while others lay hands on its slot (docs/spec/bake.md, 8 to 14): each
//! instance is retired once, by whoever that falls to, in every schedule.
//!
//! The retirement is the real one. What surrounds it is written down again in as few words as it can be said in: the
//! turn of the slot, the bake in its place, the order that says how the bake ends. Draining is left out, because what
//! ends it is nothing that others see.

use loom::sync::atomic::{AtomicU64, Ordering::SeqCst};
use loom::sync::{Arc, Mutex};

use super::Retirement;

const WARM: usize = 0;
const TRIAL: usize = 1;
const NEXT: usize = 2;

/// As `bake::Order`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Release,
    Pass,
    Back,
    Superseded,
    Taken,
}

/// As `bake::Verdict`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Pass,
    Back,
    Superseded,
    Taken,
}

/// A slot with an instance on trial and one that is warm.
struct Slot {
    turn: Mutex<()>,
    /// Who serves, and whether the slot was stopped. As the door, changed under the gate.
    door: Mutex<(Option<usize>, bool)>,
    /// Whether there is a bake in its place.
    bake: Mutex<bool>,
    order: Mutex<Option<Order>>,
    retirements: [Retirement; 3],
    retired: [AtomicU64; 3],
}

impl Slot {
    fn new() -> Self {
        Self {
            turn: Mutex::new(()),
            door: Mutex::new((Some(TRIAL), false)),
            bake: Mutex::new(true),
            order: Mutex::new(None),
            retirements: std::array::from_fn(|_| Retirement::new(None)),
            retired: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// As `Inner::retire`.
    fn retire(&self, instance: usize) {
        if self.retirements[instance].take().is_some() {
            self.retired[instance].fetch_add(1, SeqCst);
        }
    }

    /// As `SlotCell::take_bake` and `SlotCell::end_bake`: there is one bake here.
    fn take_bake(&self) -> bool {
        std::mem::take(&mut *self.bake.lock().unwrap())
    }

    /// As `Bake::order`.
    fn order(&self, order: Order) {
        let mut held = self.order.lock().unwrap();
        let is_fact = matches!(order, Order::Superseded | Order::Taken);
        if is_fact || matches!(*held, None | Some(Order::Release)) {
            *held = Some(order);
        }
    }

    fn ordered(&self) -> Option<Order> {
        *self.order.lock().unwrap()
    }

    /// As `SlotCell::publish`: `false` in a slot that was stopped.
    fn publish(&self, instance: usize) -> bool {
        let mut door = self.door.lock().unwrap();
        if !door.1 {
            door.0 = Some(instance);
        }
        !door.1
    }

    fn take_out_of_service(&self) -> Option<usize> {
        self.door.lock().unwrap().0.take()
    }

    /// As `Transition::course`, whose time is over if nobody gives an order.
    fn course(&self) {
        let verdict = match self.ordered() {
            None | Some(Order::Release | Order::Pass) => Verdict::Pass,
            Some(Order::Back) => Verdict::Back,
            Some(Order::Superseded) => Verdict::Superseded,
            Some(Order::Taken) => Verdict::Taken,
        };
        let needs_turn = matches!(verdict, Verdict::Pass | Verdict::Back);
        let _turn = needs_turn.then(|| self.turn.lock().unwrap());
        let verdict = if needs_turn && !self.take_bake() {
            match self.ordered() {
                Some(Order::Taken) => Verdict::Taken,
                _ => Verdict::Superseded,
            }
        } else {
            verdict
        };
        match verdict {
            Verdict::Back if self.publish(WARM) => self.retire(TRIAL),
            Verdict::Pass | Verdict::Back | Verdict::Superseded => self.retire(WARM),
            Verdict::Taken => {}
        }
    }

    /// As `deactivate::run`.
    fn deactivate(&self) {
        let _turn = self.turn.lock().unwrap();
        if let Some(serves) = self.take_out_of_service() {
            self.retire(serves);
            if self.take_bake() {
                self.order(Order::Taken);
                self.retire(WARM);
            }
        }
    }

    /// As `Transition::published`, of a third instance, and what follows; `true` if what it takes over from is not kept.
    fn swap(&self) {
        let _turn = self.turn.lock().unwrap();
        let old = self.door.lock().unwrap().0;
        if !self.publish(NEXT) {
            return self.retire(NEXT);
        }
        if self.take_bake() {
            self.order(Order::Superseded);
        }
        if let Some(old) = old {
            self.retire(old);
        }
    }

    /// As `shutdown::slot::stop`; `patient`: it has the time to wait for the turn.
    fn shut_down(&self, patient: bool) {
        self.door.lock().unwrap().1 = true;
        let _turn = patient.then(|| self.turn.lock().unwrap());
        if self.take_bake() {
            self.order(Order::Taken);
            self.retire(WARM);
        }
        if let Some(serves) = self.take_out_of_service() {
            self.retire(serves);
        }
    }
}

/// Runs both beside a trial whose time is over at some moment, and shuts the slot down afterwards: `all` are retired
/// once then.
fn beside_a_trial_that_ends(one: fn(&Slot), other: fn(&Slot), all: &'static [usize]) {
    let mut builder = loom::model::Builder::new();
    // Enough for the faults this is about, and done within seconds.
    builder.preemption_bound = Some(2);
    builder.check(move || {
        let slot = Arc::new(Slot::new());
        let beside = |work: fn(&Slot)| {
            let slot = Arc::clone(&slot);
            loom::thread::spawn(move || work(&slot))
        };
        let (course, one) = (beside(Slot::course), beside(one));
        other(&slot);
        course.join().unwrap();
        one.join().unwrap();
        slot.shut_down(true);
        for instance in all {
            let times = slot.retired[*instance].load(SeqCst);
            assert_eq!(times, 1, "instance {instance}");
        }
    });
}

/// The last who could tell goes: as `Held::drop`.
fn let_go(slot: &Slot) {
    slot.order(Order::Release);
}

fn swing_back(slot: &Slot) {
    slot.order(Order::Back);
}

fn pass(slot: &Slot) {
    slot.order(Order::Pass);
}

#[test]
fn each_is_retired_once_when_a_trial_ends_while_its_slot_is_deactivated() {
    beside_a_trial_that_ends(swing_back, Slot::deactivate, &[WARM, TRIAL]);
}

#[test]
fn each_is_retired_once_when_a_trial_ends_while_something_else_is_put_in_service() {
    beside_a_trial_that_ends(swing_back, Slot::swap, &[WARM, TRIAL, NEXT]);
}

#[test]
fn each_is_retired_once_when_a_trial_ends_in_a_shutdown_that_waits() {
    beside_a_trial_that_ends(swing_back, |slot| slot.shut_down(true), &[WARM, TRIAL]);
}

#[test]
fn each_is_retired_once_when_a_trial_ends_in_a_shutdown_that_does_not() {
    beside_a_trial_that_ends(pass, |slot| slot.shut_down(false), &[WARM, TRIAL]);
    beside_a_trial_that_ends(swing_back, |slot| slot.shut_down(false), &[WARM, TRIAL]);
}

#[test]
fn each_is_retired_once_whoever_lets_go_meanwhile() {
    beside_a_trial_that_ends(let_go, Slot::deactivate, &[WARM, TRIAL]);
    beside_a_trial_that_ends(let_go, |slot| slot.shut_down(false), &[WARM, TRIAL]);
}

#[test]
fn each_is_retired_once_when_two_put_something_else_and_nothing_in_service() {
    beside_a_trial_that_ends(Slot::deactivate, Slot::swap, &[WARM, TRIAL, NEXT]);
}

#[test]
fn a_retirement_is_for_one() {
    loom::model(|| {
        let retirement = Arc::new(Retirement::new(None));
        let takers: Vec<_> = (0..2)
            .map(|_| {
                let retirement = Arc::clone(&retirement);
                loom::thread::spawn(move || retirement.take().is_some())
            })
            .collect();
        let mut taken = u32::from(retirement.take().is_some());
        for taker in takers {
            taken += u32::from(taker.join().unwrap());
        }
        assert_eq!(taken, 1);
    });
}
