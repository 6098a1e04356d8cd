//! One connection, from its first byte to its last.

use std::{
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    body::{Body, Frame, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::{
    answer::Admin, budget::Share, entrance::Entrance, places::Place, problem::Written,
    seldom::Turn, stream::Stream,
};

/// The longest request head; a longer one is answered with 431.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// The most lines of a request head; more are answered with 431.
const MAX_HEADERS: usize = 100;
/// For a request head to arrive, idle time between requests included.
const HEADER_LIMIT: Duration = Duration::from_secs(10);

/// Answers what comes over a connection until it ends, or has to.
pub(super) async fn serve<S>(
    stream: S,
    entrance: Entrance,
    place: Place,
    admin: Arc<Admin>,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (place, id) = (Arc::new(place), admin.next_id());
    let stream = Stream::new(stream, id.clone());
    let who = entrance.stranger();
    let entrance = Arc::new(entrance);
    let service = service_fn(|request| {
        place.busy();
        let (admin, entrance) = (Arc::clone(&admin), Arc::clone(&entrance));
        let place = Arc::clone(&place);
        async move { admin.answer(entrance, place, request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        // What has arrived is looked at first: a request that is there is answered, even if its place is gone.
        biased;
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = place.leave().cancelled() => {
            if place.is_idle() {
                admin.refused("place_taken");
                return;
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    match ended {
        Ok(()) => {}
        Err(error) if error.is_parse() => {
            let code = if error.is_parse_too_large() {
                "runtime.header_too_large"
            } else {
                "runtime.request_unreadable"
            };
            admin.refused(code);
            let reason = error.to_string();
            if let Turn::Write { left_out } = admin.seldom.turn(code) {
                tracing::info!(request_id = id, %who, code, reason, left_out, "admin request refused");
            }
        }
        Err(error) => {
            if error.is_timeout() {
                admin.refused("header_late");
            }
            tracing::debug!(reason = error.to_string(), "connection ended");
        }
    }
}

/// The body of an answer, and what is held while it is written.
pub(super) struct Told {
    body: Written,
    place: Arc<Place>,
    /// Of what is written for long: its share of that.
    _share: Option<Share>,
}

impl Told {
    pub(super) const fn new(body: Written, place: Arc<Place>, share: Option<Share>) -> Self {
        Self {
            body,
            place,
            _share: share,
        }
    }
}

impl Body for Told {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Told {
    /// It is written; from now on the connection waits for the next request.
    fn drop(&mut self) {
        self.place.idle();
    }
}
