//! Where settings come from, in layers of which later ones win. Everything is handed in as plain values by whoever
//! owns the command line and the environment, so that the same sources can be read again when something has changed.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use super::{
    Settings, SettingsError,
    catalog::{self, Names, Shape, Step},
    check,
    fault::{Fault, Faults},
    file::{self, Contents, Stamp},
    fill,
    format::Format,
    layer::{At, Layers, Place, SettingsSource},
    tree::{Entry, Item, Node},
};

/// Where settings come from: files, then the environment, then the command line; later ones win.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    inputs: Vec<Input>,
}

#[derive(Clone)]
enum Input {
    /// A file that has to be there.
    File(PathBuf),
    /// A file that may be there, by its path without an ending.
    Maybe(PathBuf),
    /// Text that stands for a TOML file.
    Text { name: String, text: String },
    /// A value for a key, as text whose type is the key's to say.
    Value {
        source: SettingsSource,
        key: KeyOf,
        value: String,
    },
    /// Something that was wrong before anything was read.
    Wrong {
        source: SettingsSource,
        message: String,
    },
}

impl fmt::Debug for Input {
    /// Without values: there may be secrets among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Maybe(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text { name, .. } => f.debug_tuple("Text").field(name).finish(),
            Self::Value { source, key, .. } => {
                f.debug_tuple("Value").field(source).field(key).finish()
            }
            Self::Wrong { source, .. } => f.debug_tuple("Wrong").field(source).finish(),
        }
    }
}

/// How an input names its key.
#[derive(Debug, Clone)]
enum KeyOf {
    /// As in files.
    Written(String),
    /// The parts of a variable's name, in small letters.
    Parts(Vec<String>),
}

/// What came of reading the sources once.
pub(super) struct Reading {
    pub(super) settings: Settings,
    pub(super) error: Option<SettingsError>,
}

impl Sources {
    /// Nothing: the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A file that has to be there, in the format that its name ends in: `.toml`, `.yaml`, `.yml`, `.json`; TOML for
    /// all others.
    #[must_use]
    pub fn file(self, path: impl Into<PathBuf>) -> Self {
        self.with(Input::File(path.into()))
    }

    /// A file that may be there: its path without an ending, to which those of all formats are tried. Two of them are
    /// a fault.
    #[must_use]
    pub fn maybe_file(self, stem: impl Into<PathBuf>) -> Self {
        self.with(Input::Maybe(stem.into()))
    }

    /// Text that stands for a TOML file.
    #[must_use]
    pub fn text(self, name: impl Into<String>, text: impl Into<String>) -> Self {
        let (name, text) = (name.into(), text.into());
        self.with(Input::Text { name, text })
    }

    /// Variables of the environment. Those that begin with `ONEIRIC_` and have a double underscore are settings:
    /// `ONEIRIC_ADMIN__TCP__LISTEN` is `admin.tcp.listen`. A slot is two parts: `ONEIRIC_SELECTIONS__ADAPTER__CACHE`.
    #[must_use]
    pub fn variables(
        mut self,
        pairs: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        let pairs = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        let mut pairs: Vec<(String, String)> =
            pairs.filter(|(name, _)| Self::is_variable(name)).collect();
        pairs.sort();
        for (name, value) in pairs {
            let parts = name.strip_prefix(PREFIX).unwrap_or(&name).to_lowercase();
            let parts = parts.split("__").map(str::to_owned).collect();
            self.inputs.push(Input::Value {
                source: SettingsSource::Variable(name),
                key: KeyOf::Parts(parts),
                value,
            });
        }
        self
    }

    /// Tells whether a variable of this name is a setting.
    #[must_use]
    pub fn is_variable(name: &str) -> bool {
        name.strip_prefix(PREFIX)
            .is_some_and(|rest| rest.contains("__"))
    }

    /// What `--set` was given: `KEY=VALUE`.
    #[must_use]
    pub fn flag(self, text: &str) -> Self {
        match text.split_once('=') {
            Some((key, value)) => {
                let key = key.trim();
                let source = SettingsSource::Flag(format!("--set {key}"));
                self.value(source, key, value)
            }
            None => self.with(Input::Wrong {
                source: SettingsSource::Flag(format!("--set {text}")),
                message: "expected KEY=VALUE, such as run.grace_ms=1000".to_owned(),
            }),
        }
    }

    /// A value for one key, as text whose type is the key's to say; `source` is who says it.
    #[must_use]
    pub fn value(self, source: SettingsSource, key: &str, value: impl Into<String>) -> Self {
        self.with(Input::Value {
            source,
            key: KeyOf::Written(key.to_owned()),
            value: value.into(),
        })
    }

    /// Something that cannot be read as settings at all, such as a variable that is not text.
    #[must_use]
    pub fn unreadable(self, source: SettingsSource, message: impl Into<String>) -> Self {
        let message = message.into();
        self.with(Input::Wrong { source, message })
    }

