//! `state`: what is remembered, and copies of it. `show` and `backup` ask the running process, whose
//! the database is; `check` and `restore` are for when nothing runs, and take the lock to be sure.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use oneiric_core::ErrorKind;
use oneiric_runtime::api::{DatabaseDoc, StateDoc};
use oneiric_runtime::{RuntimeError, StateDir};
use oneiric_sqlite::{FILE_NAME, Incoming, Restored, StateError, check, restore};
use serde_json::json;

use crate::args::{Backup, Check, Restore, State, StateAction};
use crate::confirm::confirm;
use crate::failure::{Failure, NO_TARGET};
use crate::interrupt::{Interrupts, interrupted};
use crate::io::Io;
use crate::output::Output;
use crate::paint::harmless;
use crate::session::{self, Session};
use crate::words::since;

pub(super) async fn run(
    args: &State,
    io: &mut Io<'_>,
    session: &mut Session,
) -> Result<Output, Failure> {
    match &args.action {
        StateAction::Show => show(session).await,
        StateAction::Backup(args) => backup(args, session).await,
        StateAction::Check(args) => checked(args, session),
        StateAction::Restore(args) => restored(args, io, session).await,
    }
}

async fn show(session: &Session) -> Result<Output, Failure> {
    let reply = session.client().await?.state().await;
    let reply = reply.map_err(session::failure)?;
    let text = shown(&reply.doc, Session::now_unix_ms());
    Ok(Output::new(text, reply.json))
}

async fn backup(args: &Backup, session: &Session) -> Result<Output, Failure> {
    let mut interrupts = Interrupts::install()?;
    let file = args.file.display();
    tokio::select! {
        biased;
        // What was received is dropped, and its file with it.
        () = interrupts.next() => Err(interrupted(&format!("{file} was not written"))),
        taken = take(args, session) => taken,
    }
}

async fn take(args: &Backup, session: &Session) -> Result<Output, Failure> {
    // Before the process is asked: a name that is taken needs no copy.
    let mut incoming =
        Incoming::begin(&args.file, args.force).map_err(|error| no_target(&error))?;
    let mut client = session.client().await?;
    let written = client.backup(&mut incoming).await;
    if let Some(error) = incoming.failed() {
        return Err(failure(&error));
    }
    written.map_err(session::failure)?;
    let summary = incoming.finish().map_err(|error| failure(&error))?;
    let file = summary.path.display().to_string();
    let database = DatabaseDoc::from(summary);
    let text = format!(
        "the state is in {}: {}\n",
        harmless(&file),
        content(&database)
    );
    let document = json!({"schema": "oneiric.backup/1", "file": file, "database": database});
    Ok(Output::new(text, document))
}

fn checked(args: &Check, session: &Session) -> Result<Output, Failure> {
    let own = session.state_dir().join(FILE_NAME);
    let file = args.file.as_deref().unwrap_or(&own);
    let _looking = match args.file {
        // A process that is started meanwhile waits.
        None => StateDir::look(session.state_dir()).map_err(|error| not_entered(&error))?,
        Some(_) => None,
    };
    let summary = check(file).map_err(|error| match &args.file {
        Some(_) => no_backup(&error),
        None => failure(&error),
    })?;
    let database = DatabaseDoc::from(summary);
    let text = format!(
        "{} is whole: {}\n",
        harmless(&database.path),
        content(&database)
    );
    let document = json!({"schema": "oneiric.check/1", "whole": true, "database": database});
    Ok(Output::new(text, document))
}

async fn restored(args: &Restore, io: &mut Io<'_>, session: &Session) -> Result<Output, Failure> {
    let state_dir = session.state_dir();
    let found = check(&args.file).map_err(|error| no_backup(&error))?;
    let found = DatabaseDoc::from(found);
    let _ours = StateDir::enter(state_dir).map_err(|error| not_entered(&error))?;
    let place = state_dir.join(FILE_NAME);
    let effect = format!(
        "{} ({}) takes the place of {}, which is kept beside it",
        found.path,
        content(&found),
        place.display()
    );
    confirm(&effect, args.assent.yes, io)?;
    let restored = put_back(args.file.clone(), place).await?;
    let kept = restored.kept.map(|kept| kept.display().to_string());
    let database = DatabaseDoc::from(restored.summary);
    let before = kept.as_ref().map_or_else(String::new, |kept| {
        format!("; what was there is {}", harmless(kept))
    });
    let text = format!(
        "{} is restored: {}{before}\n",
        harmless(&database.path),
        content(&database)
    );
    let document = json!({"schema": "oneiric.restore/1", "database": database, "kept": kept});
    Ok(Output::new(text, document))
}

