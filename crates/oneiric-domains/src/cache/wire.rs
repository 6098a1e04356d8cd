//! The JSON of a cache's operations.
//!
//! Made for people at a shell: a key may stand by itself, text is text, and only bytes that are no
//! text become `{"base64": "..."}`. What is sent by a proxy is the same JSON, so that there is one
//! form to document and to test. A stored text that looks like that object stays a text, so every
//! value has exactly one form.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use crate::base64;

/// What `get` and `delete` take: `"a"` or `{"key": "a"}`.
#[derive(Debug, PartialEq)]
pub(super) struct KeyInput(pub(super) String);

/// What `put` takes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PutInput {
    pub(super) key: String,
    pub(super) value: CachedValue,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ttl_ms: Option<Millis>,
}

/// A value: text as such, anything else as `{"base64": "..."}`.
#[derive(Debug, PartialEq)]
pub(super) struct CachedValue(pub(super) Bytes);

/// Milliseconds; a shell that makes text of everything may send them as text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Millis(u64);

impl Millis {
    /// A part of a millisecond counts as a whole one: a value must not go before its time.
    pub(super) fn from_duration(duration: Duration) -> Self {
        let millis = duration.as_nanos().div_ceil(1_000_000);
        Self(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    pub(super) const fn to_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl<'de> Deserialize<'de> for KeyInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Named {
            key: String,
        }
        struct Input;
        impl<'de> Visitor<'de> for Input {
            type Value = KeyInput;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a key, as "a" or {"key": "a"}"#)
            }

            fn visit_str<E: de::Error>(self, key: &str) -> Result<KeyInput, E> {
                Ok(KeyInput(key.to_owned()))
            }

            fn visit_string<E: de::Error>(self, key: String) -> Result<KeyInput, E> {
                Ok(KeyInput(key))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<KeyInput, A::Error> {
                Named::deserialize(MapAccessDeserializer::new(map)).map(|named| KeyInput(named.key))
            }
        }
        deserializer.deserialize_any(Input)
    }
}

impl Serialize for CachedValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Ok(text) = std::str::from_utf8(&self.0) {
            return serializer.serialize_str(text);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("base64", &base64::encode(&self.0))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for CachedValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Encoded {
            base64: String,
        }
        struct Input;
        impl<'de> Visitor<'de> for Input {
            type Value = CachedValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a text, or {"base64": "..."} for bytes"#)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<CachedValue, E> {
                self.visit_string(text.to_owned())
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<CachedValue, E> {
                Ok(CachedValue(text.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CachedValue, A::Error> {
                let encoded = Encoded::deserialize(MapAccessDeserializer::new(map))?.base64;
                let bytes = base64::decode(&encoded)
                    .ok_or_else(|| de::Error::custom("base64: not padded standard base64"))?;
                Ok(CachedValue(bytes.into()))
            }
        }
        deserializer.deserialize_any(Input)
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Input;
        impl Visitor<'_> for Input {
            type Value = Millis;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of milliseconds, 0 or more")
            }

            fn visit_u64<E: de::Error>(self, millis: u64) -> Result<Millis, E> {
                Ok(Millis(millis))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Millis, E> {
                let invalid = |_| E::invalid_value(de::Unexpected::Str(text), &self);
                text.parse().map(Millis).map_err(invalid)
            }
        }
        deserializer.deserialize_any(Input)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_stands_by_itself_or_by_name() {
        for input in [json!("a"), json!({"key": "a"})] {
            assert_eq!(
                serde_json::from_value::<KeyInput>(input).unwrap(),
                KeyInput("a".into())
            );
        }
    }

    #[test]
    fn what_is_no_key_is_told_what_one_looks_like() {
        let error = serde_json::from_value::<KeyInput>(json!(1))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(r#"expected a key, as "a" or {"key": "a"}"#),
            "{error}"
        );
        let error = serde_json::from_value::<KeyInput>(json!({"kye": "a"})).unwrap_err();
        assert!(error.to_string().contains("unknown field `kye`"), "{error}");
    }

    #[test]
    fn text_is_text_and_other_bytes_are_base64() {
        let json = |bytes: &'static [u8]| {
            serde_json::to_value(CachedValue(Bytes::from_static(bytes))).unwrap()
        };
        assert_eq!(json(b"1"), json!("1"));
        assert_eq!(json("grüß".as_bytes()), json!("grüß"));
        assert_eq!(json(&[0xff, 0x00]), json!({"base64": "/wA="}));
        // Looks like bytes and is text.
        assert_eq!(
            json(br#"{"base64": "/wA="}"#),
            json!(r#"{"base64": "/wA="}"#)
        );
    }

    #[test]
    fn wrong_values_are_refused_with_a_reason() {
        for (value, reason) in [
            (json!(1), "a text, or"),
            (json!(null), "a text, or"),
            (json!({"base64": "?"}), "not padded standard base64"),
            (json!({"base64": "", "more": 1}), "unknown field `more`"),
            (json!({}), "missing field `base64`"),
        ] {
            let error = serde_json::from_value::<CachedValue>(value)
                .unwrap_err()
                .to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_time_to_live_may_be_number_or_text_and_nothing_else() {
        let read = serde_json::from_value::<Millis>;
        assert_eq!(read(json!(1500)).unwrap(), read(json!("1500")).unwrap());
        for bad in [json!(-1), json!(1.5), json!("soon"), json!(true)] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains("whole number of milliseconds"), "{error}");
        }
    }

    #[test]
    fn a_part_of_a_millisecond_is_rounded_up_and_for_ever_stays_for_ever() {
        assert_eq!(Millis::from_duration(Duration::from_nanos(1)), Millis(1));
        assert_eq!(Millis::from_duration(Duration::from_millis(3)), Millis(3));
        assert_eq!(Millis::from_duration(Duration::ZERO), Millis(0));
        assert_eq!(Millis::from_duration(Duration::MAX), Millis(u64::MAX));
    }
}
