//! Which values are not to be shown: settings are shown by commands, in errors, in debug output, and copied into
//! tickets from all of them.
//!
//! A secret belongs behind a `secret://` reference. This is for the ones that stand in the file all the same: what a
//! key is called tells them apart well enough, and a password within an address is found where addresses have it.

use std::ops::Range;

use serde_json::Value;

/// What is shown in the place of a secret.
pub(crate) const HIDDEN: &str = "***";

/// Begins a reference to a secret, which is not one.
pub(crate) const REFERENCE: &str = "secret://";

/// Whether a reference stands anywhere in a value.
pub(crate) fn has_reference(value: &Value) -> bool {
    match value {
        Value::String(text) => text.starts_with(REFERENCE),
        Value::Array(items) => items.iter().any(has_reference),
        Value::Object(entries) => entries.values().any(has_reference),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a key looks like that of a secret, judged by its last name.
pub(crate) fn is_secret(name: &str) -> bool {
    words(name).windows(2).any(|pair| match pair {
        [first, second] => {
            SINGLE.contains(&first.as_str())
                || (second == "key" && BEFORE_KEY.contains(&first.as_str()))
        }
        _ => false,
    })
}

const SINGLE: [&str; 8] = [
    "password",
    "passwd",
    "passphrase",
    "token",
    "secret",
    "apikey",
    "credential",
    "pwd",
];
const BEFORE_KEY: [&str; 4] = ["api", "private", "access", "signing"];

/// The words of a name in small letters and singular, and an empty one after them.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for letter in name.chars() {
        let begins = letter.is_uppercase() && was_small;
        if begins || !letter.is_alphanumeric() {
            words.push(String::new());
        }
        was_small = letter.is_lowercase() || letter.is_numeric();
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphanumeric()) {
            word.extend(letter.to_lowercase());
        }
    }
    for word in &mut words {
        let singular = word.strip_suffix('s').map(str::len);
        word.truncate(singular.filter(|length| *length > 3).unwrap_or(word.len()));
    }
    words.push(String::new());
    words
}

/// A value as it may be shown under this name.
pub(crate) fn shown(name: &str, value: &Value) -> Value {
    hidden(name, value, true)
}

/// `alone` unless it is one of a list.
fn hidden(name: &str, value: &Value, alone: bool) -> Value {
    match value {
        Value::Object(entries) if !is_secret(name) => {
            let entries = entries.iter();
            let entries = entries.map(|(name, value)| (name.clone(), shown(name, value)));
            Value::Object(entries.collect())
        }
        Value::Array(items) => items.iter().map(|item| hidden(name, item, false)).collect(),
        Value::String(text) if text.starts_with(REFERENCE) => value.clone(),
        // How many tokens there may be is no secret.
        Value::Number(_) if alone && name.ends_with('s') => value.clone(),
        Value::Null | Value::Bool(_) => value.clone(),
        _ if is_secret(name) => HIDDEN.into(),
        Value::String(text) => without_passwords(text).into(),
        _ => value.clone(),
    }
}

/// `redis://user:password@host` without its password; a text may have several such addresses in it.
fn without_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut from = 0;
    for password in passwords(text) {
        shown.push_str(text.get(from..password.start).unwrap_or_default());
        shown.push_str(HIDDEN);
        from = password.end;
    }
    shown.push_str(text.get(from..).unwrap_or_default());
    shown
}

/// Where the passwords of the addresses in `text` are, in order. A password is what stands between the first colon after
/// `://` and the last `@` before the path begins.
fn passwords(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (scheme, separator) in text.match_indices("://") {
        let begins = scheme + separator.len();
        let rest = text.get(begins..).unwrap_or_default();
        let authority = rest.find(['/', '?', '#']).map_or(rest, |end| {
            // Between characters, for it was found.
            rest.get(..end).unwrap_or(rest)
        });
        let user = authority.rfind('@').and_then(|at| authority.get(..at));
        if let Some((name, password)) = user.and_then(|user| user.split_once(':')) {
            let start = begins + name.len() + 1;
            found.push(start..start + password.len());
        }
    }
    found
}

