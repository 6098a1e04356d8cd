//! `cargo xtask codes`: every error code is explained to operators and produced by a test.
//!
//! A code is a promise: scripts match on it, runbooks look it up. Codes are found in the source
//! rather than listed by hand, so that one cannot be added in silence. The rule: **a string literal
//! of the form `layer.reason`, alone between its quotes, outside tests, is an error code.** It comes
//! into being in the crate of its layer; other crates may only mention it, as a table of hints does,
//! and a mention of a code that does not exist is a slip. The few literals that have the form and
//! are something else stand in `NOT_CODES`; a loud exception is better than a code that slips
//! through because it was not written in the usual place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::Failure;
use crate::codes_table::Page;
use crate::files;
use crate::rust_source::{self, Literal};
use crate::workspace::Workspace;

pub(crate) const HELP: &str = "\
Checks that every error code in crates/*/src has a filled row in docs/reference/errors.md and
occurs in a test, and that no row explains a code that does not exist. A code is a string literal
such as \"core.no_candidate\".

Usage: cargo xtask codes [--check | --write]

Examples:
  cargo xtask codes            checks
  cargo xtask codes --write    adds an empty row for each new code; then fill in its cells";

/// Where codes are explained.
const REFERENCE: &str = "docs/reference/errors.md";

/// First halves of codes: the crates, without their prefix.
const LAYERS: &[&str] = &[
    "builtins",
    "cli",
    "core",
    "domains",
    "lifecycle",
    "net",
    "remote",
    "resilience",
    "runtime",
    "sqlite",
    "wasm",
];

/// Last halves that make a file name of it (`runtime.sock`), never a code.
const FILE_ENDINGS: &[&str] = &[
    "db", "json", "lock", "log", "md", "pid", "rs", "sock", "sqlite", "toml", "txt", "yaml", "yml",
];

/// Literals that have the form of a code and are something else, each with what it is.
const NOT_CODES: &[(&str, &str)] = &[(
    "lifecycle.probes_at_once",
    "a setting, and none of those that are durations",
)];

/// What the tree says about codes.
#[derive(Debug, Default)]
struct Found {
    /// Every code, and where its own crate first has it (`file:line`).
    in_source: BTreeMap<String, String>,
    /// Every code that another crate mentions, and where.
    mentioned: BTreeMap<String, String>,
    /// The text of everything that tests compare with.
    in_tests: String,
}

pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Failure> {
    let write = match args
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] | ["--check"] => false,
        ["--write"] => true,
        _ => {
            return Err(Failure::Usage(format!(
                "codes takes --check or --write\n\n{HELP}"
            )));
        }
    };
    let found = scan(workspace)?;
    let path = workspace.root.join(REFERENCE);
    let mut page = Page::parse(&files::read(&path)?)
        .map_err(|message| Failure::failed(format!("{REFERENCE}: {message}")))?;
    if write {
        let new: Vec<_> = found
            .in_source
            .keys()
            .filter(|code| !page.has(code))
            .collect();
        for code in &new {
            page.add(code);
        }
        files::replace(&path, &page.to_text())?;
        println!(
            "codes: {} new rows in {REFERENCE}; fill in their cells",
            new.len()
        );
        return Ok(());
    }
    let faults = check(&found, &page);
    if !faults.is_empty() {
        return Err(Failure::failed(faults.join("\nerror: ")));
    }
    println!(
        "codes: {} codes, each explained and tested",
        found.in_source.len()
    );
    Ok(())
}

/// Every broken rule, in words; empty when all is well.
fn check(found: &Found, page: &Page) -> Vec<String> {
    let mut faults: Vec<_> = page
        .faults()
        .iter()
        .map(|fault| format!("{REFERENCE}: {fault}"))
        .collect();
    for (code, place) in &found.in_source {
        if page.retired.contains(code) {
            faults.push(format!(
                "{place}: `{code}` is retired and must not come back"
            ));
        } else if !page.has(code) {
            faults.push(format!(
                "{place}: `{code}` has no row in {REFERENCE}: `cargo xtask codes --write` adds \
                 one to fill in (if it is no error code, name it in NOT_CODES, xtask/src/codes.rs)"
            ));
        }
        if !mentions(&found.in_tests, code) {
            faults.push(format!(
                "{place}: no test mentions `{code}`: make one produce it"
            ));
        }
    }
    for (code, place) in &found.mentioned {
        if !found.in_source.contains_key(code) {
            faults.push(format!(
                "{place}: `{code}` is mentioned, but its layer has no such code"
            ));
        }
    }
    for code in page.codes() {
        if !found.in_source.contains_key(code) {
            faults.push(format!(
                "{REFERENCE}: `{code}` is nowhere in the source: move its row to the retired codes"
            ));
        }
    }
    faults
}

