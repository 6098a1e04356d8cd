//! Recorded vectors: what the rules answer for thousands of cases. The folder is named by `ONEIRIC_VECTORS_DIR`, so
//! that fresh ones of the same form can be run; a relative path starts at the workspace's root. Where a case has
//! `ours`, that is the answer, else `expect`; an answer `"any"`, or one such part of it, accepts whatever comes.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use oneiric_core::{
    Candidate, Domain, Explanation, FactoryPath, FactoryPolicy, Key, Origin, Provider, Query,
    Registered, Registry, RegistryConfig, SelectionLayer, Slot, StackOrder, TiePolicy, Verdict,
    bounds, query,
};
use serde_json::{Value, json};

/// Stands for the provider of vectors that name none; no vector uses the name.
const NO_PROVIDER: &str = "_no_provider_";

fn family(name: &str) -> Value {
    let file = folder(std::env::var_os("ONEIRIC_VECTORS_DIR")).join(format!("{name}.json"));
    let text = fs::read_to_string(&file)
        .unwrap_or_else(|e| panic!("no vectors in {}: {e}", file.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{} is no JSON: {e}", file.display()))
}

fn folder(named: Option<OsString>) -> PathBuf {
    // Tests run in their crate's folder; whoever sets the variable is more likely at the root.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join(named.unwrap_or_else(|| "tests/vectors".into()))
}

fn cases<'a>(family: &'a Value, part: &str) -> &'a [Value] {
    family[part].as_array().map_or(&[][..], Vec::as_slice)
}

fn answer(case: &Value) -> &Value {
    case.get("ours").unwrap_or(&case["expect"])
}

/// One part of an answer, or the answer as a whole if that accepts anything.
fn part<'a>(answer: &'a Value, name: &str) -> &'a Value {
    if answer == "any" {
        answer
    } else {
        &answer[name]
    }
}

#[track_caller]
fn check(actual: &Value, expected: &Value, what: &str) {
    if expected != "any" {
        assert_eq!(actual, expected, "{what}");
    }
}

/// Compares a yes or no with a case's answer.
#[track_caller]
fn check_ok(ok: bool, case: &Value) {
    check(&json!(ok), part(answer(case), "ok"), &case.to_string());
}

/// What came of a family.
#[derive(Default)]
struct Tally {
    ran: usize,
    skipped: usize,
}

