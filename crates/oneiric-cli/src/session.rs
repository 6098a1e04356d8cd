//! What every command that asks a running process needs: where it listens, how to colour, and what
//! time it is.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use oneiric_runtime::{Client, ClientError, socket_in};

use crate::args::Global;
use crate::env_vars::{self, Env};
use crate::failure::Failure;
use crate::paint::Paint;

/// The state directory where none is named.
const STATE_DIR: &str = ".oneiric";

/// Asks one running process.
#[derive(Debug)]
pub(crate) struct Session {
    socket: PathBuf,
    state_dir: PathBuf,
    pub(crate) paint: Paint,
}

impl Session {
    pub(crate) fn new(global: &Global, env: &Env, paint: Paint) -> Self {
        Self {
            socket: socket(global, env),
            state_dir: named_state_dir(global, env)
                .unwrap_or(Path::new(STATE_DIR))
                .to_owned(),
            paint,
        }
    }

    /// Connects to the process.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        let error = match Client::connect(&self.socket).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let holder = matches!(error, ClientError::NotRunning { .. })
            .then(|| holder(&self.state_dir))
            .flatten();
        let mut failure = failure(error);
        if let Some(process) = holder {
            failure.message.push_str(&format!(
                ", although {process} holds the state directory {}",
                self.state_dir.display()
            ));
            failure.hint = Some(
                "it is starting or stopping, or its settings name another socket: --socket PATH"
                    .to_owned(),
            );
        }
        Err(failure)
    }

    /// Now, in milliseconds since 1970, to say how long ago something was.
    #[expect(
        clippy::disallowed_methods,
        reason = "the command line is where wall-clock time comes in; rendering takes it as a value"
    )]
    pub(crate) fn now_unix_ms() -> u64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The state directory that was named: by option, else by variable.
pub(crate) fn named_state_dir<'a>(global: &'a Global, env: &'a Env) -> Option<&'a Path> {
    let by_variable = || {
        let ours = env.value(env_vars::STATE_DIR).map(Path::new);
        ours.or_else(|| first(env.value(env_vars::STATE_DIRECTORY)?))
    };
    global.state_dir.as_deref().or_else(by_variable)
}

/// The first of the directories that a service manager made; it puts colons between them.
fn first(directories: &OsStr) -> Option<&Path> {
    let first = directories.as_bytes().split(|byte| *byte == b':').next()?;
    (!first.is_empty()).then(|| Path::new(OsStr::from_bytes(first)))
}

/// The socket that was named, else the one in the state directory.
fn socket(global: &Global, env: &Env) -> PathBuf {
    let in_state_dir = || {
        let state_dir = named_state_dir(global, env);
        socket_in(state_dir.unwrap_or(Path::new(STATE_DIR)))
    };
    global.socket.clone().unwrap_or_else(in_state_dir)
}

/// Who holds the lock of a state directory, if anybody does.
fn holder(state_dir: &Path) -> Option<String> {
    let lock = File::open(state_dir.join("lock")).ok()?;
    // Shared, and let go at once, it keeps nobody out but a process that starts at this very moment.
    if !matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return None;
    }
    let mut id = String::new();
    lock.take(20).read_to_string(&mut id).ok()?;
    let id = id.trim();
    let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    Some(if is_number {
        format!("process {id}")
    } else {
        "a process".to_owned()
    })
}

/// Why a request has no answer, with the process' own code, hint and request id where it has them.
pub(crate) fn failure(error: ClientError) -> Failure {
    let mut failure = Failure::new(error.code(), error.kind(), error.to_string());
    // About any slot that cannot be resolved the process says one thing; about a tie there is more to say.
    let hint = error.hint().filter(|_| error.code() != "core.tied");
    failure.hint = hint.map(str::to_owned);
    failure.request_id = error.request_id().map(str::to_owned);
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Color;

    fn found(
        socket_option: Option<&str>,
        state_dir: Option<&str>,
        variable: Option<&str>,
    ) -> PathBuf {
        let global = Global {
            json: false,
            socket: socket_option.map(PathBuf::from),
            state_dir: state_dir.map(PathBuf::from),
            color: Color::Auto,
        };
        let pairs = variable.map(|value| (env_vars::STATE_DIR.name.into(), value.into()));
        socket(&global, &Env::new(pairs))
    }

    #[test]
    fn the_socket_is_the_nearest_one_that_was_named() {
        assert_eq!(found(None, None, None), Path::new(".oneiric/admin.sock"));
        assert_eq!(found(None, None, Some("v")), Path::new("v/admin.sock"));
        assert_eq!(
            found(None, None, Some("")),
            Path::new(".oneiric/admin.sock")
        );
        assert_eq!(found(None, Some("d"), Some("v")), Path::new("d/admin.sock"));
        assert_eq!(found(Some("s"), Some("d"), Some("v")), Path::new("s"));
    }

    #[test]
    fn the_state_directory_of_a_service_manager_comes_last() {
        let global = Global {
            json: false,
            socket: None,
            state_dir: None,
            color: Color::Auto,
        };
        let managed = ("STATE_DIRECTORY".into(), "/var/lib/a:/var/lib/b".into());
        let ours = (env_vars::STATE_DIR.name.into(), "v".into());
        let env = Env::new([managed.clone()]);
        assert_eq!(
            named_state_dir(&global, &env),
            Some(Path::new("/var/lib/a"))
        );
        let env = Env::new([managed, ours]);
        assert_eq!(named_state_dir(&global, &env), Some(Path::new("v")));
    }
}
