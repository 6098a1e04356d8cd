//! What selecting other providers for several slots would come to, without doing any of it.

use std::collections::{BTreeMap, BTreeSet};

use oneiric_core::{Change, Explanation, Provider, Query, Registered, SelectionLayer, Slot};
use oneiric_lifecycle::{OnFailure, SlotPolicy};

use super::{assuming, plan::winner, unresolved};
use crate::{
    api::{
        ChangePlanDoc, IfItDiesDoc, PlanRequestDoc, PlanStepDoc, PlannedAction, PlannedDoc,
        PlannedPolicyDoc, UndoneDoc, schema,
    },
    error::RuntimeError,
    runtime::Runtime,
};

/// So many slots a plan may have.
const MOST: usize = 100;

/// Refuses a plan of too many slots, whoever made it.
pub(super) fn must_be_few(slots: usize) -> Result<(), RuntimeError> {
    if slots <= MOST {
        return Ok(());
    }
    let message = format!("a plan has at most {MOST} slots, not {slots}");
    Err(invalid(message))
}

/// Who is to be selected in which slot; nobody where there is none.
pub(super) type Wanted = BTreeMap<Slot, Option<Provider>>;

impl Runtime {
    /// Says what selecting other providers, or taking selections back, would come to: who serves then and why, what is
    /// built and retired, who is affected, and what happens if a new one dies. [`Runtime::apply`] takes what it gives.
    ///
    /// Whether the new instances would pass their probes it cannot know.
    ///
    /// # Errors
    /// `runtime.request_invalid`; `core.no_candidate`, `core.tied`, `runtime.provider_unknown` for any of the slots;
    /// `runtime.revision_unknown` when there is no way back to the revision that was named.
    pub fn plan(&self, request: &PlanRequestDoc) -> Result<ChangePlanDoc, RuntimeError> {
        // Read first: what is selected from here on makes the plan outdated, and not wrong.
        let base = self.inner.revisions.last();
        let (wanted, undoes) = match (&request.undo, &*request.changes) {
            (None, []) => return Err(invalid("a plan names a slot at least".to_owned())),
            (None, changes) => {
                let mut wanted = Wanted::new();
                for change in changes {
                    if wanted
                        .insert(change.slot.clone(), change.provider.clone())
                        .is_some()
                    {
                        return Err(invalid(format!("{} is named twice", change.slot)));
                    }
                }
                (wanted, None)
            }
            (Some(undo), []) => {
                let to = undo.to.unwrap_or_else(|| base.saturating_sub(1));
                let wanted = self.inner.revisions.back_to(to)?;
                let undone = UndoneDoc {
                    first: to + 1,
                    last: base,
                };
                (wanted, (to < base).then_some(undone))
            }
            (Some(_), _) => {
                let message = "a plan either names changes or takes revisions back";
                return Err(invalid(message.to_owned()));
            }
        };
        must_be_few(wanted.len())?;
        self.plan_on(base, &wanted, undoes)
    }

    pub(super) fn plan_on(
        &self,
        base: u64,
        wanted: &Wanted,
        undoes: Option<UndoneDoc>,
    ) -> Result<ChangePlanDoc, RuntimeError> {
        let planned = wanted
            .iter()
            .map(|(slot, provider)| self.planned(slot, provider.as_ref()));
        let (slots, winners): (Vec<PlannedDoc>, Vec<Registered>) =
            planned.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        let nothing = |one: &PlannedDoc| one.action == PlannedAction::Nothing;
        Ok(ChangePlanDoc {
            schema: schema::PLAN.into(),
            base,
            changes: !slots.iter().all(nothing),
            undoes,
            steps: steps(&slots, &winners),
            slots,
        })
    }

