//! The page on cancel safety against the sources, and against the tests that drop what is on it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const CRATES: [&str; 3] = ["oneiric-lifecycle", "oneiric-domains", "oneiric-runtime"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file of Rust below a directory.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The type that an `impl` at the left margin is of.
fn implemented(line: &str) -> Option<String> {
    let rest = line.strip_prefix("impl")?;
    // Past the parameters, `<T: ?Sized>`.
    let mut depth = 0;
    let end = rest.find(|letter| {
        depth += i32::from(letter == '<') - i32::from(letter == '>');
        depth == 0 && letter == ' '
    })?;
    let of = rest.get(end..)?.trim();
    let of = of.split_once(" for ").map_or(of, |(_, of)| of);
    Some(of.split(['<', ' ', '{']).next()?.to_owned())
}

/// `Type::function` of every public async function in a source.
fn functions(source: &str) -> Vec<String> {
    let (mut of, mut found) = (String::new(), Vec::new());
    for line in source.lines() {
        if let Some(named) = implemented(line) {
            of = named;
        }
        let is_free = line.starts_with("pub async fn ");
        if let Some(rest) = line.trim_start().strip_prefix("pub async fn ") {
            let name = rest.split(['(', '<']).next().unwrap();
            found.push(if is_free {
                name.to_owned()
            } else {
                format!("{of}::{name}")
            });
        }
    }
    found
}

fn of_crate(name: &str) -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&root().join("crates").join(name).join("src"), &mut files);
    let all = files.iter().flat_map(|file| functions(&read(file)));
    all.collect()
}

/// The functions in the first cells of a crate's tables.
fn on_page(page: &str, name: &str) -> BTreeSet<String> {
    let (_, section) = page.split_once(&format!("\n## {name}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|line| line.split('|').nth(1));
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_public_async_function_is_on_the_page_and_nothing_else_is() {
    let page = read("docs/spec/cancel-safety.md");
    for name in CRATES {
        let (there, written) = (of_crate(name), on_page(&page, name));
        let missing: Vec<_> = there.difference(&written).collect();
        let gone: Vec<_> = written.difference(&there).collect();
        assert!(
            missing.is_empty(),
            "{name}: not on docs/spec/cancel-safety.md: {missing:?}"
        );
        assert!(
            gone.is_empty(),
            "{name}: on the page and not there: {gone:?}"
        );
        assert!(!there.is_empty(), "{name}");
    }
}

#[test]
fn every_function_on_the_page_is_dropped_by_a_test() {
    let page = read("docs/spec/cancel-safety.md");
    for name in CRATES {
        let tests = read(format!("crates/{name}/tests/it/cancel_points.rs"));
        let dropped = |function: &&String| tests.contains(&format!("\"{function}\""));
        let functions = on_page(&page, name);
        let never: Vec<_> = functions.iter().filter(|one| !dropped(one)).collect();
        assert!(
            never.is_empty(),
            "{name}: nothing in cancel_points.rs drops {never:?}"
        );
    }
}

#[test]
fn functions_are_found_with_the_type_they_are_of() {
    let source = "impl<T: ?Sized + Send> Live<T> {\n    pub async fn ready(&self) {}\n}\nimpl Runtime {\n    \
                  pub async fn run<F>(&self) {}\n    pub(crate) async fn no(&self) {}\n}\npub async fn free() {}\n";
    assert_eq!(functions(source), ["Live::ready", "Runtime::run", "free"]);
    assert_eq!(
        implemented("impl fmt::Debug for Live<T> {").as_deref(),
        Some("Live")
    );
}