    fn with(mut self, input: Input) -> Self {
        self.inputs.push(input);
        self
    }

    /// Returns every file that is read, also those that are not there yet.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let files = self.inputs.iter().flat_map(|input| match input {
            Input::File(path) => vec![path.clone()],
            Input::Maybe(stem) => file::names(stem),
            _ => Vec::new(),
        });
        files.collect()
    }

    /// Reads the settings as they are now. Blocks. Nothing is remembered from one time to the next.
    ///
    /// # Errors
    /// `runtime.settings_not_found` for a file that has to be there, `runtime.settings_unreadable`, or
    /// `runtime.settings_invalid` with every fault, its layer, its line and its key.
    pub fn load(&self) -> Result<Settings, SettingsError> {
        let Reading { settings, error } = self.read(Manner::Strict)?;
        error.map_or(Ok(settings), Err)
    }

    /// Reads the settings with what is wrong left out. What was wrong comes with it.
    ///
    /// # Errors
    /// As [`Sources::load`] for files that were named and cannot be read at all.
    pub fn load_what_can_be_read(
        &self,
    ) -> Result<(Settings, Option<SettingsError>), SettingsError> {
        let Reading { settings, error } = self.read(Manner::Strict)?;
        Ok((settings, error))
    }

    /// Reads whatever is left of the settings, for somebody who only wants to know where a process can be found: past a
    /// file that cannot be read, past values that are none, and of a broken TOML file the lines that are not. What was
    /// wrong comes with it. Nothing should run with them.
    ///
    /// # Errors
    /// `runtime.settings_not_found` for a file that has to be there.
    pub fn load_what_is_left(&self) -> Result<(Settings, Option<SettingsError>), SettingsError> {
        let Reading { settings, error } = self.read(Manner::Lenient)?;
        Ok((settings, error))
    }

    fn read(&self, manner: Manner) -> Result<Reading, SettingsError> {
        let mut layers = Vec::new();
        let (mut texts, mut faults) = (Vec::new(), Faults::default());
        let (mut files, mut blank, mut stamps) = (Vec::new(), Vec::new(), BTreeMap::new());
        let (mut unseen, mut unreadable) = (Vec::new(), None);
        for input in &self.inputs {
            // Nobody has more, and if they had, the last ones could not be told apart.
            let number = u16::try_from(layers.len()).unwrap_or(u16::MAX);
            let (layer, unread) = match self.open(input, number, &mut faults, &mut unseen) {
                Ok(opened) => opened,
                // Somebody who only wants to find a process can do without a file that nobody named, and who takes what
                // is left also without one that is there.
                Err((source @ SettingsSource::File(_), error))
                    if matches!(input, Input::Maybe(_))
                        || (manner == Manner::Lenient && error.is_there()) =>
                {
                    unreadable.get_or_insert(error);
                    (source, None)
                }
                Err((_, error)) => return Err(error),
            };
            if let (
                Input::File(_) | Input::Maybe(_),
                SettingsSource::File(path),
                Some(Unread::Text(_, text)),
            ) = (input, &layer, &unread)
            {
                files.push(path.clone());
                stamps.insert(path.clone(), Stamp::of(text.as_bytes()));
                if text.trim().is_empty() {
                    blank.push(path.clone());
                }
            }
            layers.push(layer);
            texts.extend(unread.map(|unread| (number, unread)));
        }
        let mut nodes = Vec::new();
        let mut is_whole = faults.is_empty() && unreadable.is_none();
        for (number, unread) in texts {
            match unread.parse(number) {
                Ok(node) => nodes.push((node, true)),
                Err(broken) => {
                    is_whole = false;
                    if manner == Manner::Lenient {
                        nodes.extend(unread.remains(number).map(|node| (node, false)));
                    }
                    for broken in broken {
                        faults.push(Fault::of_text(broken.place, broken.message));
                    }
                }
            }
        }
        let layers = Layers::new(layers);
        let nodes = nodes.into_iter().map(|(node, is_sound)| {
            if is_sound {
                check::layer(node, &layers, &mut faults)
            } else {
                // What is odd about it comes of the mistakes, which are told already.
                check::layer(node, &layers, &mut Faults::default())
            }
        });
        let tree = nodes.fold(Node::empty(), Node::merge);
        let mut settings = if is_whole {
            fill::settings(&tree, &mut faults)
        } else {
            // What is missing may stand in what could not be read.
            fill::settings(&tree, &mut Faults::default())
        };
        settings.name = layers.name();
        settings.files = files;
        settings.stamps = stamps;
        settings.blank = blank;
        settings.unseen = unseen;
        settings.tree = std::sync::Arc::new(tree);
        settings.layers = layers;
        let listed = (!faults.is_empty()).then(|| SettingsError::listed(&settings.layers, faults));
        let error = unreadable.or(listed);
        Ok(Reading { settings, error })
    }

    fn open(
        &self,
        input: &Input,
        number: u16,
        faults: &mut Faults,
        unseen: &mut Vec<PathBuf>,
    ) -> Result<(SettingsSource, Option<Unread>), (SettingsSource, SettingsError)> {
        let unreadable = |path: &Path, error| {
            let source = SettingsSource::File(path.to_owned());
            (
                source,
                SettingsError::unreadable(&path.display().to_string(), error),
            )
        };
        let of_file = |path: &Path, contents| match contents {
            Contents::Text(text) => Ok(Unread::Text(Format::of(path), text)),
            Contents::Wrong(at, message) => {
                let at = at.map_or(At::Whole, |(line, column)| {
                    Place::spot(number, (line, column)).at
                });
                Err((Place { layer: number, at }, message))
            }
        };
        let (source, unread) = match input {
            Input::File(path) => {
                let contents = file::read(path).map_err(|error| unreadable(path, error))?;
                (SettingsSource::File(path.clone()), of_file(path, contents))
            }
            Input::Maybe(stem) => {
                let found = file::found(stem).map_err(|(path, error)| unreadable(&path, error))?;
                unseen.extend(found.unseen);
                let Some((path, contents)) = found.first else {
                    let source = SettingsSource::File(stem.with_added_extension("toml"));
                    return Ok((source, None));
                };
                if let Some(other) = found.second {
                    let message = format!(
                        "{} is there too, and only one of them can be meant",
                        other.display()
                    );
                    faults.push(Fault::of_text(Place::whole(number), message));
                }
                (SettingsSource::File(path.clone()), of_file(&path, contents))
            }
            Input::Text { name, text } => (
                SettingsSource::File(name.into()),
                Ok(Unread::Text(Format::Toml, text.clone())),
            ),
            Input::Value { source, key, value } => {
                let place = Place::whole(number);
                let unread = match key {
                    KeyOf::Written(key) => written(key),
                    KeyOf::Parts(parts) => Ok(in_shape(parts)),
                };
                let unread = unread.map(|path| Unread::Value(path, value.clone()));
                (source.clone(), unread.map_err(|message| (place, message)))
            }
            Input::Wrong { source, message } => {
                (source.clone(), Err((Place::whole(number), message.clone())))
            }
        };
        match unread {
            Ok(unread) => Ok((source, Some(unread))),
            Err((place, message)) => {
                faults.push(Fault::of_text(place, message));
                Ok((source, None))
            }
        }
    }
}

