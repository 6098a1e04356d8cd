//! Pausing, draining and resuming.

use std::sync::Arc;

use crate::{
    admin::{
        answer::Admin,
        asked::Asked,
        problem::{Answer, Problem},
        table::{Access, Gives, Handler, Param, Row, Verb, document},
    },
    api::ActivityRequest,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        verb: Verb::Get,
        path: "/v1/activity",
        access: Access::Read,
        summary: "Tells what is paused or draining, or how one scope is.",
        params: &[Param::one("scope")],
        takes: None,
        gives: Gives::Json(document!(ActivityDoc), &[]),
        handle: Handler::Now(activity),
    },
    Row {
        verb: Verb::Post,
        path: "/v1/activity",
        access: Access::Operate,
        summary: "Pauses, drains or resumes a slot, a provider in it or a domain.",
        params: &[],
        takes: Some(document!(ActivityRequest)),
        gives: Gives::Json(document!(ActivityChangeDoc), &[]),
        handle: Handler::Later(|admin, asked| Box::pin(set_activity(admin, asked))),
    },
];

fn activity(admin: &Admin, asked: &Asked) -> Result<Answer, Problem> {
    let scope = asked.parsed("scope")?;
    Answer::json(200, &admin.runtime.activity(scope.as_ref())?)
}

async fn set_activity(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Problem> {
    let request: ActivityRequest = asked.body()?;
    Answer::json(200, &admin.runtime.set_activity(request, &asked.who).await?)
}
