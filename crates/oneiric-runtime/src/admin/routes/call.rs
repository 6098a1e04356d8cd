//! Calls of components.

use std::sync::Arc;

use crate::{
    admin::{
        answer::Admin,
        asked::{Asked, at_most},
        problem::{Answer, Problem},
        request_log::Called,
        table::{Access, Gives, Handler, Row, Verb, document},
    },
    api::CallRequest,
    error::RuntimeError,
};

/// The longest name of an operation.
const MAX_OPERATION_BYTES: usize = 128;

pub(super) const ROWS: &[Row] = &[Row {
    verb: Verb::Post,
    path: "/v1/call",
    access: Access::Operate,
    summary: "Calls an operation of whoever serves a slot.",
    params: &[],
    takes: Some(document!(CallRequest)),
    gives: Gives::Json(document!(CallDoc), &[]),
    handle: Handler::Call(|admin, asked| Box::pin(call(admin, asked))),
}];

async fn call(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Problem> {
    let call: CallRequest = asked.body()?;
    at_most(&call.operation, MAX_OPERATION_BYTES, "`operation`")?;
    let (slot, operation) = (call.slot.clone(), call.operation.clone());
    match admin.runtime.call_as(call, Some(&asked.who)).await {
        Ok(answer) => Answer::verbatim(200, &answer),
        Err(error) => {
            let provider = match &error {
                RuntimeError::Call { provider, .. } => Some(provider.clone()),
                _ => None,
            };
            Err(Problem {
                called: Some(Box::new(Called {
                    slot,
                    operation,
                    provider,
                })),
                ..Problem::from(error)
            })
        }
    }
}
