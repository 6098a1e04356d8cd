//! A file that says whom to select in several slots, for a plan: one table `selections`, as settings have it.
//!
//! ```toml
//! [selections]
//! "adapter/cache" = "redis"
//! "service/echo" = ""          # takes the selection back
//! ```

use std::{fmt, path::Path};

use oneiric_core::{Coded, ErrorKind, Provider, Slot};

use super::{
    file::{self, Contents},
    format::{Broken, Format},
    layer::{Place, SettingsSource, describe},
    tree::{Item, Node},
};
use crate::api::ChangeDoc;

/// Why a file of changes cannot be used: all faults, each with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangesFileError {
    /// `changes.toml:3:1: expected a string`, one at least.
    pub faults: Vec<String>,
}

impl fmt::Display for ChangesFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.faults.join("\n"))
    }
}

impl std::error::Error for ChangesFileError {}

impl Coded for ChangesFileError {
    fn code(&self) -> &'static str {
        "runtime.changes_unreadable"
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }
}

/// Reads what a file wants selected: TOML, YAML or JSON by the ending of its name, with one table `selections` of
/// providers by slot. An empty provider, or `null`, takes a selection back.
///
/// # Errors
/// `runtime.changes_unreadable`, with all faults and their places.
pub fn read_changes(path: &Path) -> Result<Vec<ChangeDoc>, ChangesFileError> {
    let source = SettingsSource::File(path.to_owned());
    let whole = |message: String| ChangesFileError {
        faults: vec![format!("{}: {message}", path.display())],
    };
    let contents = file::read(path).map_err(|error| whole(error.to_string()))?;
    let text = match contents {
        Contents::Text(text) => text,
        Contents::Wrong(at, message) => {
            let faults = vec![format!("{}: {message}", describe(&source, at))];
            return Err(ChangesFileError { faults });
        }
    };
    parse(&text, Format::of(path)).map_err(|faults| {
        let said = |fault: Broken| {
            format!(
                "{}: {}",
                describe(&source, fault.place.spot_of()),
                fault.message
            )
        };
        ChangesFileError {
            faults: faults.into_iter().map(said).collect(),
        }
    })
}

fn parse(text: &str, format: Format) -> Result<Vec<ChangeDoc>, Vec<Broken>> {
    let file = format.parse(text, 0)?;
    let (mut changes, mut faults) = (Vec::new(), Vec::new());
    let mut fault = |place: Place, message: String| faults.push(Broken { place, message });
    match file.table() {
        Some(table) => {
            for (key, entry) in table.iter().filter(|(key, _)| *key != "selections") {
                let message = format!("there is no `{key}` here, only `selections`");
                fault(entry.name, message);
            }
        }
        None => fault(file.place, format!("expected a table, not {}", file.kind())),
    }
    let selections = file.at(["selections"]);
    match selections.map(|node| (node, node.table())) {
        Some((_, Some(table))) => {
            for (key, entry) in table {
                match key.parse::<Slot>() {
                    Err(error) => fault(entry.name, error.to_string()),
                    Ok(slot) => match provider(&entry.node) {
                        Ok(provider) => changes.push(ChangeDoc { slot, provider }),
                        Err(message) => fault(entry.node.place, message),
                    },
                }
            }
        }
        Some((node, None)) => fault(node.place, format!("expected a table, not {}", node.kind())),
        None if file.table().is_some() => fault(file.place, "it has no table `selections`".into()),
        None => {}
    }
    if faults.is_empty() {
        Ok(changes)
    } else {
        Err(faults)
    }
}

fn provider(node: &Node) -> Result<Option<Provider>, String> {
    match (&node.item, node.text()) {
        (Item::Null, _) | (_, Some("")) => Ok(None),
        (_, Some(text)) => match text.parse::<Provider>() {
            Ok(provider) => Ok(Some(provider)),
            Err(error) => Err(error.to_string()),
        },
        _ => Err(format!("expected a string, not {}", node.kind())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, format: Format) -> Result<Vec<String>, Vec<String>> {
        let said = |change: ChangeDoc| {
            let provider = change.provider.map(|provider| provider.to_string());
            format!("{}={}", change.slot, provider.unwrap_or_default())
        };
        parse(text, format)
            .map(|changes| changes.into_iter().map(said).collect())
            .map_err(|faults| faults.into_iter().map(|fault| fault.message).collect())
    }

    #[test]
    fn all_three_formats_say_the_same() {
        let expected = Ok(vec![
            "adapter/cache=redis".to_owned(),
            "service/echo=".to_owned(),
        ]);
        let toml = "[selections]\n\"adapter/cache\" = \"redis\"\n\"service/echo\" = \"\"\n";
        assert_eq!(read(toml, Format::Toml), expected);
        let json = r#"{"selections": {"adapter/cache": "redis", "service/echo": null}}"#;
        assert_eq!(read(json, Format::Json), expected);
        #[cfg(feature = "yaml")]
        assert_eq!(
            read(
                "selections:\n  adapter/cache: redis\n  service/echo:\n",
                Format::Yaml
            ),
            expected
        );
    }

    #[test]
    fn all_faults_are_named_with_their_places() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::io::Write::write_all(
            &mut std::fs::File::create(&path).unwrap(),
            b"wrong = 1\n[selections]\ncache = \"redis\"\n\"adapter/cache\" = 7\n",
        )
        .unwrap();
        let error = read_changes(&path).unwrap_err();
        assert_eq!(error.code(), "runtime.changes_unreadable");
        let places: Vec<_> = error
            .faults
            .iter()
            .map(|fault| {
                fault
                    .rsplit_once("c.toml")
                    .unwrap()
                    .1
                    .split(": ")
                    .next()
                    .unwrap()
            })
            .collect();
        assert_eq!(places, [":1:1", ":4:19", ":3:1"], "{error}");
        for text in ["", "selections = 1", "[selections"] {
            assert!(read(text, Format::Toml).is_err(), "{text}");
        }
    }
}
