//! The admin socket without a client, for what a well-behaved client never sends.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Sends `bytes` as they are, and reads until the other end has nothing more to say.
///
/// The other end may well hang up before everything is sent; what it said before that counts.
pub fn send(socket: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).expect("the process listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a timeout can be set");
    let sent = stream.write_all(bytes);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    for error in [sent.err(), read.err()].into_iter().flatten() {
        let hung_up = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
        assert!(hung_up.contains(&error.kind()), "{error}");
    }
    String::from_utf8_lossy(&answer).into_owned()
}
