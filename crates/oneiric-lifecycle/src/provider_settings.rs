//! Where a provider's settings come from, and how long they stay in memory.
//!
//! Settings may hold secrets that somebody else keeps, so getting them can take time and can fail:
//! it is a part of building, within the same limit, and a failure of it rolls back like any other.
//! Once the factory has read them they are overwritten.
//!
//! Whoever hands them out may want to know later which instance has which. So an instance has its number before it is
//! built, whether anything comes of that or not, and the end of a number is told.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use oneiric_core::{BoxFuture, Provider, Slot};
use serde_json::Value;
use tokio::time::timeout;
use zeroize::Zeroize as _;

use crate::error::{Failure, Stage};
use crate::inner::Inner;
use crate::step::StepError;

/// Where a provider's settings come from.
///
/// A closure `Fn(&Slot, &Provider) -> Option<Value>` is one.
pub trait ProviderSettings: Send + Sync {
    /// The settings of `to`'s provider in its slot; `None` where there are none.
    ///
    /// Awaited as a part of building, within `Limits::activation`. Must be cancel-safe.
    ///
    /// # Errors
    /// [`SettingsUnavailable`]: the build fails with its code and message.
    fn settings<'a>(
        &'a self,
        to: Receiver<'a>,
    ) -> BoxFuture<'a, Result<Option<Value>, SettingsUnavailable>>;

    /// No instance has this number any more, or ever will. Must not block, nor call the lifecycle.
    fn gone(&self, instance: u64) {
        let _nobody_keeps_books = instance;
    }
}

/// Who is handed settings.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Receiver<'a> {
    /// The slot.
    pub slot: &'a Slot,
    /// Whose settings they are.
    pub provider: &'a Provider,
    /// The number of the instance, which is to be built with them or serves and is told.
    pub instance: u64,
    /// For whom it is, where its slot has an instance for each key.
    pub key: Option<&'a str>,
}

impl<F: Fn(&Slot, &Provider) -> Option<Value> + Send + Sync> ProviderSettings for F {
    fn settings<'a>(
        &'a self,
        to: Receiver<'a>,
    ) -> BoxFuture<'a, Result<Option<Value>, SettingsUnavailable>> {
        Box::pin(std::future::ready(Ok(self(to.slot, to.provider))))
    }
}

fn _provider_settings_is_dyn_safe(_: &dyn ProviderSettings) {}

/// Why a provider's settings cannot be had now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct SettingsUnavailable {
    /// The error code, `layer.reason`.
    pub code: &'static str,
    /// Which setting, and why, for the operator. Never a value.
    pub message: String,
}

impl SettingsUnavailable {
    /// With the code and the message of whoever keeps the settings.
    pub fn new(code: &'static str, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }
}

/// The number of an instance, from before it is built until it is dropped.
pub(crate) struct Numbered {
    number: u64,
    settings: Arc<dyn ProviderSettings>,
}

impl Numbered {
    /// The next one.
    pub(crate) fn next(inner: &Inner) -> Self {
        Self {
            number: inner.instances.fetch_add(1, Ordering::Relaxed) + 1,
            settings: Arc::clone(&inner.settings),
        }
    }

    pub(crate) const fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        let gone = AssertUnwindSafe(|| self.settings.gone(self.number));
        if catch_unwind(gone).is_err() {
            tracing::error!(
                instance = self.number,
                "whoever hands out settings panicked"
            );
        }
    }
}

/// The settings that `to` is to be handed, within the limit for building.
pub(crate) async fn fetch(inner: &Inner, to: Receiver<'_>) -> Result<Wiped, Failure> {
    let limit = inner.limits().activation;
    match timeout(limit, inner.settings.settings(to)).await {
        Ok(Ok(settings)) => Ok(Wiped(settings.unwrap_or(Value::Null))),
        Ok(Err(unavailable)) => Err(Failure::new(
            Stage::Build,
            unavailable.code,
            unavailable.message,
        )),
        Err(_elapsed) => Err(Failure::step(Stage::Build, limit, StepError::TimedOut)),
    }
}

/// Settings whose texts are overwritten when they are dropped.
pub(crate) struct Wiped(Value);

impl Wiped {
    pub(crate) const fn value(&self) -> &Value {
        &self.0
    }

    /// For a component, which looks after them from then on.
    pub(crate) fn hand_over(mut self) -> Value {
        self.0.take()
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Overwrites every text in `value`. Names of fields are left: they come from the settings file.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_text_is_overwritten_however_deep_it_stands() {
        let mut value = json!({"a": "one", "b": [{"c": "two"}, "three"], "d": 4, "e": null});
        wipe(&mut value);
        assert_eq!(
            value,
            json!({"a": "", "b": [{"c": ""}, ""], "d": 4, "e": null})
        );
    }
}
