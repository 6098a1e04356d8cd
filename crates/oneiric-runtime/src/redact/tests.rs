//! Properties of the search, and the forms it knows.

use std::io::Write as _;

use super::{known::FORMER, *};

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
fn only_what_left_takes_a_place_among_those_that_were_exchanged() {
    let redactor = knowing(&["first-value"]);
    redactor.protect("test", vec![Secret::new("second-value".to_owned())]);
    // More that stay than there are places.
    let settings = |number: u64| -> Vec<Secret> {
        let stays = (0..70).map(|number| format!("it stays {number}"));
        let texts = stays.chain([format!("of settings {number}")]);
        texts.map(Secret::new).collect()
    };
    let builds = || redactor.inner.builds.load(Ordering::Relaxed);
    redactor.protect("settings", settings(2));
    let before = builds();
    for _ in 0..=FORMER {
        redactor.protect("settings", settings(2));
    }
    assert_eq!(builds(), before, "the same again is nothing to compile");
    for number in 3..=u64::try_from(FORMER).unwrap() {
        redactor.protect("settings", settings(number));
    }
    assert_eq!(redactor.redact("first-value"), "[redacted]");
    for number in 100..102 {
        redactor.protect("settings", settings(number));
    }
    assert!(matches!(redactor.redact("first-value"), Cow::Borrowed(_)));
    assert_eq!(redactor.redact("it stays 1"), "[redacted]");
}

/// A private key as it stands in a file, of about 1.7 KB; each is another one.
fn pem(number: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = number + 1;
    let mut text = String::from("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n");
    for place in 1..=26 * 64_usize {
        // Knuth's generator: what counts is that no two are alike.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.push(char::from(LETTERS[usize::try_from(state >> 58).unwrap()]));
        if place % 64 == 0 {
            text.push('\n');
        }
    }
    text + "-----END PRIVATE KEY-----\n"
}

#[test]
fn what_two_hundred_keys_cost_goes_by_their_lines_and_not_by_their_length() {
    let keys: Vec<String> = (0..200).map(pem).collect();
    let redactor = Redactor::new();
    let secrets = keys.iter().map(|key| Secret::new(key.clone()));
    redactor.protect("keys", secrets.collect());
    let search = redactor.inner.search.load_full().unwrap();
    let (forms, bytes) = search.size();
    // Its lines, and about twenty forms of the whole.
    assert!(forms <= 200 * (27 + 20), "{forms}");
    assert!(bytes <= forms * 8, "{bytes} for {forms} forms");
    for key in keys.iter().step_by(40) {
        let line = key.lines().nth(7).unwrap();
        for (shown, expected) in [
            (format!("key {key}."), "key [redacted]."),
            (format!("at {line}!"), "at [redacted]!"),
            (Value::from(key.as_str()).to_string(), "\"[redacted]\""),
        ] {
            assert_eq!(redactor.redact(&shown), expected);
        }
    }
    let other = pem(200);
    let covered = redactor.redact(&other);
    // What all keys have in common is covered, and nothing else.
    let lines = other.lines().skip(2).take(26);
    for line in lines {
        assert!(covered.contains(line), "{line}");
    }
}

#[test]
fn those_who_wait_share_one_compilation_and_a_log_line_waits_for_none() {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (open, opened) = std::sync::mpsc::channel::<()>();
    tokio.block_on(async {
        // Nothing can be compiled until the only thread for such work is free.
        let occupied = tokio::task::spawn_blocking(move || opened.recv());
        let redactor = Redactor::new();
        let covering: Vec<_> = (0..200)
            .map(|number| {
                let redactor = redactor.clone();
                tokio::spawn(async move {
                    let value = format!("value number {number}");
                    let secret = vec![Secret::new(value.clone())];
                    redactor.cover(number.to_string(), secret).await.unwrap();
                    assert_eq!(redactor.redact(&value), "[redacted]");
                })
            })
            .collect();
        while redactor.inner.known().owners() < 200 {
            tokio::task::yield_now().await;
        }
        assert!(covering.iter().all(|one| !one.is_finished()));
        assert_eq!(redactor.redact("value number 7"), "value number 7");
        open.send(()).unwrap();
        occupied.await.unwrap().unwrap();
        for one in covering {
            one.await.unwrap();
        }
        assert_eq!(redactor.inner.builds.load(Ordering::Relaxed), 1);
    });
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

    /// Every place of every form, one form after the other.
    fn plainly(secrets: &[&str], text: &str) -> String {
        let mut covered = vec![false; text.len()];
        for secret in secrets {
            let forms = forms::Forms::of(Secret::new((*secret).to_owned()));
            for form in forms.all() {
                for at in 0..text.len() {
                    if text.as_bytes()[at..].starts_with(form.as_bytes()) {
                        covered[at..at + form.len()].fill(true);
                    }
                }
            }
        }
        text.char_indices()
            .filter(|(at, _)| !covered[*at])
            .map(|(_, char)| char)
            .collect()
    }

    proptest! {
        #[test]
        fn p86_what_is_found_by_windows_is_what_a_plain_search_finds(
            secrets in proptest::collection::vec(text(4..40), 1..6),
            pieces in proptest::collection::vec((text(0..12), any::<prop::sample::Index>(), any::<bool>()), 1..8),
        ) {
            let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
            let redactor = knowing(&secrets);
            let input: String = pieces
                .iter()
                .map(|(between, at, json)| {
                    let secret = secrets[at.index(secrets.len())];
                    let form = if *json { Value::from(secret).to_string() } else { secret.to_owned() };
                    format!("{between}{form}")
                })
                .collect();
            let left = redactor.redact(&input).replace(MARK, "");
            prop_assert_eq!(left, plainly(&secrets, &input), "{:?}", input);
        }

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
