//! How the instances that serve are.

use std::sync::Arc;

use crate::{
    admin::{
        answer::Admin,
        asked::Asked,
        problem::{Answer, Problem},
        table::{Access, Gives, Handler, Param, Row, Verb, document},
    },
    api::HealthRequest,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        verb: Verb::Get,
        path: "/v1/health",
        access: Access::Read,
        summary: "Tells what instances said of their health last.",
        params: &[Param::one("slot")],
        takes: None,
        gives: Gives::Json(document!(HealthDoc), &[]),
        handle: Handler::Now(health),
    },
    Row {
        verb: Verb::Post,
        path: "/v1/health",
        access: Access::Operate,
        summary: "Asks instances for their health now.",
        params: &[],
        takes: Some(document!(HealthRequest)),
        gives: Gives::Json(document!(HealthDoc), &[]),
        handle: Handler::Later(|admin, asked| Box::pin(probe(admin, asked))),
    },
];

fn health(admin: &Admin, asked: &Asked) -> Result<Answer, Problem> {
    Answer::json(200, &admin.runtime.health(asked.slot()?.as_ref())?)
}

async fn probe(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Problem> {
    let HealthRequest { slot } = asked.body()?;
    Answer::json(200, &admin.runtime.probe(slot.as_ref()).await?)
}
