//! What is written, and known afterwards.

use std::sync::Arc;

use oneiric_core::{Coded, ErrorKind};

use oneiric_domains::{MemorySelectionStore, Undone};

use super::*;

fn entry(provider: Option<&str>) -> Entry {
    Entry {
        slot: "adapter/cache".parse().unwrap(),
        provider: provider.map(|name| name.parse().unwrap()),
        who: "uid:1".into(),
        reason: None,
        at_unix_ms: 7,
        undoes: None,
    }
}

fn line(slot: &str, provider: Option<&str>, undoes: Option<(u64, u64)>) -> Entry {
    Entry {
        slot: slot.parse().unwrap(),
        undoes: undoes.map(|(first, last)| Undone { first, last }),
        ..entry(provider)
    }
}

#[tokio::test]
async fn a_revision_of_several_slots_has_one_number_and_each_line_says_what_became_of_it() {
    let revisions = Revisions::default();
    let both = vec![line("a/b", Some("x"), None), line("a/c", Some("y"), None)];
    let made = revisions.record_all(both, None).await.unwrap().unwrap();
    assert_eq!((made[0].revision, made[1].revision), (1, 1));
    revisions
        .record(line("a/c", Some("z"), None))
        .await
        .unwrap();
    revisions
        .record(line("a/c", Some("y"), Some((2, 2))))
        .await
        .unwrap();
    let became: Vec<_> = revisions
        .history()
        .into_iter()
        .map(|line| (line.revision, line.slot.to_string(), line.became, line.by))
        .collect();
    let expected = [
        (1, "a/b", Became::InForce, None),
        (1, "a/c", Became::Replaced, Some(2)),
        (2, "a/c", Became::Undone, Some(3)),
        (3, "a/c", Became::InForce, None),
    ];
    let expected =
        expected.map(|(number, slot, became, by)| (number, slot.to_owned(), Some(became), by));
    assert_eq!(became, expected);
    assert_eq!(revisions.since(1).len(), 2);
    let error = revisions.back_to(4).unwrap_err();
    assert_eq!(error.code(), "runtime.revision_unknown");
}

#[tokio::test]
async fn a_line_stands_until_somebody_changes_the_slot_however_much_is_forgotten() {
    let revisions = Revisions::default();
    let mut others = 0;
    let mut forget = async || {
        for _ in 0..1_100 {
            others += 1;
            let other = line("a/other", Some(["x", "y"][others % 2]), None);
            revisions.record(other).await.unwrap();
        }
    };
    let selected = revisions.record(entry(Some("a"))).await.unwrap();
    forget().await;
    assert!(
        revisions
            .history()
            .iter()
            .all(|one| one.slot != selected.slot)
    );
    assert!(revisions.stands(&selected));
    let cleared = revisions.record(entry(None)).await.unwrap();
    assert!(!revisions.stands(&selected) && revisions.stands(&cleared));
    forget().await;
    assert!(!revisions.stands(&selected) && revisions.stands(&cleared));
    revisions.record(entry(Some("a"))).await.unwrap();
    assert!(!revisions.stands(&selected) && !revisions.stands(&cleared));
}

#[tokio::test]
async fn revisions_are_numbered_and_say_what_was_before() {
    let revisions = Revisions::default();
    let first = revisions.record(entry(Some("a"))).await.unwrap();
    let second = revisions.record(entry(Some("b"))).await.unwrap();
    let third = revisions.record(entry(None)).await.unwrap();
    assert_eq!((first.revision, second.revision, third.revision), (1, 2, 3));
    assert_eq!((first.before, second.before), (None, first.provider));
    assert_eq!(third.before, second.provider);
    assert_eq!(
        (revisions.in_force().len(), revisions.history().len()),
        (0, 3)
    );
}

#[tokio::test]
async fn what_was_selected_before_a_store_is_opened_is_written_to_it() {
    let revisions = Revisions::default();
    revisions.record(entry(Some("a"))).await.unwrap();
    revisions.record(entry(Some("b"))).await.unwrap();
    let store = Arc::new(MemorySelectionStore::new());
    let earlier = Revisions::default();
    earlier
        .adopt(
            Arc::clone(&store) as Arc<dyn SelectionStore>,
            store.load().unwrap(),
        )
        .await
        .unwrap();
    earlier.record(entry(Some("old"))).await.unwrap();
    let known = store.load().unwrap();
    revisions
        .adopt(Arc::clone(&store) as Arc<dyn SelectionStore>, known)
        .await
        .unwrap();
    let book = store.load().unwrap();
    assert_eq!(book.last, 2);
    let last = book.history.back().unwrap();
    assert_eq!(last.provider, entry(Some("b")).provider);
    assert_eq!(last.before, entry(Some("old")).provider);
    assert_eq!(revisions.history().len(), 2);
}

struct Full;

impl SelectionStore for Full {
    fn load(&self) -> Result<SelectionBook, StoreError> {
        Ok(SelectionBook::default())
    }

    fn append_all(&self, lines: &[Revision]) -> Result<(), StoreError> {
        assert_ne!(lines[0].who, "panic", "as asked");
        Err(StoreError::new(
            "sqlite.disk_full",
            ErrorKind::Unavailable,
            "full",
        ))
    }
}

#[tokio::test]
async fn a_store_that_does_not_take_what_was_selected_before_is_not_gone_on_with() {
    let revisions = Revisions::default();
    revisions.record(entry(Some("a"))).await.unwrap();
    let known = SelectionBook {
        last: 41,
        ..SelectionBook::default()
    };
    let refused = revisions.adopt(Arc::new(Full), known).await.unwrap_err();
    assert_eq!(refused.code(), "sqlite.disk_full");
    assert_eq!(revisions.in_force()[0].provider, entry(Some("a")).provider);
    let next = revisions.record(entry(Some("b"))).await.unwrap();
    assert_eq!(next.revision, 2);
}

#[tokio::test]
async fn what_cannot_be_written_has_not_happened() {
    let revisions = Revisions::default();
    revisions
        .adopt(Arc::new(Full), SelectionBook::default())
        .await
        .unwrap();
    let refused = revisions.record(entry(Some("a"))).await.unwrap_err();
    assert_eq!(refused.code(), "sqlite.disk_full");
    let panics = Entry {
        who: "panic".into(),
        ..entry(Some("a"))
    };
    let refused = revisions.record(panics).await.unwrap_err();
    assert_eq!(refused.code(), "runtime.internal");
    assert_eq!(
        (revisions.history(), revisions.in_force()),
        (Vec::new(), Vec::new())
    );
}

#[tokio::test]
async fn what_was_made_on_another_revision_than_the_last_is_not_written() {
    let revisions = Revisions::default();
    revisions.record(entry(Some("a"))).await.unwrap();
    let lines = || vec![entry(Some("b"))];
    assert_eq!(revisions.record_all(lines(), Some(0)).await.unwrap(), None);
    // Nothing to write is no excuse.
    assert_eq!(
        revisions.record_all(Vec::new(), Some(0)).await.unwrap(),
        None
    );
    assert_eq!(revisions.last(), 1);
    let nothing = revisions.record_all(Vec::new(), Some(1)).await.unwrap();
    assert_eq!(nothing, Some(Vec::new()));
    let written = revisions.record_all(lines(), Some(1)).await.unwrap();
    assert_eq!(written.unwrap()[0].revision, 2);
}
