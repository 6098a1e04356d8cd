//! Settings that cannot work are refused when something is made of them, all at once, each with what
//! would be allowed: a limit that is silently none is found out in the one night it was for.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Settings that are not usable, with everything that is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidConfig {
    pattern: &'static str,
    name: Option<Box<str>>,
    faults: Vec<Fault>,
}

impl InvalidConfig {
    /// The settings of something that has a name, if it has one.
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into()).filter(|_| !name.is_empty());
        self
    }

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
        let pattern = self.pattern;
        match &self.name {
            Some(name) => write!(f, "these settings of {pattern} `{name}` cannot work: ")?,
            None => write!(f, "these {pattern} settings cannot work: ")?,
        }
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
    /// The setting, by its path as in a settings file, where durations end in `_ms`: `backoff.min_ms`. What
    /// does not come from settings has the name of the builder's method.
    pub field: Cow<'static, str>,
    /// What it is; durations with their unit.
    pub value: String,
    /// What it may be, in words, with all bounds. Other settings are named as in a file here too.
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

    /// The value lies in the range. What cannot be compared (not a number) lies in none.
    pub(crate) fn within<V: Shown>(
        &mut self,
        field: &'static str,
        value: V,
        range: RangeInclusive<V>,
    ) -> &mut Self {
        if range.contains(&value) {
            return self;
        }
        let (least, most) = (range.start().shown(), range.end().shown());
        self.that(false, field, value.shown(), format!("{least} to {most}"))
    }

    /// The value is more than nothing, and at most this.
    pub(crate) fn more_than_none<V: Shown + Default>(
        &mut self,
        field: &'static str,
        value: V,
        most: V,
    ) -> &mut Self {
        if value > V::default() && value <= most {
            return self;
        }
        let allowed = format!("more than 0, at most {}", most.shown());
        self.that(false, field, value.shown(), allowed)
    }

    /// The value is a share in percent. Elsewhere shares are often parts of one, so it is said what these are.
    pub(crate) fn percent(
        &mut self,
        field: &'static str,
        value: f64,
        range: RangeInclusive<f64>,
    ) -> &mut Self {
        if range.contains(&value) {
            return self;
        }
        let (least, most) = (range.start().shown(), range.end().shown());
        let allowed = format!("{least} to {most} percent: a share of 0.5 is written 50");
        self.that(false, field, value.shown(), allowed)
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
            name: None,
            faults: std::mem::take(&mut self.faults),
        })
    }
}

/// A value of a setting, as it is told of.
pub(crate) trait Shown: PartialOrd {
    /// One spelling for what is told, whether it is a value or a bound.
    fn shown(&self) -> String;
}

impl Shown for u32 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for f64 {
    fn shown(&self) -> String {
        // With an exponent where there would be a row of zeros.
        let text = format!("{self:?}");
        text.strip_suffix(".0").unwrap_or(&text).to_owned()
    }
}

impl Shown for Duration {
    fn shown(&self) -> String {
        let (secs, nanos) = (self.as_secs(), self.subsec_nanos());
        match (secs, nanos) {
            (0, 0) => "0".to_owned(),
            (_, 0) if secs % 3_600 == 0 => format!("{} h", secs / 3_600),
            (_, 0) => format!("{secs} s"),
            (..) if nanos % 1_000_000 == 0 => format!("{} ms", self.as_millis()),
            // No file says so.
            (..) => format!("{self:?}"),
        }
    }
}

/// A value that may be wrong only beside others: then it matters whether anybody wrote it.
pub(crate) fn or_default<V: Shown>(value: &V, default: &V) -> String {
    let by_default = if value == default {
        " (the default)"
    } else {
        ""
    };
    format!("{}{by_default}", value.shown())
}

/// A day: longer than any wait that a program should be left alone with.
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_wrong_is_told_at_once_with_what_is_allowed() {
        let inner = Checks::of("backoff")
            .within("factor", f64::NAN, 1.0..=10.0)
            .more_than_none("ratio", f64::INFINITY, 0.5)
            .done();
        let invalid = Checks::of("retry")
            .within("attempts", 0, 1..=100)
            .within("jitter", 1, 1..=1)
            .more_than_none("limit_ms", Duration::ZERO, DAY)
            .part("backoff", inner)
            .done()
            .unwrap_err();
        assert_eq!(invalid.code(), "resilience.invalid_config");
        assert_eq!(invalid.faults().len(), 4);
        assert_eq!(
            invalid.to_string(),
            "these retry settings cannot work: `attempts` is 0, allowed is 1 to 100; \
             `limit_ms` is 0, allowed is more than 0, at most 24 h; \
             `backoff.factor` is NaN, allowed is 1 to 10; \
             `backoff.ratio` is inf, allowed is more than 0, at most 0.5"
        );
    }

    #[test]
    fn values_and_bounds_are_spelt_alike_and_can_be_read() {
        assert_eq!(1_000_000_u32.shown(), "1000000");
        let numbers = [0.0, -1.0, 0.25, 1e9, 1e300, f64::NAN];
        let shown = numbers.map(|number| number.shown());
        assert_eq!(shown, ["0", "-1", "0.25", "1000000000", "1e300", "NaN"]);
        let nanos = [
            0,
            1_500,
            1_000_000,
            1_500_000_000,
            90_000_000_000,
            172_800_000_000_000,
        ];
        let shown = nanos.map(|nanos| Duration::from_nanos(nanos).shown());
        assert_eq!(shown, ["0", "1.5µs", "1 ms", "1500 ms", "90 s", "48 h"]);
    }

    #[test]
    fn nothing_wrong_is_nothing_said() {
        assert_eq!(
            Checks::of("retry").within("attempts", 3, 1..=5).done(),
            Ok(())
        );
    }
}
