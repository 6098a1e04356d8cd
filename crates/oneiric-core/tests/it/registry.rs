//! Registering, selecting and reading.

use oneiric_core::{
    Candidate, Coded, Domain, ErrorKind, Query, Registry, RegistryConfig, SelectionLayer,
    TiePolicy, query::all,
};

use crate::support::{cache, origin, provider, query, slot, winner};

#[test]
fn a_dropped_registration_is_gone_and_a_kept_one_stays() {
    let registry = Registry::new();
    let id = registry.register(cache("redis", "settings").build()).keep();
    {
        let _better = registry.register(cache("memory", "code:a").priority(9).build());
        assert_eq!(winner(&registry).as_deref(), Some("memory"));
    }
    assert_eq!(winner(&registry).as_deref(), Some("redis"));
    assert_eq!(registry.unregister(id).removed.len(), 1);
    assert!(registry.unregister(id).is_empty(), "it has ended already");
    assert!(registry.snapshot().is_empty());
}

#[test]
fn registering_the_same_again_replaces_and_is_the_newest() {
    let registry = Registry::new();
    let first = registry.register(cache("redis", "settings").build());
    registry.register(cache("memory", "code:a").build()).keep();
    assert_eq!(winner(&registry).as_deref(), Some("memory"));
    let second = registry.register(cache("redis", "settings").build());
    assert_eq!((registry.snapshot().len(), second.sequence()), (2, 3));
    assert_eq!(winner(&registry).as_deref(), Some("redis"));
    drop(first); // ended when it was replaced: takes nothing with it
    assert_eq!(winner(&registry).as_deref(), Some("redis"));
}

#[test]
fn an_update_ranks_anew_and_keeps_the_sequence_number() {
    let registry = Registry::new();
    let redis = registry.register(cache("redis", "settings").priority(1).build());
    registry.register(cache("memory", "code:a").build()).keep();
    let delta = redis.update(|candidate| candidate.priority(-1)).unwrap();
    assert_eq!((delta.reranked.len(), delta.winners.len()), (1, 1));
    assert_eq!(
        (redis.sequence(), redis.registered().priority()),
        (1, Some(-1))
    );
    assert_eq!(winner(&registry).as_deref(), Some("memory"));
    assert!(
        redis.update(|candidate| candidate).unwrap().is_empty(),
        "nothing is different"
    );
}

#[test]
fn a_snapshot_knows_which_slots_and_registrations_there_are() {
    let registry = Registry::new();
    registry.select(
        SelectionLayer::Operator,
        &slot("adapter/cache"),
        Some(provider("redis")),
    );
    let knows = |slot_name: &str| registry.snapshot().contains(&slot(slot_name));
    assert!(!knows("adapter/cache"), "a selection is no candidate");
    let redis = registry.register(cache("redis", "settings").build());
    let other = registry.register(cache("redis", "code:a").build());
    assert!(knows("adapter/cache") && !knows("adapter/mail"));

    let before = redis.registered();
    let ended = other.registered();
    redis.update(|candidate| candidate.priority(7)).unwrap();
    drop(other);
    let now = registry.snapshot();
    assert!(now.is_registered(&before), "an update does not end it");
    assert!(!now.is_registered(&ended));
    drop(redis);
    let then = registry.snapshot();
    assert!(!then.is_registered(&before) && !then.contains(&slot("adapter/cache")));
    assert!(now.is_registered(&before), "a snapshot stays as it was");
}

#[test]
fn an_update_may_use_the_registry_and_fails_when_the_registration_ended() {
    let registry = Registry::new();
    let redis = registry.register(cache("redis", "settings").build());
    let error = redis
        .update(|candidate| {
            registry.remove_origin(&origin("settings"));
            candidate.priority(5)
        })
        .unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("core.registration_ended", ErrorKind::NotFound)
    );
}

