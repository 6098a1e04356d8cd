//! The one form that every layer of settings takes, whatever it is written in, and how one layer is laid over another.
//!
//! Tables merge key by key; whatever else an upper layer says replaces what is below. What was replaced stays with the
//! value that replaced it, so that it can be told who set a value and what would hold without them.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Number, Value};

use super::{layer::Place, words};

/// A value and where it stands.
#[derive(Clone)]
pub(crate) struct Node {
    pub(super) item: Item,
    pub(super) place: Place,
    /// What this value replaced, nearest first.
    pub(super) under: Option<Box<Self>>,
}

impl fmt::Debug for Node {
    /// Without values: there may be secrets among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("kind", &self.kind())
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// What a value is.
#[derive(Clone)]
pub(super) enum Item {
    Null,
    Flag(bool),
    Integer(i64),
    /// A whole number that does not fit into 64 bits.
    Large,
    Float(f64),
    Text(String),
    Datetime(String),
    List(Vec<Node>),
    /// A list of tables that are told apart by what identifies them.
    Listed(Vec<Listed>),
    Table(Table),
    /// Text whose type is the setting's to say: from the environment or the command line.
    Words(String),
    /// Something that was reported as wrong already.
    Wrong,
}

pub(super) type Table = BTreeMap<String, Entry>;

/// A value in a table, and where its key stands.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) name: Place,
    pub(super) node: Node,
}

/// A table in a list.
#[derive(Clone)]
pub(super) struct Listed {
    /// What identifies it; without, it is like no other.
    pub(super) id: Option<String>,
    /// Its number in the layer that mentions it first.
    pub(super) index: usize,
    pub(super) node: Node,
}

impl Node {
    pub(super) const fn new(item: Item, place: Place) -> Self {
        Self {
            item,
            place,
            under: None,
        }
    }

    /// A table with nothing in it.
    pub(crate) const fn empty() -> Self {
        Self::new(Item::Table(Table::new()), Place::whole(0))
    }

    /// What it is, with its article, to say that something else was expected.
    pub(super) const fn kind(&self) -> &'static str {
        match &self.item {
            Item::Null => "nothing",
            Item::Flag(_) => "a boolean",
            Item::Integer(_) | Item::Large => "an integer",
            Item::Float(_) => "a float",
            Item::Text(_) => "a string",
            Item::Datetime(_) => "a datetime",
            Item::List(_) | Item::Listed(_) => "an array",
            Item::Table(_) => "a table",
            Item::Words(_) => "text",
            Item::Wrong => "something wrong",
        }
    }

    /// The table, if it is one.
    pub(super) const fn table(&self) -> Option<&Table> {
        match &self.item {
            Item::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The value below a path of plain keys.
    pub(super) fn at<'k>(&self, path: impl IntoIterator<Item = &'k str>) -> Option<&Self> {
        path.into_iter()
            .try_fold(self, |node, name| Some(&node.table()?.get(name)?.node))
    }

    /// Its text, if it has one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.item {
            Item::Text(text) | Item::Words(text) => Some(text),
            _ => None,
        }
    }

    /// It as JSON; words get the type of what they replaced, or become what they look like.
    pub(super) fn json(&self) -> Value {
        match &self.item {
            Item::Null | Item::Large | Item::Wrong => Value::Null,
            Item::Flag(flag) => Value::Bool(*flag),
            Item::Integer(number) => (*number).into(),
            Item::Float(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
            Item::Text(text) | Item::Datetime(text) => Value::String(text.clone()),
            Item::Words(text) => {
                let known = self.under.as_deref();
                known
                    .and_then(|under| words::typed_as(text, under))
                    .unwrap_or_else(|| words::looks_like(text))
            }
            Item::List(items) => items.iter().map(Self::json).collect(),
            Item::Listed(items) => items.iter().map(|listed| listed.node.json()).collect(),
            Item::Table(table) => {
                let entries = table.iter();
                let entries = entries.map(|(name, entry)| (name.clone(), entry.node.json()));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }

    /// Whether `upper` adds to this one instead of replacing it. What `upper` itself replaced something else with
    /// replaces this too: merging is associative.
    const fn takes_in(&self, upper: &Self) -> bool {
        let alike = matches!(
            (&self.item, &upper.item),
            (Item::Table(_), Item::Table(_)) | (Item::Listed(_), Item::Listed(_))
        );
        alike && upper.under.is_none()
    }

    /// Lays `upper` over this one.
    pub(super) fn merge(self, upper: Self) -> Self {
        let adds = self.takes_in(&upper);
        let Self { item, place, under } = self;
        let item = match (item, upper.item) {
            (Item::Table(lower), Item::Table(table)) if adds => {
                Item::Table(merge_tables(lower, table))
            }
            (Item::Listed(lower), Item::Listed(items)) if adds => {
                Item::Listed(merge_lists(lower, items))
            }
            (item, over) => {
                let lower = Self { item, place, under };
                let upper = Self {
                    item: over,
                    ..upper
                };
                return upper.above(lower);
            }
        };
        Self {
            item,
            place: upper.place,
            under,
        }
    }

    /// Puts `lower` below everything that this one replaced.
    fn above(mut self, lower: Self) -> Self {
        let mut last = &mut self.under;
        while let Some(node) = last {
            last = &mut node.under;
        }
        *last = Some(Box::new(lower));
        self
    }
}

fn merge_tables(mut lower: Table, upper: Table) -> Table {
    for (name, entry) in upper {
        let merged = match lower.remove(&name) {
            None => entry,
            Some(below) => Entry {
                name: entry.name,
                node: below.node.merge(entry.node),
            },
        };
        lower.insert(name, merged);
    }
    lower
}

/// Lists of tables merge like tables, by what identifies an entry; new ones come last.
fn merge_lists(mut lower: Vec<Listed>, upper: Vec<Listed>) -> Vec<Listed> {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for (at, listed) in lower.iter().enumerate() {
        if let Some(id) = &listed.id {
            known.entry(id.clone()).or_insert(at);
        }
    }
    for listed in upper {
        let at = listed.id.as_ref().and_then(|id| known.get(id)).copied();
        match at.and_then(|at| lower.get_mut(at)) {
            Some(below) => {
                let place = below.node.place;
                let adds = below.node.takes_in(&listed.node);
                let node = std::mem::replace(&mut below.node, Node::new(Item::Wrong, place));
                below.node = node.merge(listed.node);
                if adds {
                    // What is missing in it is missing where it is first mentioned.
                    below.node.place = place;
                }
            }
            None => {
                if let Some(id) = &listed.id {
                    known.insert(id.clone(), lower.len());
                }
                lower.push(listed);
            }
        }
    }
    lower
}

#[cfg(test)]
mod tests;
