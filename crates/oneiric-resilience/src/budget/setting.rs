//! A retry budget in settings: its own settings, or the word `none`. There is one unless it is said that
//! there is none, and a file has no other word for that: not `null`, which some read as "as if left out".

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

use super::RetryBudgetConfig;

const NONE: &str = "none";

pub(crate) fn serialize<S: Serializer>(
    budget: &Option<RetryBudgetConfig>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match budget {
        Some(budget) => budget.serialize(serializer),
        None => serializer.serialize_str(NONE),
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<RetryBudgetConfig>, D::Error> {
    deserializer.deserialize_any(Setting)
}

struct Setting;

impl<'de> Visitor<'de> for Setting {
    type Value = Option<RetryBudgetConfig>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings of a retry budget, or \"none\"")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Self::Value, E> {
        match word {
            NONE => Ok(None),
            other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        self.visit_unit()
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Err(E::custom("for no retry budget write \"none\""))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        RetryBudgetConfig::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use super::*;
    use crate::RetryConfig;

    fn read(text: &str) -> Result<Option<RetryBudgetConfig>, String> {
        let config: Result<RetryConfig, _> = toml::from_str(text);
        config
            .map(|config| config.budget)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn there_is_one_unless_it_is_said_that_there_is_none() {
        let default = RetryBudgetConfig::default();
        assert_eq!(read(""), Ok(Some(default)));
        assert_eq!(read("budget = {}"), Ok(Some(default)));
        let capacity = RetryBudgetConfig {
            capacity: 7,
            ..default
        };
        assert_eq!(read("budget = { capacity = 7 }"), Ok(Some(capacity)));
        assert_eq!(read("budget = \"none\""), Ok(None));
        for wrong in ["budget = \"no\"", "budget = 7", "budget = false"] {
            let message = read(wrong).expect_err(wrong);
            let expected = "expected the settings of a retry budget, or \"none\"";
            assert!(message.contains(expected), "{message}");
        }
        let typo = read("budget = { burst = 1 }").expect_err("a typo");
        assert!(typo.contains("unknown field `burst`"), "{typo}");
    }

    #[test]
    fn who_writes_null_is_told_what_to_write() {
        let read = serde_json::from_str::<RetryConfig>(r#"{"budget": null}"#);
        let message = read.expect_err("null").to_string();
        let expected = "for no retry budget write \"none\"";
        assert!(message.starts_with(expected), "{message}");
    }

    #[test]
    fn what_is_written_is_read_again() {
        for budget in [None, Some(RetryBudgetConfig::default())] {
            let config = RetryConfig {
                budget,
                ..RetryConfig::default()
            };
            let json = serde_json::to_string(&config).expect("settings");
            assert_eq!(
                serde_json::from_str::<RetryConfig>(&json).ok(),
                Some(config)
            );
        }
    }
}
