//! Looks at secrets in use again when they are too old, and gives those that changed to whoever uses them.
//!
//! Who is to be told is not what somebody noticed but what the books say: an instance that serves with a value that is
//! not the newest. So it does not matter who fetched the new one, nothing is told twice, and what could not be done
//! (the slot is paused, the new instance was rolled back) is still to be done next time.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use oneiric_core::{Coded, Provider, Slot};
use oneiric_domains::{SecretError, SecretRef};
use oneiric_lifecycle::{
    Activity, DecisionKind, Happening, Lifecycle, LifecycleError, Outcome, Reconfigured, SlotState,
    SlotStatus, Streamed, SwapEvent,
};
use tokio::{task::JoinSet, time::Instant};

use super::{
    Reached, Rotations, Secrets,
    references::{meant, named},
    store::Due,
    users::AGAIN,
};
use crate::{api::ProcessEvent, settings::Settings, turns::Turns};

/// How long nobody looks where no secret is in use yet.
const IDLE: Duration = Duration::from_secs(60);
/// For how long a rotation waits for those who were given an old value and do not serve with it yet.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Who wants components told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Telling {
    /// Somebody who asked for it: slots that are paused or draining too.
    Asked,
    /// Nobody: those wait until they are resumed.
    ByItself,
}

/// An instance that serves with an old value.
#[derive(Debug)]
struct Outdated {
    slot: Slot,
    provider: Provider,
    instance: u64,
    /// The number of the newest value that it has not got.
    newest: u64,
}

/// A secret that was fetched anew, and whether it is another one than when that was asked for.
pub(crate) type Renewed = (SecretRef, Result<bool, SecretError>);

/// What came of a rotation.
#[derive(Debug)]
pub(crate) struct Rotated {
    pub(crate) renewed: Vec<Renewed>,
    /// Who was told by it.
    pub(crate) told: Vec<Told>,
    /// Who got a newer value since it was asked for, from whomever.
    pub(crate) reached: Vec<Reached>,
}

/// What came of telling one slot.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) slot: Slot,
    pub(crate) provider: Provider,
    pub(crate) result: Result<Reconfigured, LifecycleError>,
}

impl Secrets {
    /// Gives every instance that serves with an old value the newest. Cancel-safe: what was begun goes on.
    async fn tell(&self, lifecycle: &Lifecycle, turns: &Turns, telling: Telling) {
        let _turn = self.telling.lock().await;
        self.renew_keys(lifecycle);
        let these = self.to_tell(lifecycle, telling);
        self.tell_these(lifecycle, turns, telling, these).await;
    }

    /// Fetches secrets now, and gives what changed to whoever uses it.
    ///
    /// Others may notice a change meanwhile and tell of it first; whoever asked hears of all that happened since, so
    /// that a secret which is told as changed always comes with those whom the change reached. Somebody who is being
    /// built with the old value is waited for, and told then. Cancel-safe: what was begun goes on.
    pub(crate) async fn rotate(
        &self,
        lifecycle: &Lifecycle,
        turns: &Turns,
        references: Vec<SecretRef>,
    ) -> Rotated {
        // In this order: a change that comes in between counts as older, and who it reached is told all the same.
        let mark = self.users.mark();
        let before: BTreeMap<SecretRef, u64> = references
            .iter()
            .map(|reference| (reference.clone(), self.store.version(reference)))
            .collect();
        let _turn = self.telling.lock().await;
        let mut renewals = JoinSet::new();
        for reference in references {
            let store = Arc::clone(&self.store);
            renewals.spawn(async move {
                let renewed = store.renew(&reference).await;
                (reference, renewed)
            });
        }
        let mut renewed = renewals.join_all().await;
        renewed.sort_by(|(left, _), (right, _)| left.cmp(right));
        let renewed = renewed.into_iter().map(|(reference, renewed)| {
            let was = before.get(&reference).copied().unwrap_or_default();
            let changed = was > 0 && self.store.version(&reference) > was;
            (reference, renewed.map(|_| changed))
        });
        let renewed: Vec<Renewed> = renewed.collect();
        for (_, renewed) in &renewed {
            self.rotations.count(renewed);
        }
        let told = self.tell_everybody(lifecycle, turns).await;
        let reached = self.users.since(mark);
        Rotated {
            renewed,
            told,
            reached,
        }
    }

    /// Has instances by key that were handed an old value exchanged when they are next asked for.
    fn renew_keys(&self, lifecycle: &Lifecycle) {
        for slot in self.users.keys_with_old(&self.store) {
            lifecycle.settings_changed(&slot);
        }
    }

    /// Tells whoever serves with an old value, and whoever is about to. Each once.
    async fn tell_everybody(&self, lifecycle: &Lifecycle, turns: &Turns) -> Vec<Told> {
        let mut events = lifecycle.events();
        let until = Instant::now() + ATTEMPT;
        let mut all: Vec<Told> = Vec::new();
        loop {
            // First this: whoever is not about to serve with an old value by now either does so, or never will.
            let more_may_come = self.users.is_tried_with_old(&self.store);
            self.renew_keys(lifecycle);
            let mut outdated = self.to_tell(lifecycle, Telling::Asked);
            outdated.retain(|one| all.iter().all(|told| told.slot != one.slot));
            all.extend(
                self.tell_these(lifecycle, turns, Telling::Asked, outdated)
                    .await,
            );
            if !more_may_come {
                break;
            }
            let Ok(Some(_)) = tokio::time::timeout_at(until, events.next()).await else {
                break;
            };
        }
        all.sort_by(|left, right| left.slot.cmp(&right.slot));
        all
    }

