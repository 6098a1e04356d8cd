//! Readers against a writer: a batch is seen whole or not at all, and nobody sees new, then old.
//!
//! Versions are written as priorities of two slots that are always replaced together. Readers share the highest
//! version anybody has seen; whoever reads after that must not see an older one.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use oneiric_core::{Candidate, Registered, Registry, Slot};

use crate::support::{origin, provider, slot};

const VERSIONS: i64 = 3_000;

fn publish(registry: &Registry, pair: &[Slot; 2], version: i64) {
    let batch = pair.iter().map(|slot| {
        Candidate::builder(slot.clone(), provider("p"), origin("remote:main"))
            .priority(version)
            .build()
    });
    registry
        .replace_origin(&origin("remote:main"), batch)
        .unwrap();
}

fn version(held: Option<&Registered>) -> i64 {
    held.and_then(|held| held.priority()).unwrap_or(0)
}

/// Runs `look` on three threads while versions are published; `look` returns a version it saw.
fn under_writes<L: FnMut() -> i64>(
    registry: &Registry,
    pair: &[Slot; 2],
    look: impl Fn() -> L + Sync,
) {
    let (seen, done) = (AtomicI64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut look = look();
                loop {
                    let last_round = done.load(Ordering::SeqCst);
                    let floor = seen.load(Ordering::SeqCst);
                    let now = look();
                    assert!(now >= floor, "saw {now} after somebody saw {floor}");
                    seen.fetch_max(now, Ordering::SeqCst);
                    if last_round {
                        assert_eq!(now, VERSIONS);
                        break;
                    }
                }
            });
        }
        for version in 1..=VERSIONS {
            publish(registry, pair, version);
            seen.fetch_max(version, Ordering::SeqCst);
        }
        done.store(true, Ordering::SeqCst);
    });
}

#[test]
fn readers_see_a_batch_whole_and_never_an_older_one_again() {
    let registry = Registry::new();
    let pair = [slot("adapter/a"), slot("task/b")];
    under_writes(&registry, &pair, || {
        || {
            registry.read(|now| {
                let seen = pair.each_ref().map(|slot| version(now.winner(slot)));
                assert_eq!(seen[0], seen[1], "half of a batch");
                seen[0]
            })
        }
    });
}

#[test]
fn two_handles_never_show_new_then_old() {
    let registry = Registry::new();
    let pair = [slot("adapter/a"), slot("task/b")];
    under_writes(&registry, &pair, || {
        let mut handles = pair.each_ref().map(|slot| registry.handle(slot));
        move || {
            let [a, b] = &mut handles;
            let first = version(a.winner());
            let second = version(b.winner());
            let third = version(a.winner());
            assert!(
                first <= second && second <= third,
                "{first} {second} {third}"
            );
            third
        }
    });
}

#[test]
fn a_handle_and_a_read_agree_on_what_is_newest() {
    let registry = Registry::new();
    let pair = [slot("adapter/a"), slot("task/b")];
    under_writes(&registry, &pair, || {
        let (registry, pair) = (&registry, &pair);
        let mut handle = registry.handle(&pair[0]);
        move || {
            let first = registry.read(|now| version(now.winner(&pair[1])));
            let second = version(handle.winner());
            let third = version(registry.snapshot().winner(&pair[1]));
            assert!(
                first <= second && second <= third,
                "{first} {second} {third}"
            );
            third
        }
    });
}
