//! Whether the secrets that settings name can be had, by whoever asks here and by the process. What they are is looked at
//! by nobody: a value that was fetched is dropped at once.

use std::io;
use std::os::unix::fs::MetadataExt;

use oneiric_core::Coded;
use oneiric_domains::{SecretError, SecretRef};
use oneiric_runtime::api::SecretsDoc;
use oneiric_runtime::{Runtime, Settings};

use super::Finding;

/// Who keeps secrets in variables: they are a matter of the shell that `run` is typed in, which may be another one.
const VARIABLES: &str = "env";

/// Fetches each of them once, as a process started here would.
pub(super) async fn fetched(runtime: &Runtime) -> Finding {
    let named = runtime.secrets().secrets;
    if named.is_empty() {
        return Finding::good("secrets", "no setting names one");
    }
    let (mut missing, mut elsewhere) = (Vec::new(), Vec::new());
    for secret in &named {
        let reference: Result<SecretRef, SecretError> = secret.reference.parse();
        let failed = match reference {
            Ok(reference) => {
                let fetched = runtime.secret(&reference).await;
                let list = if reference.provider() == VARIABLES {
                    &mut elsewhere
                } else {
                    &mut missing
                };
                fetched.err().map(|error| (error, list))
            }
            Err(error) => Some((error, &mut missing)),
        };
        if let Some((error, list)) = failed {
            let by = secret.used_by.first().map(|used| used.setting.as_str());
            let by = by.unwrap_or("nobody");
            list.push(format!(
                "{} ({by}): {error} ({})",
                secret.reference,
                error.code()
            ));
        }
    }
    if !missing.is_empty() {
        missing.append(&mut elsewhere);
        return Finding::bad("secrets", missing.join("\n")).fix(
            "put each where its reference says, for its owner only, then `oneiric secrets rotate`",
        );
    }
    if !elsewhere.is_empty() {
        return Finding::warning("secrets", elsewhere.join("\n"))
            .fix("set them where `oneiric run` is started; here they are not");
    }
    Finding::good("secrets", format!("{} can be fetched", named.len()))
}

/// What the process says of those it uses.
pub(super) fn used(doc: &SecretsDoc) -> Finding {
    let trouble = |stale: bool| {
        let those = doc.secrets.iter().filter(move |one| one.stale == stale);
        let lines = those.filter_map(|one| {
            let error = one.error.as_ref()?;
            Some(format!(
                "{}: {} ({})",
                one.reference, error.message, error.code
            ))
        });
        lines.collect::<Vec<_>>()
    };
    let (missing, stale) = (trouble(false), trouble(true));
    let fix = "`oneiric secrets rotate` fetches them anew, once they are where they should be";
    if !missing.is_empty() {
        return Finding::bad("secrets_used", [missing, stale].concat().join("\n")).fix(fix);
    }
    if !stale.is_empty() {
        return Finding::warning("secrets_used", stale.join("\n")).fix(fix);
    }
    Finding::good(
        "secrets_used",
        "the process could fetch each that it needed",
    )
}

/// Files that hold secrets must be nobody else's to read.
pub(super) fn files(settings: &Settings) -> Finding {
    let directory = settings.secrets_dir();
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Finding::good("secret_files", "there are none");
        }
        Err(error) => {
            let says = format!("{} cannot be read: {error}", directory.display());
            return Finding::bad("secret_files", says);
        }
    };
    let (mut open, mut count) = (Vec::new(), 0_usize);
    for entry in entries.flatten() {
        count += 1;
        let closed = entry.metadata().is_ok_and(|file| file.mode() & 0o077 == 0);
        if !closed {
            open.push(entry.path().display().to_string());
        }
    }
    if open.is_empty() {
        return Finding::good(
            "secret_files",
            format!("{count} in {}", directory.display()),
        );
    }
    let says = format!("others may read {}", open.join(", "));
    Finding::bad("secret_files", says).fix(format!("chmod 600 {}", open.join(" ")))
}