    /// Tells these, each in its slot's turn.
    async fn tell_these(
        &self,
        lifecycle: &Lifecycle,
        turns: &Turns,
        telling: Telling,
        these: Vec<Outdated>,
    ) -> Vec<Told> {
        let mut tellings = Vec::new();
        for Outdated { slot, .. } in these {
            let (secrets, lifecycle) = (self.clone(), lifecycle.clone());
            let turn = turns.of(&slot);
            tellings.push(tokio::spawn(async move {
                // What is handed out must not be what a reload under way may take back.
                let _mine = turn.lock_owned().await;
                secrets.tell_slot(&lifecycle, &slot, telling).await
            }));
        }
        let mut told = Vec::new();
        for telling in tellings {
            match telling.await {
                Ok(one) => told.extend(one),
                Err(error) => tracing::error!(%error, "telling a slot of its secrets failed"),
            }
        }
        told.sort_by(|left, right| left.slot.cmp(&right.slot));
        for told in &told {
            told.log();
            if let Some(event) = told.event() {
                self.store.events.say(Some(&told.slot), event);
            }
        }
        told
    }

    /// Tells one slot, unless there is no need any more now that it is its turn.
    async fn tell_slot(
        &self,
        lifecycle: &Lifecycle,
        slot: &Slot,
        telling: Telling,
    ) -> Option<Told> {
        let status = lifecycle.status(slot)?;
        let Outdated {
            slot,
            provider,
            instance,
            newest,
        } = self.outdated(&status, telling)?;
        let result = match telling {
            Telling::Asked => lifecycle.reconfigure(&slot).await,
            Telling::ByItself => lifecycle.renew(&slot, instance).await,
        };
        let told = Told {
            slot,
            provider,
            result,
        };
        if !told.is_well() {
            let again = Instant::now() + AGAIN;
            self.users.refused(instance, newest, again);
            let on_trial = matches!(told.result, Ok(Reconfigured::OnTrial));
            // The trial may have ended before it was noted that it is waited for.
            if on_trial && lifecycle.baking(&told.slot).is_none() {
                self.users.try_again(instance);
            }
        }
        Some(told)
    }

    /// Who serves with an old value and may be told.
    fn all_outdated(&self, lifecycle: &Lifecycle, telling: Telling) -> Vec<Outdated> {
        let statuses = lifecycle.statuses().into_iter();
        statuses
            .filter_map(|status| self.outdated(&status, telling))
            .collect()
    }

    /// Those of them that are to be told now: what was refused is not tried over and over.
    fn to_tell(&self, lifecycle: &Lifecycle, telling: Telling) -> Vec<Outdated> {
        let now = Instant::now();
        let mut outdated = self.all_outdated(lifecycle, telling);
        if telling == Telling::ByItself {
            outdated.retain(|one| self.not_before(one).is_none_or(|until| until <= now));
        }
        outdated
    }

    fn outdated(&self, status: &SlotStatus, telling: Telling) -> Option<Outdated> {
        let active = status.active.as_ref()?;
        let (provider, instance) = (active.provider.clone(), active.instance);
        let serves = matches!(status.state, SlotState::Active | SlotState::Swapping);
        let may = telling == Telling::Asked || status.activity.activity == Activity::Running;
        if !serves || !may {
            return None;
        }
        let newest = self.newest_missing(&status.slot, &provider, instance)?;
        let slot = status.slot.clone();
        Some(Outdated {
            slot,
            provider,
            instance,
            newest,
        })
    }

    fn newest_missing(&self, slot: &Slot, provider: &Provider, instance: u64) -> Option<u64> {
        let named = named_by(&self.settings.load(), slot, provider);
        self.users.outdated(instance, &named, &self.store)
    }

    fn not_before(&self, one: &Outdated) -> Option<Instant> {
        self.users.not_before(one.instance, one.newest)
    }

    /// Runs until it is dropped.
    pub(crate) async fn watch(&self, lifecycle: &Lifecycle, turns: &Turns) {
        let mut events = lifecycle.events();
        let mut again = None;
        loop {
            let look = self.next_look(again);
            tokio::select! {
                () = tokio::time::sleep_until(look) => self.renew_due().await,
                () = self.store.changed.notified() => {}
                event = events.next() => match event {
                    Some(Streamed::Event(event)) if !self.matters(&event) => continue,
                    Some(_) => {}
                    None => return,
                },
            }
            self.tell(lifecycle, turns, Telling::ByItself).await;
            let left = self.all_outdated(lifecycle, Telling::ByItself).into_iter();
            again = left.filter_map(|one| self.not_before(&one)).min();
        }
    }

