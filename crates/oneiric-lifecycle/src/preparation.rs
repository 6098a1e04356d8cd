//! The first half of a transition: everything that can be done while the old instance serves
//! undisturbed. Whatever fails in here, what was built is taken down again.

use std::sync::Arc;
use std::time::Duration;

use oneiric_core::{Coded, Registered};
use tokio_util::sync::CancellationToken;

use crate::cell::SlotCell;
use crate::error::{Failure, Stage};
use crate::facet::FacetType;
use crate::factory::{BuildContext, BuildError, Factory};
use crate::gate::ClosedGate;
use crate::graph::Claim;
use crate::health::Health;
use crate::inner::Inner;
use crate::instance::Instance;
use crate::provider_settings;
use crate::running::Running;
use crate::status::HealthReport;
use crate::step::{self, StepError};
use crate::transition::Transition;
use crate::wiring::Wiring;

/// A new instance that may be published.
pub(crate) struct Prepared {
    pub(crate) running: Arc<Running>,
    /// What it needs; absent for one that was kept warm, whose edges stand.
    pub(crate) claim: Option<Claim>,
    pub(crate) asked: Asked,
    /// Closed since state was handed over.
    pub(crate) gate: Option<ClosedGate>,
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
        let (running, claim) = match &self.warm {
            Some(bake) => (Arc::clone(&bake.warm), None),
            None => {
                let factory = self.factory()?;
                let claim = self.bring_up_dependencies().await?;
                (Arc::new(self.build(factory).await?), Some(claim))
            }
        };
        let checked = match self.check_facets(&running) {
            Ok(()) => self.probe(&running).await,
            Err(failure) => Err(failure),
        };
        let checked = match checked {
            Ok(asked) => self.before_swap().await.map(|()| asked),
            Err(failure) => Err(failure),
        };
        match checked {
            Ok(asked) => Ok(Prepared {
                running,
                claim,
                asked,
                gate: None,
            }),
            Err(failure) => {
                self.discard(&running).await;
                Err(failure)
            }
        }
    }

    /// Takes down what is not put in service, unless it was kept warm and is a bake's.
    pub(crate) async fn discard(&self, running: &Running) {
        if self.warm.is_none() {
            self.inner.discard(&self.cell, running).await;
        }
    }

    fn factory(&self) -> Result<Arc<dyn Factory>, Failure> {
        let Some(path) = self.candidate.factory() else {
            return Err(Failure::new(
                Stage::Factory,
                "lifecycle.no_factory",
                format_args!("candidate {} names no factory", self.candidate.provider()),
            ));
        };
        if let Err(denied) = self.inner.policy.load().check(path) {
            return Err(Failure::new(Stage::Factory, denied.code(), denied));
        }
        self.inner.factories.get(path).cloned().ok_or_else(|| {
            Failure::new(
                Stage::Factory,
                "lifecycle.factory_unknown",
                format_args!("no factory named {path} in this program"),
            )
        })
    }

    async fn build(&self, factory: Arc<dyn Factory>) -> Result<Running, Failure> {
        let cancelled = self.cell.stopping.child_token();
        let slot = &self.cell.slot;
        let settings =
            provider_settings::fetch(&self.inner, slot, self.candidate.provider()).await?;
        let context = BuildContext {
            candidate: self.candidate.clone(),
            settings,
            wiring: Wiring::of(&self.inner),
            cancelled: cancelled.clone(),
        };
        let limit = self.inner.limits().activation;
        let admission = Admission {
            inner: Arc::clone(&self.inner),
            candidate: self.candidate.clone(),
            cell: Arc::clone(&self.cell),
        };
        let late = {
            let (inner, cell) = (Arc::clone(&self.inner), Arc::clone(&self.cell));
            move |product| async move {
                // Nobody waits for it any more, but it exists and must be taken down like any other.
                if let Product::Built(running) | Product::Unusable(running, _) = product {
                    inner.discard(&cell, &running).await;
                }
            }
        };
        let turn = self.cell.build_turn(self.candidate.provider()).lock_owned();
        let Ok(turn) = tokio::time::timeout(limit, turn).await else {
            return Err(Failure::new(
                Stage::Build,
                "lifecycle.timed_out",
                "the factory is still at work on an earlier instance",
            ));
        };
        let build = move || async move {
            let product = admission.admit(factory.build(context).await);
            drop(turn);
            product
        };
        match step::run(limit, cancelled, build, late).await {
            Ok(Product::Built(running)) => Ok(running),
            Ok(Product::Unusable(running, message)) => {
                self.inner.discard(&self.cell, &running).await;
                Err(Failure::step(
                    Stage::Build,
                    limit,
                    StepError::Panicked(message),
                ))
            }
            Ok(Product::Refused(error @ BuildError::Settings { .. })) => Err(Failure::new(
                Stage::Build,
                "lifecycle.settings_invalid",
                error,
            )),
            Ok(Product::Refused(error)) => {
                Err(Failure::new(Stage::Build, "lifecycle.build_failed", error))
            }
            Err(error) => Err(Failure::step(Stage::Build, limit, error)),
        }
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
                let code = match &health {
                    Health::ProbeError(_) => "lifecycle.probe_error",
                    _ => "lifecycle.probe_failed",
                };
                let failure = Failure::new(Stage::Probe, code, health);
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
            let result = step::run(limit, CancellationToken::new(), call, |_| async {}).await;
            hook_result(Stage::BeforeSwap, limit, result)?;
        }
        Ok(())
    }
}

/// What a factory's work comes to.
enum Product {
    Built(Running),
    /// Built, but it panicked when it was asked what it answers.
    Unusable(Running, String),
    Refused(BuildError),
}

/// Takes what a factory built into the slot's care, as the last part of building it: asking an
/// instance what it answers, and making proxies, is other people's code as well.
struct Admission {
    inner: Arc<Inner>,
    candidate: Registered,
    cell: Arc<SlotCell>,
}

impl Admission {
    fn admit(self, built: Result<Instance, BuildError>) -> Product {
        let instance = match built {
            Ok(instance) => instance,
            Err(error) => return Product::Refused(error),
        };
        let calls = Arc::clone(&self.cell.calls);
        let mut running = self.inner.admit(self.candidate, instance, calls);
        match running.attach(&self.inner.proxies) {
            Ok(()) => Product::Built(running),
            Err(message) => Product::Unusable(running, message),
        }
    }
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
