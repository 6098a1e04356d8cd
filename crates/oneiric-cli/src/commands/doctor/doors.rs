//! Where a process listens, or would: the socket, the port, and what TLS needs. What is wrong there keeps a process from
//! starting, however good its settings are.

use std::net::TcpListener;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::UNIX_EPOCH;

use oneiric_runtime::api::StatusDoc;
use oneiric_runtime::{RuntimeError, Settings, TcpSettings, certificate_end, check_tls};

use super::Finding;
use crate::failure::Failure;
use crate::session::{self, Session};
use crate::settings;
use crate::words::Millis;

/// Before the end of a certificate somebody should look: 14 days, in milliseconds.
const SOON: u64 = 14 * 86_400_000;

/// What keeps the socket from being opened, where nobody serves it.
pub(super) fn blocked(path: &Path) -> Option<Finding> {
    let shown = path.display();
    if SocketAddr::from_pathname(path).is_err() {
        let says = format!("the path of the socket is longer than the system takes: {shown}");
        return Some(Finding::bad("socket", says).fix("set `admin.socket` to a shorter path"));
    }
    let there = path.symlink_metadata().ok()?;
    (!there.file_type().is_socket()).then(|| {
        let says = format!("{shown} is there and is no socket, so that none can be opened there");
        Finding::bad("socket", says).fix("move it away, or set `admin.socket` to another path")
    })
}

/// That the socket is served by a process of another state directory: one that is started here is refused.
pub(super) fn others_socket(status: &StatusDoc, session: &Session) -> Option<Finding> {
    if session.is_elsewhere() || session.is_socket_named() {
        return None;
    }
    let theirs = Path::new(&status.process.state_dir);
    let same = match (theirs.canonicalize(), session.state_dir().canonicalize()) {
        (Ok(theirs), Ok(ours)) => theirs == ours,
        // One that is not there cannot be in use.
        (_, Err(_)) => false,
        (Err(_), Ok(_)) => return None,
    };
    (!same).then(|| {
        let says = format!(
            "{} is served by process {}, which works with {}: one that is started here is refused",
            session.socket().display(),
            status.process.pid,
            theirs.display()
        );
        Finding::bad("socket", says).fix("set `admin.socket` to another path, or stop that process")
    })
}

/// The admin API over TCP, if the settings want it.
pub(super) fn tcp(settings: &Settings, session: &Session) -> Vec<Finding> {
    let Some(tcp) = &settings.admin.tcp else {
        return Vec::new();
    };
    let mut findings = vec![tls(tcp)];
    if let Err(failure) = settings::check_start(settings) {
        findings.push(Finding::failed("tcp", &failure));
        return findings;
    }
    findings.push(match session::holder(session.state_dir()) {
        Some(process) => Finding::unknown("tcp", format!("{process} listens, or it says why not")),
        None => port(tcp),
    });
    findings
}

/// Whether the address can be listened on; it is let go at once.
fn port(tcp: &TcpSettings) -> Finding {
    match TcpListener::bind(tcp.listen) {
        Ok(_) => Finding::good("tcp", format!("{} is free", tcp.listen)),
        Err(source) => {
            let address = tcp.listen;
            failed("tcp", &RuntimeError::ListenFailed { address, source })
        }
    }
}

/// Certificate, key and authorities, read as the process reads them.
fn tls(tcp: &TcpSettings) -> Finding {
    if let Err(error) = check_tls(tcp) {
        return failed("tls", &error);
    }
    let now = Session::now_unix_ms();
    let shown = tcp.certificate.display();
    let end = certificate_end(&tcp.certificate).map(|end| {
        let since = end.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    });
    match end {
        Some(end) if end <= now => {
            let says = format!("{shown} ended {} ago", Millis(now - end));
            Finding::bad("tls", says).fix("put a new certificate there, then restart")
        }
        Some(end) if end - now < SOON => {
            let says = format!("{shown} ends in {}", Millis(end - now));
            Finding::warning("tls", says).fix("put a new certificate there in time, then restart")
        }
        Some(end) => {
            let says = format!(
                "certificate and key fit; the certificate ends in {}",
                Millis(end - now)
            );
            Finding::good("tls", says)
        }
        None => Finding::unknown("tls", format!("when {shown} ends cannot be read")),
    }
}

fn failed(check: &'static str, error: &RuntimeError) -> Finding {
    let finding = Finding::failed(check, &Failure::of(error));
    match error.hint() {
        Some(hint) => finding.fix(hint),
        None => finding,
    }
}
