//! The page `docs/reference/resilience-settings.md` says of each key what the program itself says of it: what may be
//! written there, in the words in which anything else is refused, and what it is where nothing is written.

use std::collections::BTreeSet;
use std::time::Duration;

use oneiric_resilience::{
    BreakerWindow, InvalidConfig, KeyedBuckets, KeyedBucketsConfig, Policy, PolicyConfig,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::faults::{at, policy};

mod table;

use table::{HEAD, SECTIONS, Section};

/// A kind of settings file.
struct File {
    /// Settings that work, which together have every key.
    full: Vec<Value>,
    read: fn(Value) -> Result<Value, String>,
    make: fn(Value) -> Option<Result<(), InvalidConfig>>,
}

fn of_policies() -> File {
    let time = BreakerWindow::Time {
        length: Duration::from_secs(1),
        buckets: 10,
    };
    // First without bounds for the limit of the bulkhead: those that it always has are told then.
    let mut plain = policy(time);
    plain.bulkhead.as_mut().unwrap().adaptive = None;
    let windows = [BreakerWindow::Calls(50), BreakerWindow::Consecutive(5)];
    let others = windows.map(policy);
    File {
        full: [plain]
            .iter()
            .chain(&others)
            .map(|full| json!(full))
            .collect(),
        read: read::<PolicyConfig>,
        make: |written| made(written, Policy::new),
    }
}

fn of_keys() -> File {
    File {
        full: vec![json!(KeyedBucketsConfig::default())],
        read: read::<KeyedBucketsConfig>,
        make: |written| made(written, KeyedBuckets::<str>::new),
    }
}

/// Reads settings, and writes them with all that they left out.
fn read<C: Serialize + DeserializeOwned>(written: Value) -> Result<Value, String> {
    let config: C = serde_json::from_value(written).map_err(|error| error.to_string())?;
    Ok(json!(config))
}

/// Whether something can be made of settings, where they can be read.
fn made<C: DeserializeOwned, T>(
    written: Value,
    make: impl Fn(C) -> Result<T, InvalidConfig>,
) -> Option<Result<(), InvalidConfig>> {
    let config = serde_json::from_value(written).ok()?;
    Some(make(config).map(|_| ()))
}

impl File {
    /// All keys, with those of tables within.
    fn keys(&self) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        for full in &self.full {
            keys_of(full, "", &mut keys);
        }
        keys
    }

    /// Settings that work and have this key, and the key changed.
    fn with(&self, key: &str, value: Value) -> Value {
        let mut full = self.full.iter().cloned();
        let home = full.find_map(|mut full| {
            let place = at(&mut full, key)?;
            *place = value.clone();
            Some(full)
        });
        home.unwrap_or_else(|| panic!("no settings have `{key}`"))
    }

    /// What may be written there.
    fn takes(&self, key: &str) -> String {
        let is_list = key == "order";
        let wrong = if is_list { json!(["?"]) } else { json!("?") };
        let refused = (self.read)(self.with(key, wrong)).unwrap_err();
        let (_, expected) = refused
            .rsplit_once(", expected ")
            .expect("what was expected");
        let kind = match expected {
            "a boolean" => "`true` or `false`".to_owned(),
            "u32" => "a whole number".to_owned(),
            "f64" => "a number".to_owned(),
            listed if is_list => format!("a list of {}", listed.trim_start_matches("one of ")),
            words => words.trim_end_matches(", such as 2000 for 2 s").to_owned(),
        };
        let wrong = [json!(0), json!(u32::MAX), json!(u64::MAX), json!(-1.0)];
        let made = wrong
            .into_iter()
            .filter_map(|wrong| (self.make)(self.with(key, wrong)));
        let faults = made
            .filter_map(Result::err)
            .flat_map(|invalid| invalid.faults().to_vec());
        let bounds: BTreeSet<_> = faults
            .filter(|fault| fault.field == key)
            .map(|fault| fault.allowed.into_owned())
            .collect();
        assert!(bounds.len() <= 1, "`{key}`: {bounds:?}");
        match bounds.into_iter().next() {
            None => kind,
            Some(bounds) if bounds.starts_with("none") => bounds,
            Some(bounds) => format!("{kind}, {bounds}"),
        }
    }

    /// What it is where it is left out.
    fn default(&self, key: &str) -> String {
        let mut left_out = self.with(key, Value::Null);
        let (keys, name) = match key.rsplit_once('.') {
            Some((table, name)) => (at(&mut left_out, table).unwrap(), name),
            None => (&mut left_out, key),
        };
        keys.as_object_mut().unwrap().remove(name);
        let mut read = match (self.read)(left_out) {
            Ok(read) => read,
            Err(missing) if missing.starts_with("missing field") => return "required".to_owned(),
            // Of several only one.
            Err(_) => return "none".to_owned(),
        };
        let default = at(&mut read, key).cloned().unwrap_or_default();
        if default.is_null() {
            return "none".to_owned();
        }
        // A table is told where its keys are, if those say all of it.
        let empty = (self.read)(self.with(key, json!({})));
        let is_empty = |mut empty| at(&mut empty, key) == Some(&mut default.clone());
        if default.is_object() && empty.is_ok_and(is_empty) {
            return "as below".to_owned();
        }
        format!("`{}`", inline(&default))
    }
}

