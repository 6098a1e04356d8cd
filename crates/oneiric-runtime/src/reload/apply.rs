//! Puts settings in force, and back if something fails on the way.
//!
//! What can be exchanged at once (values, candidates, selections) is; then slot after slot follows. Going back is the
//! same with the settings changed round, and looks at the slots themselves instead of at a record of what was done:
//! an activation brings up what it requires, and callers may have brought up a slot meanwhile.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use oneiric_core::{Coded, FactoryPolicy, Origin, Provider, Registered, SelectionLayer, Slot};
use oneiric_lifecycle::{
    Baking, Failure, LifecycleError, Outcome, Reconfigured, SwapReport, SwapRequest,
};

use super::{
    diff,
    plan::{Act, Step},
};
use crate::{
    api::{ReloadFailure, ReloadOutcome},
    runtime::Runtime,
    settings::Settings,
};

/// The code of a slot that is shut down.
const STOPPED: &str = "lifecycle.stopped";

/// What served each slot before anything was done.
pub(super) type Serving = BTreeMap<Slot, Option<(Provider, u64)>>;

/// What there was before anything was done.
struct Before<'a> {
    registered: Vec<Registered>,
    slots: &'a Serving,
}

/// What was done so far, to be undone.
#[derive(Default)]
struct Done {
    told: Vec<Slot>,
    /// Swaps whose old instances are warm until everything stands, in their order.
    kept: Vec<(Slot, Baking)>,
}

impl Done {
    fn note(&mut self, slot: &Slot, did: Did) {
        match did {
            Did::Told => self.told.push(slot.clone()),
            Did::Kept(baking) => self.kept.push((slot.clone(), baking)),
            Did::Rest => {}
        }
    }
}

impl Runtime {
    /// Goes from `old` to `new`; whoever calls holds the turns of all slots in `before`.
    pub(super) async fn put_in_place(
        &self,
        old: &Arc<Settings>,
        new: &Arc<Settings>,
        steps: &[Step],
        before: &Serving,
    ) -> ReloadOutcome {
        let registered = self.registry().of_origin(&Origin::settings());
        let before = &Before {
            registered,
            slots: before,
        };
        if let Err(failed) = self.install(new).await {
            return self
                .restore(old, steps, before, Done::default(), failed)
                .await;
        }
        if let Err(failed) = self.must_close_no_ring(steps, &self.registry().snapshot()) {
            return self
                .restore(old, steps, before, Done::default(), failed)
                .await;
        }
        let mut done = Done::default();
        for step in steps.iter().filter(|step| step.held.is_none()) {
            if step.act == Act::Retire {
                self.let_go_of_holders(steps, &done).await;
            }
            let did = match self.must_be_possible(step, steps) {
                Ok(()) => self.do_step(step).await,
                Err(failed) => Err(failed),
            };
            match did {
                Ok(did) => done.note(&step.slot, did),
                Err(failed) => return self.restore(old, steps, before, done, failed).await,
            }
        }
        for (slot, was) in before.slots {
            if was.is_some() || steps.iter().any(|step| step.slot == *slot) {
                continue;
            }
            self.lifecycle().settled(slot).await;
            if self.serving(slot).is_none() {
                continue;
            }
            match self.reconfigured(slot).await {
                Ok(did) => done.note(slot, did),
                Err(failed) => return self.restore(old, steps, before, done, failed).await,
            }
        }
        self.let_go(&done.kept).await;
        ReloadOutcome::Applied
    }

    /// What is retired comes last: what else there is stands by then, and what this reload itself only keeps warm keeps
    /// nothing. Trials that somebody else began are not ended for it: what waits for them is no step to be done now.
    async fn let_go_of_holders(&self, steps: &[Step], done: &Done) {
        let goes = |step: &&Step| step.act == Act::Retire && step.held.is_none();
        for step in steps.iter().filter(goes) {
            for holder in self.lifecycle().holders(&step.slot) {
                // Those by key that are of the past would go by themselves, but only soon.
                self.lifecycle().retire_outdated(&holder).await;
                for (_, baking) in done.kept.iter().filter(|(slot, _)| *slot == holder) {
                    baking.let_go();
                    baking.ended().await;
                }
                // So that what it had before has finished its work as well.
                self.lifecycle().settled(&holder).await;
            }
        }
    }

