//! Sources of candidates and packages.

use oneiric_core::{
    Candidate, Coded, Discover, DiscoverError, ErrorKind, Origin, Registry, StackOrder, refresh,
    register_pkg,
};

use crate::support::{cache, origin, query, winner};

struct Folder(Option<Vec<Candidate>>);

impl Discover for Folder {
    fn origin(&self) -> Origin {
        origin("folder:site")
    }

    fn discover(&self) -> Result<Vec<Candidate>, DiscoverError> {
        let unreadable =
            || DiscoverError::new("reading the plugin folder").because("permission denied");
        self.0.clone().ok_or_else(unreadable)
    }
}

#[test]
fn a_refresh_replaces_what_the_source_found_before() {
    let registry = Registry::new();
    let found = |name: &str| Folder(Some(vec![cache(name, "folder:site").build()]));
    refresh(&registry, &found("redis")).unwrap();
    refresh(&registry, &found("file")).unwrap();
    assert_eq!(
        (registry.snapshot().len(), winner(&registry).as_deref()),
        (1, Some("file"))
    );
}

#[test]
fn a_source_that_cannot_tell_loses_nothing() {
    let registry = Registry::new();
    refresh(
        &registry,
        &Folder(Some(vec![cache("redis", "folder:site").build()])),
    )
    .unwrap();
    let error = refresh(&registry, &Folder(None)).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("core.discovery_failed", ErrorKind::Unavailable)
    );
    assert_eq!(winner(&registry).as_deref(), Some("redis"));
    let foreign = Folder(Some(vec![cache("file", "settings").build()]));
    assert_eq!(
        refresh(&registry, &foreign).unwrap_err().code(),
        "core.origin_mismatch"
    );
    assert_eq!(winner(&registry).as_deref(), Some("redis"));
}

#[test]
fn a_package_lends_its_priority_to_candidates_that_state_none() {
    let registry = Registry::new();
    let order = StackOrder::parse("listed:7").unwrap();
    let stated = cache("stated", "code:x").priority(1).build();
    let silent = cache("silent", "code:x").build();
    register_pkg(
        &registry,
        "listed",
        "/srv/x",
        &order,
        [stated, silent.clone()],
    )
    .unwrap();
    register_pkg(&registry, "other", "/srv/adapters/x", &order, [silent]).unwrap();
    let all = registry.resolve_all(&query());
    let seen: Vec<String> = all
        .iter()
        .map(|held| format!("{held} {}", held.score().priority))
        .collect();
    assert_eq!(
        seen,
        [
            "silent (plugin:other) 76",
            "silent (plugin:listed) 7",
            "stated (plugin:listed) 1"
        ]
    );
    let error = register_pkg(&registry, "bad name", "", &order, []).unwrap_err();
    assert_eq!(error.code(), "core.invalid_origin");
}