#[test]
fn replace_origin_keeps_what_is_unchanged_and_touches_no_other_origin() {
    let registry = Registry::new();
    registry.register(cache("memory", "code:a").build()).keep();
    let remote = origin("remote:main");
    let (redis, file) = (cache("redis", "remote:main"), cache("file", "remote:main"));
    registry
        .replace_origin(&remote, [redis.clone().build(), file.clone().build()])
        .unwrap();

    let again = [
        file.priority(3).build(),
        redis.build(),
        cache("disk", "remote:main").build(),
    ];
    let delta = registry.replace_origin(&remote, again).unwrap();
    let names = |list: &[oneiric_core::Registered]| {
        list.iter()
            .map(|held| (held.provider().to_string(), held.sequence()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(&delta.added),
        [("file".to_owned(), 4), ("disk".to_owned(), 5)]
    );
    assert_eq!(names(&delta.removed), [("file".to_owned(), 3)]);
    assert_eq!(delta.kept, 1);
    assert_eq!(registry.snapshot().len(), 4);

    let gone = registry.remove_origin(&remote);
    assert_eq!((gone.removed.len(), registry.snapshot().len()), (3, 1));
    assert_eq!(winner(&registry).as_deref(), Some("memory"));
}

#[test]
fn update_origin_keeps_the_place_of_what_is_changed() {
    let registry = Registry::new();
    let settings = origin("settings");
    let (redis, file) = (cache("redis", "settings"), cache("file", "settings"));
    let both = [redis.clone().build(), file.clone().build()];
    registry.update_origin(&settings, both).unwrap();
    registry.register(cache("memory", "code:a").build()).keep();
    let changed = [redis.priority(3).build(), cache("disk", "settings").build()];
    let delta = registry.update_origin(&settings, changed.clone()).unwrap();
    let numbers = |list: &[oneiric_core::Registered]| -> Vec<(String, u64)> {
        let one = |held: &oneiric_core::Registered| (held.provider().to_string(), held.sequence());
        list.iter().map(one).collect()
    };
    assert_eq!(numbers(&delta.reranked), [("redis".to_owned(), 1)]);
    assert_eq!(numbers(&delta.removed), [("file".to_owned(), 2)]);
    assert_eq!(numbers(&delta.added), [("disk".to_owned(), 4)]);
    assert_eq!(winner(&registry).as_deref(), Some("redis"));
    assert!(
        registry
            .update_origin(&settings, changed)
            .unwrap()
            .is_empty()
    );
    let foreign = [cache("file", "code:a").build()];
    let error = registry.update_origin(&settings, foreign).unwrap_err();
    assert_eq!(error.code(), "core.origin_mismatch");
    assert_eq!(registry.snapshot().len(), 3);
}

#[test]
fn restore_origin_puts_back_what_was_with_its_numbers() {
    let registry = Registry::new();
    let settings = origin("settings");
    let (redis, file) = (cache("redis", "settings"), cache("file", "settings"));
    let both = [redis.clone().build(), file.build()];
    registry.update_origin(&settings, both).unwrap();
    let before = registry.of_origin(&settings);
    let ranking = registry.resolve_all(&query());
    let changed = [
        redis.priority(-3).build(),
        cache("disk", "settings").build(),
    ];
    registry.update_origin(&settings, changed).unwrap();
    registry.restore_origin(&settings, before.clone());
    assert_eq!(registry.of_origin(&settings), before);
    assert_eq!(registry.resolve_all(&query()), ranking);
    assert!(
        before
            .iter()
            .all(|held| registry.snapshot().is_registered(held))
    );
    assert!(registry.restore_origin(&settings, before).is_empty());
}

#[test]
fn a_bad_batch_is_refused_whole() {
    let registry = Registry::new();
    registry.register(cache("memory", "code:a").build()).keep();
    let settings = origin("settings");
    let twice = [
        cache("redis", "settings").build(),
        cache("redis", "settings").priority(1).build(),
    ];
    let error = registry.replace_origin(&settings, twice).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("core.duplicate_candidate", ErrorKind::Config)
    );
    let foreign = [
        cache("redis", "settings").build(),
        cache("file", "code:a").build(),
    ];
    let error = registry.replace_origin(&settings, foreign).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("core.origin_mismatch", ErrorKind::Usage)
    );
    assert_eq!(
        (registry.snapshot().len(), registry.snapshot().generation()),
        (1, 1)
    );
}

#[test]
fn a_batch_of_a_thousand_is_published_once() {
    let registry = Registry::new();
    let batch = (0..1000).map(|n| {
        let slot = slot(&format!("adapter/k{n}"));
        Candidate::builder(slot, provider("redis"), origin("settings")).build()
    });
    let delta = registry.replace_origin(&origin("settings"), batch).unwrap();
    assert_eq!(
        (delta.added.len(), delta.winners.len(), delta.generation),
        (1000, 1000, 1)
    );
    let snapshot = registry.snapshot();
    assert_eq!((snapshot.generation(), snapshot.slots().count()), (1, 1000));
    assert!((0..1000).all(|n| {
        snapshot
            .winner_by_str("adapter", &format!("k{n}"))
            .is_some()
    }));
    assert!(snapshot.winner_by_str("adapter", "k1000").is_none());
    assert!(snapshot.winner_by_str("", "").is_none());
}

