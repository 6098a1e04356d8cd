//! One request and its answer over the admin socket, without a client that hides when the other end went away.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// The status and the document of an answer that came whole; `None` when the process was gone before that.
///
/// # Panics
/// When an answer comes whole and is no JSON.
pub fn request(
    socket: &Path,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Option<(u16, Value)> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .ok()?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: oneiric\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = Vec::new();
    // Whatever came before the end counts only if it is all there.
    let _read = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let length: usize = value.parse().ok()?;
        name.eq_ignore_ascii_case("content-length")
            .then_some(length)
    })?;
    if body.len() != length {
        return None;
    }
    let document = serde_json::from_str(body);
    Some((
        status,
        document.unwrap_or_else(|error| panic!("no JSON: {error}: {body}")),
    ))
}
