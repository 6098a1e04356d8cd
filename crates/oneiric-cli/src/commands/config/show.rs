//! `config show`: every setting, one line each, as `config explain` takes its name.

use oneiric_runtime::api::{ConfigDoc, SetByDoc};

use crate::args::ConfigShow;
use crate::failure::Failure;
use crate::offline::{OFFLINE, or_offline};
use crate::output::Output;
use crate::paint::{Paint, Style, harmless};
use crate::session::{self, Session};
use crate::settings;
use crate::table::{Cell, Table};

pub(super) async fn run(args: &ConfigShow, session: &mut Session) -> Result<Output, Failure> {
    let (doc, document) = if args.offline {
        let doc = settings::load(&session.sources)?.show();
        let document = session::document(&doc);
        (doc, document)
    } else {
        let mut client = session.client().await.map_err(or_offline)?;
        let reply = client.config().await.map_err(session::failure)?;
        (reply.doc, reply.json)
    };
    let text = shown(&doc, args.origin, args.offline, session.paint);
    Ok(Output::new(text, document))
}

fn shown(doc: &ConfigDoc, origin: bool, offline: bool, paint: Paint) -> String {
    let mut text = String::new();
    if offline {
        let note = format!("# {OFFLINE}\n");
        text.push_str(&paint.text(Style::Faint, note).to_string());
    }
    if !origin {
        for key in &doc.keys {
            let line = format!("{} = {}\n", key.key, key.value);
            text.push_str(&harmless(&line));
        }
        return text;
    }
    let mut table = Table::new(&["setting", "value", "set by"]);
    for key in &doc.keys {
        let style = match key.set_by.layer.as_str() {
            "default" => Style::Faint,
            _ => Style::Plain,
        };
        table.row([
            Cell::new(&key.key),
            Cell::new(&key.value),
            Cell::new(who(&key.set_by)).style(style),
        ]);
    }
    format!("{text}{}", table.display(paint))
}

/// Who set a value: `oneiric.toml:3:12`, `ONEIRIC_RUN__GRACE_MS`, `--set run.grace_ms`, `default`.
pub(super) fn who(set_by: &SetByDoc) -> String {
    let name = set_by.name.as_deref().unwrap_or(&set_by.layer);
    match (set_by.line, set_by.column) {
        (Some(line), Some(column)) => format!("{name}:{line}:{column}"),
        _ => name.to_owned(),
    }
}
