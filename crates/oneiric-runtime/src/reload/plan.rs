//! From what differs to what is to be done, without doing any of it: which slots get another instance, and in which
//! order. `docs/spec/reload.md` has the rules; a dry run shows what is computed here.

use std::collections::{BTreeMap, BTreeSet};

use oneiric_core::{Candidate, Origin, Provider, Slot, Snapshot};
use oneiric_lifecycle::Rebind;
use serde_json::Value;

use super::diff;
use crate::{
    api::{SlotAction, SlotChange},
    settings::{Activate, Settings},
};

/// What a slot is at the moment.
#[derive(Debug, Clone)]
pub(super) struct Now {
    /// Provider and origin of what serves.
    pub(super) active: Option<(Provider, Origin)>,
    /// `paused` or `draining` when it takes no work.
    pub(super) closed: Option<&'static str>,
    /// The slots of which an instance needs this one.
    pub(super) holders: Vec<Slot>,
    /// Those of them that need it only for what is kept warm until a trial is over.
    pub(super) on_trial: Vec<Slot>,
    /// Whether an operator has selected somebody.
    pub(super) operator: bool,
    /// What the slot stands for, where that is not what the settings in force say.
    pub(super) waits: Option<StandsFor>,
}

/// What is true of a slot whose change waits.
#[derive(Debug, Clone)]
pub(super) struct StandsFor {
    /// Whom the settings selected, and whether they had a candidate of it.
    pub(super) selected: Option<(Provider, bool)>,
    /// What its instance was built from.
    pub(super) candidate: Option<Candidate>,
    /// The settings that its instance was handed last; absent when nobody knows.
    pub(super) configured: Option<Option<Value>>,
}

/// What is to be done to one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) slot: Slot,
    pub(super) act: Act,
    pub(super) why: Vec<Why>,
    pub(super) from: Option<Provider>,
    pub(super) to: Option<Provider>,
    pub(super) held: Option<&'static str>,
}

/// How it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// To whoever ranks best; with a new instance even if that is the candidate that serves.
    ToWinner {
        rebuild: bool,
    },
    /// To a new instance of the provider that serves.
    Rebuild,
    Reconfigure,
    Activate,
    Retire,
}

/// Why a slot waits that is needed by nothing but what is kept warm until a trial is over.
pub(super) const ON_TRIAL: &str = "baking";

/// Why a slot needs something done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Selection,
    Candidate,
    Settings,
    Withdrawn,
    New,
}

impl Why {
    const fn name(self) -> &'static str {
        match self {
            Self::Selection => "selection",
            Self::Candidate => "candidate",
            Self::Settings => "settings",
            Self::Withdrawn => "withdrawn",
            Self::New => "new",
        }
    }
}

impl Step {
    /// Whether it surely puts another instance, or none, in the place of what serves.
    fn exchanges(&self) -> bool {
        self.held.is_none()
            && match self.act {
                Act::ToWinner { rebuild } => rebuild || self.from != self.to,
                Act::Rebuild | Act::Retire => true,
                Act::Reconfigure | Act::Activate => false,
            }
    }

    pub(super) fn doc(&self) -> SlotChange {
        SlotChange {
            slot: self.slot.clone(),
            action: match self.act {
                Act::ToWinner { .. } | Act::Rebuild => SlotAction::Swap,
                Act::Reconfigure => SlotAction::Reconfigure,
                Act::Activate => SlotAction::Activate,
                Act::Retire => SlotAction::Retire,
            },
            why: self.why.iter().map(|why| why.name().to_owned()).collect(),
            from: self.from.clone(),
            to: self.to.clone(),
            held: self.held.map(str::to_owned),
        }
    }
}

/// The steps from `old` to `new` settings, in order, those that are held back among them. `after` is the registry as
/// it will be.
pub(super) fn steps(
    old: &Settings,
    new: &Settings,
    after: &Snapshot,
    now: &BTreeMap<Slot, Now>,
) -> Vec<Step> {
    let touched = diff::slots(old, new);
    let all_at_once = new.activate == Activate::All && old.activate != Activate::All;
    let mut steps = BTreeMap::new();
    for (slot, now) in now {
        if !all_at_once && !touched.contains(slot) && now.waits.is_none() {
            continue;
        }
        if let Some(step) = step(slot, now, old, new, after) {
            steps.insert(slot.clone(), step);
        }
    }
    hold_what_is_held_on_to(&mut steps, now);
    in_order(steps, after, now)
}

/// A slot that would be retired waits with those that need it: their instance is there until they are resumed, or until
/// the trial is over for which it is kept.
fn hold_what_is_held_on_to(steps: &mut BTreeMap<Slot, Step>, now: &BTreeMap<Slot, Now>) {
    loop {
        let found = steps.values().find_map(|step| {
            if step.act != Act::Retire || step.held.is_some() {
                return None;
            }
            let now = now.get(&step.slot)?;
            let held = now
                .holders
                .iter()
                .find_map(|holder| steps.get(holder)?.held);
            let held = held.or_else(|| waits_for_trials(now, steps))?;
            Some((step.slot.clone(), held))
        });
        let Some((slot, held)) = found else {
            return;
        };
        if let Some(step) = steps.get_mut(&slot) {
            step.held = Some(held);
        }
    }
}

