//! The stream of events, as Server-Sent Events (WHATWG HTML, 9.2).
//!
//! A reader who is gone is noticed by the next heartbeat; one who is slow misses events and is told how many.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use oneiric_core::BoxFuture;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::{
    admin::{
        answer::Admin,
        asked::Asked,
        problem::{Answer, Problem},
        table::{Access, Gives, Handler, Param, Row, Verb},
    },
    api::{MissedDoc, schema},
    conceal::Audience,
    events::{EventStream, Watched},
    runtime::Runtime,
};

const MEDIA_TYPE: &str = "text/event-stream";
/// Between signs of life.
const HEARTBEAT: Duration = Duration::from_secs(15);

pub(super) const ROWS: &[Row] = &[Row {
    verb: Verb::Get,
    path: "/v1/events",
    access: Access::Read,
    summary: "Streams what happens, from now on or after the event named in `Last-Event-ID`.",
    params: &[Param::one("slot")],
    takes: None,
    gives: Gives::Other(MEDIA_TYPE),
    handle: Handler::Stream(|admin, asked| Box::pin(events(admin, asked))),
}];

#[expect(clippy::unused_async, reason = "a handler like the others")]
async fn events(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Problem> {
    let slot = asked.slot()?;
    let events = admin
        .runtime
        .events(slot.as_ref(), asked.last_event.as_deref());
    let told = Told::new(admin.runtime.clone(), asked.audience, events);
    Ok(Answer::stream(MEDIA_TYPE, told))
}

/// Events as they are written.
struct Told {
    runtime: Runtime,
    audience: Audience,
    next: Option<BoxFuture<'static, (EventStream, Option<Watched>)>>,
    heartbeat: Interval,
}

impl Told {
    fn new(runtime: Runtime, audience: Audience, events: EventStream) -> Self {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            runtime,
            audience,
            next: Some(next(events)),
            heartbeat,
        }
    }
}

fn next(mut events: EventStream) -> BoxFuture<'static, (EventStream, Option<Watched>)> {
    Box::pin(async move {
        let item = events.next().await;
        (events, item)
    })
}

impl Body for Told {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(waiting) = &mut self.next else {
            return Poll::Ready(None);
        };
        let text = match waiting.as_mut().poll(context) {
            Poll::Ready((events, Some(item))) => {
                self.next = Some(next(events));
                self.written(&item)
            }
            Poll::Ready((_, None)) => {
                self.next = None;
                // Says that it is over and not broken.
                "event: end\ndata: {}\n\n".to_owned()
            }
            // The first beat comes at once, so that the reader knows that it is heard.
            Poll::Pending => match self.heartbeat.poll_tick(context) {
                Poll::Ready(_) => ": alive\n\n".to_owned(),
                Poll::Pending => return Poll::Pending,
            },
        };
        Poll::Ready(Some(Ok(Frame::data(text.into()))))
    }
}

impl Told {
    /// One item; its JSON has no line breaks, so it is one line of data.
    fn written(&self, item: &Watched) -> String {
        let (head, document) = match item {
            Watched::Event(event) => (
                format!("id: {}\nevent: {}\n", event.id, event.event),
                serde_json::to_vec(event),
            ),
            Watched::Missed(missed) => {
                let document = MissedDoc {
                    schema: schema::MISSED.into(),
                    missed: *missed,
                };
                ("event: missed\n".to_owned(), serde_json::to_vec(&document))
            }
        };
        // Documents of texts and numbers always have a JSON form.
        let document = document.unwrap_or_default().into();
        let document = self.runtime.document_for(self.audience, document);
        format!("{head}data: {}\n\n", String::from_utf8_lossy(&document))
    }
}
