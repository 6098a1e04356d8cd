//! What is remembered, where it is kept, and copies of it.

use std::{
    fs::File,
    io::{self, Read},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

use crate::admin::{
    answer::Admin,
    asked::Asked,
    problem::{Answer, Problem},
    table::{Access, Gives, Handler, Param, Row, Verb, document},
};

/// What a backup is sent as.
const DATABASE: &str = "application/vnd.sqlite3";
/// Bytes of a backup read at a time.
const CHUNK: usize = 64 << 10;

pub(super) const ROWS: &[Row] = &[
    Row {
        verb: Verb::Get,
        path: "/v1/history",
        access: Access::Read,
        summary: "Tells how transitions ended and how selections came about, of one slot or all.",
        params: &[Param::one("slot")],
        takes: None,
        gives: Gives::Json(document!(HistoryDoc), &[]),
        handle: Handler::Long(|admin, asked| Box::pin(history(admin, asked))),
    },
    Row {
        verb: Verb::Get,
        path: "/v1/state",
        access: Access::Read,
        summary: "Tells where state is kept and what is in it.",
        params: &[],
        takes: None,
        gives: Gives::Json(document!(StateDoc), &[]),
        handle: Handler::Long(|admin, _| Box::pin(state(admin))),
    },
    Row {
        verb: Verb::Get,
        path: "/v1/state/backup",
        access: Access::Operate,
        summary: "Gives a copy of the database of state, taken now.",
        params: &[],
        takes: None,
        gives: Gives::Other(DATABASE),
        handle: Handler::Copy(|admin, _| Box::pin(backup(admin))),
    },
];

async fn history(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Problem> {
    let slot = asked.slot()?;
    Answer::json(200, &admin.runtime.history(slot.as_ref()).await?)
}

async fn state(admin: Arc<Admin>) -> Result<Answer, Problem> {
    Answer::json(200, &admin.runtime.state().await?)
}

async fn backup(admin: Arc<Admin>) -> Result<Answer, Problem> {
    let file = admin.runtime.backup_without_name().await?;
    Ok(Answer::stream(DATABASE, FileBody::of(file)))
}

/// A file as a body, read by a thread of the pool and no faster than it is sent.
struct FileBody(mpsc::Receiver<io::Result<Bytes>>);

impl FileBody {
    fn of(mut file: File) -> Self {
        let (chunks, body) = mpsc::channel(2);
        tokio::task::spawn_blocking(move || {
            loop {
                let mut chunk = vec![0; CHUNK];
                let read = file.read(&mut chunk).map(|length| {
                    chunk.truncate(length);
                    Bytes::from(chunk)
                });
                let ends = !matches!(&read, Ok(chunk) if !chunk.is_empty());
                let gives = !matches!(&read, Ok(chunk) if chunk.is_empty());
                // Whoever asked may have gone away.
                if (gives && chunks.blocking_send(read).is_err()) || ends {
                    return;
                }
            }
        });
        Self(body)
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0
            .poll_recv(context)
            .map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}
