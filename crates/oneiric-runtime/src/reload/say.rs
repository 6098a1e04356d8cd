//! Tells whoever watches what came of a reload and of changes that waited.

use oneiric_core::{Coded, Slot};

use super::plan::Step;
use crate::{
    api::{ProcessEvent, ReloadDoc, ReloadFailure, ReloadOutcome},
    error::RuntimeError,
    runtime::Runtime,
    settings::{SettingsError, SettingsSource},
};

impl Runtime {
    pub(super) fn say_outcome(&self, who: &str, result: &Result<ReloadDoc, RuntimeError>) {
        let event = match result {
            Ok(doc) => ended(who, doc),
            Err(RuntimeError::Settings(error)) => Some(invalid(who, error)),
            Err(error) => Some(ProcessEvent::SettingsInvalid {
                who: who.to_owned(),
                code: error.code().to_owned(),
                file: None,
                line: None,
                key: None,
                problem: None,
                faults: 0,
            }),
        };
        if let Some(event) = event {
            self.inner.events.say(None, event);
        }
    }

    pub(super) fn say_held(&self, step: &Step) {
        let doc = step.doc();
        let held = ProcessEvent::ChangeHeld {
            action: doc.action.name().to_owned(),
            why: doc.why,
            activity: doc.held.unwrap_or_default(),
        };
        self.inner.events.say(Some(&step.slot), held);
    }

    pub(super) fn say_applied(&self, step: &Step) {
        let doc = step.doc();
        let applied = ProcessEvent::ChangeApplied {
            action: doc.action.name().to_owned(),
            why: doc.why,
        };
        self.inner.events.say(Some(&step.slot), applied);
    }

    pub(super) fn say_failed(&self, step: &Step, failure: &ReloadFailure) {
        let failed = ProcessEvent::ChangeFailed {
            action: step.doc().action.name().to_owned(),
            code: failure.code.clone(),
        };
        self.inner.events.say(Some(&step.slot), failed);
    }

    /// Nothing waits for `slot` any more, because nothing is to be done.
    pub(super) fn release(&self, slot: &Slot) {
        if self.inner.reload.held.release(slot) {
            let dropped = ProcessEvent::ChangeDropped {};
            self.inner.events.say(Some(slot), dropped);
        }
    }
}

fn ended(who: &str, doc: &ReloadDoc) -> Option<ProcessEvent> {
    let who = who.to_owned();
    let code = doc.error.as_ref().map(|error| error.code.clone());
    let code = code.unwrap_or_default();
    Some(match &doc.outcome {
        ReloadOutcome::Applied => ProcessEvent::SettingsApplied {
            who,
            keys: count(doc.keys.len()),
            slots: {
                let done = doc.slots.iter().filter(|change| change.held.is_none());
                done.map(|change| change.slot.clone()).collect()
            },
        },
        ReloadOutcome::Unchanged => ProcessEvent::SettingsUnchanged { who },
        ReloadOutcome::Refused => {
            let fixed = doc.keys.iter().filter(|key| !key.reloadable);
            let keys = fixed.map(|key| key.key.clone()).collect();
            ProcessEvent::SettingsRefused { who, code, keys }
        }
        ReloadOutcome::Restored { failed } => ProcessEvent::SettingsRestored {
            who,
            code,
            problem: failed.code.clone(),
            failed_slot: failed.slot.clone(),
        },
        ReloadOutcome::Broken { failed, left } => ProcessEvent::SettingsBroken {
            who,
            code,
            problem: failed.code.clone(),
            failed_slot: failed.slot.clone(),
            left: left.iter().filter_map(|one| one.slot.clone()).collect(),
        },
        // Nothing was done.
        ReloadOutcome::Planned => return None,
    })
}

fn invalid(who: &str, error: &SettingsError) -> ProcessEvent {
    let first = error.faults().first();
    let file = first.map_or_else(
        || Some(error.file().to_owned()),
        |fault| match &fault.source {
            SettingsSource::Default => None,
            source => Some(source.to_string()),
        },
    );
    let line = first
        .and_then(|fault| fault.at)
        .map(|(line, _)| count(line));
    let key = first.map(|fault| fault.key.clone());
    ProcessEvent::SettingsInvalid {
        who: who.to_owned(),
        code: error.code().to_owned(),
        file,
        line,
        key: key.filter(|key| !key.is_empty()),
        problem: first.map(|fault| fault.code.to_owned()),
        faults: count(error.faults().len()),
    }
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
