//! Who hears of changes, when and in which order.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use oneiric_core::{Delta, Registry, RegistryObserver};

use crate::support::{cache, origin};

/// Notes the generations it hears of.
#[derive(Default)]
struct Notes(Mutex<Vec<u64>>);

impl RegistryObserver for Notes {
    fn on_delta(&self, delta: &Delta) {
        self.0.lock().unwrap().push(delta.generation);
    }
}

struct Calls<F>(F);

impl<F: Fn(&Delta) + Send + Sync> RegistryObserver for Calls<F> {
    fn on_delta(&self, delta: &Delta) {
        (self.0)(delta);
    }
}

#[test]
fn an_observer_hears_every_change_after_its_subscription_in_order() {
    let registry = Registry::new();
    registry
        .register(cache("before", "settings").build())
        .keep();
    let notes = Arc::new(Notes::default());
    let subscription = registry.subscribe(notes.clone());
    let kept = registry.register(cache("redis", "settings").build());
    registry.remove_origin(&origin("code:nobody")); // changes nothing: no delta
    kept.update(|candidate| candidate.priority(1)).unwrap();
    drop(kept);
    drop(subscription);
    registry.register(cache("after", "settings").build()).keep();
    assert_eq!(*notes.0.lock().unwrap(), [2, 3, 4]);
}

#[test]
fn an_observer_does_not_hear_of_a_change_before_it_that_is_told_after_it() {
    let registry = Registry::new();
    let late = Arc::new(Notes::default());
    let subscriptions = Arc::new(Mutex::new(Vec::new()));
    let (inner, heard, kept) = (registry.clone(), late.clone(), subscriptions.clone());
    let first = Calls(move |delta: &Delta| {
        if delta.generation == 1 {
            // Told when this call is done, and by then there is another observer.
            inner.register(cache("two", "settings").build()).keep();
            kept.lock().unwrap().push(inner.subscribe(heard.clone()));
            inner.register(cache("three", "settings").build()).keep();
        }
    });
    let _first = registry.subscribe(Arc::new(first));
    registry.register(cache("one", "settings").build()).keep();
    assert_eq!(*late.0.lock().unwrap(), [3]);
    subscriptions.lock().unwrap().clear();
}

#[test]
fn an_observer_may_change_the_registry() {
    let registry = Registry::new();
    let notes = Arc::new(Notes::default());
    let inner = registry.clone();
    let echo = Calls(move |delta: &Delta| {
        assert!(
            inner.snapshot().generation() >= delta.generation,
            "the change is visible"
        );
        if delta
            .added
            .iter()
            .any(|held| held.provider().as_str() == "redis")
        {
            inner.register(cache("shadow", "code:echo").build()).keep();
        }
    });
    let _echo = registry.subscribe(Arc::new(echo));
    let _notes = registry.subscribe(notes.clone());
    registry.register(cache("redis", "settings").build()).keep();
    assert_eq!(registry.snapshot().len(), 2);
    assert_eq!(
        *notes.0.lock().unwrap(),
        [1, 2],
        "its change is told after the one it answers"
    );
}

#[test]
fn a_panicking_observer_does_not_keep_others_from_hearing() {
    let registry = Registry::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let _bad = registry.subscribe(Arc::new(Calls(move |_: &Delta| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::panic::resume_unwind(Box::new("observer failed")); // without the hook's output
    })));
    let notes = Arc::new(Notes::default());
    let _good = registry.subscribe(notes.clone());
    registry.register(cache("a", "settings").build()).keep();
    registry.register(cache("b", "settings").build()).keep();
    assert_eq!(*notes.0.lock().unwrap(), [1, 2]);
    assert_eq!(calls.load(Ordering::SeqCst), 2, "it stays subscribed");
}

#[test]
fn changes_of_many_threads_are_told_once_each_in_order() {
    let registry = Registry::new();
    let notes = Arc::new(Notes::default());
    let _subscription = registry.subscribe(notes.clone());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let registry = &registry;
            scope.spawn(move || {
                for n in 0..50 {
                    registry
                        .register(cache(&format!("p{thread}-{n}"), "settings").build())
                        .keep();
                }
            });
        }
    });
    // Another writer may have been delivering for a thread that was done; the last writer leaves nothing behind.
    assert_eq!(*notes.0.lock().unwrap(), (1..=200).collect::<Vec<u64>>());
}