#[test]
fn the_operator_selects_over_the_settings_and_taking_it_back_restores_them() {
    let registry = Registry::new();
    for name in ["a", "b", "c"] {
        registry.register(cache(name, "settings").build()).keep();
    }
    let cache_slot = slot("adapter/cache");
    registry.set_selections(
        SelectionLayer::Settings,
        [(cache_slot.clone(), provider("a"))],
    );
    assert_eq!(winner(&registry).as_deref(), Some("a"));
    let delta = registry.select(SelectionLayer::Operator, &cache_slot, Some(provider("b")));
    assert_eq!((delta.selections.len(), delta.winners.len()), (1, 1));
    assert_eq!(winner(&registry).as_deref(), Some("b"));
    registry.set_selections(SelectionLayer::Settings, []);
    assert_eq!(winner(&registry).as_deref(), Some("b"));
    registry.select(SelectionLayer::Operator, &cache_slot, None);
    assert_eq!(winner(&registry).as_deref(), Some("c"));
    assert!(
        registry
            .select(SelectionLayer::Operator, &cache_slot, None)
            .is_empty()
    );
    assert_eq!(registry.snapshot().selection(&cache_slot), None);
}

#[test]
fn a_selection_of_nobody_is_told_even_where_the_other_layer_holds() {
    let registry = Registry::new();
    let slot = slot("adapter/cache");
    registry.register(cache("redis", "settings").build()).keep();
    registry.select(SelectionLayer::Settings, &slot, Some(provider("ghost")));
    registry.select(SelectionLayer::Operator, &slot, Some(provider("redis")));
    let unknown = || {
        let unknown = registry.snapshot().unknown_selections();
        let told = unknown.into_iter();
        told.map(|one| (one.provider.to_string(), one.layer))
            .collect::<Vec<_>>()
    };
    assert_eq!(unknown(), [("ghost".to_owned(), SelectionLayer::Settings)]);
    registry.select(SelectionLayer::Operator, &slot, Some(provider("spirit")));
    assert_eq!(
        unknown(),
        [
            ("ghost".to_owned(), SelectionLayer::Settings),
            ("spirit".to_owned(), SelectionLayer::Operator)
        ]
    );
}

#[test]
fn a_fallback_loses_to_everybody_unless_a_selection_names_it() {
    let registry = Registry::new();
    registry
        .register(cache("null", "code:a").priority(99).fallback(true).build())
        .keep();
    assert_eq!(
        winner(&registry).as_deref(),
        Some("null"),
        "better than nobody"
    );
    registry
        .register(cache("redis", "settings").priority(-99).build())
        .keep();
    assert_eq!(winner(&registry).as_deref(), Some("redis"));
    registry.select(
        SelectionLayer::Settings,
        &slot("adapter/cache"),
        Some(provider("null")),
    );
    assert_eq!(winner(&registry).as_deref(), Some("null"));
}

#[test]
fn the_oldest_may_win_a_tie() {
    let ties = TiePolicy::Oldest;
    let registry = Registry::with_config(RegistryConfig::default().with_ties(ties));
    registry.register(cache("redis", "settings").build()).keep();
    registry.register(cache("memory", "code:a").build()).keep();
    assert_eq!(winner(&registry).as_deref(), Some("redis"));
}

#[test]
fn a_tie_may_be_an_error_that_names_the_tied() {
    let ties = TiePolicy::Error;
    let registry = Registry::with_config(RegistryConfig::default().with_ties(ties));
    let redis = registry.register(cache("redis", "settings").capability("kv").build());
    registry.register(cache("memory", "code:a").build()).keep();
    registry
        .register(cache("file", "code:a").priority(-1).build())
        .keep();

    assert_eq!(winner(&registry), None, "a plain look-up has no winner");
    let error = registry.resolve(&query()).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("core.tied", ErrorKind::Config)
    );
    assert_eq!(
        error.to_string(),
        "adapter/cache is tied between memory (code:a) and redis (settings)"
    );
    assert_eq!(
        registry.resolve_optional(&query()).unwrap_err().code(),
        "core.tied"
    );
    assert_eq!(
        registry.resolve_all(&query()).len(),
        3,
        "ranking is still possible"
    );
    assert!(
        registry
            .resolve(&query().provider(provider("file")))
            .is_ok(),
        "not among the best"
    );
    assert!(
        registry.resolve(&query().capabilities(all(["kv"]))).is_ok(),
        "only one is left"
    );
    assert_eq!(
        registry
            .resolve(&query().property("x", 1))
            .unwrap_err()
            .code(),
        "core.no_candidate"
    );

    redis.update(|candidate| candidate.stack_level(1)).unwrap();
    assert_eq!(winner(&registry).as_deref(), Some("redis"));
}

