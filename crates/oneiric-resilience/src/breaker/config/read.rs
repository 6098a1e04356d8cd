//! How a breaker's settings are read from a file, where that is not as they are written.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::BreakerWindow;
use crate::{BackoffConfig, BackoffJitter, BackoffStrategy};

/// A window: one of its three forms. Who writes anything else is told all of them.
#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "one of `{ calls = 100 }`, `{ time = { length_ms = 10000 } }`, `{ consecutive = 5 }`"
)]
pub(super) struct Window {
    calls: Option<u32>,
    time: Option<Time>,
    consecutive: Option<u32>,
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table, such as `{ length_ms = 10000 }`"
)]
struct Time {
    #[serde(rename = "length_ms", with = "crate::millis")]
    length: Duration,
    #[serde(default = "ten")]
    buckets: u32,
}

const fn ten() -> u32 {
    10
}

impl TryFrom<Window> for BreakerWindow {
    type Error = &'static str;

    fn try_from(window: Window) -> Result<Self, Self::Error> {
        let Window {
            calls,
            time,
            consecutive,
        } = window;
        match (calls, time, consecutive) {
            (Some(calls), None, None) => Ok(Self::Calls(calls)),
            (None, Some(Time { length, buckets }), None) => Ok(Self::Time { length, buckets }),
            (None, None, Some(failures)) => Ok(Self::Consecutive(failures)),
            _ => Err("a window has one of `calls`, `time`, `consecutive`, and only one"),
        }
    }
}

/// What is left out of `open` is the breaker's own default, not that of any backoff.
pub(super) fn open<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BackoffConfig, D::Error> {
    Open::deserialize(deserializer)
}

#[derive(Deserialize)]
#[serde(
    remote = "BackoffConfig",
    default = "super::open",
    deny_unknown_fields,
    expecting = "a table, such as `{ min_ms = 5000 }`"
)]
struct Open {
    strategy: BackoffStrategy,
    #[serde(rename = "min_ms", with = "crate::millis")]
    min: Duration,
    #[serde(rename = "max_ms", with = "crate::millis")]
    max: Duration,
    factor: f64,
    jitter: BackoffJitter,
}
