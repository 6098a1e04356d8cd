//! Bounds on numbers that other people write. The core ranks any 64-bit number; what comes from manifests and
//! settings is held to a small range, so that nobody wins for ever by writing a number nobody else can top.

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::code::{Coded, ErrorKind};

/// Priorities that manifests and settings may state.
pub const PRIORITY: RangeInclusive<i64> = -1000..=1000;
/// Stack levels that manifests and settings may state.
pub const STACK_LEVEL: RangeInclusive<i64> = -100..=100;

/// Checks a priority from a manifest or settings.
///
/// # Errors
/// `core.out_of_bounds` outside of [`PRIORITY`].
pub fn priority(value: i64) -> Result<i64, OutOfBounds> {
    within("priority", PRIORITY, value)
}

/// Checks a stack level from a manifest or settings.
///
/// # Errors
/// `core.out_of_bounds` outside of [`STACK_LEVEL`].
pub fn stack_level(value: i64) -> Result<i64, OutOfBounds> {
    within("stack level", STACK_LEVEL, value)
}

/// Checks an untyped priority: an integer, or a boolean as 0 or 1 (manifests in the field hold both).
///
/// # Errors
/// `core.out_of_bounds` when it is no integer or out of range.
pub fn priority_of(value: &Value) -> Result<i64, OutOfBounds> {
    integer("priority", PRIORITY, value).and_then(priority)
}

/// Checks an untyped stack level: an integer, or a boolean as 0 or 1.
///
/// # Errors
/// `core.out_of_bounds` when it is no integer or out of range.
pub fn stack_level_of(value: &Value) -> Result<i64, OutOfBounds> {
    integer("stack level", STACK_LEVEL, value).and_then(stack_level)
}

fn within(what: &'static str, range: RangeInclusive<i64>, value: i64) -> Result<i64, OutOfBounds> {
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(OutOfBounds {
            what,
            found: value.to_string(),
            range,
        })
    }
}

fn integer(
    what: &'static str,
    range: RangeInclusive<i64>,
    value: &Value,
) -> Result<i64, OutOfBounds> {
    let found = match value {
        Value::Bool(flag) => return Ok(i64::from(*flag)),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => return Ok(integer),
            None => number.to_string(),
        },
        Value::Null => "nothing".to_owned(),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
    };
    Err(OutOfBounds { what, found, range })
}

/// A number that manifests and settings may not state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be an integer from {} to {}, found {found}", range.start(), range.end())]
pub struct OutOfBounds {
    what: &'static str,
    found: String,
    range: RangeInclusive<i64>,
}

impl Coded for OutOfBounds {
    fn code(&self) -> &'static str {
        "core.out_of_bounds"
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_themselves_are_allowed_and_one_more_is_not() {
        assert_eq!((priority(1000), priority(-1000)), (Ok(1000), Ok(-1000)));
        assert_eq!((stack_level(100), stack_level(-100)), (Ok(100), Ok(-100)));
        for refused in [
            priority(1001),
            priority(i64::MIN),
            stack_level(101),
            stack_level(i64::MAX),
        ] {
            assert_eq!(refused.unwrap_err().code(), "core.out_of_bounds");
        }
    }

    #[test]
    fn the_error_says_the_range_and_what_was_found() {
        let error = priority_of(&Value::from("25")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "priority must be an integer from -1000 to 1000, found a string"
        );
    }
}
