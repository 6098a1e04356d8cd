//! Random programs of waiters, scopes, shields, time limits and clean-ups, cancelled at random: after
//! that all permits are back, every task has ended, every clean-up that was due was done once, and no
//! byte is left. A program of its own, because its allocator counts.
//!
//! A round is a thousand cancellations; ten rounds are made. `ONEIRIC_SOAK_ROUNDS` asks for more,
//! `ONEIRIC_SOAK_SEED` for the same ones again.

#![cfg(feature = "tokio")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod plan;
mod world;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use allocation_counter::measure;
use fastrand::Rng;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinSet;

use plan::Plan;
use world::World;

const CANCELLATIONS: u64 = 1_000;
/// So many programs share a world at a time, so that they wait for each other.
const TOGETHER: u64 = 8;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn soak_rounds() -> u64 {
    number("ONEIRIC_SOAK_ROUNDS").unwrap_or(10)
}

fn seed() -> u64 {
    number("ONEIRIC_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..))
}

/// When a program is cancelled, if it has not ended by then.
#[derive(Debug, Clone, Copy)]
enum Cancel {
    /// It is dropped after so many polls.
    Polls(u32),
    /// It is dropped when so much time has passed.
    Time(Duration),
    /// The task that it runs in is aborted when others have had so many turns.
    Abort(u32),
}

impl Cancel {
    fn random(rng: &mut Rng, timed: bool) -> Self {
        match rng.u8(..3) {
            0 => Self::Polls(rng.u32(..20)),
            1 if timed => Self::Time(Duration::from_millis(rng.u64(..30))),
            _ => Self::Abort(rng.u32(..40)),
        }
    }
}

/// Runs a program until it ends or is cancelled.
async fn run(world: Arc<World>, plan: Plan, cancel: Cancel) {
    let mut program = plan.run(Arc::clone(&world));
    match cancel {
        Cancel::Polls(mut left) => {
            poll_fn(|cx| {
                if left == 0 {
                    return Poll::Ready(());
                }
                left -= 1;
                program.as_mut().poll(cx).map(drop)
            })
            .await;
        }
        Cancel::Time(limit) => {
            drop(tokio::time::timeout(limit, program).await);
        }
        Cancel::Abort(turns) => {
            let task = tokio::spawn(program);
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            task.abort();
            drop(task.await);
        }
    }
}

/// A thousand programs, some at a time, each batch in a world that is whole again afterwards.
async fn round(rng: &mut Rng, timed: bool) {
    let world = Arc::new(World::new());
    let base = Handle::current().metrics().num_alive_tasks();
    for _ in 0..CANCELLATIONS / TOGETHER {
        let mut programs = JoinSet::new();
        for _ in 0..TOGETHER {
            let plan = Plan::random(rng, timed);
            let cancel = Cancel::random(rng, timed);
            programs.spawn(run(Arc::clone(&world), plan, cancel));
        }
        // Programs end in panics that were planned; others are looked for below.
        while programs.join_next().await.is_some() {}
        drop(programs);
        world.check_whole().await;
        let alive = || Handle::current().metrics().num_alive_tasks();
        world::until(|| alive() == base, "a task is left").await;
    }
    assert_eq!(plan::unplanned_panics(), 0, "panics that nobody planned");
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

#[test]
fn p57_random_cancellations_leak_no_permit_no_task_and_no_memory() {
    plan::quiet_planned_panics();
    let first = seed();
    for seed in (0..soak_rounds()).map(|round| first.wrapping_add(round)) {
        println!("seed {seed}");
        let runtime = runtime();
        let thousand = || runtime.block_on(round(&mut Rng::with_seed(seed), true));
        // What queues and timers keep for the next time is there after the first.
        thousand();
        let memory = measure(thousand);
        assert!(memory.count_total > 1_000, "{memory:?}");
        assert_eq!((memory.count_current, memory.bytes_current), (0, 0));
    }
}

#[test]
fn p57_random_cancellations_on_several_threads_leak_no_permit_and_no_task() {
    plan::quiet_planned_panics();
    let first = seed();
    for seed in (0..soak_rounds()).map(|round| first.wrapping_add(round)) {
        println!("seed {seed}");
        let runtime = Builder::new_multi_thread()
            .worker_threads(4)
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(round(&mut Rng::with_seed(seed), false));
    }
}
