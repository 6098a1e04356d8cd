//! What settings can be written in. Each format ends in the same tree with a place for every value, so that nothing
//! after this knows which it was.

mod json;
mod places;
mod toml;
#[cfg(feature = "yaml")]
mod yaml;

use std::path::Path;

use super::{layer::Place, tree::Node};

/// What a file is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Toml,
    Yaml,
    Json,
}

/// Something that keeps a text from being read at all, and where.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) place: Place,
    pub(super) message: String,
}

impl Format {
    /// The endings of file names, in the order in which files are looked for.
    pub(super) const ENDINGS: [(&'static str, Self); 4] = [
        ("toml", Self::Toml),
        ("yaml", Self::Yaml),
        ("yml", Self::Yaml),
        ("json", Self::Json),
    ];

    /// What a file is written in, by the ending of its name; where it says nothing, TOML.
    pub(super) fn of(path: &Path) -> Self {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let ending = ending.map(str::to_ascii_lowercase);
        let known = Self::ENDINGS
            .iter()
            .find(|(known, _)| Some(*known) == ending.as_deref());
        known.map_or(Self::Toml, |(_, format)| *format)
    }

    /// Reads a text into a table.
    pub(super) fn parse(self, text: &str, layer: u16) -> Result<Node, Vec<Broken>> {
        // Editors of other systems begin files with a mark that means nothing in UTF-8.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match self {
            Self::Toml => match toml::parse(text, layer) {
                (node, broken) if broken.is_empty() => Ok(node),
                (_, broken) => Err(broken),
            },
            Self::Json => json::parse(text, layer).map_err(|broken| vec![broken]),
            #[cfg(feature = "yaml")]
            Self::Yaml => yaml::parse(text, layer).map_err(|broken| vec![broken]),
            #[cfg(not(feature = "yaml"))]
            Self::Yaml => Err(vec![Broken {
                place: Place::whole(layer),
                message: "this program was built without YAML".to_owned(),
            }]),
        }
    }
}

/// What is left of a text with mistakes in it; only TOML's parser goes on after one.
pub(super) fn remains(format: Format, text: &str, layer: u16) -> Option<Node> {
    (format == Format::Toml).then(|| toml::parse(text, layer).0)
}

/// One value of the command line, written as in TOML: `["a", "b"]`, `{ slot = "adapter/cache" }`.
pub(super) fn inline(text: &str, layer: u16) -> Option<Node> {
    toml::inline(text, layer)
}
