//! The facet of clocks: the smallest service there can be.
//!
//! Programs that decide by wall-clock time (expiry, schedules) ask a slot for it, so that an operator
//! can see and exchange what they go by, and a test can hold it still.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oneiric_core::{BoxFuture, rfc3339};
use oneiric_lifecycle::{CallError, FacetProxy, Instance, Invoke, Live, Operation, Payload};
use serde::{Deserialize, Serialize};

use crate::live::follow;

/// Tells what time it is.
pub trait Clock: Send + Sync {
    /// The time now. Cancel-safe.
    ///
    /// # Errors
    /// What keeps the clock from telling, in the component's words.
    fn now(&self) -> BoxFuture<'_, Result<SystemTime, CallError>>;
}

fn _clock_is_dyn_safe(_: &dyn Clock) {}

/// An instance that serves `clock` both ways: as `dyn Clock`, and by the operation `now`. Add its
/// probe to it.
pub fn clock_instance(clock: Arc<impl Clock + 'static>) -> Instance {
    Instance::new(Arc::new(ClockInvoke::new(Arc::clone(&clock)))).facet::<dyn Clock>(clock)
}

/// Gives `dyn Clock` to every instance that only answers `now` by name.
pub fn clock_proxy() -> FacetProxy {
    FacetProxy::new::<dyn Clock>(["now"], |invoke| Arc::new(ClockProxy::new(invoke)))
}

/// Answers `now` for anything that is a [`Clock`].
///
/// | operation | takes | gives |
/// |---|---|---|
/// | `now` | nothing | `{"unix_ms": 0, "rfc3339": "1970-01-01T00:00:00.000Z"}` |
pub struct ClockInvoke<C: ?Sized> {
    clock: Arc<C>,
}

impl<C: Clock + ?Sized> ClockInvoke<C> {
    /// The operations of `clock`.
    pub const fn new(clock: Arc<C>) -> Self {
        Self { clock }
    }
}

/// What `now` gives. Years beyond 9999, and before 0, have no RFC 3339 text.
#[derive(Serialize)]
struct Now {
    unix_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rfc3339: Option<String>,
}

impl<C: Clock + ?Sized> Invoke for ClockInvoke<C> {
    fn invoke<'a>(
        &'a self,
        operation: &'a str,
        _input: Payload,
    ) -> BoxFuture<'a, Result<Payload, CallError>> {
        Box::pin(async move {
            match operation {
                "now" => {
                    let unix_ms = to_unix_ms(self.clock.now().await?);
                    Payload::json(&Now {
                        unix_ms,
                        rfc3339: rfc3339::format(unix_ms),
                    })
                }
                _ => Err(CallError::unknown_operation(operation, self)),
            }
        })
    }

    fn operations(&self) -> Vec<Operation> {
        let now = r#"-> {"unix_ms": 0, "rfc3339": "1970-01-01T00:00:00.000Z"}"#;
        vec![Operation::new("now", now)]
    }
}

impl<C: ?Sized> fmt::Debug for ClockInvoke<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClockInvoke").finish_non_exhaustive()
    }
}

/// A [`Clock`] over a component that answers `now`, to the millisecond.
pub struct ClockProxy {
    invoke: Arc<dyn Invoke>,
}

impl ClockProxy {
    /// The clock that answers through `invoke`.
    pub const fn new(invoke: Arc<dyn Invoke>) -> Self {
        Self { invoke }
    }
}

impl Clock for ClockProxy {
    fn now(&self) -> BoxFuture<'_, Result<SystemTime, CallError>> {
        /// `unix_ms` alone decides; a component may say more.
        #[derive(Deserialize)]
        struct Told {
            unix_ms: i64,
        }
        Box::pin(async move {
            let Told { unix_ms } = self.invoke.invoke("now", Payload::empty()).await?.parse()?;
            from_unix_ms(unix_ms).ok_or_else(|| CallError::InvalidPayload {
                message: format!("unix_ms: {unix_ms} is no time of this machine"),
            })
        })
    }
}

impl fmt::Debug for ClockProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClockProxy").finish_non_exhaustive()
    }
}

/// A clock that follows the slot's swaps.
impl Clock for Live<dyn Clock> {
    fn now(&self) -> BoxFuture<'_, Result<SystemTime, CallError>> {
        Box::pin(follow(self, move |clock| async move { clock.now().await }))
    }
}

/// Whole milliseconds since 1970, towards the past; times beyond 64 bits stop at their ends.
fn to_unix_ms(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => {
            let millis = before.duration().as_nanos().div_ceil(1_000_000);
            i64::try_from(millis).map_or(i64::MIN, |millis| -millis)
        }
    }
}

fn from_unix_ms(unix_ms: i64) -> Option<SystemTime> {
    let distance = Duration::from_millis(unix_ms.unsigned_abs());
    if unix_ms >= 0 {
        UNIX_EPOCH.checked_add(distance)
    } else {
        UNIX_EPOCH.checked_sub(distance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_go_there_and_back_on_both_sides_of_1970() {
        for unix_ms in [0, 1, -1, 1_763_815_118_123, -62_135_596_800_000] {
            assert_eq!(to_unix_ms(from_unix_ms(unix_ms).unwrap()), unix_ms);
        }
    }

    #[test]
    fn a_part_of_a_millisecond_is_cut_towards_the_past() {
        assert_eq!(to_unix_ms(UNIX_EPOCH + Duration::from_micros(1_999)), 1);
        assert_eq!(to_unix_ms(UNIX_EPOCH - Duration::from_micros(1)), -1);
    }
}
