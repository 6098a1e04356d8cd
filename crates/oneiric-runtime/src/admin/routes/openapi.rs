//! What the API says of itself.

use crate::admin::{
    answer::Admin,
    asked::Asked,
    problem::{Answer, Problem},
    table::{Access, Gives, Handler, Row, Verb},
};

const DOCUMENT: &str = include_str!("../../../../../docs/reference/openapi.json");

pub(super) const ROWS: &[Row] = &[Row {
    verb: Verb::Get,
    path: "/v1/openapi.json",
    access: Access::Read,
    summary: "Gives the OpenAPI document of this API.",
    params: &[],
    takes: None,
    gives: Gives::Other("application/json"),
    handle: Handler::Now(openapi),
}];

#[expect(clippy::unnecessary_wraps, reason = "a handler like the others")]
fn openapi(_: &Admin, _: &Asked) -> Result<Answer, Problem> {
    Ok(Answer::whole(200, "application/json", DOCUMENT))
}
