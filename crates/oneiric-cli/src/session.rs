//! What every command that asks a running process needs: where it listens, how to colour, and what
//! time it is.

use std::fs::{File, TryLockError};
use std::io::Read;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oneiric_runtime::{Client, ClientBuilder, ClientError, Sources};
use serde::Serialize;
use serde_json::Value;

use crate::args::Global;
use crate::env_vars::Env;
use crate::failure::{Behind, Failure};
use crate::paint::Paint;
use crate::remote::Remote;
use crate::settings::{self, Whereabouts};

/// For the answer to what changes nothing. A process that is stopped or hangs still has its connections accepted.
const PATIENCE: Duration = if cfg!(test) {
    Duration::from_millis(100)
} else {
    Duration::from_secs(30)
};

/// Asks one running process.
#[derive(Debug)]
pub(crate) struct Session {
    socket: PathBuf,
    state_dir: PathBuf,
    /// The settings could not be read, so the process may be elsewhere.
    doubt: Option<Failure>,
    /// If so, what could be read of them says where it should be.
    settings_found: bool,
    /// The process is elsewhere.
    remote: Option<Remote>,
    socket_named: bool,
    /// Where settings come from here.
    pub(crate) sources: Sources,
    pub(crate) paint: Paint,
}

impl Session {
    pub(crate) fn new(global: &Global, env: &Env, paint: Paint) -> Self {
        let sources = settings::sources(global, env);
        let Whereabouts {
            socket,
            state_dir,
            doubt,
            settings_found,
        } = settings::whereabouts(&sources);
        Self {
            socket,
            state_dir,
            // Whoever names the socket need not know the settings.
            doubt: doubt.filter(|_| global.socket.is_none()),
            settings_found,
            remote: Remote::of(global, env),
            socket_named: global.socket.is_some(),
            sources,
            paint,
        }
    }

    /// Connects to the process.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        if let Some(remote) = &self.remote {
            let builder = remote.builder()?.read_timeout(PATIENCE);
            return builder.connect().await.map_err(failure);
        }
        // Whoever names a file that is not there means another process than the one that may be found without it.
        if let Some(doubt) = self.doubt.as_ref().filter(|_| !self.settings_found) {
            return Err(doubt.clone());
        }
        let builder = ClientBuilder::socket(&self.socket).read_timeout(PATIENCE);
        let error = match builder.connect().await {
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
        if self.doubt.is_some() {
            failure.hint = Some(
                "the settings have faults, so it may be elsewhere: `oneiric config check` names them, --state-dir DIR or --socket PATH says where"
                    .to_owned(),
            );
        }
        Err(failure)
    }

    /// Whether the process is asked over TCP: then what is seen here is not about it.
    pub(crate) const fn is_elsewhere(&self) -> bool {
        self.remote.is_some()
    }

    /// Whether the socket was named on the command line, and not where `run` would take it from too.
    pub(crate) const fn is_socket_named(&self) -> bool {
        self.socket_named
    }

    /// What somebody should know before the process is asked: that the settings do not say for certain which one it
    /// is. A process goes on with its last good settings, so it can be asked all the same.
    pub(crate) fn warning(&self) -> Option<String> {
        if self.remote.is_some() {
            return None;
        }
        let doubt = self.doubt.as_ref().filter(|_| self.settings_found)?;
        // The first line of a list of faults.
        let why = doubt.message.lines().next().unwrap_or_default();
        Some(format!(
            "warning: {why} ({}); asking whoever serves {}",
            doubt.code,
            self.socket.display()
        ))
    }

    /// Where the process listens, if it runs.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where the process keeps its state.
    pub(crate) fn state_dir(&self) -> &Path {
        &self.state_dir
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

/// Who holds the lock of a state directory, if anybody does.
pub(crate) fn holder(state_dir: &Path) -> Option<String> {
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

/// A document that was made here, as the process would have sent it. Those have only names as keys, so that nothing in
/// them lacks a JSON form.
pub(crate) fn document(doc: &impl Serialize) -> Value {
    serde_json::to_value(doc).unwrap_or_default()
}

/// Why a request has no answer, with the process' own code, hint and request id where it has them.
pub(crate) fn failure(error: ClientError) -> Failure {
    let mut failure = Failure::new(error.code(), error.kind(), error.to_string());
    // About any slot that cannot be resolved the process says one thing; about a tie there is more to say.
    let hint = error.hint().filter(|_| error.code() != "core.tied");
    failure.hint = hint.map(str::to_owned);
    failure.request_id = error.request_id().map(Into::into);
    // One that says the same again is no more than the message.
    let detail = error.detail().filter(|detail| *detail != failure.message);
    failure.detail = detail.map(|detail| Box::new(Behind(detail.to_owned())));
    failure.retry_after_ms = error.retry_after_ms().and_then(NonZeroU64::new);
    failure
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn found(
        socket_option: Option<&str>,
        state_dir: Option<&str>,
        variable: Option<&str>,
    ) -> PathBuf {
        let global = Global {
            json: false,
            socket: socket_option.map(PathBuf::from),
            state_dir: state_dir.map(PathBuf::from),
            ..Global::default()
        };
        let pairs = variable.map(|value| ("ONEIRIC_STATE_DIR".into(), value.into()));
        Session::new(&global, &Env::new(pairs), Paint::new(false)).socket
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

    /// The session of a process that is there and says nothing.
    pub(crate) fn with_silent_process(
        asks: impl AsyncFnOnce(Session) -> Option<Failure>,
    ) -> Option<Failure> {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let global = Global {
            socket: Some(socket),
            ..Global::default()
        };
        let session = Session::new(&global, &Env::default(), Paint::new(false));
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio.block_on(asks(session))
    }

    #[test]
    fn a_process_that_does_not_answer_is_not_waited_for_for_ever() {
        let failed = with_silent_process(async |session| {
            let mut client = session.client().await.unwrap();
            client.status(None).await.err().map(failure)
        });
        let failed = failed.unwrap();
        assert_eq!(
            (&*failed.code, failed.exit().number()),
            ("runtime.answer_late", 8)
        );
        let hint = failed.best_hint().unwrap();
        assert!(
            hint.contains("does not answer") && hint.contains("`ps"),
            "{hint}"
        );
    }

    #[test]
    fn the_state_directory_of_a_service_manager_comes_last() {
        let managed = ("STATE_DIRECTORY".into(), "/var/lib/a:/var/lib/b".into());
        let ours = ("ONEIRIC_STATE_DIR".into(), "v".into());
        let found =
            |env| Session::new(&Global::default(), &Env::new(env), Paint::new(false)).state_dir;
        assert_eq!(found(vec![managed.clone()]), Path::new("/var/lib/a"));
        assert_eq!(found(vec![managed, ours]), Path::new("v"));
    }
}
