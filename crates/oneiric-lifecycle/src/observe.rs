//! What happened to a slot, told to observers in the process and to streams.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use oneiric_core::{Provider, Slot};
use serde::Serialize;
use tokio::sync::broadcast;

use crate::activity::{Activity, ActivityScope};
use crate::bake::BakeStatus;
use crate::decision::Decision;
use crate::error::Failure;
use crate::health::Health;
use crate::status::unix_ms;
use crate::work::Held;

/// Something that happened to a slot.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SwapEvent {
    /// The slot.
    pub slot: Slot,
    /// Which of the slot's instances by key it is about; absent for the one that serves the slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When.
    #[serde(rename = "at_unix_ms", serialize_with = "unix_ms::plain")]
    pub at: SystemTime,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// What happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Happening {
    /// An instance is being built.
    Building {
        /// Whose.
        provider: Provider,
    },
    /// An instance answered a probe.
    Probed {
        /// Whose.
        provider: Provider,
        /// Its number.
        instance: u64,
        /// What it said.
        #[serde(flatten)]
        health: Health,
    },
    /// An instance was put in service.
    Published {
        /// Who served before.
        from: Option<Provider>,
        /// Who serves now.
        to: Provider,
        /// The new instance's number.
        instance: u64,
        /// The probe that was skipped by force.
        #[serde(skip_serializing_if = "Option::is_none")]
        forced: Option<Failure>,
    },
    /// A new instance has the state of the one that served, and is put in service next.
    HandedOver {
        /// Who served.
        from: Provider,
        /// Who is to serve.
        to: Provider,
        /// The new instance's number.
        instance: u64,
        /// What the state was, as in `oneiric.cache/1`.
        format: String,
        /// Its size.
        bytes: u64,
        /// For how long new calls have waited at most.
        #[serde(rename = "blocked_us", serialize_with = "crate::status::micros")]
        blocked: Duration,
    },
    /// A new instance is on trial, and the old one kept warm.
    BakeBegan {
        /// How it stands.
        bake: Box<BakeStatus>,
    },
    /// A bake is over.
    BakeEnded {
        /// How it stood.
        bake: Box<BakeStatus>,
    },
    /// An instance that nobody is let in to any more still has work. Told once a second while it is waited
    /// for; with none in flight when that has ended, if it was told before.
    Draining {
        /// Whose.
        provider: Provider,
        /// Its number.
        instance: u64,
        /// Leases that are out, and what is known of them.
        #[serde(flatten)]
        held: Held,
        /// How much longer it is waited for.
        #[serde(rename = "left_ms", serialize_with = "crate::status::millis")]
        left: Duration,
    },
    /// The old instance still had work when its time was up.
    DrainAbandoned {
        /// Whose.
        provider: Provider,
        /// Its number.
        instance: u64,
        /// Leases that were still out, and what is known of them.
        #[serde(flatten)]
        held: Held,
    },
    /// An instance is gone.
    Retired {
        /// Whose.
        provider: Provider,
        /// Its number.
        instance: u64,
    },
    /// A swap failed and the old instance serves on.
    RolledBack {
        /// Who serves on.
        active: Provider,
        /// Who was to serve.
        provider: Provider,
        /// Where and why.
        failure: Failure,
    },
    /// An activation failed and nothing serves.
    ActivationFailed {
        /// Who was to serve.
        provider: Provider,
        /// Where and why.
        failure: Failure,
    },
    /// Something failed after the new instance was in service; it stays.
    Warned {
        /// Where and why.
        failure: Failure,
    },
    /// An instance took new settings and serves on.
    Reconfigured {
        /// Whose.
        provider: Provider,
        /// Its number.
        instance: u64,
    },
    /// The instance that serves was told that the slot takes no work, and has stopped what it does by
    /// itself.
    InstancePaused {
        /// Whose.
        provider: Provider,
        /// Its number.
        instance: u64,
    },
    /// The instance that serves was told that the slot is going to take work again.
    InstanceResumed {
        /// Whose.
        provider: Provider,
        /// Its number.
        instance: u64,
    },
    /// Something was said about the slot's activity, or a swap changed which rule holds. What is said
    /// about a domain is told to each of its slots.
    ActivityChanged {
        /// What was paused, drained or resumed; after a swap, the scope whose rule holds now or held
        /// before.
        scope: ActivityScope,
        /// Whether the slot takes work now, after all rules that apply to it.
        activity: Activity,
        /// Why, in the operator's words.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        /// Who said so.
        #[serde(skip_serializing_if = "Option::is_none")]
        who: Option<String>,
        /// When it is going to be lifted.
        #[serde(rename = "until_unix_ms", serialize_with = "unix_ms::option")]
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<SystemTime>,
    },
    /// Nothing runs any more in a scope that is draining. Told to each slot of a domain, when the last
    /// of them is empty.
    Drained {
        /// What was drained.
        scope: ActivityScope,
    },
    /// Something was decided without anybody asking for it, and carried out, or failed to be. What it took to carry it
    /// out was told before.
    Decided {
        /// What, and why.
        decision: Box<Decision>,
    },
}

/// Is told what happens, in the order it happens to each slot.
pub trait SwapObserver: Send + Sync {
    /// Must not block: it runs inside the transition. A panic is logged and has no other effect.
    fn on_event(&self, event: &SwapEvent);
}

impl<F: Fn(&SwapEvent) + Send + Sync> SwapObserver for F {
    fn on_event(&self, event: &SwapEvent) {
        self(event);
    }
}

fn _swap_observer_is_dyn_safe(_: &dyn SwapObserver) {}

/// Hands events to observers and streams.
pub(crate) struct Announcer {
    observers: Vec<Arc<dyn SwapObserver>>,
    stream: broadcast::Sender<Arc<SwapEvent>>,
}

impl Announcer {
    /// `capacity` events are kept for a stream that is not read; the oldest are dropped then.
    pub(crate) fn new(observers: Vec<Arc<dyn SwapObserver>>, capacity: usize) -> Self {
        Self {
            observers,
            stream: broadcast::Sender::new(capacity),
        }
    }

    pub(crate) fn announce(&self, event: SwapEvent) {
        for observer in &self.observers {
            // Somebody who looks on must not be able to leave a slot half-way through a swap.
            let told = catch_unwind(AssertUnwindSafe(|| observer.on_event(&event)));
            if told.is_err() {
                tracing::error!(slot = %event.slot, "an observer panicked");
            }
        }
        if self.stream.receiver_count() > 0 {
            // Fails only when the last reader went away just now, which is nobody's loss.
            let _nobody_reads = self.stream.send(Arc::new(event));
        }
    }

    pub(crate) fn stream(&self) -> EventStream {
        EventStream {
            events: self.stream.subscribe(),
        }
    }
}

impl fmt::Debug for Announcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcer")
            .field("observers", &self.observers.len())
            .finish_non_exhaustive()
    }
}

/// Events as they happen. Bounded: a reader that falls behind is told how many it missed.
#[derive(Debug)]
pub struct EventStream {
    events: broadcast::Receiver<Arc<SwapEvent>>,
}

/// One item of an [`EventStream`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Streamed {
    /// Something happened.
    Event(Arc<SwapEvent>),
    /// So many events were dropped because this stream was not read in time.
    Missed(u64),
}

impl EventStream {
    /// The next item; `None` when the lifecycle is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<Streamed> {
        match self.events.recv().await {
            Ok(event) => Some(Streamed::Event(event)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Streamed::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
