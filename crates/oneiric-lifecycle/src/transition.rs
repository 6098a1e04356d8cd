//! One transition of one slot: build, probe, publish, drain, retire; or back to what was.
//!
//! A transition runs in a task of its own, so a caller that stops waiting changes nothing. Up to
//! the one line that publishes, every failure leads back: what was built is retired and the old
//! instance never noticed. After that line nothing leads back, because the old instance may be gone:
//! failures are recorded and the new one stays.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oneiric_core::{Provider, Query, Registered, Slot};
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Span, field};

use crate::bake::{Bake, Keep, Order};
use crate::cell::{Rejected, SlotCell, Was};
use crate::decision::{Decision, DecisionKind};
use crate::error::{Failure, LifecycleError, Stage};
use crate::handover::HandoverReport;
use crate::hook::SwapContext;
use crate::inner::Inner;
use crate::judge::Judge;
use crate::observe::Happening;
use crate::preparation::{Asked, Prepared, facet_missing, hook_result};
use crate::report::{Outcome, Record, SwapReport, SwapRequest};
use crate::running::{Published, Running};
use crate::state::Move;
use crate::status::HealthReport;
use crate::step;

/// Why a transition is asked for.
pub(crate) enum Ask {
    /// Somebody wants to call the slot: whatever serves will do.
    Use {
        /// Activations that had ended when this was asked. One that ends later is shared.
        attempts: u64,
    },
    /// Somebody wants this one to serve.
    Swap(SwapRequest),
}

impl Ask {
    /// What surrounds everything that is logged on the way, by us, by the component and by hooks. Of
    /// level error, so that a filter that lets only errors through lets the context through too.
    pub(crate) fn span(&self, slot: &Slot) -> Span {
        let (provider, origin) = (field::Empty, field::Empty);
        match self {
            Self::Use { .. } => tracing::error_span!("activate", %slot, provider, origin),
            Self::Swap(_) => Self::swap_span(slot),
        }
    }

    pub(crate) fn swap_span(slot: &Slot) -> Span {
        let (provider, origin) = (field::Empty, field::Empty);
        tracing::error_span!("swap", %slot, provider, origin)
    }
}

/// Runs a transition to its end. `turn` says that those of the same slot that were asked for before
/// are done, and lets the next one begin.
pub(crate) async fn run(
    inner: Arc<Inner>,
    cell: Arc<SlotCell>,
    ask: Ask,
    _turn: OwnedMutexGuard<()>,
) -> Result<SwapReport, LifecycleError> {
    if cell.is_stopped() {
        return Err(LifecycleError::Stopped {
            slot: cell.slot.clone(),
        });
    }
    let request = match ask {
        Ask::Use { attempts } => {
            if let Some(published) = cell.published() {
                return Ok(unchanged(&published.running.candidate));
            }
            if let Some(failure) = cell.ledger().failure_since(attempts) {
                return Err(failure);
            }
            SwapRequest::to_winner(cell.slot.clone())
        }
        Ask::Swap(request) => request,
    };
    match plan(inner, cell, request)? {
        Planned::Unchanged(report) => Ok(report),
        Planned::Exchange(transition) => {
            let span = Span::current();
            span.record("provider", transition.candidate.provider().as_str());
            span.record("origin", transition.candidate.origin().as_str());
            transition.run().await
        }
    }
}

/// What a request comes to.
pub(crate) enum Planned {
    /// The one asked for serves already.
    Unchanged(SwapReport),
    /// A new instance is to be built.
    Exchange(Transition),
}

/// Finds out what there is to do in a slot whose turn has come.
pub(crate) fn plan(
    inner: Arc<Inner>,
    cell: Arc<SlotCell>,
    request: SwapRequest,
) -> Result<Planned, LifecycleError> {
    let before = cell
        .published()
        .map(|published| Arc::clone(&published.running));
    let mut query = Query::new(cell.slot.clone());
    if let Some(provider) = &request.provider {
        query = query.provider(provider.clone());
    }
    let candidate = inner
        .registry
        .resolve(&query)
        .map_err(LifecycleError::Unresolved)?;
    if let Some(running) = &before
        && !request.rebuild
        && same_component(&running.candidate, &candidate)
    {
        return Ok(Planned::Unchanged(unchanged(&running.candidate)));
    }
    // What is still warm is exchanged without being built.
    let is_warm = |bake: &Arc<Bake>| same_component(&bake.warm.candidate, &candidate);
    let warm = cell.bake().filter(|bake| !request.rebuild && is_warm(bake));
    Ok(Planned::Exchange(Transition {
        inner,
        cell,
        candidate,
        before,
        warm,
        force: request.force,
        keep: request.keep,
        record: request.record,
        when_published: request.when_published,
        begun: Instant::now(),
        handover: Arc::default(),
        decision: None,
        manner: Manner::Plain,
    }))
}

