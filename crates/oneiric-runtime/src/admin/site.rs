//! Pages have no business here. A browser that holds a client certificate shows it with whatever a page has it send,
//! wherever the page comes from; but it says that a page did, and of what a page may send unasked nothing is JSON. This
//! API serves no pages, so that no request of one is its own.

use hyper::{
    body::{Body, Incoming},
    header::{self, HeaderMap, HeaderName},
};
use oneiric_core::ErrorKind;

use super::{entrance::Entrance, problem::Problem};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses what a page in a browser sent, and over TCP a body that does not say that it is JSON.
///
/// # Errors
/// `runtime.cross_site`, `runtime.body_not_json`.
pub(super) fn check(
    entrance: &Entrance,
    headers: &HeaderMap,
    body: &Incoming,
) -> Result<(), Problem> {
    if matches!(entrance, Entrance::Socket(_)) {
        return Ok(());
    }
    if by_a_page(headers) {
        let message = "a page in a browser sent this, and no page may use this API";
        let code = "runtime.cross_site";
        return Err(Problem::new(403, code, ErrorKind::Denied, message));
    }
    if !body.is_end_stream() && !is_json(headers) {
        let message = "over TCP a body has the header `Content-Type: application/json`";
        let code = "runtime.body_not_json";
        return Err(Problem::new(415, code, ErrorKind::Usage, message));
    }
    Ok(())
}

fn by_a_page(headers: &HeaderMap) -> bool {
    let sites = headers.get_all(FETCH_SITE).iter();
    let mut sites = sites.map(header::HeaderValue::as_bytes);
    // Typed into the address bar is `none`.
    headers.contains_key(header::ORIGIN)
        || sites.any(|site| site != b"same-origin" && site != b"none")
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(one), None) = (types.next(), types.next()) else {
        return false;
    };
    let kind = one.to_str().unwrap_or_default().split(';').next();
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        let name = HeaderName::from_static(name);
        HeaderMap::from_iter([(name, header::HeaderValue::from_static(value))])
    }

    #[test]
    fn whatever_a_page_sends_is_told_from_what_a_program_sends() {
        assert!(by_a_page(&headers("origin", "https://evil.example")));
        assert!(by_a_page(&headers("origin", "null")));
        for (site, page) in [
            ("cross-site", true),
            ("same-site", true),
            ("same-origin", false),
            ("none", false),
            ("made-up", true),
        ] {
            assert_eq!(by_a_page(&headers("sec-fetch-site", site)), page, "{site}");
        }
        assert!(!by_a_page(&HeaderMap::new()));
    }

    #[test]
    fn json_is_what_says_so_once() {
        for (kind, json) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/jsonx", false),
            ("text/plain; application/json", false),
        ] {
            assert_eq!(is_json(&headers("content-type", kind)), json, "{kind}");
        }
        assert!(!is_json(&HeaderMap::new()));
        let mut twice = headers("content-type", "application/json");
        let text = header::HeaderValue::from_static("text/plain");
        twice.append(header::CONTENT_TYPE, text);
        assert!(!is_json(&twice));
    }
}
