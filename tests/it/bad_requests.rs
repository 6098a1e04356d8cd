//! What no client of ours sends: the process answers or hangs up, and goes on serving others.

use oneiric_tests::Process;
use oneiric_tests::settings::CACHES;
use oneiric_tests::socket::send;

/// A process that has been sent `bytes`, what it answered, and that it still serves.
#[track_caller]
fn answer_to(bytes: &[u8]) -> String {
    let process = Process::start(CACHES);
    process
        .oneiric(&["call", "adapter/cache", "put", "key=a", "value=1"])
        .ok();
    let answer = send(&process.place().socket(), bytes);
    assert_eq!(
        process
            .oneiric(&["call", "adapter/cache", "get", "key=a"])
            .ok(),
        "\"1\"\n"
    );
    let (code, said) = process.stop();
    assert_eq!(code, Some(0), "{said}");
    answer
}

fn status_of(answer: &str) -> Option<&str> {
    answer.split(' ').nth(1)
}

#[test]
fn garbage_is_answered_with_an_error_or_not_at_all() {
    let answer = answer_to(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n");
    assert!(matches!(status_of(&answer), None | Some("400")), "{answer}");
}

#[test]
fn a_header_of_10_mb_is_refused() {
    let mut request = b"GET /v1/status HTTP/1.1\r\nhost: x\r\nx-large: ".to_vec();
    request.resize(request.len() + 10_000_000, b'a');
    request.extend(b"\r\n\r\n");
    let answer = answer_to(&request);
    assert!(matches!(status_of(&answer), None | Some("431")), "{answer}");
}

#[test]
fn a_body_of_10_mb_is_refused_with_a_code() {
    let mut request =
        b"POST /v1/call HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 10000000\r\n\r\n"
            .to_vec();
    request.resize(request.len() + 10_000_000, b' ');
    let answer = answer_to(&request);
    // It hangs up before all of it was sent, so its answer may be lost on the way.
    if status_of(&answer).is_some() {
        assert_eq!(status_of(&answer), Some("413"), "{answer}");
        assert!(answer.contains("runtime.body_too_large"), "{answer}");
    }
}

#[test]
fn a_body_that_is_not_json_and_a_route_that_is_not_there_have_codes() {
    let answer = answer_to(
        b"POST /v1/call HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\r\n{x}",
    );
    assert_eq!(status_of(&answer), Some("400"), "{answer}");
    assert!(
        answer.contains("\"oneiric.error/1\"") && answer.contains("request_id"),
        "{answer}"
    );
    let answer = answer_to(b"GET /v2/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert_eq!(status_of(&answer), Some("404"), "{answer}");
    assert!(answer.contains("\"code\""), "{answer}");
}
