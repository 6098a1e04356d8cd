//! What is wanted, from the words of the command line: changes, or a file of changes or of a plan.

use std::path::Path;

use oneiric_core::{ErrorKind, Slot};
use oneiric_runtime::api::{ChangeDoc, ChangePlanDoc, PlanRequestDoc, schema};
use oneiric_runtime::read_changes;
use serde_json::Value;

use crate::commands::name;
use crate::failure::Failure;

/// What the words come to.
pub(in crate::commands) enum Wanted {
    /// Still to be planned.
    Changes(PlanRequestDoc),
    /// Planned before.
    Plan(Box<ChangePlanDoc>),
}

/// Reads the words: those with `=` are changes, another one is a file and stands alone.
pub(in crate::commands) fn wanted(words: &[String]) -> Result<Wanted, Failure> {
    let is_change = |word: &&String| word.contains('=');
    let changes = match words {
        [file] if !is_change(&file) => {
            if let Some(plan) = plan(Path::new(file))? {
                return Ok(Wanted::Plan(Box::new(plan)));
            }
            read_changes(Path::new(file)).map_err(|error| Failure::of(&error))?
        }
        words => {
            if let Some(file) = words.iter().find(|word| !is_change(word)) {
                let message = format!("'{file}' is no SLOT=PROVIDER, and a file stands alone");
                return Err(usage(&message));
            }
            let changes = words.iter().map(|word| change(word));
            changes.collect::<Result<Vec<_>, _>>()?
        }
    };
    let undo = None;
    Ok(Wanted::Changes(PlanRequestDoc { changes, undo }))
}

fn change(word: &str) -> Result<ChangeDoc, Failure> {
    let (slot, provider) = word.split_once('=').unwrap_or((word, ""));
    let provider = (!provider.is_empty()).then_some(provider);
    Ok(ChangeDoc {
        slot: name::<Slot>(slot)?,
        provider: provider.map(name).transpose()?,
    })
}

/// The plan that a file is, if it is one.
fn plan(file: &Path) -> Result<Option<ChangePlanDoc>, Failure> {
    let is_json = file
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    if !is_json {
        return Ok(None);
    }
    // What cannot be read is said by who reads changes.
    let json = std::fs::read(file).ok();
    let json = json.and_then(|json| serde_json::from_slice::<Value>(&json).ok());
    let Some(json) = json.filter(|json| json["schema"] == schema::PLAN) else {
        return Ok(None);
    };
    serde_json::from_value(json).map(Some).map_err(|error| {
        let message = format!("{} is no whole plan: {error}", file.display());
        Failure::new("runtime.changes_unreadable", ErrorKind::Config, message)
    })
}

pub(super) fn usage(message: &str) -> Failure {
    Failure::new("cli.usage", ErrorKind::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Wanted, Failure> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        wanted(&words)
    }

    #[test]
    fn words_with_an_equals_sign_are_changes() {
        let Ok(Wanted::Changes(request)) = read(&["adapter/cache=file", "service/clock="]) else {
            panic!("changes");
        };
        let said = serde_json::to_value(&request).unwrap();
        let expected = serde_json::json!({"changes": [
            {"slot": "adapter/cache", "provider": "file"}, {"slot": "service/clock"}
        ]});
        assert_eq!(said, expected);
        for words in [&["a.toml", "adapter/cache=file"][..], &["cache=file"]] {
            assert_eq!(read(words).err().unwrap().exit().number(), 2, "{words:?}");
        }
    }

    #[test]
    fn another_word_is_a_file_of_changes_or_a_plan() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), text.as_bytes())
                .unwrap();
            path.display().to_string()
        };
        let changes = write("c.json", r#"{"selections": {"adapter/cache": "file"}}"#);
        assert!(
            matches!(read(&[&changes]), Ok(Wanted::Changes(request)) if request.changes.len() == 1)
        );
        let whole = r#"{"schema": "oneiric.plan/1", "base": 1, "changes": false, "slots": [], "steps": []}"#;
        assert!(matches!(
            read(&[&write("p.json", whole)]),
            Ok(Wanted::Plan(_))
        ));
        let half = r#"{"schema": "oneiric.plan/1"}"#;
        for file in [write("h.json", half), "nowhere.toml".to_owned()] {
            let failure = read(&[&file]).err().unwrap();
            assert_eq!(
                (failure.code.as_str(), failure.exit().number()),
                ("runtime.changes_unreadable", 3)
            );
        }
    }
}
