//! Where and when figures were taken: without that they are not worth writing down.

use std::time::Duration;
use std::{env, fs, process::Command};

use serde::Serialize;

use crate::clock;

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// `YYYY-MM-DD`, UTC.
    pub(crate) date: String,
    pub(crate) cpu: String,
    pub(crate) processors: usize,
    pub(crate) system: String,
    pub(crate) rustc: String,
}

impl Machine {
    pub(crate) fn this(processors: usize) -> Self {
        Self {
            date: date(clock::since_epoch()),
            cpu: cpu_model().unwrap_or_else(|| "unknown".to_owned()),
            processors,
            system: format!("{} {}", env::consts::OS, env::consts::ARCH),
            rustc: rustc().unwrap_or_else(|| "unknown".to_owned()),
        }
    }
}

fn cpu_model() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        line.split_once(':')
            .map(|(_, value)| value.trim().to_owned())
    };
    // Virtual machines hide the model's name; family and number still tell the generation.
    let (name, family, model) = (field("model name")?, field("cpu family"), field("model\t"));
    Some(match family.zip(model) {
        Some((family, model)) => format!("{name}, family {family}, model {model}"),
        None => name,
    })
}

fn rustc() -> Option<String> {
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler).arg("--version").output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    Some(version.trim().to_owned())
}

/// The day, from the time since 1970-01-01.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn date(since_epoch: Duration) -> String {
    let days = since_epoch.as_secs() / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (19_723, "2024-01-01"),
            (20_149, "2025-03-02"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
        ] {
            assert_eq!(date(Duration::from_secs(days * 86_400 + 86_399)), expected);
        }
    }
}
