//! Carrying out plans: several slots exchanged as one, written down as one revision. `docs/spec/change-sets.md` has the
//! rules.

use std::collections::BTreeSet;

use oneiric_core::{SelectionLayer, Slot};
use oneiric_lifecycle::{ChangeOutcome, ChangeReport, ChangeSet, SlotChange};
use tracing::Instrument;

use super::{
    change_plan::{Wanted, must_be_few},
    note::Note,
};
use crate::{
    api::{
        ApplyDoc, ApplyRequestDoc, ChangePlanDoc, PlanRequestDoc, RevisionDoc, UndoDoc,
        UndoRequestDoc, schema,
    },
    error::RuntimeError,
    revisions::PlanTurn,
    runtime::Runtime,
    turns::UntilPublished,
};

impl Runtime {
    /// Carries out a plan, all of it or nothing: all new instances are built and healthy before any takes over, and
    /// what is selected is one revision. `who` is written down with it.
    ///
    /// Plans are carried out one after the other, each in turn with the swaps of its slots. Cancel-safe: what was begun
    /// goes on, what still waits for its turn never begins.
    ///
    /// # Errors
    /// `runtime.plan_outdated` when it was made on another revision than the last, or would come to something else by
    /// now; `runtime.request_invalid` when it is no plan of ours; `core.no_candidate`, `core.tied`,
    /// `runtime.provider_unknown`, `lifecycle.stopped`; why selections of what serves already cannot be written. A plan
    /// that is rolled back is not an error but an answer that says so.
    pub async fn apply(
        &self,
        request: ApplyRequestDoc,
        who: &str,
    ) -> Result<ApplyDoc<SlotChange>, RuntimeError> {
        let ApplyRequestDoc { plan, reason } = request;
        let wanted = wanted(&plan)?;
        for slot in wanted.keys() {
            self.must_know(slot)?;
        }
        // Before the turns are waited for as well: there is no sense in waiting for what is refused.
        self.must_fit(&plan, &wanted)?;
        // Taking back what is last already comes to that.
        if wanted.is_empty() {
            return Ok(answer(ChangeOutcome::Unchanged, Vec::new(), Vec::new(), 0));
        }
        let slots: BTreeSet<Slot> = wanted.keys().cloned().collect();
        // Awaited here and not in the task: who leaves while they wait wants it no more.
        let mine = self.inner.revisions.my_turns(&slots).await;
        let (runtime, who) = (self.clone(), who.to_owned());
        let apply = async move {
            let mine = UntilPublished::new(mine);
            runtime.apply_now(plan, &wanted, who, reason, &mine).await
        };
        let apply = tokio::spawn(apply.in_current_span());
        apply.await.unwrap_or_else(|error| {
            Err(RuntimeError::Internal {
                message: error.to_string(),
            })
        })
    }

    /// Takes the last revision back, or all after the one that is named: what was selected then is selected again, and
    /// serves, as by [`Runtime::apply`]. That is a revision of its own, which says what it takes back.
    ///
    /// # Errors
    /// As [`Runtime::apply`]; `runtime.revision_unknown`; `runtime.plan_outdated` when `base` is not the last revision.
    pub async fn undo(
        &self,
        request: UndoRequestDoc,
        who: &str,
    ) -> Result<ApplyDoc<SlotChange>, RuntimeError> {
        let UndoRequestDoc { to, base, reason } = request;
        if let Some(base) = base {
            self.must_be_last(base)?;
        }
        let undo = Some(UndoDoc { to });
        let changes = Vec::new();
        let plan = self.plan(&PlanRequestDoc { changes, undo })?;
        self.apply(ApplyRequestDoc { plan, reason }, who).await
    }

