//! The bulkhead from outside: who gets in, who waits, and what is left when all are gone.

#[cfg(feature = "tokio")]
mod abandoned;
mod adaptive;
mod against_model;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use oneiric_resilience::{
    Bulkhead, BulkheadConfig, BulkheadPermit, Clock, Enter, Jitter as _, Outcome, Rejection,
    SeededJitter,
};

/// Remembers that it was woken.
#[derive(Debug, Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Bell {
    fn rang(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

/// A caller that waits, polled by hand.
struct Caller<C: Clock> {
    enter: Enter<C>,
    bell: Arc<Bell>,
}

impl<C: Clock> Caller<C> {
    fn new(bulkhead: &Bulkhead<C>) -> Self {
        Self {
            enter: bulkhead.enter(),
            bell: Arc::default(),
        }
    }

    fn poll(&mut self) -> Poll<Result<BulkheadPermit<C>, Rejection>> {
        let waker = Waker::from(Arc::clone(&self.bell));
        let poll = Pin::new(&mut self.enter).poll(&mut Context::from_waker(&waker));
        poll.map_err(|rejected| rejected.rejection())
    }

    fn permit(&mut self) -> BulkheadPermit<C> {
        match self.poll() {
            Poll::Ready(Ok(permit)) => permit,
            other => panic!("no permit but {other:?}"),
        }
    }
}

fn bulkhead(limit: u32, max_waiters: u32) -> Bulkhead {
    let config = BulkheadConfig {
        limit,
        max_waiters,
        ..BulkheadConfig::default()
    };
    Bulkhead::new(config).unwrap()
}

/// All permits can be had, and no more.
fn assert_whole<C: Clock>(bulkhead: &Bulkhead<C>) {
    assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (0, 0));
    let limit = usize::try_from(bulkhead.limit()).unwrap();
    let all: Vec<_> = std::iter::from_fn(|| bulkhead.try_enter().ok())
        .take(limit + 1)
        .collect();
    assert_eq!(all.len(), limit);
}

#[test]
fn as_many_enter_as_may_wherever_permits_came_back() {
    for limit in [1, 2, 3, 7, 64] {
        let bulkhead = bulkhead(limit, 0);
        let permits: Vec<_> = (0..limit)
            .map(|_| bulkhead.try_enter_owned().unwrap())
            .collect();
        let refused = bulkhead.try_enter().unwrap_err();
        assert_eq!(refused.code(), "resilience.bulkhead_full");
        assert_eq!(bulkhead.in_flight(), limit);
        // Each comes back on a thread of its own, so to whatever stripe.
        for permit in permits {
            std::thread::spawn(move || drop(permit)).join().unwrap();
        }
        assert_whole(&bulkhead);
    }
}

#[test]
fn who_waits_is_served_in_order_and_nobody_overtakes() {
    let bulkhead = bulkhead(1, 2);
    let inside = bulkhead.try_enter().unwrap();
    let mut first = Caller::new(&bulkhead);
    let mut second = Caller::new(&bulkhead);
    let mut third = Caller::new(&bulkhead);
    assert!(first.poll().is_pending());
    assert!(second.poll().is_pending());
    assert_eq!(bulkhead.waiting(), 2);
    assert!(matches!(
        third.poll(),
        Poll::Ready(Err(Rejection::QueueFull))
    ));

    drop(inside);
    assert!(first.bell.rang() && !second.bell.rang());
    assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (1, 1));
    assert_eq!(
        bulkhead.try_enter().unwrap_err().rejection(),
        Rejection::BulkheadFull
    );
    assert!(second.poll().is_pending(), "it is not its turn");
    let permit = first.permit();
    assert!(!second.bell.rang());
    drop(permit);
    assert!(second.bell.rang());
    drop(second.permit());
    assert_whole(&bulkhead);
}

