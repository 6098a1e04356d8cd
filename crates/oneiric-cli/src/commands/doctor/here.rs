//! What can be seen without a process: settings, files, and the machine.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use oneiric_runtime::{Runtime, Settings};
use oneiric_sqlite::FILE_NAME as DATABASE;
use rustix::process::{Resource, geteuid, getrlimit};

use super::{Finding, doors, secrets};
use crate::env_vars::Env;
use crate::session::{self, Session};
use crate::{offline, settings};

/// Room on the disk below which somebody should look, and below which writes are about to fail; in bytes.
const LITTLE_ROOM: u64 = 64 << 20;
const NO_ROOM: u64 = 4 << 20;

/// Open files below which many connections and components do not fit.
const FEW_FILES: u64 = 1_024;

/// 2026-01-01, before which no copy of this program was made; in seconds since 1970.
const BEFORE_US: u64 = 1_767_225_600;

/// How far a file of ours may lie in the future before the clock is to blame; in seconds.
const SLACK: u64 = 300;

pub(super) async fn findings(env: &Env, session: &Session) -> Vec<Finding> {
    if session.is_elsewhere() {
        let says = "--url names a process elsewhere: settings, files and limits of this machine are not looked at";
        return vec![Finding::unknown("here", says)];
    }
    let mut findings = Vec::new();
    let checked = settings::load_checked(&session.sources);
    findings.push(match &checked {
        Ok(settings) => read(settings),
        Err(failure) => Finding::failed("settings", failure),
    });
    findings.push(variables(env));
    match checked.and_then(|settings| Ok((offline::of_settings(settings.clone(), env)?, settings)))
    {
        Ok((runtime, settings)) => {
            findings.extend([
                Finding::good("factories", "each candidate has its factory"),
                selections(&runtime),
                dependencies(&runtime),
                secrets::fetched(&runtime).await,
                secrets::files(&settings),
            ]);
            findings.extend(key(&settings));
            findings.extend(doors::tcp(&settings, session));
        }
        Err(_) => {
            for check in [
                "factories",
                "selections",
                "dependencies",
                "secrets",
                "secret_files",
            ] {
                findings.push(Finding::unknown(check, "the settings have faults"));
            }
        }
    }
    findings.push(state_dir(session.state_dir()));
    findings.push(database(session.state_dir()));
    findings.extend(room(session.state_dir()));
    findings.push(open_files());
    findings.push(clock(session.state_dir()));
    findings
}

fn read(settings: &Settings) -> Finding {
    let files: Vec<String> = settings
        .files()
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    if files.is_empty() {
        return Finding::warning("settings", "there is no settings file")
            .fix("`oneiric init` writes one to begin with; --config FILE names one");
    }
    let odd: Vec<String> = settings
        .warnings()
        .iter()
        // There is a check for these alone.
        .filter(|warning| !warning.is_about_a_selection())
        .map(ToString::to_string)
        .collect();
    if !odd.is_empty() {
        return Finding::warning("settings", odd.join("\n"))
            .fix("correct them, unless the candidates come from elsewhere later");
    }
    Finding::good("settings", format!("no faults in {}", files.join(", ")))
}

fn variables(env: &Env) -> Finding {
    let unknown: Vec<&str> = env.unknown().collect();
    if unknown.is_empty() {
        return Finding::good("variables", "each variable ONEIRIC_* is one that is read");
    }
    let says = format!("nobody reads {}", unknown.join(", "));
    Finding::warning("variables", says)
        .fix("correct or unset them; `oneiric --help` lists those there are")
}

fn selections(runtime: &Runtime) -> Finding {
    let snapshot = runtime.registry().snapshot();
    let unknown = snapshot.unknown_selections();
    if unknown.is_empty() {
        return Finding::good("selections", "each names a provider there is");
    }
    let lines: Vec<String> = unknown
        .iter()
        .map(|one| {
            format!(
                "{} selects {}, whom nobody registered",
                one.slot, one.provider
            )
        })
        .collect();
    Finding::warning("selections", lines.join("\n"))
        .fix("correct [selections], or add the candidate")
}

/// Whether what wins finds what it needs, and none needs itself.
fn dependencies(runtime: &Runtime) -> Finding {
    let snapshot = runtime.registry().snapshot();
    let tied = snapshot
        .slots()
        .filter(|slot| snapshot.winner(slot).is_none());
    let tied = tied.map(|slot| format!("{slot}: nobody wins, some are tied"));
    let faults = runtime.lifecycle().dependency_faults();
    let lines: Vec<String> = tied.chain(faults.lines()).collect();
    let fix = "`oneiric explain SLOT --offline` says who wins and why";
    if !lines.is_empty() {
        return Finding::bad("dependencies", lines.join("\n")).fix(fix);
    }
    let notes: Vec<String> = faults.notes().collect();
    if !notes.is_empty() {
        return Finding::warning("dependencies", notes.join("\n")).fix(fix);
    }
    Finding::good("dependencies", "what wins finds what it needs")
}