#[track_caller]
fn report(family: &str, Tally { ran, skipped }: Tally) {
    assert!(ran > 0, "nothing of {family} ran");
    println!("conformance {family}: {ran} cases, {skipped} skipped");
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

#[test]
fn resolution_vectors() {
    report("resolution", resolution(&family("resolution")));
}

fn resolution(family: &Value) -> Tally {
    let mut tally = Tally::default();
    for registry in cases(family, "registries") {
        let id = &registry["id"];
        let held = fill(registry);
        for case in cases(registry, "queries") {
            check_query(&held, case, &format!("registry {id}, query {case}"));
            tally.ran += 1;
        }
        check_lists(&held, registry, &format!("registry {id}"));
    }
    tally
}

fn provider_of(value: &Value) -> Provider {
    Provider::new(value.as_str().unwrap_or(NO_PROVIDER)).unwrap()
}

fn slot_of(value: &Value) -> Slot {
    let domain = Domain::new(text(value, "domain")).unwrap();
    Slot::new(domain, Key::new(text(value, "key")).unwrap())
}

fn fill(vector: &Value) -> Registry {
    let registry = Registry::with_config(
        RegistryConfig::default()
            .with_default_priority(vector["default_priority"].as_i64().unwrap())
            .with_ties(TiePolicy::Newest),
    );
    for (domain, keys) in vector["selections"].as_object().unwrap() {
        for (key, provider) in keys.as_object().unwrap() {
            let slot = Slot::new(Domain::new(domain).unwrap(), Key::new(key).unwrap());
            // An empty selection is no selection.
            if let Some(name) = provider.as_str().filter(|name| !name.is_empty()) {
                let provider = Provider::new(name).unwrap();
                registry.select(SelectionLayer::Settings, &slot, Some(provider));
            }
        }
    }
    for one in vector["candidates"].as_array().unwrap() {
        let origin = Origin::code(&format!("c{}", one["seq"])).unwrap();
        let mut candidate = Candidate::builder(slot_of(one), provider_of(&one["provider"]), origin)
            .capabilities(capabilities_of(&one["metadata"]));
        if let Some(priority) = one["priority"].as_i64() {
            candidate = candidate.priority(priority);
        }
        if let Some(stack_level) = one["stack_level"].as_i64() {
            candidate = candidate.stack_level(stack_level);
        }
        let registration = registry.register(candidate.build());
        assert_eq!(json!(registration.sequence()), one["seq"]);
        registration.keep();
    }
    registry
}

/// What the recorded metadata says a candidate can do: a name or a list of names, and descriptors with a name.
fn capabilities_of(metadata: &Value) -> Vec<String> {
    let mut names = Vec::new();
    match &metadata["capabilities"] {
        Value::String(name) => names.push(name.clone()),
        Value::Array(list) => names.extend(list.iter().filter_map(Value::as_str).map(String::from)),
        _ => {}
    }
    for descriptor in metadata["capability_descriptors"]
        .as_array()
        .into_iter()
        .flatten()
    {
        match &descriptor["name"] {
            Value::String(name) if !name.is_empty() => names.push(name.clone()),
            Value::Number(number) if number.as_f64() != Some(0.0) => names.push(number.to_string()),
            _ => {}
        }
    }
    names
}

fn check_query(registry: &Registry, case: &Value, what: &str) {
    let mut asked = Query::new(slot_of(case));
    if let Some(list) = case["capabilities"].as_array() {
        let names = list.iter().filter_map(Value::as_str);
        let all = case["require_all"] == json!(true);
        asked = asked.capabilities(if all {
            query::all(names)
        } else {
            query::any(names)
        });
    }
    let expected = answer(case);
    let name = text(case, "provider");
    let winner = if name.is_empty() {
        let explanation = registry.explain(&asked);
        check(&ordered(&explanation), part(expected, "ordered"), what);
        part(expected, "winner")
    } else {
        // The recorded `winner` of these is the first registered; the better answer is beside it.
        asked = asked.provider(Provider::new(name).unwrap());
        part(expected, "provider_best_by_rank")
    };
    let resolved = registry.resolve_optional(&asked).unwrap();
    check(&resolved.as_ref().map_or(Value::Null, named), winner, what);
    let first = registry.resolve_all(&asked).into_iter().next();
    assert_eq!(resolved, first, "{what}");
    let explained = registry
        .explain(&asked)
        .winner
        .map(|winner| winner.sequence);
    assert_eq!(explained, resolved.map(|held| held.sequence()), "{what}");
}

fn provider_value(provider: &Provider) -> Value {
    if provider.as_str() == NO_PROVIDER {
        Value::Null
    } else {
        json!(provider)
    }
}

fn named(held: &Registered) -> Value {
    json!({"provider": provider_value(held.provider()), "seq": held.sequence()})
}

fn ordered(explanation: &Explanation) -> Value {
    let rows = explanation.candidates.iter().map(|one| {
        json!({
            "provider": provider_value(&one.provider),
            "seq": one.score.4,
            "score": one.score,
            "reasons": one.reasons,
            "selected": one.verdict == Verdict::Wins,
        })
    });
    rows.collect()
}

fn check_lists(registry: &Registry, vector: &Value, what: &str) {
    let snapshot = registry.snapshot();
    let key = |held: &Registered| held.slot().key().to_string();
    for (domain, expected) in vector["expect_active"].as_object().into_iter().flatten() {
        let active = snapshot.active_in(&Domain::new(domain).unwrap());
        let active: Value = active
            .map(|held| {
                json!([
                    key(held),
                    provider_value(held.provider()),
                    held.sequence(),
                    held.score().priority
                ])
            })
            .collect();
        check(&active, expected, &format!("{what}: active in {domain}"));
    }
    for (domain, expected) in vector["expect_shadowed"].as_object().into_iter().flatten() {
        let shadowed = snapshot.shadowed_in(&Domain::new(domain).unwrap());
        let shadowed: Value = shadowed
            .map(|held| json!([key(held), provider_value(held.provider()), held.sequence()]))
            .collect();
        check(
            &shadowed,
            expected,
            &format!("{what}: shadowed in {domain}"),
        );
    }
}

#[test]
fn stack_order_vectors() {
    report("stack_order", stack_order(&family("stack_order")));
}

fn stack_order(family: &Value) -> Tally {
    let mut tally = Tally::default();
    for case in cases(family, "cases") {
        let expected = answer(case);
        let order = StackOrder::parse(text(case, "env"));
        if expected.get("error").is_some() {
            assert!(order.is_err(), "{case}");
        } else if expected["ok"].is_number() && !expected["ok"].is_i64() {
            tally.skipped += 1; // beyond 64 bits
            continue;
        } else {
            let infer =
                |order: StackOrder| order.infer(case["package"].as_str(), case["path"].as_str());
            let inferred = json!(order.ok().map(infer));
            check(&inferred, part(expected, "ok"), &case.to_string());
        }
        tally.ran += 1;
    }
    tally
}

#[test]
fn validation_vectors() {
    let family = family("validation");
    for (part, run) in VALIDATIONS {
        report(
            &format!("validation.{part}"),
            validation(&family, part, run),
        );
    }
}

type Validation = fn(&Value);

const VALIDATIONS: [(&str, Validation); 5] = [
    ("keys", key),
    ("factories", factory),
    ("factory_allowlist_env", factory_allowlist_env),
    ("priorities", |case| {
        check_ok(bounds::priority_of(&case["value"]).is_ok(), case);
    }),
    ("stack_levels", |case| {
        check_ok(bounds::stack_level_of(&case["value"]).is_ok(), case);
    }),
];

fn validation(family: &Value, part: &str, run: Validation) -> Tally {
    let cases = cases(family, part);
    cases.iter().for_each(run);
    Tally {
        ran: cases.len(),
        skipped: 0,
    }
}

fn key(case: &Value) {
    let key = text(case, "key");
    let taken = if case["allow_dots"] == json!(true) {
        Key::new(key)
    } else {
        Key::undotted(key)
    };
    check_ok(taken.is_ok(), case);
}

fn factory(case: &Value) {
    let policy = match case["allowlist"].as_array() {
        Some(list) => FactoryPolicy::new(list.iter().filter_map(Value::as_str)).ok(),
        None => Some(FactoryPolicy::default()),
    };
    let path = FactoryPath::new(text(case, "factory")).ok();
    let allowed = policy
        .zip(path)
        .is_some_and(|(policy, path)| policy.check(&path).is_ok());
    check_ok(allowed, case);
}

fn factory_allowlist_env(case: &Value) {
    let entries = FactoryPolicy::parse_env(case["env"].as_str());
    check(&json!(entries), answer(case), &case.to_string());
}

#[test]
fn any_is_an_answer_in_every_family() {
    let registry = json!({
        "id": 1, "default_priority": 0, "selections": {},
        "candidates": [{"domain": "adapter", "key": "a", "provider": "p", "seq": 1, "metadata": {}}],
        "queries": [
            {"domain": "adapter", "key": "a", "expect": {"winner": "wrong", "ordered": []}, "ours": "any"},
            {"domain": "adapter", "key": "a", "expect": {"winner": "any", "ordered": "any"}},
            {"domain": "adapter", "key": "a", "provider": "p", "expect": {"provider_best_by_rank": "any"}},
        ],
        "expect_active": {"adapter": "any"}, "expect_shadowed": {"adapter": "any"},
    });
    let without_queries = json!({
        "id": 2, "default_priority": 0, "selections": {}, "candidates": [],
        "expect_active": "any",
    });
    let resolved = resolution(&json!({"registries": [registry, without_queries]}));
    assert_eq!(resolved.ran, 3);

    let orders = json!({"cases": [
        {"env": "a:1", "package": "a", "path": null, "expect": {"ok": 7}, "ours": "any"},
        {"env": "a:x", "package": "a", "path": null, "expect": {"ok": 7}, "ours": {"ok": "any"}},
        {"env": "", "package": "a", "path": null, "expect": {"ok": 1e30}},
    ]});
    let Tally { ran, skipped } = stack_order(&orders);
    assert_eq!((ran, skipped), (2, 1));

    let wrong = json!([
        {"expect": {"ok": "wrong"}, "ours": "any"},
        {"expect": "any"},
    ]);
    for (part, run) in VALIDATIONS {
        assert_eq!(
            validation(&json!({part: wrong}), part, run).ran,
            2,
            "{part}"
        );
    }
}

#[test]
#[should_panic(expected = "nothing of a family ran")]
fn a_family_of_which_nothing_ran_fails() {
    report("a family", Tally { ran: 0, skipped: 9 });
}

#[test]
fn a_relative_folder_starts_at_the_root_of_the_workspace() {
    let usual = folder(None);
    assert_eq!(folder(Some("tests/vectors".into())), usual);
    assert!(usual.join("resolution.json").exists());
    let elsewhere = PathBuf::from("/elsewhere");
    assert_eq!(folder(Some("/elsewhere".into())), elsewhere);
}
