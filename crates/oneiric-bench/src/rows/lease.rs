//! A counted way to the instance that serves, taken and given back.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use arc_swap::ArcSwap;
use oneiric_core::{BoxFuture, Candidate, FactoryPath, Origin, Registry, Slot};
use oneiric_lifecycle::{
    BuildError, CallError, FactoryTable, Instance, Invoke, Lifecycle, Payload, factory_fn,
};

use super::control;
use crate::row::{Contest, Contestant, Goal, Operation, Row, repeated};

pub(super) const NAME: &str = "lease";
pub(super) const LIVE: &str = "live";

/// As little work as a component can do.
trait Number: Send + Sync {
    fn number(&self) -> u64;
}

struct Seven(u64);

impl Number for Seven {
    fn number(&self) -> u64 {
        self.0
    }
}

impl Invoke for Seven {
    fn invoke<'a>(&'a self, _: &'a str, _: Payload) -> BoxFuture<'a, Result<Payload, CallError>> {
        Box::pin(async { Payload::json(&self.0) })
    }
}

#[derive(serde::Deserialize)]
struct NoSettings {}

pub(super) fn row() -> Result<Row, Box<dyn Error>> {
    let ours = Operation::new(|| {
        let (lifecycle, slot) = active()?;
        Ok(repeated(move || {
            let slot = lifecycle.slot(&slot);
            move || {
                drop(black_box(slot.lease()));
            }
        }))
    })?;
    let peer = Operation::new(|| {
        let swap = Arc::new(ArcSwap::from_pointee(7_u64));
        Ok(repeated(move || {
            let swap = Arc::clone(&swap);
            move || {
                drop(black_box(swap.load_full()));
            }
        }))
    })?;
    let goal = |threads, at_most, stretch| Goal::Ratio {
        threads,
        at_most,
        stretch: Some(stretch),
    };
    Ok(Row {
        name: NAME,
        title: "Lease and release, with the count of calls in flight",
        note: "All threads lease the same slot.",
        contest: Contest::Operations(vec![
            control::upgrades()?,
            Contestant::peer("`ArcSwap::load_full`, drop", peer),
            Contestant::ours("`SlotRef::lease`, drop", ours)
                .goal(goal(1, 1.0, 0.5))
                .goal(goal(2, 0.35, 0.17)),
        ]),
    })
}

pub(super) fn live_row() -> Result<Row, Box<dyn Error>> {
    let ours = Operation::new(|| {
        let (lifecycle, slot) = active()?;
        Ok(repeated(move || {
            let live = lifecycle.live::<dyn Number>(&slot);
            move || {
                if let Ok(lease) = live.lease() {
                    black_box(lease.number());
                }
            }
        }))
    })?;
    let peer = Operation::new(|| {
        let number: Box<dyn Number> = Box::new(Seven(7));
        let swap = Arc::new(ArcSwap::from_pointee(number));
        Ok(repeated(move || {
            let swap = Arc::clone(&swap);
            move || {
                black_box(swap.load_full().number());
            }
        }))
    })?;
    Ok(Row {
        name: LIVE,
        title: "Lease through a live reference, call a method, release",
        note: "All threads call the same slot. The row has no goal of its own.",
        contest: Contest::Operations(vec![
            control::upgrades()?,
            Contestant::peer("`ArcSwap<Box<dyn Trait>>::load_full`, call, drop", peer),
            Contestant::ours("`Live<dyn Trait>::lease`, call, drop", ours),
        ]),
    })
}

/// A lifecycle whose only slot serves. What was built stays when the runtime that built it is gone.
pub(crate) fn active() -> Result<(Lifecycle, Slot), Box<dyn Error>> {
    let slot: Slot = "service/number".parse()?;
    let path: FactoryPath = "oneiric.bench:seven".parse()?;
    let mut factories = FactoryTable::new();
    let factory = factory_fn(async |_, NoSettings {}| {
        let seven = Arc::new(Seven(7));
        let instance = Instance::new(Arc::clone(&seven) as Arc<dyn Invoke>);
        Ok::<_, BuildError>(instance.facet::<dyn Number>(seven))
    });
    factories.insert(path.clone(), factory);
    let registry = Registry::new();
    let candidate = Candidate::builder(slot.clone(), "seven".parse()?, Origin::settings());
    registry.register(candidate.factory(path).build()).keep();
    let lifecycle = Lifecycle::builder(registry).factories(factories).build();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    runtime.block_on(lifecycle.activate(&slot))?;
    Ok((lifecycle, slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_leased_is_there() {
        let (lifecycle, slot) = active().unwrap();
        let lease = lifecycle.slot(&slot).lease().unwrap();
        assert_eq!(lease.get::<dyn Number>().unwrap().number(), 7);
        assert_eq!(
            lifecycle
                .live::<dyn Number>(&slot)
                .lease()
                .unwrap()
                .number(),
            7
        );
    }
}
