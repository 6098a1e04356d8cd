//! The settings in force, and who set them.

use crate::admin::{
    answer::Admin,
    asked::Asked,
    problem::{Answer, Problem},
    table::{Access, Gives, Handler, Param, Row, Verb, document},
};

pub(super) const ROWS: &[Row] = &[
    Row {
        verb: Verb::Get,
        path: "/v1/config",
        access: Access::Read,
        summary: "Tells every setting and who set it, without secrets.",
        params: &[],
        takes: None,
        gives: Gives::Json(document!(ConfigDoc), &[]),
        handle: Handler::Now(config),
    },
    Row {
        verb: Verb::Get,
        path: "/v1/config/explain",
        access: Access::Read,
        summary: "Explains one setting: what it means, and everybody who set it.",
        params: &[Param::one("key")],
        takes: None,
        gives: Gives::Json(document!(ConfigExplainDoc), &[]),
        handle: Handler::Now(explain),
    },
];

fn config(admin: &Admin, _: &Asked) -> Result<Answer, Problem> {
    Answer::json(200, &admin.runtime.config())
}

fn explain(admin: &Admin, asked: &Asked) -> Result<Answer, Problem> {
    let key = asked
        .one("key")
        .ok_or_else(|| Problem::invalid("`key` is missing"))?;
    Answer::json(200, &admin.runtime.config_explain(key)?)
}