/// Whether an instance of `left` is what `right` asks for: one registration, built the same way. A
/// registration that was only re-ranked needs no new instance.
pub(crate) fn same_component(left: &Registered, right: &Registered) -> bool {
    left.id() == right.id() && left.is_built_like(right)
}

pub(crate) fn unchanged(candidate: &Registered) -> SwapReport {
    SwapReport {
        slot: candidate.slot().clone(),
        outcome: Outcome::Unchanged,
        from: Some(candidate.provider().clone()),
        to: candidate.provider().clone(),
        warnings: Vec::new(),
        took: Duration::ZERO,
        bake: None,
        baking: None,
        handover: None,
    }
}

pub(crate) fn stopped_meanwhile() -> Failure {
    Failure::new(
        Stage::Publish,
        "lifecycle.stopped",
        "the slot was shut down meanwhile",
    )
}

#[derive(Clone)]
pub(crate) struct Transition {
    pub(crate) inner: Arc<Inner>,
    pub(crate) cell: Arc<SlotCell>,
    pub(crate) candidate: Registered,
    before: Option<Arc<Running>>,
    /// The bake whose warm instance is to serve again.
    pub(crate) warm: Option<Arc<Bake>>,
    pub(crate) force: bool,
    pub(crate) keep: Keep,
    record: Option<Arc<Record>>,
    when_published: Option<Arc<dyn Fn() + Send + Sync>>,
    begun: Instant,
    /// What came of handing over state, once that is known.
    handover: Arc<Mutex<Option<HandoverReport>>>,
    /// Why it takes place, where nobody asked for it.
    decision: Option<Decision>,
    pub(crate) manner: Manner,
}

/// How much is said of a transition that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Manner {
    /// All of it.
    #[default]
    Plain,
    /// Nothing, and it is not counted: it failed before and is only tried again.
    Quiet,
    /// Nothing either. What it builds is taken down again and never serves.
    Trial,
}

/// How long calls on an instance that was judged unhealthy, or cannot be used, may still take once another one serves.
const DRAIN_UNHEALTHY: Duration = Duration::from_secs(2);

impl Transition {
    /// Another instance of what serves already.
    pub(crate) fn rebuild(
        inner: Arc<Inner>,
        cell: Arc<SlotCell>,
        running: Arc<Running>,
        keep: Keep,
    ) -> Self {
        Self {
            inner,
            cell,
            candidate: running.candidate.clone(),
            before: Some(running),
            warm: None,
            force: false,
            keep,
            record: None,
            when_published: None,
            begun: Instant::now(),
            handover: Arc::default(),
            decision: None,
            manner: Manner::Plain,
        }
    }

    /// The same, because of a decision, which is told when the new instance serves.
    pub(crate) fn decided(mut self, decision: Option<Decision>) -> Self {
        self.decision = decision;
        self
    }

    /// One that nobody asked for. `told` is called right after the publish.
    pub(crate) fn by_itself(
        inner: Arc<Inner>,
        cell: Arc<SlotCell>,
        candidate: Registered,
        decision: Decision,
        manner: Manner,
        told: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let before = cell.published();
        Self {
            inner,
            candidate,
            before: before.map(|published| Arc::clone(&published.running)),
            warm: None,
            keep: match decision.kind {
                // Nobody goes back to what is known to be bad.
                DecisionKind::Restart | DecisionKind::FailOver => Keep::For(Duration::ZERO),
                _ => Keep::AsPolicy,
            },
            cell,
            force: false,
            record: None,
            when_published: Some(Arc::new(told)),
            begun: Instant::now(),
            handover: Arc::default(),
            decision: Some(decision),
            manner,
        }
    }

    /// Builds an instance of `candidate`, asks it for its health and takes it down again; whether it could serve. Holds
    /// up no transition.
    pub(crate) async fn works(
        inner: Arc<Inner>,
        cell: Arc<SlotCell>,
        candidate: Registered,
    ) -> bool {
        let _turn = Arc::clone(&cell.trial).lock_owned().await;
        if cell.is_stopped() {
            return false;
        }
        let trial = Self {
            before: None,
            warm: None,
            keep: Keep::AsPolicy,
            inner,
            cell,
            candidate,
            force: false,
            record: None,
            when_published: None,
            begun: Instant::now(),
            handover: Arc::default(),
            decision: None,
            manner: Manner::Trial,
        };
        let tried = step::catch_panic(trial.try_out()).await;
        tried.is_ok_and(|tried| tried.is_ok())
    }

