//! Taking one slot down.

use std::sync::Arc;

use crate::bake::Order;
use crate::care::abandoned;
use crate::cell::SlotCell;
use crate::error::{Failure, Stage};
use crate::inner::Inner;
use crate::running::Running;
use crate::state::Move;

/// What came of it.
pub(super) struct Stopped {
    /// Whether an instance served.
    pub(super) retired: bool,
    pub(super) failures: Vec<Failure>,
}

/// Takes one slot down, each step within its own limit and all of them within the time of the shutdown.
pub(super) async fn stop(inner: &Inner, cell: &Arc<SlotCell>) -> Stopped {
    let mut failures = Vec::new();
    cell.step(Move::Stop, inner.clock.now());
    cell.stop();
    // A transition under way ends by itself: it finds the slot stopped and takes back what it built.
    let limits = inner.limits();
    let turn = inner
        .ending
        .give(limits.drain + limits.retire, cell.turn.lock())
        .await;
    // So does an instance that was only tried out.
    let trial = inner
        .ending
        .give(limits.probe + limits.retire, cell.trial.lock())
        .await;
    if trial.is_none() {
        failures.push(Failure::new(
            Stage::Retire,
            "lifecycle.timed_out",
            "an instance that was tried out was still there when its time was up",
        ));
    }
    // What is kept warm goes like what serves, and not with its trial.
    let bake = cell.take_bake();
    if let Some(bake) = &bake {
        bake.order(Order::Taken);
    }
    // Nothing begins in a stopped slot: whoever waits for the turn only finds that out.
    if turn.map(drop).is_none() {
        failures.push(Failure::new(
            Stage::Publish,
            "lifecycle.timed_out",
            "a transition was still under way when its time was up",
        ));
    }
    // Exchanged instances finish their work and go by themselves.
    let gone = inner
        .ending
        .give(limits.drain + limits.retire, cell.leaving.at_most(0))
        .await;
    // Of earlier swaps: instances that were retired under their leases, and those whose work is still waited for. The
    // latter are retired here, because nobody waits any more.
    let left_behind = cell.ledger().left_behind();
    for (provider, instance, held) in left_behind {
        let held = inner.redact.held(held);
        failures.push(abandoned(&held, &provider, instance));
    }
    let active = cell.published().map(|published| published.running.number);
    let mut finishing = cell.ledger().finishing();
    let warm = bake.as_ref().map(|bake| bake.warm.number);
    finishing.retain(|running| ![active, warm].contains(&Some(running.number)));
    // Those that have finished their work are being retired.
    let retiring = gone.is_none() && cell.leaving.now() > finishing.len();
    for running in &finishing {
        failures.extend(inner.abandon(cell, running));
        failures.extend(retire(inner, running).await);
    }
    if retiring {
        failures.push(Failure::new(
            Stage::Retire,
            "lifecycle.timed_out",
            "an instance that was exchanged was not retired when its time was up",
        ));
    }
    // A factory that was told to stop and blocks its thread will still hand over an instance.
    for (provider, turn) in cell.builds_under_way() {
        let ended = inner.ending.give(limits.activation, turn.lock()).await;
        if ended.is_none() {
            failures.push(Failure::new(
                Stage::Build,
                "lifecycle.timed_out",
                format_args!("the factory of {provider} is still at work"),
            ));
        }
    }
    if let Some(bake) = bake {
        failures.extend(finish(inner, cell, &bake.warm).await);
    }
    let published = inner.take_out_of_service(cell).published;
    let retired = published.is_some();
    if let Some(published) = published {
        let running = Arc::clone(&published.running);
        // What the slot pointed at counts as a lease.
        drop(published);
        failures.extend(finish(inner, cell, &running).await);
    }
    cell.step(Move::Stopped, inner.clock.now());
    Stopped { retired, failures }
}

/// Lets an instance that nobody enters any more finish its work, and retires it.
async fn finish(inner: &Inner, cell: &SlotCell, running: &Running) -> Vec<Failure> {
    let limit = inner.ending.left(inner.limits().drain);
    let over = inner.ending.over();
    let mut failures = Vec::new();
    failures.extend(inner.drain_until(cell, running, limit, over).await);
    failures.extend(retire(inner, running).await);
    inner.book_retired(cell, running);
    failures
}

async fn retire(inner: &Inner, running: &Running) -> Option<Failure> {
    let limit = inner.limits().retire;
    let over = inner.ending.well_over();
    inner.retire_until(running, limit, over).await.err()
}
