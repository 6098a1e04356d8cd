//! From a candidate to an instance: its factory is looked up and held against the policy, its settings are fetched, and
//! it builds, on a thread of its own and for so long as it may. What arrives late is taken down again.

use std::sync::Arc;

use oneiric_core::{Coded, Registered};

use crate::cell::SlotCell;
use crate::error::{Failure, Stage};
use crate::factory::{BuildContext, BuildError, Factory};
use crate::inner::Inner;
use crate::instance::Instance;
use crate::provider_settings::{self, Numbered, Receiver};
use crate::running::Running;
use crate::step::{HUNG_AT_MOST, StepError, StepKind};
use crate::wiring::Wiring;

impl Inner {
    /// The factory that a candidate names, if it may be used.
    pub(crate) fn factory_of(&self, candidate: &Registered) -> Result<Arc<dyn Factory>, Failure> {
        let Some(path) = candidate.factory() else {
            return Err(Failure::new(
                Stage::Factory,
                "lifecycle.no_factory",
                format_args!("candidate {} names no factory", candidate.provider()),
            ));
        };
        if let Err(denied) = self.policy.load().check(path) {
            return Err(Failure::new(Stage::Factory, denied.code(), denied));
        }
        self.factories.get(path).cloned().ok_or_else(|| {
            Failure::new(
                Stage::Factory,
                "lifecycle.factory_unknown",
                format_args!("no factory named {path} in this program"),
            )
        })
    }

    /// Has `factory` build an instance of `candidate` for `cell`; for one key, where the slot has an instance for each.
    pub(crate) async fn construct(
        self: &Arc<Self>,
        cell: &Arc<SlotCell>,
        candidate: &Registered,
        factory: Arc<dyn Factory>,
        key: Option<Arc<str>>,
    ) -> Result<Running, Failure> {
        let cancelled = cell.stopping.child_token();
        let number = Numbered::next(self);
        let to = Receiver {
            slot: &cell.slot,
            provider: candidate.provider(),
            instance: number.number(),
            key: key.as_deref(),
        };
        let settings = provider_settings::fetch(self, to).await?;
        let context = BuildContext {
            candidate: candidate.clone(),
            settings,
            key: key.clone(),
            wiring: Wiring::of(self),
            cancelled: cancelled.clone(),
        };
        let limit = self.limits().activation;
        let admission = Admission {
            inner: Arc::clone(self),
            candidate: candidate.clone(),
            cell: Arc::clone(cell),
            number,
            key,
        };
        let late = {
            let (inner, cell) = (Arc::clone(self), Arc::clone(cell));
            move |product| async move {
                // Nobody waits for it any more, but it exists and must be taken down like any other.
                if let Product::Built(running) | Product::Unusable(running, _) = product {
                    inner.discard(&cell, &running).await;
                }
            }
        };
        let hung = cell.hung(candidate.provider()).count();
        if hung >= HUNG_AT_MOST {
            return Err(Failure::new(
                Stage::Build,
                "lifecycle.hung",
                format_args!(
                    "{hung} probes and retirements of earlier instances have not ended, long after their time"
                ),
            ));
        }
        let turn = cell.build_turn(candidate.provider()).lock_owned();
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
        let kind = StepKind::Build;
        match self.steps.run(kind, limit, cancelled, build, late).await {
            Ok(Product::Built(running)) => Ok(running),
            Ok(Product::Unusable(running, message)) => {
                self.discard(cell, &running).await;
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
    number: Numbered,
    key: Option<Arc<str>>,
}

impl Admission {
    fn admit(self, built: Result<Instance, BuildError>) -> Product {
        let instance = match built {
            Ok(instance) => instance,
            Err(error) => return Product::Refused(error),
        };
        let calls = Arc::clone(&self.cell.calls);
        let hung = self.cell.hung(self.candidate.provider());
        let mut running = Running::new(self.number, self.candidate, instance, calls, hung);
        running.key = self.key;
        match running.attach(&self.inner.proxies) {
            Ok(()) => Product::Built(running),
            Err(message) => Product::Unusable(running, message),
        }
    }
}
