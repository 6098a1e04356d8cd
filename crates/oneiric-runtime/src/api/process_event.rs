//! What a process tells of itself: its settings, secrets and selections. What happens to instances and activity is
//! told by the lifecycle, in the same stream.
//!
//! Whoever watches may only read, so nothing here carries a value of a setting or a secret, or a message that may
//! quote one: names, places, counts and codes. `status`, `secrets list` and the log say the rest.

use oneiric_core::{Provider, Slot};
use serde::{Deserialize, Serialize};

/// An event that is about the process' own doing: the field `event` of an [`EventDoc`](super::EventDoc) is its name,
/// the fields are its fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProcessEvent {
    /// Settings were read again and are in force.
    SettingsApplied {
        /// Who asked: `uid:1000`, `signal`, `file`.
        who: String,
        /// How many single values differ from before.
        keys: u64,
        /// The slots whose instance was changed, in this order. What waits is told by `change_held`.
        slots: Vec<Slot>,
    },
    /// Settings were read again and say what is in force already.
    SettingsUnchanged {
        /// Who asked.
        who: String,
    },
    /// They cannot be read or have faults: those in force stay. Tried again by itself, it is told once for each reason.
    SettingsInvalid {
        /// Who asked.
        who: String,
        /// `runtime.settings_not_found`, `runtime.settings_unreadable`, `runtime.settings_invalid` and the like.
        code: String,
        /// The file or variable that the first fault is in, or that cannot be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        /// The line of the first fault, from 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        line: Option<u64>,
        /// The key of the first fault.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// The code of the first fault.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
        /// How many faults there are, at most 100.
        faults: u64,
    },
    /// They change what only a new process can take: nothing was done.
    SettingsRefused {
        /// Who asked.
        who: String,
        /// `runtime.reload_refused`.
        code: String,
        /// The keys that cannot be reloaded.
        keys: Vec<String>,
    },
    /// Something failed on the way, and everything is as it was before.
    SettingsRestored {
        /// Who asked.
        who: String,
        /// `runtime.reload_restored`.
        code: String,
        /// The code of what failed.
        problem: String,
        /// The slot where it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed_slot: Option<Slot>,
    },
    /// Something failed on the way, and so did the way back.
    SettingsBroken {
        /// Who asked.
        who: String,
        /// `runtime.reload_broken`.
        code: String,
        /// The code of what failed first.
        problem: String,
        /// The slot where it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed_slot: Option<Slot>,
        /// The slots that are not as they were.
        left: Vec<Slot>,
    },
    /// A change of the slot waits until it takes work again.
    ChangeHeld {
        /// `swap`, `reconfigure`, `activate` or `retire`.
        action: String,
        /// What about the settings asks for it: `selection`, `candidate`, `settings`, `withdrawn`, `new`.
        why: Vec<String>,
        /// `paused` or `draining`, or `baking` where it waits for the end of a trial.
        activity: String,
    },
    /// What waited was done.
    ChangeApplied {
        /// What was done.
        action: String,
        /// What asked for it.
        why: Vec<String>,
    },
    /// What waited failed; it is tried again with the next reload or change of activity.
    ChangeFailed {
        /// What was tried.
        action: String,
        /// The code of what failed.
        code: String,
    },
    /// Nothing waits any more: the settings say again what the instance stands for.
    ChangeDropped {},
    /// Somebody had secrets fetched anew; what came of it.
    SecretsRotated {
        /// Who.
        who: String,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Those that were fetched.
        secrets: Vec<String>,
        /// How many of them are others than before.
        changed: u64,
        /// How many could not be fetched.
        failed: u64,
        /// The slots that were given a new one.
        slots: Vec<Slot>,
    },
    /// A secret is another one than before.
    SecretChanged {
        /// Its reference; nothing says what it is.
        secret: String,
    },
    /// A secret could not be fetched; told once, until it can be again.
    SecretFailed {
        /// Its reference.
        secret: String,
        /// Why: `domains.secret_unavailable`, `domains.secret_not_found` and the like.
        code: String,
        /// Whether the last value is served on.
        stale: bool,
    },
    /// A secret that could not be fetched was.
    SecretRecovered {
        /// Its reference.
        secret: String,
    },
    /// The instance that serves the slot was given a new secret, or was not.
    SecretTold {
        /// Whose instance.
        provider: Provider,
        /// `told`, `exchanged`, or `failed`.
        outcome: String,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
    /// What an operator selected for the slot was written down. Told before the instance is published that serves
    /// because of it.
    SelectionChanged {
        /// The number of the change.
        revision: u64,
        /// Who is selected; absent when the selection was taken back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Provider>,
        /// Who was selected before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Provider>,
        /// Who did it.
        who: String,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}