    async fn apply_now(
        &self,
        plan: ChangePlanDoc,
        wanted: &Wanted,
        who: String,
        reason: Option<String>,
        mine: &UntilPublished<PlanTurn>,
    ) -> Result<ApplyDoc<SlotChange>, RuntimeError> {
        let plan = self.must_fit(&plan, wanted)?;
        let selects = plan
            .slots
            .iter()
            .filter(|one| one.selection_before != one.selection_after);
        let entries: Vec<_> = selects
            .map(|one| {
                let provider = one.selection_after.clone();
                let mut entry = self.entry(one.slot.clone(), provider, who.clone(), reason.clone());
                entry.undoes = plan.undoes.map(Into::into);
                entry
            })
            .collect();
        let set = plan.slots.iter().fold(ChangeSet::new(), |set, one| {
            set.to_provider(one.slot.clone(), one.to.clone())
        });
        // Also where nothing is to be written: the plan must still fit when the pointers move.
        let note = Note::new(self, entries).on(plan.base);
        let set = set.record(note.hook()).record_back(note.hook_back());
        let set = set.when_published({
            let (runtime, wanted, mine) = (self.clone(), wanted.clone(), mine.clone());
            let before: Vec<_> = wanted.keys().map(|slot| self.instance(slot)).collect();
            move || {
                for ((slot, provider), before) in wanted.iter().zip(&before) {
                    let layer = SelectionLayer::Operator;
                    runtime.registry().select(layer, slot, provider.clone());
                    if runtime.instance(slot) != *before {
                        // Built with the settings in force: what a reload left for later is done.
                        runtime.inner.reload.held.release(slot);
                    }
                }
                // Old instances have their work to finish, and nobody has to wait for that.
                mine.let_go();
            }
        });
        self.inner.secrets.doubt_failures();
        let result = self.lifecycle().apply(set).await;
        let serves = result.as_ref().is_ok_and(ChangeReport::serves);
        let lines = if serves {
            // What serves already was not published; it still has to be selected.
            note.written().await
        } else {
            note.take_back().await;
            Ok(Vec::new())
        };
        // What is answered is on the disk, if the disk takes it.
        self.inner.history.offered().await;
        let report = result.map_err(RuntimeError::Lifecycle)?;
        if note.is_outdated() {
            return Err(self.outdated(plan.base));
        }
        let lines = lines?;
        if report.outcome == ChangeOutcome::Unchanged {
            // Of what was published, the turns are over.
            for line in &lines {
                let (slot, provider) = (&line.slot, line.provider.clone());
                self.registry()
                    .select(SelectionLayer::Operator, slot, provider);
            }
        }
        for change in &report.slots {
            note.follow(change.baking());
        }
        let took_us = u64::try_from(report.took.as_micros()).unwrap_or(u64::MAX);
        // Selections alone are a change as well.
        let outcome = match report.outcome {
            ChangeOutcome::Unchanged if !lines.is_empty() => ChangeOutcome::Applied,
            outcome => outcome,
        };
        Ok(answer(outcome, report.slots, lines, took_us))
    }

    /// The number of the instance that serves.
    fn instance(&self, slot: &Slot) -> Option<u64> {
        Some(self.lifecycle().status(slot)?.active?.instance)
    }

    fn must_be_last(&self, base: u64) -> Result<(), RuntimeError> {
        let last = self.inner.revisions.last();
        if base == last {
            return Ok(());
        }
        Err(self.outdated(base))
    }

    /// What was done since revision `base`.
    pub(super) fn outdated(&self, base: u64) -> RuntimeError {
        RuntimeError::PlanOutdated {
            base,
            last: self.inner.revisions.last(),
            since: self.inner.revisions.since(base),
            differs: Vec::new(),
        }
    }

    /// The same plan as it would be made now; refused where that is another one.
    fn must_fit(
        &self,
        plan: &ChangePlanDoc,
        wanted: &Wanted,
    ) -> Result<ChangePlanDoc, RuntimeError> {
        self.must_be_last(plan.base)?;
        if let Some(undone) = plan.undoes {
            let back = undone.first.checked_sub(1);
            let back = back
                .map(|to| self.inner.revisions.back_to(to))
                .transpose()?;
            if undone.last != plan.base || back.as_ref() != Some(wanted) {
                let message = format!(
                    "the plan is not what taking back revisions {} to {} comes to",
                    undone.first, undone.last
                );
                return Err(RuntimeError::RequestInvalid { message });
            }
        }
        let now = self.plan_on(plan.base, wanted, plan.undoes)?;
        let pairs = plan.slots.iter().zip(&now.slots);
        let differs: Vec<String> = pairs
            .filter(|(then, now)| then.to != now.to)
            .map(|(then, now)| {
                let slot = &now.slot;
                format!("{slot} would go to {} and not to {}", now.to, then.to)
            })
            .collect();
        if differs.is_empty() {
            return Ok(now);
        }
        Err(RuntimeError::PlanOutdated {
            base: plan.base,
            last: plan.base,
            since: Vec::new(),
            differs,
        })
    }
}

/// What a plan selects, by slot.
fn wanted(plan: &ChangePlanDoc) -> Result<Wanted, RuntimeError> {
    let invalid = |message: String| Err(RuntimeError::RequestInvalid { message });
    if plan.schema != schema::PLAN {
        return invalid(format!("{:?} is no {}", plan.schema, schema::PLAN));
    }
    must_be_few(plan.slots.len())?;
    let slots = plan.slots.iter();
    let wanted: Wanted = slots
        .map(|one| (one.slot.clone(), one.selection_after.clone()))
        .collect();
    let in_order = wanted.keys().eq(plan.slots.iter().map(|one| &one.slot));
    if in_order {
        return Ok(wanted);
    }
    invalid("the slots of a plan are in the order of their names, none of them twice".to_owned())
}

fn answer(
    outcome: ChangeOutcome,
    slots: Vec<SlotChange>,
    selections: Vec<RevisionDoc>,
    took_us: u64,
) -> ApplyDoc<SlotChange> {
    ApplyDoc {
        schema: schema::APPLY.into(),
        outcome: outcome.name().into(),
        slots,
        took_us,
        revision: selections.first().map(|line| line.revision),
        selections,
        since: Vec::new(),
        error: None,
    }
}
