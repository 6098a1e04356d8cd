//! What errors do not tell clients: where things lie on this machine.
//!
//! A message has to stay useful to whoever reads it, and whoever reads it may be anybody who was let in. So a path
//! becomes the name at its end: `cannot write /srv/a/entries/7: disk full` says `cannot write 7: disk full`, and the
//! log has the whole. Components word their messages themselves, so this looks at text and not at types; what is no
//! path to it (a slot, a route of the API, a division) it leaves alone.

use std::borrow::Cow;

use crate::{Runtime, settings::ErrorMode};

/// What may stand before a path, besides the beginning of the text.
const BEFORE: &[char] = &[
    ' ', '\t', '\n', '"', '\'', '`', '(', '[', '{', '<', '=', ':', ',', ';', '|',
];
/// What ends a path.
const AFTER: &[char] = &[
    ' ', '\t', '\n', '"', '\'', '`', ')', ']', '}', '>', ',', ';', '|', ':',
];
/// What looks like a path and is public: the routes of the admin API.
const ROUTES: &[&str] = &["/v1/", "/healthz", "/readyz", "/metrics"];

impl Runtime {
    /// Returns `text` as clients get it: without secrets, and in production without places on this machine.
    pub(crate) fn for_clients(&self, text: &str) -> String {
        let redacted = self.redactor().redact(text);
        if self.is_development() {
            return redacted.into_owned();
        }
        let settings = self.settings();
        let state_dir = settings.state_dir.display().to_string();
        paths(&redacted, &state_dir).into_owned()
    }

    /// Whether errors tell everything that is known.
    pub(crate) fn is_development(&self) -> bool {
        self.settings().error_mode == ErrorMode::Development
    }
}

/// Puts the name at its end in the place of every path: of those that begin at the root, with a dot and a slash or a
/// tilde and a slash, and of those below `state_dir`, which may be relative to nothing.
fn paths<'t>(text: &'t str, state_dir: &str) -> Cow<'t, str> {
    let (mut shown, mut rest) = (String::new(), text);
    let mut changed = false;
    let mut at_start = true;
    while !rest.is_empty() {
        let begins = at_start && is_path(rest, state_dir);
        if begins {
            let (path, after) = rest.split_at(rest.find(AFTER).unwrap_or(rest.len()));
            shown.push_str(name(path));
            rest = after;
            changed = true;
            at_start = false;
            continue;
        }
        let mut letters = rest.chars();
        if let Some(letter) = letters.next() {
            shown.push(letter);
            at_start = BEFORE.contains(&letter);
        }
        rest = letters.as_str();
    }
    if changed {
        Cow::Owned(shown)
    } else {
        Cow::Borrowed(text)
    }
}

fn is_path(text: &str, state_dir: &str) -> bool {
    if ROUTES.iter().any(|route| text.starts_with(route)) {
        return false;
    }
    let below_state_dir = !state_dir.is_empty()
        && text.strip_prefix(state_dir).is_some_and(|rest| {
            rest.is_empty() || rest.starts_with('/') || rest.starts_with(AFTER)
        });
    let rooted = text.strip_prefix('/').is_some_and(|rest| {
        // A slash between two words, or doubled as in `https://`, is none.
        rest.chars()
            .next()
            .is_some_and(|first| first != '/' && !AFTER.contains(&first))
    });
    rooted
        || below_state_dir
        || ["./", "../", "~/"]
            .iter()
            .any(|start| text.starts_with(start))
}

/// What a path is about; of a directory named with a slash at its end, the directory.
fn name(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p85_of_a_path_the_name_remains() {
        for (text, expected) in [
            (
                "cannot write /srv/a/b.db: disk full",
                "cannot write b.db: disk full",
            ),
            ("/srv/a/b.db", "b.db"),
            ("'/srv/a', (/srv/b) and \"/srv/c/\"", "'a', (b) and \"c\""),
            ("path=/etc/x:3:1", "path=x:3:1"),
            ("at /root/src/main.rs:12:5", "at main.rs:12:5"),
            (".oneiric/admin.sock is gone", "admin.sock is gone"),
            (
                "the state directory .oneiric is closed",
                "the state directory .oneiric is closed",
            ),
            ("./entries and ../x and ~/y", "entries and x and y"),
            ("unix:/run/x.sock", "unix:x.sock"),
            ("cannot open /tmp", "cannot open tmp"),
            ("ä /ü/ö ß", "ä ö ß"),
        ] {
            assert_eq!(paths(text, ".oneiric"), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_path_stays() {
        for text in [
            "adapter/cache has no candidate of 'x'; it has file, memory",
            "/v1/list takes GET, HEAD",
            "see /metrics",
            "3 / 4 of it, and/or more",
            "https://example.org/a/b is not reachable",
            "secret://file/token is not there",
            "",
        ] {
            assert!(
                matches!(paths(text, "/var/lib/x"), Cow::Borrowed(_)),
                "{text}"
            );
        }
    }
}
