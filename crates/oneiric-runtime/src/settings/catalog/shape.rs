//! The catalog as a tree, in the form of the files that are checked against it.

use std::sync::LazyLock;

use super::{Key, keys};

/// What may stand at one place of a file.
#[derive(Debug)]
pub(in crate::settings) enum Shape {
    Leaf(&'static Key),
    /// A table of known keys.
    Table(Vec<(&'static str, Self)>),
    /// A table whose keys are names of one kind.
    Map(Names, Box<Self>),
    /// A list of tables.
    List(Identity, Box<Self>),
}

/// What the keys of a table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::settings) enum Names {
    Slots,
    Providers,
    /// `*`, domains such as `adapter/*`, and slots.
    Scopes,
    /// Any text.
    Any,
}

/// The keys that tell the entries of a list apart.
pub(in crate::settings) type Identity = &'static [&'static str];

/// The shape of a whole file.
pub(in crate::settings) fn root() -> &'static Shape {
    static ROOT: LazyLock<Shape> = LazyLock::new(|| {
        let mut root = Shape::Table(Vec::new());
        for key in keys() {
            let steps: Vec<&'static str> = key.path.split('.').collect();
            root.insert(&steps, key);
        }
        root
    });
    &ROOT
}

impl Shape {
    fn insert(&mut self, steps: &[&'static str], key: &'static Key) {
        let Some((step, rest)) = steps.split_first() else {
            *self = Self::Leaf(key);
            return;
        };
        if let Some(names) = Names::of(step) {
            if !matches!(self, Self::Map(..)) {
                *self = Self::Map(names, Box::new(Self::Table(Vec::new())));
            }
            if let Self::Map(_, inner) = self {
                inner.insert(rest, key);
            }
            return;
        }
        let Self::Table(children) = self else {
            return;
        };
        let (name, is_list) = step
            .strip_suffix("[]")
            .map_or((*step, false), |name| (name, true));
        if !children.iter().any(|(known, _)| *known == name) {
            let table = Self::Table(Vec::new());
            let child = if is_list {
                Self::List(identity(name), Box::new(table))
            } else {
                table
            };
            children.push((name, child));
        }
        let child = children.iter_mut().find(|(known, _)| *known == name);
        match child {
            Some((_, Self::List(_, inner))) => inner.insert(rest, key),
            Some((_, child)) => child.insert(rest, key),
            None => {}
        }
    }

    /// The shape below a name.
    pub(in crate::settings) fn below(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Table(children) => children
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, child)| child),
            Self::Map(_, inner) => Some(inner),
            Self::Leaf(_) | Self::List(..) => None,
        }
    }

    /// The names that are known here.
    pub(in crate::settings) fn known(&self) -> impl Iterator<Item = &'static str> {
        let children: &[(&'static str, Self)] = match self {
            Self::Table(children) => children,
            _ => &[],
        };
        children.iter().map(|(name, _)| *name)
    }
}

impl Names {
    fn of(step: &str) -> Option<Self> {
        Some(match step {
            "<slot>" => Self::Slots,
            "<provider>" => Self::Providers,
            "<scope>" => Self::Scopes,
            step if step.starts_with('<') => Self::Any,
            _ => return None,
        })
    }
}

const fn identity(list: &str) -> Identity {
    match list.as_bytes() {
        b"candidates" => &["slot", "provider"],
        _ => &["name"],
    }
}
