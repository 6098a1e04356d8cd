//! Priorities of whole packages: what `ONEIRIC_STACK_ORDER` says, else what the package's path suggests.
//!
//! The text is parsed once and whole. One bad number is one error for everybody at the start, instead of a failure
//! of whichever package happens to be asked about.

use std::collections::HashMap;

use crate::{
    code::{Coded, ErrorKind},
    name::shorten,
};

/// Directory names that suggest a priority, the strongest claim first: the first of this list that is a part of the
/// path counts, wherever it stands in the path.
const HINTS: [(&str, i64); 6] = [
    ("adapters", 80),
    ("services", 70),
    ("tasks", 60),
    ("events", 60),
    ("workflows", 60),
    ("vendor", 90),
];

/// Depth beyond this no longer lowers a hint.
const MAX_DEPTH: i64 = 10;

/// The priorities of packages by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StackOrder {
    priorities: HashMap<String, i64>,
}

impl StackOrder {
    /// Parses `name:number` and bare names, separated by commas. A bare name gets ten times the number of names so
    /// far; a repeated name is set anew. Numbers beyond 64 bits count as the nearest that fits.
    ///
    /// # Errors
    /// `core.stack_order_invalid`, naming the first token whose number is none.
    pub fn parse(text: &str) -> Result<Self, InvalidStackOrder> {
        let mut priorities = HashMap::new();
        for token in text
            .split(',')
            .map(str::trim)
            .filter(|token| !token.is_empty())
        {
            let (name, priority) = match token.split_once(':') {
                Some((name, number)) => {
                    let number = parse_integer(number.trim());
                    (
                        name.trim(),
                        number.ok_or_else(|| InvalidStackOrder {
                            shown: shorten(token),
                        })?,
                    )
                }
                None => (
                    token,
                    i64::try_from(priorities.len() * 10).unwrap_or(i64::MAX),
                ),
            };
            priorities.insert(name.to_owned(), priority);
        }
        Ok(Self { priorities })
    }

    /// Returns the priority of a package: its own when it is listed, else what its path suggests (a hint less the
    /// depth of the path, at most 10), else 0. Paths are POSIX paths: `/` is a part, `.` is none.
    #[must_use]
    pub fn infer(&self, package: Option<&str>, path: Option<&str>) -> i64 {
        let listed = package
            .filter(|name| !name.is_empty())
            .and_then(|name| self.priorities.get(name));
        if let Some(priority) = listed {
            return *priority;
        }
        let path = path.unwrap_or_default();
        let parts: Vec<&str> = path
            .split('/')
            .filter(|part| !matches!(*part, "" | "."))
            .collect();
        let depth = parts.len() + usize::from(path.starts_with('/'));
        let depth = i64::try_from(depth).unwrap_or(MAX_DEPTH).min(MAX_DEPTH);
        let hint = HINTS.into_iter().find(|(name, _)| parts.contains(name));
        hint.map_or(0, |(_, priority)| priority - depth)
    }
}

/// Reads an integer as people write them in configuration: a sign, decimal digits of any script, single underscores
/// between digits. Saturates.
fn parse_integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let mut value: i64 = 0;
    let mut after_digit = false;
    for c in digits.chars() {
        if c == '_' && after_digit {
            after_digit = false;
            continue;
        }
        let digit = decimal_digit(c)?;
        let signed = if negative { -digit } else { digit };
        value = value.saturating_mul(10).saturating_add(signed);
        after_digit = true;
    }
    after_digit.then_some(value)
}

fn decimal_digit(c: char) -> Option<i64> {
    let code = u32::from(c);
    let index = ZEROS.partition_point(|zero| *zero <= code).checked_sub(1)?;
    let digit = code - ZEROS.get(index)?;
    (digit < 10).then_some(i64::from(digit))
}

/// The digit zero of every script that has decimal digits (general category Nd); nine more follow each.
///
/// Source: Unicode Character Database 15.1, UnicodeData.txt.
#[rustfmt::skip]
const ZEROS: &[u32] = &[
    0x30, 0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66,
    0xDE6, 0xE50, 0xED0, 0xF20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90,
    0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0,
    0xFF10, 0x104A0, 0x10D30, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0,
    0x11650, 0x116C0, 0x11730, 0x118E0, 0x11950, 0x11C50, 0x11D50, 0x11DA0, 0x11F50, 0x16A60,
    0x16AC0, 0x16B50, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E4F0,
    0x1E950, 0x1FBF0,
];

/// A stack order with something in it that is no number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid stack order: {shown} does not end in a whole number; expected 'name' or 'name:number', separated by commas"
)]
pub struct InvalidStackOrder {
    shown: String,
}

impl Coded for InvalidStackOrder {
    fn code(&self) -> &'static str {
        "core.stack_order_invalid"
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p05_a_bad_token_is_one_clear_error_naming_it() {
        let error = StackOrder::parse("core:10, app:x, lib:20").unwrap_err();
        assert_eq!(error.code(), "core.stack_order_invalid");
        assert!(error.to_string().contains("\"app:x\""), "{error}");
        for text in [
            "a:", "a:+", "a:1__0", "a:_1", "a:1_", "a:1.0", "a:1:2", "a:--1", "a:4 2", "a:²",
        ] {
            assert!(StackOrder::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn p05_a_bad_token_never_changes_what_others_infer() {
        assert!(StackOrder::parse("app:x,core:5").is_err());
        let good = StackOrder::parse("core:5").unwrap();
        assert_eq!(good.infer(Some("core"), None), 5);
        assert_eq!(good.infer(Some("app"), Some("/srv/adapters/redis")), 76);
    }

    #[test]
    fn numbers_beyond_64_bits_count_as_the_nearest() {
        let order = StackOrder::parse("a:99999999999999999999,b:-99999999999999999999").unwrap();
        assert_eq!(order.infer(Some("a"), None), i64::MAX);
        assert_eq!(order.infer(Some("b"), None), i64::MIN);
    }
}
