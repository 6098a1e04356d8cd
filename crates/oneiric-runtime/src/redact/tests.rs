//! Properties of the search, and the forms it knows.

use std::io::Write as _;

use super::*;

fn knowing(secrets: &[&str]) -> Redactor {
    let redactor = Redactor::new();
    let secrets = secrets.iter().map(|text| Secret::new((*text).to_owned()));
    redactor.protect("test", secrets.collect());
    redactor
}

#[test]
fn p86_a_secret_is_covered_in_each_of_its_forms() {
    let secret = "p\u{e4}ss \"w\u{f6}rd\"/+\\&=\u{7f}";
    let redactor = knowing(&[secret]);
    let json = Value::from(secret).to_string();
    let twice = Value::from(json.as_str()).to_string();
    for (shown, expected) in [
        (secret.to_owned(), "[redacted]"),
        (json, "\"[redacted]\""),
        (twice, "\"\\\"[redacted]\\\"\""),
        (format!("{secret:?}"), "\"[redacted]\""),
        (secret.as_bytes().escape_ascii().to_string(), "[redacted]"),
        (
            "p%C3%A4ss%20%22w%C3%B6rd%22%2F%2B%5C%26%3D%7F".to_owned(),
            "[redacted]",
        ),
        (
            "p%c3%a4ss+%22w%c3%b6rd%22%2f%2b%5c%26%3d%7f".to_owned(),
            "[redacted]",
        ),
    ] {
        assert_eq!(redactor.redact(&shown), expected, "{shown}");
    }
}

#[test]
fn p86_base64_is_covered_wherever_the_secret_stands_in_it() {
    let redactor = knowing(&["hunter2!"]);
    // `user:hunter2!`, `me:hunter2!x`, `a:hunter2!`, `hunter2!` and the same with another alphabet.
    for encoded in [
        "dXNlcjpodW50ZXIyIQ==",
        "bWU6aHVudGVyMiF4",
        "YTpodW50ZXIyIQ==",
        "aHVudGVyMiE=",
    ] {
        let shown = redactor.redact(encoded);
        assert!(shown.contains("[redacted]"), "{encoded}: {shown}");
        // At most a character at each end, which holds less than a byte of it, is left.
        assert!(
            shown.replace("[redacted]", "").len() <= encoded.len() - 9,
            "{shown}"
        );
    }
}

#[test]
fn overlapping_secrets_are_covered_as_one() {
    let redactor = knowing(&["abcdef", "defghi", "cde123"]);
    assert_eq!(redactor.redact("x abcdefghi y"), "x [redacted] y");
}

#[test]
fn a_secret_that_was_exchanged_is_covered_until_many_others_were() {
    let redactor = knowing(&["first-value"]);
    for number in 0..=FORMER {
        assert_eq!(redactor.redact("first-value"), "[redacted]", "{number}");
        let next = Secret::new(format!("value number {number}"));
        redactor.protect("test", vec![next]);
    }
    assert!(matches!(redactor.redact("first-value"), Cow::Borrowed(_)));
    assert_eq!(redactor.redact("value number 0"), "[redacted]");
}

#[test]
fn what_is_too_short_is_left() {
    assert_eq!(knowing(&["abc"]).redact("abcabc"), "abcabc");
}

#[test]
fn the_texts_of_a_document_are_covered_and_its_fields_stay() {
    let redactor = knowing(&["slot-secret", "1234"]);
    let mut document = serde_json::json!({"1234": [{"a": "x slot-secret"}, 1234, "12345"]});
    redactor.redact_json(&mut document);
    let expected = serde_json::json!({"1234": [{"a": "x [redacted]"}, 1234, "[redacted]5"]});
    assert_eq!(document, expected);
}

#[test]
fn a_line_is_written_when_it_ends_and_the_rest_on_drop() {
    let mut out = Vec::new();
    let redactor = knowing(&["hunter2"]);
    let mut writer = redactor.writer(&mut out);
    writer.write_all(b"one hun").unwrap();
    writer.write_all(b"ter2 two\nthree hunter2").unwrap();
    writer.flush().unwrap();
    assert_eq!(*writer.inner, b"one [redacted] two\n");
    drop(writer);
    assert_eq!(out, b"one [redacted] two\nthree [redacted]");
}

#[test]
fn a_line_without_end_is_passed_on_in_parts_that_tear_no_secret() {
    let mut out = Vec::new();
    let redactor = knowing(&["hunter2"]);
    let mut writer = redactor.writer(&mut out);
    for _ in 0..100_000 {
        writer.write_all("\u{e4}hunt".as_bytes()).unwrap();
        writer.write_all(b"er2 ").unwrap();
    }
    assert!(writer.waiting.len() <= 512 * 1024);
    drop(writer);
    let out = String::from_utf8(out).unwrap();
    assert_eq!(out.matches("\u{e4}[redacted] ").count(), 100_000);
    assert!(!out.contains("hunter2"));
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    /// Texts over few letters, so that beginnings and overlaps of secrets are frequent.
    fn text(length: Range<usize>) -> impl Strategy<Value = String> {
        let letter = prop_oneof![Just('a'), Just('b'), Just('\n'), Just('\u{e4}'), Just('"')];
        proptest::collection::vec(letter, length).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn p86_no_secret_comes_out_however_the_writes_are_cut(
            secrets in proptest::collection::vec(text(4..9), 1..4),
            pieces in proptest::collection::vec((text(0..6), any::<prop::sample::Index>()), 1..12),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
            let redactor = knowing(&secrets);
            let input: String = pieces
                .iter()
                .flat_map(|(between, at)| [between.as_str(), secrets[at.index(secrets.len())]])
                .collect();
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
            places.extend([0, input.len()]);
            places.sort_unstable();
            let mut out = Vec::new();
            let mut writer = redactor.writer(&mut out);
            for pair in places.windows(2) {
                writer.write_all(&input.as_bytes()[pair[0]..pair[1]]).unwrap();
                writer.flush().unwrap();
            }
            drop(writer);
            let out = String::from_utf8(out).unwrap();
            for secret in &secrets {
                prop_assert!(!out.contains(secret), "{secret:?} in {out:?} of {input:?}");
            }
            // Nothing else is lost: what is left is the input with whole secrets taken out.
            prop_assert_eq!(out, redactor.redact(&input));
        }
    }
}
