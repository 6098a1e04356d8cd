//! YAML into the tree, and the places of its values.
//!
//! `serde_yaml` tells a place only in errors. So values are numbered in the order of the text when it is read, and to
//! find the place of one the text is read again by a reader that fails on purpose at that number. That costs a reading
//! for each place that somebody wants to know, and nothing for all others; the cap on the length of a text keeps it
//! small. Everything about `serde_yaml`, which is no longer cared for, stays in this file.

use std::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, Visitor};
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
        seen: Cell::new(0),
        stop: None,
    };
    (&reading)
        .deserialize(Deserializer::from_str(text))
        .or_else(|error| {
            let place = error
                .location()
                .map(|at| Place::spot(layer, within(text, at.line(), at.column())));
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            // Paths in front of messages would be a second way to name keys.
            let message = message.rsplit_once(": ").map_or(message, |(path, said)| {
                if path.contains(' ') { message } else { said }
            });
            broken(
                place.unwrap_or(Place::spot(layer, (1, 1))),
                message.to_owned(),
            )
        })
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

/// Line and column of the `node`th value or key.
pub(super) fn place_of(text: &str, node: u32) -> Option<(usize, usize)> {
    let reading = Reading {
        layer: 0,
        seen: Cell::new(0),
        stop: Some(node),
    };
    let error = (&reading).deserialize(Deserializer::from_str(text)).err()?;
    let at = error.location()?;
    Some(within(text, at.line(), at.column()))
}

/// What is wrong at the end is wrong in the last line, not in one that is not there.
fn within(text: &str, line: usize, column: usize) -> (usize, usize) {
    let lines = text.lines().count().max(1);
    if line <= lines {
        return (line.max(1), column.max(1));
    }
    let last = text.lines().next_back().unwrap_or_default();
    (lines, last.chars().count() + 1)
}

/// One pass over a text.
struct Reading {
    layer: u16,
    seen: Cell<u32>,
    stop: Option<u32>,
}

impl Reading {
    /// Numbers a value or key; an error for the one whose place is wanted, and for one too many.
    fn place<E: Error>(&self) -> Result<Place, E> {
        let number = self.seen.get();
        self.seen.set(number + 1);
        if self.stop == Some(number) {
            return Err(E::custom("here"));
        }
        if number >= MAX_NODES {
            let message = format!("it has more than {MAX_NODES} values, aliases counted each time");
            return Err(E::custom(message));
        }
        Ok(Place {
            layer: self.layer,
            at: At::Node(number),
        })
    }

    fn scalar<E: Error>(&self, item: Item) -> Result<Node, E> {
        Ok(Node::new(item, self.place()?))
    }
}

impl<'de> DeserializeSeed<'de> for &Reading {
    type Value = Node;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
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
        self.place::<A::Error>()?;
        Err(A::Error::custom("settings have no tags (`!name`)"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let place = self.place()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Node::new(Item::List(items), place))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let place = self.place()?;
        let mut table = Table::new();
        while let Some((key, name)) = access.next_key_seed(Key(self, &table))? {
            let node = access.next_value_seed(self)?;
            table.insert(key, Entry { name, node });
        }
        let inherited = table.remove("<<");
        let table = match inherited {
            None => table,
            Some(entry) => merge_keys::<A::Error>(entry.node, table)?,
        };
        Ok(Node::new(Item::Table(table), place))
    }
}

/// Fills in what `<<` names: a table, or several of which earlier ones win; what stands in the table itself wins over
/// all of them.
fn merge_keys<E: Error>(node: Node, mut table: Table) -> Result<Table, E> {
    let tables = match node.item {
        Item::List(items) => items,
        _ => vec![node],
    };
    for node in tables {
        let Item::Table(entries) = node.item else {
            return Err(E::custom("`<<` stands for a table, or a list of tables"));
        };
        for (name, entry) in entries {
            table.entry(name).or_insert(entry);
        }
    }
    Ok(table)
}

/// A key: text, or a number or word that is taken as text. It has to be new to its table.
struct Key<'r>(&'r Reading, &'r Table);

impl Key<'_> {
    fn unless_there<E: Error>(&self, text: String) -> Result<(String, Place), E> {
        let place = self.0.place()?;
        if self.1.contains_key(&text) {
            return Err(E::custom(format_args!(
                "the key {text:?} stands here twice"
            )));
        }
        Ok((text, place))
    }
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = (String, Place);

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = (String, Place);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key that is text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        self.unless_there(text.to_owned())
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Self::Value, E> {
        self.unless_there(flag.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        self.unless_there(number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        self.unless_there(number.to_string())
    }
}
