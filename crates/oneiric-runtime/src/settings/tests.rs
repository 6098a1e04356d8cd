//! The catalog against everything that is made from it: text, files of all formats, the sample, the schema.

use serde_json::{Value, json};

use super::{
    Settings, SettingsSource, Sources,
    catalog::{self, Key, Kind},
    settings_sample, settings_schema,
};

/// Values other than the default that a key takes, as text and as they come out.
fn values(key: &Key) -> Vec<(String, Value)> {
    let text = |text: &str| (text.to_owned(), Value::from(text));
    if let Some((least, most)) = key.kind.range() {
        return [least, most]
            .map(|number| (number.to_string(), number.into()))
            .into();
    }
    match &key.kind {
        Kind::Flag => [true, false]
            .map(|flag| (flag.to_string(), flag.into()))
            .into(),
        Kind::Word(words) => words.iter().map(|word| text(word)).collect(),
        Kind::Allowlist => vec![
            ("a.,b.c".to_owned(), json!(["a.", "b.c"])),
            ("[\"a.\"]".to_owned(), json!(["a."])),
            (String::new(), json!([])),
        ],
        Kind::Text => vec![text("123456"), text("true"), text("a,b"), text("[x")],
        Kind::Filter => vec![text("warn"), text("warn,a=debug")],
        Kind::Path => vec![text("123456"), text("a,b"), text("/x/y z")],
        kind => panic!("{}: nobody tries {kind:?}", key.path),
    }
}

#[test]
fn p83_every_key_keeps_its_type_in_the_environment_and_on_the_command_line() {
    let mut tried = 0;
    for key in catalog::keys().filter(|key| !key.is_built()) {
        for (text, expected) in values(key) {
            let explained = Settings::default().explain(key.path).unwrap();
            let variable = explained.variable.unwrap();
            let sources = match variable.as_str() {
                // The one key without a section; its variable is the command line's to read.
                "ONEIRIC_STATE_DIR" => Sources::new().value(
                    SettingsSource::Variable(variable.clone()),
                    key.path,
                    &text,
                ),
                name => Sources::new().variables([(name, &text)]),
            };
            for sources in [
                sources,
                Sources::new().flag(&format!("{}={text}", key.path)),
            ] {
                let settings = sources.load().unwrap();
                let said = settings.explain(key.path).unwrap();
                assert_eq!(said.value.as_ref(), Some(&expected), "{}={text}", key.path);
                assert!(["variable", "flag"].contains(&said.layers[0].set_by.layer.as_str()));
                let shown = settings.show().keys.into_iter();
                let shown = shown.filter(|shown| shown.key == key.path);
                assert!(shown.map(|shown| shown.value).eq([expected.clone()]));
                tried += 1;
            }
        }
    }
    assert!(tried > 80, "{tried}");
}

#[test]
fn a_variable_with_its_prefix_twice_is_no_other_variable() {
    let twice = Sources::new().variables([("ONEIRIC_ONEIRIC_RUN__GRACE_MS", "1")]);
    let faults = twice.load().unwrap_err().to_string();
    assert!(faults.contains("oneiric_run"), "{faults}");
}

#[test]
fn the_sample_says_what_no_file_says() {
    let settings = Settings::parse(&settings_sample(), "oneiric.toml").unwrap();
    let values = |settings: &Settings| -> Vec<(String, Value)> {
        let keys = settings.show().keys.into_iter();
        keys.map(|key| (key.key, key.value)).collect()
    };
    assert_eq!(values(&settings), values(&Settings::default()));
    let defaults = Settings::default();
    assert_eq!(settings.limits, defaults.limits);
    assert_eq!(settings.admin, defaults.admin);
    assert!(!settings.has_candidates() && settings.selections.is_empty());
    for line in settings_sample().lines() {
        assert!(line.len() <= 100 && line.trim_end() == line, "{line}");
    }
}

/// The sample with every key taken out of its comment.
fn everything() -> String {
    let sample = settings_sample();
    let (_, keys) = sample.split_once("\n\n").unwrap();
    let mut text = String::new();
    for line in keys.lines() {
        let setting = line.strip_prefix("# ").filter(|line| {
            let name = line.split(" = ").next().unwrap();
            line.starts_with('[') || (line.contains(" = ") && !name.trim_matches('"').contains(' '))
        });
        text.push_str(setting.unwrap_or(line));
        text.push('\n');
    }
    text
}

#[test]
fn every_line_of_the_sample_can_be_taken_out_of_its_comment() {
    let text = everything();
    let settings = Settings::parse(&text, "oneiric.toml").unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert!(
        settings.has_candidates() && settings.admin.tcp.is_some(),
        "{text}"
    );
    assert_eq!(
        settings.admin.tokens.len() + settings.admin.client_roles.len(),
        2
    );
    // No key of the catalog is left out, be it in a list.
    for key in catalog::keys() {
        let name = key.path.rsplit('.').next().unwrap();
        assert!(
            name.starts_with('<') || text.contains(&format!("\n{name} = ")),
            "{name}"
        );
    }
}

#[test]
fn what_the_reader_takes_the_schema_takes() {
    let schema = settings_schema();
    let read: Value = toml::from_str(&everything()).unwrap();
    assert_eq!(complaint(&schema, &read, ""), None);
    assert_eq!(complaint(&schema, &json!({}), ""), None);
    assert_eq!(complaint(&schema, &json!({"$schema": "x"}), ""), None);
    Sources::new()
        .text("x", "\"$schema\" = 'x'")
        .load()
        .unwrap();
}

