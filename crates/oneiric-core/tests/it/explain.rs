//! How an explanation reads, and what its JSON holds.

use oneiric_core::{
    Change, Coded, ErrorKind, Query, Registry, RegistryConfig, SelectionLayer, TiePolicy,
    query::{all, any},
};
use serde_json::json;

use crate::support::{cache, provider, query, slot};

/// A registry with four candidates of `adapter/cache`, in order of registration.
fn example() -> Registry {
    let registry = Registry::new();
    registry
        .register(
            cache("memory", "code:builtins")
                .priority(10)
                .capability("kv")
                .build(),
        )
        .keep();
    registry
        .register(
            cache("null", "code:builtins")
                .priority(99)
                .fallback(true)
                .build(),
        )
        .keep();
    registry
        .register(
            cache("redis", "settings")
                .priority(20)
                .capabilities(["kv", "ttl"])
                .build(),
        )
        .keep();
    registry
        .register(cache("file", "plugin:files").capability("kv").build())
        .keep();
    registry
}

fn check(explanation: &oneiric_core::Explanation, expected: &str) {
    let text = explanation.to_string();
    let trimmed: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert_eq!(trimmed.join("\n"), expected.trim_matches('\n'), "\n{text}");
}

#[test]
fn the_answer_comes_first_and_each_loser_says_what_it_lost_on() {
    check(
        &example().explain(&query()),
        "
adapter/cache -> redis   (from settings)
  won over 3 others by priority: 20 beats 10

  #  provider  origin         fallback  priority     stack  seq  verdict
  1  redis     settings       -         20           0      3    wins
  2  memory    code:builtins  -         10           0      1    lost on priority: 10 < 20
       would win with priority 21, or a selection of memory
  3  file      plugin:files   -         0 (default)  0      4    lost on priority: 0 < 20
       would win with priority 20, or a selection of file
  4  null      code:builtins  yes       99           0      2    lost on fallback class: it is a fallback
       would win with a selection of null

  if redis dies: memory is next in line",
    );
}

