//! What operators and embedders can ask of a runtime. The admin API only translates: whatever it answers comes from
//! a method here, so that a program that embeds a runtime can do everything the command line can.

mod activity;
mod apply;
mod change_plan;
mod config;
mod note;
mod plan;
mod secrets;
mod state;
mod swap;

use std::time::{SystemTime, UNIX_EPOCH};

use oneiric_core::{Change, Domain, Explanation, Query, Registered, ResolveError, Slot, Snapshot};
use oneiric_lifecycle::{
    Activity, CallError, Difference, Health, HealthReport, LifecycleError, Payload, SlotState,
    SlotStatus,
};
use tokio::task::JoinSet;

use crate::{
    api::{
        CallDoc, CallRequest, DependencyFaultDoc, ExplainDoc, HealthDoc, ListDoc, ListedCandidate,
        ListedSelection, ListedSlot, NotActiveDoc, ProcessDoc, ReadyDoc, RevisionDoc, Serving,
        SlotHealth, StatusDoc, UnknownSelectionDoc, Verdict, schema,
    },
    encode,
    error::RuntimeError,
    offload::off_the_workers,
    redact::Redactor,
    runtime::Runtime,
    settings::Activate,
};

impl Runtime {
    /// Lists slots with their candidates, best first; of one domain if one is named.
    #[must_use]
    pub fn list(&self, domain: Option<&Domain>) -> ListDoc {
        let snapshot = self.registry().snapshot();
        let slots: Vec<&Slot> = match domain {
            Some(domain) => snapshot.slots_in(domain).collect(),
            None => snapshot.slots().collect(),
        };
        let listed = slots.into_iter().map(|slot| self.listed(&snapshot, slot));
        ListDoc {
            schema: schema::LIST.into(),
            slots: listed.collect(),
        }
    }

    fn listed(&self, snapshot: &Snapshot, slot: &Slot) -> ListedSlot {
        let status = self.lifecycle().status(slot);
        let active = status.as_ref().and_then(|status| status.active.as_ref());
        let winner = snapshot.winner(slot);
        let candidates = snapshot.resolve_all(&Query::new(slot.clone()));
        let selection = snapshot.selection(slot).map(|selection| ListedSelection {
            known: candidates
                .iter()
                .any(|held| *held.provider() == selection.provider),
            layer: selection.layer.to_string(),
            provider: selection.provider,
        });
        let listed = |held: &Registered| {
            let score = held.score();
            ListedCandidate {
                provider: held.provider().clone(),
                origin: held.origin().clone(),
                priority: score.priority,
                stack_level: score.stack_level,
                sequence: score.sequence,
                fallback: score.fallback,
                capabilities: held.capabilities().iter().cloned().collect(),
                factory: held.factory().map(ToString::to_string),
                requires: held.requires().to_vec(),
                optional_requires: held.optional_requires().to_vec(),
                active: active.is_some_and(|active| active.sequence == score.sequence),
                winner: winner.is_some_and(|winner| winner.id() == held.id()),
            }
        };
        ListedSlot {
            slot: slot.clone(),
            state: state_name(status.as_ref()),
            activity: status
                .as_ref()
                .filter(|status| !status.activity.is_running())
                .map(|status| status.activity.activity.name().to_owned()),
            active: active.map(|active| active.provider.clone()),
            winner: winner.map(|winner| winner.provider().clone()),
            selection,
            candidates: candidates.iter().map(listed).collect(),
        }
    }

    /// Explains who wins a query, under assumptions if there are any, and what serves meanwhile.
    ///
    /// # Errors
    /// `core.no_candidate` when the slot has neither candidates nor a selection; `core.invalid_change` when an
    /// assumption does not fit the slot.
    pub fn explain(
        &self,
        query: &Query,
        what_if: &[Change],
    ) -> Result<ExplainDoc<Explanation, Difference>, RuntimeError> {
        let slot = query.slot();
        let snapshot = self.registry().snapshot();
        if snapshot.selection(slot).is_none() {
            self.must_know(slot)?;
        }
        let explanation = assuming(&snapshot, query, what_if)?;
        let status = self.lifecycle().status(slot);
        let active = status.as_ref().and_then(|status| status.active.as_ref());
        let serving = Serving {
            state: state_name(status.as_ref()),
            provider: active.map(|active| active.provider.clone()),
            instance: active.map(|active| active.instance),
            reason: active
                .and_then(|active| active.decision.as_ref())
                .map(|decision| decision.text.clone()),
            differs: status.as_ref().and_then(|status| status.differs.clone()),
            holders: self.lifecycle().holders(slot),
        };
        Ok(ExplainDoc {
            text: explanation.to_string(),
            explanation,
            serving,
        })
    }

