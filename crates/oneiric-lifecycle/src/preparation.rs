//! The first half of a transition: everything that can be done while the old instance serves
//! undisturbed. Whatever fails in here, what was built is taken down again.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Failure, Stage};
use crate::facet::FacetType;
use crate::graph::Claim;
use crate::handing_over::WentOver;
use crate::running::Running;
use crate::status::HealthReport;
use crate::step::{self, StepError};
use crate::transition::{Manner, Transition};

/// A new instance that may be published.
pub(crate) struct Prepared {
    pub(crate) running: Arc<Running>,
    /// What it needs; absent for one that was kept warm, whose edges stand.
    pub(crate) claim: Option<Claim>,
    pub(crate) asked: Asked,
    /// The state that it has of the old one, whose gate is closed since.
    pub(crate) state: Option<WentOver>,
}

/// What became of asking a new instance for its health.
pub(crate) struct Asked {
    /// The answer, where the instance has a probe.
    pub(crate) report: Option<HealthReport>,
    /// The failing probe that was skipped by force.
    pub(crate) skipped: Option<Failure>,
}

impl Transition {
    /// Everything that can be done while the old instance serves undisturbed.
    pub(crate) async fn prepare(&self) -> Result<Prepared, Failure> {
        let (inner, candidate) = (&self.inner, &self.candidate);
        // What was built is not put in service either once its factory is not allowed any more.
        let factory = inner.factory_of(candidate)?;
        let (running, claim) = match &self.warm {
            Some(bake) => (Arc::clone(&bake.warm), None),
            None => {
                let claim = inner.bring_up_dependencies(&self.cell, candidate).await?;
                let built = inner
                    .construct(&self.cell, candidate, factory, None)
                    .await?;
                (Arc::new(built), Some(claim))
            }
        };
        // From here on there is something to take down, even if what we rely on panics.
        let checked = step::catch_panic(self.checked(&running)).await;
        let checked = checked.unwrap_or_else(|message| Err(panicked(&message)));
        match checked {
            Ok(asked) => Ok(Prepared {
                running,
                claim,
                asked,
                state: None,
            }),
            Err(failure) => {
                self.discard(&running).await;
                Err(failure)
            }
        }
    }

    async fn checked(&self, running: &Arc<Running>) -> Result<Asked, Failure> {
        self.check_facets(running)?;
        let asked = self.probe(running).await?;
        self.before_swap().await?;
        Ok(asked)
    }

    /// Takes down what is not put in service, unless it was kept warm and is a bake's.
    pub(crate) async fn discard(&self, running: &Running) {
        if self.warm.is_some() {
            return;
        }
        if self.manner == Manner::Plain {
            self.inner.discard(&self.cell, running).await;
            return;
        }
        let limit = self.inner.limits().retire;
        // Why it was built in vain is known by now.
        let _cleaned_up = self.inner.clean_up(running, limit).await;
    }

    /// Builds and asks, changes nothing and leaves nothing.
    pub(crate) async fn try_out(&self) -> Result<(), Failure> {
        let (inner, candidate) = (&self.inner, &self.candidate);
        let factory = inner.factory_of(candidate)?;
        self.check_dependencies().await?;
        // What is only tried out can be tried out another time.
        let turn = self.cell.build_turn(candidate.provider());
        if turn.try_lock().is_err() {
            return Err(Failure::new(
                Stage::Build,
                "lifecycle.timed_out",
                "the factory is still at work on an earlier instance",
            ));
        }
        let built = inner
            .construct(&self.cell, candidate, factory, None)
            .await?;
        let running = Arc::new(built);
        let checked = async {
            self.check_facets(&running)?;
            self.probe(&running).await.map(drop)
        };
        let checked = step::catch_panic(checked).await;
        let checked = checked.unwrap_or_else(|message| Err(panicked(&message)));
        self.discard(&running).await;
        checked
    }

    /// A consumer that holds a facet must find it on the new instance too. Checked again when it is
    /// published; here, so that an instance that cannot serve is not even probed.
    pub(crate) fn check_facets(&self, running: &Running) -> Result<(), Failure> {
        let missing = self.cell.facets_missing_on(running);
        if missing.is_empty() {
            Ok(())
        } else {
            Err(facet_missing(&missing))
        }
    }

    pub(crate) async fn probe(&self, running: &Arc<Running>) -> Result<Asked, Failure> {
        let report = self.inner.ask(running).await;
        let skipped = match report.as_ref().and_then(|report| report.health.clone()) {
            Some(health) if !health.may_serve() => {
                let failure = Failure::probe(health);
                if !self.force {
                    return Err(failure);
                }
                Some(failure)
            }
            _ => None,
        };
        Ok(Asked { report, skipped })
    }

    async fn before_swap(&self) -> Result<(), Failure> {
        for hook in &self.inner.hooks {
            let (limit, context) = (self.inner.limits().hook, self.context());
            let hook = Arc::clone(hook);
            let call = move || async move { hook.before(context).await };
            let result = self.inner.steps.hook(limit, call).await;
            hook_result(Stage::BeforeSwap, limit, result)?;
        }
        Ok(())
    }
}

/// Something that a transition relies on panicked.
pub(crate) fn panicked(message: &str) -> Failure {
    Failure::new(
        Stage::Build,
        "lifecycle.panicked",
        format_args!("panicked: {message}"),
    )
}

/// An instance lacks facets that somebody relies on.
pub(crate) fn facet_missing(facets: &[FacetType]) -> Failure {
    let names: Vec<String> = facets.iter().map(|facet| facet.name()).collect();
    Failure::new(
        Stage::Facets,
        "lifecycle.facet_missing",
        format_args!("does not offer {}, which is in use", names.join(", ")),
    )
}

/// How a hook ended, as the failure of its stage.
pub(crate) fn hook_result(
    stage: Stage,
    limit: Duration,
    result: Result<Result<(), String>, StepError>,
) -> Result<(), Failure> {
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(message)) => Err(Failure::new(stage, "lifecycle.hook_failed", message)),
        Err(error) => Err(Failure::step(stage, limit, error)),
    }
}
