//! What a time limit costs a call that keeps it, and what it costs to have children and to wait for them.

use std::error::Error;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::time::Duration;

use oneiric_resilience::{Deadline, scope, timeout};
use tokio::task::{JoinSet, yield_now};

use super::retry::awaited;
use crate::row::{Contest, Contestant, MakeWork, Operation, Row};
use crate::rows::control;

pub(in crate::rows) const TIMEOUT: &str = "resilience-timeout";
pub(in crate::rows) const SCOPE: &str = "resilience-scope";

const LIMIT: Duration = Duration::from_secs(10);
const CHILDREN: u64 = 10;

fn at_once() -> Ready<u64> {
    ready(black_box(7))
}

/// Has to wait once, so that a timer is set.
async fn later() -> u64 {
    yield_now().await;
    black_box(7)
}

fn operation(work: impl Fn() -> MakeWork) -> Result<Operation, Box<dyn Error>> {
    Operation::new(|| Ok(work()))
}

pub(in crate::rows) fn timeout_row() -> Result<Row, Box<dyn Error>> {
    let ours = operation(|| awaited(|| async || timeout(LIMIT, at_once()).await))?;
    let peer = operation(|| awaited(|| async || tokio::time::timeout(LIMIT, at_once()).await))?;
    let ours_later = operation(|| awaited(|| async || timeout(LIMIT, later()).await))?;
    let peer_later = operation(|| awaited(|| async || tokio::time::timeout(LIMIT, later()).await))?;
    let within = operation(|| {
        awaited(|| {
            let deadline = Deadline::within(LIMIT);
            async move || deadline.scope(timeout(LIMIT, at_once())).await
        })
    })?;
    Ok(Row {
        name: TIMEOUT,
        title: "A time limit around a call that keeps it",
        note: "Awaited within one task on a current-thread runtime. The row has no goal.",
        contest: Contest::Operations(vec![
            control::increments()?,
            Contestant::peer("tokio's `timeout`, ready at once", peer),
            Contestant::ours("`timeout`, ready at once", ours),
            Contestant::ours("the same inside a deadline", within),
            Contestant::peer("tokio's `timeout`, has to wait", peer_later),
            Contestant::ours("`timeout`, has to wait", ours_later),
        ]),
    })
}

async fn in_scope() -> Result<u64, ()> {
    scope(async |s| {
        for _ in 0..CHILDREN {
            s.spawn(async { Ok(later().await) });
        }
        Ok(CHILDREN)
    })
    .await
}

async fn in_parallel() -> Result<u64, ()> {
    scope(async |s| {
        for _ in 0..CHILDREN {
            s.spawn_parallel(async { Ok(later().await) });
        }
        Ok(CHILDREN)
    })
    .await
}

async fn in_set() -> Result<u64, ()> {
    let mut set = JoinSet::new();
    for _ in 0..CHILDREN {
        set.spawn(async { Ok::<_, ()>(later().await) });
    }
    let mut ended = 0;
    while let Some(joined) = set.join_next().await {
        if let Ok(Ok(_)) = joined {
            ended += 1;
        }
    }
    Ok(ended)
}

pub(in crate::rows) fn scope_row() -> Result<Row, Box<dyn Error>> {
    let ours = operation(|| awaited(|| in_scope))?;
    let parallel = operation(|| awaited(|| in_parallel))?;
    let peer = operation(|| awaited(|| in_set))?;
    Ok(Row {
        name: SCOPE,
        title: "Ten children that wait once, begun and awaited",
        note: "On a current-thread runtime. An operation is all ten. The row has no goal.",
        contest: Contest::Operations(vec![
            control::increments()?,
            Contestant::peer("tokio's `JoinSet`", peer),
            Contestant::ours("`scope`, `spawn`", ours),
            Contestant::ours("`scope`, `spawn_parallel`", parallel),
        ]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_children_end() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            assert_eq!(in_scope().await, Ok(CHILDREN));
            assert_eq!(in_parallel().await, Ok(CHILDREN));
            assert_eq!(in_set().await, Ok(CHILDREN));
        });
    }
}
