//! Watches the files that settings come from.
//!
//! What the system tells of is only a reason to look: whether something changed is decided by the content of the files,
//! which is the same question on every system, for every editor, for a mounted directory whose links are exchanged, and
//! for files that come later. So nothing depends on which events there are, and where there are none the files are
//! looked at every now and then.
//!
//! A change is taken up when two looks, `reload.debounce_ms` apart, find the same. Not when events have ceased: in a
//! directory in which others write all the time they never do.
//!
//! The first look is compared with what the settings in force were read from. A file that was changed while the process
//! started is a change like any other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::AccessKind};
use tokio::{sync::Notify, time::sleep};

use super::state::Watching;
use crate::{runtime::Runtime, settings::Stamp};

/// How much of a file is looked at: more than settings can be long.
const MOST_BYTES: u64 = 2 << 20;
/// After so many times `reload.retry_ms` files are looked at although the system tells of changes: some file systems
/// forget to.
const ANYWAY: u32 = 30;
/// How many looks may find something new before it is taken up all the same.
const MOST_LOOKS: usize = 20;
/// How many links one path is followed through.
const MOST_LINKS: usize = 8;

/// Watches until it is dropped, and has the settings reloaded when they changed.
pub(super) async fn run(runtime: &Runtime, files: Vec<PathBuf>) {
    let mut eye = Eye::new(files, &runtime.settings().stamps).await;
    loop {
        let settings = runtime.settings().reload.clone();
        if !settings.watch {
            runtime.inner.reload.state.watching(Watching::Off);
            runtime.inner.reload.ended.notified().await;
            continue;
        }
        let watching = eye.attend().await;
        let state = &runtime.inner.reload.state;
        state.watching(watching);
        // Whoever asked for the reload that found it so.
        let failing = state.unreadable();
        let most = match (failing, watching) {
            // What cannot be read may be readable a moment later without any change that shows.
            (true, _) | (_, Watching::Polling) => settings.retry,
            _ => settings.retry * ANYWAY,
        };
        tokio::select! {
            () = eye.events.notified() => {}
            () = sleep(most) => {}
            // Whether to watch may be another now.
            () = runtime.inner.reload.ended.notified() => continue,
        }
        if eye.changed(settings.debounce).await || failing {
            // What came of it is written down.
            drop(runtime.reload(super::FILE).await);
        }
    }
}

/// Looks at files.
struct Eye {
    files: Arc<[PathBuf]>,
    /// What was found when the settings were last read.
    seen: Vec<Look>,
    events: Arc<Notify>,
    /// Absent where the system has none to give.
    watcher: Option<RecommendedWatcher>,
    watched: BTreeMap<Id, PathBuf>,
}

/// What a file holds, as far as it matters here: whether it is the same as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Content(Stamp),
    NoFile,
    Unreadable(io::ErrorKind),
}

const ABSENT: Look = Look::Unreadable(io::ErrorKind::NotFound);

impl Eye {
    async fn new(files: Vec<PathBuf>, stamps: &BTreeMap<PathBuf, Stamp>) -> Self {
        let events = Arc::new(Notify::new());
        let wake = Arc::clone(&events);
        // What this process itself reads is told of too, and would make it look again for ever.
        let told = move |event: notify::Result<Event>| {
            let looked = |kind| matches!(kind, EventKind::Access(access) if !is_written(access));
            if !event.is_ok_and(|event| looked(event.kind)) {
                wake.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(told)
            .inspect_err(
                |error| tracing::warn!(%error, "the system watches no files; they are polled"),
            )
            .ok();
        let seen = files.iter().map(|file| match stamps.get(file) {
            Some(stamp) => Look::Content(*stamp),
            None => ABSENT,
        });
        let mut eye = Self {
            seen: seen.collect(),
            files: files.into(),
            events,
            watcher,
            watched: BTreeMap::new(),
        };
        eye.attend().await;
        let found = eye.look().await;
        // What is no file, such as a pipe that was named, cannot be read once more to compare.
        for (seen, found) in eye.seen.iter_mut().zip(found) {
            if found == Look::NoFile {
                *seen = found;
            }
        }
        // To look once whatever happens: nobody tells of what was before.
        eye.events.notify_one();
        eye
    }

    /// Whether the files hold something else than they did, and have come to rest.
    async fn changed(&mut self, debounce: Duration) -> bool {
        let mut found = self.look().await;
        for _ in 0..MOST_LOOKS {
            sleep(debounce).await;
            let again = self.look().await;
            if again == found {
                break;
            }
            found = again;
        }
        let changed = found != self.seen;
        self.seen = found;
        changed
    }

    async fn look(&self) -> Vec<Look> {
        let files = Arc::clone(&self.files);
        let looked =
            tokio::task::spawn_blocking(move || files.iter().map(|file| look(file)).collect());
        // Not done only when the process ends.
        looked.await.unwrap_or_default()
    }

    /// Watches every directory in which something could happen to a file; afresh where another has taken its place.
    async fn attend(&mut self) -> Watching {
        let files = Arc::clone(&self.files);
        let wanted = tokio::task::spawn_blocking(move || directories(&files));
        let wanted = wanted.await.unwrap_or_default();
        let Some(watcher) = &mut self.watcher else {
            return Watching::Polling;
        };
        let watched = std::mem::take(&mut self.watched);
        for (id, path) in watched {
            if wanted.contains_key(&id) {
                self.watched.insert(id, path);
            } else {
                // The system has forgotten it already when it was removed.
                drop(watcher.unwatch(&path));
            }
        }
        let mut all = true;
        let mut new = false;
        for (id, path) in wanted {
            if self.watched.contains_key(&id) {
                continue;
            }
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(id, path);
                    new = true;
                }
                // It may have gone in this moment, or the system's watches are used up.
                Err(error) => {
                    tracing::debug!(path = %path.display(), %error, "a directory is not watched");
                    all = false;
                }
            }
        }
        if new {
            // What happened in there before it was watched nobody has told of.
            self.events.notify_one();
        }
        if all {
            Watching::Events
        } else {
            Watching::Polling
        }
    }
}