const PREFIX: &str = "ONEIRIC_";

/// What is to be made of layers with something wrong in them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// A file that cannot be read is an error, a broken one says nothing.
    Strict,
    /// Whatever can be.
    Lenient,
}

/// A layer that is there and was not read yet.
enum Unread {
    Text(Format, String),
    Value(Vec<String>, String),
}

impl Unread {
    /// What is left of a text that cannot be parsed.
    fn remains(&self, layer: u16) -> Option<Node> {
        match self {
            Self::Text(format, text) => super::format::remains(*format, text, layer),
            Self::Value(..) => None,
        }
    }

    fn parse(&self, layer: u16) -> Result<Node, Vec<super::format::Broken>> {
        match self {
            Self::Text(format, text) => format.parse(text, layer),
            Self::Value(path, value) => {
                let place = Place::whole(layer);
                let value = Node::new(Item::Words(value.clone()), place);
                let nested = path.iter().rev().fold(value, |node, name| {
                    let entry = Entry { name: place, node };
                    Node::new(Item::Table([(name.clone(), entry)].into()), place)
                });
                Ok(nested)
            }
        }
    }
}

/// The names of a key as files have it.
fn written(key: &str) -> Result<Vec<String>, String> {
    catalog::steps(key)?
        .into_iter()
        .map(|step| match step {
            Step::Name(name) => Ok(name),
            Step::Index(_) => Err(
                "entries of a list cannot be set one by one; set the list, as in `--set 'candidates=[{ .. }]'`".to_owned(),
            ),
        })
        .collect()
}

/// The names that the parts of a variable's name stand for: where a slot has to be, or may be, two parts are one.
fn in_shape(parts: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    let mut shape = Some(catalog::root());
    let mut parts = parts.iter();
    while let Some(part) = parts.next() {
        let is_slot = match shape {
            Some(Shape::Map(Names::Slots, _)) => true,
            Some(Shape::Map(Names::Scopes, _)) => part != "*",
            _ => false,
        };
        let name = match parts.as_slice().first() {
            Some(key) if is_slot && !part.contains('/') => {
                parts.next();
                format!("{part}/{key}")
            }
            _ => part.clone(),
        };
        shape = shape.and_then(|shape| shape.below(&name));
        names.push(name);
    }
    names
}
