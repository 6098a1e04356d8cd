//! A new instance on trial: it serves, and the old one is kept warm to take over again.
//!
//! A bake ends in one of four ways. It **passes** when its time is over: the old instance is drained and retired. It is
//! **swung back** when probes fail or calls do worse than on the old instance: one pointer moves back, and the new one
//! is drained and retired. It is **superseded** when something else is put in service meanwhile: that stays, and the warm
//! one goes. It is **taken back** when somebody swaps to the warm one, which is then exchanged without being built.
//!
//! A bake holds no turn of the slot: whoever wants to swap can. It takes one to end, so that it never moves a pointer
//! under a transition.

mod back;
mod baking;
mod course;
mod judge;
mod status;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use oneiric_core::Provider;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cell::SlotCell;
use crate::decision::Because;
use crate::error::{Failure, Stage};
use crate::health::Health;
use crate::inner::Inner;
use crate::judge::{Counts, Judge, Judged};
use crate::report::SwapReport;
use crate::running::{Entrance, Running};
use crate::slot_policy::{BakePolicy, HealthPolicy};
use crate::status::{CallCounts, HealthReport};

pub(crate) use self::back::RecordBack;
pub use self::baking::Baking;
pub(crate) use self::baking::Held;
pub use self::status::{BakeEnd, BakeStatus};

/// Probes of one bake at the least, however rarely the slot is probed otherwise.
const PROBES: u32 = 10;
/// No shorter time from one probe to the next, however short the bake.
const SHORTEST: Duration = Duration::from_millis(50);
/// As long as the monitor asks for no probes.
const NO_INTERVAL: Duration = Duration::from_secs(10);

/// One instance on trial.
pub(crate) struct Bake {
    pub(crate) trial: Arc<Running>,
    pub(crate) warm: Arc<Running>,
    policy: BakePolicy,
    health: HealthPolicy,
    /// Whether bad answers count: not after a swap that skipped one by force.
    minds_probes: bool,
    began: SystemTime,
    /// Calls on the warm one until it was exchanged.
    before: CallCounts,
    /// Calls on the one on trial before it was (an instance can be put in service a second time).
    earlier: CallCounts,
    /// Whether what is on trial was told new settings, which the warm one knows nothing of.
    told: AtomicBool,
    progress: Mutex<Progress>,
    orders: watch::Sender<Option<Order>>,
    ended: watch::Sender<Option<SwapReport>>,
}

#[derive(Debug, Default)]
struct Progress {
    /// When its time is over; `None` while it waits to be told.
    until: Option<SystemTime>,
    probes: u32,
    bad: u32,
    judge: Judge,
}

/// What ends a bake from outside.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// What was held may be judged, or pass.
    Release,
    /// The warm one may go.
    Pass,
    /// The warm one is to serve again.
    Back(String),
    /// Something else serves: the warm one may go.
    Superseded,
    /// The warm one is somebody else's now.
    Taken,
}

/// What is to become of the instance on trial.
#[derive(Debug)]
pub(crate) enum Verdict {
    Pass,
    Back(Because),
    Superseded,
    Taken,
}

/// For how long the old instance of a swap is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// As the slot's policy says.
    AsPolicy,
    /// On trial for so long.
    For(Duration),
    /// Until somebody says so; then as the policy says.
    UntilTold,
}

impl Bake {
    pub(crate) fn new(
        trial: Arc<Running>,
        warm: Arc<Running>,
        policy: BakePolicy,
        health: HealthPolicy,
        minds_probes: bool,
        began: SystemTime,
    ) -> Self {
        Self {
            before: warm.settled_calls(),
            earlier: trial.settled_calls(),
            trial,
            warm,
            policy,
            health,
            minds_probes,
            began,
            told: AtomicBool::new(false),
            progress: Mutex::default(),
            orders: watch::Sender::new(None),
            ended: watch::Sender::new(None),
        }
    }

    /// The trial begins now.
    pub(crate) fn begins(&self, now: SystemTime) {
        self.progress().until = now.checked_add(self.policy.time);
    }

    /// What is on trial was told new settings, and its trial goes on.
    pub(crate) fn was_told(&self) {
        self.told.store(true, Ordering::Release);
    }

    /// Whether the warm one has settings of before.
    pub(crate) fn has_old_settings(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }

    /// The first order that says how it ends stands, unless somebody took the bake out of its slot: that is a fact.
    pub(crate) fn order(&self, order: Order) {
        self.orders.send_if_modified(|held| {
            let fact = matches!(order, Order::Superseded | Order::Taken);
            let open = fact || matches!(held, None | Some(Order::Release));
            if open {
                *held = Some(order);
            }
            open
        });
    }

    fn ordered(&self) -> Option<Order> {
        self.orders.borrow().clone()
    }

