//! What keeps secrets out of logs, errors, documents and crash output.
//!
//! A component may say whatever it likes: log its token, answer a probe with it, panic with it. So every text that
//! leaves the process is searched for the secrets the process knows ([`known`]), in the forms in which they usually turn
//! up ([`forms`]), in one pass whatever their number ([`search`]). What matches is covered as a whole, overlaps
//! included.
//!
//! What is searched for is compiled anew when a value comes, and that takes its time. So it is done away from the async
//! workers, once for however many come meanwhile, and nobody is given a value before it is covered. Whoever writes a
//! text never waits for it: until then the search before is in force.
//!
//! The search is exact: a secret that was cut, reversed or encrypted is not found. Secrets shorter than
//! [`MIN_REDACTED_BYTES`] are not searched for, because they would turn up in words that are none; docs/spec/secrets.md
//! says so to operators.

mod forms;
mod known;
mod search;
mod writer;

use std::{
    borrow::Cow,
    fmt,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use oneiric_domains::Secret;
use serde_json::Value;

use self::{known::Known, search::Search};
pub use writer::RedactingWriter;

/// The shortest secret that is searched for, in bytes.
pub const MIN_REDACTED_BYTES: usize = 4;

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
    known: Mutex<Known>,
    /// None while nothing is to be searched for.
    search: ArcSwapOption<Search>,
    /// Which state of what is known the search is for.
    searched: Mutex<u64>,
    /// Held by whoever compiles: the others who wait then find it done.
    turn: tokio::sync::Mutex<()>,
    /// How often it was compiled.
    builds: AtomicU64,
}

/// The search could not be compiled: the process is ending, or it is a fault of ours.
#[derive(Debug)]
pub(crate) struct NotCovered;

impl Inner {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is complete in itself.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_searched(&self, number: u64) -> bool {
        *self.searched() >= number
    }

    fn searched(&self) -> MutexGuard<'_, u64> {
        self.searched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compiles the search for what is known now, and puts it in force.
    fn build(&self) {
        let (number, all) = self.known().all();
        let search = Search::of(&all);
        self.builds.fetch_add(1, Ordering::Relaxed);
        let mut searched = self.searched();
        // Another that began later may have been faster.
        if number > *searched {
            self.search.store(search.map(Arc::new));
            *searched = number;
        }
    }
}

impl Redactor {
    /// Makes one that knows no secrets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Covers `values` from now on, in the place of those that `owner` had before. The last 64 values that had their
    /// place taken are covered as well: a component that was built with one may still speak of it.
    ///
    /// Compiles the search on the thread of the caller, which takes the longer the more values and lines of them are
    /// known. Values that were known already cost nothing.
    pub fn protect(&self, owner: impl Into<String>, values: Vec<Secret>) {
        let number = self.inner.known().put(owner.into(), values);
        if !self.inner.is_searched(number) {
            self.inner.build();
        }
    }

    /// As [`protect`](Self::protect), away from the async workers: when this returns, the values are covered. Those who
    /// call it while a search is compiled share the next one. Cancel-safe: the values are covered a little later then.
    pub(crate) async fn cover(&self, owner: String, values: Vec<Secret>) -> Result<(), NotCovered> {
        let number = self.inner.known().put(owner, values);
        if self.inner.is_searched(number) {
            return Ok(());
        }
        let _turn = self.inner.turn.lock().await;
        if self.inner.is_searched(number) {
            return Ok(());
        }
        let inner = Arc::clone(&self.inner);
        let built = tokio::task::spawn_blocking(move || inner.build()).await;
        built.map_err(|_panicked_or_ending| NotCovered)
    }

    /// Has `owner` own nothing any more. What it had is covered on as something that was exchanged.
    pub(crate) fn forget(&self, owner: String) {
        // What is searched for beyond that does no harm, so nothing is compiled for it.
        self.inner.known().put(owner, Vec::new());
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
        let search = self.inner.search.load();
        let search = search.as_deref();
        search.map_or(text.len(), |search| search.passable_lines(text))
    }

    /// How much of `text`, a line without an end, may be passed on before what follows is known.
    fn passable_part(&self, text: &str) -> usize {
        let search = self.inner.search.load();
        let search = search.as_deref();
        search.map_or(text.len(), |search| search.passable_part(text))
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

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor")
            .field("secrets", &self.inner.known().owners())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