#[test]
fn a_selection_shows_who_made_it_and_what_it_overrides() {
    let registry = example();
    registry.select(
        SelectionLayer::Settings,
        &slot("adapter/cache"),
        Some(provider("file")),
    );
    registry.select(
        SelectionLayer::Operator,
        &slot("adapter/cache"),
        Some(provider("memory")),
    );
    check(
        &registry.explain(&query().capabilities(any(["kv", "ttl"]))),
        "
adapter/cache -> memory   (from code:builtins)
  won over 2 others by selection: an operator chose it
  asked for any of the capabilities kv, ttl
  an operator selected 'memory', over 'file' in the settings

  #  provider  origin         selected  caps  priority     stack  seq  verdict
  1  memory    code:builtins  yes       1/2   10           0      1    wins
  2  redis     settings       -         2/2   20           0      3    lost on selection: memory is selected
       would win with a selection of redis
  3  file      plugin:files   -         1/2   0 (default)  0      4    lost on selection: memory is selected
       would win with a selection of file

  out of the question:
     null (code:builtins, #2): lacks kv, ttl

  if memory dies: redis is next in line",
    );
}

#[test]
fn equal_numbers_leave_it_to_the_sequence() {
    let registry = Registry::new();
    registry.register(cache("a", "settings").build()).keep();
    registry.register(cache("b", "settings").build()).keep();
    check(
        &registry.explain(&query()),
        "
adapter/cache -> b   (from settings)
  won over 1 other by sequence: registered last (#2 after #1)

  #  provider  origin    priority     stack  seq  verdict
  1  b         settings  0 (default)  0      2    wins
  2  a         settings  0 (default)  0      1    lost on sequence: #1 is earlier than #2
       would win with being registered again, or stack level 1, or priority 1, or a selection of a

  if b dies: a is next in line",
    );
}

#[test]
fn a_tie_names_the_tied_and_what_would_end_it() {
    let ties = TiePolicy::Error;
    let registry = Registry::with_config(RegistryConfig::default().with_ties(ties));
    registry.register(cache("a", "settings").build()).keep();
    registry.register(cache("b", "code:x").build()).keep();
    check(
        &registry.explain(&query()),
        "
adapter/cache -> nobody: tied between b (code:x) and a (settings)
  equal priority and stack level, and the tie policy is to refuse

  #  provider  origin    priority     stack  seq  verdict
  1  b         code:x    0 (default)  0      2    tied
       would win with stack level 1, or priority 1, or a selection of b
  2  a         settings  0 (default)  0      1    tied
       would win with stack level 1, or priority 1, or a selection of a",
    );
}

#[test]
fn nobody_and_an_only_candidate_read_plainly() {
    let registry = Registry::new();
    check(
        &registry.explain(&query()),
        "adapter/cache -> nobody   (no candidate is registered)",
    );
    registry.register(cache("redis", "settings").build()).keep();
    check(
        &registry.explain(&query().capabilities(all(["kv"])).property("region", "eu")),
        "
adapter/cache -> nobody   (no candidate satisfies the query)
  asked for capability kv; region = \"eu\"

  out of the question:
     redis (settings, #1): lacks kv",
    );
    check(
        &registry.explain(&query()),
        "
adapter/cache -> redis   (from settings)
  won as the only candidate

  #  provider  origin    priority     stack  seq  verdict
  1  redis     settings  0 (default)  0      1    wins

  if redis dies: nobody is next in line",
    );
}

#[test]
fn assumptions_stand_on_top_with_what_they_change() {
    let registry = example();
    let changes = [Change::Down(provider("redis"))];
    check(
        &registry.what_if(&query(), &changes).unwrap(),
        "
what if down=redis: memory wins instead of redis

adapter/cache -> memory   (from code:builtins)
  won over 2 others by priority: 10 beats 0

  #  provider  origin         fallback  priority     stack  seq  verdict
  1  memory    code:builtins  -         10           0      1    wins
  2  file      plugin:files   -         0 (default)  0      4    lost on priority: 0 < 10
       would win with priority 10, or a selection of file
  3  null      code:builtins  yes       99           0      2    lost on fallback class: it is a fallback
       would win with a selection of null

  out of the question:
     redis (settings, #3): down (what if)

  if memory dies: file is next in line",
    );
    let first = |changes: &[&str]| {
        let changes: Vec<Change> = changes.iter().map(|text| text.parse().unwrap()).collect();
        let text = registry.what_if(&query(), &changes).unwrap().to_string();
        text.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(
        first(&["priority:memory=20"]),
        "what if priority:memory=20: redis still wins"
    );
    assert_eq!(
        first(&["priority:memory=21"]),
        "what if priority:memory=21: memory wins instead of redis"
    );
    assert_eq!(
        first(&["without=redis", "down=memory"]),
        "what if without=redis, down=memory: file wins instead of redis"
    );
    assert_eq!(
        first(&["down-active", "down-active"]),
        "what if down-active, down-active: file wins instead of redis"
    );
    assert_eq!(
        first(&["select=ghost"]),
        "what if select=ghost: redis still wins"
    );
    let all_down = ["down=redis", "down=memory", "down=file", "down=null"];
    assert!(first(&all_down).ends_with("down=null: nobody wins; now redis does"));
}

#[test]
fn taking_a_selection_back_may_be_assumed_layer_by_layer() {
    let registry = example();
    let slot = slot("adapter/cache");
    registry.select(SelectionLayer::Settings, &slot, Some(provider("file")));
    registry.select(SelectionLayer::Operator, &slot, Some(provider("memory")));
    let lines = |change: &[&str]| {
        let changes: Vec<Change> = change.iter().map(|text| text.parse().unwrap()).collect();
        let text = registry.what_if(&query(), &changes).unwrap().to_string();
        let lines: Vec<String> = text.lines().take(5).map(str::to_owned).collect();
        lines.join("\n")
    };
    assert_eq!(
        lines(&["unselect=operator"]),
        "what if unselect=operator: file wins instead of memory\n\n\
         adapter/cache -> file   (from plugin:files)\n  \
         won over 3 others by selection: the settings choose it\n  \
         the settings select 'file'"
    );
    assert_eq!(
        lines(&["unselect=settings"]),
        "what if unselect=settings: memory still wins\n\n\
         adapter/cache -> memory   (from code:builtins)\n  \
         won over 3 others by selection: an operator chose it\n  \
         an operator selected 'memory'"
    );
    assert_eq!(
        lines(&["unselect=operator", "unselect=settings"]),
        "what if unselect=operator, unselect=settings: redis wins instead of memory\n\n\
         adapter/cache -> redis   (from settings)\n  \
         won over 3 others by priority: 20 beats 10\n"
    );
    registry.set_selections(SelectionLayer::Operator, []);
    assert!(lines(&["unselect=operator"]).contains("file still wins"));
    assert_eq!(
        registry.snapshot().selection(&slot).unwrap().provider,
        provider("file")
    );
}

#[test]
fn an_assumption_about_nobody_is_refused() {
    let registry = example();
    for text in [
        "without=ghost",
        "down=ghost",
        "priority:ghost=1",
        "again=#77",
        "stack:#77=1",
    ] {
        let error = registry
            .what_if(&query(), &[text.parse().unwrap()])
            .unwrap_err();
        assert_eq!(
            (error.code(), error.kind()),
            ("core.invalid_change", ErrorKind::Usage),
            "{text}"
        );
    }
    let nobody = registry.what_if(&Query::new(slot("task/none")), &[Change::DownActive]);
    assert_eq!(
        nobody.unwrap_err().to_string(),
        "invalid change \"down-active\": nobody is active"
    );
}

#[test]
fn one_of_several_registrations_of_a_provider_is_named_by_number() {
    let registry = Registry::new();
    registry
        .register(cache("redis", "code:a").priority(2000).build())
        .keep();
    registry
        .register(cache("redis", "code:b").priority(1).build())
        .keep();
    let explanation = registry.explain(&query());
    let changes: Vec<String> = explanation.candidates[1]
        .would_win_with
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        changes,
        ["priority:#2=2000"],
        "selecting its provider would not help it"
    );
    let text = explanation.to_string();
    assert!(
        text.contains("priority 2000 (more than settings and manifests may state)"),
        "{text}"
    );
    assert!(
        text.contains("if redis (code:a, #1) dies: redis (code:b, #2) is next in line"),
        "{text}"
    );
}

#[test]
fn the_document_is_stable() {
    let registry = example();
    registry.select(
        SelectionLayer::Settings,
        &slot("adapter/cache"),
        Some(provider("memroy")),
    );
    let query = query().capabilities(all(["ttl"]));
    let document = serde_json::to_value(
        registry
            .what_if(&query, &["down=null".parse().unwrap()])
            .unwrap(),
    );
    let missing = |name: &str, origin: &str, sequence: u64| {
        json!({"provider": name, "origin": origin, "sequence": sequence,
               "reason": {"kind": "capabilities", "missing": ["ttl"]}})
    };
    assert_eq!(
        document.unwrap(),
        json!({
            "schema": "oneiric.explain/1",
            "query": {
                "slot": "adapter/cache",
                "provider": null,
                "capabilities": {"mode": "all", "required": ["ttl"]},
                "properties": {},
            },
            "generation": 5,
            "ties": "newest",
            "outcome": "won",
            "winner": {"provider": "redis", "origin": "settings", "sequence": 3},
            "decided_by": null,
            "selection": {
                "provider": "memroy", "layer": "settings", "known": false, "effective": false,
                "suggestion": "memory", "overrides": null,
            },
            "candidates": [{
                "rank": 1,
                "provider": "redis",
                "origin": "settings",
                "score": [0, 1, 20, 0, 3],
                "fallback": false,
                "default_priority": false,
                "reasons": [
                    "selection override prefers memroy", "priority=20", "capability_match=1/1",
                    "stack_level=0", "registration_order=3",
                ],
                "verdict": "wins",
                "lost_on": null,
                "would_win_with": [],
            }],
            "excluded": [
                missing("memory", "code:builtins", 1),
                missing("file", "plugin:files", 4),
                {"provider": "null", "origin": "code:builtins", "sequence": 2, "reason": {"kind": "down"}},
            ],
            "successor": null,
            "what_if": {
                "changes": ["down=null"],
                "before": {"provider": "redis", "origin": "settings", "sequence": 3},
                "after": {"provider": "redis", "origin": "settings", "sequence": 3},
            },
        })
    );
    let losers =
        serde_json::to_value(registry.explain(&Query::new(slot("adapter/cache")))).unwrap();
    assert_eq!(
        losers["decided_by"],
        json!({"tier": "priority", "winner": 20, "loser": 10})
    );
    assert_eq!(
        losers["candidates"][1]["would_win_with"],
        json!(["priority:memory=21", "select=memory"])
    );
}
