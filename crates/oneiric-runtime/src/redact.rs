//! What keeps secrets out of logs, errors, documents and crash output.
//!
//! A component may say whatever it likes: log its token, answer a probe with it, panic with it. So every text that
//! leaves the process is searched for the secrets the process knows, in the forms in which they usually turn up
//! ([`forms`]), in one pass whatever their number. What matches is covered as a whole, overlaps included.
//!
//! The search is exact: a secret that was cut, reversed or encrypted is not found. Secrets shorter than
//! [`MIN_REDACTED_BYTES`] are not searched for, because they would turn up in words that are none; docs/spec/secrets.md
//! says so to operators.

mod forms;
mod writer;

use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use arc_swap::ArcSwapOption;
use oneiric_domains::Secret;
use serde_json::Value;
use zeroize::Zeroizing;

pub use writer::RedactingWriter;

/// The shortest secret that is searched for, in bytes.
pub const MIN_REDACTED_BYTES: usize = 4;

/// How many values that were exchanged for others are still covered.
const FORMER: usize = 64;

/// What stands in the place of a secret.
const MARK: &str = "[redacted]";

/// Stands for a whole text when the search cannot be done.
const LEFT_OUT: &str = "[left out: it could not be searched for secrets]";

/// Covers secrets in texts. Cheap to clone; all clones know the same secrets.
///
/// A program that writes its own log makes one first, gives it to
/// [`RuntimeBuilder::redactor`](crate::RuntimeBuilder::redactor), and has its log go through
/// [`writer`](Self::writer).
///
/// ```
/// use oneiric_domains::Secret;
/// use oneiric_runtime::Redactor;
///
/// let redactor = Redactor::new();
/// redactor.protect("the token", vec![Secret::new("s3cr3t/=".to_owned())]);
/// assert_eq!(redactor.redact("GET /?t=s3cr3t%2F%3D"), "GET /?t=[redacted]");
/// ```
#[derive(Clone, Default)]
pub struct Redactor {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    protected: Mutex<Protected>,
    /// None while nothing is to be searched for.
    search: ArcSwapOption<Search>,
}

#[derive(Default)]
struct Protected {
    now: BTreeMap<String, Vec<Secret>>,
    /// The last values that were exchanged for others: what was built with them may still speak of them.
    former: VecDeque<Secret>,
}

enum Search {
    For {
        automaton: AhoCorasick,
        /// Patterns with a line end in them, which a writer that goes by lines must not tear apart.
        of_lines: Vec<Zeroizing<String>>,
        /// The length of the longest pattern.
        longest: usize,
    },
    /// The automaton could not be built; nothing may pass then.
    Impossible,
}

impl Redactor {
    /// Makes one that knows no secrets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Covers `values` from now on, in the place of those that `owner` had before. The last 64 values that had their
    /// place taken are covered as well: a component that was built with one may still speak of it.
    pub fn protect(&self, owner: impl Into<String>, values: Vec<Secret>) {
        let mut protected = self.protected();
        let Protected { now, former } = &mut *protected;
        let before = now.insert(owner.into(), values).unwrap_or_default();
        now.retain(|_, values| !values.is_empty());
        former.retain(|old| !before.contains(old));
        former.extend(before);
        former.drain(..former.len().saturating_sub(FORMER));
        let search = Search::of(now.values().flatten().chain(&*former));
        self.inner.search.store(search.map(Arc::new));
    }

