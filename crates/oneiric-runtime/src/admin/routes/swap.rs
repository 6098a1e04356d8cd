//! Swaps.

use std::sync::Arc;

use oneiric_core::ErrorKind;
use oneiric_lifecycle::{Outcome, SwapReport};

use crate::{
    admin::{
        answer::Admin,
        asked::{Asked, at_most},
        problem::{Answer, Problem},
        shares::exhausted,
        table::{Access, Gives, Handler, Row, Verb, document},
    },
    api::{ErrorFields, SwapDoc, SwapRequestDoc, kind},
    runtime::Runtime,
};

/// The longest reason of a swap. A thousand of them are kept, and each is in the log.
pub(super) const MAX_REASON_BYTES: usize = 1 << 10;

pub(super) const ROWS: &[Row] = &[Row {
    verb: Verb::Post,
    path: "/v1/swap",
    access: Access::Operate,
    summary: "Exchanges what serves a slot, or says what an exchange would do.",
    params: &[],
    takes: Some(document!(SwapRequestDoc)),
    gives: Gives::Json(document!(SwapDoc), &[409]),
    handle: Handler::Later(|admin, asked| Box::pin(swap(admin, asked))),
}];

async fn swap(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Problem> {
    let swap: SwapRequestDoc = asked.body()?;
    let reason = swap.reason.as_deref().unwrap_or("");
    at_most(reason, MAX_REASON_BYTES, "`reason`")?;
    let slot = &swap.slot;
    let Some(_turn) = admin.shares.swaps.share(slot.as_str()) else {
        let message = format!("so many swaps of {slot} wait already that no more are taken");
        let hint =
            "wait for some of them to end; `oneiric status SLOT` shows what the slot waits for";
        return Err(exhausted("runtime.writes_exhausted", message, hint));
    };
    let doc = admin.runtime.swap(swap, &asked.who).await?;
    swapped(&admin.runtime, doc, asked.id)
}

/// A swap that was rolled back is a document like any other, and an error too.
fn swapped(
    runtime: &Runtime,
    mut doc: SwapDoc<SwapReport>,
    request_id: String,
) -> Result<Answer, Problem> {
    if let Some(report) = &mut doc.report
        && let Outcome::RolledBack { failure } = &mut report.outcome
    {
        failure.message = runtime.redactor().redact(&failure.message).into_owned();
        let message = format!(
            "swap of {} to {} was rolled back at {failure}",
            report.slot, report.to
        );
        doc.error = Some(ErrorFields {
            code: failure.code.into(),
            kind: kind::name(ErrorKind::RolledBack).into(),
            message,
            request_id,
            hint: report
                .from
                .as_ref()
                .map(|from| format!("{from} still serves {}", report.slot)),
            retry_after_ms: None,
            detail: None,
        });
    }
    Answer::json(if doc.error.is_some() { 409 } else { 200 }, &doc)
}
