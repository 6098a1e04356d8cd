//! A connection as the HTTP machinery sees it, with two things that it does not do itself.
//!
//! A client that asks and never reads would hold its place for ever: an answer of which nothing more can be written
//! for ten seconds, or less than 4 KiB in a minute, ends the connection. And what is no HTTP gets a document that says so: the machinery answers such
//! requests itself, with a status and nothing else, so that answer is recognised on its way out and replaced. Nothing
//! but that is ever the last of what is written and a head that announces no body without a request id.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::answer::{REQUEST_ID, unreadable};

/// For a client to take some more of an answer.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// For a client to take [`DRIP_BYTES`], as long as more is to be written.
const DRIP_LIMIT: Duration = Duration::from_secs(60);
const DRIP_BYTES: usize = 4 << 10;
const VERSION: &[u8] = b"HTTP/1.1 ";

/// A connection.
pub(super) struct Stream<S> {
    io: S,
    /// The id of the one request that is no request.
    id: String,
    /// Since when nothing could be written, as the moment when that is too long.
    stalled: Option<Pin<Box<Sleep>>>,
    /// While less is taken than is given: the moment when that is too long, and what was taken meanwhile.
    drip: Option<(Pin<Box<Sleep>>, usize)>,
    instead: Option<Instead>,
}

/// What is written in place of what was given.
struct Instead {
    bytes: Vec<u8>,
    written: usize,
}

impl<S> Stream<S> {
    pub(super) const fn new(io: S, id: String) -> Self {
        Self {
            io,
            id,
            stalled: None,
            drip: None,
            instead: None,
        }
    }
}

impl<S: AsyncWrite + Unpin> Stream<S> {
    fn write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.io).poll_write(context, bytes) {
            Poll::Ready(written) => {
                self.stalled = None;
                let written = written?;
                self.drip = match self.drip.take() {
                    _ if written == bytes.len() => None,
                    Some((end, taken)) if taken + written < DRIP_BYTES => {
                        Some((end, taken + written))
                    }
                    _ => Some((Box::pin(sleep(DRIP_LIMIT)), 0)),
                };
                Poll::Ready(Ok(written))
            }
            Poll::Pending => {
                let stalled = self
                    .stalled
                    .get_or_insert_with(|| Box::pin(sleep(WRITE_LIMIT)));
                if stalled.as_mut().poll(context).is_pending() {
                    let (end, _) = self
                        .drip
                        .get_or_insert_with(|| (Box::pin(sleep(DRIP_LIMIT)), 0));
                    ready!(end.as_mut().poll(context));
                }
                let late = "the client does not read its answer";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, late)))
            }
        }
    }
}

/// Finds an answer that is only a head at the end of what is written: where it begins, and its status.
fn bare_refusal(bytes: &[u8]) -> Option<(usize, u16)> {
    if !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let at = bytes
        .windows(VERSION.len())
        .rposition(|window| window == VERSION)?;
    let head = std::str::from_utf8(bytes.get(at..)?).ok()?;
    if !head.contains("\r\ncontent-length: 0\r\n") || head.contains(REQUEST_ID) {
        return None;
    }
    let status: u16 = head.get(VERSION.len()..VERSION.len() + 3)?.parse().ok()?;
    (400..500).contains(&status).then_some((at, status))
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        given: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.instead.is_none() {
            let Some((at, status)) = bare_refusal(given) else {
                return self.write(context, given);
            };
            let mut bytes = given.get(..at).unwrap_or_default().to_vec();
            bytes.extend(unreadable(&self.id, status));
            self.instead = Some(Instead { bytes, written: 0 });
        }
        // Taken out for as long as it is written, which needs the rest of `self`.
        while let Some(mut instead) = self.instead.take() {
            let rest = instead.bytes.get(instead.written..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            match self.write(context, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(0)),
                Poll::Ready(Ok(written)) => {
                    instead.written += written;
                    self.instead = Some(instead);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.instead = Some(instead);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(given.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";

    #[tokio::test(start_paused = true)]
    async fn a_reader_who_stands_still_is_given_up_and_a_slow_one_is_not() {
        let (ours, mut theirs) = duplex(4);
        let mut stream = Stream::new(ours, "7".into());
        let slow = async {
            let mut byte = [0];
            for _ in 0..8 {
                sleep(WRITE_LIMIT / 2).await;
                theirs.read_exact(&mut byte).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(stream.write_all(b"twelve bytes"), slow);
        written.unwrap();
        let error = stream.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_who_takes_a_byte_now_and_then_is_given_up() {
        let (ours, mut theirs) = duplex(4);
        let mut stream = Stream::new(ours, "7".into());
        let drip = async {
            let mut byte = [0];
            loop {
                sleep(WRITE_LIMIT / 2).await;
                theirs.read_exact(&mut byte).await.unwrap();
            }
        };
        tokio::select! {
            written = stream.write_all(&[b'a'; 1_000]) => {
                assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
            }
            () = drip => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_answer_may_take_long_as_long_as_it_goes_on() {
        let (ours, mut theirs) = duplex(1 << 10);
        let mut stream = Stream::new(ours, "7".into());
        let steady = async {
            let mut some = [0; 1 << 10];
            for _ in 0..64 {
                sleep(WRITE_LIMIT / 2).await;
                theirs.read_exact(&mut some).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(stream.write_all(&[b'a'; 64 << 10]), steady);
        written.unwrap();
    }

    #[tokio::test]
    async fn a_bare_refusal_becomes_a_document_however_small_the_steps() {
        let (ours, mut theirs) = duplex(3);
        let mut stream = Stream::new(ours, "7".into());
        let mut both = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_vec();
        both.extend(REFUSAL);
        let write = async {
            stream.write_all(&both).await.unwrap();
            drop(stream);
        };
        let mut read = String::new();
        let ((), _) = tokio::join!(write, theirs.read_to_string(&mut read));
        assert!(read.starts_with("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 400 "));
        assert!(
            read.contains("\"runtime.request_unreadable\"") && read.contains("x-request-id: 7")
        );
        assert_eq!(read.matches("HTTP/1.1 ").count(), 2, "{read}");
    }

    #[test]
    fn answers_of_the_api_are_left_alone() {
        for answer in [
            &b"HTTP/1.1 404 Not Found\r\nx-request-id: 7\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n{}",
            b"\r\n\r\n",
        ] {
            assert_eq!(bare_refusal(answer), None);
        }
        assert_eq!(bare_refusal(REFUSAL), Some((0, 400)));
    }
}