    /// All steps, one after the other.
    pub(crate) async fn run(self) -> Result<SwapReport, LifecycleError> {
        self.begin();
        let prepared = match self.prepared().await {
            Ok(prepared) => self.handed_over(prepared).await,
            Err(failure) => Err(failure),
        };
        let prepared = match prepared {
            Ok(prepared) => self.recorded(prepared).await,
            Err(failure) => Err(failure),
        };
        let published = match prepared {
            Ok(prepared) => self.publish(prepared),
            Err(failure) => return self.give_up(failure),
        };
        match published {
            Ok(published) => Ok(match self.trial(&published) {
                Some(trial) => self.bake(published, trial),
                None => self.conclude(published).await,
            }),
            Err(refused) => {
                self.discard(&refused.running).await;
                self.give_up(refused.failure)
            }
        }
    }

    /// The slot is in a transition from here on, until [`Transition::publish`] or [`Transition::give_up`].
    pub(crate) fn begin(&self) {
        self.cell.ledger().step(Move::Begin, self.inner.clock.now());
        if self.manner == Manner::Plain {
            self.announce(Happening::Building {
                provider: self.candidate.provider().clone(),
            });
        }
    }

    /// The new instance, built and found healthy; or nothing is left of it.
    pub(crate) async fn prepared(&self) -> Result<Prepared, Failure> {
        // Every call into other people's code catches its own panics. What is left is the seams
        // (where settings come from, proxies); the slot's state must not get stuck because of those.
        step::catch_panic(self.prepare())
            .await
            .unwrap_or_else(|message| {
                Err(Failure::new(
                    Stage::Build,
                    "lifecycle.panicked",
                    format_args!("panicked: {message}"),
                ))
            })
            .map_err(|failure| self.inner.redact.failure(failure))
    }

    /// The old instance finishes its work and goes; then the slot's transition is over.
    pub(crate) async fn conclude(&self, published: InService) -> SwapReport {
        let mut warnings = Vec::new();
        if let Some(old) = &published.old {
            self.drain_and_retire(old, &mut warnings).await;
        }
        self.after_swap(&mut warnings).await;
        let took = self.begun.elapsed();
        let mut ledger = self.cell.ledger();
        ledger.took(took);
        if let Some(last) = warnings.last() {
            // Draining and retiring are about the old instance.
            let about = match (last.stage, &self.before) {
                (Stage::Drain | Stage::Retire, Some(before)) => &before.candidate,
                _ => &self.candidate,
            };
            ledger.fail(about, last.clone(), self.inner.clock.now());
        }
        drop(ledger);
        SwapReport {
            warnings,
            took,
            ..self.report(published.outcome)
        }
    }

    pub(crate) fn report(&self, outcome: Outcome) -> SwapReport {
        SwapReport {
            slot: self.cell.slot.clone(),
            outcome,
            from: self.from(),
            to: self.candidate.provider().clone(),
            warnings: Vec::new(),
            took: self.begun.elapsed(),
            bake: None,
            baking: None,
            handover: self.handover().clone().map(Box::new),
        }
    }

    /// Says what came of handing over state.
    pub(crate) fn note(&self, handover: HandoverReport) {
        *self.handover() = Some(handover);
    }

    fn handover(&self) -> MutexGuard<'_, Option<HandoverReport>> {
        self.handover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What serves until another instance is published.
    pub(crate) fn old(&self) -> Option<Arc<Running>> {
        self.before.clone()
    }

    /// Who served when this began.
    pub(crate) fn from(&self) -> Option<Provider> {
        let before = self.before.as_ref()?;
        Some(before.candidate.provider().clone())
    }

