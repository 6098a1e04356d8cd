//! Gathers an event and the spans around it into one line.

use std::sync::{Arc, atomic::Ordering};

use tracing::{
    Event, Subscriber,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::{
    Shared,
    line::{Fields, Line, Recorder},
};

/// Writes events to the log's buffer.
pub(super) struct Lines {
    shared: Arc<Shared>,
}

impl Lines {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn recorder(&self) -> Recorder<'_> {
        Recorder::new(&self.shared.redactor)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut recorder = self.recorder();
        attributes.record(&mut recorder);
        span.extensions_mut().insert(recorder.fields());
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        // Other people's `Debug` runs before the lock is taken: it may panic, which is logged in this same span.
        let mut later = self.recorder();
        values.record(&mut later);
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            fields.replace(later.fields());
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut recorder = self.recorder();
        event.record(&mut recorder);
        let mut fields = recorder.fields();
        let mut spans = Vec::new();
        // From the innermost outwards: whatever was said nearer to the event counts.
        for span in context.event_scope(event).into_iter().flatten() {
            spans.push(span.name());
            if let Some(around) = span.extensions().get::<Fields>() {
                fields.add_missing(around);
            }
        }
        spans.reverse();
        let line = Line {
            at: self.shared.clock.now(),
            level: *event.metadata().level(),
            target: event.metadata().target(),
            spans,
            fields,
        };
        let redact = |text: &str| self.shared.redactor.redact(text).into_owned();
        let text = if self.shared.json.load(Ordering::Relaxed) {
            line.json(redact)
        } else {
            line.human(redact, self.shared.colours)
        };
        self.shared.buffer.push(&text);
    }
}
