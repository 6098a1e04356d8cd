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
    let reply = client.call(&request).await.map_err(session::failure)?;
    Ok(Output::new(shown(&reply.doc), reply.json))
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