#[test]
fn where_nobody_may_wait_entering_is_trying() {
    let bulkhead = bulkhead(1, 0);
    let permit = Caller::new(&bulkhead).permit();
    let mut late = Caller::new(&bulkhead);
    assert!(matches!(
        late.poll(),
        Poll::Ready(Err(Rejection::BulkheadFull))
    ));
    drop(permit);
    drop(late.permit());
    assert_whole(&bulkhead);
}

#[test]
fn a_permit_handed_to_one_who_leaves_goes_to_the_next() {
    let bulkhead = bulkhead(1, 9);
    let inside = bulkhead.try_enter().unwrap();
    let mut callers = [(); 3].map(|()| Caller::new(&bulkhead));
    for caller in &mut callers {
        assert!(caller.poll().is_pending());
    }
    drop(inside);
    let [handed, mut next, last] = callers;
    assert!(handed.bell.rang());
    drop(handed);
    assert!(next.bell.rang());
    drop(last);
    drop(next.permit());
    assert_whole(&bulkhead);
}

#[test]
fn the_waker_that_was_given_last_is_the_one_that_is_woken() {
    let bulkhead = bulkhead(1, 1);
    let inside = bulkhead.try_enter().unwrap();
    let mut caller = Caller::new(&bulkhead);
    assert!(caller.poll().is_pending());
    let before = std::mem::take(&mut caller.bell);
    assert!(caller.poll().is_pending());
    drop(inside);
    assert!(caller.bell.rang() && !before.rang());
    drop(caller);
    assert_whole(&bulkhead);
}

#[test]
fn a_lower_limit_is_paid_by_those_who_leave_and_a_higher_one_lets_in() {
    let bulkhead = bulkhead(4, 9);
    let mut inside: Vec<_> = (0..4)
        .map(|_| bulkhead.try_enter_owned().unwrap())
        .collect();
    bulkhead.set_limit(2).unwrap();
    assert_eq!((bulkhead.limit(), bulkhead.in_flight()), (2, 4));
    let mut caller = Caller::new(&bulkhead);
    assert!(caller.poll().is_pending());
    inside.truncate(2);
    assert!(!caller.bell.rang(), "two are inside still");
    assert!(bulkhead.try_enter().is_err());
    inside.truncate(1);
    assert!(caller.bell.rang());

    let mut others = [(); 3].map(|()| Caller::new(&bulkhead));
    for other in &mut others {
        assert!(other.poll().is_pending());
    }
    bulkhead.set_limit(4).unwrap();
    let rang = others.each_ref().map(|other| other.bell.rang());
    assert_eq!(rang, [true, true, false]);
    drop((inside, caller, others));
    assert_whole(&bulkhead);

    let invalid = bulkhead.set_limit(0).unwrap_err();
    assert!(invalid.to_string().contains("1 to 1000000"), "{invalid}");
}

#[test]
fn a_limit_raised_before_the_lower_one_was_paid_forgives() {
    let bulkhead = bulkhead(3, 0);
    let inside: Vec<_> = (0..3).map(|_| bulkhead.try_enter().unwrap()).collect();
    bulkhead.set_limit(1).unwrap();
    bulkhead.set_limit(2).unwrap();
    assert!(bulkhead.try_enter().is_err());
    drop(inside);
    assert_whole(&bulkhead);
    bulkhead.set_limit(5).unwrap();
    assert_whole(&bulkhead);
}

#[test]
fn threads_never_hold_more_than_the_limit_and_lose_none() {
    for limit in [1, 2, 3] {
        let bulkhead = bulkhead(limit, 0);
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if let Ok(_guard) = bulkhead.try_enter() {
                            let others = inside.fetch_add(1, Ordering::AcqRel);
                            assert!(others < limit, "{others} others with a limit of {limit}");
                            inside.fetch_sub(1, Ordering::AcqRel);
                        }
                    }
                });
            }
        });
        assert_whole(&bulkhead);
    }
}