#[test]
fn nobody_is_an_error_or_an_answer_as_asked() {
    let registry = Registry::new();
    let error = registry.resolve(&query()).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("core.no_candidate", ErrorKind::NotFound)
    );
    assert_eq!(
        error.to_string(),
        "no candidate is registered for adapter/cache"
    );
    assert_eq!(registry.resolve_optional(&query()), Ok(None));
    registry.register(cache("redis", "settings").build()).keep();
    let error = registry
        .resolve(&query().capabilities(all(["kv"])))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "none of the 1 candidates for adapter/cache satisfies the query"
    );
}

#[test]
fn properties_and_capabilities_narrow_the_field() {
    let registry = Registry::new();
    registry
        .register(
            cache("redis", "settings")
                .metadata("region", "eu")
                .capability("kv")
                .build(),
        )
        .keep();
    registry
        .register(
            cache("memory", "code:a")
                .priority(5)
                .capability("kv")
                .build(),
        )
        .keep();
    let found = |query: &Query| {
        registry
            .resolve(query)
            .map(|held| held.provider().to_string())
    };
    assert_eq!(
        found(&query().property("region", "eu")).as_deref(),
        Ok("redis")
    );
    assert_eq!(
        found(&query().capabilities(all(["kv"]))).as_deref(),
        Ok("memory")
    );
    assert_eq!(
        found(&query().capabilities(all(["kv"])).property("region", "eu")).as_deref(),
        Ok("redis")
    );
}

#[test]
fn slots_are_listed_by_domain_in_the_order_they_first_appeared() {
    let registry = Registry::new();
    let add = |text: &str| {
        registry.register(Candidate::builder(slot(text), provider("p"), origin("code:a")).build())
    };
    let _task = add("task/b");
    let adapter = add("adapter/z");
    let _adapter = add("adapter/a");
    let listed = |registry: &Registry| {
        registry
            .snapshot()
            .slots()
            .map(|s| s.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(&registry), ["adapter/z", "adapter/a", "task/b"]);
    drop(adapter);
    let _adapter = add("adapter/z");
    assert_eq!(
        listed(&registry),
        ["adapter/a", "adapter/z", "task/b"],
        "it appeared anew"
    );
    let snapshot = registry.snapshot();
    assert_eq!(snapshot.slots_in(&Domain::TASK).count(), 1);
    assert_eq!(snapshot.slots_in(&Domain::EVENT).count(), 0);
    assert_eq!(
        snapshot.domains().map(Domain::as_str).collect::<Vec<_>>(),
        ["adapter", "task"]
    );
}

#[test]
fn a_read_may_read_and_write_the_same_and_other_registries() {
    let registries: Vec<Registry> = (0..20).map(|_| Registry::new()).collect();
    for (n, registry) in registries.iter().enumerate() {
        registry
            .register(cache(&format!("p{n}"), "settings").build())
            .keep();
    }
    for round in 0..3 {
        for (n, registry) in registries.iter().enumerate() {
            registry.read(|outer| {
                let other = &registries[(n + 8) % 20]; // shares the cache place with this one
                other.read(|inner| assert_eq!(inner.len(), 1));
                let extra = registry.register(cache("extra", "code:a").build());
                registry.read(|inner| assert_eq!(inner.len(), 2, "a new read sees the write"));
                assert_eq!(outer.len(), 1, "the snapshot at hand does not change");
                drop(extra);
            });
            registry.read(|now| {
                assert_eq!(now.len(), 1);
                assert_eq!(now.generation(), 1 + 2 * (round + 1));
            });
        }
    }
}

#[test]
fn a_panic_inside_a_read_leaves_reading_intact() {
    let registry = Registry::new();
    registry.read(|now| assert!(now.is_empty()));
    let caught =
        std::panic::catch_unwind(|| registry.read(|_| std::panic::resume_unwind(Box::new("gone"))));
    assert!(caught.is_err());
    registry.register(cache("redis", "settings").build()).keep();
    assert_eq!(winner(&registry).as_deref(), Some("redis"));
}

#[test]
fn a_handle_follows_its_slot() {
    let registry = Registry::new();
    let mut handle = registry.handle(&slot("adapter/cache"));
    assert!(handle.winner().is_none());
    let redis = registry.register(cache("redis", "settings").build());
    assert_eq!(
        handle.winner().map(|held| held.provider().as_str()),
        Some("redis")
    );
    redis.update(|candidate| candidate.priority(7)).unwrap();
    assert_eq!(handle.winner().and_then(|held| held.priority()), Some(7));
    let mut clone = handle.clone();
    drop((redis, registry));
    assert!(handle.winner().is_none() && clone.winner().is_none());
}

#[test]
fn types_that_cross_threads_may() {
    fn crosses<T: Send + Sync>() {}
    fn moves<T: Send>() {}
    crosses::<Registry>();
    crosses::<oneiric_core::Snapshot>();
    crosses::<oneiric_core::Registration>();
    moves::<oneiric_core::SlotHandle>();
}
