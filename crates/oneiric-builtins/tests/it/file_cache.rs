//! What a file cache does with its directory, above all with what it did not write itself.

use std::fs::{self, File};
use std::io::Write;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oneiric_builtins::{FileCache, FileCacheSettings};
use oneiric_core::{Coded, WallClock};
use oneiric_domains::Cache;
use oneiric_lifecycle::Retire;

use crate::support::{ManualClock, open};

struct Place {
    directory: tempfile::TempDir,
    settings: FileCacheSettings,
    clock: Arc<ManualClock>,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = FileCacheSettings::new(directory.path());
        Self {
            directory,
            settings,
            clock: ManualClock::new(),
        }
    }

    fn open(&self) -> Arc<FileCache> {
        open(&self.settings, &self.clock)
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.directory.path()).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        File::create(&path).unwrap().write_all(content).unwrap();
        path
    }
}

async fn put(cache: &FileCache, key: &str, value: &'static str) {
    cache
        .put(key, Bytes::from_static(value.as_bytes()), None)
        .await
        .unwrap();
}

async fn get(cache: &FileCache, key: &str) -> Option<String> {
    let value = cache.get(key).await.unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

#[tokio::test]
async fn entries_survive_a_restart_and_expire_after_it() {
    let place = Place::new();
    let cache = place.open();
    put(&cache, "stays", "1").await;
    let ttl = Some(Duration::from_secs(60));
    cache
        .put("goes", Bytes::from_static(b"2"), ttl)
        .await
        .unwrap();
    drop(cache);

    place.clock.advance(Duration::from_secs(59));
    let cache = place.open();
    assert_eq!(get(&cache, "stays").await.as_deref(), Some("1"));
    assert_eq!(get(&cache, "goes").await.as_deref(), Some("2"));
    drop(cache);

    place.clock.advance(Duration::from_secs(1));
    let cache = place.open();
    assert_eq!(
        place.files().len(),
        1,
        "what expired is removed at the start"
    );
    assert_eq!(get(&cache, "goes").await, None);
}

#[tokio::test]
async fn after_a_restart_those_written_longest_ago_go_first() {
    let mut place = Place::new();
    let cache = place.open();
    let mut at = place.clock.now();
    for key in ["oldest", "older", "newest"] {
        let before = place.files();
        put(&cache, key, "1").await;
        let new = place
            .files()
            .into_iter()
            .find(|file| !before.contains(file))
            .unwrap();
        at += Duration::from_secs(1);
        File::options()
            .write(true)
            .open(new)
            .unwrap()
            .set_modified(at)
            .unwrap();
    }
    place.settings.max_entries = NonZeroUsize::new(2).unwrap();
    let cache = place.open();
    assert_eq!(place.files().len(), 2);
    assert_eq!(get(&cache, "oldest").await, None);
    assert!(get(&cache, "older").await.is_some());
    assert!(get(&cache, "newest").await.is_some());
}

#[tokio::test]
async fn a_write_that_a_kill_cut_short_is_swept_once_nobody_can_finish_it() {
    let place = Place::new();
    let cut_short = place.write("unfinished-1-1", b"half an ent");
    let written = place.clock.now();
    File::options()
        .write(true)
        .open(&cut_short)
        .unwrap()
        .set_modified(written)
        .unwrap();

    place.clock.advance(Duration::from_secs(59));
    place.open();
    assert!(cut_short.exists(), "somebody may still be at it");

    place.clock.advance(Duration::from_secs(1));
    let cache = place.open();
    assert!(!cut_short.exists());
    assert_eq!(get(&cache, "a").await, None);
}

#[tokio::test]
async fn files_of_others_are_left_alone() {
    let place = Place::new();
    place.write("notes.txt", b"mine");
    place.write("d41d8cd98f00b204e9800998ecf8427e", b"a checksum by name");
    fs::create_dir(place.directory.path().join("folder")).unwrap();
    fs::create_dir(place.directory.path().join(format!("{:032x}.entry", 7))).unwrap();
    let before = place.files();
    let cache = place.open();
    put(&cache, "a", "1").await;
    assert!(cache.delete("a").await.unwrap());
    assert_eq!(place.files(), before);
}

/// Damages the one entry of `place` and tells what the cache then gives, and how many files are left.
async fn after_damage(
    place: &Place,
    reopen: bool,
    damage: impl FnOnce(&Path),
) -> (Option<String>, usize) {
    let cache = place.open();
    put(&cache, "a", "a value of some length").await;
    let [file] = place.files().try_into().unwrap();
    damage(&file);
    let cache = if reopen { place.open() } else { cache };
    let found = get(&cache, "a").await;
    let left = place.files().len();
    put(&cache, "a", "2").await;
    assert_eq!(
        get(&cache, "a").await.as_deref(),
        Some("2"),
        "the place can be used again"
    );
    (found, left)
}

#[tokio::test]
async fn a_damaged_entry_is_not_there() {
    let damages: [fn(&Path); 4] = [
        |file| drop(File::create(file).unwrap()),
        |file| {
            File::options()
                .write(true)
                .open(file)
                .unwrap()
                .set_len(20)
                .unwrap()
        },
        |file| {
            File::options()
                .append(true)
                .open(file)
                .unwrap()
                .write_all(b"more")
                .unwrap()
        },
        |file| {
            let mut content = fs::read(file).unwrap();
            *content.last_mut().unwrap() ^= 1;
            File::create(file).unwrap().write_all(&content).unwrap();
        },
    ];
    for damage in damages {
        for reopen in [false, true] {
            assert_eq!(after_damage(&Place::new(), reopen, damage).await, (None, 0));
        }
    }
}

#[tokio::test]
async fn an_entry_under_the_name_of_another_is_not_given_away() {
    let place = Place::new();
    let cache = place.open();
    put(&cache, "a", "a's value").await;
    let [of_a] = place.files().try_into().unwrap();
    put(&cache, "b", "b's value").await;
    let of_b = place
        .files()
        .into_iter()
        .find(|file| *file != of_a)
        .unwrap();
    fs::copy(&of_a, &of_b).unwrap();
    assert_eq!(get(&cache, "b").await, None);
    assert!(!cache.delete("b").await.unwrap());
    assert_eq!(get(&cache, "a").await.as_deref(), Some("a's value"));
}

#[tokio::test]
async fn a_huge_file_in_an_entrys_place_is_not_read() {
    let mut place = Place::new();
    let grow = |file: &Path| {
        File::options()
            .write(true)
            .open(file)
            .unwrap()
            .set_len(1 << 40)
            .unwrap()
    };
    for max_bytes in [1_000, u64::MAX] {
        place.settings.max_bytes = NonZeroU64::new(max_bytes).unwrap();
        assert_eq!(after_damage(&place, false, grow).await, (None, 0));
    }
}

#[tokio::test]
async fn the_bound_on_bytes_holds_on_the_disk() {
    let mut place = Place::new();
    place.settings.max_bytes = NonZeroU64::new(300).unwrap();
    let cache = place.open();
    for key in ["a", "b", "c", "d", "e", "f"] {
        cache
            .put(key, Bytes::from_static(&[7; 50]), None)
            .await
            .unwrap();
        let bytes: u64 = place
            .files()
            .iter()
            .map(|file| fs::metadata(file).unwrap().len())
            .sum();
        assert!(bytes <= 300, "{bytes}");
    }
    assert_eq!(place.files().len(), 3);
    let error = cache
        .put("large", Bytes::from_static(&[7; 300]), None)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "lifecycle.invalid_payload");
    assert_eq!(
        place.files().len(),
        3,
        "nothing was pushed out for what cannot be kept"
    );
}

