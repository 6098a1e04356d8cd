//! `metrics`: what a scraper would get, for a person or a script at the shell.

use oneiric_runtime::metrics_reference;
use serde_json::{Value, json};

use crate::args::Metrics;
use crate::failure::Failure;
use crate::output::Output;
use crate::paint::harmless;
use crate::session::{self, Session};

pub(super) async fn run(args: &Metrics, session: &Session) -> Result<Output, Failure> {
    if args.reference {
        return Ok(Output::new(metrics_reference(), Value::Null));
    }
    let mut client = session.client().await?;
    let text = client.metrics().await.map_err(session::failure)?;
    let document = json!({"schema": "oneiric.metrics/1", "text": text});
    Ok(Output::new(harmless(&text), document))
}
