//! A stream goes on only as long as whoever asked for it may read: before anything is written they are looked up
//! again, for a stream can outlive a token, a certificate and a role.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::{
    body::{Body, Frame},
    header::{self, HeaderMap},
};
use oneiric_core::BoxFuture;

use super::{answer::Admin, entrance::Entrance, problem::Written};

/// A body of which nothing more is written once its reader is not known any more.
pub(super) struct Guarded {
    body: Written,
    reader: Arc<Reader>,
    /// What is written next, if its reader is still known.
    next: Option<(Frame<Bytes>, BoxFuture<'static, bool>)>,
    ended: bool,
}

/// Who reads.
struct Reader {
    admin: Arc<Admin>,
    entrance: Arc<Entrance>,
    /// What they showed.
    shown: HeaderMap,
}

impl Guarded {
    pub(super) fn new(
        body: Written,
        admin: Arc<Admin>,
        entrance: Arc<Entrance>,
        headers: &HeaderMap,
    ) -> Self {
        let mut shown = HeaderMap::new();
        for value in headers.get_all(header::AUTHORIZATION) {
            shown.append(header::AUTHORIZATION, value.clone());
        }
        let reader = Reader {
            admin,
            entrance,
            shown,
        };
        Self {
            body,
            reader: Arc::new(reader),
            next: None,
            ended: false,
        }
    }
}

impl Body for Guarded {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let (frame, mut known) = match self.next.take() {
            Some(next) => next,
            None => match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    let reader = Arc::clone(&self.reader);
                    let known = async move {
                        let Reader {
                            admin,
                            entrance,
                            shown,
                        } = &*reader;
                        entrance.known(admin, shown).await.is_some()
                    };
                    (frame, Box::pin(known) as BoxFuture<'static, bool>)
                }
                other => return Poll::Ready(other),
            },
        };
        match known.as_mut().poll(context) {
            Poll::Pending => {
                self.next = Some((frame, known));
                Poll::Pending
            }
            Poll::Ready(true) => Poll::Ready(Some(Ok(frame))),
            // Without the word that would say that the process ends.
            Poll::Ready(false) => {
                self.ended = true;
                Poll::Ready(None)
            }
        }
    }
}
