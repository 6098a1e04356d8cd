//! How much who is told: one rule for whatever leaves the admin API.
//!
//! Who asks decides. Over the Unix socket that is the owner of this process or root, who could look for themselves:
//! they get the full words. Over TCP it is anybody who was let in, whatever their role: in production they get no
//! places on this machine and no causes, in errors and in every other document alike, for a status or an event carries
//! the words of a component as well as an error does. Secrets are covered for everybody.
//!
//! A message has to stay useful, so a path becomes the name at its end, with a sign that something is left out:
//! `cannot write /srv/a/entries/7: disk full` says `cannot write .../7: disk full`, and the log has the whole.
//! Components word their messages themselves, so this looks at text and not at types; what is no path to it (a slot, a
//! route of the API, a division) it leaves alone.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{Runtime, settings::ErrorMode};

/// Who is told something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Over the Unix socket: the owner of this process, or root.
    Owner,
    /// Over TCP, whatever the role.
    Client,
}

/// What may stand before a path, besides the beginning of the text.
const BEFORE: &[char] = &[
    ' ', '\t', '\n', '"', '\'', '`', '(', '[', '{', '<', '=', ':', ',', ';', '|',
];
/// What ends a path.
const AFTER: &[char] = &[
    ' ', '\t', '\n', '"', '\'', '`', ')', ']', '}', '>', ',', ';', '|', ':',
];
/// Stands for what is left out of a path.
const LEFT_OUT: &str = ".../";
/// What stands before a path in a URL.
const FILE: &str = "file:///";
/// What looks like a path and is public: the routes of the admin API.
const ROUTES: &[&str] = &["/v1/", "/healthz", "/readyz", "/metrics"];

impl Runtime {
    /// Whether `audience` gets places and causes too.
    pub(crate) fn tells_all(&self, audience: Audience) -> bool {
        audience == Audience::Owner || self.settings().error_mode == ErrorMode::Development
    }

    /// Returns `text` as `audience` gets it: without secrets, and without places where those are not for it.
    pub(crate) fn text_for(&self, audience: Audience, text: &str) -> String {
        let redacted = self.redactor().redact(text);
        if self.tells_all(audience) {
            return redacted.into_owned();
        }
        paths(&redacted, &self.state_dir()).into_owned()
    }

    /// Returns a document as `audience` gets it: as [`Runtime::text_for`] of each text in it. Secrets are covered in
    /// documents when they are made.
    pub(crate) fn document_for(&self, audience: Audience, json: Bytes) -> Bytes {
        // Without a slash there is no path.
        if self.tells_all(audience) || !json.contains(&b'/') {
            return json;
        }
        let state_dir = self.state_dir();
        // What is no text is none of our documents; better nothing than what was not looked at.
        let told =
            std::str::from_utf8(&json).map(|json| texts(json, |text| paths(text, &state_dir)));
        told.unwrap_or_default().into()
    }

    fn state_dir(&self) -> String {
        self.settings().state_dir.display().to_string()
    }
}

/// Puts what `told` makes of them in the place of all texts in a JSON document, and leaves the rest as it is written.
fn texts(json: &str, told: impl Fn(&str) -> Cow<'_, str>) -> String {
    let (mut shown, mut rest) = (String::with_capacity(json.len()), json);
    while let Some(start) = rest.find('"') {
        let (before, from_quote) = rest.split_at(start);
        let (literal, after) = from_quote.split_at(literal_length(from_quote));
        shown.push_str(before);
        let text: Option<String> = serde_json::from_str(literal).ok();
        match text.as_deref().map(&told) {
            Some(Cow::Owned(text)) => shown.push_str(&serde_json::Value::from(text).to_string()),
            _ => shown.push_str(literal),
        }
        rest = after;
    }
    shown.push_str(rest);
    shown
}

/// How long the text in quotes is that `json` begins with, quotes included.
fn literal_length(json: &str) -> usize {
    let mut escaped = false;
    let end = json.bytes().enumerate().skip(1).find(|(_, byte)| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    end.map_or(json.len(), |(at, _)| at + 1)
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
            let (path, after) = rest.split_at(end(rest, shown.chars().next_back()));
            let name = name(path);
            if name.len() < path.len() {
                shown.push_str(LEFT_OUT);
                changed = true;
            }
            shown.push_str(name);
            rest = after;
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

/// Where the path ends that `text` begins with: one in quotes, which may hold anything, with them.
fn end(text: &str, before: Option<char>) -> usize {
    let quote = before.filter(|letter| "\"'`".contains(*letter));
    let quoted = quote.and_then(|quote| text.find(quote));
    quoted.unwrap_or_else(|| {
        let scheme = if text.starts_with(FILE) {
            FILE.len()
        } else {
            0
        };
        let rest = text.split_at(scheme).1;
        rest.find(AFTER).map_or(text.len(), |end| scheme + end)
    })
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
        || ["./", "../", "~/", FILE]
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
                "cannot write .../b.db: disk full",
            ),
            ("/srv/a/b.db", ".../b.db"),
            (
                "'/srv/a', (/srv/b) and \"/srv/c/\"",
                "'.../a', (.../b) and \".../c\"",
            ),
            ("path=/etc/x:3:1", "path=.../x:3:1"),
            ("at /root/src/main.rs:12:5", "at .../main.rs:12:5"),
            (".oneiric/admin.sock is gone", ".../admin.sock is gone"),
            (
                "./entries and ../x and ~/y",
                ".../entries and .../x and .../y",
            ),
            ("unix:/run/x.sock", "unix:.../x.sock"),
            ("cannot open /tmp", "cannot open .../tmp"),
            ("ä /ü/ö ß", "ä .../ö ß"),
            ("see file:///srv/a", "see .../a"),
            ("open \"/srv/my own/a b\": no", "open \".../a b\": no"),
            (".../a of /srv/a", ".../a of .../a"),
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
            "the state directory .oneiric is closed",
            "",
        ] {
            assert!(
                matches!(paths(text, ".oneiric"), Cow::Borrowed(_)),
                "{text}"
            );
        }
    }

    #[test]
    fn in_a_document_only_texts_change_and_only_those_with_paths() {
        let json = r#"{"b/c":1.50,"a":["/srv/x","\"/srv/my own/y\"","\\",{"/k/l":null}],"z":"\u002fsrv\/q"}"#;
        let told = texts(json, |text| paths(text, "state"));
        assert_eq!(
            told,
            r#"{"b/c":1.50,"a":[".../x","\".../y\"","\\",{".../l":null}],"z":".../q"}"#
        );
        for broken in ["\"/a/b", "\"", "", "\"\\", "/a/b"] {
            assert_eq!(texts(broken, |text| paths(text, "")), broken);
        }
    }
}
