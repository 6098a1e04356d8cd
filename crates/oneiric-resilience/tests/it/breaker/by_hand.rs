//! What an operator says, and who is told.

use std::sync::{Arc, Mutex};

use oneiric_resilience::{
    Breaker, BreakerConfig, BreakerControl, BreakerMode, BreakerObserver, BreakerReason,
    BreakerState, BreakerTransition, ManualClock, Moment, Outcome,
};

use super::{SECOND, after_failures_in_a_row, call, with_clock};

#[test]
fn one_control_holds_many_breakers_those_before_and_those_after() {
    let control = BreakerControl::new();
    let config = after_failures_in_a_row(1);
    let before = Breaker::builder(config).control(&control).build().unwrap();
    control.disable();
    assert_eq!(before.state(), BreakerState::Disabled);
    let after = Breaker::builder(config).control(&control).build().unwrap();
    let later = Breaker::new(config).unwrap();
    later.obey(&control);
    for breaker in [&before, &after, &later] {
        assert_eq!(breaker.state(), BreakerState::Disabled);
        assert_eq!(breaker.control().mode(), BreakerMode::Disabled);
    }
    control.metrics_only();
    assert_eq!(later.state(), BreakerState::MetricsOnly);
    control.release();
    for breaker in [&before, &after, &later] {
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}

#[test]
fn who_obeys_another_no_longer_obeys_the_one_before() {
    let (breaker, _) = with_clock(after_failures_in_a_row(1));
    let (one, other) = (BreakerControl::new(), BreakerControl::new());
    breaker.obey(&one);
    one.force_open();
    breaker.obey(&other);
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert!(format!("{one:?}").ends_with("breakers: 0 }"), "{one:?}");
    one.disable();
    assert_eq!(breaker.state(), BreakerState::Closed);
    other.force_open();
    assert_eq!(breaker.state(), BreakerState::ForcedOpen);
    breaker.obey(&other);
    other.release();
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn a_control_forgets_breakers_that_are_gone() {
    let control = BreakerControl::new();
    for _ in 0..1_000 {
        let breaker = Breaker::builder(BreakerConfig::default()).control(&control);
        drop(breaker.build().unwrap());
    }
    control.force_open();
    assert!(
        format!("{control:?}").ends_with("breakers: 0 }"),
        "{control:?}"
    );
}

#[test]
fn disabled_it_counts_nothing_and_metrics_only_it_never_opens() {
    let (breaker, _) = with_clock(after_failures_in_a_row(1));
    breaker.control().disable();
    for _ in 0..10 {
        assert!(call(&breaker, Outcome::Failure));
    }
    assert_eq!(breaker.snapshot().calls, 0);
    breaker.control().metrics_only();
    for _ in 0..10 {
        assert!(call(&breaker, Outcome::Failure));
        let retry_after = SECOND;
        assert!(call(&breaker, Outcome::Overloaded { retry_after }));
    }
    assert_eq!(breaker.state(), BreakerState::MetricsOnly);
    assert_eq!(breaker.snapshot().failures, 20);
    breaker.control().release();
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.calls), (BreakerState::Closed, 0));
}

#[test]
fn releasing_what_is_not_held_changes_nothing() {
    let (breaker, _) = with_clock(after_failures_in_a_row(1));
    call(&breaker, Outcome::Failure);
    breaker.control().release();
    assert_eq!(breaker.state(), BreakerState::Open);
    breaker.control().force_open();
    breaker.control().release();
    assert_eq!(breaker.state(), BreakerState::Closed, "it begins anew");
}

/// Remembers what it is told.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<BreakerTransition>>>);

impl BreakerObserver for Diary {
    fn on_transition(&self, transition: &BreakerTransition) {
        self.0.lock().unwrap().push(transition.clone());
    }
}

impl Diary {
    fn steps(&self) -> Vec<(BreakerState, BreakerState, BreakerReason)> {
        let told = self.0.lock().unwrap();
        told.iter()
            .map(|told| (told.from, told.to, told.why))
            .collect()
    }
}

fn observed(observer: impl BreakerObserver) -> (Breaker<ManualClock>, ManualClock) {
    let clock = ManualClock::new();
    let breaker = Breaker::builder(after_failures_in_a_row(1))
        .clock(clock.clone())
        .name("mail")
        .observer(observer)
        .build()
        .unwrap();
    (breaker, clock)
}