    /// Everything stands: what was exchanged may go, after the trial that its slot's policy asks for. Those trials are
    /// not waited for.
    async fn let_go(&self, kept: &[(Slot, Baking)]) {
        for (_, baking) in kept {
            baking.release();
        }
        for (slot, baking) in kept {
            if self.lifecycle().slot_policy(slot).bake.time.is_zero() {
                baking.ended().await;
            }
        }
    }

    /// Everything that is exchanged at once.
    async fn install(&self, settings: &Arc<Settings>) -> Result<(), ReloadFailure> {
        let of_whole = |error: &dyn CodedDisplay| failure(None, error.code(), error);
        // Before anybody is handed any of it.
        self.inner.secrets.cover_settings(settings).await;
        // Checked before; the policy first, for it is the only one that could fail all the same.
        let policy =
            FactoryPolicy::new(&settings.factory_allowlist).map_err(|error| of_whole(&error))?;
        let candidates = settings
            .candidates
            .iter()
            .map(|declared| declared.candidate.clone());
        let before = self.settings();
        self.inner.settings.store(Arc::clone(settings));
        // What serves follows slot after slot; instances by key when they are next asked for.
        for slot in diff::configured_otherwise(&before, settings) {
            self.lifecycle().settings_changed(&slot);
        }
        self.lifecycle().set_policy(policy);
        self.lifecycle().set_limits(settings.limits.clone());
        self.lifecycle()
            .set_slot_policies(settings.slot_policies.clone());
        self.lifecycle()
            .set_probes_at_once(settings.probes_at_once());
        if let Some(log) = &self.inner.log {
            log.apply(&settings.log);
        }
        self.registry()
            .update_origin(&Origin::settings(), candidates)
            .map_err(|error| of_whole(&error))?;
        let selections = settings.selections.iter().cloned();
        self.registry()
            .set_selections(SelectionLayer::Settings, selections);
        Ok(())
    }

    /// Does what a slot needs.
    pub(super) async fn do_step(&self, step: &Step) -> Result<Did, ReloadFailure> {
        let slot = &step.slot;
        let swap = |request: SwapRequest| async move {
            let report = self.lifecycle().begin_swap(request.keep_old()).await;
            served(slot, report)
        };
        match step.act {
            Act::ToWinner { rebuild } => {
                swap(SwapRequest::to_winner(slot.clone()).rebuild(rebuild)).await
            }
            Act::Rebuild => match &step.from {
                Some(provider) => {
                    let request = SwapRequest::to_provider(slot.clone(), provider.clone());
                    swap(request.rebuild(true)).await
                }
                None => swap(SwapRequest::to_winner(slot.clone())).await,
            },
            Act::Reconfigure => self.reconfigured(slot).await,
            Act::Activate => {
                // One that a caller began before has the settings of before.
                self.lifecycle().settled(slot).await;
                if self.serving(slot).is_some() {
                    return self.reconfigured(slot).await;
                }
                let report = self.lifecycle().activate(slot).await;
                served(slot, report)
            }
            Act::Retire => match self.lifecycle().deactivate(slot).await {
                Ok(_) => Ok(Did::Rest),
                Err(error) => Err(of(slot, &error)),
            },
        }
    }

    async fn reconfigured(&self, slot: &Slot) -> Result<Did, ReloadFailure> {
        match self.lifecycle().reconfigure_keeping(slot).await {
            Ok(Reconfigured::Told) => Ok(Did::Told),
            Ok(Reconfigured::Swapped(report)) => served(slot, Ok(report)),
            Ok(_) => Ok(Did::Rest),
            Err(error) => Err(of(slot, &error)),
        }
    }

