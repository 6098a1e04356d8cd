//! Plans, and carrying them out.

use std::sync::Arc;

use oneiric_core::{Coded, ErrorKind};
use oneiric_lifecycle::{SlotChange, SlotOutcome};

use super::swap::MAX_REASON_BYTES;
use crate::{
    admin::{
        answer::Admin,
        asked::{Asked, at_most},
        problem::{Answer, Problem},
        shares::exhausted,
        table::{Access, Gives, Handler, Row, Verb, document},
    },
    api::{ApplyDoc, ApplyRequestDoc, ErrorFields, PlanRequestDoc, UndoRequestDoc, kind, schema},
    error::RuntimeError,
    runtime::Runtime,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        verb: Verb::Post,
        path: "/v1/plan",
        access: Access::Operate,
        summary: "Says what selecting other providers for several slots would come to.",
        params: &[],
        takes: Some(document!(PlanRequestDoc)),
        gives: Gives::Json(document!(ChangePlanDoc), &[]),
        handle: Handler::Now(plan),
    },
    Row {
        verb: Verb::Post,
        path: "/v1/apply",
        access: Access::Operate,
        summary: "Carries out a plan, all of it or nothing.",
        params: &[],
        takes: Some(document!(ApplyRequestDoc)),
        gives: Gives::Json(document!(ApplyDoc), &[409]),
        handle: Handler::Later(|admin, asked| Box::pin(apply(admin, asked))),
    },
    Row {
        verb: Verb::Post,
        path: "/v1/undo",
        access: Access::Operate,
        summary: "Takes revisions of selections back, all of them or none.",
        params: &[],
        takes: Some(document!(UndoRequestDoc)),
        gives: Gives::Json(document!(ApplyDoc), &[409]),
        handle: Handler::Later(|admin, asked| Box::pin(undo(admin, asked))),
    },
];

fn plan(admin: &Admin, asked: &Asked) -> Result<Answer, Problem> {
    let request: PlanRequestDoc = asked.body()?;
    Answer::json(200, &admin.runtime.plan(&request)?)
}

async fn apply(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Problem> {
    let request: ApplyRequestDoc = asked.body()?;
    let reason = request.reason.as_deref().unwrap_or("");
    at_most(reason, MAX_REASON_BYTES, "`reason`")?;
    let _turn = turn(&admin)?;
    let result = admin.runtime.apply(request, &asked.who).await;
    applied(&admin.runtime, result, asked.id)
}

async fn undo(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Problem> {
    let request: UndoRequestDoc = asked.body()?;
    let reason = request.reason.as_deref().unwrap_or("");
    at_most(reason, MAX_REASON_BYTES, "`reason`")?;
    let _turn = turn(&admin)?;
    let result = admin.runtime.undo(request, &asked.who).await;
    applied(&admin.runtime, result, asked.id)
}

/// Plans are carried out one after the other, so that those that wait leave room for swaps.
fn turn(admin: &Admin) -> Result<impl Sized + use<>, Problem> {
    admin.shares.swaps.share("plans").ok_or_else(|| {
        let message = "so many plans wait to be carried out already that no more are taken";
        let hint = "wait for some of them to end; all but one of those that wait will be outdated";
        exhausted("runtime.writes_exhausted", message.to_owned(), hint)
    })
}

/// A plan that was rolled back or is outdated is a document like any other, and an error too.
fn applied(
    runtime: &Runtime,
    result: Result<ApplyDoc<SlotChange>, RuntimeError>,
    request_id: String,
) -> Result<Answer, Problem> {
    let doc = match result {
        Ok(doc) => rolled_back(runtime, doc, request_id),
        Err(error) => outdated(error, request_id)?,
    };
    Answer::json(if doc.error.is_some() { 409 } else { 200 }, &doc)
}

fn rolled_back(
    runtime: &Runtime,
    mut doc: ApplyDoc<SlotChange>,
    request_id: String,
) -> ApplyDoc<SlotChange> {
    let mut failures = Vec::new();
    for change in &mut doc.slots {
        if let SlotOutcome::Failed { failure } = &mut change.outcome {
            failure.message = runtime.redactor().redact(&failure.message).into_owned();
            failures.push((change.slot.clone(), failure.clone()));
        }
    }
    if let Some((slot, failure)) = failures.first() {
        let others = match failures.len() {
            1 => String::new(),
            more => format!(" ({} more slots failed)", more - 1),
        };
        doc.error = Some(ErrorFields {
            code: failure.code.into(),
            kind: kind::name(ErrorKind::RolledBack).into(),
            message: format!("nothing was changed: {slot} failed at {failure}{others}"),
            request_id,
            hint: Some("those that served before serve still".to_owned()),
            retry_after_ms: None,
            detail: None,
        });
    }
    doc
}

fn outdated(error: RuntimeError, request_id: String) -> Result<ApplyDoc<SlotChange>, Problem> {
    let (message, hint, code) = (error.to_string(), error.hint(), error.code());
    let RuntimeError::PlanOutdated { since, .. } = error else {
        return Err(error.into());
    };
    Ok(ApplyDoc {
        schema: schema::APPLY.into(),
        outcome: "outdated".into(),
        slots: Vec::new(),
        took_us: 0,
        revision: None,
        selections: Vec::new(),
        since,
        error: Some(ErrorFields {
            code: code.into(),
            kind: kind::name(ErrorKind::RolledBack).into(),
            message,
            request_id,
            hint,
            retry_after_ms: None,
            detail: None,
        }),
    })
}
