//! Hypothetical changes: what `what_if` may assume. The same type states what would make a loser win, so that every
//! such statement can be tried.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use crate::{
    candidate::CandidateId,
    code::{Coded, ErrorKind},
    name::{Provider, shorten},
    selection::SelectionLayer,
};

/// One assumption about a slot.
///
/// As text: `select=P`, `unselect=operator`, `unselect=settings`, `priority:P=N`, `without=P`, `down=P`, `down-active`; for one registration among several of a
/// provider, by its sequence number: `priority:#3=N`, `stack:#3=N`, `again=#3`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// An operator selects the provider.
    Select(Provider),
    /// The layer selects nobody, as may be the case already; the other layer's selection holds then.
    Unselect(SelectionLayer),
    /// Every registration of the provider has this priority.
    Priority(Provider, i64),
    /// The provider's registrations are gone.
    Without(Provider),
    /// The provider is dead.
    Down(Provider),
    /// Whoever is active is dead.
    DownActive,
    /// One registration has this priority.
    PriorityOf(CandidateId, i64),
    /// One registration has this stack level.
    StackLevelOf(CandidateId, i64),
    /// One registration is made again, which makes it the newest.
    Again(CandidateId),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Select(provider) => write!(f, "select={provider}"),
            Self::Unselect(layer) => write!(f, "unselect={layer}"),
            Self::Priority(provider, priority) => write!(f, "priority:{provider}={priority}"),
            Self::Without(provider) => write!(f, "without={provider}"),
            Self::Down(provider) => write!(f, "down={provider}"),
            Self::DownActive => f.write_str("down-active"),
            Self::PriorityOf(id, priority) => write!(f, "priority:{id}={priority}"),
            Self::StackLevelOf(id, stack_level) => write!(f, "stack:{id}={stack_level}"),
            Self::Again(id) => write!(f, "again={id}"),
        }
    }
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Change {
    type Err = InvalidChange;

    fn from_str(text: &str) -> Result<Self, InvalidChange> {
        let invalid = |fault: String| InvalidChange {
            shown: shorten(text),
            fault,
        };
        if text == "down-active" {
            return Ok(Self::DownActive);
        }
        let Some((verb, value)) = text.split_once('=') else {
            return Err(invalid(FORMS.to_owned()));
        };
        let provider = |name: &str| Provider::new(name).map_err(|error| invalid(error.to_string()));
        let number = || {
            value
                .parse::<i64>()
                .map_err(|_| invalid("expected a whole number after '='".to_owned()))
        };
        let id = |text: &str| {
            let digits = text
                .strip_prefix('#')
                .and_then(|digits| digits.parse().ok());
            digits
                .map(CandidateId)
                .ok_or_else(|| invalid("expected a registration such as '#3'".to_owned()))
        };
        match verb.split_once(':') {
            None => match verb {
                "select" => Ok(Self::Select(provider(value)?)),
                "unselect" => layer(value).map(Self::Unselect).ok_or_else(|| {
                    invalid("expected 'operator' or 'settings' after '='".to_owned())
                }),
                "without" => Ok(Self::Without(provider(value)?)),
                "down" => Ok(Self::Down(provider(value)?)),
                "again" => Ok(Self::Again(id(value)?)),
                _ => Err(invalid(FORMS.to_owned())),
            },
            Some(("priority", whose)) if whose.starts_with('#') => {
                Ok(Self::PriorityOf(id(whose)?, number()?))
            }
            Some(("priority", whose)) => Ok(Self::Priority(provider(whose)?, number()?)),
            Some(("stack", whose)) => Ok(Self::StackLevelOf(id(whose)?, number()?)),
            Some(_) => Err(invalid(FORMS.to_owned())),
        }
    }
}

fn layer(name: &str) -> Option<SelectionLayer> {
    let mut layers = [SelectionLayer::Settings, SelectionLayer::Operator].into_iter();
    layers.find(|layer| layer.name() == name)
}

const FORMS: &str = "expected 'select=PROVIDER', 'unselect=LAYER', 'priority:PROVIDER=NUMBER', \
                     'without=PROVIDER', 'down=PROVIDER' or 'down-active'";

/// An assumption that says nothing, or that does not fit the slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid change {shown}: {fault}")]
pub struct InvalidChange {
    shown: String,
    fault: String,
}

impl InvalidChange {
    pub(crate) fn nobody(change: &Change) -> Self {
        let fault = match change {
            Change::DownActive => "nobody is active",
            _ => "the slot has no such candidate",
        };
        Self {
            shown: shorten(&change.to_string()),
            fault: fault.to_owned(),
        }
    }
}

impl Coded for InvalidChange {
    fn code(&self) -> &'static str {
        "core.invalid_change"
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_reads_as_it_is_written() {
        let texts = [
            "select=redis",
            "unselect=operator",
            "unselect=settings",
            "priority:redis=-7",
            "without=redis",
            "down=redis",
            "down-active",
            "priority:#3=21",
            "stack:#3=2",
            "again=#3",
        ];
        for text in texts {
            assert_eq!(text.parse::<Change>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_change_is_refused() {
        let texts = [
            "",
            "select",
            "select=",
            "select=a b",
            "unselect",
            "unselect=",
            "unselect=redis",
            "unselect=Operator",
            "priority=3",
            "priority:redis=x",
            "priority:redis=",
            "stack:redis=1",
            "again=redis",
            "again=#",
            "up=redis",
            "priority:#x=1",
            "down=redis\n",
            "priority:redis=9223372036854775808",
        ];
        for text in texts {
            assert_eq!(
                text.parse::<Change>().unwrap_err().code(),
                "core.invalid_change",
                "{text:?}"
            );
        }
    }
}
