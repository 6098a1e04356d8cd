//! Tells a service manager how the process is doing, by systemd's protocol: lines of text in a datagram to the socket
//! that `NOTIFY_SOCKET` names. Without that variable nothing is told and nothing is different.
//!
//! The protocol is five words long, so it stands here in place of a crate; those there are also want to take the
//! variable out of the environment, which no program with threads can do soundly.
//!
//! Source: sd_notify(3), systemd.service(5) for `Type=notify-reload`.

use std::ffi::OsStr;
use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oneiric_runtime::ReloadEvent;

use crate::env_vars::{self, Env};

/// How long a message may take. A manager that does not read must not hold up what it manages.
const LIMIT: Duration = Duration::from_secs(1);

/// The service manager, if there is one. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Manager {
    socket: Option<Arc<(UnixDatagram, SocketAddr)>>,
    /// How often it wants to hear that the process is alive.
    watchdog: Option<Duration>,
    /// Whether it was told that the process serves, and not yet that it stops.
    is_ready: Arc<AtomicBool>,
}

impl Manager {
    /// The one the environment names. One that is named and cannot be talked to is warned about; the process is of use
    /// without it.
    pub(crate) fn of(env: &Env) -> Self {
        let named = env.value(env_vars::NOTIFY_SOCKET);
        let socket = named.and_then(|name| match open(name) {
            Ok(socket) => Some(Arc::new(socket)),
            Err(error) => {
                let socket = name.to_string_lossy();
                tracing::warn!(%error, socket = &*socket, "the service manager cannot be told");
                None
            }
        });
        Self {
            socket,
            watchdog: watchdog(env),
            is_ready: Arc::default(),
        }
    }

    /// How often to say that the process is alive: twice in the time after which the manager gives it up.
    pub(crate) fn heartbeat(&self) -> Option<Duration> {
        self.socket.as_ref()?;
        self.watchdog.map(|limit| limit / 2)
    }

    /// It serves; `status` says what.
    pub(crate) fn ready(&self, status: &str) {
        self.is_ready.store(true, Ordering::Release);
        self.tell(&format!("READY=1\nSTATUS={}\n", one_line(status)));
    }

    /// Tells the manager of reloads, whoever asked for them. Before the process is ready they are nobody's business: the
    /// end of one would say that it is.
    pub(crate) fn reloads(&self) -> impl Fn(&ReloadEvent<'_>) + Send + Sync + 'static {
        let manager = self.clone();
        move |event| {
            if !manager.is_ready.load(Ordering::Acquire) {
                return;
            }
            match event {
                ReloadEvent::Begun { .. } => manager.reloading(),
                ReloadEvent::Ended { outcome, .. } => {
                    let outcome = outcome.map_or("refused", |outcome| outcome.name());
                    manager.ready(&format!("last reload: {outcome}"));
                }
                _ => {}
            }
        }
    }

    /// It reads its settings again; [`Manager::ready`] says when it has.
    pub(crate) fn reloading(&self) {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}\n", monotonic_us()));
    }

    /// It is coming to its end.
    pub(crate) fn stopping(&self) {
        self.is_ready.store(false, Ordering::Release);
        self.tell("STOPPING=1\nSTATUS=stopping: running calls may finish\n");
    }

    /// It is alive.
    pub(crate) fn alive(&self) {
        self.tell("WATCHDOG=1\n");
    }

    fn tell(&self, message: &str) {
        let Some(shared) = &self.socket else { return };
        let (socket, manager) = &**shared;
        if let Err(error) = socket.send_to_addr(message.as_bytes(), manager) {
            let what = message.lines().next().unwrap_or_default();
            tracing::warn!(%error, what, "the service manager could not be told");
        }
    }
}

fn open(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => {
            let message = "neither a path nor an abstract socket";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(LIMIT))?;
    Ok((socket, address))
}

