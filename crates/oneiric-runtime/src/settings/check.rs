//! One layer against the catalog: every key has to be known, every value has to be what its key takes. What passes has
//! the type of its setting, whatever it was written as; what does not is reported, all of it, and marked.
//!
//! Each layer is checked for itself, before layers are merged: a mistake does not become less of one because an upper
//! layer says something else.

use std::{collections::BTreeMap, fmt};

use oneiric_core::{Coded, FactoryPath, FactoryPolicy, Provider, Slot, bounds};
use oneiric_lifecycle::PolicyScope;

use super::{
    catalog::{self, Identity, Key, Kind, Names, Shape, joined, quoted},
    fault::{Fault, Faults, nearest},
    format, hide,
    layer::{Layers, Place},
    tree::{Entry, Item, Listed, Node, Table},
};

pub(super) const INVALID: &str = "runtime.settings_invalid";

/// Checks a layer; what is left has only known keys and values of the right type.
pub(super) fn layer(node: Node, layers: &Layers, faults: &mut Faults) -> Node {
    let mut check = Check { layers, faults };
    check.node(catalog::root(), node, "")
}

struct Check<'c> {
    layers: &'c Layers,
    faults: &'c mut Faults,
}

impl Check<'_> {
    fn invalid(&mut self, place: Place, key: &str, message: impl fmt::Display) {
        self.faults.push(Fault::new(place, key, INVALID, message));
    }

    fn coded(&mut self, place: Place, key: &str, error: &(impl Coded + fmt::Display)) {
        self.faults.push(Fault::coded(place, key, error));
    }

    /// Says that something else was expected, with the text where text is all there is.
    fn mismatch(&mut self, node: &Node, key: &str, expected: &str) {
        let found = match &node.item {
            Item::Words(_) if hide::is_secret(last(key)) => "other text".to_owned(),
            Item::Words(text) => format!("{text:?}"),
            _ => node.kind().to_owned(),
        };
        self.invalid(
            node.place,
            key,
            format_args!("expected {expected}, found {found}"),
        );
    }

    fn node(&mut self, shape: &Shape, node: Node, key: &str) -> Node {
        let node = match shape {
            Shape::Leaf(_) => node,
            _ => written_out(node),
        };
        let Node { item, place, .. } = node;
        let item = match (shape, item) {
            (Shape::Leaf(leaf), item) => self.leaf(leaf, Node::new(item, place), key),
            // A section of which nothing is left but its name, as YAML has them.
            (_, Item::Null) => Item::Table(Table::new()),
            (Shape::Table(_), Item::Table(table)) => Item::Table(self.table(shape, table, key)),
            (Shape::Map(names, inner), Item::Table(table)) => {
                Item::Table(self.map(*names, inner, table, key))
            }
            (Shape::List(identity, inner), Item::List(items)) => {
                Item::Listed(self.list(identity, inner, items, key))
            }
            (shape, item) => {
                let expected = match shape {
                    Shape::List(..) => "a list of tables",
                    _ => "a table",
                };
                self.mismatch(&Node::new(item, place), key, expected);
                Item::Wrong
            }
        };
        Node::new(item, place)
    }

    fn table(&mut self, shape: &Shape, table: Table, section: &str) -> Table {
        let mut read = Table::new();
        for (name, entry) in table {
            if section.is_empty() && name == catalog::SCHEMA_KEY {
                continue;
            }
            let key = joined(section, &name);
            let Some(inner) = shape.below(&name) else {
                let moved = || Some(format!("did you mean '{}'?", catalog::whole(&name)?));
                let help = nearest(&name, shape.known())
                    .or_else(moved)
                    .unwrap_or_else(|| {
                        let known: Vec<_> = shape.known().collect();
                        format!("known here: {}", known.join(", "))
                    });
                let fault = Fault::new(entry.name, &key, INVALID, "unknown key");
                self.faults.push(fault.help(Some(help)));
                continue;
            };
            let node = self.node(inner, entry.node, &key);
            read.insert(name, Entry { node, ..entry });
        }
        read
    }

    fn map(&mut self, names: Names, inner: &Shape, table: Table, section: &str) -> Table {
        let mut read = Table::new();
        for (name, entry) in table {
            let key = joined(section, &name);
            let wrong = match names {
                Names::Any => None,
                Names::Slots => name
                    .parse::<Slot>()
                    .err()
                    .map(|error| Fault::coded(entry.name, &key, &error)),
                Names::Providers => name
                    .parse::<Provider>()
                    .err()
                    .map(|error| Fault::coded(entry.name, &key, &error)),
                Names::Scopes => name
                    .parse::<PolicyScope>()
                    .err()
                    .map(|error| Fault::coded(entry.name, &key, &error)),
            };
            if let Some(fault) = wrong {
                self.faults.push(fault);
                continue;
            }
            let node = self.node(inner, entry.node, &key);
            read.insert(name, Entry { node, ..entry });
        }
        read
    }

    fn list(
        &mut self,
        identity: Identity,
        inner: &Shape,
        items: Vec<Node>,
        section: &str,
    ) -> Vec<Listed> {
        let mut seen: BTreeMap<String, Place> = BTreeMap::new();
        let mut read = Vec::new();
        for (index, node) in items.into_iter().enumerate() {
            let key = format!("{section}[{index}]");
            let node = self.node(inner, node, &key);
            let parts: Option<Vec<&str>> = identity
                .iter()
                .map(|name| node.table()?.get(*name)?.node.text())
                .collect();
            // No name has a space in it, so nothing else can look the same.
            let id = parts.as_ref().map(|parts| parts.join(" "));
            if let (Some(id), Some(parts)) = (&id, &parts) {
                if let Some(first) = seen.get(id) {
                    let first = *first;
                    self.duplicate(node.place, first, &key, identity, parts);
                    continue;
                }
                seen.insert(id.clone(), node.place);
            }
            read.push(Listed { id, index, node });
        }
        read
    }

    fn duplicate(
        &mut self,
        place: Place,
        first: Place,
        key: &str,
        identity: Identity,
        parts: &[&str],
    ) {
        let first = match self.layers.line_and_column(first) {
            Some((line, _)) => format!("in line {line}"),
            None => "here".to_owned(),
        };
        let name = identity.last().copied().unwrap_or_default();
        let (code, what) = match parts {
            [slot, provider] => (
                "core.duplicate_candidate",
                format!("{slot} from '{provider}'"),
            ),
            _ => (INVALID, format!("'{}'", parts.join(" "))),
        };
        let message = format!("{what} is listed {first} already");
        let key = joined(key, name);
        self.faults.push(Fault::new(place, &key, code, message));
    }

    /// The value of a key, with the type it has to have.
    fn leaf(&mut self, leaf: &Key, node: Node, key: &str) -> Item {
        let expected = leaf.kind.expected();
        match leaf.kind {
            Kind::Flag => match &node.item {
                Item::Flag(flag) => return Item::Flag(*flag),
                Item::Words(text) => {
                    if let Ok(flag) = text.trim().parse() {
                        return Item::Flag(flag);
                    }
                }
                _ => {}
            },
            Kind::Number(_)
            | Kind::Millis(_)
            | Kind::Bytes(_)
            | Kind::Percent
            | Kind::Priority
            | Kind::StackLevel => {
                let number = match &node.item {
                    Item::Integer(number) => Some(*number),
                    Item::Words(text) => text.trim().parse().ok(),
                    Item::Large => {
                        let message = "the number does not fit into 64 bits";
                        self.invalid(node.place, key, message);
                        return Item::Wrong;
                    }
                    _ => None,
                };
                if let Some(number) = number {
                    return self.number(leaf, number, node.place, key);
                }
            }
            Kind::Texts | Kind::Allowlist | Kind::Slots => {
                let node = match &node.item {
                    Item::Words(text) => as_list(text, node.place),
                    _ => node.clone(),
                };
                if let Item::List(items) = node.item {
                    return self.texts(leaf, items, key);
                }
            }
            Kind::Free => {
                let node = written_out(node.clone());
                match &node.item {
                    Item::Table(_) => {
                        self.free(&node, &Deep::Key(key));
                        return node.item;
                    }
                    Item::Null => return Item::Table(Table::new()),
                    _ => {}
                }
            }
            _ => {
                if let Some(text) = node.text() {
                    return self.text(leaf, text, node.place, key);
                }
            }
        }
        self.mismatch(&node, key, expected);
        Item::Wrong
    }

    fn number(&mut self, leaf: &Key, number: i64, place: Place, key: &str) -> Item {
        let checked = match leaf.kind {
            Kind::Priority => bounds::priority(number),
            Kind::StackLevel => bounds::stack_level(number),
            _ => Ok(number),
        };
        if let Err(error) = checked {
            self.coded(place, key, &error);
            return Item::Wrong;
        }
        match leaf.kind.range() {
            Some((least, most)) if number < least || number > most => {
                let unit = leaf.kind.unit();
                let unit = unit.map(|unit| format!(" {unit}")).unwrap_or_default();
                let message = format!("expected {least} to {most}{unit}, found {number}");
                self.invalid(place, key, message);
                Item::Wrong
            }
            _ => Item::Integer(number),
        }
    }

    fn texts(&mut self, leaf: &Key, items: Vec<Node>, key: &str) -> Item {
        let items = items.into_iter().enumerate().map(|(index, node)| {
            let name = || format!("{key}[{index}]");
            let item = match node.text() {
                Some(text) => self.entry(leaf, text, node.place, &name),
                None => {
                    let expected = match leaf.kind {
                        Kind::Slots => Kind::Slot.expected(),
                        _ => "a string",
                    };
                    self.mismatch(&node, &name(), expected);
                    Item::Wrong
                }
            };
            Node::new(item, node.place)
        });
        Item::List(items.collect())
    }

    /// One of a list of texts.
    fn entry(&mut self, leaf: &Key, text: &str, place: Place, key: &dyn Fn() -> String) -> Item {
        let wrong = match leaf.kind {
            Kind::Slots => text
                .parse::<Slot>()
                .err()
                .map(|error| Fault::coded(place, &key(), &error)),
            Kind::Allowlist => FactoryPolicy::new([text])
                .err()
                .map(|error| Fault::coded(place, &key(), &error)),
            _ => None,
        };
        match wrong {
            Some(fault) => {
                self.faults.push(fault);
                Item::Wrong
            }
            None => Item::Text(text.to_owned()),
        }
    }

    fn text(&mut self, leaf: &Key, text: &str, place: Place, key: &str) -> Item {
        let fine = Item::Text(text.to_owned());
        let fault = match &leaf.kind {
            Kind::Slot => text
                .parse::<Slot>()
                .err()
                .map(|error| Fault::coded(place, key, &error)),
            Kind::Provider => text
                .parse::<Provider>()
                .err()
                .map(|error| Fault::coded(place, key, &error)),
            Kind::Factory => text
                .parse::<FactoryPath>()
                .err()
                .map(|error| Fault::coded(place, key, &error)),
            Kind::Filter => wrong_filter(text).map(|message| {
                let help = "a filter is error, warn, info, debug or trace; or such as warn,oneiric_lifecycle=debug";
                Fault::new(place, key, INVALID, message).help(Some(help.to_owned()))
            }),
            Kind::Path if text.is_empty() => Some(Fault::new(place, key, INVALID, "it is empty")),
            Kind::Secret if !text.starts_with(hide::REFERENCE) => Some(Fault::new(
                place,
                key,
                INVALID,
                "expected a reference such as \"secret://file/NAME\": the secret itself does not belong here",
            )),
            Kind::Address if text.parse::<std::net::SocketAddr>().is_err() => {
                let expected = leaf.kind.expected();
                let message = format!("expected {expected}, found {text:?}");
                Some(Fault::new(place, key, INVALID, message))
            }
            Kind::Word(words) if !words.contains(&text) => {
                let known: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
                let message = format!("expected one of {}, found '{text}'", known.join(", "));
                let fault = Fault::new(place, key, INVALID, message);
                Some(fault.help(nearest(text, words.iter().copied())))
            }
            _ => None,
        };
        match fault {
            Some(fault) => {
                self.faults.push(fault);
                Item::Wrong
            }
            None => fine,
        }
    }

    /// Reports what cannot be handed on as JSON.
    fn free(&mut self, node: &Node, path: &Deep<'_>) {
        match &node.item {
            Item::Large => {
                let message = "the number does not fit into 64 bits";
                self.invalid(node.place, &path.to_string(), message);
            }
            Item::Float(number) if !number.is_finite() => {
                self.invalid(node.place, &path.to_string(), "the number must be finite");
            }
            Item::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.free(item, &Deep::Item(path, index));
                }
            }
            Item::Table(table) => {
                for (name, entry) in table {
                    self.free(&entry.node, &Deep::In(path, name));
                }
            }
            _ => {}
        }
    }
}

