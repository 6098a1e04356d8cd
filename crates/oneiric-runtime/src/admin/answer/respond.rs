//! An answer as it is sent: its head, and a body that counts until it is written.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use oneiric_core::ErrorKind;

use super::{Admin, Done, REQUEST_ID};
use crate::{
    admin::{
        connection::Told,
        places::Place,
        problem::{Answer, Problem},
    },
    conceal::Audience,
};

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

impl Admin {
    pub(super) fn respond(
        &self,
        id: &str,
        result: Result<Done, Problem>,
        place: &Arc<Place>,
        audience: Audience,
    ) -> Response<Told> {
        let (mut allow, mut authenticate, mut again, mut retry_after) = (None, false, false, None);
        let mut close = false;
        let done = result.or_else(|problem| {
            allow = problem.allow;
            authenticate = problem.authenticate;
            again = problem.replayed;
            close = problem.close;
            retry_after = problem.retry_after(self.runtime.inner.clock.now());
            let document = problem.document(id, &self.runtime, audience);
            let answer = Answer::json(document.0, &document.1)?;
            Ok(Done::whole(answer))
        });
        // A document of texts always has a JSON form; if that should ever change, the status still says it.
        let done = done.unwrap_or_else(|_: Problem| {
            Done::whole(Answer::whole(500, "text/plain", Bytes::new()))
        });
        let Done {
            answer,
            share,
            replayed,
        } = done;
        // What has a share ends its connection; so does what found no place any more when it was done.
        let close = close || share.is_some() || !place.retake();
        let body = answer.body.written(&self.runtime, audience);
        let body = Told::new(body, Arc::clone(place), share);
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(answer.content_type),
        );
        // What a slot says now is not what it says in a moment; and no content is ever a page.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        if let Some(methods) = allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods.names()));
        }
        if let Some(wait) = retry_after {
            // Whole seconds, rounded up: what is asked for too early is refused again.
            let seconds = u64::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if authenticate {
            let scheme = HeaderValue::from_static("Bearer realm=\"oneiric\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if replayed || again {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        if close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Ok(id) = HeaderValue::from_str(id) {
            headers.insert(REQUEST_ID, id);
        }
        response
    }
}

/// The whole answer, head and body, to what is no request.
pub(in crate::admin) fn unreadable(id: &str, status: u16) -> Vec<u8> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let (code, message) = if status == StatusCode::BAD_REQUEST {
        (
            "runtime.request_unreadable",
            "this is no valid HTTP/1 request",
        )
    } else {
        let message = "the head of the request is longer than 64 KiB, or announces too long a body";
        ("runtime.header_too_large", message)
    };
    let problem = Problem::new(status.as_u16(), code, ErrorKind::Usage, message);
    // A document of texts always has a JSON form.
    let body = serde_json::to_string(&problem.plain(id)).unwrap_or_default();
    let length = body.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         {REQUEST_ID}: {id}\r\nconnection: close\r\n\r\n{body}\n"
    )
    .into_bytes()
}
