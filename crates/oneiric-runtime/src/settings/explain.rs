//! What the settings are, and who set each of them.

mod policies;

use oneiric_core::{Coded, ErrorKind, Slot};
use serde_json::Value;

use super::{
    Settings, SettingsSource,
    catalog::{self, Key, Shape, Step, joined},
    fault::nearest,
    hide,
    tree::{Item, Node},
};
use crate::api::{ConfigDoc, ConfigExplainDoc, ConfigKeyDoc, ConfigLayerDoc, SetByDoc, schema};

/// That there is no such setting. `Display` says what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UnknownKey {
    message: String,
    help: Option<String>,
}

impl UnknownKey {
    /// Returns what may have been meant.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl Coded for UnknownKey {
    fn code(&self) -> &'static str {
        "runtime.settings_key_unknown"
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::NotFound
    }
}

impl Settings {
    /// Returns every setting that has a value and who set it, without secrets.
    #[must_use]
    pub fn show(&self) -> ConfigDoc {
        let mut show = Show {
            of: self.clone(),
            settings: self,
            keys: Vec::new(),
        };
        show.walk(catalog::root(), Some(&self.tree), String::new());
        ConfigDoc {
            schema: schema::CONFIG.into(),
            files: self.files.clone(),
            keys: show.keys,
        }
    }

    /// Explains one setting: `run.grace_ms`, `selections."adapter/cache"`, `candidates[0].priority`.
    ///
    /// # Errors
    /// `runtime.settings_key_unknown`, with what may have been meant.
    pub fn explain(&self, key: &str) -> Result<ConfigExplainDoc, UnknownKey> {
        let steps = catalog::steps(key).map_err(|message| UnknownKey {
            message: format!("this is no key: {message}"),
            help: None,
        })?;
        let Found { leaf, node, key } = find(&steps, &self.tree)?;
        if leaf.is_of_policy() {
            return self.explain_policy(&steps, leaf, key);
        }
        let mut of = self.clone();
        let holds = if leaf.is_built() {
            node.map(Node::json)
        } else {
            leaf.value(&mut of).or_else(|| self.computed(leaf))
        };
        let name = last(&steps);
        let mut layers = node.map_or_else(Vec::new, |node| self.layers_of(node, &name));
        let by_program = layers.first().map_or_else(
            || !leaf.is_built() && leaf.value(&mut of) != leaf.default(),
            |layer| {
                !leaf.is_built() && Some(&layer.value) != holds.as_ref() && !hide::is_secret(&name)
            },
        );
        if let Some(value) = holds.as_ref().filter(|_| by_program) {
            let value = hide::shown(&name, value);
            let set_by = set_by(&SettingsSource::Program, None);
            layers.insert(0, layer(value, set_by));
        }
        if let Some(value) = leaf.default() {
            let set_by = set_by(&SettingsSource::Default, None);
            layers.push(layer(value, set_by));
        }
        let value = holds.map(|value| hide::shown(&name, &value));
        Ok(document(leaf, &steps, key, value, layers))
    }

    /// The slot that a key like `selections."adapter/cache"` is about.
    pub(crate) fn slot_of_selection(&self, key: &str) -> Option<Slot> {
        match catalog::steps(key).ok()?.as_slice() {
            [Step::Name(section), Step::Name(slot)] if section == "selections" => slot.parse().ok(),
            _ => None,
        }
    }

    /// Everybody who set a value, the one that holds first.
    fn layers_of(&self, node: &Node, name: &str) -> Vec<ConfigLayerDoc> {
        let chain = std::iter::successors(Some(node), |node| node.under.as_deref());
        chain
            .map(|node| layer(hide::shown(name, &node.json()), self.set_by(node)))
            .collect()
    }

    fn set_by(&self, node: &Node) -> SetByDoc {
        set_by(
            &self.layers.source(node.place),
            self.layers.line_and_column(node.place),
        )
    }

    /// What holds where a key is not set and something else decides.
    fn computed(&self, key: &Key) -> Option<Value> {
        let path = |path: std::path::PathBuf| Some(path.display().to_string().into());
        match key.path {
            "admin.socket" => path(self.socket_path()),
            "secrets.directory" => path(self.secrets_dir()),
            "admin.request_timeout_ms" => {
                let millis = self.request_limit().as_millis();
                u64::try_from(millis).ok().map(Value::from)
            }
            _ => None,
        }
    }
}

