//! A new instance on trial: it serves, and the old one is kept warm to take over again.
//!
//! A bake ends in one of four ways. It **passes** when its time is over: the old instance is drained and retired. It is
//! **swung back** when probes fail or calls do worse than on the old instance: one pointer moves back, and the new one
//! is drained and retired. It is **superseded** when something else is put in service meanwhile, or what serves is given
//! new settings: what serves then stays, and the warm one goes. It is **taken back** when somebody swaps to the warm one,
//! which is then exchanged without being built.
//!
//! A bake holds no turn of the slot: whoever wants to swap can. It takes one to end, so that it never moves a pointer
//! under a transition.

mod course;
mod judge;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use oneiric_core::Provider;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cell::SlotCell;
use crate::decision::Because;
use crate::error::{Failure, Stage};
use crate::health::Health;
use crate::inner::Inner;
use crate::report::SwapReport;
use crate::running::Running;
use crate::slot_policy::{BakePolicy, HealthPolicy};
use crate::status::{CallCounts, HealthReport, unix_ms};

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
    progress: Mutex<Progress>,
    orders: watch::Sender<Option<Order>>,
    ended: watch::Sender<Option<SwapReport>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// When its time is over; `None` while it waits to be told.
    until: Option<SystemTime>,
    probes: u32,
    bad: u32,
    in_a_row: u32,
    first_bad: Option<SystemTime>,
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

/// A bake, as told by `status` and by the report of its swap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BakeStatus {
    /// Whose instance is on trial.
    pub provider: Provider,
    /// Its number.
    pub instance: u64,
    /// Whose instance is kept warm.
    pub warm: Provider,
    /// Its number.
    pub warm_instance: u64,
    /// Since when.
    #[serde(rename = "since_unix_ms", serialize_with = "unix_ms::plain")]
    pub since: SystemTime,
    /// When it is over if nothing goes wrong; absent while the old instance is kept until somebody lets it go.
    #[serde(rename = "until_unix_ms", serialize_with = "unix_ms::option")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<SystemTime>,
    /// Calls that ended on the instance on trial.
    pub calls: CallCounts,
    /// Calls that ended on the warm one before it was exchanged.
    pub calls_before: CallCounts,
    /// So many calls must have ended before their share is looked at.
    pub min_calls: u32,
    /// By so many points the share of failed calls may be above the one before, in percent.
    pub error_percent: u8,
    /// The share of calls that may panic, in percent.
    pub panic_percent: u8,
    /// Probes that were answered.
    pub probes: u32,
    /// Of those, bad answers.
    pub bad_probes: u32,
    /// How it ended; absent while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<BakeEnd>,
}

/// How a bake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BakeEnd {
    /// Its time was over and nothing was wrong.
    Passed,
    /// The old instance serves again.
    SwungBack,
    /// Something else was put in service meanwhile, or what serves was given new settings.
    Superseded,
}

impl BakeEnd {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Passed, Self::SwungBack, Self::Superseded];

    /// The name as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::SwungBack => "swung_back",
            Self::Superseded => "superseded",
        }
    }
}

/// A swap whose old instance is still warm: to wait for its end, or to end it. Cheap to clone.
///
/// Dropping it changes nothing about a trial. An old instance that was to be
/// [kept until told](crate::SwapRequest::keep_old) is released when nobody is left who could tell.
#[derive(Clone)]
pub struct Baking {
    pub(crate) bake: Arc<Bake>,
    pub(crate) cell: Arc<SlotCell>,
    /// Kept for what it does when the last goes.
    pub(crate) _held: Option<Arc<Held>>,
}

/// Whoever is to say what becomes of an instance that is kept until told.
pub(crate) struct Held(pub(crate) Arc<Bake>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.order(Order::Release);
    }
}

impl Baking {
    /// How it stands.
    pub fn status(&self) -> BakeStatus {
        self.bake.status(&self.cell)
    }

    /// Returns what became of the swap, when that is known and whatever had to go is retired. Cancel-safe.
    pub async fn ended(&self) -> SwapReport {
        self.bake.ended().await
    }

    /// Ends the time in which the old instance is kept until somebody says so: if the slot's policy asks for a bake it
    /// begins now, else the old instance is drained and retired. Does nothing to a bake that has begun.
    pub fn release(&self) {
        self.bake.order(Order::Release);
    }

    /// Ends the trial, or the time in which the old instance is kept: that is drained and retired. Wait for
    /// [`Baking::ended`] to know that it is.
    pub fn let_go(&self) {
        self.bake.order(Order::Pass);
    }

    /// Has the old instance serve again, for a reason in words, unless the bake has ended. Wait for
    /// [`Baking::ended`] to know.
    pub fn swing_back(&self, why: impl Into<String>) {
        self.bake.order(Order::Back(why.into()));
    }
}

impl fmt::Debug for Baking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Baking").field(&self.status()).finish()
    }
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
            progress: Mutex::default(),
            orders: watch::Sender::new(None),
            ended: watch::Sender::new(None),
        }
    }

    /// The trial begins now.
    pub(crate) fn begins(&self, now: SystemTime) {
        self.progress().until = now.checked_add(self.policy.time);
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
        let mut probes = JoinSet::new();
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
                        && let Some(because) = self.answered(report, inner.clock.now()) {
                            return Verdict::Back(because);
                    }
                }
                () = self.trial.failed_calls.bake.notified() => {}
                () = tokio::time::sleep_until(over) => {
                    let judged = judge::judge(self.calls(cell), self.before, &self.policy);
                    return judged.map_or(Verdict::Pass, Verdict::Back);
                }
                _ = ticks.tick() => if probes.is_empty() {
                    let (inner, trial) = (Arc::clone(inner), Arc::clone(&self.trial));
                    probes.spawn(async move { inner.ask(&trial).await });
                },
            }
        }
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
    fn answered(&self, report: HealthReport, now: SystemTime) -> Option<Because> {
        let health = report.health?;
        if matches!(health, Health::NotAsked(_)) {
            return None;
        }
        let mut progress = self.progress();
        progress.probes += 1;
        if health.may_serve() {
            progress.in_a_row = 0;
            progress.first_bad = None;
            return None;
        }
        progress.bad += 1;
        progress.in_a_row += 1;
        let since = *progress.first_bad.get_or_insert(now);
        // One that says that it will be back has the time that the policy gives it.
        let waits = matches!(health, Health::TemporarilyUnavailable(_))
            && now.duration_since(since).unwrap_or_default() < self.health.grace;
        let too_many = progress.in_a_row >= self.health.bad.get();
        (self.minds_probes && too_many && !waits).then_some(Because::Probes {
            failed: progress.in_a_row,
            last: health,
            since,
            at: now,
        })
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
        let progress = *self.progress();
        BakeStatus {
            provider: self.trial.candidate.provider().clone(),
            instance: self.trial.number,
            warm: self.warm.candidate.provider().clone(),
            warm_instance: self.warm.number,
            since: self.began,
            until: progress.until,
            calls: self.calls(cell),
            calls_before: self.before,
            min_calls: self.policy.min_calls.get(),
            error_percent: self.policy.error_percent,
            panic_percent: self.policy.panic_percent,
            probes: progress.probes,
            bad_probes: progress.bad,
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
