//! A file cache among things that are no files, and among other instances that are at work.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use oneiric_builtins::{FileCache, FileCacheSettings};
use oneiric_domains::Cache;
use oneiric_lifecycle::{Health, Probe};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::{ManualClock, open};

/// The key whose place is taken, and its value.
const KEY: &str = "a";
const VALUE: Bytes = Bytes::from_static(b"1");

/// A directory with one entry, and where that one lies.
async fn with_entry() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    cache(directory.path()).put(KEY, VALUE, None).await.unwrap();
    let mut files = fs::read_dir(directory.path()).unwrap();
    let entry = files.next().unwrap().unwrap().path();
    (directory, entry)
}

fn cache(directory: &Path) -> Arc<FileCache> {
    open(&FileCacheSettings::new(directory), &ManualClock::new())
}

/// What `call` gives; should it wait for the other end of `pipe`, the test ends and does not hang.
async fn unhindered<T>(pipe: &Path, call: impl Future<Output = T>) -> T {
    let answer = tokio::time::timeout(Duration::from_secs(60), call).await;
    if answer.is_err() {
        // Open at both ends it lets go of every call, without which the runtime would not end.
        let mut both_ends = fs::File::options();
        std::mem::forget(both_ends.read(true).write(true).open(pipe));
    }
    answer.expect("a call waits for what stands in an entry's place")
}

fn pipe(place: &Path) {
    mknodat(CWD, place, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

fn socket(place: &Path) {
    UnixListener::bind(place).unwrap();
}

fn dangling_link(place: &Path) {
    std::os::unix::fs::symlink("nowhere", place).unwrap();
}

fn circular_link(place: &Path) {
    std::os::unix::fs::symlink(place, place).unwrap();
}

fn device_link(place: &Path) {
    std::os::unix::fs::symlink("/dev/zero", place).unwrap();
}

fn empty_directory(place: &Path) {
    fs::create_dir(place).unwrap();
}

fn full_directory(place: &Path) {
    fs::create_dir_all(place.join("with/something")).unwrap();
}

#[tokio::test]
async fn what_is_no_file_is_not_there_and_a_put_takes_its_place() {
    for obstacle in [
        pipe,
        socket,
        dangling_link,
        circular_link,
        device_link,
        empty_directory,
        full_directory,
    ] {
        let (directory, entry) = with_entry().await;
        let before = cache(directory.path());
        fs::remove_file(&entry).unwrap();
        obstacle(&entry);
        let path = directory.path().to_owned();
        let opening = tokio::task::spawn_blocking(move || cache(&path));
        let after = unhindered(&entry, opening).await.unwrap();
        for cache in [before, after] {
            let calls = async {
                assert_eq!(cache.get(KEY).await.unwrap(), None);
                assert!(!cache.delete(KEY).await.unwrap());
                assert_eq!(cache.probe().await, Health::Ok);
            };
            unhindered(&entry, calls).await;
        }
        assert!(fs::symlink_metadata(&entry).is_ok(), "left where it was");

        let cache = cache(directory.path());
        unhindered(&entry, cache.put(KEY, VALUE, None))
            .await
            .unwrap();
        assert_eq!(cache.get(KEY).await.unwrap(), Some(VALUE));
        assert!(cache.delete(KEY).await.unwrap());
    }
}

#[tokio::test]
async fn a_link_to_an_entry_elsewhere_is_not_followed() {
    let (elsewhere, target) = with_entry().await;
    let (directory, entry) = with_entry().await;
    fs::remove_file(&entry).unwrap();
    std::os::unix::fs::symlink(&target, &entry).unwrap();

    let cache_here = cache(directory.path());
    assert_eq!(cache_here.get(KEY).await.unwrap(), None);
    let new = Bytes::from_static(b"2");
    cache_here.put(KEY, new.clone(), None).await.unwrap();
    assert_eq!(cache_here.get(KEY).await.unwrap(), Some(new));
    let cache_there = cache(elsewhere.path());
    assert_eq!(cache_there.get(KEY).await.unwrap(), Some(VALUE));
}

#[tokio::test]
async fn a_directory_in_an_entrys_place_is_kept_under_another_name() {
    let (directory, entry) = with_entry().await;
    fs::remove_file(&entry).unwrap();
    full_directory(&entry);
    cache(directory.path()).put(KEY, VALUE, None).await.unwrap();
    let aside = fs::read_dir(directory.path())
        .unwrap()
        .map(|file| file.unwrap().path())
        .find(|path| *path != entry)
        .unwrap();
    assert!(aside.join("with/something").is_dir(), "{aside:?}");
    let name = aside.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("set-aside-"), "{name}");
}

/// The writer makes files come and go all the time; each start has to cope with what it meets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_can_be_opened_while_another_is_at_work() {
    let directory = tempfile::tempdir().unwrap();
    let writer = cache(directory.path());
    let done = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&done);
    let writing = tokio::spawn(async move {
        while !until.load(Ordering::Relaxed) {
            for key in ["a", "b", "c", "d"] {
                writer.put(key, VALUE, None).await.unwrap();
            }
            for key in ["a", "b", "c", "d"] {
                writer.delete(key).await.unwrap();
            }
        }
    });
    let path = directory.path().to_owned();
    let opening = tokio::task::spawn_blocking(move || {
        for _ in 0..1_000 {
            cache(&path);
        }
    });
    let opened = opening.await;
    done.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    opened.unwrap();
}
