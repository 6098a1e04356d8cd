//! Where the value of a key lies in [`Settings`], for both ways: what was read goes in, what holds comes out.

use std::{path::PathBuf, time::Duration};

use oneiric_core::TiePolicy;
use serde_json::Value;

use crate::settings::{
    Activate, ErrorMode, LogFormat, Role, Settings,
    tree::{Item, Node},
};

/// A field of the settings.
#[derive(Debug)]
pub(super) enum Field {
    Path(fn(&mut Settings) -> &mut PathBuf),
    MaybePath(fn(&mut Settings) -> &mut Option<PathBuf>),
    MaybeText(fn(&mut Settings) -> &mut Option<String>),
    Texts(fn(&mut Settings) -> &mut Vec<String>),
    Flag(fn(&mut Settings) -> &mut bool),
    Number(fn(&mut Settings) -> &mut i64),
    Count(fn(&mut Settings) -> &mut usize),
    Millis(fn(&mut Settings) -> &mut Duration),
    MaybeMillis(fn(&mut Settings) -> &mut Option<Duration>),
    Word {
        set: fn(&mut Settings, &str),
        of: fn(&Settings) -> &'static str,
    },
    /// Part of something that is put together from several keys, or stands in a list or under a free name.
    Built,
    /// What a slot's policy has under the same name.
    Policy,
}

impl Field {
    pub(super) fn store(&self, settings: &mut Settings, node: &Node) {
        match (self, &node.item) {
            (Self::Path(field), Item::Text(text)) => *field(settings) = text.into(),
            (Self::MaybePath(field), Item::Text(text)) => *field(settings) = Some(text.into()),
            (Self::MaybeText(field), Item::Text(text)) => *field(settings) = Some(text.clone()),
            (Self::Texts(field), Item::List(items)) => {
                let texts = items.iter().filter_map(Node::text).map(str::to_owned);
                *field(settings) = texts.collect();
            }
            (Self::Flag(field), Item::Flag(flag)) => *field(settings) = *flag,
            (Self::Number(field), Item::Integer(number)) => *field(settings) = *number,
            (Self::Count(field), Item::Integer(number)) => {
                *field(settings) = usize::try_from(*number).unwrap_or_default();
            }
            (Self::Millis(field), Item::Integer(number)) => *field(settings) = millis(*number),
            (Self::MaybeMillis(field), Item::Integer(number)) => {
                *field(settings) = Some(millis(*number));
            }
            (Self::Word { set, .. }, Item::Text(text)) => set(settings, text),
            // What is wrong was reported, and the settings will not be used.
            _ => {}
        }
    }

    pub(super) fn value(&self, settings: &mut Settings) -> Option<Value> {
        let path = |path: &PathBuf| Value::String(path.display().to_string());
        Some(match self {
            Self::Path(field) => path(field(settings)),
            Self::MaybePath(field) => path(field(settings).as_ref()?),
            Self::MaybeText(field) => field(settings).clone()?.into(),
            Self::Texts(field) => field(settings).clone().into(),
            Self::Flag(field) => (*field(settings)).into(),
            Self::Number(field) => (*field(settings)).into(),
            Self::Count(field) => (*field(settings)).into(),
            Self::Millis(field) => in_millis(*field(settings)),
            Self::MaybeMillis(field) => in_millis((*field(settings))?),
            Self::Word { of, .. } => of(settings).into(),
            Self::Built | Self::Policy => return None,
        })
    }
}

fn millis(number: i64) -> Duration {
    Duration::from_millis(u64::try_from(number).unwrap_or_default())
}

fn in_millis(duration: Duration) -> Value {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .into()
}

/// A choice between a few words.
pub(in crate::settings) trait Words: Copy + PartialEq + 'static {
    /// The words, and what each stands for.
    const WORDS: &'static [&'static str];
    const MEANT: &'static [Self];

    fn of(word: &str) -> Option<Self> {
        let at = Self::WORDS.iter().position(|known| *known == word)?;
        Self::MEANT.get(at).copied()
    }

    fn word(self) -> &'static str {
        let at = Self::MEANT.iter().position(|meant| *meant == self);
        at.and_then(|at| Self::WORDS.get(at)).copied().unwrap_or("")
    }

    /// Puts what a word stands for into a field.
    fn put(field: &mut Self, word: &str) {
        if let Some(meant) = Self::of(word) {
            *field = meant;
        }
    }
}

impl Words for TiePolicy {
    const WORDS: &'static [&'static str] = &["newest", "oldest", "error"];
    const MEANT: &'static [Self] = &[Self::Newest, Self::Oldest, Self::Error];
}

impl Words for Activate {
    const WORDS: &'static [&'static str] = &["all", "on_use"];
    const MEANT: &'static [Self] = &[Self::All, Self::OnUse];
}

impl Words for ErrorMode {
    const WORDS: &'static [&'static str] = &["production", "development"];
    const MEANT: &'static [Self] = &[Self::Production, Self::Development];
}

impl Words for LogFormat {
    const WORDS: &'static [&'static str] = &["human", "json"];
    const MEANT: &'static [Self] = &[Self::Human, Self::Json];
}

impl Words for Role {
    const WORDS: &'static [&'static str] = &["read", "operate"];
    const MEANT: &'static [Self] = &[Self::Read, Self::Operate];
}
