//! What is wrong with a settings file: every fault with its place, its key and, where one is near, what was meant.

use std::{fmt, io};

use oneiric_core::{Coded, ErrorKind};

/// A place in a file; lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Place {
    /// Finds the place of a byte.
    pub(crate) fn of(text: &str, byte: usize) -> Self {
        let before = text
            .as_bytes()
            .get(..byte.min(text.len()))
            .unwrap_or_default();
        let start = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |newline| newline + 1);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let is_char = |byte: &&u8| (**byte & 0xc0) != 0x80;
        Self {
            line,
            column: before.iter().skip(start).filter(is_char).count() + 1,
        }
    }
}

/// One thing that is wrong with a settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// Line and column, from 1; absent when it is about the whole file.
    pub at: Option<(usize, usize)>,
    /// The key, `candidates[0].slot`; empty when it is about the whole file.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// Its code.
    pub code: &'static str,
    /// What may have been meant.
    pub help: Option<String>,
}

impl Fault {
    pub(crate) fn new(
        place: Place,
        key: &str,
        code: &'static str,
        message: impl fmt::Display,
    ) -> Self {
        Self {
            at: Some((place.line, place.column)),
            key: key.to_owned(),
            message: message.to_string(),
            code,
            help: None,
        }
    }

    /// A fault that another layer found.
    pub(crate) fn coded(place: Place, key: &str, error: &(impl Coded + fmt::Display)) -> Self {
        Self::new(place, key, error.code(), error)
    }

    pub(crate) fn whole_file(message: String) -> Self {
        Self {
            at: None,
            key: String::new(),
            message,
            code: "runtime.settings_invalid",
            help: None,
        }
    }

    pub(crate) fn help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

impl fmt::Display for Fault {
    /// Without the file, which is the same for all faults: see [`SettingsError`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, "; {help}")?;
        }
        if self.code == "runtime.settings_invalid" {
            Ok(())
        } else {
            write!(f, " ({})", self.code)
        }
    }
}

/// Why settings cannot be used. `Display` gives one line a fault, each with file, line and column.
#[derive(Debug)]
pub struct SettingsError {
    file: String,
    what: What,
}

#[derive(Debug)]
enum What {
    NotFound(io::Error),
    Unreadable(io::Error),
    Invalid(Vec<Fault>),
}

impl SettingsError {
    pub(crate) fn unreadable(file: &str, error: io::Error) -> Self {
        let what = if error.kind() == io::ErrorKind::NotFound {
            What::NotFound(error)
        } else {
            What::Unreadable(error)
        };
        Self {
            file: file.to_owned(),
            what,
        }
    }

    pub(crate) fn invalid(file: &str, mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| fault.at);
        Self {
            file: file.to_owned(),
            what: What::Invalid(faults),
        }
    }

    /// Returns the file, as it was named.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns every fault, by line.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        match &self.what {
            What::Invalid(faults) => faults,
            What::NotFound(_) | What::Unreadable(_) => &[],
        }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = match &self.what {
            What::NotFound(_) => return write!(f, "there is no settings file {}", self.file),
            What::Unreadable(error) => return write!(f, "cannot read {}: {error}", self.file),
            What::Invalid(faults) => faults,
        };
        let several = faults.len() > 1;
        if several {
            write!(f, "{} faults in {}", faults.len(), self.file)?;
        }
        for fault in faults {
            f.write_str(if several { "\n  " } else { "" })?;
            match fault.at {
                Some((line, column)) => write!(f, "{}:{line}:{column}: {fault}", self.file)?,
                None => write!(f, "{}: {fault}", self.file)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.what {
            What::NotFound(error) | What::Unreadable(error) => Some(error),
            What::Invalid(_) => None,
        }
    }
}

impl Coded for SettingsError {
    fn code(&self) -> &'static str {
        match self.what {
            What::NotFound(_) => "runtime.settings_not_found",
            What::Unreadable(_) => "runtime.settings_unreadable",
            What::Invalid(_) => "runtime.settings_invalid",
        }
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }
}

/// Says which of the known names was probably meant.
pub(crate) fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    let far = (name.chars().count() / 3).clamp(1, 3);
    let near = known
        .into_iter()
        .map(|known| (distance(name, known), known))
        .min()?;
    (near.0 <= far).then(|| format!("did you mean '{}'?", near.1))
}

/// Counts the edits (insert, delete, replace, swap of neighbours) that lead from one text to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = [
        Vec::new(),
        Vec::new(),
        (0..=to.len()).collect::<Vec<usize>>(),
    ];
    for (i, left) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, right) in to.iter().enumerate() {
            let mut best = (row[j] + 1)
                .min(rows[2][j + 1] + 1)
                .min(rows[2][j] + usize::from(left != right));
            if i > 0 && j > 0 && *left == to[j - 1] && from[i - 1] == *right {
                best = best.min(rows[1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.rotate_left(1);
        rows[2] = row;
    }
    rows[2][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_from_one() {
        let text = "a = 1\nä = 'ö' # x";
        assert_eq!(Place::of(text, 0), Place { line: 1, column: 1 });
        assert_eq!(
            Place::of(text, text.find('#').unwrap()),
            Place { line: 2, column: 9 }
        );
        assert_eq!(
            Place::of(text, 1_000),
            Place {
                line: 2,
                column: 12
            }
        );
    }

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let known = ["provider", "priority", "slot"];
        assert_eq!(
            nearest("prioritiy", known).unwrap(),
            "did you mean 'priority'?"
        );
        assert_eq!(nearest("slto", known).unwrap(), "did you mean 'slot'?");
        assert_eq!(nearest("color", known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
