//! What a supervisor and a scraper ask.

use crate::{
    admin::{
        answer::Admin,
        asked::Asked,
        problem::{Answer, Problem},
        table::{Access, Gives, Handler, Row, Verb, document},
    },
    api::{AliveDoc, schema},
};

pub(super) const ROWS: &[Row] = &[
    Row {
        verb: Verb::Get,
        path: "/healthz",
        access: Access::Open,
        summary: "Tells that the process answers.",
        params: &[],
        takes: None,
        gives: Gives::Json(document!(AliveDoc), &[]),
        handle: Handler::Now(alive),
    },
    Row {
        verb: Verb::Get,
        path: "/readyz",
        access: Access::Read,
        summary: "Tells whether every slot serves, and which do not.",
        params: &[],
        takes: None,
        gives: Gives::Json(document!(ReadyDoc), &[503]),
        handle: Handler::Now(ready),
    },
    #[cfg(feature = "metrics")]
    Row {
        verb: Verb::Get,
        path: "/metrics",
        access: Access::Read,
        summary: "Gives all metrics in Prometheus' text form.",
        params: &[],
        takes: None,
        gives: Gives::Other(METRICS),
        handle: Handler::Now(metrics),
    },
];

#[cfg(feature = "metrics")]
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

fn alive(_: &Admin, _: &Asked) -> Result<Answer, Problem> {
    let document = AliveDoc {
        schema: schema::ALIVE.into(),
        alive: true,
    };
    Answer::json(200, &document)
}

fn ready(admin: &Admin, _: &Asked) -> Result<Answer, Problem> {
    let ready = admin.runtime.ready();
    Answer::json(if ready.ready { 200 } else { 503 }, &ready)
}

#[cfg(feature = "metrics")]
#[expect(clippy::unnecessary_wraps, reason = "a handler like the others")]
fn metrics(admin: &Admin, _: &Asked) -> Result<Answer, Problem> {
    admin.runtime.inner.metrics.in_use(admin.in_use());
    Ok(Answer::whole(200, METRICS, admin.runtime.metrics()))
}
