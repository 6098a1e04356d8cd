//! What must never happen, one test each. Those that count work are beside the code (`src/work.rs`), those about
//! names beside the names.

use oneiric_core::{
    Candidate, Coded, FactoryPath, Key, Provider, Registry, SelectionLayer, StackOrder,
};

use crate::support::{cache, origin, provider, query, slot, winner};

#[test]
fn p01_a_query_with_a_provider_finds_its_best_ranked_candidate() {
    let registry = Registry::new();
    registry
        .register(cache("redis", "code:first").priority(1).build())
        .keep();
    registry
        .register(cache("redis", "code:best").priority(9).build())
        .keep();
    registry
        .register(cache("redis", "code:last").priority(5).build())
        .keep();
    registry
        .register(cache("memory", "code:other").priority(99).build())
        .keep();
    let found = registry
        .resolve(&query().provider(provider("redis")))
        .unwrap();
    assert_eq!(found.origin(), &origin("code:best"));
}

#[test]
fn p02_a_thousand_syncs_of_a_thousand_entries_leave_a_thousand_candidates() {
    let registry = Registry::new();
    let remote = origin("remote:main");
    let entries: Vec<Candidate> = (0..1000)
        .map(|n| {
            let slot = slot(&format!("adapter/k{n}"));
            Candidate::builder(slot, provider("redis"), remote.clone()).build()
        })
        .collect();
    registry.replace_origin(&remote, entries.clone()).unwrap();
    let first = registry.snapshot();
    for _ in 1..1000 {
        let delta = registry.replace_origin(&remote, entries.clone()).unwrap();
        assert!(delta.is_empty() && delta.kept == 1000);
    }
    let last = registry.snapshot();
    assert_eq!(
        (last.len(), last.generation()),
        (1000, 1),
        "nothing changed, nothing was published"
    );
    assert!(
        first
            .active()
            .zip(last.active())
            .all(|(a, b)| a.sequence() == b.sequence())
    );
}

#[test]
fn p03_what_vanishes_from_its_origin_is_unregistered() {
    let registry = Registry::new();
    let remote = origin("remote:main");
    let (redis, file) = (
        cache("redis", "remote:main").build(),
        cache("file", "remote:main").build(),
    );
    registry
        .replace_origin(&remote, [file, redis.clone()])
        .unwrap();
    let delta = registry.replace_origin(&remote, [redis]).unwrap();
    assert_eq!(
        (delta.removed.len(), delta.kept, registry.snapshot().len()),
        (1, 1, 1)
    );
}

#[test]
fn p03_a_registration_can_be_ended_by_whoever_holds_it() {
    let registry = Registry::new();
    let registration = registry.register(cache("redis", "settings").build());
    assert_eq!(registration.unregister().removed.len(), 1);
    assert_eq!(
        (winner(&registry), registry.snapshot().slots().count()),
        (None, 0)
    );
}

#[test]
fn p05_a_bad_stack_order_is_an_error_whoever_asks() {
    for text in ["app:x", "good:1,app:", "app:1:2,good:1"] {
        assert_eq!(
            StackOrder::parse(text).unwrap_err().code(),
            "core.stack_order_invalid"
        );
    }
}

#[test]
fn p06_a_selection_of_an_unknown_provider_is_shown_and_chooses_nobody() {
    let registry = Registry::new();
    registry.register(cache("redis", "settings").build()).keep();
    registry.select(
        SelectionLayer::Settings,
        &slot("adapter/cache"),
        Some(provider("redus")),
    );
    assert_eq!(
        winner(&registry).as_deref(),
        Some("redis"),
        "it filters nobody out"
    );

    let note = registry.explain(&query()).selection.unwrap();
    assert_eq!(
        (note.known, note.effective, note.suggestion),
        (false, false, Some(provider("redis")))
    );
    let text = registry.explain(&query()).to_string();
    let line = "the settings select 'redus', which nobody registered; did you mean 'redis'?";
    assert!(text.contains(line), "{text}");

    registry.select(
        SelectionLayer::Operator,
        &slot("task/none"),
        Some(provider("ghost")),
    );
    let unknown = registry.snapshot().unknown_selections();
    let listed: Vec<String> = unknown
        .iter()
        .map(|one| format!("{} {} {}", one.slot, one.provider, one.layer))
        .collect();
    assert_eq!(
        listed,
        ["adapter/cache redus settings", "task/none ghost operator"]
    );
}

#[test]
fn p06_a_selection_made_before_its_provider_registers_holds_once_it_does() {
    let registry = Registry::new();
    registry.select(
        SelectionLayer::Settings,
        &slot("adapter/cache"),
        Some(provider("late")),
    );
    registry
        .register(cache("redis", "settings").priority(9).build())
        .keep();
    assert_eq!(winner(&registry).as_deref(), Some("redis"));
    registry.register(cache("late", "settings").build()).keep();
    assert_eq!(winner(&registry).as_deref(), Some("late"));
    assert!(registry.snapshot().unknown_selections().is_empty());
}

#[test]
fn p07_a_trailing_newline_is_refused_everywhere() {
    assert_eq!(Key::new("cache\n").unwrap_err().code(), "core.invalid_name");
    assert_eq!(
        Provider::new("redis\n").unwrap_err().code(),
        "core.invalid_name"
    );
    assert_eq!(
        FactoryPath::new("a.b:make\n").unwrap_err().code(),
        "core.invalid_factory"
    );
    assert_eq!(
        "adapter/cache\n"
            .parse::<oneiric_core::Slot>()
            .unwrap_err()
            .code(),
        "core.invalid_slot"
    );
}
