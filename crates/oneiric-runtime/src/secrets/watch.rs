//! Looks at secrets in use again when they are too old, and gives those that changed to whoever uses them.
//!
//! Who is to be told is not what somebody noticed but what the books say: an instance that serves with a value that is
//! not the newest. So it does not matter who fetched the new one, nothing is told twice, and what could not be done
//! (the slot is paused, the new instance was rolled back) is still to be done next time.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use oneiric_core::{Provider, Slot};
use oneiric_domains::{SecretError, SecretRef};
use oneiric_lifecycle::{
    Activity, Happening, Lifecycle, LifecycleError, Reconfigured, SlotState, Streamed, SwapEvent,
};
use tokio::{task::JoinSet, time::Instant};

use super::{Secrets, references::named};

/// How long nobody looks where no secret is in use yet.
const IDLE: Duration = Duration::from_secs(60);
/// What could not be done is tried again after this time.
const AGAIN: Duration = Duration::from_secs(300);

/// Who wants components told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Telling {
    /// Somebody who asked for it: slots that are paused or draining too.
    Asked,
    /// Nobody: those wait until they are resumed.
    ByItself,
}

/// A secret that was fetched anew, and whether it is another one than before.
pub(crate) type Renewed = (SecretRef, Result<bool, SecretError>);

/// What came of telling one slot.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) slot: Slot,
    pub(crate) provider: Provider,
    pub(crate) result: Result<Reconfigured, LifecycleError>,
}

impl Secrets {
    /// Gives every instance that serves with an old value the newest. Cancel-safe: what was begun goes on.
    async fn tell(&self, lifecycle: &Lifecycle, telling: Telling) -> Vec<Told> {
        let _turn = self.telling.lock().await;
        self.tell_in_turn(lifecycle, telling).await
    }

    /// Fetches secrets now, and gives what changed to whoever uses it. Nobody else tells anybody meanwhile, so what was
    /// told is all here. Cancel-safe: what was begun goes on.
    pub(crate) async fn rotate(
        &self,
        lifecycle: &Lifecycle,
        references: Vec<SecretRef>,
    ) -> (Vec<Renewed>, Vec<Told>) {
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
        let told = self.tell_in_turn(lifecycle, Telling::Asked).await;
        (renewed, told)
    }

    async fn tell_in_turn(&self, lifecycle: &Lifecycle, telling: Telling) -> Vec<Told> {
        let mut tellings = JoinSet::new();
        for (slot, provider) in self.outdated(lifecycle, telling) {
            let lifecycle = lifecycle.clone();
            tellings.spawn(async move {
                let result = lifecycle.reconfigure(&slot).await;
                Told {
                    slot,
                    provider,
                    result,
                }
            });
        }
        let mut told = tellings.join_all().await;
        told.sort_by(|left, right| left.slot.cmp(&right.slot));
        for told in &told {
            told.log();
        }
        told
    }

    fn outdated(&self, lifecycle: &Lifecycle, telling: Telling) -> Vec<(Slot, Provider)> {
        let statuses = lifecycle.statuses().into_iter();
        let outdated = statuses.filter_map(|status| {
            let provider = status.active?.provider;
            let serves = matches!(status.state, SlotState::Active | SlotState::Swapping);
            let may = telling == Telling::Asked || status.activity.activity == Activity::Running;
            let outdated = || self.users.is_outdated(&status.slot, &provider, &self.store);
            (serves && may && outdated()).then(|| (status.slot.clone(), provider.clone()))
        });
        outdated.collect()
    }

    /// Runs until it is dropped.
    pub(crate) async fn watch(&self, lifecycle: &Lifecycle) {
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
            self.tell(lifecycle, Telling::ByItself).await;
            let left = self.outdated(lifecycle, Telling::ByItself);
            again = (!left.is_empty()).then(|| Instant::now() + AGAIN);
        }
    }

    /// When the next secret in use is too old, a little earlier than that and not all at once.
    fn next_look(&self, again: Option<Instant>) -> Instant {
        let ttl = self.settings.load().secrets.ttl;
        let due = self.in_use().into_iter().filter_map(|reference| {
            let due = self.store.due(&reference, ttl)?;
            Some(due.checked_sub(early(ttl)).unwrap_or(due))
        });
        let idle = Instant::now() + IDLE;
        // Never at once and again: a time to live of nothing must not keep a thread busy.
        let soonest = Instant::now() + Duration::from_millis(100);
        due.chain(again).min().unwrap_or(idle).clamp(soonest, idle)
    }

    async fn renew_due(&self) {
        let ttl = self.settings.load().secrets.ttl;
        let horizon = Instant::now() + ttl / 10;
        let mut renewals = JoinSet::new();
        for reference in self.in_use() {
            let due = self.store.due(&reference, ttl);
            if due.is_some_and(|due| due <= horizon) {
                let store = Arc::clone(&self.store);
                // Logged where it fails.
                renewals.spawn(async move { store.renew(&reference).await.is_ok() });
            }
        }
        renewals.join_all().await;
    }

    /// Whether something may have to be told after it: a slot takes work again, or an instance was put in service that
    /// was given its secrets before there were newer ones.
    fn matters(&self, event: &SwapEvent) -> bool {
        match &event.what {
            Happening::ActivityChanged { .. } => true,
            Happening::Published { to, .. } => self.users.is_outdated(&event.slot, to, &self.store),
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

/// Up to a tenth of `ttl`, another each time.
fn early(ttl: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1_000;
    let share = u32::try_from(random).unwrap_or_default();
    ttl / 10 * share / 1_000
}

impl Told {
    fn log(&self) {
        let (slot, provider) = (&self.slot, &self.provider);
        match &self.result {
            Ok(Reconfigured::Told) => {
                tracing::info!(%slot, %provider, "took a new secret");
            }
            Ok(Reconfigured::Swapped(report)) if report.serves() => {
                tracing::info!(%slot, %provider, "exchanged for a new secret");
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