fn keys_of(value: &Value, under: &str, keys: &mut BTreeSet<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let key = format!("{under}{key}");
        keys_of(value, &format!("{key}."), keys);
        keys.insert(key);
    }
}

/// As it would be written in one line of a file.
fn inline(value: &Value) -> String {
    let Some(table) = value.as_object() else {
        return value.to_string();
    };
    let keys: Vec<_> = table
        .iter()
        .map(|(key, value)| format!("{key} = {}", inline(value)))
        .collect();
    format!("{{ {} }}", keys.join(", "))
}

/// What the page should be.
fn reference() -> String {
    let mut page = HEAD.to_owned();
    for Section {
        title,
        file,
        under,
        says,
        keys,
    } in SECTIONS
    {
        let file = file();
        page.push_str(&format!("\n## {title}\n\n{says}\n\n| key | takes | default | what it does |\n|---|---|---|---|\n"));
        for (key, does) in *keys {
            let path = format!("{under}{key}");
            let (takes, default) = (file.takes(&path), file.default(&path));
            page.push_str(&format!("| `{path}` | {takes} | {default} | {does} |\n"));
        }
    }
    page
}

#[test]
fn the_page_of_settings_is_up_to_date() {
    let page = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/resilience-settings.md"
    );
    let reference = reference();
    let page = std::fs::read_to_string(page).unwrap_or_default();
    assert_eq!(page, reference, "the page should be:\n{reference}");
}

#[test]
fn the_page_has_every_key_once() {
    for (title, file) in [("a policy", of_policies()), ("keys", of_keys())] {
        let of_file = |section: &&Section| (section.title == "Buckets by key") == (title == "keys");
        let told: Vec<String> = SECTIONS
            .iter()
            .filter(of_file)
            .flat_map(|section| {
                section
                    .keys
                    .iter()
                    .map(|(key, _)| format!("{}{key}", section.under))
            })
            .collect();
        let once: BTreeSet<String> = told.iter().cloned().collect();
        assert_eq!(told.len(), once.len(), "{title}");
        assert_eq!(once, file.keys(), "{title}");
        // What is nothing in all of them might have keys that nobody sees.
        let nothing = |key: &String| {
            file.full
                .iter()
                .cloned()
                .all(|mut full| at(&mut full, key).is_none_or(|value| value.is_null()))
        };
        let nothing: Vec<_> = once.iter().filter(|key| nothing(key)).collect();
        let expected: &[&str] = if title == "keys" {
            &[]
        } else {
            &["retry.attempt_limit_ms"]
        };
        assert_eq!(nothing, expected);
    }
}

/// What is wrong in a file is said in words that help who wrote it.
#[test]
fn what_cannot_be_read_is_told_with_what_can_be() {
    let said = |written: Value| (of_policies().read)(written).unwrap_err();
    let millis = "whole milliseconds, such as 2000 for 2 s";
    for (wrong, kind) in [
        (json!("2s"), "type: string \"2s\""),
        (json!(0.5), "type: floating point `0.5`"),
        (json!(-1), "value: integer `-1`"),
        (json!(true), "type: boolean `true`"),
    ] {
        let expected = format!("invalid {kind}, expected {millis}");
        assert_eq!(said(json!({ "deadline_ms": wrong })), expected);
        assert_eq!(said(json!({ "bucket_wait_ms": wrong })), expected);
    }
    let window = |window: Value| said(json!({ "breaker": { "window": window } }));
    let forms =
        "one of `{ calls = 100 }`, `{ time = { length_ms = 10000 } }`, `{ consecutive = 5 }`";
    assert_eq!(
        window(json!(100)),
        format!("invalid type: integer `100`, expected {forms}")
    );
    assert_eq!(
        window(json!("calls")),
        format!("invalid type: string \"calls\", expected {forms}")
    );
    let one = "a window has one of `calls`, `time`, `consecutive`, and only one";
    assert_eq!(window(json!({})), one);
    assert_eq!(window(json!({ "calls": 1, "consecutive": 1 })), one);
    let retry = "invalid type: boolean `true`, expected a table, such as `{ attempts = 3 }`";
    assert_eq!(said(json!({ "retry": true })), retry);
    let order = "unknown variant `fallback`, expected one of `deadline`, `retry`, `breaker`, `bucket`, `bulkhead`, `attempt`";
    assert_eq!(said(json!({ "order": ["fallback"] })), order);
}