    /// Whether something serves that the new instance takes the place of.
    pub(crate) const fn replaces(&self) -> bool {
        self.before.is_some()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    async fn after_swap(&self, warnings: &mut Vec<Failure>) {
        for hook in &self.inner.hooks {
            let (limit, context) = (self.inner.limits().hook, self.context());
            let hook = Arc::clone(hook);
            let call = move || async move { hook.after(context).await };
            let result = step::run(limit, CancellationToken::new(), call, |_| async {}).await;
            if let Err(failure) = hook_result(Stage::AfterSwap, limit, result) {
                self.warn(failure, warnings);
            }
        }
    }

    /// Lets whoever asked for the swap write it down. What can still go wrong is asked first, for
    /// nothing that is recorded should fail.
    pub(crate) async fn recorded(&self, prepared: Prepared) -> Result<Prepared, Failure> {
        let Some(record) = &self.record else {
            return Ok(prepared);
        };
        let recorded = match self.publishable(&prepared.running) {
            Ok(()) => step::catch_panic(async { record().await }).await,
            Err(failure) => {
                self.take_down(prepared).await;
                return Err(failure);
            }
        };
        let Err(failure) = record_result(recorded) else {
            return Ok(prepared);
        };
        self.take_down(prepared).await;
        Err(failure)
    }

    /// The old instance takes calls again, and nothing is left of the new one.
    pub(crate) async fn take_down(&self, prepared: Prepared) {
        let Prepared {
            running,
            claim,
            gate,
            ..
        } = prepared;
        drop(gate);
        self.discard(&running).await;
        drop(claim);
    }

    /// Whether the new instance could be put in service now.
    pub(crate) fn publishable(&self, running: &Running) -> Result<(), Failure> {
        if self.cell.is_stopped() {
            return Err(stopped_meanwhile());
        }
        self.check_facets(running)
    }

    /// Puts the new instance in service.
    pub(crate) fn publish(&self, prepared: Prepared) -> Result<InService, Refused> {
        let next = Arc::new(Published::new(Arc::clone(&prepared.running)));
        match self.inner.put_in_service(&self.cell, next) {
            Ok(was) => Ok(self.published(prepared, was)),
            Err(rejected) => Err(Refused {
                running: prepared.running,
                failure: rejection(rejected),
            }),
        }
    }

    /// The pointer has moved: books it, and says so.
    pub(crate) fn published(&self, prepared: Prepared, was: Was) -> InService {
        let Prepared {
            running,
            claim,
            asked: Asked { report, skipped },
            gate,
        } = prepared;
        let instance = running.number;
        // Those who wait go to whoever serves now.
        drop(gate);
        // What the slot pointed at goes with this: it counts as a lease.
        let old = was
            .published
            .map(|published| Arc::clone(&published.running));
        if let Some(claim) = claim {
            claim.settle(instance);
        }
        // Whatever was on trial is not any more.
        if let Some(bake) = self.cell.take_bake() {
            bake.order(match &self.warm {
                Some(_) => Order::Taken,
                None => Order::Superseded,
            });
        }
        self.inner.dependency_exchanged(&self.cell.slot);
        if let Some(told) = &self.when_published
            && catch_unwind(AssertUnwindSafe(|| told())).is_err()
        {
            tracing::error!(slot = %self.cell.slot, "whoever waits for the publish panicked");
        }
        let decision = self.decision.clone();
        let decision = decision.map(|decision| decision.stamped(self.inner.clock.now()));
        let same = old
            .as_ref()
            .is_some_and(|old| old.candidate.provider() == self.candidate.provider());
        let best = self
            .inner
            .registry
            .resolve(&Query::new(self.cell.slot.clone()));
        let best = best.is_ok_and(|best| best.id() == self.candidate.id());
        let health = self.inner.policy_of(&self.cell.slot).health;
        let mut ledger = self.cell.ledger();
        ledger.place(decision.clone(), same, best);
        ledger.judge = Judge::of(instance);
        if let Some(HealthReport {
            health: Some(answer),
            at,
            ..
        }) = &report
        {
            ledger.judge.hear(answer, &health, Instant::now(), *at);
        }
        ledger.step(Move::Publish, self.inner.clock.now());
        ledger.attempts += 1;
        ledger.last_failure = None;
        ledger.last_error = None;
        ledger.swung_back = None;
        ledger.health = report;
        ledger.forced.clone_from(&skipped);
        ledger.swaps.forced += u64::from(skipped.is_some());
        match old {
            Some(_) => ledger.swaps.swapped += 1,
            None => ledger.swaps.activated += 1,
        }
        drop(ledger);
        self.cell.tell_of_arrival();
        self.announce(Happening::Published {
            from: self.from(),
            to: self.candidate.provider().clone(),
            instance,
            forced: skipped.clone(),
        });
        self.inner.announce_if_changed(&self.cell, &was.activity);
        if let Some(decision) = decision {
            self.inner.decide(&self.cell, decision);
        }
        self.cell.news.notify_one();
        let outcome = match skipped {
            Some(failure) => Outcome::Forced { failure },
            None => Outcome::Swapped,
        };
        InService {
            running,
            outcome,
            old,
        }
    }

    pub(crate) async fn drain_and_retire(&self, old: &Running, warnings: &mut Vec<Failure>) {
        let mut limit = self.inner.limits().drain;
        let kind = self.decision.as_ref().map(|decision| decision.kind);
        if let Some(DecisionKind::Restart | DecisionKind::FailOver) = kind {
            limit = limit.min(DRAIN_UNHEALTHY);
        }
        if let Some(failure) = self.inner.drain(&self.cell, old, limit).await {
            self.warn(failure, warnings);
        }
        let retired = self.inner.retire(old).await;
        self.inner.book_retired(&self.cell, old);
        if let Err(failure) = retired {
            self.warn(failure, warnings);
        }
    }

    /// Nothing was published: the slot is as it was before.
    pub(crate) fn give_up(&self, failure: Failure) -> Result<SwapReport, LifecycleError> {
        let result = self.end_as_before(failure);
        if let Err(error) = &result {
            let mut ledger = self.cell.ledger();
            ledger.attempts += 1;
            ledger.last_failure = Some(error.clone());
            drop(ledger);
            self.cell.news.notify_one();
        }
        result
    }

    /// As [`Transition::give_up`], and those who wait to use the slot try for themselves: it is not a failure of theirs.
    pub(crate) fn withdraw(&self, failure: Failure) {
        let _as_before = self.end_as_before(failure);
    }

    fn end_as_before(&self, failure: Failure) -> Result<SwapReport, LifecycleError> {
        let slot = self.cell.slot.clone();
        let provider = self.candidate.provider().clone();
        let at = self.inner.clock.now();
        let mut ledger = self.cell.ledger();
        ledger.step(Move::GiveUp, at);
        let told = self.manner == Manner::Plain;
        if told {
            ledger.fail(&self.candidate, failure.clone(), at);
        }
        let Some(before) = &self.before else {
            let error = LifecycleError::ActivationFailed {
                slot,
                provider: provider.clone(),
                failure: failure.clone(),
            };
            ledger.swaps.failed += u64::from(told);
            drop(ledger);
            if told {
                self.announce(Happening::ActivationFailed { provider, failure });
            }
            self.cell.news.notify_one();
            return Err(error);
        };
        ledger.swaps.rolled_back += u64::from(told);
        drop(ledger);
        let active = before.candidate.provider().clone();
        if told {
            self.announce(Happening::RolledBack {
                active: active.clone(),
                provider: provider.clone(),
                failure: failure.clone(),
            });
        }
        Ok(self.report(Outcome::RolledBack { failure }))
    }

    pub(crate) fn warn(&self, failure: Failure, warnings: &mut Vec<Failure>) {
        let failure = self.inner.redact.failure(failure);
        self.announce(Happening::Warned {
            failure: failure.clone(),
        });
        warnings.push(failure);
    }

    pub(crate) fn announce(&self, what: Happening) {
        self.inner.announce(&self.cell.slot, what);
    }

    pub(crate) fn context(&self) -> SwapContext {
        SwapContext {
            slot: self.cell.slot.clone(),
            from: self.from(),
            to: self.candidate.provider().clone(),
        }
    }
}

/// How writing down ended, as the failure of its step.
pub(crate) fn record_result(
    recorded: Result<Result<(), (&'static str, String)>, String>,
) -> Result<(), Failure> {
    match recorded {
        Ok(Ok(())) => Ok(()),
        Ok(Err((code, message))) => Err(Failure::new(Stage::Record, code, message)),
        Err(message) => Err(Failure::new(
            Stage::Record,
            "lifecycle.panicked",
            format_args!("panicked: {message}"),
        )),
    }
}

/// Why a slot did not take a new instance, as the failure of its last step.
pub(crate) fn rejection(rejected: Rejected) -> Failure {
    match rejected {
        Rejected::Stopped => stopped_meanwhile(),
        Rejected::FacetMissing(facets) => facet_missing(&facets),
    }
}

/// A new instance serves.
pub(crate) struct InService {
    pub(crate) running: Arc<Running>,
    pub(crate) outcome: Outcome,
    /// What served before, and does not any more.
    pub(crate) old: Option<Arc<Running>>,
}

/// A new instance that was not put in service after all.
pub(crate) struct Refused {
    pub(crate) running: Arc<Running>,
    pub(crate) failure: Failure,
}
