//! Selections: choices made by people, above every number a candidate states. They live in two layers, and they may
//! name a provider nobody registered (yet): then they choose nobody, and everything that shows state says so.

use serde::Serialize;

use crate::{name::Provider, slot::Slot};

/// Who made a selection. A later layer wins over an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SelectionLayer {
    /// The settings file.
    Settings,
    /// An operator, at run time.
    Operator,
}

impl SelectionLayer {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Operator => "operator",
        }
    }
}

impl std::fmt::Display for SelectionLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// The selection that holds for a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Selection {
    /// The provider it names.
    pub provider: Provider,
    /// Who made it.
    pub layer: SelectionLayer,
}

/// A selection that names a provider without any candidate for the slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UnknownSelection {
    /// The slot it is for.
    pub slot: Slot,
    /// The provider it names.
    pub provider: Provider,
    /// Who made it.
    pub layer: SelectionLayer,
}

/// What each layer selects for one slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layers {
    pub(crate) settings: Option<Provider>,
    pub(crate) operator: Option<Provider>,
}

impl Layers {
    pub(crate) fn of(&self, layer: SelectionLayer) -> &Option<Provider> {
        match layer {
            SelectionLayer::Settings => &self.settings,
            SelectionLayer::Operator => &self.operator,
        }
    }

    pub(crate) fn set(&mut self, layer: SelectionLayer, provider: Option<Provider>) {
        match layer {
            SelectionLayer::Settings => self.settings = provider,
            SelectionLayer::Operator => self.operator = provider,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.settings.is_none() && self.operator.is_none()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Selection> {
        [SelectionLayer::Settings, SelectionLayer::Operator]
            .into_iter()
            .filter_map(|layer| {
                self.of(layer)
                    .clone()
                    .map(|provider| Selection { provider, layer })
            })
    }

    /// The one that holds: the last layer that says anything, known provider or not.
    pub(crate) fn effective(&self) -> Option<Selection> {
        self.iter().last()
    }
}
