//! `secrets`: which there are, and fetching them anew. What they are no command can show: the process does not say it.

use oneiric_core::ErrorKind;
use oneiric_runtime::Reply;
use oneiric_runtime::api::{
    RotateDoc, RotateRequest, SecretDoc, SecretErrorDoc, SecretUseDoc, SecretsDoc,
};

use crate::args::{Secrets, SecretsCommand, SecretsRotate};
use crate::failure::Failure;
use crate::output::Output;
use crate::paint::{Paint, Style, harmless};
use crate::session::{self, Session};
use crate::table::{Cell, Table};
use crate::words::{Millis, since};

pub(super) async fn run(args: &Secrets, session: &mut Session) -> Result<Output, Failure> {
    let mut client = session.client().await?;
    match &args.command {
        SecretsCommand::List(_) => {
            let reply = client.secrets().await.map_err(session::failure)?;
            let text = listed(&reply.doc, Session::now_unix_ms(), session.paint);
            Ok(Output::new(text, reply.json))
        }
        SecretsCommand::Rotate(SecretsRotate { reference, reason }) => {
            let request = RotateRequest {
                reference: reference.clone(),
                reason: reason.clone(),
            };
            let reply = client.rotate_secrets(&request).await;
            rotated(reply.map_err(session::failure)?, session.paint)
        }
    }
}

fn listed(doc: &SecretsDoc, now_unix_ms: u64, paint: Paint) -> String {
    let mut table = Table::new(&["secret", "state", "fetched", "expires", "used by"]);
    for secret in &doc.secrets {
        table.row(row(secret, now_unix_ms));
    }
    let mut text = if table.is_empty() {
        "no setting names a secret\n".to_owned()
    } else {
        table.display(paint).to_string()
    };
    for secret in &doc.secrets {
        if let Some(error) = &secret.error {
            let about = format!("{}: {}\n", secret.reference, told(error));
            text.push_str(&harmless(&about));
        }
    }
    text
}

fn row(secret: &SecretDoc, now_unix_ms: u64) -> [Cell; 5] {
    let (state, style) = match (&secret.error, secret.fetched_unix_ms) {
        (Some(_), _) if secret.stale => ("stale", Style::Attention),
        (Some(error), _) => (cannot_be_had(&error.code), Style::Bad),
        (None, Some(_)) => ("good", Style::Good),
        (None, None) => ("unused", Style::Faint),
    };
    let fetched = secret.fetched_unix_ms;
    let expires = secret
        .expires_unix_ms
        .map(|at| match at.checked_sub(now_unix_ms) {
            Some(left) => format!("in {}", Millis(left)),
            None => "due".to_owned(),
        });
    let used_by: Vec<String> = secret.used_by.iter().map(user).collect();
    [
        Cell::new(&secret.reference),
        Cell::new(state).style(style),
        Cell::maybe(fetched.map(|at| format!("{} ago", since(at, now_unix_ms)))),
        Cell::maybe(expires),
        Cell::new(used_by.join(", ")),
    ]
}

/// In a word why a secret cannot be had; the line below the table says more.
fn cannot_be_had(code: &str) -> &'static str {
    match code {
        "domains.secret_not_found" => "missing",
        "domains.secret_unsafe" => "unsafe",
        "domains.secret_unusable" => "unusable",
        "domains.secret_unavailable" => "unavailable",
        "domains.secret_provider_unknown" => "unknown keeper",
        _ => "failed",
    }
}

/// `adapter/cache redis (password)`, or the key of a setting of the process itself.
fn user(used: &SecretUseDoc) -> String {
    match (&used.slot, &used.provider) {
        (Some(slot), Some(provider)) => {
            let section = format!("providers.\"{slot}\".{provider}.");
            let setting = used.setting.strip_prefix(&section);
            format!("{slot} {provider} ({})", setting.unwrap_or(&used.setting))
        }
        _ => used.setting.clone(),
    }
}

fn told(error: &SecretErrorDoc) -> String {
    format!("{} ({})", error.message, error.code)
}

