//! Reading the stream of events.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use oneiric_core::Slot;

use super::{Client, ClientError, broken, of, refusal, send};
use crate::{
    api::{EventDoc, MissedDoc},
    events::Watched,
};

/// Without a sign of life for so long, the process is taken to be gone; it gives one every 15 seconds.
const SILENCE: Duration = Duration::from_secs(45);
/// The longest event: 1 MiB.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// Events of a process, as it sends them.
#[derive(Debug)]
pub struct EventSource {
    body: Incoming,
    /// What has arrived and is no whole event yet.
    pending: Vec<u8>,
    /// How much of it was searched for an end.
    searched: usize,
    ended: bool,
}

impl Client {
    /// Follows what happens from now on, or after the event `after` if the process still has it; to one slot if one
    /// is named. Takes a connection of its own, which is closed when the source is dropped.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn events(
        &self,
        slot: Option<&Slot>,
        after: Option<&str>,
    ) -> Result<EventSource, ClientError> {
        let path = format!("/v1/events{}", of(slot));
        let mut request = self.head(hyper::Method::GET, &path)?;
        if let Some(after) = after {
            let after = after
                .parse()
                .map_err(|error| broken("writing the request", &error))?;
            request.headers_mut().insert("last-event-id", after);
        }
        let open = async {
            let mut connection = self.target.open().await?;
            let answer = connection.send_request(request).await;
            answer.map_err(|error| broken("waiting for the answer", &error))
        };
        let answer = send::within(self.limits.reads(), open).await?;
        let status = answer.status().as_u16();
        if status != 200 {
            let body = send::collect(answer.into_body()).await?;
            return Err(refusal(status, &body));
        }
        Ok(EventSource {
            body: answer.into_body(),
            pending: Vec::new(),
            searched: 0,
            ended: false,
        })
    }
}

impl EventSource {
    /// The next item; `None` when the process has said that it ends. Cancel-safe.
    ///
    /// # Errors
    /// `runtime.connection_broken` when the connection ended without a word, or gave no sign of life for 45 s;
    /// `runtime.answer_unreadable`.
    pub async fn next(&mut self) -> Result<Option<Watched>, ClientError> {
        loop {
            while let Some(block) = self.block()? {
                match read(&block)? {
                    Read::Item(item) => return Ok(Some(item)),
                    Read::End => self.ended = true,
                    Read::Nothing => {}
                }
            }
            if self.ended {
                return Ok(None);
            }
            let frame = tokio::time::timeout(SILENCE, self.body.frame())
                .await
                .map_err(|_| lost("no sign of life for 45 s"))?;
            match frame {
                None => return Err(lost("the process is gone")),
                Some(Err(error)) => return Err(broken("reading events", &error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.pending.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    /// Takes out what stands before the next empty line.
    fn block(&mut self) -> Result<Option<String>, ClientError> {
        let from = self.searched.saturating_sub(1);
        let rest = self.pending.get(from..).unwrap_or_default();
        let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") else {
            self.searched = self.pending.len();
            if self.pending.len() > MAX_EVENT_BYTES {
                return Err(unreadable("an event longer than 1 MiB"));
            }
            return Ok(None);
        };
        let block: Vec<u8> = self.pending.drain(..from + end + 2).collect();
        self.searched = 0;
        String::from_utf8(block).map(Some).map_err(unreadable)
    }
}

enum Read {
    Item(Watched),
    End,
    /// A sign of life, or something that this version does not know.
    Nothing,
}

/// Reads one block of the stream; the process writes one line of data each.
fn read(block: &str) -> Result<Read, ClientError> {
    let field = |name: &str| {
        let mut lines = block.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let (Some(event), Some(data)) = (field("event"), field("data")) else {
        return Ok(Read::Nothing);
    };
    Ok(match event {
        "end" => Read::End,
        "missed" => {
            let missed: MissedDoc = serde_json::from_str(data).map_err(unreadable)?;
            Read::Item(Watched::Missed(missed.missed))
        }
        _ => {
            let event: EventDoc = serde_json::from_str(data).map_err(unreadable)?;
            Read::Item(Watched::Event(event))
        }
    })
}

fn lost(message: &str) -> ClientError {
    ClientError::Broken {
        doing: "reading events",
        message: message.to_owned(),
    }
}

fn unreadable(error: impl ToString) -> ClientError {
    ClientError::Unreadable {
        message: error.to_string(),
    }
}