    /// When the next secret in use is too old, a little earlier than that and not all at once.
    fn next_look(&self, again: Option<Instant>) -> Instant {
        let ttl = self.settings.load().secrets.ttl;
        let due = self.in_use().into_iter().filter_map(|reference| {
            Some(match self.store.due(&reference, ttl)? {
                Due::Old(at) => at.checked_sub(early(ttl)).unwrap_or(at),
                Due::Failed(at) => at,
            })
        });
        let idle = Instant::now() + IDLE;
        // Never at once and again: a time to live of nothing must not keep a thread busy.
        let soonest = Instant::now() + Duration::from_millis(100);
        due.chain(again).min().unwrap_or(idle).clamp(soonest, idle)
    }

    async fn renew_due(&self) {
        let ttl = self.settings.load().secrets.ttl;
        let now = Instant::now();
        let mut renewals = JoinSet::new();
        for reference in self.in_use() {
            let is_due = match self.store.due(&reference, ttl) {
                // Those that come soon are looked at together.
                Some(Due::Old(at)) => at <= now + ttl / 10,
                Some(Due::Failed(at)) => at <= now,
                None => false,
            };
            if is_due {
                let store = Arc::clone(&self.store);
                // Logged where it fails.
                renewals.spawn(async move { store.renew(&reference).await.is_ok() });
            }
        }
        renewals.join_all().await;
    }

    /// Whether something may have to be told after it: a slot takes work again, an instance was put in service that was
    /// given its secrets before there were newer ones, or what such a one waited for is over.
    fn matters(&self, event: &SwapEvent) -> bool {
        let is_outdated = |provider: &Provider, instance: u64| {
            self.newest_missing(&event.slot, provider, instance)
                .is_some()
        };
        match &event.what {
            Happening::ActivityChanged { .. } => true,
            Happening::Published { to, instance, .. } => is_outdated(to, *instance),
            Happening::BakeEnded { bake } => is_outdated(&bake.provider, bake.instance),
            Happening::Decided { decision } => decision.kind == DecisionKind::SwingBack,
            _ => false,
        }
    }

    fn in_use(&self) -> BTreeSet<SecretRef> {
        let settings = self.settings.load();
        named(&settings)
            .into_iter()
            .map(|one| one.reference)
            .collect()
    }
}

/// The secrets that the settings of one provider name.
fn named_by(settings: &Settings, slot: &Slot, provider: &Provider) -> BTreeSet<SecretRef> {
    let configured = settings.configured(slot, provider);
    let meant = configured.map(meant).unwrap_or_default();
    meant
        .into_iter()
        .filter_map(|meant| meant.text.parse().ok())
        .collect()
}

impl Rotations {
    fn count(&self, renewed: &Result<bool, SecretError>) {
        let counter = match renewed {
            Ok(true) => &self.changed,
            Ok(false) => &self.unchanged,
            Err(_) => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Up to a tenth of `ttl`, another each time.
fn early(ttl: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1_000;
    let share = u32::try_from(random).unwrap_or_default();
    ttl / 10 * share / 1_000
}

impl Told {
    /// Whether whoever serves has what is newest now.
    fn is_well(&self) -> bool {
        match &self.result {
            Ok(Reconfigured::Swapped(report)) => report.serves(),
            Ok(Reconfigured::OnTrial) | Err(_) => false,
            Ok(_) => true,
        }
    }

    /// What came of it in one word, and why it failed; nothing where nobody is to be told any more.
    pub(crate) fn outcome(&self) -> (&'static str, Option<(&'static str, String)>) {
        match &self.result {
            Ok(Reconfigured::Told) => ("told", None),
            Ok(Reconfigured::Swapped(report)) => match &report.outcome {
                Outcome::RolledBack { failure } => {
                    ("failed", Some((failure.code, failure.to_string())))
                }
                _ => ("exchanged", None),
            },
            Ok(_) => ("inactive", None),
            Err(error) => ("failed", Some((error.code(), error.to_string()))),
        }
    }

    fn event(&self) -> Option<ProcessEvent> {
        let (outcome, error) = self.outcome();
        (outcome != "inactive").then(|| ProcessEvent::SecretTold {
            provider: self.provider.clone(),
            outcome: outcome.to_owned(),
            code: error.map(|(code, _)| code.to_owned()),
        })
    }

    fn log(&self) {
        let (slot, provider) = (&self.slot, &self.provider);
        match &self.result {
            Ok(Reconfigured::Told) => {
                tracing::info!(%slot, %provider, "took a new secret");
            }
            Ok(Reconfigured::Swapped(report)) if report.serves() => {
                tracing::info!(%slot, %provider, "exchanged for a new secret");
            }
            Ok(Reconfigured::OnTrial) => {
                tracing::info!(%slot, %provider, "a new secret waits for the end of its trial");
            }
            // The swap that was rolled back is in the log; nothing serves, nobody to tell.
            Ok(_) => {}
            Err(error) => {
                let reason = error.to_string();
                tracing::warn!(%slot, %provider, reason, "not told of a new secret");
            }
        }
    }
}
