//! What there is.

use oneiric_core::Domain;

use crate::admin::{
    answer::Admin,
    asked::Asked,
    problem::{Answer, Problem},
    table::{Access, Gives, Handler, Param, Row, Verb, document},
};

pub(super) const ROWS: &[Row] = &[Row {
    verb: Verb::Get,
    path: "/v1/list",
    access: Access::Read,
    summary: "Lists slots with their candidates, best first.",
    params: &[Param::one("domain")],
    takes: None,
    gives: Gives::Json(document!(ListDoc), &[]),
    handle: Handler::Now(list),
}];

fn list(admin: &Admin, asked: &Asked) -> Result<Answer, Problem> {
    let domain = asked.parsed::<Domain>("domain")?;
    Answer::json(200, &admin.runtime.list(domain.as_ref()))
}
