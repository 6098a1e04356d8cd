//! YAML into the tree, with the places of its values.
//!
//! `serde_yaml` tells a place only in errors. So every scalar and every key is kept aside and then reported as an error,
//! which names its place and has already moved on to what follows; whoever asked takes the value from the side and goes
//! on as if nothing had happened. One reading thus gives all places. A table or list begins where its first key or item
//! does. Everything about `serde_yaml`, which is no longer cared for, stays in this file.

use std::{
    cell::{Cell, RefCell},
    fmt,
};

use serde::de::{DeserializeSeed, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_yaml::Deserializer;

use super::Broken;
use crate::settings::{
    layer::{At, Place},
    tree::{Entry, Item, Node, Table},
};

/// The longest YAML text: 256 KiB.
const MAX_BYTES: usize = 256 << 10;
/// The most values and keys in one, aliases counted as often as they are used.
const MAX_NODES: u32 = 50_000;
/// The most brackets that are open at one place, in strings and comments too. The parser's work grows with the square
/// of them, and it takes no more than 128 levels in any case.
const MAX_OPEN: usize = 1_000;
/// The longest key: errors, and so places, are made with all the keys on the way.
const MAX_KEY_BYTES: usize = 1_024;
/// What the errors say that only tell a place.
const HERE: &str = "here";

pub(super) fn parse(text: &str, layer: u16) -> Result<Node, Broken> {
    let broken = |place, message: String| Err(Broken { place, message });
    if text.len() > MAX_BYTES {
        let message = format!("a YAML file may be {MAX_BYTES} bytes long, larger ones can be TOML");
        return broken(Place::whole(layer), message);
    }
    if let Some(at) = too_many_open(text) {
        let message = format!("more than {MAX_OPEN} brackets are open here");
        return broken(Place::spot(layer, at), message);
    }
    let reading = Reading {
        layer,
        end: end(text),
        seen: Cell::new(0),
        aside: RefCell::new(None),
        wrong: RefCell::new(None),
    };
    let read = (&reading).deserialize(Deserializer::from_str(text));
    // A text that begins with a scalar was not read to its end.
    let read = read.and_then(|node| match node.item {
        Item::Table(_) | Item::List(_) => Ok(node),
        _ => serde_yaml::from_str::<IgnoredAny>(text).map(|_| node),
    });
    match read {
        Ok(mut node) => {
            settle(&mut node, Place::spot(layer, (1, 1)));
            Ok(node)
        }
        Err(error) => {
            if let Some(wrong) = reading.wrong.take() {
                return Err(wrong);
            }
            let at = error.location();
            let at = at.map_or((1, 1), |at| within(reading.end, at.line(), at.column()));
            broken(Place::spot(layer, at), said(&error.to_string()).to_owned())
        }
    }
}

/// A message of `serde_yaml` without its place, and without the path before it, which would be a second way to name
/// keys.
fn said(message: &str) -> &str {
    let said = message.split(" at line ").next().unwrap_or_default();
    match said.rsplit_once(": ") {
        Some((path, said)) if !path.contains(' ') => said,
        _ => said,
    }
}

/// Gives what is empty, and so has no place of its own, that of what it stands in.
fn settle(node: &mut Node, around: Place) {
    if node.place.at == At::Whole {
        node.place = around;
    }
    let place = node.place;
    match &mut node.item {
        Item::List(items) => items.iter_mut().for_each(|item| settle(item, place)),
        Item::Table(table) => {
            for entry in table.values_mut() {
                settle(&mut entry.node, entry.name);
            }
        }
        _ => {}
    }
}

/// Line and column of the bracket that is one too many.
fn too_many_open(text: &str) -> Option<(usize, usize)> {
    let mut open = 0_usize;
    for (number, line) in text.lines().enumerate() {
        for (column, letter) in line.chars().enumerate() {
            match letter {
                '[' | '{' => open += 1,
                ']' | '}' => open = open.saturating_sub(1),
                _ => {}
            }
            if open > MAX_OPEN {
                return Some((number + 1, column + 1));
            }
        }
    }
    None
}

/// The last line and the column behind it.
fn end(text: &str) -> (usize, usize) {
    let last = text.lines().next_back().unwrap_or_default();
    (text.lines().count().max(1), last.chars().count() + 1)
}

/// What is at the end is in the last line, not in one that is not there.
fn within(end: (usize, usize), line: usize, column: usize) -> (usize, usize) {
    if line > end.0 {
        end
    } else {
        (line.max(1), column.max(1))
    }
}

/// One pass over a text.
struct Reading {
    layer: u16,
    end: (usize, usize),
    seen: Cell<u32>,
    /// The scalar or key that was read last, until its place is known.
    aside: RefCell<Option<Item>>,
    /// What ended the pass, if it was not the parser.
    wrong: RefCell<Option<Broken>>,
}

impl Reading {
    /// Counts a value or key.
    fn count<E: Error>(&self) -> Result<(), E> {
        let number = self.seen.get();
        self.seen.set(number + 1);
        if number < MAX_NODES {
            return Ok(());
        }
        let message = format!("it has more than {MAX_NODES} values, aliases counted each time");
        Err(E::custom(message))
    }

    /// Keeps a scalar aside and asks for its place.
    fn scalar<T, E: Error>(&self, item: Item) -> Result<T, E> {
        self.count()?;
        self.aside.replace(Some(item));
        Err(E::custom(HERE))
    }

    /// What was kept aside, and the place that an error tells.
    fn placed<E: Error>(&self, error: E) -> Result<Node, E> {
        let Some(item) = self.aside.take() else {
            return Err(error);
        };
        let text = error.to_string();
        let at = text.rsplit_once(" at line ").and_then(|(_, at)| {
            let (line, column) = at.split_once(" column ")?;
            Some((line.parse().ok()?, column.parse().ok()?))
        });
        // The very beginning is not told.
        let (line, column) = at.unwrap_or((1, 1));
        let place = Place::spot(self.layer, within(self.end, line, column));
        Ok(Node::new(item, place))
    }

    fn wrong<T, E: Error>(&self, place: Place, message: String) -> Result<T, E> {
        self.wrong.replace(Some(Broken { place, message }));
        Err(E::custom(HERE))
    }
}

impl<'de> DeserializeSeed<'de> for &Reading {
    type Value = Node;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let read = deserializer.deserialize_any(self);
        read.or_else(|error| self.placed(error))
    }
}