    /// Back to `old`. Whoever got another instance gets one of before, whoever was told is told again.
    async fn restore(
        &self,
        old: &Arc<Settings>,
        steps: &[Step],
        before: &Before<'_>,
        done: Done,
        failed: ReloadFailure,
    ) -> ReloadOutcome {
        if failed.code == STOPPED {
            // Everything goes down, what is warm with it: there is nothing to go back to.
            return ReloadOutcome::Restored { failed };
        }
        let mut left = Vec::new();
        left.extend(self.install(old).await.err());
        // With their numbers, which decide between equals and tell whose instance is whose.
        let registered = before.registered.iter().cloned();
        self.registry()
            .restore_origin(&Origin::settings(), registered);
        // What was exchanged serves again, without being built, which may fail by now.
        for (_, baking) in done.kept.iter().rev() {
            baking.swing_back("settings were not put in force");
            baking.ended().await;
        }
        // What came up last goes first; what needs nothing done comes after.
        let stepped = steps.iter().rev().map(|step| &step.slot);
        let others = before
            .slots
            .keys()
            .filter(|slot| !steps.iter().any(|step| step.slot == **slot));
        for slot in stepped.chain(others) {
            let was = before.slots.get(slot).and_then(Option::as_ref);
            left.extend(
                self.put_back(slot, was, done.told.contains(slot))
                    .await
                    .err(),
            );
        }
        if left.is_empty() {
            ReloadOutcome::Restored { failed }
        } else {
            ReloadOutcome::Broken { failed, left }
        }
    }

    async fn put_back(
        &self,
        slot: &Slot,
        was: Option<&(Provider, u64)>,
        told: bool,
    ) -> Result<(), ReloadFailure> {
        let now = self.serving(slot);
        match (was, now) {
            (None, None) => Ok(()),
            (None, Some(_)) => match self.lifecycle().deactivate(slot).await {
                Ok(_) => Ok(()),
                // By what came up for a caller meanwhile and was not built for these settings: an instance by key.
                Err(LifecycleError::InUse { .. }) => self.settings_of_before(slot).await,
                Err(error) => Err(of(slot, &error)),
            },
            (Some((_, instance)), Some((_, same))) if *instance == same => {
                if !told {
                    return Ok(());
                }
                self.settings_of_before(slot).await
            }
            (Some((provider, _)), _) => {
                let back = SwapRequest::to_provider(slot.clone(), provider.clone());
                let back = back.rebuild(true).bake(Duration::ZERO);
                served(slot, self.lifecycle().swap(back).await).map(drop)
            }
        }
    }

    /// What serves goes on doing so, with the settings that are in force again.
    async fn settings_of_before(&self, slot: &Slot) -> Result<(), ReloadFailure> {
        if let Did::Kept(baking) = self.reconfigured(slot).await? {
            baking.release();
            baking.ended().await;
        }
        Ok(())
    }

    /// Provider and number of the instance that serves.
    pub(super) fn serving(&self, slot: &Slot) -> Option<(Provider, u64)> {
        let active = self.lifecycle().status(slot)?.active?;
        Some((active.provider, active.instance))
    }
}

/// How a step was done.
pub(super) enum Did {
    /// The instance was told its settings and is still there.
    Told,
    /// It was exchanged, and what served before is warm until it is told that it may go.
    Kept(Baking),
    Rest,
}

fn served(slot: &Slot, result: Result<SwapReport, LifecycleError>) -> Result<Did, ReloadFailure> {
    match result {
        Ok(report) => match &report.outcome {
            Outcome::RolledBack { failure } | Outcome::SwungBack { failure } => {
                Err(stage(slot, failure))
            }
            _ => Ok(report.baking().cloned().map_or(Did::Rest, Did::Kept)),
        },
        Err(error) => Err(of(slot, &error)),
    }
}

pub(super) fn of(slot: &Slot, error: &LifecycleError) -> ReloadFailure {
    match error.failure() {
        Some(failed) => stage(slot, failed),
        None => failure(Some(slot), error.code(), error),
    }
}

fn stage(slot: &Slot, failed: &Failure) -> ReloadFailure {
    failure(Some(slot), failed.code, failed)
}

pub(super) fn failure(
    slot: Option<&Slot>,
    code: &str,
    message: &(impl ToString + ?Sized),
) -> ReloadFailure {
    ReloadFailure {
        slot: slot.cloned(),
        code: code.to_owned(),
        message: message.to_string(),
    }
}

/// An error with its code, whichever it is.
trait CodedDisplay: Coded + std::fmt::Display {}

impl<T: Coded + std::fmt::Display> CodedDisplay for T {}
