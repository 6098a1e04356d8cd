//! `config explain`: one setting and everybody who set it, the one that holds first.

use oneiric_core::ErrorKind;
use oneiric_runtime::Client;
use oneiric_runtime::api::{ConfigExplainDoc, ConfigLayerDoc};

use super::show::who;
use crate::args::ConfigExplain;
use crate::failure::Failure;
use crate::io::Io;
use crate::offline::{OFFLINE, or_offline};
use crate::output::Output;
use crate::paint::{Paint, Style, harmless};
use crate::session::{self, Session};
use crate::settings;
use crate::words;

pub(super) async fn run(
    args: &ConfigExplain,
    io: &mut Io<'_>,
    session: &mut Session,
) -> Result<Output, Failure> {
    let client = match args.offline {
        true => None,
        false => client_or_nobody(io, session).await?,
    };
    let offline = client.is_none();
    let (doc, document) = if let Some(mut client) = client {
        let reply = client.config_explain(&args.key).await;
        let reply = reply.map_err(|error| {
            let is_key = error.kind() == ErrorKind::NotFound;
            let mut failure = session::failure(error);
            if is_key && failure.hint.is_none() {
                failure.hint = Some("`oneiric config show` lists what is set".to_owned());
            }
            failure
        })?;
        (reply.doc, reply.json)
    } else {
        let settings = settings::load(&session.sources)?;
        let doc = settings.explain(&args.key).map_err(|error| {
            let mut failure = Failure::of(&error);
            failure.hint = error.help().map(str::to_owned);
            failure
        })?;
        let document = session::document(&doc);
        (doc, document)
    };
    let text = shown(&doc, offline, Session::now_unix_ms(), session.paint);
    Ok(Output::new(text, document))
}

/// The process, or nobody if none runs here: what a key means can be told without one, and whoever writes their first
/// settings has none. That it was not asked is said.
async fn client_or_nobody(io: &mut Io<'_>, session: &Session) -> Result<Option<Client>, Failure> {
    let failure = match session.client().await {
        Ok(client) => return Ok(Some(client)),
        Err(failure) => failure,
    };
    let nobody = failure.code == "runtime.not_running"
        && !session.is_elsewhere()
        && session::holder(session.state_dir()).is_none();
    if !nobody {
        return Err(or_offline(failure));
    }
    let socket = session.socket().display().to_string();
    let note = format!("note: nothing serves {socket}; {OFFLINE}\n");
    // An answer is worth more than the note about it.
    drop(io.stderr.write_all(harmless(&note).as_bytes()));
    Ok(None)
}

fn shown(doc: &ConfigExplainDoc, offline: bool, now_unix_ms: u64, paint: Paint) -> String {
    let mut lines = Vec::new();
    let head = match &doc.value {
        Some(value) => format!("{} = {value}", doc.key),
        None => format!("{} is not set", doc.key),
    };
    lines.push(paint.text(Style::Heading, harmless(&head)).to_string());
    let unit = doc.unit.as_deref().map(|unit| format!(" {unit}"));
    lines.push(format!("  {}", harmless(&doc.doc)));
    let takes = format!(
        "  takes {}{}; default: {}; a change holds after {}",
        doc.takes,
        unit.unwrap_or_default(),
        doc.default,
        if doc.reload {
            "a reload"
        } else {
            "a new start"
        },
    );
    lines.push(harmless(&takes));
    if let Some(operator) = &doc.operator {
        let selected = operator
            .provider
            .as_ref()
            .map_or("nobody", |name| name.as_str());
        let since = words::since(operator.at_unix_ms, now_unix_ms);
        let reason = operator.reason.as_deref();
        let reason = reason
            .map(|reason| format!(": {reason}"))
            .unwrap_or_default();
        let above = format!(
            "  an operator selected {selected}, which stands above the settings (revision {}, {}, {since} ago{reason})",
            operator.revision, operator.who
        );
        let above = harmless(&above).replace('\n', " ");
        lines.push(paint.text(Style::Attention, above).to_string());
    }
    if !doc.layers.is_empty() {
        lines.push("  set by, the one that holds first:".to_owned());
    }
    let name = |layer: &ConfigLayerDoc| match &layer.key {
        Some(key) => format!("{} for {key}", who(&layer.set_by)),
        None => who(&layer.set_by),
    };
    let names: Vec<String> = doc.layers.iter().map(name).collect();
    let width = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0);
    for (name, layer) in names.iter().zip(&doc.layers) {
        let line = format!("    {name:<width$}  {}", layer.value);
        lines.push(harmless(&line));
    }
    if let Some(variable) = &doc.variable {
        lines.push(format!("  the variable {} sets it too", harmless(variable)));
    }
    if offline {
        lines.push(paint.text(Style::Faint, format!("  {OFFLINE}")).to_string());
    }
    lines.push(String::new());
    lines.join("\n")
}