    fn protected(&self) -> MutexGuard<'_, Protected> {
        // Each change is complete in itself.
        self.inner
            .protected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `text` with every known secret in it covered.
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let search = self.inner.search.load();
        let Some(search) = search.as_deref() else {
            return Cow::Borrowed(text);
        };
        match search.spans(text) {
            Some(spans) if spans.is_empty() => Cow::Borrowed(text),
            Some(spans) => Cow::Owned(cover(text, &spans)),
            None => Cow::Borrowed(LEFT_OUT),
        }
    }

    /// Covers secrets in every text of `value`. Names of fields stay: they are the program's.
    pub fn redact_json(&self, value: &mut Value) {
        if self.inner.search.load().is_none() {
            return;
        }
        match value {
            Value::String(text) => {
                if let Cow::Owned(redacted) = self.redact(text) {
                    *text = redacted;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact_json(item)),
            Value::Object(fields) => fields
                .values_mut()
                .for_each(|field| self.redact_json(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Wraps a writer of text. See [`RedactingWriter`].
    pub fn writer<W: std::io::Write>(&self, inner: W) -> RedactingWriter<W> {
        RedactingWriter::new(self.clone(), inner)
    }

    /// How much of `text`, which ends with a line end, may be passed on before what follows is known: not the
    /// beginning of a secret of several lines.
    fn passable_lines(&self, text: &str) -> usize {
        match self.inner.search.load().as_deref() {
            Some(search @ Search::For { of_lines, .. }) if !of_lines.is_empty() => {
                let unfinished = of_lines
                    .iter()
                    .map(|pattern| longest_overlap(text, pattern))
                    .max();
                search.cut(text, text.len() - unfinished.unwrap_or(0))
            }
            _ => text.len(),
        }
    }

    /// How much of `text`, a line without an end, may be passed on before what follows is known.
    fn passable_part(&self, text: &str) -> usize {
        match self.inner.search.load().as_deref() {
            Some(search @ Search::For { longest, .. }) => {
                search.cut(text, text.len().saturating_sub(*longest))
            }
            _ => text.len(),
        }
    }
}

impl Search {
    fn of<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Option<Self> {
        let mut patterns = Vec::new();
        for secret in secrets {
            if secret.expose().len() >= MIN_REDACTED_BYTES {
                forms::of(secret.expose(), &mut patterns);
            }
        }
        if patterns.is_empty() {
            return None;
        }
        let automaton = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(patterns.iter().map(|pattern| pattern.as_bytes()));
        let Ok(automaton) = automaton else {
            return Some(Self::Impossible);
        };
        let longest = patterns.iter().map(|pattern| pattern.len()).max();
        patterns.retain(|pattern| pattern.contains('\n'));
        Some(Self::For {
            automaton,
            of_lines: patterns,
            longest: longest.unwrap_or(0),
        })
    }

    /// The last place up to `wanted` at which `text` may be cut without tearing a secret in two.
    fn cut(&self, text: &str, wanted: usize) -> usize {
        let spans = self.spans(text).unwrap_or_default();
        let torn = spans
            .iter()
            .find(|span| span.start < wanted && wanted < span.end);
        let cut = torn.map_or(wanted, |span| span.start);
        (0..=cut)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0)
    }

    /// Where secrets stand, in order, overlaps joined; `None` when that cannot be told.
    fn spans(&self, text: &str) -> Option<Vec<Range<usize>>> {
        let Self::For { automaton, .. } = self else {
            return None;
        };
        let mut found: Vec<Range<usize>> = automaton
            .try_find_overlapping_iter(text)
            .ok()?
            .map(|found| found.range())
            .collect();
        found.sort_unstable_by_key(|span| span.start);
        let mut joined: Vec<Range<usize>> = Vec::new();
        for span in found {
            match joined.last_mut() {
                Some(last) if span.start < last.end => last.end = last.end.max(span.end),
                _ => joined.push(span),
            }
        }
        Some(joined)
    }
}

/// Puts the mark in the place of `spans`, which are in order and do not overlap.
fn cover(text: &str, spans: &[Range<usize>]) -> String {
    let mut covered = String::with_capacity(text.len());
    let mut from = 0;
    for span in spans {
        // Patterns are whole texts, so matches begin and end between characters.
        covered.push_str(text.get(from..span.start).unwrap_or_default());
        covered.push_str(MARK);
        from = span.end;
    }
    covered.push_str(text.get(from..).unwrap_or_default());
    covered
}

/// How many bytes at the end of `text` are the beginning of `pattern`, but not all of it.
fn longest_overlap(text: &str, pattern: &str) -> usize {
    let longest = pattern.len().saturating_sub(1).min(text.len());
    (1..=longest)
        .rev()
        .find(|length| {
            pattern.is_char_boundary(*length)
                && text.as_bytes().ends_with(&pattern.as_bytes()[..*length])
        })
        .unwrap_or(0)
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor")
            .field("secrets", &self.protected().now.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
