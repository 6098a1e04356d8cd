//! JSON into the tree. `serde_json` says whether a text is JSON; what it does not keep, the places and keys that stand
//! twice, is found by walking the text, which is simple once it is known to be well-formed.

use serde::de::IgnoredAny;

use super::{Broken, places::Places};
use crate::settings::{
    layer::Place,
    tree::{Entry, Item, Node, Table},
};

/// Tables and lists within each other.
const MAX_DEPTH: usize = 100;

pub(super) fn parse(text: &str, layer: u16) -> Result<Node, Broken> {
    let mut reader = Reader {
        places: Places::new(text),
        text,
        layer,
        at: 0,
    };
    if text.trim().is_empty() {
        return Ok(Node::new(Item::Null, reader.here()));
    }
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        let line = error.line().max(1);
        // Its columns count bytes, ours characters.
        let start: usize = text
            .split_inclusive('\n')
            .take(line - 1)
            .map(str::len)
            .sum();
        let byte = start + error.column().saturating_sub(1);
        let message = error.to_string();
        let message = message
            .rsplit_once(" at line ")
            .map_or(message.as_str(), |(said, _)| said);
        return Err(Broken {
            place: Place::spot(layer, reader.places.of(byte)),
            message: message.to_owned(),
        });
    }
    reader.value(0)
}

struct Reader<'t> {
    places: Places<'t>,
    text: &'t str,
    layer: u16,
    at: usize,
}

impl<'t> Reader<'t> {
    fn here(&self) -> Place {
        Place::spot(self.layer, self.places.of(self.at))
    }

    fn broken<T>(&self, place: Place, message: impl Into<String>) -> Result<T, Broken> {
        let message = message.into();
        Err(Broken { place, message })
    }

    /// The next byte that is no white space, comma or colon: a text that is JSON has them where they belong.
    fn next(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let skipped = rest
            .iter()
            .position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':'))?;
        self.at += skipped;
        rest.get(skipped).copied()
    }

    fn value(&mut self, depth: usize) -> Result<Node, Broken> {
        let first = self.next();
        let place = self.here();
        if depth > MAX_DEPTH {
            return self.broken(place, format!("more than {MAX_DEPTH} levels"));
        }
        let item = match first {
            Some(b'{') => self.table(depth)?,
            Some(b'[') => {
                self.at += 1;
                let mut items = Vec::new();
                while self.next().is_some_and(|byte| byte != b']') {
                    items.push(self.value(depth + 1)?);
                }
                self.at += 1;
                Item::List(items)
            }
            Some(b'"') => Item::Text(self.string()?),
            _ => self.scalar(),
        };
        Ok(Node::new(item, place))
    }

    fn table(&mut self, depth: usize) -> Result<Item, Broken> {
        self.at += 1;
        let mut table = Table::new();
        while self.next().is_some_and(|byte| byte != b'}') {
            let name = self.here();
            let key = self.string()?;
            if table.contains_key(&key) {
                return self.broken(name, format!("the key {key:?} stands here twice"));
            }
            let node = self.value(depth + 1)?;
            table.insert(key, Entry { name, node });
        }
        self.at += 1;
        Ok(Item::Table(table))
    }

    fn string(&mut self) -> Result<String, Broken> {
        let place = self.here();
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let (mut end, mut escaped) = (1, false);
        while let Some(byte) = rest.get(end) {
            end += 1;
            match byte {
                b'"' if !escaped => break,
                b'\\' => escaped = !escaped,
                _ => escaped = false,
            }
        }
        self.at += end;
        // It says no to halves of characters, which well-formed JSON may hold.
        match serde_json::from_slice(rest.get(..end).unwrap_or_default()) {
            Ok(text) => Ok(text),
            Err(_) => self.broken(place, "this text has half a character in it"),
        }
    }

    fn scalar(&mut self) -> Item {
        let rest: &'t str = self.text.get(self.at..).unwrap_or_default();
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))
            .unwrap_or(rest.len());
        // Never stands still, whatever is there.
        self.at += end.max(1);
        match rest.get(..end).unwrap_or_default() {
            "null" => Item::Null,
            "true" => Item::Flag(true),
            "false" => Item::Flag(false),
            number if number.contains(['.', 'e', 'E']) => {
                Item::Float(number.parse().unwrap_or(f64::NAN))
            }
            number => number.parse().map_or(Item::Large, Item::Integer),
        }
    }
}