    /// Returns the status of the process and of one slot, or all.
    ///
    /// # Errors
    /// `core.no_candidate` when nobody knows the slot.
    pub fn status(&self, slot: Option<&Slot>) -> Result<StatusDoc<SlotStatus>, RuntimeError> {
        let slots = self.statuses(slot)?;
        let snapshot = self.registry().snapshot();
        let is_meant = |other: &Slot| slot.is_none_or(|slot| slot == other);
        let unknown = snapshot
            .unknown_selections()
            .into_iter()
            .filter(|one| is_meant(&one.slot));
        let unknown = unknown.map(|one| UnknownSelectionDoc {
            slot: one.slot,
            provider: one.provider,
            layer: one.layer.to_string(),
        });
        let settings = self.settings();
        Ok(StatusDoc {
            schema: schema::STATUS.into(),
            process: ProcessDoc {
                pid: std::process::id(),
                version: self.inner.version.clone(),
                since_unix_ms: unix_ms(self.inner.since),
                settings_file: settings
                    .files()
                    .last()
                    .map(|file| file.display().to_string()),
                state_dir: settings.state_dir.display().to_string(),
                state_persists: self.inner.state.kept().persists(),
                settings: self.settings_state(),
                dependency_faults: DependencyFaultDoc::all(&self.lifecycle().dependency_faults()),
            },
            slots,
            unknown_selections: unknown.collect(),
            selections: self
                .inner
                .revisions
                .in_force()
                .into_iter()
                .filter(|one| is_meant(&one.slot))
                .collect(),
        })
    }

    /// Returns what instances said of their health last.
    ///
    /// # Errors
    /// `core.no_candidate` when nobody knows the slot.
    pub fn health(&self, slot: Option<&Slot>) -> Result<HealthDoc<HealthReport>, RuntimeError> {
        Ok(health_doc(self.statuses(slot)?, false))
    }

    /// Asks instances for their health, all at once. Cancel-safe.
    ///
    /// # Errors
    /// `core.no_candidate` when nobody knows the slot.
    pub async fn probe(
        &self,
        slot: Option<&Slot>,
    ) -> Result<HealthDoc<HealthReport>, RuntimeError> {
        let mut probes = JoinSet::new();
        for status in self.statuses(slot)? {
            let lifecycle = self.lifecycle().clone();
            probes.spawn(async move {
                let mut status = status;
                // What does not serve any more when its turn comes keeps the answer it had.
                if let Ok(report) = lifecycle.probe(&status.slot).await {
                    status.health = Some(report);
                }
                status
            });
        }
        let mut statuses = probes.join_all().await;
        statuses.sort_by(|left, right| left.slot.cmp(&right.slot));
        Ok(health_doc(statuses, true))
    }

    /// Calls an operation on whatever serves a slot, which is activated if nothing does.
    ///
    /// Dropped half-way, the component's work is dropped too, at its next await. A component that blocks its thread
    /// holds up no other request.
    ///
    /// # Errors
    /// `core.no_candidate`, `lifecycle.busy`, why it could not be activated, or what the component answers.
    pub async fn call(&self, request: CallRequest) -> Result<CallDoc, RuntimeError> {
        self.call_as(request, None).await
    }

    /// As [`Runtime::call`], for somebody: those who wait for the call to end read who that is.
    ///
    /// # Errors
    /// As [`Runtime::call`].
    pub async fn call_as(
        &self,
        request: CallRequest,
        who: Option<&str>,
    ) -> Result<CallDoc, RuntimeError> {
        let CallRequest {
            slot,
            operation,
            input,
        } = request;
        let lease = self
            .lifecycle()
            .lease(&slot)
            .await
            .map_err(RuntimeError::Lifecycle)?;
        // Whoever asked may leave before a component that holds up its thread is done; what is noted goes with the
        // lease and not with them.
        let lease = lease.noted(&operation, who);
        let call = async move {
            let answer = lease.invoke(&operation, Payload::Json(input)).await;
            (lease, operation, answer)
        };
        let (lease, operation, answer) =
            off_the_workers(call)
                .await
                .ok_or_else(|| RuntimeError::Internal {
                    message: "the process is ending".to_owned(),
                })?;
        let answer = answer.map_err(|error| RuntimeError::Call {
            provider: lease.provider().clone(),
            error: redacted(error, &self.inner.redactor),
        })?;
        let (encoding, output) = encode::payload(answer);
        Ok(CallDoc {
            schema: schema::CALL.into(),
            slot,
            operation,
            provider: lease.provider().clone(),
            instance: lease.instance(),
            encoding,
            output,
        })
    }