/// Which directory it is, whatever its path: the system knows it by this too, and gives one watch for all its names.
/// With the time at which it was made, because numbers are given again.
type Id = (u64, u64, Option<SystemTime>);

const fn is_written(access: AccessKind) -> bool {
    use notify::event::AccessMode;

    matches!(access, AccessKind::Close(AccessMode::Write))
}

fn look(file: &Path) -> Look {
    match read(file) {
        Ok(Some(content)) => Look::Content(Stamp::of(&content)),
        Ok(None) => Look::NoFile,
        Err(error) => Look::Unreadable(error.kind()),
    }
}

/// The content of a file, of one that is too long its beginning; `None` when it is something else.
fn read(file: &Path) -> io::Result<Option<Vec<u8>>> {
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut content = Vec::new();
    File::open(file)?
        .take(MOST_BYTES)
        .read_to_end(&mut content)?;
    Ok(Some(content))
}

/// The directories to watch, and which they are: for each file and each link on the way to it the directory it is in, or
/// would be, and the one above, where it shows when that directory itself is exchanged.
fn directories(files: &[PathBuf]) -> BTreeMap<Id, PathBuf> {
    let mut paths: BTreeSet<PathBuf> = BTreeSet::new();
    for file in files {
        let mut path = file.clone();
        for _ in 0..MOST_LINKS {
            let directory = existing(&path);
            paths.insert(directory.join(".."));
            paths.insert(directory.clone());
            let Ok(target) = path.read_link() else {
                break;
            };
            path = parent(&path).join(target);
        }
        // Links among the directories on the way.
        if let Ok(real) = file.canonicalize() {
            paths.insert(parent(&real).to_owned());
        }
    }
    paths
        .into_iter()
        .filter_map(|path| {
            let path = path.canonicalize().ok()?;
            let about = path.metadata().ok()?;
            Some(((about.dev(), about.ino(), about.created().ok()), path))
        })
        .collect()
}

/// The nearest directory above `path` that there is.
fn existing(path: &Path) -> PathBuf {
    let mut directory = parent(path);
    while !directory
        .metadata()
        .is_ok_and(|about: Metadata| about.is_dir())
    {
        let above = parent(directory);
        if above == directory {
            break;
        }
        directory = above;
    }
    directory.to_owned()
}

/// The directory above `path`; that of a bare name is the one worked in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::fs::symlink};

    use super::*;

    fn write(file: impl AsRef<Path>, text: &str) -> io::Result<()> {
        File::create(file)?.write_all(text.as_bytes())
    }

    #[test]
    fn a_look_sees_content_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.toml");
        let look = || look(&file);
        assert_eq!(look(), ABSENT);
        write(&file, "one").unwrap();
        let one = look();
        write(&file, "two").unwrap();
        assert_ne!(look(), one);
        let other = dir.path().join("b.toml");
        write(&other, "one").unwrap();
        std::fs::rename(&other, &file).unwrap();
        assert_eq!(look(), one, "what it says is what counts");
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert_eq!(look(), Look::NoFile);
    }

    #[test]
    fn every_place_where_a_file_could_change_is_watched() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["mount", "mount/v1", "elsewhere"] {
            std::fs::create_dir(root.join(name)).unwrap();
        }
        write(root.join("mount/v1/a.toml"), "").unwrap();
        symlink("v1", root.join("mount/data")).unwrap();
        symlink("data/a.toml", root.join("mount/a.toml")).unwrap();
        symlink(root.join("mount/a.toml"), root.join("elsewhere/a.toml")).unwrap();
        let watched = directories(&[root.join("elsewhere/a.toml"), root.join("no/such/b.toml")]);
        let watched: BTreeSet<PathBuf> = watched.into_values().collect();
        for name in ["mount", "mount/v1", "elsewhere", ""] {
            assert!(watched.contains(&root.join(name)), "{name} in {watched:?}");
        }
    }

    #[test]
    fn a_bare_name_is_in_the_directory_worked_in() {
        assert_eq!(existing(Path::new("oneiric.toml")), Path::new("."));
        assert_eq!(parent(Path::new("/")), Path::new("/"));
    }
}
