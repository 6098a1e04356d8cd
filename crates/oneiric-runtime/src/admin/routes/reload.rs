//! Reading the settings again.

use std::sync::Arc;

use crate::{
    admin::{
        answer::Admin,
        asked::Asked,
        problem::{Answer, Problem},
        table::{Access, Gives, Handler, Row, Verb, document},
    },
    api::{ReloadRequest, kind},
};

pub(super) const ROWS: &[Row] = &[Row {
    verb: Verb::Post,
    path: "/v1/reload",
    access: Access::Operate,
    summary: "Reads the settings again and puts in force what changed, or says what that would do.",
    params: &[],
    takes: Some(document!(ReloadRequest)),
    gives: Gives::Json(document!(ReloadDoc), &[400, 409, 503]),
    handle: Handler::Later(|admin, asked| Box::pin(reload(admin, asked))),
}];

async fn reload(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Problem> {
    let request: ReloadRequest = asked.body()?;
    let mut doc = if request.dry_run {
        admin.runtime.plan_reload().await?
    } else {
        admin.runtime.reload(&asked.who).await?
    };
    // Settings that were refused or undone are a document like any other, and an error too.
    let status = match &mut doc.error {
        None => 200,
        Some(error) => {
            error.request_id = asked.id;
            kind::status(kind::parse(&error.kind))
        }
    };
    Answer::json(status, &doc)
}