/// What is known of a key, with `value` in force and who said what about it.
fn document(
    leaf: &Key,
    steps: &[Step],
    key: String,
    value: Option<Value>,
    layers: Vec<ConfigLayerDoc>,
) -> ConfigExplainDoc {
    ConfigExplainDoc {
        schema: schema::CONFIG_EXPLAIN.into(),
        variable: variable(steps),
        key,
        value,
        layers,
        doc: leaf.doc.to_owned(),
        takes: leaf.kind.in_words(),
        unit: leaf.kind.unit().map(str::to_owned),
        default: leaf.default_in_words(),
        reload: leaf.reload,
        since: leaf.since.to_owned(),
        operator: None,
    }
}

/// What a layer says of the key itself.
const fn layer(value: Value, set_by: SetByDoc) -> ConfigLayerDoc {
    ConfigLayerDoc {
        key: None,
        value,
        set_by,
    }
}

fn set_by(source: &SettingsSource, at: Option<(usize, usize)>) -> SetByDoc {
    let (layer, name) = match source {
        SettingsSource::Default => ("default", None),
        SettingsSource::File(path) => ("file", Some(path.display().to_string())),
        SettingsSource::Variable(name) => ("variable", Some(name.clone())),
        SettingsSource::Flag(name) => ("flag", Some(name.clone())),
        SettingsSource::Program => ("program", None),
    };
    SetByDoc {
        layer: layer.to_owned(),
        name,
        line: at.map(|(line, _)| line),
        column: at.map(|(_, column)| column),
    }
}

/// Goes through everything that is set.
struct Show<'s> {
    settings: &'s Settings,
    /// Fields are reached through a mutable reference; nothing is changed.
    of: Settings,
    keys: Vec<ConfigKeyDoc>,
}

impl Show<'_> {
    fn walk(&mut self, shape: &Shape, node: Option<&Node>, key: String) {
        match shape {
            Shape::Leaf(leaf) => self.leaf(leaf, node, key),
            Shape::Table(children) => {
                for (name, child) in children {
                    let node = node.and_then(|node| node.at([*name]));
                    self.walk(child, node, joined(&key, name));
                }
            }
            Shape::Map(_, inner) => {
                for (name, entry) in node.and_then(Node::table).into_iter().flatten() {
                    self.walk(inner, Some(&entry.node), joined(&key, name));
                }
            }
            Shape::List(_, inner) => {
                if let Some(Item::Listed(items)) = node.map(|node| &node.item) {
                    for (index, listed) in items.iter().enumerate() {
                        self.walk(inner, Some(&listed.node), format!("{key}[{index}]"));
                    }
                }
            }
        }
    }

    fn leaf(&mut self, leaf: &'static Key, node: Option<&Node>, key: String) {
        if leaf.is_built() {
            if let Some(node) = node {
                self.free(leaf.name(), node, key);
            }
            return;
        }
        let value = leaf.value(&mut self.of);
        let is_default = value == leaf.default();
        let Some(value) = value.or_else(|| self.settings.computed(leaf)) else {
            return;
        };
        let set_by = match node {
            Some(node) if node.json() == value => self.settings.set_by(node),
            None if is_default => set_by(&SettingsSource::Default, None),
            _ => set_by(&SettingsSource::Program, None),
        };
        let value = hide::shown(leaf.name(), &value);
        self.keys.push(ConfigKeyDoc { key, value, set_by });
    }

    /// A value, or each value in a table.
    fn free(&mut self, name: &str, node: &Node, key: String) {
        let table = node.table().filter(|table| !table.is_empty());
        // All that is in a secret table is one secret.
        if let Some(table) = table.filter(|_| !hide::is_secret(name)) {
            for (name, entry) in table {
                self.free(name, &entry.node, joined(&key, name));
            }
            return;
        }
        let value = hide::shown(name, &node.json());
        let set_by = self.settings.set_by(node);
        self.keys.push(ConfigKeyDoc { key, value, set_by });
    }
}

/// A key of the catalog, what stands there, and how the key is written.
struct Found<'t> {
    leaf: &'static Key,
    node: Option<&'t Node>,
    key: String,
}