    /// Tells whether every slot serves that should. With `run.activate = "on_use"` one that was never used need not.
    #[must_use]
    pub fn ready(&self) -> ReadyDoc {
        let lazy = self.settings().activate == Activate::OnUse;
        let may_wait = |state| lazy && state == SlotState::Inactive;
        let statuses = self.lifecycle().statuses().into_iter();
        let waiting = statuses.filter(|status| !serves(status.state) && !may_wait(status.state));
        let not_active: Vec<_> = waiting
            .map(|status| NotActiveDoc {
                state: status.state.name().into(),
                code: status.last_error.map(|error| error.failure.code.into()),
                slot: status.slot,
            })
            .collect();
        ReadyDoc {
            schema: schema::READY.into(),
            ready: not_active.is_empty(),
            not_active,
        }
    }

    /// Returns the last 1,000 changes of the operator's selections, oldest first.
    #[must_use]
    pub fn revisions(&self) -> Vec<RevisionDoc> {
        self.inner.revisions.history()
    }

    fn statuses(&self, slot: Option<&Slot>) -> Result<Vec<SlotStatus>, RuntimeError> {
        let mut statuses = match slot {
            None => self.lifecycle().statuses(),
            Some(slot) => match self.lifecycle().status(slot) {
                Some(status) => vec![status],
                None => return Err(unresolved(no_candidate(slot))),
            },
        };
        for status in &mut statuses {
            self.say_what_waits(status);
        }
        Ok(statuses)
    }

    /// That settings ask something else of an instance the lifecycle cannot know: its candidate may be the same.
    fn say_what_waits(&self, status: &mut SlotStatus) {
        let activity = status.activity.activity;
        let unsaid = !matches!(status.differs, Some(Difference::SwapFailed { .. }));
        if unsaid && activity != Activity::Running && self.inner.reload.held.contains(&status.slot)
        {
            let activity = activity.name();
            status.differs = Some(Difference::Held { activity });
        }
    }

    /// Refuses slots that nobody knows, so that no caller can fill the memory with names.
    fn must_know(&self, slot: &Slot) -> Result<(), RuntimeError> {
        self.statuses(Some(slot)).map(drop)
    }
}

/// Explains, without talk of assumptions where there are none.
fn assuming(
    snapshot: &Snapshot,
    query: &Query,
    changes: &[Change],
) -> Result<Explanation, RuntimeError> {
    if changes.is_empty() {
        return Ok(snapshot.explain(query));
    }
    snapshot
        .what_if(query, changes)
        .map_err(RuntimeError::Change)
}

/// What a component says, without the secrets it was given.
fn redacted(error: CallError, redactor: &Redactor) -> CallError {
    let cover = |message: String| redactor.redact(&message).into_owned();
    match error {
        CallError::Failed { message } => CallError::Failed {
            message: cover(message),
        },
        CallError::Unavailable { message } => CallError::Unavailable {
            message: cover(message),
        },
        CallError::Panicked { message } => CallError::Panicked {
            message: cover(message),
        },
        CallError::InvalidPayload { message } => CallError::InvalidPayload {
            message: cover(message),
        },
        other => other,
    }
}

fn no_candidate(slot: &Slot) -> ResolveError {
    ResolveError::NoCandidate {
        query: Box::new(Query::new(slot.clone())),
        excluded: 0,
    }
}

fn unresolved(error: ResolveError) -> RuntimeError {
    RuntimeError::Lifecycle(LifecycleError::Unresolved(error))
}

fn state_name(status: Option<&SlotStatus>) -> String {
    status
        .map_or(SlotState::Inactive, |status| status.state)
        .name()
        .to_owned()
}

pub(crate) const fn serves(state: SlotState) -> bool {
    matches!(state, SlotState::Active | SlotState::Swapping)
}

pub(crate) fn unix_ms(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn health_doc(statuses: Vec<SlotStatus>, probed: bool) -> HealthDoc<HealthReport> {
    let slots: Vec<_> = statuses
        .into_iter()
        .map(|status| SlotHealth {
            verdict: verdict(&status),
            state: status.state.name().into(),
            judged: status
                .active
                .as_ref()
                .map(|_| status.judgement.judged.name().into()),
            provider: status.active.map(|active| active.provider),
            report: status.health,
            slot: status.slot,
        })
        .collect();
    let healthy = slots.iter().all(|slot| slot.verdict != Verdict::Bad);
    HealthDoc {
        schema: schema::HEALTH.into(),
        probed,
        healthy,
        slots,
    }
}

fn verdict(status: &SlotStatus) -> Verdict {
    if status.state == SlotState::Failed {
        return Verdict::Bad;
    }
    if !serves(status.state) {
        return Verdict::Inactive;
    }
    match status
        .health
        .as_ref()
        .and_then(|report| report.health.as_ref())
    {
        None | Some(Health::NotAsked(_)) => Verdict::Unknown,
        Some(Health::Ok) => Verdict::Good,
        Some(Health::Warn(_)) => Verdict::Warn,
        Some(_) => Verdict::Bad,
    }
}
