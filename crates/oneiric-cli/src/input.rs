//! The input of `call`: what people type at a shell, as JSON. Quoting JSON for a shell is tedious,
//! so words of the form `name=text` and `name:=json` make an object.

use std::io::Read;

use oneiric_core::ErrorKind;
use serde_json::{Map, Value};

use crate::failure::Failure;

/// The most that is read from stdin, in bytes: what the admin API takes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads the words after the operation.
pub(crate) fn read(words: &[String], stdin: &mut dyn Read) -> Result<Option<Value>, Failure> {
    match words {
        [] => Ok(None),
        [dash] if dash == "-" => from_stdin(stdin).map(Some),
        [one] => match serde_json::from_str(one) {
            Ok(value) => Ok(Some(value)),
            Err(error) => match pair(one) {
                Some(_) => object(words).map(Some),
                None => Err(not_json(one, &error)),
            },
        },
        _ => object(words).map(Some),
    }
}

fn from_stdin(stdin: &mut dyn Read) -> Result<Value, Failure> {
    let mut text = String::new();
    let read = stdin.take(MAX_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| invalid(format!("stdin cannot be read: {error}")))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(invalid(format!("stdin is longer than {MAX_BYTES} bytes")));
    }
    serde_json::from_str(&text).map_err(|error| invalid(format!("stdin is not JSON: {error}")))
}

/// One word as a member of an object.
struct Pair<'a> {
    name: &'a str,
    text: &'a str,
    is_json: bool,
}

fn pair(word: &str) -> Option<Pair<'_>> {
    let (name, text) = word.split_once('=')?;
    let (name, is_json) = name
        .strip_suffix(':')
        .map_or((name, false), |name| (name, true));
    let mut letters = name.chars();
    let begins = letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    let goes_on = letters.all(|letter| letter.is_ascii_alphanumeric() || "_-.".contains(letter));
    (begins && goes_on).then_some(Pair {
        name,
        text,
        is_json,
    })
}

fn object(words: &[String]) -> Result<Value, Failure> {
    let mut object = Map::new();
    for word in words {
        let Some(Pair {
            name,
            text,
            is_json,
        }) = pair(word)
        else {
            return Err(
                invalid(format!("`{word}` is neither NAME=TEXT nor NAME:=JSON"))
                    .hint("one JSON value in quotes, or words such as key=greeting ttl_ms:=60000"),
            );
        };
        let value = if is_json {
            serde_json::from_str(text)
                .map_err(|error| invalid(format!("`{text}` in `{word}` is not JSON: {error}")))?
        } else {
            Value::String(text.to_owned())
        };
        if object.insert(name.to_owned(), value).is_some() {
            return Err(invalid(format!("`{name}` is given twice")));
        }
    }
    Ok(Value::Object(object))
}

/// The usual mistake is a bare word, so the hint shows that very word as it must be quoted.
fn not_json(word: &str, error: &serde_json::Error) -> Failure {
    let looks_like_json = word.trim_start().starts_with(['{', '[', '"']);
    let failure = invalid(format!("the input is not JSON: {error}"));
    if looks_like_json || word.contains('\'') {
        failure.hint("JSON in single quotes, or words such as key=greeting ttl_ms:=60000")
    } else {
        failure.hint(format!(
            "text is quoted twice: '{}'",
            Value::String(word.to_owned())
        ))
    }
}

fn invalid(message: String) -> Failure {
    Failure::new("cli.invalid_input", ErrorKind::Usage, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(words: &[&str]) -> Result<Option<Value>, Failure> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        read(&words, &mut r#"{"from": "stdin"}"#.as_bytes())
    }

    #[test]
    fn input_may_be_nothing_json_words_or_stdin() {
        assert_eq!(words(&[]).unwrap(), None);
        assert_eq!(words(&["\"a\""]).unwrap(), Some(json!("a")));
        assert_eq!(words(&["7"]).unwrap(), Some(json!(7)));
        assert_eq!(words(&["null"]).unwrap(), Some(Value::Null));
        assert_eq!(words(&["key=a"]).unwrap(), Some(json!({"key": "a"})));
        let mixed = words(&["key=a", "value=1", "ttl_ms:=1000", "empty=", "url=a=b"]).unwrap();
        let expected = json!({"key": "a", "value": "1", "ttl_ms": 1000, "empty": "", "url": "a=b"});
        assert_eq!(mixed, Some(expected));
        assert_eq!(words(&["-"]).unwrap(), Some(json!({"from": "stdin"})));
    }

    #[test]
    fn a_bare_word_is_answered_with_how_to_quote_it() {
        let failure = words(&["greeting"]).unwrap_err();
        assert_eq!(failure.code, "cli.invalid_input");
        assert_eq!(
            failure.hint.as_deref(),
            Some("text is quoted twice: '\"greeting\"'")
        );
        assert_eq!(failure.kind, ErrorKind::Usage);
    }

    #[test]
    fn wrong_words_are_refused_by_name() {
        for (given, expected) in [
            (&["a=1", "b"][..], "`b` is neither"),
            (&["a=1", "a=2"], "`a` is given twice"),
            (&["a:=x"], "`x` in `a:=x` is not JSON"),
            (&["{\"a\": }"], "the input is not JSON"),
            (&["=x"], "the input is not JSON"),
            (&["1", "2"], "`1` is neither"),
        ] {
            let failure = words(given).unwrap_err();
            assert_eq!(failure.code, "cli.invalid_input");
            assert!(
                failure.message.contains(expected),
                "{given:?}: {}",
                failure.message
            );
        }
    }

    #[test]
    fn stdin_is_bounded_and_checked() {
        let dash = ["-".to_owned()];
        let long = read(&dash, &mut std::io::repeat(b'1')).unwrap_err();
        assert!(
            long.message.contains("longer than 1048576 bytes"),
            "{}",
            long.message
        );
        let broken = read(&dash, &mut "{".as_bytes()).unwrap_err();
        assert!(
            broken.message.contains("stdin is not JSON"),
            "{}",
            broken.message
        );
    }
}
