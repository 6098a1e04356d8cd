//! TOML into the tree. Its parser goes on after a mistake, so that all of them are told at once.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Broken, places::Places};
use crate::settings::{
    layer::Place,
    tree::{Entry, Item, Node, Table},
};

/// What could be read, and every mistake.
pub(super) fn parse(text: &str, layer: u16) -> (Node, Vec<Broken>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let reader = Reader {
        places: Some(Places::new(text)),
        layer,
    };
    let item = Item::Table(reader.table(table.into_inner()));
    let broken = errors.iter().map(|error| Broken {
        place: reader.place(error.span().map_or(0, |span| span.start)),
        message: error.message().trim().to_owned(),
    });
    (
        Node::new(item, Place::spot(layer, (1, 1))),
        broken.collect(),
    )
}

pub(super) fn inline(text: &str, layer: u16) -> Option<Node> {
    let text = format!("value = {text}");
    let mut table = DeTable::parse(&text).ok()?.into_inner();
    // A line end would let the text say more than one thing.
    if table.len() != 1 {
        return None;
    }
    let value = table.remove("value")?;
    let reader = Reader {
        places: None,
        layer,
    };
    Some(reader.node(value))
}

struct Reader<'t> {
    places: Option<Places<'t>>,
    layer: u16,
}

impl Reader<'_> {
    fn place(&self, byte: usize) -> Place {
        match &self.places {
            Some(places) => Place::spot(self.layer, places.of(byte)),
            None => Place::whole(self.layer),
        }
    }

    fn node(&self, value: Spanned<DeValue<'_>>) -> Node {
        let place = self.place(value.span().start);
        let item = match value.into_inner() {
            DeValue::String(text) => Item::Text(text.into_owned()),
            DeValue::Boolean(flag) => Item::Flag(flag),
            DeValue::Datetime(at) => Item::Datetime(at.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Item::Large, Item::Integer),
            DeValue::Float(number) => Item::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Array(items) => {
                Item::List(items.into_iter().map(|item| self.node(item)).collect())
            }
            DeValue::Table(entries) => Item::Table(self.table(entries)),
        };
        Node::new(item, place)
    }

    fn table(&self, entries: DeTable<'_>) -> Table {
        let entries = entries.into_iter().map(|(name, value)| {
            let entry = Entry {
                name: self.place(name.span().start),
                node: self.node(value),
            };
            (name.into_inner().into_owned(), entry)
        });
        entries.collect()
    }
}
