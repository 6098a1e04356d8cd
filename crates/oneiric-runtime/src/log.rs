//! The log of a process: lines for people or one JSON object a line, from the same events.
//!
//! Three promises decide the design. A line carries its message, its fields and those of the spans around it, in both
//! forms. What is secret is hidden field by field, before anything is quoted or encoded, so that no encoding can hide a
//! secret from the redactor. And a log that nobody reads (a full pipe, a closed stderr) costs lines and never the
//! process: lines go through a bounded buffer to a thread that alone may block, and what does not fit is counted.
//!
//! Nothing here is global: whoever owns the process installs the subscriber.

mod buffer;
mod layer;
mod line;

use std::{
    fmt,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use oneiric_core::WallClock;
use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Registry, layer::SubscriberExt, reload};

use self::{buffer::Buffer, layer::Lines};
use crate::{
    log_control::LogControl,
    redact::Redactor,
    settings::{LogFormat, LogSettings},
};

/// What is logged where nothing is said about it: what somebody has to look at, and who changed what here.
pub const DEFAULT_FILTER: &str = "warn,oneiric=info";

/// A text that is no log filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a log filter: {message}")]
pub struct InvalidFilter {
    message: String,
}

/// A log that is being written; clones are the same log.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    filter: reload::Handle<EnvFilter, Registry>,
    /// A filter that settings do not change, because somebody nearer than they said it.
    pinned: bool,
}

/// What the log and its layer share.
struct Shared {
    buffer: Arc<Buffer>,
    json: AtomicBool,
    colours: bool,
    clock: Arc<dyn WallClock>,
    redactor: Redactor,
}

impl Log {
    /// Begins to log to `to`, as `settings` say, and returns the subscriber to be installed.
    ///
    /// `pinned` is a filter that is used in place of theirs now and after every reload. `colours` are for people and
    /// only used in the form that is for them. What `redactor` knows is covered in every line.
    ///
    /// # Errors
    /// [`InvalidFilter`] as [`io::ErrorKind::InvalidInput`]; whatever the system says when it has no thread to give.
    pub fn begin(
        to: impl Write + Send + 'static,
        settings: &LogSettings,
        pinned: Option<&str>,
        colours: bool,
        redactor: Redactor,
        clock: Arc<dyn WallClock>,
    ) -> io::Result<(impl Subscriber + Send + Sync, Self)> {
        let filter = pinned.or(settings.filter.as_deref());
        let filter = parse(filter.unwrap_or(DEFAULT_FILTER))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let (filter, handle) = reload::Layer::new(filter);
        let shared = Arc::new(Shared {
            buffer: Buffer::start(to)?,
            json: AtomicBool::new(settings.format == LogFormat::Json),
            colours,
            clock,
            redactor,
        });
        let subscriber = Registry::default()
            .with(filter)
            .with(Lines::new(Arc::clone(&shared)));
        let log = Self {
            shared,
            filter: handle,
            pinned: pinned.is_some(),
        };
        Ok((subscriber, log))
    }

    /// Writes a text that is no event, such as what a process says about its start, in order with the log's lines.
    pub fn say(&self, text: &str) {
        let text = self.shared.redactor.redact(text);
        self.shared.buffer.push(&format!("{text}\n"));
    }

    /// Waits until what was logged is written, for `at_most` that long. Blocks. Returns whether it is.
    pub fn flush(&self, at_most: Duration) -> bool {
        self.shared.buffer.flush(at_most)
    }
}

impl LogControl for Log {
    fn check(&self, settings: &LogSettings) -> Result<(), InvalidFilterText> {
        let Some(filter) = &settings.filter else {
            return Ok(());
        };
        parse(filter).map(drop).map_err(|error| error.message)
    }

    fn apply(&self, settings: &LogSettings) {
        let json = settings.format == LogFormat::Json;
        self.shared.json.store(json, Ordering::Relaxed);
        if self.pinned {
            return;
        }
        let filter = settings.filter.as_deref().unwrap_or(DEFAULT_FILTER);
        match parse(filter).map(|filter| self.filter.reload(filter)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the log's filter cannot be changed"),
            Err(error) => tracing::error!(%error, filter, "the log's filter stays as it was"),
        }
    }

    fn dropped(&self) -> u64 {
        self.shared.buffer.dropped()
    }
}

/// What is wrong with a filter.
type InvalidFilterText = String;

/// Refuses a text that is no filter.
pub(crate) fn check(filter: &str) -> Result<(), InvalidFilter> {
    parse(filter).map(drop)
}

fn parse(filter: &str) -> Result<EnvFilter, InvalidFilter> {
    EnvFilter::try_new(filter).map_err(|error| InvalidFilter {
        message: error.to_string(),
    })
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("json", &self.shared.json)
            .field("pinned", &self.pinned)
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
