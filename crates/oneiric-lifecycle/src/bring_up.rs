//! What a candidate needs is up before it is built: all of it at once, and without waiting for the turn of what serves
//! already.

use std::sync::Arc;

use oneiric_core::{Coded, Registered, Slot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::cell::SlotCell;
use crate::error::{Failure, LifecycleError, Stage};
use crate::graph::{Claim, Known};
use crate::inner::Inner;
use crate::observe::Happening;
use crate::transition::Transition;
use crate::wiring::Wiring;

/// What came of bringing up one of them.
enum BroughtUp {
    Serves,
    Failed(LifecycleError),
    /// To be done without, because somebody's requirement made a ring of it.
    Abandoned,
}

impl Inner {
    /// Claims what `candidate` needs for an instance in `cell` and brings it up. Fails with the first in the order stated
    /// that cannot be, as soon as all before it are up. What is optional fails nothing: it is said, and done without.
    pub(crate) async fn bring_up_dependencies(
        self: &Arc<Self>,
        cell: &SlotCell,
        candidate: &Registered,
    ) -> Result<Claim, Failure> {
        let requires = candidate.requires();
        let optional = candidate.optional_requires();
        let claim = self
            .graph
            .claim(&cell.slot, requires, optional)
            .map_err(|ring| {
                Failure::new(
                    Stage::Dependencies,
                    "lifecycle.dependency_cycle",
                    format_args!("requires itself: {}", path(&ring)),
                )
            })?;
        for left_out in claim.left_out() {
            self.does_without(
                cell,
                &left_out.need,
                "lifecycle.dependency_cycle",
                format_args!("it requires this slot: {}", path(&left_out.ring)),
            );
        }
        let firm = requires.iter().map(|need| (need, None));
        let optional = claim.optional();
        let optional = optional
            .iter()
            .map(|(need, given_up)| (need, Some(given_up)));
        let mut needs = Needs::default();
        for (need, given_up) in firm.chain(optional) {
            needs.bring_up(self, &claim, need, given_up);
        }
        for at in 0..requires.len() {
            if let BroughtUp::Failed(error) = needs.end_of(at).await {
                return Err(failed(&needs.of[at].0, &error));
            }
        }
        for at in requires.len()..needs.of.len() {
            let up = needs.end_of(at).await;
            let need = &needs.of[at].0;
            match up {
                BroughtUp::Serves => {}
                // Nobody there is what optional is for.
                BroughtUp::Failed(error) if error.code() == "core.no_candidate" => {
                    tracing::debug!(slot = %cell.slot, %need, "optional and nobody provides it");
                }
                BroughtUp::Failed(error) => {
                    self.does_without(cell, need, "lifecycle.dependency_failed", error);
                }
                BroughtUp::Abandoned => self.does_without(
                    cell,
                    need,
                    "lifecycle.dependency_cycle",
                    "it came to require this slot while it was waited for",
                ),
            }
        }
        let now: Vec<_> = needs
            .of
            .iter()
            .map(|(need, _)| (need.clone(), self.known(need)))
            .collect();
        claim.knows(&now);
        Ok(claim)
    }

    fn does_without(
        &self,
        cell: &SlotCell,
        need: &Slot,
        code: &'static str,
        why: impl std::fmt::Display,
    ) {
        let message = format_args!("goes on without {need}: {why}");
        let failure = Failure::new(Stage::Dependencies, code, message);
        let failure = self.redact.failure(failure);
        self.announce_in(cell, Happening::Warned { failure });
    }
}

impl Transition {
    /// Brings up what the candidate needs, without claiming it: for an instance that is not going to serve.
    pub(crate) async fn check_dependencies(&self) -> Result<(), Failure> {
        for need in self.candidate.requires() {
            if self.inner.serves(need) {
                continue;
            }
            if let Err(error) = Wiring::of(&self.inner).activate(need).await {
                return Err(failed(need, &error));
            }
        }
        Ok(())
    }
}

fn failed(need: &Slot, error: &LifecycleError) -> Failure {
    // A ring that is found further down is this slot's problem as well: same code.
    let code = match error.code() {
        "lifecycle.dependency_cycle" => "lifecycle.dependency_cycle",
        _ => "lifecycle.dependency_failed",
    };
    Failure::new(
        Stage::Dependencies,
        code,
        format_args!("requires {need}: {error}"),
    )
}

fn path(ring: &[Slot]) -> String {
    let names: Vec<&str> = ring.iter().map(Slot::as_str).collect();
    names.join(" -> ")
}

/// The needs of a candidate that are being brought up. Dropped, it stops waiting for those that have not begun; what
/// has begun goes on without it.
#[derive(Default)]
struct Needs {
    /// Each with what came of it, once something did.
    of: Vec<(Slot, Option<BroughtUp>)>,
    under_way: JoinSet<(usize, BroughtUp)>,
}

impl Needs {
    fn bring_up(
        &mut self,
        inner: &Arc<Inner>,
        claim: &Claim,
        need: &Slot,
        given_up: Option<&CancellationToken>,
    ) {
        let at = self.of.len();
        // Once claimed, what serves is not taken out of service, so there is nothing to wait for.
        if inner.serves(need) && !claim.is_leaving(need) {
            self.of.push((need.clone(), Some(BroughtUp::Serves)));
            return;
        }
        self.of.push((need.clone(), None));
        let (wiring, need) = (Wiring::of(inner), need.clone());
        let given_up = given_up.cloned().unwrap_or_default();
        let work = async move {
            let up = tokio::select! {
                biased;
                up = wiring.activate(&need) => match up {
                    Ok(_) => BroughtUp::Serves,
                    Err(error) => BroughtUp::Failed(error),
                },
                () = given_up.cancelled() => BroughtUp::Abandoned,
            };
            (at, up)
        };
        self.under_way.spawn(work.in_current_span());
    }

    /// What came of the one at `at`; asked for once.
    async fn end_of(&mut self, at: usize) -> BroughtUp {
        loop {
            if let Some(up) = self.of.get_mut(at).and_then(|(_, up)| up.take()) {
                return up;
            }
            match self.under_way.join_next().await {
                Some(Ok((at, up))) => self.of[at].1 = Some(up),
                Some(Err(join)) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
                // The async runtime itself is going down.
                Some(Err(_)) | None => {
                    let slot = self.of[at].0.clone();
                    return BroughtUp::Failed(LifecycleError::Stopped { slot });
                }
            }
        }
    }
}

impl Inner {
    /// Whether an instance serves `slot` and goes on doing so as far as is known.
    fn serves(&self, slot: &Slot) -> bool {
        self.existing_cell(slot)
            .is_some_and(|cell| !cell.is_stopped() && cell.published().is_some())
    }

    /// Which instance serves `slot`.
    pub(crate) fn known(&self, slot: &Slot) -> Option<Known> {
        let published = self.existing_cell(slot)?.published()?;
        Some(Known {
            provider: published.running.candidate.provider().clone(),
            instance: published.running.number,
        })
    }
}
