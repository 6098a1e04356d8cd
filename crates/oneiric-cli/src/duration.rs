//! Durations as they are typed: `30s`, `5m`, `1h30m`, `250ms`, `2d`. One parser for every option, so that
//! no two commands understand the same words differently. A number without a unit is refused:
//! whoever types `--timeout 30` may mean any of three units.

use std::time::Duration;

/// The units, longest first, with their length in milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads a duration: one or more numbers with their units, each unit once, longest first.
///
/// For clap's `value_parser`, which puts the message behind the option's name.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text;
    let mut total: u64 = 0;
    let mut units = UNITS.iter();
    if text.is_empty() {
        return Err(unreadable());
    }
    while !rest.is_empty() {
        let (number, after) = split(rest, |letter| letter.is_ascii_digit());
        let (unit, after) = split(after, |letter| letter.is_ascii_alphabetic());
        if number.is_empty() {
            return Err(unreadable());
        }
        if unit.is_empty() && after.is_empty() {
            return Err(format!("the unit is missing: {text}s? {text}m?"));
        }
        // Units that were passed over do not come back, so each is there once and in order.
        let Some((_, length)) = units.find(|(name, _)| *name == unit) else {
            return Err(unreadable());
        };
        let part = number
            .parse()
            .ok()
            .and_then(|number: u64| number.checked_mul(*length));
        total = part
            .and_then(|part| total.checked_add(part))
            .ok_or("that is longer than anybody waits")?;
        rest = after;
    }
    Ok(Duration::from_millis(total))
}

/// The longest pause that ends by itself: 30 days.
const LONGEST_PAUSE: Duration = Duration::from_secs(30 * 86_400);

/// Reads how long a pause is to last: as [`parse`], from a second to 30 days.
pub(crate) fn pause(text: &str) -> Result<Duration, String> {
    let time = parse(text)?;
    if (Duration::from_secs(1)..=LONGEST_PAUSE).contains(&time) {
        Ok(time)
    } else {
        Err("a pause lasts from 1s to 30d, or without --for until it is resumed".to_owned())
    }
}

fn unreadable() -> String {
    "a duration is such as 30s, 5m, 1h30m or 250ms".to_owned()
}

/// The longest head of `text` whose letters all fit, and what follows it.
fn split(text: &str, fits: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|letter| !fits(letter)).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, millis) in [
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("1m1s1ms", 61_001),
            ("2d", 172_800_000),
            ("0s", 0),
            ("90m", 5_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn a_pause_has_bounds_that_are_told_as_they_are_typed() {
        for fits in ["1s", "30m", "30d"] {
            assert_eq!(pause(fits), parse(fits));
        }
        for wrong in ["0s", "999ms", "30d1s", "31d"] {
            assert!(
                pause(wrong).unwrap_err().contains("from 1s to 30d"),
                "{wrong}"
            );
        }
        assert!(pause("5").unwrap_err().contains("the unit is missing"));
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        for (text, expected) in [
            ("30", "30s? 30m?"),
            ("1h30", "the unit is missing"),
            ("", "such as"),
            ("s", "such as"),
            ("1.5h", "such as"),
            ("-5s", "such as"),
            ("5 s", "such as"),
            ("5x", "such as"),
            ("5S", "such as"),
            ("30s1m", "such as"),
            ("1s1s", "such as"),
            ("\u{661}s", "such as"),
            ("99999999999999999999s", "longer than"),
            ("999999999999999999d", "longer than"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(expected), "{text}: {said}");
        }
    }
}
