//! `call`: any operation of any component, native or not.

use oneiric_runtime::api::{CallDoc, CallRequest, Encoding};
use serde_json::Value;

use crate::args::Call;
use crate::commands::name;
use crate::failure::Failure;
use crate::output::Output;
use crate::paint::harmless;
use crate::session::{self, Session};

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
    let reply = client.call(&request).await.map_err(|error| {
        let mut failure = session::failure(error);
        failure.message = about(&request, &failure.message);
        failure
    })?;
    Ok(Output::new(shown(&reply.doc), reply.json))
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