/// Why a text is no log filter. A program with a log of its own says so itself ([`LogControl`](crate::LogControl)).
#[cfg(feature = "log")]
fn wrong_filter(text: &str) -> Option<String> {
    crate::log::check(text).err().map(|error| error.to_string())
}

#[cfg(not(feature = "log"))]
const fn wrong_filter(_: &str) -> Option<String> {
    None
}

/// Text that stands for a table or a list of them, as in TOML.
fn written_out(node: Node) -> Node {
    let Item::Words(text) = &node.item else {
        return node;
    };
    let is_written = text.trim_start().starts_with(['{', '[']);
    let inline = format::inline(text, node.place.layer).filter(|_| is_written);
    inline.unwrap_or(node)
}

/// `a, b` or `["a", "b"]`.
fn as_list(text: &str, place: Place) -> Node {
    if text.trim_start().starts_with('[')
        && let Some(node) = format::inline(text, place.layer)
    {
        return node;
    }
    let items = text.split(',').map(str::trim);
    let items = items
        .filter(|item| !item.is_empty())
        .map(|item| Node::new(Item::Text(item.to_owned()), place));
    Node::new(Item::List(items.collect()), place)
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// The whole key of a value deep in a table, written out only when something is wrong there: keys may be long and
/// values many.
enum Deep<'p> {
    Key(&'p str),
    Item(&'p Self, usize),
    In(&'p Self, &'p str),
}

impl fmt::Display for Deep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => f.write_str(key),
            Self::Item(path, index) => write!(f, "{path}[{index}]"),
            Self::In(path, name) => write!(f, "{path}.{}", quoted(name)),
        }
    }
}
