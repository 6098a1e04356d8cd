//! The process and its slots.

use crate::admin::{
    answer::Admin,
    asked::Asked,
    problem::{Answer, Problem},
    table::{Access, Gives, Handler, Param, Row, Verb, document},
};

pub(super) const ROWS: &[Row] = &[Row {
    verb: Verb::Get,
    path: "/v1/status",
    access: Access::Read,
    summary: "Tells of the process and of one slot or all.",
    params: &[Param::one("slot")],
    takes: None,
    gives: Gives::Json(document!(StatusDoc), &[]),
    handle: Handler::Now(status),
}];

fn status(admin: &Admin, asked: &Asked) -> Result<Answer, Problem> {
    Answer::json(200, &admin.runtime.status(asked.slot()?.as_ref())?)
}
