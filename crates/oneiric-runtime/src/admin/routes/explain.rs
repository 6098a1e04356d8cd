//! Why somebody wins a slot.

use oneiric_core::{Change, Provider, Query, query};

use crate::admin::{
    answer::Admin,
    asked::{Asked, misread},
    problem::{Answer, Problem},
    table::{Access, Gives, Handler, Param, Row, Verb, document},
};

pub(super) const ROWS: &[Row] = &[Row {
    verb: Verb::Get,
    path: "/v1/explain",
    access: Access::Read,
    summary: "Explains who wins a slot and why, also under assumptions.",
    params: &[
        Param::must("slot"),
        Param::many("capability"),
        Param::one("any"),
        Param::one("provider"),
        Param::many("what_if"),
    ],
    takes: None,
    gives: Gives::Json(document!(ExplainDoc), &[]),
    handle: Handler::Now(explain),
}];

fn explain(admin: &Admin, asked: &Asked) -> Result<Answer, Problem> {
    let slot = asked
        .slot()?
        .ok_or_else(|| Problem::invalid("`slot` is missing"))?;
    let capabilities = asked.all("capability");
    let capabilities = if asked.flag("any")? {
        query::any(capabilities)
    } else {
        query::all(capabilities)
    };
    let mut query = Query::new(slot).capabilities(capabilities);
    if let Some(provider) = asked.parsed::<Provider>("provider")? {
        query = query.provider(provider);
    }
    let changes = asked.all("what_if").into_iter();
    let changes = changes.map(|change| change.parse().map_err(|error| misread(&error)));
    let changes = changes.collect::<Result<Vec<Change>, _>>()?;
    Answer::json(200, &admin.runtime.explain(&query, &changes)?)
}
