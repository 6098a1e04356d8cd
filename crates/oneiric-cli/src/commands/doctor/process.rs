//! What a running process says of itself.

use std::time::Duration;

use oneiric_runtime::Client;
use oneiric_runtime::api::StatusDoc;

use super::{Finding, doors, secrets};
use crate::session::{self, Session};
use crate::words;

/// For all that a process is asked; one that is well needs a thousandth of it.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn findings(session: &Session) -> Vec<Finding> {
    let asked = async {
        match session.client().await {
            Ok(client) => ask(client, session).await,
            Err(failure) if failure.code == "runtime.not_running" && !session.is_elsewhere() => {
                nobody(session)
            }
            Err(failure) => vec![Finding::failed("process", &failure)],
        }
    };
    let late = |_| {
        let says = format!("it did not answer within {} s", PATIENCE.as_secs());
        vec![Finding::bad("process", says).fix("look at its log; restart it if it hangs")]
    };
    tokio::time::timeout(PATIENCE, asked)
        .await
        .unwrap_or_else(late)
}

/// What is not known because nothing runs, and what a process that ended left behind.
fn nobody(session: &Session) -> Vec<Finding> {
    let mut findings = match session::holder(session.state_dir()) {
        Some(process) => {
            let says = format!(
                "{process} holds {} and does not answer at {}",
                session.state_dir().display(),
                session.socket().display()
            );
            let fix = "it is starting or stopping, or serves another socket: --socket PATH";
            vec![Finding::bad("process", says).fix(fix)]
        }
        None if let Some(finding) = doors::blocked(session.socket()) => vec![finding],
        None if session.socket().exists() => {
            let says = format!(
                "none runs; one that ended without a farewell left {}",
                session.socket().display()
            );
            vec![Finding::warning("process", says).fix("nothing to do: the next start replaces it")]
        }
        None => vec![Finding::unknown("process", "none runs here")],
    };
    for check in [
        "ready",
        "slots",
        "dependencies_used",
        "settings_used",
        "secrets_used",
    ] {
        findings.push(Finding::unknown(check, "there is no process to ask"));
    }
    findings
}

async fn ask(mut client: Client, session: &Session) -> Vec<Finding> {
    let mut findings = Vec::new();
    let status = match client.status(None).await {
        Ok(reply) => reply.doc,
        Err(error) => return vec![Finding::failed("process", &session::failure(error))],
    };
    let now = Session::now_unix_ms();
    findings.push(Finding::good(
        "process",
        format!(
            "{} answers, version {}, up {}",
            status.process.pid,
            status.process.version,
            words::since(status.process.since_unix_ms, now)
        ),
    ));
    findings.extend(doors::others_socket(&status, session));
    findings.push(match client.ready().await {
        Ok(reply) if reply.doc.ready => Finding::good("ready", "every slot serves that should"),
        Ok(reply) => {
            let waiting: Vec<String> = reply
                .doc
                .not_active
                .iter()
                .map(|one| format!("{} is {}", one.slot, one.state))
                .collect();
            Finding::bad("ready", waiting.join("\n")).fix("`oneiric status SLOT` says what failed")
        }
        Err(error) => Finding::failed("ready", &session::failure(error)),
    });
    findings.push(slots(&status));
    findings.push(match status.process.dependency_faults.as_slice() {
        [] => Finding::good("dependencies_used", "what wins finds what it needs"),
        faults => {
            let lines: Vec<&str> = faults.iter().map(|one| one.text.as_str()).collect();
            Finding::bad("dependencies_used", lines.join("\n"))
                .fix("`oneiric explain SLOT` says who wins and why")
        }
    });
    findings.push(match &status.process.settings.refused {
        None => Finding::good("settings_used", "those in the files are those in force"),
        Some(refused) => {
            let since = words::since(refused.since_unix_ms, now);
            let says = format!(
                "refused for {since}: {} ({})",
                refused.message, refused.code
            );
            Finding::bad("settings_used", says)
                .fix("correct them; they are read again by themselves")
        }
    });
    findings.push(match client.secrets().await {
        Ok(reply) => secrets::used(&reply.doc),
        Err(error) => Finding::failed("secrets_used", &session::failure(error)),
    });
    if !status.process.state_persists {
        let says = "selections, activity and history are gone with the process";
        findings.push(Finding::warning("state", says));
    }
    findings
}

fn slots(status: &StatusDoc) -> Finding {
    let mut troubles = Vec::new();
    for slot in &status.slots {
        if let Some(error) = &slot.last_error {
            troubles.push(format!("{}: {}", slot.slot, words::failed(&error.failure)));
        }
    }
    for one in &status.unknown_selections {
        troubles.push(format!(
            "{}: the {} selection {} names nobody who is registered",
            one.slot, one.layer, one.provider
        ));
    }
    if troubles.is_empty() {
        let says = format!("{} without a recent error", status.slots.len());
        return Finding::good("slots", says);
    }
    Finding::warning("slots", troubles.join("\n")).fix("`oneiric status SLOT` says more")
}
