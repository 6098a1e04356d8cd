//! Which layers settings come from, and the place of each value in its layer.
//!
//! A place is small, because every value of a file has one; what the layer is called is looked up when somebody asks.

use std::{fmt, path::PathBuf, sync::Arc};

/// One of the layers that settings come from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SettingsSource {
    /// Nobody said anything.
    Default,
    /// A file, or text that stands for one.
    File(PathBuf),
    /// A variable of the environment, by name.
    Variable(String),
    /// An option of the command line, as it was typed up to its value.
    Flag(String),
    /// The program that uses the library, after the settings were read.
    Program,
}

impl fmt::Display for SettingsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => path.display().fmt(f),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
            Self::Program => f.write_str("the program"),
        }
    }
}

/// A place in one of the [`Layers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(super) layer: u16,
    pub(super) at: At,
}

/// Where in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum At {
    /// All of it.
    Whole,
    /// Line and column, from 1; columns in characters.
    Spot { line: u32, column: u32 },
}

impl Place {
    /// Line and column, from 1; `None` for what has none.
    pub(super) const fn spot_of(self) -> Option<(usize, usize)> {
        match self.at {
            At::Whole => None,
            At::Spot { line, column } => Some((line as usize, column as usize)),
        }
    }

    pub(super) const fn whole(layer: u16) -> Self {
        Self {
            layer,
            at: At::Whole,
        }
    }

    /// A place in a file; lines beyond what 32 bits hold cannot be in one that is short enough to be read.
    pub(super) fn spot(layer: u16, (line, column): (usize, usize)) -> Self {
        let small = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let (line, column) = (small(line), small(column));
        Self {
            layer,
            at: At::Spot { line, column },
        }
    }
}

/// The layers of settings, later ones above earlier ones. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers(Arc<Vec<SettingsSource>>);

impl Layers {
    pub(super) fn new(layers: Vec<SettingsSource>) -> Self {
        Self(Arc::new(layers))
    }

    /// Text that stands for a file.
    #[cfg(test)]
    pub(super) fn of_text(name: &str) -> Self {
        let source = SettingsSource::File(name.into());
        Self::new(vec![source])
    }

    /// The layer that a place is in.
    pub(crate) fn source(&self, place: Place) -> SettingsSource {
        let layer = self.0.get(usize::from(place.layer));
        layer.cloned().unwrap_or(SettingsSource::Default)
    }

    /// Line and column of a place, from 1; `None` for what has none.
    pub(crate) fn line_and_column(&self, place: Place) -> Option<(usize, usize)> {
        place.spot_of()
    }

    /// A place for people: `o.toml:1:7`, `o.toml`, `ONEIRIC_RUN__GRACE_MS`.
    pub(crate) fn describe(&self, place: Place) -> String {
        describe(&self.source(place), self.line_and_column(place))
    }

    /// What to call all of them in one word.
    pub(crate) fn name(&self) -> String {
        match self.0.as_slice() {
            [only] => only.to_string(),
            _ => super::fault::SEVERAL.to_owned(),
        }
    }
}

pub(super) fn describe(source: &SettingsSource, at: Option<(usize, usize)>) -> String {
    match at {
        Some((line, column)) => format!("{source}:{line}:{column}"),
        None => source.to_string(),
    }
}