/// The key of the admin API over TCP.
fn key(settings: &Settings) -> Option<Finding> {
    let key = &settings.admin.tcp.as_ref()?.key;
    Some(match key.metadata() {
        Err(error) => Finding::bad(
            "tls_key",
            format!("{} cannot be read: {error}", key.display()),
        ),
        Ok(file) if file.mode() & 0o077 != 0 => {
            let says = format!("others may read {}", key.display());
            Finding::bad("tls_key", says).fix(format!("chmod 600 {}", key.display()))
        }
        Ok(_) => Finding::good("tls_key", "it is readable by its owner only"),
    })
}

fn state_dir(path: &Path) -> Finding {
    let shown = path.display();
    let directory = match path.metadata() {
        Ok(directory) => directory,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let says = format!("{shown} is not there yet; the first start makes it");
            return Finding::good("state_dir", says);
        }
        Err(error) => return Finding::bad("state_dir", format!("{shown}: {error}")),
    };
    let (me, mode) = (geteuid().as_raw(), directory.mode() & 0o7777);
    if !directory.is_dir() {
        Finding::bad("state_dir", format!("{shown} is no directory"))
            .fix("name another one with --state-dir or `state_dir`")
    } else if directory.uid() != me && me != 0 {
        let says = format!(
            "{shown} belongs to user {}, and you are {me}",
            directory.uid()
        );
        Finding::bad("state_dir", says).fix("run this as the user of the process")
    } else if mode & 0o077 != 0 {
        Finding::bad(
            "state_dir",
            format!("{shown} is open to other users (mode {mode:o})"),
        )
        .fix(format!("chmod 700 {shown}"))
    } else if rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_err() {
        Finding::bad("state_dir", format!("{shown} cannot be written to"))
    } else {
        Finding::good("state_dir", format!("{shown} is yours alone"))
    }
}

/// Looks into the database, unless a process has it open: that one looks after it itself.
fn database(state_dir: &Path) -> Finding {
    let path = state_dir.join(DATABASE);
    if !path.exists() {
        return Finding::good("database", "there is none yet");
    }
    if let Some(process) = session::holder(state_dir) {
        return Finding::unknown("database", format!("{process} has it open"));
    }
    match oneiric_sqlite::check(&path) {
        Ok(summary) => {
            let says = format!(
                "{} bytes, schema {}, {} selections, revision {}",
                summary.bytes, summary.schema, summary.selections, summary.last_revision
            );
            Finding::good("database", says)
        }
        Err(error) => {
            let failure = crate::failure::Failure::of(&error);
            let finding = Finding::failed("database", &failure);
            match error.hint() {
                Some(hint) => finding.fix(hint),
                None => finding,
            }
        }
    }
}

/// Room on the disk of the state directory, or of what it is going to be made in.
fn room(state_dir: &Path) -> Option<Finding> {
    let nearest: PathBuf = state_dir
        .ancestors()
        .map(|above| {
            if above.as_os_str().is_empty() {
                Path::new(".")
            } else {
                above
            }
        })
        .find(|above| above.exists())?
        .to_owned();
    let disk = rustix::fs::statvfs(&nearest).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let says = format!("{} MiB are free for {}", free >> 20, state_dir.display());
    let fix = "free some space: without it no selection can be kept, and swaps are refused";
    Some(match free {
        0..NO_ROOM => Finding::bad("disk", says).fix(fix),
        NO_ROOM..LITTLE_ROOM => Finding::warning("disk", says).fix(fix),
        _ if disk.f_files > 0 && disk.f_favail < 100 => {
            let says = format!(
                "the disk of {} has no room for more files",
                state_dir.display()
            );
            Finding::bad("disk", says).fix("remove some files there")
        }
        _ => Finding::good("disk", says),
    })
}

fn open_files() -> Finding {
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < FEW_FILES => {
            let says = format!("a process may have {limit} files and connections open");
            Finding::warning("open_files", says).fix("ulimit -n 65536, or LimitNOFILE= in the unit")
        }
        Some(limit) => Finding::good("open_files", format!("a process may have {limit}")),
        None => Finding::good("open_files", "without limit"),
    }
}

/// A clock that is wrong makes certificates, secrets and selections look older or newer than they are.
fn clock(state_dir: &Path) -> Finding {
    let now = Session::now_unix_ms() / 1_000;
    if now < BEFORE_US {
        return Finding::bad(
            "clock",
            format!("it is {now} s after 1970 by this machine's clock"),
        )
        .fix("set the clock");
    }
    let written = |name: &str| {
        state_dir
            .join(name)
            .metadata()
            .ok()
            .map(|file| file.mtime())
    };
    let newest = [DATABASE, "lock"].into_iter().filter_map(written).max();
    let newest = newest.and_then(|at| u64::try_from(at).ok()).unwrap_or(0);
    if newest > now + SLACK {
        let says = format!(
            "the state directory was written {} s from now",
            newest - now
        );
        return Finding::warning("clock", says).fix("the clock went backwards; set it");
    }
    Finding::good("clock", "it is after what was written last")
}