fn find<'t>(steps: &[Step], tree: &'t Node) -> Result<Found<'t>, UnknownKey> {
    let (mut shape, mut node) = (catalog::root(), Some(tree));
    let mut key = String::new();
    for (at, step) in steps.iter().enumerate() {
        if let Shape::Leaf(leaf) = shape {
            // What stands deeper in a table that a factory reads.
            let deep = steps.get(at..).unwrap_or_default();
            return within(leaf, deep, node, key);
        }
        let (next, inner) = match (shape, step) {
            (Shape::List(_, inner), Step::Index(index)) => {
                key = format!("{key}[{index}]");
                let Some(Item::Listed(items)) = node.map(|node| &node.item) else {
                    return Err(unknown(&key, None));
                };
                let listed = items.get(*index).ok_or_else(|| unknown(&key, None))?;
                (&**inner, Some(&listed.node))
            }
            (_, Step::Name(name)) => {
                let section = key.clone();
                key = joined(&key, name);
                let Some(next) = shape.below(name) else {
                    let near = nearest(name, shape.known());
                    let moved = || Some(format!("did you mean '{}'?", catalog::whole(name)?));
                    let help = near.or_else(moved).or_else(|| known(&section, shape));
                    return Err(unknown(&key, help));
                };
                (next, node.and_then(|node| node.at([name.as_str()])))
            }
            (_, Step::Index(_)) => return Err(unknown(&format!("{key}{step}"), None)),
        };
        (shape, node) = (next, inner);
    }
    match shape {
        Shape::Leaf(leaf) => Ok(Found { leaf, node, key }),
        _ => Err(UnknownKey {
            message: format!("{key} is a section"),
            help: known(&key, shape)
                .or_else(|| entries(&key, node))
                .or_else(|| forms(&key)),
        }),
    }
}

fn within<'t>(
    leaf: &'static Key,
    steps: &[Step],
    node: Option<&'t Node>,
    key: String,
) -> Result<Found<'t>, UnknownKey> {
    let mut key = key;
    let mut node = node;
    for step in steps {
        let is_free = leaf.kind == catalog::Kind::Free;
        let Step::Name(name) = step else {
            return Err(unknown(&format!("{key}{step}"), None));
        };
        key = joined(&key, name);
        node = node.and_then(|node| node.at([name.as_str()]));
        if node.is_none() || !is_free {
            return Err(unknown(&key, None));
        }
    }
    Ok(Found { leaf, node, key })
}

fn unknown(key: &str, help: Option<String>) -> UnknownKey {
    UnknownKey {
        message: format!("there is no setting {key}"),
        help,
    }
}

fn known(section: &str, shape: &Shape) -> Option<String> {
    let known: Vec<_> = shape.known().map(|name| joined(section, name)).collect();
    (!known.is_empty()).then(|| format!("known here: {}", known.join(", ")))
}

/// The keys of a table or list whose names are free.
fn entries(section: &str, node: Option<&Node>) -> Option<String> {
    let names: Vec<String> = match &node?.item {
        Item::Table(table) => table.keys().map(|name| joined(section, name)).collect(),
        Item::Listed(items) => (0..items.len())
            .map(|index| format!("{section}[{index}]"))
            .collect(),
        _ => Vec::new(),
    };
    (!names.is_empty()).then(|| format!("it has {}", names.join(", ")))
}

/// How the keys of a section with free names are written, where there are none yet.
fn forms(section: &str) -> Option<String> {
    let is_in = |path: &str| {
        let rest = path.strip_prefix(section);
        rest.is_some_and(|rest| rest.starts_with(['.', '[']))
    };
    let forms: Vec<_> = catalog::keys()
        .map(|key| key.path)
        .filter(|path| is_in(path))
        .collect();
    (!forms.is_empty()).then(|| format!("known here: {}", forms.join(", ")))
}

fn last(steps: &[Step]) -> String {
    let names = steps.iter().rev().filter_map(|step| match step {
        Step::Name(name) => Some(name.clone()),
        Step::Index(_) => None,
    });
    names.into_iter().next().unwrap_or_default()
}

/// The variable of the environment that sets a key, where its names can be told in capitals.
fn variable(steps: &[Step]) -> Option<String> {
    let mut parts = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let Step::Name(name) = step else { return None };
        let is_slot = at == 1 && name.matches('/').count() == 1;
        let pieces: Vec<&str> = if is_slot {
            name.split('/').collect()
        } else {
            vec![name]
        };
        for piece in pieces {
            let plain =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            let is_plain = !piece.is_empty() && piece.bytes().all(plain);
            if !is_plain || piece.contains("__") || piece.starts_with('_') || piece.ends_with('_') {
                return None;
            }
            parts.push(piece.to_uppercase());
        }
    }
    match parts.as_slice() {
        // There is one key in no section, and one variable with a single underscore for it.
        [only] => (only == "STATE_DIR").then(|| "ONEIRIC_STATE_DIR".to_owned()),
        _ => Some(format!("ONEIRIC_{}", parts.join("__"))),
    }
}