#[test]
fn what_the_reader_refuses_the_schema_refuses() {
    let schema = settings_schema();
    for (refused, at) in [
        (json!({"rnu": {}}), "rnu"),
        (json!({"run": {"grace": 1}}), "run.grace"),
        (json!({"run": {"grace_ms": -1}}), "run.grace_ms"),
        (json!({"run": {"grace_ms": 86_400_001}}), "run.grace_ms"),
        (json!({"run": {"grace_ms": "1"}}), "run.grace_ms"),
        (json!({"run": {"activate": "al"}}), "run.activate"),
        (json!({"run": 1}), "run"),
        (json!({"state_dir": ""}), "state_dir"),
        (json!({"candidates": {}}), "candidates"),
        (json!({"candidates": [{"slot": "a/b"}]}), "candidates[0]"),
        (
            json!({"candidates": [{"slot": "ab", "provider": "p"}]}),
            "candidates[0].slot",
        ),
        (
            json!({"candidates": [{"slot": "a/b", "provider": "p", "priority": 1001}]}),
            "candidates[0].priority",
        ),
        (
            json!({"admin": {"tokens": [{"name": "n", "token": "hunter2"}]}}),
            "admin.tokens[0].token",
        ),
        (
            json!({"selections": {"adapter": "x"}}),
            "selections.adapter",
        ),
        (json!({"selections": {"a/b": "x y"}}), "selections.a/b"),
        (json!({"slots": {"a": {}}}), "slots.a"),
        (json!({"slots": {"a/b:c": {}}}), "slots.a/b:c"),
        (
            json!({"slots": {"a/*": {"bake_panic_percent": 101}}}),
            "slots.a/*.bake_panic_percent",
        ),
        (
            json!({"slots": {"*": {"on_failure": "panic"}}}),
            "slots.*.on_failure",
        ),
        (json!({"slots": {"*": {"health": 1}}}), "slots.*.health"),
        (
            json!({"security": {"factory_allowlist": "x"}}),
            "security.factory_allowlist",
        ),
    ] {
        let complaint = complaint(&schema, &refused, "");
        assert_eq!(complaint.as_deref(), Some(at), "{refused}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("o.json");
        let mut file = std::fs::File::create(&path).unwrap();
        std::io::Write::write_all(&mut file, refused.to_string().as_bytes()).unwrap();
        assert!(Settings::load(&path).is_err(), "{refused}");
    }
}

/// Where a value is not what a schema says; for the words of JSON Schema that ours has.
fn complaint(schema: &Value, value: &Value, at: &str) -> Option<String> {
    let here = || Some(at.trim_start_matches('.').to_owned());
    let number = |name: &str| schema.get(name).and_then(Value::as_i64);
    let is_type = match schema.get("type").and_then(Value::as_str) {
        None => true,
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64(),
        Some("boolean") => value.is_boolean(),
        Some(other) => panic!("{other}"),
    };
    let words = schema.get("enum").and_then(Value::as_array);
    if !is_type || words.is_some_and(|words| !words.contains(value)) {
        return here();
    }
    let too_small = number("minimum").is_some_and(|least| value.as_i64() < Some(least));
    let too_large = number("maximum").is_some_and(|most| value.as_i64() > Some(most));
    let text = value.as_str();
    let too_short = number("minLength").is_some_and(|_| text == Some(""));
    let pattern = schema.get("pattern").and_then(Value::as_str);
    if too_small || too_large || too_short || !matches(pattern, text) {
        return here();
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        let found = complaint(&schema["items"], item, &format!("{at}[{index}]"));
        if found.is_some() {
            return found;
        }
    }
    let entries = value.as_object()?;
    let required = schema.get("required").and_then(Value::as_array);
    let is_missing = |name: &Value| !entries.contains_key(name.as_str().unwrap());
    if required.is_some_and(|names| names.iter().any(is_missing)) {
        return here();
    }
    for (name, value) in entries {
        let at = format!("{at}.{name}");
        let pattern = schema.pointer("/propertyNames/pattern");
        if !matches(pattern.and_then(Value::as_str), Some(name)) {
            return Some(at.trim_start_matches('.').to_owned());
        }
        let known = schema.pointer(&format!("/properties/{name}"));
        match known.or_else(|| schema.get("additionalProperties")) {
            Some(Value::Bool(false)) => return Some(at.trim_start_matches('.').to_owned()),
            Some(inner) => {
                if let Some(found) = complaint(inner, value, &at) {
                    return Some(found);
                }
            }
            None => {}
        }
    }
    None
}

/// The patterns of our schema; a test has no engine for others.
fn matches(pattern: Option<&str>, text: Option<&str>) -> bool {
    let (Some(pattern), Some(text)) = (pattern, text) else {
        return true;
    };
    match pattern {
        "^[^/]+/[^/]+$" => text.split('/').count() == 2 && !text.split('/').any(str::is_empty),
        "^(\\*|[^/]+/[^/:]+)$" => text.parse::<oneiric_lifecycle::PolicyScope>().is_ok(),
        "^[^:]+:[^:]+$" => text.split(':').count() == 2 && !text.split(':').any(str::is_empty),
        "^secret://" => text.starts_with("secret://"),
        "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$" => text.parse::<oneiric_core::Provider>().is_ok(),
        other => panic!("{other}"),
    }
}
