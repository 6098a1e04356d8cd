//! Bytes in JSON: as text where they are text, else as base64 (standard alphabet, padded; RFC 4648 section 4).

use oneiric_lifecycle::Payload;
use serde_json::Value;

use crate::api::Encoding;

/// Gives a payload its JSON form and says which it is.
pub(crate) fn payload(payload: Payload) -> (Encoding, Value) {
    match payload {
        Payload::Json(value) => (Encoding::Json, value),
        Payload::Bytes(bytes) => match std::str::from_utf8(&bytes) {
            Ok(text) => (Encoding::Text, text.into()),
            Err(_) => (Encoding::Base64, base64(&bytes).into()),
        },
        // The type may grow; a form that has no JSON yet must not end the process.
        other => (Encoding::Text, format!("{other:?}").into()),
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit =
        |group: u32, place: usize| char::from(ALPHABET[(group >> (18 - 6 * place)) as usize & 63]);
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            text.push(if place <= chunk.len() {
                digit(group, place)
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_the_rfc_hold() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, encoded) in vectors {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn bytes_that_are_text_stay_readable() {
        let bytes =
            |bytes: &'static [u8]| payload(Payload::Bytes(bytes::Bytes::from_static(bytes)));
        assert_eq!(bytes(b"caf\xc3\xa9"), (Encoding::Text, "café".into()));
        assert_eq!(bytes(b"\xff"), (Encoding::Base64, "/w==".into()));
    }
}
