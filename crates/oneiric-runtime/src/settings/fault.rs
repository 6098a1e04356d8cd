//! What is wrong with a settings file: every fault with its place, its key and, where one is near, what was meant.

use std::{fmt, io};

use oneiric_core::{Coded, ErrorKind};

use super::{
    Settings,
    layer::{Layers, Place, SettingsSource, describe},
};

/// One thing that is wrong with a settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The layer that it is in.
    pub source: SettingsSource,
    /// Line and column, from 1; absent when it is about a whole file, or about no file.
    pub at: Option<(usize, usize)>,
    /// The key, `candidates[0].slot`; empty when it is about the whole file.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// Its code.
    pub code: &'static str,
    /// What may have been meant.
    pub help: Option<String>,
    place: Place,
}

impl Fault {
    pub(crate) fn new(
        place: Place,
        key: &str,
        code: &'static str,
        message: impl fmt::Display,
    ) -> Self {
        Self {
            source: SettingsSource::Default,
            at: None,
            key: key.to_owned(),
            message: message.to_string(),
            code,
            help: None,
            place,
        }
    }

    /// A fault that another layer found.
    pub(crate) fn coded(place: Place, key: &str, error: &(impl Coded + fmt::Display)) -> Self {
        Self::new(place, key, error.code(), error)
    }

    /// A fault of a whole layer, or of its text.
    pub(super) fn of_text(place: Place, message: impl fmt::Display) -> Self {
        Self::new(place, "", "runtime.settings_invalid", message)
    }

    /// Returns where it is, for people: `oneiric.toml:3:1`, `ONEIRIC_RUN__GRACE_MS`.
    #[must_use]
    pub fn place(&self) -> String {
        describe(&self.source, self.at)
    }

    fn located(mut self, layers: &Layers) -> Self {
        self.source = layers.source(self.place);
        self.at = layers.line_and_column(self.place);
        self
    }

    pub(crate) fn help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

impl fmt::Display for Fault {
    /// Without its place: see [`Fault::place`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        Said { fault: self, key }.fmt(f)
    }
}

/// A fault as it is said, with its key or without.
struct Said<'f> {
    fault: &'f Fault,
    key: &'f str,
}

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.fault.message)?;
        if let Some(help) = &self.fault.help {
            write!(f, "; {help}")?;
        }
        if self.fault.code == "runtime.settings_invalid" {
            Ok(())
        } else {
            write!(f, " ({})", self.fault.code)
        }
    }
}

/// What several layers are called together.
pub(super) const SEVERAL: &str = "the settings";

/// How many faults are kept; nobody corrects more of them at once, and a file that is not meant as settings has one
/// in every line.
const KEPT: usize = 100;

/// What is wrong with a file: the first faults found, and how many there are besides.
#[derive(Debug, Default)]
pub(super) struct Faults {
    kept: Vec<Fault>,
    more: usize,
}

impl Faults {
    pub(super) fn push(&mut self, fault: Fault) {
        if self.kept.len() < KEPT {
            self.kept.push(fault);
        } else {
            self.more += 1;
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

impl FromIterator<Fault> for Faults {
    fn from_iter<I: IntoIterator<Item = Fault>>(faults: I) -> Self {
        let mut list = Self::default();
        faults.into_iter().for_each(|fault| list.push(fault));
        list
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
    Invalid(Faults),
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

    /// Settings that faults were found in; their places are looked up here.
    pub(crate) fn invalid(layers: &Layers, faults: impl IntoIterator<Item = Fault>) -> Self {
        Self::listed(layers, faults.into_iter().collect())
    }

    /// Something that is wrong with the value of one key.
    pub(crate) fn of_key(settings: &Settings, key: &str, message: impl fmt::Display) -> Self {
        let place = settings.tree.at(key.split('.')).map(|node| node.place);
        let place = place.unwrap_or(Place::whole(0));
        let fault = Fault::new(place, key, "runtime.settings_invalid", message);
        Self::invalid(&settings.layers, [fault])
    }

    pub(super) fn listed(layers: &Layers, faults: Faults) -> Self {
        let Faults { mut kept, more } = faults;
        // Stable, and by layer first: upper layers come last.
        kept.sort_by_key(|fault| fault.place);
        let mut kept: Vec<Fault> = kept
            .into_iter()
            .map(|fault| fault.located(layers))
            .collect();
        kept.sort_by_key(|fault| (fault.place.layer, fault.at));
        let mut sources = kept.iter().map(|fault| &fault.source);
        let first = sources.next();
        let file = match first {
            Some(first) if sources.all(|source| source == first) => first.to_string(),
            _ => layers.name(),
        };
        let what = What::Invalid(Faults { kept, more });
        Self { file, what }
    }

    /// With the faults that another check of the same settings found. Settings that cannot be read at all have no
    /// others.
    pub(crate) fn and(mut self, other: Self) -> Self {
        if let (What::Invalid(faults), What::Invalid(more)) = (&mut self.what, other.what) {
            more.kept.into_iter().for_each(|fault| faults.push(fault));
            faults.more += more.more;
            faults
                .kept
                .sort_by_key(|fault| (fault.place.layer, fault.at));
            if self.file != other.file {
                self.file = SEVERAL.to_owned();
            }
        }
        self
    }

    /// Without the faults that `keep` does not want.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Fault) -> bool) {
        if let What::Invalid(faults) = &mut self.what {
            faults.kept.retain(keep);
        }
    }

    /// Whether the file is there, whatever is wrong with it.
    pub(super) const fn is_there(&self) -> bool {
        !matches!(self.what, What::NotFound(_))
    }

    /// Returns the file or variable, as it was named; where there are several, a word for all of them.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns the faults, by line; the first hundred that were found if there are more.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        match &self.what {
            What::Invalid(faults) => &faults.kept,
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
        let count = faults.kept.len() + faults.more;
        let several = count > 1;
        if several {
            write!(f, "{count} faults in {}", self.file)?;
        }
        for fault in &faults.kept {
            f.write_str(if several { "\n  " } else { "" })?;
            let place = fault.place();
            // An option names its key already: `--set run.grace_ms`.
            let is_named = place.rsplit(' ').next() == Some(&fault.key);
            let key = if is_named { "" } else { &fault.key };
            write!(f, "{place}: {}", Said { fault, key })?;
        }
        if faults.more > 0 {
            write!(f, "\n  and {} more", faults.more)?;
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

/// Says which of the known names was probably meant: `did you mean '...'?`. Nothing when none is near.
#[must_use]
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    let far = (name.chars().count() / 3).clamp(1, 3);
    // Who leaves out the unit, and writes `grace` for `grace_ms`, is nearer than the letters are.
    let without_unit = |known: &str| {
        let rest = known.strip_prefix(name);
        rest.is_some_and(|rest| !name.is_empty() && rest.starts_with('_'))
    };
    let near = known
        .into_iter()
        .map(|known| match without_unit(known) {
            true => (1, known),
            false => (distance(name, known), known),
        })
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
    fn after_a_hundred_faults_the_rest_is_counted() {
        let layers = Layers::of_text("x.toml");
        let place = Place::spot(0, (1, 1));
        let fault = Fault::new(place, "a", "runtime.settings_invalid", "wrong");
        let error = SettingsError::invalid(&layers, vec![fault; 250]);
        assert_eq!(error.faults().len(), 100);
        let text = error.to_string();
        assert!(text.starts_with("250 faults in x.toml"), "{text}");
        assert!(text.ends_with("and 150 more"), "{text}");
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
        let unit = nearest("grace", ["activate", "grace_ms"]).unwrap();
        assert_eq!(unit, "did you mean 'grace_ms'?");
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