    fn planned(
        &self,
        slot: &Slot,
        wanted: Option<&Provider>,
    ) -> Result<(PlannedDoc, Registered), RuntimeError> {
        self.must_know(slot)?;
        self.must_have_provider(slot, wanted)?;
        let selected = self.inner.revisions.of(slot);
        let selected = selected.and_then(|revision| revision.provider);
        let change = match wanted {
            Some(provider) => Some(Change::Select(provider.clone())),
            None if selected.is_some() => Some(Change::Unselect(SelectionLayer::Operator)),
            None => None,
        };
        let snapshot = self.registry().snapshot();
        let query = Query::new(slot.clone());
        let explanation = assuming(&snapshot, &query, change.as_slice())?;
        let to = winner(&snapshot, &query, &explanation).map_err(unresolved)?;
        let status = self.lifecycle().status(slot);
        let active = status.as_ref().and_then(|status| status.active.as_ref());
        let stays = active.is_some_and(|active| active.sequence == to.sequence());
        let action = match active {
            Some(_) if stays && selected.as_ref() == wanted => PlannedAction::Nothing,
            Some(_) if stays => PlannedAction::Select,
            Some(_) => PlannedAction::Swap,
            None => PlannedAction::Activate,
        };
        let policy = self.lifecycle().slot_policy(slot);
        let from = active.map(|active| active.provider.clone());
        let planned = PlannedDoc {
            slot: slot.clone(),
            action,
            to: to.provider().clone(),
            build: to.factory().filter(|_| !stays).map(ToString::to_string),
            retire: from.clone().filter(|_| !stays),
            from,
            selection_before: selected,
            selection_after: wanted.cloned(),
            affected: self.affected(slot),
            if_it_dies: if_it_dies(&policy, &explanation),
            policy: PlannedPolicyDoc {
                bake_ms: u64::try_from(policy.bake.time.as_millis()).unwrap_or(u64::MAX),
                handover: policy.handover.mode.name().into(),
                on_failure: policy.failure.action.name().into(),
            },
            text: explanation.to_string(),
        };
        Ok((planned, to))
    }

    /// Those whose instance needs the slot, then those that need these, and so on; each once, where it is nearest.
    fn affected(&self, slot: &Slot) -> Vec<Vec<Slot>> {
        let mut seen = BTreeSet::from([slot.clone()]);
        let (mut levels, mut level) = (Vec::new(), vec![slot.clone()]);
        loop {
            let holders = level.iter().flat_map(|slot| self.lifecycle().holders(slot));
            let next: BTreeSet<Slot> = holders.filter(|slot| seen.insert(slot.clone())).collect();
            if next.is_empty() {
                return levels;
            }
            level = next.into_iter().collect();
            levels.push(level.clone());
        }
    }
}

fn invalid(message: String) -> RuntimeError {
    RuntimeError::RequestInvalid { message }
}

/// What happens if who wins dies: who is next in rank, and what the slot's policy does about it.
fn if_it_dies(policy: &SlotPolicy, explanation: &Explanation) -> IfItDiesDoc {
    let next = explanation
        .successor
        .as_ref()
        .map(|next| next.provider.clone());
    let failure = &policy.failure;
    let restarts = || {
        format!(
            "it is restarted, at most {} times in {} s",
            failure.restarts,
            failure.within.as_secs()
        )
    };
    let over = |takes_over: bool| match &next {
        Some(next) if takes_over => format!("{next} takes over"),
        Some(next) => format!("{next} is next in rank, and is not taken by itself"),
        None => "nobody is left to take over".to_owned(),
    };
    let (fails_over, text) = match failure.action {
        OnFailure::Restart => (false, format!("{}; {}", restarts(), over(false))),
        OnFailure::FailOver => (true, over(true)),
        OnFailure::RestartThenFailOver => (true, format!("{}; then {}", restarts(), over(true))),
        _ => (false, format!("that is reported; {}", over(false))),
    };
    IfItDiesDoc {
        takes_over: fails_over && next.is_some(),
        next,
        text,
    }
}

/// What is done in which order: what can be done at one time is one step.
fn steps(slots: &[PlannedDoc], winners: &[Registered]) -> Vec<PlanStepDoc> {
    let builds = || slots.iter().filter(|one| one.action.builds());
    let needed_by_others = |slot: &Slot| {
        let mut others = slots.iter().zip(winners);
        others.any(|(one, winner)| one.action.builds() && winner.requires().contains(slot))
    };
    let comes_up_first =
        |one: &&PlannedDoc| one.action == PlannedAction::Activate && needed_by_others(&one.slot);
    let names = |some: &mut dyn Iterator<Item = &PlannedDoc>| -> Vec<Slot> {
        some.map(|one| one.slot.clone()).collect()
    };
    let step = |step: &str, slots: Vec<Slot>| PlanStepDoc {
        step: step.into(),
        slots,
    };
    let selects = |one: &&PlannedDoc| one.selection_before != one.selection_after;
    let all = [
        step("bring_up", names(&mut builds().filter(comes_up_first))),
        step(
            "build",
            names(&mut builds().filter(|one| !comes_up_first(one))),
        ),
        step("record", names(&mut slots.iter().filter(selects))),
        step(
            "publish",
            names(&mut builds().filter(|one| !comes_up_first(one))),
        ),
        step(
            "retire",
            names(&mut builds().filter(|one| one.retire.is_some())),
        ),
    ];
    all.into_iter()
        .filter(|step| !step.slots.is_empty())
        .collect()
}