impl<'de> Visitor<'de> for &Reading {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        self.scalar(Item::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        self.scalar(Item::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Node, E> {
        self.scalar(Item::Flag(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Node, E> {
        self.scalar(Item::Integer(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Node, E> {
        self.scalar(i64::try_from(number).map_or(Item::Large, Item::Integer))
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Node, E> {
        self.scalar(Item::Large)
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Node, E> {
        self.scalar(Item::Large)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Node, E> {
        self.scalar(Item::Float(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        self.scalar(Item::Text(text.to_owned()))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Node, A::Error> {
        Err(A::Error::custom("settings have no tags (`!name`)"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        self.count::<A::Error>()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            items.push(item);
        }
        let first = items.first().map(|item: &Node| item.place);
        let place = first.unwrap_or(Place::whole(self.layer));
        Ok(Node::new(Item::List(items), place))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        self.count::<A::Error>()?;
        let mut table = Table::new();
        let mut first = None;
        while let Some((key, name)) = access.next_key_seed(Key(self))? {
            if key.len() > MAX_KEY_BYTES {
                return self.wrong(name, format!("a key may be {MAX_KEY_BYTES} bytes long"));
            }
            if table.contains_key(&key) {
                return self.wrong(name, format!("the key {key:?} stands here twice"));
            }
            first.get_or_insert(name);
            let node = access.next_value_seed(self)?;
            table.insert(key, Entry { name, node });
        }
        if let Some(entry) = table.remove("<<") {
            let Some(merged) = merge_keys(entry.node, table) else {
                let message = "`<<` stands for a table, or a list of tables";
                return self.wrong(entry.name, message.to_owned());
            };
            table = merged;
        }
        let place = first.unwrap_or(Place::whole(self.layer));
        Ok(Node::new(Item::Table(table), place))
    }
}

/// Fills in what `<<` names: a table, or several of which earlier ones win; what stands in the table itself wins over
/// all of them.
fn merge_keys(node: Node, mut table: Table) -> Option<Table> {
    let tables = match node.item {
        Item::List(items) => items,
        _ => vec![node],
    };
    for node in tables {
        let Item::Table(entries) = node.item else {
            return None;
        };
        for (name, entry) in entries {
            table.entry(name).or_insert(entry);
        }
    }
    Some(table)
}

/// A key: text, or a number or word that is taken as text.
struct Key<'r>(&'r Reading);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = (String, Place);

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        let reading = self.0;
        let node = match from.deserialize_any(self) {
            Ok(never) => return Ok(never),
            Err(error) => reading.placed(error)?,
        };
        Ok((node.text().unwrap_or_default().to_owned(), node.place))
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = (String, Place);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key that is text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        self.0.scalar(Item::Text(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Self::Value, E> {
        self.0.scalar(Item::Text(flag.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        self.0.scalar(Item::Text(number.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        self.0.scalar(Item::Text(number.to_string()))
    }
}