#[tokio::test]
async fn a_default_time_to_live_of_0_has_run_out_and_the_largest_never_does() {
    let mut place = Place::new();
    place.settings.default_ttl_ms = Some(0);
    let cache = place.open();
    put(&cache, "a", "1").await;
    assert_eq!(get(&cache, "a").await, None);

    place.settings.default_ttl_ms = Some(u64::MAX);
    let cache = place.open();
    put(&cache, "a", "1").await;
    place.clock.advance(Duration::from_hours(24 * 365 * 1_000));
    assert_eq!(get(&place.open(), "a").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn what_another_instance_wrote_is_seen_and_counted() {
    let mut place = Place::new();
    place.settings.max_entries = NonZeroUsize::new(2).unwrap();
    let (old, new) = (place.open(), place.open());
    put(&old, "a", "1").await;
    assert_eq!(get(&new, "a").await.as_deref(), Some("1"));
    put(&new, "b", "2").await;
    put(&new, "c", "3").await;
    assert_eq!(
        get(&new, "a").await,
        None,
        "adopted, so it was the first to go"
    );
    assert_eq!(get(&old, "a").await, None);
    assert_eq!(get(&old, "c").await.as_deref(), Some("3"));
}

#[tokio::test]
async fn a_retired_cache_writes_nothing_any_more_and_has_lost_nothing() {
    let place = Place::new();
    let cache = place.open();
    put(&cache, "a", "1").await;
    cache.retire().await.unwrap();
    let error = cache.put("b", Bytes::new(), None).await.unwrap_err();
    assert_eq!(error.code(), "lifecycle.call_unavailable");
    assert_eq!(
        cache.delete("a").await.unwrap_err().code(),
        "lifecycle.call_unavailable"
    );
    assert_eq!(place.files().len(), 1);
    assert_eq!(get(&place.open(), "a").await.as_deref(), Some("1"));
}

#[cfg(unix)]
#[tokio::test]
async fn directory_and_entries_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;

    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("made/for/it");
    let cache = open(&FileCacheSettings::new(&directory), &ManualClock::new());
    put(&cache, "a", "1").await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let file = fs::read_dir(&directory)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert_eq!(mode(&file), 0o600);
}

#[tokio::test]
async fn a_directory_that_cannot_be_is_an_error_with_a_code() {
    let place = Place::new();
    let file = place.write("file", b"");
    let error = FileCache::open(
        &FileCacheSettings::new(file.join("under")),
        place.clock.clone(),
    );
    let error = error.unwrap_err();
    assert_eq!(error.code(), "builtins.directory_unusable");
    assert!(error.to_string().contains("under"), "{error}");
}

#[tokio::test]
async fn callers_are_not_told_paths() {
    let place = Place::new();
    let cache = place.open();
    let path = place.directory.path().display().to_string();
    fs::remove_dir_all(place.directory.path()).unwrap();
    let error = cache.put("a", Bytes::new(), None).await.unwrap_err();
    assert_eq!(error.code(), "lifecycle.call_failed");
    assert!(!error.to_string().contains(&path), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_see_whole_values_while_writers_replace_them() {
    let place = Place::new();
    let cache = place.open();
    let writers = (0_u8..4).map(|writer| {
        let cache = Arc::clone(&cache);
        tokio::spawn(async move {
            for round in 0..50_u8 {
                let value = Bytes::from(vec![writer; 1_000 + usize::from(round)]);
                cache.put("shared", value, None).await.unwrap();
            }
        })
    });
    let readers = (0..4).map(|_| {
        let cache = Arc::clone(&cache);
        tokio::spawn(async move {
            for _ in 0..100 {
                if let Some(value) = cache.get("shared").await.unwrap() {
                    assert!(value.len() >= 1_000 && value.iter().all(|byte| *byte == value[0]));
                }
            }
        })
    });
    for task in writers.chain(readers).collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(place.files().len(), 1);
}
