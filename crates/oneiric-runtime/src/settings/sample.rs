//! The file that `oneiric init` writes: every key as a comment with what it means, so that it changes nothing until
//! somebody takes a comment away.

use serde_json::Value;

use super::catalog::{self, Key, Section};

/// Where lines end.
const WIDTH: usize = 96;

/// Returns a TOML file with every key in it as a comment. It says what an empty file says.
#[must_use]
pub fn settings_sample() -> String {
    let mut file = INTRODUCTION.to_owned();
    for section in catalog::sections() {
        write_section(&mut file, section);
    }
    file
}

const INTRODUCTION: &str = r#"# Settings of oneiric. Every key is here as a comment, with its default where it has one; take
# the `#` away to set it. `oneiric config check` says what is wrong, `oneiric config explain KEY`
# who set what, and `oneiric config schema` prints a JSON Schema for editors.
#
# To begin with, these lines make a cache in memory that `oneiric call adapter/cache` can use:
#
# [[candidates]]
# slot = "adapter/cache"
# provider = "memory"
# factory = "oneiric.builtins:memory_cache"
"#;

fn write_section(file: &mut String, section: &Section) {
    file.push('\n');
    comment(file, &format!("{}. {}", section.title, plain(section.doc)));
    let head = match section.path {
        "" => String::new(),
        // A list with an entry, or a section that has to be whole, is there only when somebody wants it.
        path => match path.strip_suffix("[]") {
            Some(list) => format!("# [[{list}]]\n"),
            // So is one with a name that is nobody's yet.
            None if section.keys.iter().any(|key| key.required) || path.contains('<') => {
                format!("# [{}]\n", path.replace("<scope>", "\"adapter/cache\""))
            }
            None => format!("[{path}]\n"),
        },
    };
    file.push_str(&head);
    for key in section.keys {
        write_key(file, key);
    }
}

fn write_key(file: &mut String, key: &Key) {
    let (range, unit) = (key.kind.range(), key.kind.unit().unwrap_or_default());
    let takes = range.map(|(least, most)| format!(" {least} to {most} {unit}"));
    let takes = takes.map(|takes| format!("{}.", takes.trim_end()));
    let unset = match key.default() {
        Some(_) => String::new(),
        None if key.required => " Required.".to_owned(),
        None => format!(" Default: {}.", plain(&key.default_in_words())),
    };
    let takes = takes.unwrap_or_default();
    comment(file, &format!("{}{takes}{unset}", plain(key.doc)));
    let name = match key.name() {
        "<slot>" => "\"adapter/cache\"",
        "<provider>" => "\"adapter/cache\".memory",
        "<subject>" => "\"backup.example\"",
        name => name,
    };
    let value = key
        .default()
        .map_or_else(|| key.example.to_owned(), |value| toml(&value));
    file.push_str(&format!("# {name} = {value}\n"));
}

fn comment(file: &mut String, text: &str) {
    let mut line = "#".to_owned();
    for word in text.split_whitespace() {
        if line.len() > 1 && line.len() + 1 + word.len() > WIDTH {
            file.push_str(&format!("{line}\n"));
            "#".clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    file.push_str(&format!("{line}\n"));
}

/// Markdown as text: links lose their address.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        plain.push_str(&before.replace('[', ""));
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    plain.replace('`', "")
}

/// A default in TOML; defaults are texts, numbers, flags and lists of texts, which JSON writes alike.
fn toml(value: &Value) -> String {
    value.to_string()
}
