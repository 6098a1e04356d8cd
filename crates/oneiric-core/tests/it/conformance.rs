//! Recorded vectors: what the rules answer for thousands of cases. The folder is named by `ONEIRIC_VECTORS_DIR`, so
//! that fresh ones of the same form can be run. Where a case has `ours`, that is the answer, else `expect`.

use std::{fs, path::PathBuf};

use oneiric_core::{
    Candidate, Domain, Explanation, FactoryPath, FactoryPolicy, Key, Origin, Provider, Query,
    Registered, Registry, RegistryConfig, SelectionLayer, Slot, StackOrder, TiePolicy, Verdict,
    bounds, query,
};
use serde_json::{Value, json};

/// Stands for the provider of vectors that name none; no vector uses the name.
const NO_PROVIDER: &str = "_no_provider_";

fn family(name: &str) -> Value {
    let folder = std::env::var_os("ONEIRIC_VECTORS_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors"),
        PathBuf::from,
    );
    let file = folder.join(format!("{name}.json"));
    let text = fs::read_to_string(&file)
        .unwrap_or_else(|e| panic!("no vectors in {}: {e}", file.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{} is no JSON: {e}", file.display()))
}

fn cases<'a>(family: &'a Value, part: &str) -> &'a [Value] {
    let cases = family[part].as_array().map_or(&[][..], Vec::as_slice);
    assert!(!cases.is_empty(), "the family holds no {part}");
    cases
}

fn answer(case: &Value) -> &Value {
    case.get("ours").unwrap_or(&case["expect"])
}

/// Compares a yes or no with a case's answer; `"any"` accepts both.
fn agrees(case: &Value, ok: bool) -> bool {
    let expected = answer(case);
    expected == "any" || expected["ok"] == "any" || expected["ok"] == ok
}

fn report(family: &str, ran: usize, skipped: usize) {
    println!("conformance {family}: {ran} cases, {skipped} skipped");
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

#[test]
fn resolution_vectors() {
    let family = family("resolution");
    let mut ran = 0;
    for registry in cases(&family, "registries") {
        let id = &registry["id"];
        let held = fill(registry);
        for case in cases(registry, "queries") {
            check_query(&held, case, &format!("registry {id}, query {case}"));
            ran += 1;
        }
        check_lists(&held, registry, &format!("registry {id}"));
    }
    report("resolution", ran, 0);
}

fn provider_of(value: &Value) -> Provider {
    Provider::new(value.as_str().unwrap_or(NO_PROVIDER)).unwrap()
}

fn slot_of(value: &Value) -> Slot {
    let domain = Domain::new(text(value, "domain")).unwrap();
    Slot::new(domain, Key::new(text(value, "key")).unwrap())
}

fn fill(vector: &Value) -> Registry {
    let registry = Registry::with_config(RegistryConfig {
        default_priority: vector["default_priority"].as_i64().unwrap(),
        ties: TiePolicy::Newest,
    });
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
        assert_eq!(ordered(&explanation), expected["ordered"], "{what}");
        &expected["winner"]
    } else {
        // The recorded `winner` of these is the first registered; the better answer is beside it.
        asked = asked.provider(Provider::new(name).unwrap());
        &expected["provider_best_by_rank"]
    };
    let resolved = registry.resolve_optional(&asked).unwrap();
    assert_eq!(
        resolved.as_ref().map_or(Value::Null, named),
        *winner,
        "{what}"
    );
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
    for (domain, expected) in vector["expect_active"].as_object().unwrap() {
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
        assert_eq!(active, *expected, "{what}: active in {domain}");
    }
    for (domain, expected) in vector["expect_shadowed"].as_object().unwrap() {
        let shadowed = snapshot.shadowed_in(&Domain::new(domain).unwrap());
        let shadowed: Value = shadowed
            .map(|held| json!([key(held), provider_value(held.provider()), held.sequence()]))
            .collect();
        assert_eq!(shadowed, *expected, "{what}: shadowed in {domain}");
    }
}

#[test]
fn stack_order_vectors() {
    let family = family("stack_order");
    let (mut ran, mut skipped) = (0, 0);
    for case in cases(&family, "cases") {
        let expected = answer(case);
        let order = StackOrder::parse(text(case, "env"));
        if expected.get("error").is_some() {
            assert!(order.is_err(), "{case}");
        } else if let Some(number) = expected["ok"].as_i64() {
            let inferred = order
                .unwrap()
                .infer(case["package"].as_str(), case["path"].as_str());
            assert_eq!(inferred, number, "{case}");
        } else {
            assert!(expected["ok"].is_number(), "{case}");
            skipped += 1; // beyond 64 bits
            continue;
        }
        ran += 1;
    }
    report("stack_order", ran, skipped);
}

#[test]
fn validation_key_vectors() {
    let family = family("validation");
    let cases = cases(&family, "keys");
    for case in cases {
        let key = text(case, "key");
        let taken = if case["allow_dots"] == json!(true) {
            Key::new(key)
        } else {
            Key::undotted(key)
        };
        assert!(agrees(case, taken.is_ok()), "{taken:?} for {case}");
    }
    report("validation.keys", cases.len(), 0);
}

#[test]
fn validation_factory_vectors() {
    let family = family("validation");
    let cases = cases(&family, "factories");
    for case in cases {
        let policy = match case["allowlist"].as_array() {
            Some(list) => FactoryPolicy::new(list.iter().filter_map(Value::as_str)).ok(),
            None => Some(FactoryPolicy::default()),
        };
        let path = FactoryPath::new(text(case, "factory")).ok();
        let ok = policy
            .zip(path)
            .is_some_and(|(policy, path)| policy.check(&path).is_ok());
        assert!(agrees(case, ok), "{case}");
    }
    report("validation.factories", cases.len(), 0);
}

#[test]
fn validation_factory_allowlist_env_vectors() {
    let family = family("validation");
    let cases = cases(&family, "factory_allowlist_env");
    for case in cases {
        let entries = FactoryPolicy::parse_env(case["env"].as_str());
        assert_eq!(json!(entries), *answer(case), "{case}");
    }
    report("validation.factory_allowlist_env", cases.len(), 0);
}

#[test]
fn validation_bounds_vectors() {
    let family = family("validation");
    for (part, check) in [
        (
            "priorities",
            bounds::priority_of as fn(&Value) -> Result<i64, bounds::OutOfBounds>,
        ),
        ("stack_levels", bounds::stack_level_of),
    ] {
        let cases = cases(&family, part);
        for case in cases {
            assert!(
                agrees(case, check(&case["value"]).is_ok()),
                "{part}: {case}"
            );
        }
        report(&format!("validation.{part}"), cases.len(), 0);
    }
}
