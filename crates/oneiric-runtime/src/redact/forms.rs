//! The forms in which a secret turns up: as it is, escaped (JSON, `Debug`, percent), line by line, and in base64 at
//! each of the three places it can have in a longer text, as in an `Authorization: Basic` header.
//!
//! They are made once for each value, when it is searched for the first time.

use std::{fmt::Write as _, sync::OnceLock};

use oneiric_domains::Secret;
use zeroize::Zeroizing;

use super::MIN_REDACTED_BYTES;

/// Lines of a secret that are this long are secrets themselves, in bytes.
const MIN_LINE: usize = 8;
/// Of more lines than this only the first are searched for by themselves. As many as a chain of certificates of the
/// longest secret there may be has.
const MAX_LINES: usize = 1_024;
/// The shortest form that is searched for, in bytes.
const MIN_FORM: usize = 4;
/// Of a secret longer than this only the plain and the JSON form are searched for, so that they do not fill the memory.
const MAX_ENCODED: usize = 4 * 1024;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A value and every form of it.
pub(super) struct Forms {
    pub(super) secret: Secret,
    made: OnceLock<Vec<Zeroizing<String>>>,
}

impl Forms {
    pub(super) const fn of(secret: Secret) -> Self {
        Self {
            secret,
            made: OnceLock::new(),
        }
    }

    /// The forms, each once; none of what is too short to be searched for. The first call takes its time.
    pub(super) fn all(&self) -> &[Zeroizing<String>] {
        self.made.get_or_init(|| {
            let secret = self.secret.expose();
            if secret.len() < MIN_REDACTED_BYTES {
                Vec::new()
            } else {
                make(secret)
            }
        })
    }
}

fn make(secret: &str) -> Vec<Zeroizing<String>> {
    let mut forms: Vec<Zeroizing<String>> = Vec::new();
    let lines = secret.contains('\n').then(|| {
        let lines = secret.lines().map(str::trim);
        lines.filter(|line| line.len() >= MIN_LINE).take(MAX_LINES)
    });
    for text in std::iter::once(secret).chain(lines.into_iter().flatten()) {
        forms.push(Zeroizing::new(text.to_owned()));
        if !is_escaped(text) {
            continue;
        }
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
    forms
}

/// Whether JSON or `Debug` may write `text` otherwise than it is.
fn is_escaped(text: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    !text.bytes().all(plain)
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