/// A message of somebody who read `value` and may have repeated secrets of it.
pub(crate) fn message(message: String, name: &str, value: &Value) -> String {
    let mut secrets = Vec::new();
    collect(name, value, true, &mut secrets);
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
        .iter()
        .filter(|secret| !secret.is_empty())
        .fold(message, |message, secret| message.replace(secret, HIDDEN))
}

/// The texts in a value that [`shown`] hides.
pub(crate) fn secrets_in(value: &Value) -> Vec<String> {
    let mut secrets = Vec::new();
    collect("", value, true, &mut secrets);
    secrets
}

/// The texts that [`hidden`] hides.
fn collect(name: &str, value: &Value, alone: bool, secrets: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            for (inner, value) in entries {
                // Whatever stands in a secret table is as secret as the table.
                let name = if is_secret(name) { name } else { inner };
                collect(name, value, true, secrets);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect(name, item, false, secrets);
            }
        }
        Value::String(text) => {
            if hidden(name, value, alone) == HIDDEN {
                secrets.push(text.clone());
                // As an error quotes it.
                secrets.push(text.escape_debug().to_string());
            } else if !text.starts_with(REFERENCE) {
                let passwords = passwords(text).into_iter();
                secrets.extend(passwords.filter_map(|at| text.get(at).map(str::to_owned)));
            }
        }
        Value::Number(number) if hidden(name, value, alone) == HIDDEN => {
            secrets.push(number.to_string());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn p86_names_of_secrets_are_told_from_others() {
        for name in [
            "password",
            "db_password",
            "token",
            "apiKey",
            "api_key",
            "API-KEY",
            "private_key",
            "client_secret",
            "accessToken",
            "passwords",
            "Token",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "key",
            "primary_key",
            "tokenizer",
            "monkey",
            "secretary",
            "address",
            "pass",
            "keys",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn p86_secrets_are_hidden_wherever_they_are_and_references_shown() {
        let value = json!({
            "url": "redis://me:hunter2@db/0", "plain": "http://db/a:b@c", "password": "hunter2",
            "token": "secret://file/t", "max_tokens": 5, "pin_token": 1234, "flag_secret": true,
            "list": [{"api_key": "k"}], "secret": {"a": "b"},
        });
        let expected = json!({
            "url": "redis://me:***@db/0", "plain": "http://db/a:b@c", "password": "***",
            "token": "secret://file/t", "max_tokens": 5, "pin_token": "***", "flag_secret": true,
            "list": [{"api_key": "***"}], "secret": "***",
        });
        assert_eq!(shown("x", &value), expected);
    }

    #[test]
    fn p86_every_password_in_a_text_is_hidden_and_known_as_it_is() {
        for (text, expected, known) in [
            (
                "redis://me:a@h1,redis://me:secondsecond2@h2",
                "redis://me:***@h1,redis://me:***@h2",
                &["a", "secondsecond2"][..],
            ),
            ("redis://u:pw@h/0?x=a@b", "redis://u:***@h/0?x=a@b", &["pw"]),
            (
                "see http://h/a and amqp://u:p@w:x@h#f",
                "see http://h/a and amqp://u:***@h#f",
                &["p@w:x"],
            ),
            ("redis://:pw@h", "redis://:***@h", &["pw"]),
            ("http://user@h:80/://", "http://user@h:80/://", &[]),
            ("a:b@c", "a:b@c", &[]),
        ] {
            let value = json!({ "url": text });
            assert_eq!(shown("x", &value), json!({ "url": expected }));
            assert_eq!(secrets_in(&value), known, "{text}");
        }
    }

    #[test]
    fn p86_numbers_in_a_list_of_secrets_are_secrets() {
        let value = json!({"passwords": [12_345_678], "max_tokens": 5, "pins": [1]});
        let expected = json!({"passwords": ["***"], "max_tokens": 5, "pins": [1]});
        assert_eq!(shown("x", &value), expected);
        assert_eq!(secrets_in(&value), ["12345678"]);
    }

    #[test]
    fn p86_a_message_that_repeats_a_secret_loses_it() {
        let value =
            json!({"password": "hun\"ter2", "url": "redis://me:geheim@db", "pin_token": 77});
        let said = "expected u64, found \"hun\\\"ter2\" and 77 in redis://me:geheim@db".to_owned();
        assert_eq!(
            message(said, "x", &value),
            "expected u64, found \"***\" and *** in redis://me:***@db"
        );
    }
}