/// Reads crates and scenarios.
fn scan(workspace: &Workspace) -> Result<Found, Failure> {
    let mut found = Found::default();
    for folder in ["crates", "tests"] {
        for path in files::below(&workspace.root.join(folder))? {
            let shown = workspace.shown(&path).to_string();
            let extension = path.extension().and_then(|extension| extension.to_str());
            match (place_of(Path::new(&shown)), extension) {
                (Place::Source, Some("rs")) => {
                    found.add(&shown, literals(&path, &shown)?);
                }
                (Place::Test, Some("rs")) => {
                    for literal in literals(&path, &shown)? {
                        found.add_test(&literal.text);
                    }
                }
                (Place::Test, Some("snap")) => found.add_test(&files::read(&path)?),
                _ => {}
            }
        }
    }
    Ok(found)
}

fn literals(path: &Path, shown: &str) -> Result<Vec<Literal>, Failure> {
    rust_source::literals(&files::read(path)?)
        .map_err(|error| Failure::failed(format!("{shown}: {error}")))
}

impl Found {
    fn add(&mut self, file: &str, literals: Vec<Literal>) {
        for literal in literals {
            if literal.in_test {
                self.add_test(&literal.text);
            } else if is_code(&literal.text) {
                let place = format!("{file}:{}", literal.line);
                let is_its_own = layer_of(file) == literal.text.split('.').next();
                let codes = if is_its_own {
                    &mut self.in_source
                } else {
                    &mut self.mentioned
                };
                codes.entry(literal.text).or_insert(place);
            }
        }
    }

    fn add_test(&mut self, text: &str) {
        self.in_tests.push_str(text);
        self.in_tests.push('\n');
    }
}

/// The layer whose crate a file belongs to: `crates/oneiric-LAYER/src/...`.
fn layer_of(file: &str) -> Option<&str> {
    file.strip_prefix("crates/oneiric-")?.split('/').next()
}

/// What kind of code a file holds.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Source,
    Test,
    Other,
}

/// Tests are what lies in a folder `tests` (of a crate, a module or the workspace), and the module
/// file `tests.rs`; benchmarks and examples of a crate are neither.
fn place_of(path: &Path) -> Place {
    let parts: BTreeSet<_> = path.iter().filter_map(|part| part.to_str()).collect();
    if parts.contains("tests") || parts.contains("tests.rs") || parts.contains("snapshots") {
        Place::Test
    } else if parts.contains("src") {
        Place::Source
    } else {
        Place::Other
    }
}

/// Whether a literal has the form `layer.reason` and is neither a file name, nor the key of a setting in a section that
/// is called as a layer (`lifecycle.drain_ms`: no reason ends in a unit), nor an exception.
fn is_code(text: &str) -> bool {
    let Some((layer, reason)) = text.split_once('.') else {
        return false;
    };
    LAYERS.contains(&layer)
        && reason.len() >= 2
        && !reason.ends_with("_ms")
        && reason.starts_with(|c: char| c.is_ascii_lowercase())
        && reason.chars().all(is_reason_char)
        && !FILE_ENDINGS.contains(&reason)
        && !NOT_CODES.iter().any(|(literal, _)| *literal == text)
}

fn is_reason_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

