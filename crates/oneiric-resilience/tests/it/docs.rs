//! The pages are programs: an example on a page is the file, and what the page says it prints is what
//! it prints.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/resilience");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");

thread_local! {
    static PRINTED: RefCell<String> = const { RefCell::new(String::new()) };
}

fn print(line: fmt::Arguments<'_>) {
    PRINTED.with_borrow_mut(|printed| {
        printed.push_str(&line.to_string());
        printed.push('\n');
    });
}

/// What the examples below print is kept, not printed: they see this one and not the one of std.
macro_rules! println {
    ($($line:tt)*) => {
        crate::docs::print(format_args!($($line)*))
    };
}

#[expect(
    unreachable_pub,
    reason = "each has a `main`, as a program does, which is called from here"
)]
#[path = "../../examples"]
mod examples {
    pub(super) mod blocking;
    pub(super) mod breaker;
    pub(super) mod bucket;
    pub(super) mod bulkhead;
    pub(super) mod deadline;
    pub(super) mod fallback;
    #[cfg(feature = "tower")]
    pub(super) mod layers;
    #[cfg(feature = "serde")]
    pub(super) mod policy;
    pub(super) mod retry;
    pub(super) mod scope;
    #[cfg(feature = "tower")]
    pub(super) mod tower;
}

/// Runs an example and compares file, page and what is printed.
fn check(name: &str, run: impl FnOnce()) {
    PRINTED.take();
    run();
    let printed = PRINTED.take();
    let file = read(EXAMPLES, &format!("{name}.rs"));
    let (page, text) = page_with(&format!("<!-- example: {name} -->\n"));
    let mut blocks = text.split("\n```").map(|block| block.split_once('\n'));
    let mut block = |language: &str| match blocks
        .find(|block| block.is_some_and(|(info, _)| info == language))
    {
        Some(Some((_, text))) => format!("{text}\n"),
        _ => panic!("{page} has no {language} block for `{name}`"),
    };
    assert_eq!(block("rust"), as_shown(&file), "{page}, example `{name}`");
    assert_eq!(block("text"), printed, "{page}, what `{name}` prints");
}

/// An example without what does not matter to who reads the page: its head, and that `main` is public.
fn as_shown(file: &str) -> String {
    let (_, code) = file
        .split_once("\nuse ")
        .expect("an example uses something");
    format!("use {code}")
        .replace("pub fn main", "fn main")
        .replace("pub async fn main", "async fn main")
}

/// The page that has a mark, and what follows it there.
fn page_with(mark: &str) -> (String, String) {
    let pages = names(PAGES).into_iter().filter_map(|page| {
        let text = read(PAGES, &page);
        let (_, after) = text.split_once(mark)?;
        Some((page, after.to_owned()))
    });
    let mut pages = pages.collect::<Vec<_>>();
    assert_eq!(pages.len(), 1, "{mark:?} is on {pages:?}");
    pages.remove(0)
}

fn names(directory: &str) -> BTreeSet<String> {
    std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn read(directory: &str, name: &str) -> String {
    std::fs::read_to_string(Path::new(directory).join(name)).unwrap()
}

/// Every file of source, however deep it lies.
fn sources(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let texts = entries.map(|entry| entry.unwrap().path()).map(|path| {
        if path.is_dir() {
            return sources(&path);
        }
        vec![std::fs::read_to_string(path).unwrap()]
    });
    texts.flatten().collect()
}

#[test]
fn the_blocking_example_is_as_shown() {
    check("blocking", || examples::blocking::main().unwrap());
}

#[test]
fn the_breaker_example_is_as_shown() {
    check("breaker", || examples::breaker::main().unwrap());
}

#[test]
fn the_bucket_example_is_as_shown() {
    check("bucket", || examples::bucket::main().unwrap());
}

#[cfg(feature = "tower")]
#[test]
fn the_layers_example_is_as_shown() {
    check("layers", || examples::layers::main().unwrap());
}

#[test]
fn the_bulkhead_example_is_as_shown() {
    check("bulkhead", || examples::bulkhead::main().unwrap());
}

#[test]
fn the_deadline_example_is_as_shown() {
    check("deadline", examples::deadline::main);
}

#[test]
fn the_fallback_example_is_as_shown() {
    check("fallback", examples::fallback::main);
}

#[cfg(feature = "serde")]
#[test]
fn the_policy_example_is_as_shown() {
    check("policy", || examples::policy::main().unwrap());
}

#[test]
fn the_retry_example_is_as_shown() {
    check("retry", || examples::retry::main().unwrap());
}

#[test]
fn the_scope_example_is_as_shown() {
    check("scope", examples::scope::main);
}

#[cfg(feature = "tower")]
#[test]
fn the_tower_example_is_as_shown() {
    check("tower", || examples::tower::main().unwrap());
}

/// An example that nobody runs is one that nobody keeps true.
#[test]
fn every_example_is_shown_and_run() {
    let source = include_str!("docs.rs");
    let missing: Vec<_> = names(EXAMPLES)
        .into_iter()
        .filter(|file| {
            let name = file.trim_end_matches(".rs");
            !source.contains(&format!("check(\"{name}\""))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// What a page shows of the reference is what is compiled there.
#[test]
fn what_is_shown_of_the_reference_is_as_there() {
    let source = include_str!("../../src/metrics.rs");
    let shown: Vec<_> = source
        .lines()
        .skip_while(|line| *line != "/// ```")
        .skip(1)
        .take_while(|line| *line != "/// ```")
        .map(|line| line.strip_prefix("/// ").unwrap_or_default())
        .filter(|line| !line.starts_with("# "))
        .collect();
    let (page, text) = page_with("<!-- rustdoc: metrics.rs -->\n\n```rust,ignore\n");
    let (block, _) = text.split_once("```\n").unwrap();
    assert_eq!(block, shown.join("\n") + "\n", "{page}");
}

/// What a doc comment names as its source is a section that is there.
#[test]
fn every_section_that_the_code_cites_is_there() {
    const CITED: &str = "docs/spec/resilience.md, \"";
    let page = include_str!("../../../../docs/spec/resilience.md");
    let sections: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    let cited: BTreeSet<String> = sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")))
        .iter()
        .flat_map(|text| {
            let cited = text.split(CITED).skip(1);
            cited.filter_map(|rest| rest.split('"').next())
        })
        .map(str::to_owned)
        .collect();
    assert!(cited.len() > 10, "{cited:?}");
    for section in &cited {
        assert!(sections.contains(section.as_str()), "{section:?}");
    }
}