#[test]
fn each_transition_is_told_once_in_order_with_its_reason() {
    use BreakerReason as Why;
    use BreakerState::{Closed, ForcedOpen, HalfOpen, Open};

    let diary = Diary::default();
    let (breaker, clock) = observed(diary.clone());
    call(&breaker, Outcome::Failure);
    clock.advance(SECOND);
    call(&breaker, Outcome::Failure);
    clock.advance(SECOND);
    let hung = breaker.permit().unwrap();
    clock.advance(30 * SECOND);
    assert!(breaker.permit().is_err());
    clock.advance(SECOND);
    call(&breaker, Outcome::Success);
    breaker.control().force_open();
    breaker.control().release();
    let retry_after = SECOND;
    call(&breaker, Outcome::Overloaded { retry_after });
    drop(hung);
    let expected = [
        (Closed, Open, Why::Consecutive),
        (Open, HalfOpen, Why::OpenTimeOver),
        (HalfOpen, Open, Why::ProbesFailed),
        (Open, HalfOpen, Why::OpenTimeOver),
        (HalfOpen, Open, Why::ProbesHung),
        (Open, HalfOpen, Why::OpenTimeOver),
        (HalfOpen, Closed, Why::ProbesSucceeded),
        (Closed, ForcedOpen, Why::ByHand),
        (ForcedOpen, Closed, Why::Released),
        (Closed, Open, Why::Overloaded),
    ];
    assert_eq!(diary.steps(), expected);
    let told = diary.0.lock().unwrap();
    assert!(told.iter().all(|told| &*told.breaker == "mail"));
    assert_eq!(told[1].at, Moment::ORIGIN.after(SECOND));
    assert!(told.iter().map(|told| told.at).is_sorted());
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.generation, snapshot.opened), (10, 4));
}

#[test]
fn a_panic_in_an_observer_is_its_own_affair() {
    let diary = Diary::default();
    let told = diary.clone();
    let (breaker, clock) = observed(move |transition: &BreakerTransition| {
        told.on_transition(transition);
        assert!(transition.to != BreakerState::Open, "as planned");
    });
    assert!(call(&breaker, Outcome::Failure));
    clock.advance(SECOND);
    assert!(call(&breaker, Outcome::Success));
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(diary.steps().len(), 3);
}

#[test]
fn a_panicking_observer_does_no_harm_while_a_permit_goes_in_a_panic() {
    let (breaker, _) = observed(|_: &BreakerTransition| panic!("as planned"));
    let permit = breaker.permit().unwrap();
    let work = move || {
        let _permit = permit;
        panic!("as planned too");
    };
    assert!(std::thread::spawn(work).join().is_err());
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn an_observer_may_use_the_breaker_it_is_told_of() {
    let control = BreakerControl::new();
    let diary = Diary::default();
    let (hand, told) = (control.clone(), diary.clone());
    let (breaker, _) = observed(move |transition: &BreakerTransition| {
        told.on_transition(transition);
        if transition.to == BreakerState::Open {
            // Told after this one, not in the middle of it.
            hand.disable();
        }
    });
    breaker.obey(&control);
    call(&breaker, Outcome::Failure);
    assert_eq!(breaker.state(), BreakerState::Disabled);
    assert_eq!(diary.steps().len(), 2);
}

#[test]
fn an_observers_panic_may_panic_again_when_it_is_dropped() {
    let told = Arc::new(Mutex::new(0));
    let count = Arc::clone(&told);
    let (breaker, _) = observed(move |_: &BreakerTransition| {
        let mut told = count.lock().unwrap();
        *told += 1;
        drop(told);
        std::panic::panic_any(crate::foreign::Bomb);
    });
    let control = breaker.control();
    control.force_open();
    control.release();
    control.disable();
    assert_eq!(*told.lock().unwrap(), 3);
}

#[test]
fn an_observer_that_does_not_come_back_has_a_bounded_number_of_transitions_waiting() {
    let control = BreakerControl::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let (hand, diary) = (control.clone(), Arc::clone(&told));
    let (breaker, _) = observed(move |transition: &BreakerTransition| {
        let first = diary.lock().unwrap().is_empty();
        diary.lock().unwrap().push(transition.to);
        for _ in 0..if first { 600 } else { 0 } {
            hand.force_open();
            hand.release();
        }
    });
    breaker.obey(&control);
    call(&breaker, Outcome::Failure);
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 1 + 1_024, "the first, and the last");
    assert_eq!(told.last(), Some(&breaker.state()));
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.generation, snapshot.untold), (1_201, 176));
}