/// Whether it is only trials that what is retired waits for, and they go on.
fn waits_for_trials(now: &Now, steps: &BTreeMap<Slot, Step>) -> Option<&'static str> {
    let stays = |holder: &&Slot| !steps.get(holder).is_some_and(Step::exchanges);
    let mut stay = now.holders.iter().filter(stays).peekable();
    stay.peek()?;
    stay.all(|holder| now.on_trial.contains(holder))
        .then_some(ON_TRIAL)
}

/// What a slot needs, if anything.
fn step(slot: &Slot, now: &Now, old: &Settings, new: &Settings, after: &Snapshot) -> Option<Step> {
    let winner = || after.winner(slot).map(|winner| winner.provider().clone());
    let Some((provider, origin)) = &now.active else {
        let wanted = new.activate == Activate::All && after.contains(slot);
        return wanted.then(|| Step {
            slot: slot.clone(),
            act: Act::Activate,
            why: vec![Why::New],
            from: None,
            to: winner(),
            held: now.closed,
        });
    };
    let (selected, candidate, configured) = match &now.waits {
        Some(was) => {
            let configured = was.configured.as_ref().map(Option::as_ref);
            (was.selected.clone(), was.candidate.as_ref(), configured)
        }
        None => (
            chosen(old, slot),
            old.candidate(slot, provider),
            Some(old.configured(slot, provider)),
        ),
    };
    let mut why = Vec::new();
    if *origin == Origin::settings() {
        match (candidate, new.candidate(slot, provider)) {
            (_, None) => why.push(Why::Withdrawn),
            (Some(before), Some(after)) if !diff::built_alike(before, after) => {
                why.push(Why::Candidate);
            }
            _ => {}
        }
    }
    if !now.operator && selected != chosen(new, slot) {
        why.push(Why::Selection);
    }
    if configured != Some(new.configured(slot, provider)) {
        why.push(Why::Settings);
    }
    let manual = new.slot_policies.of(slot).rebind.when == Rebind::Manual;
    // Somebody else serves only when an operator says so, and who serves goes only with the slot.
    if manual && after.contains(slot) && winner().as_ref() != Some(provider) {
        why.retain(|one| !matches!(one, Why::Selection | Why::Withdrawn));
    }
    let has = |one| why.contains(&one);
    let other_instance = has(Why::Candidate) || has(Why::Settings);
    let (act, to) = if has(Why::Withdrawn) && !after.contains(slot) {
        (Act::Retire, None)
    } else if has(Why::Withdrawn) || has(Why::Selection) {
        let to = winner();
        // The one that ranks best serves already and was not changed: the selection only says so.
        if !other_instance && !has(Why::Withdrawn) && to.as_ref() == Some(provider) {
            return None;
        }
        let rebuild = other_instance;
        (Act::ToWinner { rebuild }, to)
    } else if has(Why::Candidate) {
        (Act::Rebuild, Some(provider.clone()))
    } else if has(Why::Settings) {
        (Act::Reconfigure, Some(provider.clone()))
    } else {
        return None;
    };
    Some(Step {
        slot: slot.clone(),
        act,
        why,
        from: Some(provider.clone()),
        to,
        held: now.closed,
    })
}

/// Whom the settings select and have a candidate of: a selection takes effect when its provider appears. Whoever comes
/// from elsewhere is not looked for here; nobody changed anything about them.
pub(super) fn chosen(settings: &Settings, slot: &Slot) -> Option<(Provider, bool)> {
    let provider = settings.selected(slot)?;
    Some((
        provider.clone(),
        settings.candidate(slot, provider).is_some(),
    ))
}

/// What is needed comes before what needs it; what is retired comes last, the other way round.
fn in_order(
    mut steps: BTreeMap<Slot, Step>,
    after: &Snapshot,
    now: &BTreeMap<Slot, Now>,
) -> Vec<Step> {
    let is_retired = |step: &Step| step.act == Act::Retire;
    let needs = |slot: &Slot| -> Vec<Slot> {
        let winner = after.winner(slot);
        winner
            .map(|winner| [winner.requires(), winner.optional_requires()].concat())
            .unwrap_or_default()
    };
    let holders = |slot: &Slot| -> Vec<Slot> {
        now.get(slot)
            .map(|now| now.holders.clone())
            .unwrap_or_default()
    };
    let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
    for slot in steps.values().filter(|step| !is_retired(step)) {
        visit(&slot.slot, &needs, &mut seen, &mut order);
    }
    let (mut retired, mut seen) = (Vec::new(), BTreeSet::new());
    for slot in steps.values().filter(|step| is_retired(step)) {
        visit(&slot.slot, &holders, &mut seen, &mut retired);
    }
    // Each has its step in one of the two, at the place that is right for it.
    let retired = retired
        .into_iter()
        .filter(|slot| steps.get(slot).is_some_and(is_retired));
    let order = order
        .into_iter()
        .filter(|slot| !steps.get(slot).is_some_and(is_retired));
    let order: Vec<Slot> = order.chain(retired).collect();
    order.iter().filter_map(|slot| steps.remove(slot)).collect()
}

/// A ring ends where it closes; activation refuses one of requirements with its path.
fn visit(
    slot: &Slot,
    first: &impl Fn(&Slot) -> Vec<Slot>,
    seen: &mut BTreeSet<Slot>,
    order: &mut Vec<Slot>,
) {
    if !seen.insert(slot.clone()) {
        return;
    }
    for before in first(slot) {
        visit(&before, first, seen, order);
    }
    order.push(slot.clone());
}
