//! Calls of components.

use std::sync::Arc;

use oneiric_core::ErrorKind;
use tracing::Level;

use crate::{
    admin::{
        answer::Admin,
        asked::{Asked, at_most},
        problem::{Answer, Problem},
        request_log::Called,
        table::{Access, Gives, Handler, Row, Verb, document},
    },
    api::{CallRequest, kind},
    error::RuntimeError,
};

/// Calls at one time. Fewer than connections, so that while components hang the swap that cures them gets in.
pub(in crate::admin) const MAX_CALLS: usize = 48;
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
    handle: Handler::Later(|admin, asked| Box::pin(call(admin, asked))),
}];

/// Calls a component, if not too many calls are under way already.
async fn call(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Problem> {
    let call: CallRequest = asked.body()?;
    at_most(&call.operation, MAX_OPERATION_BYTES, "`operation`")?;
    let Ok(_place) = admin.calls.try_acquire() else {
        let message = format!("{MAX_CALLS} calls are under way, more are not taken");
        let hint = "wait for some of them to end; if their component hangs, swap its slot to another provider";
        let status = kind::status(ErrorKind::Busy);
        return Err(Problem {
            hint: Some(hint.to_owned()),
            level: Level::WARN,
            ..Problem::new(status, "runtime.calls_exhausted", ErrorKind::Busy, message)
        });
    };
    let (slot, operation) = (call.slot.clone(), call.operation.clone());
    match admin.runtime.call(call).await {
        Ok(answer) => Answer::json(200, &answer),
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
