//! The one thread that has the connection. Work comes to it as closures and is done one after the other.
//!
//! A thread and not a mutex, because a backup needs the connection for many small steps: between two of them the
//! thread does whatever has come in, so that a backup holds no writer up for longer than one step. SQLite carries what
//! is written meanwhile on the same connection over into the copy, which is therefore whole and as of its end.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread::JoinHandle,
};

use rusqlite::Connection;

use crate::{backup, error::StateError};

type Work = Box<dyn FnOnce(&Connection) + Send>;

enum Job {
    Work(Work),
    Backup(Copying),
}

/// A backup that is asked for.
struct Copying {
    to: PathBuf,
    done: SyncSender<Result<(), StateError>>,
}

/// The way to the thread. When it is dropped, the thread closes the connection, and that is waited for.
#[derive(Debug)]
pub(crate) struct Worker {
    path: PathBuf,
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    pub(crate) fn start(connection: Connection, path: &Path) -> Result<Self, StateError> {
        let (jobs, to_do) = mpsc::channel();
        let file = path.to_owned();
        let thread = std::thread::Builder::new()
            .name("oneiric-state".to_owned())
            .spawn(move || serve(connection, &file, &to_do))
            .map_err(|error| StateError::Internal {
                message: format!("no thread for the state: {error}"),
            })?;
        Ok(Self {
            path: path.to_owned(),
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Has `work` done with the connection, and waits for it. Blocks.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.send(Job::Work(Box::new(move |connection| {
            // Whoever asked always waits, so the answer is always taken.
            let _taken = answer.send(work(connection));
        })))?;
        answered.recv().map_err(|_| gone())?
    }

    /// As [`Worker::call`], for work that fails with what SQLite says only.
    pub(crate) fn query<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StateError> {
        let path = self.path.clone();
        self.call(move |connection| work(connection).map_err(|error| StateError::of(&path, &error)))
    }

    /// Copies the database into the file `to`, which is there and empty. Blocks until it is done.
    pub(crate) fn backup(&self, to: PathBuf) -> Result<(), StateError> {
        let (done, answered) = mpsc::sync_channel(1);
        self.send(Job::Backup(Copying { to, done }))?;
        answered.recv().map_err(|_| gone())?
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn send(&self, job: Job) -> Result<(), StateError> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job).map_err(|_| gone())
    }

    /// Closes the connection. What is asked for afterwards is refused.
    pub(crate) fn close(&self) {
        drop(
            self.jobs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(Err(_panic)) = thread.map(JoinHandle::join) {
            tracing::error!("the thread of the state panicked");
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.close();
    }
}

fn gone() -> StateError {
    StateError::Internal {
        message: "the state was closed, or its thread failed".to_owned(),
    }
}

fn serve(connection: Connection, path: &Path, jobs: &Receiver<Job>) {
    connection.set_prepared_statement_cache_capacity(64);
    // Backups wait for each other, and nothing else waits for them: it is done between the steps of the one under way.
    let mut waiting: VecDeque<Copying> = VecDeque::new();
    loop {
        if let Some(Copying { to, done }) = waiting.pop_front() {
            let copied = backup::copy(&connection, path, &to, || {
                while let Ok(job) = jobs.try_recv() {
                    match job {
                        Job::Work(work) => do_work(&connection, work),
                        Job::Backup(another) => waiting.push_back(another),
                    }
                }
                true
            });
            let _taken = done.send(copied);
            continue;
        }
        match jobs.recv() {
            Ok(Job::Work(work)) => do_work(&connection, work),
            Ok(Job::Backup(copying)) => waiting.push_back(copying),
            Err(_closed) => break,
        }
    }
    if let Err((_, error)) = connection.close() {
        tracing::error!(
            reason = error.to_string(),
            "the state was not closed cleanly"
        );
    }
}

/// A panic in one piece of work is that one's: its caller sees the answer's channel close.
fn do_work(connection: &Connection, work: Work) {
    if catch_unwind(AssertUnwindSafe(|| work(connection))).is_err() {
        tracing::error!("work on the state panicked");
        if !connection.is_autocommit() {
            // The transaction was dropped by the panic, which rolls it back; this is for one that was not.
            let _rolled_back = connection.execute_batch("ROLLBACK");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::TryRecvError;

    use super::*;
    use crate::open;

    #[test]
    fn a_backup_that_waits_for_another_holds_up_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let (connection, path) = open::open(&dir.path().join("state.db")).unwrap();
        let (jobs, to_do) = mpsc::channel();
        let (answers, answered) = mpsc::channel();
        let mut first = None;
        for name in ["first", "second", "third"] {
            let to = dir.path().join(name);
            open::make_file(&to).unwrap();
            let (done, is_done) = mpsc::sync_channel(1);
            jobs.send(Job::Backup(Copying { to, done })).unwrap();
            first.get_or_insert(is_done);
        }
        let first = first.unwrap();
        // Enough for several steps.
        let bulk = "INSERT INTO key_value VALUES ('bulk', 'key', zeroblob(1000000), NULL)";
        connection.execute_batch(bulk).unwrap();
        let work: Work = Box::new(move |_| answers.send(first.try_recv().unwrap_err()).unwrap());
        jobs.send(Job::Work(work)).unwrap();
        drop(jobs);
        serve(connection, &path, &to_do);
        assert_eq!(answered.recv(), Ok(TryRecvError::Empty));
        for name in ["first", "second", "third"] {
            assert_eq!(backup::check(&dir.path().join(name)).unwrap().keys, 1);
        }
    }
}
