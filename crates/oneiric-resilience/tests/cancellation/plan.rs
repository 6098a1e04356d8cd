//! A random program: what it does, and doing it.

use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use oneiric_resilience::{
    Cleanup, Deadline, Scope, join_all_or_cancel, scope, scope_limited, timeout,
    timeout_with_cleanup,
};
use tokio::task::yield_now;

use crate::world::{BURST, Counted, World};

const PLANNED: &str = "planned";
/// No program takes this long.
const LONG: Duration = Duration::from_secs(3_600);

pub(crate) type Program = Pin<Box<dyn Future<Output = Result<(), ()>> + Send>>;

#[derive(Debug, Clone)]
pub(crate) enum Plan {
    Yield(u32),
    Sleep(Duration),
    Fail,
    Panic,
    Both(Box<Self>, Box<Self>),
    /// In the bulkhead.
    Enter(Box<Self>),
    EnterWithin(Duration, Box<Self>),
    Take(u32),
    TakeWithin(Duration, u32),
    Reserve(u32),
    /// Through the breaker.
    Call(Box<Self>),
    Retry(Box<Self>),
    Timeout(Duration, Box<Self>),
    Deadline(Duration, Box<Self>),
    Shield(Box<Self>),
    Cleanup(Duration, Box<Self>),
    Join(Vec<Self>),
    Scope {
        at_most: Option<NonZeroUsize>,
        children: Vec<Child>,
        body: Box<Self>,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Child {
    parallel: bool,
    /// The body awaits its handle.
    awaited: bool,
    /// It begins a sibling first.
    sibling: bool,
    plan: Plan,
}

impl Plan {
    /// `timed` if time is paused and costs nothing.
    pub(crate) fn random(rng: &mut Rng, timed: bool) -> Self {
        Self::within(rng, timed, true, 4)
    }

    /// Nothing that holds a permit waits for another one: that could wait for ever.
    fn within(rng: &mut Rng, timed: bool, outside: bool, depth: u32) -> Self {
        let limit = match timed {
            true => Duration::from_millis(rng.u64(..20)),
            false => LONG,
        };
        if depth == 0 || rng.u8(..5) == 0 {
            return match rng.u8(..20) {
                0..2 => Self::Fail,
                2 => Self::Panic,
                3..6 => Self::Take(rng.u32(1..=BURST)),
                6 => Self::TakeWithin(limit, rng.u32(1..=BURST)),
                7 => Self::Reserve(rng.u32(1..=BURST)),
                8..12 if timed => Self::Sleep(limit),
                _ => Self::Yield(rng.u32(..8)),
            };
        }
        let inside = |rng: &mut Rng| Box::new(Self::within(rng, timed, false, depth - 1));
        let part = |rng: &mut Rng| Box::new(Self::within(rng, timed, outside, depth - 1));
        match rng.u8(..16) {
            0..2 if outside => Self::Enter(inside(rng)),
            2 if outside => Self::EnterWithin(limit, inside(rng)),
            3 => Self::Timeout(limit, part(rng)),
            4 => Self::Deadline(limit, part(rng)),
            5 => Self::Shield(part(rng)),
            6 => Self::Cleanup(limit, part(rng)),
            7 => Self::Join((0..rng.u8(..4)).map(|_| *part(rng)).collect()),
            8 => Self::Both(part(rng), part(rng)),
            9 => Self::Call(part(rng)),
            10 => Self::Retry(part(rng)),
            _ => {
                let child = |rng: &mut Rng| Child {
                    parallel: rng.bool(),
                    awaited: rng.u8(..4) == 0,
                    sibling: rng.u8(..4) == 0,
                    plan: *part(rng),
                };
                Self::Scope {
                    at_most: NonZeroUsize::new(rng.usize(..4)),
                    children: (0..rng.u8(..4)).map(|_| child(rng)).collect(),
                    body: part(rng),
                }
            }
        }
    }

    pub(crate) fn run(self, world: Arc<World>) -> Program {
        Box::pin(async move {
            let _counted = world.alive.enter();
            match self {
                Self::Yield(times) => {
                    for _ in 0..times {
                        yield_now().await;
                    }
                    Ok(())
                }
                Self::Sleep(time) => {
                    tokio::time::sleep(time).await;
                    Ok(())
                }
                Self::Fail => Err(()),
                Self::Panic => panic!("{PLANNED}"),
                Self::Both(first, second) => {
                    first.run(Arc::clone(&world)).await?;
                    second.run(world).await
                }
                Self::Enter(plan) => {
                    let _permit = world.bulkhead.enter().await.map_err(drop)?;
                    world.inside(*plan).await
                }
                Self::EnterWithin(limit, plan) => {
                    let _permit = world.bulkhead.enter_within(limit).await.map_err(drop)?;
                    world.inside(*plan).await
                }
                Self::Take(tokens) => world.bucket.take(tokens).await.map_err(drop),
                Self::TakeWithin(limit, tokens) => {
                    let take = world.bucket.take_within(tokens, limit);
                    take.await.map_err(drop)
                }
                Self::Reserve(tokens) => {
                    let reservation = world.bucket.reserve(tokens, LONG).map_err(drop)?;
                    yield_now().await;
                    reservation.wait().await;
                    Ok(())
                }
                Self::Call(plan) => {
                    let call = plan.run(Arc::clone(&world));
                    world.breaker.call_async(call).await.map_err(drop)
                }
                Self::Retry(plan) => {
                    let attempt = || plan.as_ref().clone().run(Arc::clone(&world));
                    world.retry.run_async(attempt).await.map_err(drop)
                }
                Self::Timeout(limit, plan) => {
                    timeout(limit, plan.run(world)).await.map_err(drop)?
                }
                Self::Deadline(limit, plan) => {
                    let deadline = Deadline::within(limit);
                    deadline.scope(plan.run(world)).await.map_err(drop)?
                }
                Self::Shield(plan) => {
                    let work = plan.run(Arc::clone(&world));
                    world.shields.shield(LONG, work).await.map_err(drop)?
                }
                Self::Cleanup(limit, plan) => clean_up(world, limit, *plan).await,
                Self::Join(plans) => {
                    let programs = plans.into_iter().map(|plan| plan.run(Arc::clone(&world)));
                    join_all_or_cancel(programs).await.map(drop)
                }
                Self::Scope {
                    at_most,
                    children,
                    body,
                } => in_scope(world, at_most, children, *body).await,
            }
        })
    }
}

async fn clean_up(world: Arc<World>, limit: Duration, plan: Plan) -> Result<(), ()> {
    world.due.add();
    let call_alive = Counted::default();
    let (cleaned, gone) = (Arc::clone(&world), call_alive.clone());
    let undo = async move || {
        cleaned.check(gone.count() == 0, "cleaned up before the call was gone");
        yield_now().await;
        cleaned.cleaned.add();
        Err(())
    };
    let call = {
        let (counted, world) = (call_alive.enter(), Arc::clone(&world));
        async move {
            let _counted = counted;
            plan.run(world).await
        }
    };
    let cleanup = Cleanup::within(LONG, undo).counted_by(&world.shields);
    let ended = timeout_with_cleanup(limit, call, cleanup).await;
    match ended {
        Ok(()) => world.cleaned.add(),
        Err(ref failed) => world.check(failed.cleanup.is_err(), "a clean-up was not told"),
    }
    ended.map_err(drop)
}

async fn in_scope(
    world: Arc<World>,
    at_most: Option<NonZeroUsize>,
    children: Vec<Child>,
    body: Plan,
) -> Result<(), ()> {
    let alive = Counted::default();
    let inside = alive.clone();
    let around = Arc::clone(&world);
    let body = async move |s: Scope<'static, ()>| {
        let mut awaited = Vec::new();
        for child in children {
            let handle = child.begin(&s, &around, &inside);
            awaited.extend(handle);
        }
        let _counted = inside.enter();
        body.run(around).await?;
        for handle in awaited {
            handle.await;
        }
        Ok(())
    };
    let ended = match at_most {
        Some(at_most) => scope_limited(at_most, body).await,
        None => scope(body).await,
    };
    world.check(alive.count() == 0, "a scope ended before its children");
    ended
}

impl Child {
    fn begin(
        self,
        s: &Scope<'static, ()>,
        world: &Arc<World>,
        alive: &Counted,
    ) -> Option<oneiric_resilience::Child<()>> {
        let counted = alive.enter();
        let (siblings, around, inside) = (s.clone(), Arc::clone(world), alive.clone());
        let sibling = self.sibling;
        let program = self.plan.run(Arc::clone(world));
        let work = async move {
            let _counted = counted;
            if sibling {
                let yields = Self {
                    parallel: !self.parallel,
                    awaited: false,
                    sibling: false,
                    plan: Plan::Yield(3),
                };
                yields.begin(&siblings, &around, &inside);
            }
            program.await
        };
        let handle = match self.parallel {
            true => s.spawn_parallel(work),
            false => s.spawn(work),
        };
        self.awaited.then_some(handle)
    }
}

/// Panics that no program planned: broken promises that would only end the program they are in.
static UNPLANNED: AtomicUsize = AtomicUsize::new(0);

/// Of all tests of this program until now.
pub(crate) fn unplanned_panics() -> usize {
    UNPLANNED.load(Ordering::SeqCst)
}

/// Planned panics are told to nobody; others as always, and counted.
pub(crate) fn quiet_planned_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let planned = info
                .payload()
                .downcast_ref::<String>()
                .is_some_and(|words| words == PLANNED)
                || info.payload().downcast_ref::<&str>() == Some(&PLANNED);
            if !planned {
                UNPLANNED.fetch_add(1, Ordering::SeqCst);
                tell(info);
            }
        }));
    });
}