/// Restores, unless a signal comes before the exchange itself; then it is undone.
async fn put_back(file: PathBuf, place: PathBuf) -> Result<Restored, Failure> {
    let mut interrupts = Interrupts::install()?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let mut work = tokio::task::spawn_blocking(move || {
        restore(&file, &place, &|| !stopped.load(Ordering::Relaxed))
    });
    let done = tokio::select! {
        done = &mut work => done,
        () = interrupts.next() => {
            stop.store(true, Ordering::Relaxed);
            work.await
        }
    };
    match done {
        Ok(Ok(restored)) => Ok(restored),
        Ok(Err(StateError::Interrupted { path })) => {
            Err(interrupted(&format!("{} is as it was", path.display())))
        }
        Ok(Err(error)) => Err(failure(&error)),
        // It is never aborted, so it panicked.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn failure(error: &StateError) -> Failure {
    let mut failure = Failure::of(error);
    failure.hint = error.hint();
    failure
}

/// Why a backup cannot be written to where it was to go; the hints of the error itself are about a state directory.
fn no_target(error: &StateError) -> Failure {
    let failed = failure(error);
    match error {
        // The directory of the file; that it cannot be looked up is no matter of reading.
        StateError::Unreadable { path, message } | StateError::Unwritable { path, message } => {
            let message = format!("{} cannot be written: {message}", path.display());
            Failure::new("sqlite.unwritable", ErrorKind::Unavailable, message).hint(NO_TARGET)
        }
        StateError::UnsafeFile { .. } => failed.hint("name a file, one that is not there yet"),
        _ => failed,
    }
}

/// Why a file that was named is no backup.
fn no_backup(error: &StateError) -> Failure {
    let failed = failure(error);
    match error {
        StateError::Corrupt { .. } | StateError::Foreign { .. } => {
            failed.hint("it cannot be restored; use another backup")
        }
        _ => failed,
    }
}

fn not_entered(error: &RuntimeError) -> Failure {
    let mut failure = Failure::of(error);
    failure.hint = error.hint();
    failure
}

/// One line about what is in a database.
fn content(database: &DatabaseDoc) -> String {
    format!(
        "revision {}, {}, {}, history of {}",
        database.last_revision,
        counted(database.selections, "selection", "selections"),
        counted(database.activity, "paused scope", "paused scopes"),
        counted(database.slots, "slot", "slots"),
    )
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn shown(doc: &StateDoc, now_unix_ms: u64) -> String {
    let mut lines = vec![("directory", harmless(&doc.state_dir))];
    let kept = match doc.kind.as_str() {
        "sqlite" => "in a database in that directory".to_owned(),
        "memory" => "in memory: nothing is left when the process ends".to_owned(),
        "own" => "in stores of the program's own".to_owned(),
        other => harmless(other),
    };
    lines.push(("kept", kept));
    if let Some(database) = &doc.database {
        let backup = match database.last_backup_unix_ms {
            Some(at) => format!("{} ago", since(at, now_unix_ms)),
            None => "never".to_owned(),
        };
        lines.extend([
            ("file", harmless(&database.path)),
            ("size", format!("{} KiB", database.bytes.div_ceil(1024))),
            ("schema", database.schema_version.to_string()),
            ("run", database.run.to_string()),
            ("revision", database.last_revision.to_string()),
            ("selections", database.selections.to_string()),
            ("paused", counted(database.activity, "scope", "scopes")),
            ("history", history(database)),
            ("values", counted(database.keys, "key", "keys")),
            ("backup", backup),
        ]);
    }
    if doc.history_waiting > 0 {
        let why = doc.refused.as_ref().map_or_else(String::new, |refused| {
            format!(
                ": {} ({})",
                harmless(&refused.message),
                harmless(&refused.code)
            )
        });
        let waiting = counted(doc.history_waiting, "entry", "entries");
        lines.push(("waiting", format!("{waiting} of the history{why}")));
    }
    if doc.history_left_out > 0 {
        let left_out = counted(doc.history_left_out, "entry", "entries");
        lines.push((
            "left out",
            format!("{left_out} of the history; its counts are right"),
        ));
    }
    lines
        .into_iter()
        .map(|(name, value)| format!("{name:<10}  {value}\n"))
        .collect()
}

fn history(database: &DatabaseDoc) -> String {
    let entries = counted(database.history, "entry", "entries");
    format!("{entries} of {}", counted(database.slots, "slot", "slots"))
}

#[cfg(test)]
mod tests {
    use serde_json::from_value;

    use super::*;

    #[test]
    fn the_state_is_told_in_lines() {
        let doc = from_value(json!({
            "schema": "oneiric.state/1", "persists": true, "kind": "sqlite", "state_dir": "/s\u{1b}",
            "database": {
                "path": "/s/state.db", "bytes": 98_304, "schema_version": 1, "run": 3,
                "last_revision": 7, "selections": 1, "activity": 0, "slots": 2, "history": 12,
                "keys": 0, "last_backup_unix_ms": 1_000,
            },
            "history_waiting": 2, "history_left_out": 0,
            "refused": {"code": "sqlite.disk_full", "message": "there is no space left"},
        }));
        let text = shown(&doc.unwrap(), 61_000);
        assert_eq!(
            text,
            "directory   /s\\u{1b}\n\
             kept        in a database in that directory\n\
             file        /s/state.db\n\
             size        96 KiB\n\
             schema      1\n\
             run         3\n\
             revision    7\n\
             selections  1\n\
             paused      0 scopes\n\
             history     12 entries of 2 slots\n\
             values      0 keys\n\
             backup      60 s ago\n\
             waiting     2 entries of the history: there is no space left (sqlite.disk_full)\n"
        );
        let memory = from_value(json!({
            "schema": "oneiric.state/1", "persists": false, "kind": "memory", "state_dir": "/s",
            "history_waiting": 0, "history_left_out": 1,
        }));
        let text = shown(&memory.unwrap(), 0);
        assert!(
            text.contains("nothing is left when the process ends"),
            "{text}"
        );
        assert!(
            text.contains("left out    1 entry of the history"),
            "{text}"
        );
    }
}
