//! `explain`: the registry's own account, and beside it what really serves.

use oneiric_runtime::ExplainQuery;
use oneiric_runtime::api::ExplainDoc;

use crate::args::Explain;
use crate::commands::name;
use crate::failure::Failure;
use crate::output::Output;
use crate::paint::harmless;
use crate::session::{self, Session};

pub(super) async fn run(args: &Explain, session: &mut Session) -> Result<Output, Failure> {
    let mut query = ExplainQuery::new(name(&args.slot)?);
    query.capabilities.clone_from(&args.capabilities);
    query.any = args.any;
    query.provider = args.provider.as_deref().map(name).transpose()?;
    query.what_if.clone_from(&args.what_if);
    let mut client = session.client().await?;
    let reply = client.explain(&query).await.map_err(session::failure)?;
    Ok(Output::new(shown(&reply.doc), reply.json))
}

fn shown(doc: &ExplainDoc) -> String {
    let text = harmless(doc.text.trim_end());
    format!("{text}\n")
}