/// Whether the code stands in the text by itself, not as the beginning of a longer one.
fn mentions(text: &str, code: &str) -> bool {
    text.match_indices(code).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text
            .get(at + code.len()..)
            .and_then(|after| after.chars().next());
        !before.is_some_and(|c| is_reason_char(c) || c == '.') && !after.is_some_and(is_reason_char)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes_table::{HEADER, RETIRED_HEADER};

    fn page(rows: &[&str], retired: &[&str]) -> Page {
        let mut text = format!("{HEADER}\n|---|---|---|---|---|\n");
        for code in rows {
            text.push_str(&format!("| `{code}` | m | c | w | 0.1 |\n"));
        }
        text.push_str(&format!("\n{RETIRED_HEADER}\n|---|---|---|\n"));
        for code in retired {
            text.push_str(&format!("| `{code}` | m | 0.1 |\n"));
        }
        Page::parse(&text).expect("a page")
    }

    fn found(source: &str, tests: &str) -> Found {
        let mut found = Found::default();
        found.add(
            "crates/oneiric-core/src/lib.rs",
            rust_source::literals(source).expect("Rust"),
        );
        found.add_test(tests);
        found
    }

    const SOURCE: &str = r#"fn code(&self) -> &'static str { "core.tied" }"#;

    #[test]
    fn a_code_that_is_explained_and_tested_is_fine() {
        let found = found(SOURCE, "error[core.tied]: two of them");
        assert_eq!(
            check(&found, &page(&["core.tied"], &[])),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_code_without_a_row_or_a_test_is_named_with_its_place() {
        let faults = check(&found(SOURCE, ""), &page(&[], &[]));
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].starts_with("crates/oneiric-core/src/lib.rs:1: `core.tied` has no row"));
        assert!(
            faults[1].contains("no test mentions `core.tied`"),
            "{faults:?}"
        );
    }

    #[test]
    fn a_row_without_a_code_and_a_retired_code_that_returns_are_faults() {
        let faults = check(
            &found(SOURCE, "core.tied"),
            &page(&["core.gone"], &["core.tied"]),
        );
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("`core.tied` is retired"), "{faults:?}");
        assert!(
            faults[1].contains("`core.gone` is nowhere in the source"),
            "{faults:?}"
        );
    }

    #[test]
    fn another_crate_may_mention_a_code_that_exists_and_no_other() {
        let mut found = found(SOURCE, "core.tied");
        let hints = r#"fn hint() { ["core.tied", "core.tide"] }"#;
        found.add(
            "crates/oneiric-cli/src/hint.rs",
            rust_source::literals(hints).expect("Rust"),
        );
        let faults = check(&found, &page(&["core.tied"], &[]));
        assert_eq!(
            faults,
            [
                "crates/oneiric-cli/src/hint.rs:1: `core.tide` is mentioned, but its layer has no such code"
            ]
        );
    }

    #[test]
    fn only_whole_literals_of_the_form_are_codes() {
        for code in [
            "core.no_candidate",
            "lifecycle.probe_failed",
            "sqlite.v2_schema",
        ] {
            assert!(is_code(code), "{code}");
        }
        for other in [
            "core.rs",
            "runtime.sock",
            "core",
            "core.",
            "core.Tied",
            "core.tied.more",
            "core.1",
            "oneiric.builtins:memory",
            "other.reason",
            "see core.tied",
            "core.tied\\n",
        ] {
            assert!(!is_code(other), "{other}");
        }
    }

    #[test]
    fn a_longer_code_does_not_stand_for_a_shorter_one() {
        assert!(mentions("core.tied\n", "core.tied"));
        assert!(mentions("\"code\":\"core.tied\"", "core.tied"));
        assert!(!mentions("core.tied_twice", "core.tied"));
        assert!(!mentions("hardcore.tied", "core.tied"));
        assert!(!mentions("a.core.tied", "core.tied"));
    }

    #[test]
    fn tests_are_told_from_source_by_their_place() {
        for test in [
            "tests/it/main.rs",
            "crates/a/tests/it/b.rs",
            "crates/a/src/b/tests.rs",
        ] {
            assert_eq!(place_of(Path::new(test)), Place::Test, "{test}");
        }
        assert_eq!(place_of(Path::new("crates/a/src/b.rs")), Place::Source);
        assert_eq!(place_of(Path::new("crates/a/examples/b.rs")), Place::Other);
    }
}
