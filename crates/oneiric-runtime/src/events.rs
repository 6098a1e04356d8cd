//! What happened in the process, for those who look on from outside.
//!
//! The last thousand events are kept once, for all readers: a reader is a number, that of the event it reads next. So
//! a reader who is slow costs nothing and holds up nobody; what went by before it came for it is told as a count.
//! Whoever comes back names the last event they saw and goes on from there, if it is still kept.

use std::{
    collections::VecDeque,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use oneiric_core::{Slot, WallClock};
use oneiric_lifecycle::SwapEvent;
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::{
    api::{EventDoc, ProcessEvent, schema},
    runtime::Runtime,
    service::unix_ms,
};

/// So many events are kept.
const KEPT: usize = 1_024;

/// The events of a process.
pub(crate) struct Events {
    /// Tells the events of this process from those of the one before.
    process: u32,
    clock: Arc<dyn WallClock>,
    kept: Mutex<Kept>,
    /// The number of the next event; closed at the end.
    next: Mutex<Option<watch::Sender<u64>>>,
    changed: watch::Receiver<u64>,
}

#[derive(Default)]
struct Kept {
    /// The number of the first one.
    first: u64,
    events: VecDeque<Arc<Event>>,
}

/// One event. Its document is made when somebody reads it.
struct Event {
    at: SystemTime,
    slot: Option<Slot>,
    what: What,
}

enum What {
    Swap(Box<SwapEvent>),
    Said(Box<ProcessEvent>),
}

impl Events {
    pub(crate) fn new(clock: Arc<dyn WallClock>) -> Self {
        let (next, changed) = watch::channel(0);
        let random = RandomState::new().hash_one(0);
        Self {
            process: u32::try_from(random >> 32).unwrap_or_default(),
            clock,
            kept: Mutex::default(),
            next: Mutex::new(Some(next)),
            changed,
        }
    }

    /// Notes what the lifecycle says.
    pub(crate) fn swap(&self, event: &SwapEvent) {
        self.note(Event {
            at: event.at,
            slot: Some(event.slot.clone()),
            what: What::Swap(Box::new(event.clone())),
        });
    }

    /// Notes what another part of the runtime says, of a slot if it is about one.
    pub(crate) fn say(&self, slot: Option<&Slot>, what: ProcessEvent) {
        self.note(Event {
            at: self.clock.now(),
            slot: slot.cloned(),
            what: What::Said(Box::new(what)),
        });
    }

    /// Ends every stream once it has read what there is.
    pub(crate) fn end(&self) {
        self.next
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    fn note(&self, event: Event) {
        let mut kept = self.kept();
        if kept.events.len() == KEPT {
            kept.events.pop_front();
            kept.first += 1;
        }
        kept.events.push_back(Arc::new(event));
        let next = kept.next();
        drop(kept);
        let sender = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = &*sender {
            // Two who note at once may come here in either order.
            sender.send_if_modified(|known| {
                let newer = next > *known;
                *known = next.max(*known);
                newer
            });
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id(&self, number: u64) -> String {
        format!("{:08x}-{number}", self.process)
    }

    /// The number in an id of this process.
    fn number(&self, id: &str) -> Option<u64> {
        let (process, number) = id.split_once('-')?;
        let ours = u32::from_str_radix(process, 16).ok()? == self.process;
        ours.then(|| number.parse().ok()).flatten()
    }

    fn document(&self, number: u64, event: &Event) -> EventDoc {
        let fields = match &event.what {
            What::Said(said) => serde_json::to_value(said),
            What::Swap(event) => serde_json::to_value(&event.what),
        };
        let mut fields = match fields {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        let name = fields.get("event").and_then(Value::as_str);
        let name = name.unwrap_or("unknown").to_owned();
        fields.retain(|name, value| {
            !value.is_null() && !["schema", "id", "event", "slot", "at_unix_ms"].contains(&&**name)
        });
        EventDoc {
            schema: schema::EVENT.into(),
            id: self.id(number),
            event: name,
            slot: event.slot.clone(),
            at_unix_ms: unix_ms(event.at),
            fields,
        }
    }
}

impl Kept {
    fn next(&self) -> u64 {
        let length = u64::try_from(self.events.len()).unwrap_or(u64::MAX);
        self.first.saturating_add(length)
    }

    fn at(&self, number: u64) -> Option<Arc<Event>> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.events.get(index).cloned()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// Events as they happen.
#[derive(Debug)]
pub struct EventStream {
    runtime: Runtime,
    slot: Option<Slot>,
    /// What is read next.
    next: u64,
    /// Whether it began after events that nobody knows the number of.
    lost: bool,
    changed: watch::Receiver<u64>,
}

/// One item of an [`EventStream`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Watched {
    /// Something happened.
    Event(EventDoc),
    /// So many events, of all slots, went by unread and are not kept any more; their number is not known when they
    /// were another process'.
    Missed(Option<u64>),
}

impl EventStream {
    /// The next item; `None` when the runtime has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Watched> {
        if std::mem::take(&mut self.lost) {
            return Some(Watched::Missed(None));
        }
        loop {
            // Seen before what is there is looked at, so that nothing comes in between unnoticed.
            self.changed.borrow_and_update();
            while let Some(found) = self.ready() {
                if let Some(item) = found {
                    return Some(item);
                }
            }
            if self.changed.changed().await.is_err() {
                // What was said in the last moment.
                while let Some(found) = self.ready() {
                    if let Some(item) = found {
                        return Some(item);
                    }
                }
                return None;
            }
        }
    }

    /// What is there to read: an item, or one that is another slot's.
    fn ready(&mut self) -> Option<Option<Watched>> {
        let events = &self.runtime.inner.events;
        let kept = events.kept();
        if self.next < kept.first {
            let missed = kept.first - self.next;
            self.next = kept.first;
            return Some(Some(Watched::Missed(Some(missed))));
        }
        let event = kept.at(self.next)?;
        drop(kept);
        let number = self.next;
        self.next += 1;
        let wanted = self.slot.is_none() || self.slot == event.slot;
        Some(wanted.then(|| Watched::Event(events.document(number, &event))))
    }
}

impl Runtime {
    /// Streams events from now on, or from the one after `after` if it is still known; of one slot if one is named.
    /// Those that belong to no slot are then left out.
    #[must_use]
    pub fn events(&self, slot: Option<&Slot>, after: Option<&str>) -> EventStream {
        let events = &self.inner.events;
        let now = events.kept().next();
        let (next, lost) = match after {
            None => (now, false),
            Some(id) => match events.number(id) {
                Some(number) if number < now => (number + 1, false),
                _ => (now, true),
            },
        };
        EventStream {
            runtime: self.clone(),
            slot: slot.cloned(),
            next,
            lost,
            changed: events.changed.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{RuntimeBuilder, Settings};

    fn runtime() -> Runtime {
        RuntimeBuilder::new(Settings::default()).build().unwrap()
    }

    fn slot(text: &str) -> Slot {
        text.parse().unwrap()
    }

    /// Any event will do; it is known by its number.
    fn tick(number: u64) -> ProcessEvent {
        ProcessEvent::SettingsApplied {
            who: "test".to_owned(),
            keys: number,
            slots: Vec::new(),
        }
    }

    async fn event(stream: &mut EventStream) -> EventDoc {
        match stream.next().await {
            Some(Watched::Event(event)) => event,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_stream_tells_what_happens_after_it_began_and_ends_with_the_runtime() {
        let runtime = runtime();
        let events = &runtime.inner.events;
        events.say(None, tick(1));
        let mut all = runtime.events(None, None);
        let mut one = runtime.events(Some(&slot("adapter/b")), None);
        events.say(None, tick(2));
        events.say(Some(&slot("adapter/a")), tick(3));
        events.say(Some(&slot("adapter/b")), tick(4));
        let first = event(&mut all).await;
        assert_eq!(
            (&*first.event, &first.fields["keys"]),
            ("settings_applied", &json!(2))
        );
        assert!(!first.fields.contains_key("event"));
        assert_eq!(event(&mut one).await.slot, Some(slot("adapter/b")));
        events.end();
        assert_eq!(event(&mut all).await.slot, Some(slot("adapter/a")));
        event(&mut all).await;
        assert_eq!((all.next().await, one.next().await), (None, None));
    }

    #[tokio::test]
    async fn whoever_is_slow_is_told_how_much_went_by() {
        let runtime = runtime();
        let mut slow = runtime.events(None, None);
        for number in 0..KEPT as u64 + 7 {
            runtime.inner.events.say(None, tick(number));
        }
        assert_eq!(slow.next().await, Some(Watched::Missed(Some(7))));
        assert_eq!(event(&mut slow).await.fields["keys"], 7);
    }

    #[tokio::test]
    async fn whoever_comes_back_goes_on_after_what_they_saw() {
        let runtime = runtime();
        let events = &runtime.inner.events;
        let mut before = runtime.events(None, None);
        events.say(None, tick(1));
        events.say(None, tick(2));
        let seen = event(&mut before).await.id;
        let mut back = runtime.events(None, Some(&seen));
        assert_eq!(event(&mut back).await.fields["keys"], 2);
        // Of another process, or of none.
        for unknown in ["00000000-0", "x", "", &format!("{seen}9")] {
            let mut lost = runtime.events(None, Some(unknown));
            assert_eq!(lost.next().await, Some(Watched::Missed(None)), "{unknown}");
            events.say(None, tick(3));
            assert_eq!(event(&mut lost).await.fields["keys"], 3);
        }
    }
}