/// As many as there are permits never meet a refusal: each gives back before it takes again.
#[test]
fn threads_that_are_no_more_than_permits_are_never_refused() {
    let bulkhead = bulkhead(4, 0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for turn in 0..20_000 {
                    drop(bulkhead.try_enter().unwrap_or_else(|refused| {
                        panic!("turn {turn}: {refused} with three others at most")
                    }));
                }
            });
        }
    });
    assert_whole(&bulkhead);
}

/// Thousands of callers that give up at every point there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn p57_cancelling_a_waiting_caller_leaks_no_permit() {
    const SEED: u64 = 57;
    println!("seed {SEED}");
    for limit in [1, 3] {
        let bulkhead = bulkhead(limit, 10_000);
        let mut dice = SeededJitter::new(SEED);
        let mut tasks = Vec::new();
        for _ in 0..5_000 {
            let bulkhead = bulkhead.clone();
            let (patience, stays) = (dice.next_f64(), dice.next_f64());
            tasks.push(tokio::spawn(async move {
                let mut enter = bulkhead.enter();
                // So many polls, whoever asks for them; then it goes away.
                for _ in 0..steps(patience) {
                    let polled = std::future::poll_fn(|context| {
                        Poll::Ready(Pin::new(&mut enter).poll(context))
                    });
                    if let Poll::Ready(entered) = polled.await {
                        let permit = entered.unwrap();
                        for _ in 0..steps(stays) {
                            tokio::task::yield_now().await;
                        }
                        permit.record(Outcome::Success);
                        return true;
                    }
                    tokio::task::yield_now().await;
                }
                false
            }));
        }
        let mut entered = 0_u32;
        for (at, task) in tasks.into_iter().enumerate() {
            // Some are given up on from outside, wherever they are.
            if at % 7 == 0 {
                task.abort();
            }
            entered += u32::from(task.await.is_ok_and(|entered| entered));
        }
        assert!(entered > 0, "somebody came in");
        assert_whole(&bulkhead);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "from 1 to 8"
)]
fn steps(chance: f64) -> u32 {
    (chance * 8.0) as u32 + 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everybody_who_waits_gets_a_turn() {
    let bulkhead = bulkhead(2, 10_000);
    let inside = Arc::new(AtomicU32::new(0));
    let mut tasks = Vec::new();
    for _ in 0..5_000 {
        let (bulkhead, inside) = (bulkhead.clone(), Arc::clone(&inside));
        tasks.push(tokio::spawn(async move {
            let _permit = bulkhead.enter().await.unwrap();
            assert!(inside.fetch_add(1, Ordering::AcqRel) < 2);
            tokio::task::yield_now().await;
            inside.fetch_sub(1, Ordering::AcqRel);
        }));
    }
    for task in tasks {
        tokio::time::timeout(Duration::from_secs(60), task)
            .await
            .expect("nobody is forgotten")
            .unwrap();
    }
    assert_whole(&bulkhead);
}

/// Whose turn would come too late is not let wait, and whose time ran out waits no longer.
#[cfg(feature = "tokio")]
mod in_time {
    use std::pin::Pin;
    use std::task::Poll;
    use std::time::Duration;

    use oneiric_resilience::{Bulkhead, BulkheadConfig, Deadline, Rejection, TokioClock};

    use super::assert_whole;

    const SECOND: Duration = Duration::from_secs(1);

    fn shedding(limit: u32) -> Bulkhead<TokioClock> {
        let config = BulkheadConfig {
            limit,
            shed: true,
            ..BulkheadConfig::default()
        };
        Bulkhead::with_clock(config, TokioClock::new()).unwrap()
    }

    /// Holds a permit for a second.
    async fn hold(bulkhead: &Bulkhead<TokioClock>) {
        let guard = bulkhead.try_enter().unwrap();
        tokio::time::advance(SECOND).await;
        drop(guard);
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wait_too_long_is_told_at_once() {
        let bulkhead = shedding(2);
        assert_eq!(bulkhead.snapshot().expected_wait, None);
        hold(&bulkhead).await;
        let inside = [(); 2].map(|()| bulkhead.try_enter().unwrap());
        let snapshot = bulkhead.snapshot();
        assert_eq!(snapshot.hold_time, Some(SECOND));
        // Two permits come back each second.
        assert_eq!(snapshot.expected_wait, Some(SECOND / 2));

        let before = tokio::time::Instant::now();
        let refused = bulkhead.enter_within(SECOND / 2 - Duration::from_millis(1));
        let refused = refused.await.unwrap_err();
        assert_eq!(refused.code(), "resilience.deadline_too_near");
        assert_eq!(tokio::time::Instant::now(), before, "at once");
        assert_eq!(bulkhead.waiting(), 0);

        let mut waits = std::pin::pin!(bulkhead.enter_within(SECOND));
        assert!(polled_once(waits.as_mut()).await.is_none());
        drop(inside);
        drop(waits.await.unwrap());
        assert_whole(&bulkhead);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_the_call_around_counts_from_when_it_has_to_wait() {
        let bulkhead = shedding(1);
        hold(&bulkhead).await;
        let inside = bulkhead.try_enter().unwrap();
        let around = Deadline::within(3 * SECOND / 2);
        let (soon, late) = (bulkhead.enter(), bulkhead.enter_before(around));
        let mut soon = std::pin::pin!(around.scope(soon));
        assert!(polled_once(soon.as_mut()).await.is_none());
        drop(inside);
        drop(soon.await.unwrap().unwrap());

        let _inside = bulkhead.try_enter().unwrap();
        tokio::time::advance(SECOND).await;
        let refused = around.scope(bulkhead.enter()).await.unwrap().unwrap_err();
        assert_eq!(refused.rejection(), Rejection::DeadlineTooNear);
        // It was made when there was time enough, and has to wait now.
        let refused = late.await.unwrap_err();
        assert_eq!(refused.rejection(), Rejection::DeadlineTooNear);
        assert_eq!(around.remaining(), SECOND / 2, "at once");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_the_call_around_counts_where_it_is_the_earlier() {
        let bulkhead = shedding(1);
        hold(&bulkhead).await;
        let _inside = bulkhead.try_enter().unwrap();
        let around = Deadline::within(SECOND / 2);
        let enter = bulkhead.enter_before(Deadline::within(9 * SECOND));
        let refused = around.scope(enter).await.unwrap().unwrap_err();
        assert_eq!(refused.rejection(), Rejection::DeadlineTooNear);
        assert_eq!(around.remaining(), SECOND / 2, "at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_free_permit_is_given_however_little_time_there_is() {
        let bulkhead = shedding(1);
        hold(&bulkhead).await;
        let permit = bulkhead.enter_within(Duration::from_millis(1)).await;
        drop(permit.unwrap());
        drop(bulkhead.enter_within(Duration::ZERO).await.unwrap());
        let late = bulkhead.enter_within(SECOND);
        tokio::time::advance(2 * SECOND).await;
        drop(late.await.unwrap());
        let inside = bulkhead.try_enter().unwrap();
        let refused = bulkhead.enter_within(Duration::ZERO).await.unwrap_err();
        assert_eq!(refused.rejection(), Rejection::DeadlineTooNear);
        drop(inside);
        assert_whole(&bulkhead);
    }

    #[tokio::test(start_paused = true)]
    async fn whose_time_runs_out_in_the_queue_leaves_it() {
        let bulkhead = shedding(1);
        let inside = bulkhead.try_enter().unwrap();
        let late = bulkhead.enter_within(SECOND).await.unwrap_err();
        assert_eq!(late.rejection(), Rejection::DeadlineTooNear);
        let around = Deadline::within(SECOND);
        let late = around.scope(bulkhead.enter_before(Deadline::within(9 * SECOND)));
        assert!(
            matches!(late.await, Err(_) | Ok(Err(_))),
            "the scope's time is over too"
        );
        assert_eq!(bulkhead.waiting(), 0);
        drop(inside);
        assert_whole(&bulkhead);
    }

    async fn polled_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
        let polled = std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context)));
        match polled.await {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }
}
