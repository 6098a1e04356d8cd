//! Secrets: what is named and used, and fetching anew.

use std::sync::Arc;

use crate::{
    admin::{
        answer::Admin,
        asked::{Asked, at_most},
        problem::{Answer, Problem},
        table::{Access, Gives, Handler, Row, Verb, document},
    },
    api::RotateRequest,
};

/// The longest reason, which goes into the log.
const MAX_REASON_BYTES: usize = 1 << 10;

pub(super) const ROWS: &[Row] = &[
    Row {
        verb: Verb::Get,
        path: "/v1/secrets",
        access: Access::Read,
        summary: "Lists the secrets that settings name: who uses them and how old they are, never what they are.",
        params: &[],
        takes: None,
        gives: Gives::Json(document!(SecretsDoc), &[]),
        handle: Handler::Now(secrets),
    },
    Row {
        verb: Verb::Post,
        path: "/v1/secrets/rotate",
        access: Access::Operate,
        summary: "Fetches secrets anew and gives what changed to whoever uses it.",
        params: &[],
        takes: Some(document!(RotateRequest)),
        gives: Gives::Json(document!(RotateDoc), &[]),
        handle: Handler::Later(|admin, asked| Box::pin(rotate(admin, asked))),
    },
];

fn secrets(admin: &Admin, _: &Asked) -> Result<Answer, Problem> {
    Answer::json(200, &admin.runtime.secrets())
}

async fn rotate(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Problem> {
    let request: RotateRequest = asked.body()?;
    let reason = request.reason.as_deref().unwrap_or("");
    at_most(reason, MAX_REASON_BYTES, "`reason`")?;
    Answer::json(
        200,
        &admin.runtime.rotate_secrets(request, &asked.who).await?,
    )
}