/// After how long without a word the manager gives this process up, if it watches this one.
fn watchdog(env: &Env) -> Option<Duration> {
    let number = |variable| env.value(variable)?.to_str()?.parse::<u64>().ok();
    let watched = match env.value(env_vars::WATCHDOG_PID) {
        Some(_) => number(env_vars::WATCHDOG_PID) == Some(std::process::id().into()),
        None => true,
    };
    let limit = number(env_vars::WATCHDOG_USEC).filter(|limit| watched && *limit > 0);
    limit.map(Duration::from_micros)
}

/// A line end would begin another assignment.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// The clock by which the manager tells an answer to its signal from an older one.
fn monotonic_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let part = |number: i64| u64::try_from(number).unwrap_or_default();
    part(now.tv_sec) * 1_000_000 + part(now.tv_nsec) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        Env::new(
            pairs
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
        )
    }

    #[test]
    fn nobody_is_told_where_nobody_asked() {
        let manager = Manager::of(&env(&[("WATCHDOG_USEC", "2000000")]));
        assert_eq!(manager.heartbeat(), None);
        manager.ready("it runs");
    }

    #[test]
    fn a_socket_that_is_none_or_gone_costs_a_warning() {
        for name in ["relative", "vsock:2:1", "/nowhere/at/all"] {
            Manager::of(&env(&[("NOTIFY_SOCKET", name)])).ready("it runs");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_manager_on_an_abstract_socket_is_told_word_by_word() {
        let name = format!("oneiric-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let name = format!("@{name}");
        let manager = Manager::of(&env(&[
            ("NOTIFY_SOCKET", &name),
            ("WATCHDOG_USEC", "3000000"),
        ]));
        assert_eq!(manager.heartbeat(), Some(Duration::from_millis(1_500)));
        let heard = || {
            let mut text = [0; 256];
            let length = socket.recv(&mut text).unwrap();
            String::from_utf8(text[..length].to_vec()).unwrap()
        };
        manager.ready("2 of 2\nREADY=0");
        assert_eq!(heard(), "READY=1\nSTATUS=2 of 2 READY=0\n");
        manager.reloading();
        let reloading = heard();
        let since = reloading
            .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
            .unwrap();
        assert!(since.trim_end().parse::<u64>().unwrap() > 0);
        manager.alive();
        assert_eq!(heard(), "WATCHDOG=1\n");
        manager.stopping();
        assert!(heard().starts_with("STOPPING=1\n"));
    }

    /// The end of a reload says `READY=1`; before the start and after the end that would be a lie.
    #[cfg(target_os = "linux")]
    #[test]
    fn reloads_are_told_only_while_the_process_serves() {
        let name = format!("oneiric-reloads-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let manager = Manager::of(&env(&[("NOTIFY_SOCKET", &format!("@{name}"))]));
        let heard = || {
            let mut text = [0; 256];
            let length = socket.recv(&mut text).ok()?;
            Some(String::from_utf8(text[..length].to_vec()).unwrap())
        };
        let told = manager.reloads();
        let reload = || {
            told(&ReloadEvent::Begun { who: "test" });
            told(&ReloadEvent::Ended {
                who: "test",
                outcome: None,
            });
        };
        reload();
        assert_eq!(heard(), None);
        manager.ready("it runs");
        heard().unwrap();
        reload();
        assert!(heard().unwrap().starts_with("RELOADING=1\n"));
        assert_eq!(heard().unwrap(), "READY=1\nSTATUS=last reload: refused\n");
        manager.stopping();
        heard().unwrap();
        reload();
        assert_eq!(heard(), None);
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_ours() {
        let socket = ("NOTIFY_SOCKET", "/run/x");
        let limit = ("WATCHDOG_USEC", "2000000");
        let mine = std::process::id().to_string();
        for (pid, expected) in [
            ("1", None),
            (&mine, Some(Duration::from_secs(1))),
            ("x", None),
        ] {
            let manager = Manager::of(&env(&[socket, limit, ("WATCHDOG_PID", pid)]));
            assert_eq!(manager.heartbeat(), expected, "{pid}");
        }
        for limit in ["0", "-1", "soon"] {
            let manager = Manager::of(&env(&[socket, ("WATCHDOG_USEC", limit)]));
            assert_eq!(manager.heartbeat(), None, "{limit}");
        }
    }
}
