//! Settings that cannot work are refused when something is made of them, all at once, each with what
//! would be allowed: a limit that is silently none is found out in the one night it was for.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeBounds;
use std::time::Duration;

/// Settings that are not usable, with everything that is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidConfig {
    pattern: &'static str,
    faults: Vec<Fault>,
}

impl InvalidConfig {
    /// The error code.
    pub const fn code(&self) -> &'static str {
        "resilience.invalid_config"
    }

    /// Everything that is wrong, in the order of the settings; never empty.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "these {} settings cannot work: ", self.pattern)?;
        for (at, fault) in self.faults.iter().enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

/// One setting that is not usable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The setting, by its path: `backoff.factor`.
    pub field: Cow<'static, str>,
    /// What it is.
    pub value: String,
    /// What it may be, in words, with all bounds.
    pub allowed: Cow<'static, str>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            value,
            allowed,
        } = self;
        write!(f, "`{field}` is {value}, allowed is {allowed}")
    }
}

/// Collects what is wrong with the settings of one pattern.
#[derive(Debug)]
pub(crate) struct Checks {
    pattern: &'static str,
    faults: Vec<Fault>,
}

impl Checks {
    /// Nothing is wrong yet. `pattern` is what people call it: `breaker`.
    pub(crate) const fn of(pattern: &'static str) -> Self {
        Self {
            pattern,
            faults: Vec::new(),
        }
    }

    /// The value lies in the range, which `allowed` says in words. What cannot be compared (not a
    /// number) lies in none.
    pub(crate) fn within<V: PartialOrd + fmt::Debug>(
        &mut self,
        field: &'static str,
        value: V,
        range: impl RangeBounds<V>,
        allowed: &'static str,
    ) -> &mut Self {
        let holds = range.contains(&value);
        self.that(holds, field, format_args!("{value:?}"), allowed)
    }

    /// Something holds, which `allowed` says in words.
    pub(crate) fn that(
        &mut self,
        holds: bool,
        field: impl Into<Cow<'static, str>>,
        value: impl fmt::Display,
        allowed: impl Into<Cow<'static, str>>,
    ) -> &mut Self {
        if !holds {
            self.faults.push(Fault {
                field: field.into(),
                value: value.to_string(),
                allowed: allowed.into(),
            });
        }
        self
    }

    /// Takes over what is wrong with a part of the settings, under the name of that part.
    pub(crate) fn part(&mut self, name: &str, checked: Result<(), InvalidConfig>) -> &mut Self {
        if let Err(invalid) = checked {
            self.faults
                .extend(invalid.faults.into_iter().map(|fault| Fault {
                    field: format!("{name}.{}", fault.field).into(),
                    ..fault
                }));
        }
        self
    }

    /// # Errors
    /// `resilience.invalid_config` with everything that was found.
    pub(crate) fn done(&mut self) -> Result<(), InvalidConfig> {
        if self.faults.is_empty() {
            return Ok(());
        }
        Err(InvalidConfig {
            pattern: self.pattern,
            faults: std::mem::take(&mut self.faults),
        })
    }
}

/// A day: longer than any wait that a program should be left alone with.
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_wrong_is_told_at_once_with_what_is_allowed() {
        let inner = Checks::of("backoff")
            .within("factor", f64::NAN, 1.0..=10.0, "1 to 10")
            .done();
        let invalid = Checks::of("retry")
            .within("attempts", 0, 1..=100, "1 to 100")
            .within("jitter", 1, 1..=1, "1")
            .part("backoff", inner)
            .done()
            .unwrap_err();
        assert_eq!(invalid.code(), "resilience.invalid_config");
        assert_eq!(invalid.faults().len(), 2);
        assert_eq!(
            invalid.to_string(),
            "these retry settings cannot work: `attempts` is 0, allowed is 1 to 100; \
             `backoff.factor` is NaN, allowed is 1 to 10"
        );
    }

    #[test]
    fn nothing_wrong_is_nothing_said() {
        assert_eq!(
            Checks::of("retry")
                .within("attempts", 3, 1.., "1 or more")
                .done(),
            Ok(())
        );
    }
}
