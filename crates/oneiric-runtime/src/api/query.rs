//! Query strings: percent-encoding and its way back. Small and strict, because both ends are ours: a `+` is a plus, a
//! broken escape is an error, and text that is not UTF-8 is refused.

use std::fmt::Write;

/// Appends `key=value` to a query string, escaped.
pub fn push(query: &mut String, key: &str, value: &str) {
    query.push(if query.is_empty() { '?' } else { '&' });
    query.push_str(key);
    query.push('=');
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            query.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _infallible = write!(query, "%{byte:02X}");
        }
    }
}

/// Splits a query string into its pairs; `None` when an escape is broken or the text is not UTF-8.
#[must_use]
pub fn pairs(query: &str) -> Option<Vec<(String, String)>> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((unescape(key)?, unescape(value)?))
        })
        .collect()
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let value = digit(rest.next())? * 16 + digit(rest.next())?;
            bytes.push(u8::try_from(value).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_what_is_read() {
        let mut query = String::new();
        let values = [
            ("slot", "adapter/cache"),
            ("what_if", "priority:a=-7"),
            ("x", "a&b=%+ é\n#?"),
        ];
        for (key, value) in values {
            push(&mut query, key, value);
        }
        let read = pairs(query.strip_prefix('?').unwrap()).unwrap();
        let expected = values.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(read, expected);
    }

    #[test]
    fn broken_escapes_are_refused() {
        for query in ["a=%", "a=%4", "a=%zz", "a=%ff", "%c3=x"] {
            assert_eq!(pairs(query), None, "{query}");
        }
        assert_eq!(pairs("a&b=").unwrap().len(), 2);
    }
}
