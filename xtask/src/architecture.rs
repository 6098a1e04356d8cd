//! Keeps ARCHITECTURE.md honest: a test that it names as the guard of an invariant must exist.
//!
//! Renaming a test would otherwise leave an invariant with a guard that nobody can find.

use std::collections::BTreeSet;

use crate::files;
use crate::workspace::Workspace;

/// The words in backquotes that can only be names of tests: snake case, of three words or more.
fn named_tests(page: &str) -> BTreeSet<&str> {
    let is_test_name = |word: &&str| {
        word.matches('_').count() >= 2
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    page.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        // A test may be written with the modules it is in.
        .filter_map(|quoted| quoted.rsplit("::").next())
        .filter(is_test_name)
        .collect()
}

#[test]
fn names_of_tests_are_told_from_other_words() {
    let page = "| no `unsafe_code`, `cargo xtask` | `p07_a_b_c`, `it::registry::one_two_three` |";
    assert_eq!(
        named_tests(page),
        BTreeSet::from(["p07_a_b_c", "one_two_three"])
    );
}

#[test]
fn every_test_that_the_architecture_page_names_exists() {
    let workspace = Workspace::load().expect("cargo metadata");
    let page = files::read(&workspace.root.join("ARCHITECTURE.md")).expect("the page");
    let mut source = String::new();
    for folder in ["crates", "tests", "xtask/src"] {
        for path in files::below(&workspace.root.join(folder)).expect("a folder") {
            if path.extension().is_some_and(|extension| extension == "rs") {
                source.push_str(&files::read(&path).expect("a source file"));
            }
        }
    }
    let missing: Vec<_> = named_tests(&page)
        .into_iter()
        .filter(|name| !source.contains(&format!("fn {name}(")))
        .collect();
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md names tests that do not exist: {missing:?}"
    );
}