    pub(crate) async fn ended(&self) -> SwapReport {
        let mut ended = self.ended.subscribe();
        match ended.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(report)) => report.clone(),
            // The sender is in the bake, which is here; and it was waited for.
            _ => unreachable!("a bake outlives those who wait for it"),
        }
    }

    pub(crate) fn end(&self, report: SwapReport) {
        self.ended.send_replace(Some(report));
    }

    /// Waits for the end of the trial and says how it ends; `held`: not before it is told to begin.
    pub(crate) async fn verdict(&self, inner: &Arc<Inner>, cell: &SlotCell, held: bool) -> Verdict {
        let mut probes = JoinSet::new();
        let verdict = self.watch(inner, cell, held, &mut probes).await;
        // One that answers still holds its entrance: it ends by itself, within the limit of a probe.
        probes.detach_all();
        verdict
    }

    async fn watch(
        &self,
        inner: &Arc<Inner>,
        cell: &SlotCell,
        held: bool,
        probes: &mut JoinSet<Option<HealthReport>>,
    ) -> Verdict {
        let mut orders = self.orders.subscribe();
        if held {
            loop {
                let order = orders.borrow_and_update().clone();
                match order {
                    Some(Order::Release) => break,
                    Some(order) => return order.into(),
                    None => self.told(&mut orders).await,
                }
            }
        }
        if self.policy.time.is_zero() {
            return Verdict::Pass;
        }
        if held {
            self.begins(inner.clock.now());
        }
        let over = Instant::now() + self.policy.time;
        let mut ticks = tokio::time::interval_at(Instant::now() + self.interval(), self.interval());
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            match orders.borrow_and_update().clone() {
                None | Some(Order::Release) => {}
                Some(order) => return order.into(),
            }
            if let Some(because) = judge::judge(self.calls(cell), self.before, &self.policy) {
                return Verdict::Back(because);
            }
            tokio::select! {
                biased;
                () = self.told(&mut orders) => {}
                Some(answer) = probes.join_next() => {
                    if let Ok(Some(report)) = answer
                        && let Some(because) = self.answered(&report) {
                            return Verdict::Back(because);
                    }
                }
                () = self.trial.failed_calls.bake.notified() => {}
                () = tokio::time::sleep_until(over) => {
                    let judged = judge::judge(self.calls(cell), self.before, &self.policy);
                    return judged.map_or(Verdict::Pass, Verdict::Back);
                }
                _ = ticks.tick() => if probes.is_empty()
                    && let Some(entrance) = self.enter(cell) {
                        let inner = Arc::clone(inner);
                        probes.spawn(async move { inner.ask(&entrance.running).await });
                },
            }
        }
    }

    /// Counted like a call, so that the instance is not retired while it answers; `None` when it does not serve.
    fn enter(&self, cell: &SlotCell) -> Option<Arc<Entrance>> {
        let published = cell.published()?;
        (published.running.number == self.trial.number).then(|| published.enter(0))
    }

    async fn told(&self, orders: &mut watch::Receiver<Option<Order>>) {
        if orders.changed().await.is_err() {
            // The sender is in the bake, which is here.
            std::future::pending::<()>().await;
        }
    }

    fn interval(&self) -> Duration {
        let usual = match self.health.interval {
            Duration::ZERO => NO_INTERVAL,
            usual => usual,
        };
        usual.min(self.policy.time / PROBES).max(SHORTEST)
    }

    /// Takes an answer down; says whether it was one bad answer too many.
    fn answered(&self, report: &HealthReport) -> Option<Because> {
        let health = report.health.as_ref()?;
        if matches!(health, Health::NotAsked(_)) {
            return None;
        }
        let mut progress = self.progress();
        progress.probes += 1;
        let judge = &mut progress.judge;
        let counts = judge.hear(health, &self.health, Instant::now(), report.at);
        let judged = judge.judged();
        let because = judge.because();
        progress.bad += u32::from(counts == Counts::Bad);
        because.filter(|_| self.minds_probes && judged == Judged::Unhealthy)
    }

    /// Calls on the instance on trial since it is.
    fn calls(&self, cell: &SlotCell) -> CallCounts {
        let serving = cell
            .published()
            .filter(|published| published.running.number == self.trial.number)
            .map(|published| published.calls())
            .unwrap_or_default();
        self.trial.settled_calls() + serving - self.earlier
    }

    pub(crate) fn status(&self, cell: &SlotCell) -> BakeStatus {
        let (until, probes, bad_probes) = {
            let progress = self.progress();
            (progress.until, progress.probes, progress.bad)
        };
        BakeStatus {
            provider: self.trial.candidate.provider().clone(),
            instance: self.trial.number,
            warm: self.warm.candidate.provider().clone(),
            warm_instance: self.warm.number,
            since: self.began,
            until,
            calls: self.calls(cell),
            calls_before: self.before,
            min_calls: self.policy.min_calls.get(),
            error_percent: self.policy.error_percent,
            panic_percent: self.policy.panic_percent,
            probes,
            bad_probes,
            ended: None,
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Bake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bake")
            .field("trial", &self.trial)
            .field("warm", &self.warm)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl From<Order> for Verdict {
    fn from(order: Order) -> Self {
        match order {
            Order::Release | Order::Pass => Self::Pass,
            Order::Back(why) => Self::Back(Because::Asked { why }),
            Order::Superseded => Self::Superseded,
            Order::Taken => Self::Taken,
        }
    }
}

/// A bake that went wrong, as the failure of its swap.
pub(crate) fn failed(because: &Because, provider: &Provider) -> Failure {
    Failure::new(Stage::Bake, "lifecycle.bake_failed", because.of(provider))
}
