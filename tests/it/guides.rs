//! The guides are programs: every command in them is run, and what it prints is compared.

use std::collections::BTreeSet;
use std::path::Path;

use oneiric_tests::console::{self, Event};
use oneiric_tests::{Place, guide, ports, program};

const GUIDES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guides");

/// Does everything that a guide says, in an empty directory.
fn follow(name: &str) {
    let page = std::fs::read_to_string(Path::new(GUIDES).join(name)).unwrap();
    // `<!-- needs: curl openssl -->`
    let needs = page
        .lines()
        .find_map(|line| line.strip_prefix("<!-- needs: ")?.strip_suffix(" -->"));
    if !needs
        .unwrap_or_default()
        .split_whitespace()
        .all(program::is_there)
    {
        return;
    }
    // A page names the port that somebody would choose; whoever follows it here takes one that is free.
    let page = ["6390", "8443"].iter().fold(page, |page, port| {
        page.replace(port, &ports::free().to_string())
    });
    let faults = guide::run(&page, &Place::new(), str::to_owned);
    assert!(
        faults.is_empty(),
        "docs/guides/{name}\n{}",
        faults.join("\n")
    );
    look_without_a_process(name, &page);
}

/// Whatever settings a guide writes, as long as they are right, can be looked at before anything runs.
fn look_without_a_process(name: &str, page: &str) {
    let place = Place::new();
    let mut looked = 0;
    for event in console::events(page) {
        let Event::File {
            name: file,
            text,
            append,
        } = event
        else {
            continue;
        };
        let before = std::fs::read_to_string(place.path().join(&file)).unwrap_or_default();
        place.write(&file, &if append { before + &text } else { text });
        let is_right =
            |check: &str| place.oneiric(&["--config", &file, "config", check]).code == Some(0);
        if !file.ends_with(".toml") || !is_right("check") {
            continue;
        }
        looked += 1;
        place
            .oneiric(&["--config", &file, "list", "--offline"])
            .ok();
        let said = place
            .oneiric(&["--config", &file, "doctor", "--json"])
            .stdout;
        let document: serde_json::Value = serde_json::from_str(&said).unwrap();
        for check in document["checks"].as_array().unwrap() {
            let about_settings = ["settings", "factories", "selections", "dependencies"];
            if about_settings.iter().any(|name| check["check"] == *name) {
                assert_ne!(
                    check["verdict"], "bad",
                    "docs/guides/{name}: {file}: {check}"
                );
                assert_ne!(
                    check["verdict"], "unknown",
                    "docs/guides/{name}: {file}: {check}"
                );
            }
        }
    }
    assert!(looked > 0, "docs/guides/{name} writes no settings");
}

#[test]
fn getting_started_goes_as_it_says() {
    follow("getting-started.md");
}

#[test]
fn deployment_goes_as_it_says() {
    follow("deployment.md");
}

#[test]
fn backing_up_goes_as_it_says() {
    follow("backup.md");
}

#[test]
fn operations_go_as_they_say() {
    follow("operations.md");
}

#[test]
fn troubleshooting_goes_as_it_says() {
    follow("troubleshooting.md");
}

/// A guide that nobody follows is a guide that nobody keeps true.
#[test]
fn every_guide_is_followed() {
    let there: BTreeSet<String> = std::fs::read_dir(GUIDES)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let source = include_str!("guides.rs");
    let not_followed: Vec<_> = there
        .iter()
        .filter(|name| !source.contains(&format!("follow(\"{name}\")")))
        .collect();
    assert!(not_followed.is_empty(), "{not_followed:?}");
}

#[test]
fn troubleshooting_names_only_codes_that_are_explained() {
    let page = std::fs::read_to_string(Path::new(GUIDES).join("troubleshooting.md")).unwrap();
    let errors = std::fs::read_to_string(Path::new(GUIDES).join("../reference/errors.md")).unwrap();
    let headings = page.lines().filter_map(|line| line.strip_prefix("### "));
    let codes: Vec<&str> = headings.flat_map(|line| line.split(", ")).collect();
    assert!(codes.len() > 20, "{codes:?}");
    for code in codes {
        assert!(errors.contains(&format!("| `{code}` |")), "{code}");
    }
}

/// Where a page of the repository leads, there is a page.
#[test]
fn no_link_in_a_page_leads_nowhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages = vec![
        root.clone(),
        root.join("docs/guides"),
        root.join("docs/spec"),
        root.join("docs/resilience"),
    ];
    pages.push(root.join("docs/reference"));
    let mut nowhere = Vec::new();
    for directory in pages {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let page = std::fs::read_to_string(&path).unwrap();
            let links = page
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next());
            for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
                let file = link.split('#').next().unwrap();
                if !directory.join(file).exists() {
                    nowhere.push(format!("{}: {link}", path.display()));
                }
            }
        }
    }
    assert!(nowhere.is_empty(), "{nowhere:#?}");
}
