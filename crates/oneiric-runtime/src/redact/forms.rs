//! The forms in which a secret turns up: as it is, escaped (JSON, `Debug`, percent), line by line, and in base64 at
//! each of the three places it can have in a longer text, as in an `Authorization: Basic` header.

use std::fmt::Write as _;

use zeroize::Zeroizing;

/// Lines of a secret that are this long are secrets themselves, in bytes.
const MIN_LINE: usize = 8;
/// The shortest form that is searched for, in bytes.
const MIN_FORM: usize = 4;
/// Of a secret longer than this only the plain and the JSON form are searched for, so that the automaton stays small.
const MAX_ENCODED: usize = 4 * 1024;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Adds every form of `secret` to `patterns`, each once.
pub(super) fn of(secret: &str, patterns: &mut Vec<Zeroizing<String>>) {
    let mut forms: Vec<Zeroizing<String>> = Vec::new();
    let mut texts: Vec<&str> = vec![secret];
    if secret.contains('\n') {
        texts.extend(
            secret
                .lines()
                .map(str::trim)
                .filter(|line| line.len() >= MIN_LINE),
        );
    }
    for text in texts {
        forms.push(Zeroizing::new(text.to_owned()));
        for escaped in [json(text), debug(text)] {
            // A JSON document may itself be quoted in one.
            forms.push(json(&escaped));
            forms.push(debug(&escaped));
            forms.push(escaped);
        }
    }
    if secret.len() <= MAX_ENCODED {
        forms.push(Zeroizing::new(secret.as_bytes().escape_ascii().to_string()));
        for hex in [PercentHex::Upper, PercentHex::Lower] {
            forms.push(percent(secret, hex, "-._~", "%20"));
            // As `encodeURIComponent` does, and as forms are encoded.
            forms.push(percent(secret, hex, "-._~!'()*", "%20"));
            forms.push(percent(secret, hex, "-._*", "+"));
        }
        for alphabet in [STANDARD, URL_SAFE] {
            for offset in 0..3 {
                forms.push(base64_inside(secret.as_bytes(), offset, alphabet));
            }
        }
    }
    forms.retain(|form| form.len() >= MIN_FORM);
    forms.sort_unstable_by(|left, right| left.as_str().cmp(right.as_str()));
    forms.dedup_by(|left, right| left.as_str() == right.as_str());
    patterns.append(&mut forms);
}

fn json(text: &str) -> Zeroizing<String> {
    let quoted = Zeroizing::new(serde_json::Value::from(text).to_string());
    inside_quotes(&quoted)
}

fn debug(text: &str) -> Zeroizing<String> {
    let quoted = Zeroizing::new(format!("{text:?}"));
    inside_quotes(&quoted)
}

fn inside_quotes(quoted: &str) -> Zeroizing<String> {
    let inside = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    Zeroizing::new(inside.unwrap_or(quoted).to_owned())
}

#[derive(Clone, Copy)]
enum PercentHex {
    Upper,
    Lower,
}

fn percent(text: &str, hex: PercentHex, plain: &str, space: &str) -> Zeroizing<String> {
    let mut encoded = Zeroizing::new(String::with_capacity(3 * text.len()));
    for byte in text.bytes() {
        // Writing to a string cannot fail.
        let _written = match (byte, hex) {
            (b' ', _) => encoded.write_str(space),
            _ if byte.is_ascii_alphanumeric() || plain.as_bytes().contains(&byte) => {
                encoded.write_char(char::from(byte))
            }
            (_, PercentHex::Upper) => write!(encoded, "%{byte:02X}"),
            (_, PercentHex::Lower) => write!(encoded, "%{byte:02x}"),
        };
    }
    encoded
}

/// The base64 characters that stand for `bytes` alone when `offset` bytes (modulo 3) come before them and anything
/// after.
fn base64_inside(bytes: &[u8], offset: usize, alphabet: &[u8; 64]) -> Zeroizing<String> {
    let bit = |place: usize| {
        let byte = bytes.get(place / 8).copied().unwrap_or(0);
        usize::from(byte >> (7 - place % 8) & 1)
    };
    // The first character that begins inside the secret, and the bits of it that ends there.
    let skipped = (6 - offset * 8 % 6) % 6;
    let characters = (bytes.len() * 8).saturating_sub(skipped) / 6;
    let mut encoded = Zeroizing::new(String::with_capacity(characters));
    for character in 0..characters {
        let from = skipped + character * 6;
        let value = (from..from + 6).fold(0, |value, place| value << 1 | bit(place));
        encoded.push(char::from(alphabet[value]));
    }
    encoded
}