/// What came of it; not all of it having been done is an error, with everything that was done.
fn rotated(reply: Reply<RotateDoc>, paint: Paint) -> Result<Output, Failure> {
    let Reply { doc, json } = reply;
    if doc.complete {
        return Ok(Output::new(done(&doc, paint), json));
    }
    let of_slots = doc
        .slots
        .iter()
        .filter_map(|one| Some((one.slot.to_string(), one.error.as_ref()?)));
    let of_secrets = doc
        .secrets
        .iter()
        .filter_map(|one| Some((one.reference.clone(), one.error.as_ref()?)));
    let failed: Vec<_> = of_slots.clone().chain(of_secrets).collect();
    let (kind, hint) = if of_slots.count() > 0 {
        let hint =
            "what served serves on, with the old secret; `oneiric secrets rotate` tries again";
        (ErrorKind::RolledBack, hint)
    } else {
        let hint = "values that were fetched before stay in use where they can";
        (ErrorKind::Unavailable, hint)
    };
    let code = failed.first().map(|(_, error)| error.code.clone());
    let messages: Vec<String> = failed
        .iter()
        .map(|(what, error)| format!("{what}: {}", error.message))
        .collect();
    let mut failure = Failure::new(code.unwrap_or_default(), kind, messages.join("; ")).hint(hint);
    failure.details = Some(Box::new(json));
    Err(failure)
}

fn done(doc: &RotateDoc, paint: Paint) -> String {
    let mut text = String::new();
    for secret in &doc.secrets {
        let style = if secret.outcome == "changed" {
            Style::Good
        } else {
            Style::Plain
        };
        let outcome = harmless(&secret.outcome);
        let reference = harmless(&secret.reference);
        text.push_str(&format!("{reference}: {}\n", paint.text(style, outcome)));
    }
    for told in &doc.slots {
        let what = match told.outcome.as_str() {
            "told" => "took it",
            "exchanged" => "exchanged for a new instance",
            other => other,
        };
        let line = format!("{} {}: {what}\n", told.slot, told.provider);
        text.push_str(&harmless(&line));
    }
    if doc.secrets.is_empty() {
        text.push_str("no setting names a secret\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_secret_says_how_it_is_and_who_uses_it() {
        let doc = serde_json::from_value(json!({
            "schema": "oneiric.secrets/1", "keepers": ["env", "file"],
            "secrets": [
                {"reference": "secret://env/A", "stale": false, "used_by": [{"setting": "admin.tokens[0].token"}]},
                {"reference": "secret://file/b", "stale": true, "fetched_unix_ms": 1_000,
                 "expires_unix_ms": 3_000, "error": {"code": "domains.secret_unavailable", "message": "a\u{1b}way"},
                 "used_by": [{"setting": "providers.\"adapter/cache\".redis.password",
                              "slot": "adapter/cache", "provider": "redis"}]},
                {"reference": "secret://file/c", "stale": false, "fetched_unix_ms": 1_000,
                 "expires_unix_ms": 9_000, "used_by": []},
                {"reference": "secret://file/d", "stale": false, "used_by": [],
                 "error": {"code": "domains.secret_unsafe", "message": "mode 644"}},
            ],
        }));
        let expected = "\
secret           state   fetched  expires  used by
secret://env/A   unused  -        -        admin.tokens[0].token
secret://file/b  stale   3 s ago  due      adapter/cache redis (password)
secret://file/c  good    3 s ago  in 5 s   \n\
secret://file/d  unsafe  -        -        \n\
secret://file/b: a\\u{1b}way (domains.secret_unavailable)
secret://file/d: mode 644 (domains.secret_unsafe)
";
        assert_eq!(listed(&doc.unwrap(), 4_000, Paint::new(false)), expected);
    }

    #[test]
    fn what_was_rotated_is_told_and_what_was_not_is_an_error_with_an_exit_code() {
        let doc = |slot_error: serde_json::Value, secret_error: serde_json::Value| {
            let complete = slot_error.is_null() && secret_error.is_null();
            let json = json!({
                "schema": "oneiric.rotate/1", "complete": complete,
                "secrets": [{"reference": "secret://file/b", "outcome": "changed", "error": secret_error}],
                "slots": [{"slot": "adapter/cache", "provider": "redis", "outcome": "exchanged",
                           "error": slot_error}],
            });
            let doc = serde_json::from_value(json.clone()).unwrap();
            rotated(Reply { doc, json }, Paint::new(false))
        };
        let error = |code: &str| json!({"code": code, "message": "why"});
        let output = doc(json!(null), json!(null)).unwrap();
        assert_eq!(
            output.shown(false),
            "secret://file/b: changed\nadapter/cache redis: exchanged for a new instance\n"
        );
        let failure = doc(error("lifecycle.build_failed"), json!(null)).unwrap_err();
        assert_eq!(
            (failure.exit().number(), failure.code.as_str()),
            (7, "lifecycle.build_failed")
        );
        assert_eq!(failure.message, "adapter/cache: why");
        let failure = doc(json!(null), error("domains.secret_unavailable")).unwrap_err();
        assert_eq!(failure.exit().number(), 8);
    }
}
