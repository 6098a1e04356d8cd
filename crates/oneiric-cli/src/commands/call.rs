//! `call`: any operation of any component, native or not.

use std::time::Duration;

use oneiric_core::ErrorKind;
use oneiric_runtime::api::{CallDoc, CallRequest, Encoding};
use serde_json::Value;

use crate::args::Call;
use crate::commands::name;
use crate::failure::Failure;
use crate::output::Output;
use crate::paint::harmless;
use crate::session::{self, Session};
use crate::words::Micros;

pub(super) async fn run(
    args: &Call,
    input: Option<Value>,
    session: &mut Session,
) -> Result<Output, Failure> {
    let request = CallRequest {
        slot: name(&args.slot)?,
        operation: args.operation.clone(),
        input: input.unwrap_or(Value::Null),
    };
    let mut client = session.client().await?;
    let limit = args.timeout.unwrap_or(Duration::MAX);
    let Ok(answer) = tokio::time::timeout(limit, client.call(&request)).await else {
        return Err(late(&request, limit));
    };
    let reply = answer.map_err(|error| {
        let mut failure = session::failure(error);
        failure.message = about(&request, &failure.message);
        failure
    })?;
    Ok(Output::new(shown(&reply.doc), reply.json))
}

/// The caller did not want to wait longer. The process is not told: the call may be about to succeed.
fn late(request: &CallRequest, limit: Duration) -> Failure {
    let CallRequest {
        slot, operation, ..
    } = request;
    let waited = Micros(u64::try_from(limit.as_micros()).unwrap_or(u64::MAX));
    let message = format!("{slot} {operation}: no answer within {waited}; the call goes on");
    Failure::new("cli.timed_out", ErrorKind::Timeout, message).hint(format!(
        "`oneiric status {slot}` shows what is in flight; if it hangs, a swap of the slot ends it"
    ))
}

/// What went wrong, and with which call: components know neither their slot nor who asked.
fn about(request: &CallRequest, message: &str) -> String {
    let CallRequest {
        slot, operation, ..
    } = request;
    if message.contains(slot.as_str()) {
        message.to_owned()
    } else {
        format!("{slot} {operation}: {message}")
    }
}

/// JSON stays JSON, so that the answer can be piped on; bytes that are text are printed as text.
fn shown(doc: &CallDoc) -> String {
    match (doc.encoding, &doc.output) {
        (Encoding::Text | Encoding::Base64, Value::String(text)) => format!("{}\n", harmless(text)),
        (_, output) => format!("{output:#}\n"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn printed(encoding: &str, output: Value) -> String {
        let doc = json!({
            "schema": "oneiric.call/1", "slot": "a/b", "operation": "get", "provider": "x",
            "instance": 1, "encoding": encoding, "output": output,
        });
        shown(&serde_json::from_value(doc).unwrap())
    }

    #[test]
    fn an_error_names_the_call_it_is_about() {
        let request = CallRequest {
            slot: "adapter/cache".parse().unwrap(),
            operation: "gte".to_owned(),
            input: Value::Null,
        };
        assert_eq!(
            about(&request, "no operation named 'gte'"),
            "adapter/cache gte: no operation named 'gte'"
        );
        let says_so = "adapter/cache could not be activated";
        assert_eq!(about(&request, says_so), says_so);
    }

    #[test]
    fn whoever_stops_waiting_is_told_that_the_call_goes_on() {
        let request = CallRequest {
            slot: "adapter/cache".parse().unwrap(),
            operation: "get".to_owned(),
            input: Value::Null,
        };
        let failure = late(&request, Duration::from_secs(2));
        assert_eq!(
            (failure.code.as_str(), failure.exit().number()),
            ("cli.timed_out", 8)
        );
        assert_eq!(
            failure.message,
            "adapter/cache get: no answer within 2 s; the call goes on"
        );
    }

    #[test]
    fn answers_are_printed_as_json_and_text_as_text() {
        assert_eq!(printed("json", json!("1")), "\"1\"\n");
        assert_eq!(printed("json", Value::Null), "null\n");
        assert_eq!(printed("json", json!({"a": 1})), "{\n  \"a\": 1\n}\n");
        assert_eq!(
            printed("text", json!("two\nlines\u{1b}")),
            "two\nlines\\u{1b}\n"
        );
        assert_eq!(printed("base64", json!("/w==")), "/w==\n");
    }
}
