//! Scopes from outside: whichever way one ends, nothing that began in it is left.

use std::future::{pending, poll_fn, ready};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use oneiric_resilience::{Child, Deadline, DeadlineExceeded, Scope, scope, scope_limited};
use tokio::runtime::Handle;
use tokio::sync::{Barrier, Notify, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use crate::held::{Gone, Held, OnDrop, until};
use crate::shield::runtime;

const SECOND: Duration = Duration::from_secs(1);

async fn waiting<T>(held: Held) -> T {
    let _held = held;
    pending().await
}

fn held<const N: usize>() -> ([Held; N], [Gone; N]) {
    let mut gone = Vec::new();
    let held = std::array::from_fn(|_| {
        let (held, told) = Held::new();
        gone.push(told);
        held
    });
    (held, gone.try_into().expect("as many as there are"))
}

fn all_gone(gone: &[Gone]) -> bool {
    gone.iter().all(Gone::is_gone)
}

#[tokio::test(start_paused = true)]
async fn it_returns_when_the_last_child_has_ended() {
    let began = Instant::now();
    let ended = AtomicUsize::new(0);
    let value = scope(async |s| {
        for seconds in [3, 1, 2] {
            let ended = &ended;
            s.spawn(async move {
                sleep(seconds * SECOND).await;
                ended.fetch_add(1, Ordering::SeqCst);
                Ok::<_, ()>(())
            });
        }
        Ok("body")
    });
    assert_eq!(value.await, Ok("body"));
    assert_eq!(ended.load(Ordering::SeqCst), 3);
    assert_eq!(began.elapsed(), 3 * SECOND);
}

#[tokio::test]
async fn children_borrow_and_give_their_values_through_handles() {
    let words = ["one".to_owned(), "two".to_owned()];
    let joined = scope(async |s| {
        let children: Vec<Child<_>> = words
            .iter()
            .map(|word| {
                s.spawn(async move {
                    yield_now().await;
                    Ok::<_, ()>(word.as_str())
                })
            })
            .collect();
        let mut joined = String::new();
        for child in children.into_iter().rev() {
            joined.push_str(child.await);
        }
        Ok(joined)
    });
    assert_eq!(joined.await, Ok("twoone".to_owned()));
}

#[tokio::test]
async fn a_scope_without_children_is_its_body() {
    assert_eq!(scope(async |_| Ok::<_, ()>(7)).await, Ok(7));
    assert_eq!(scope(async |_| Err::<(), _>(7)).await, Err(7));
    assert_eq!(scope(|_| ready(Ok::<_, ()>(7))).await, Ok(7));
}

#[tokio::test]
async fn the_first_error_cancels_all_others_which_are_gone_when_it_is_told() {
    let ([body, child, unbegun], gone) = held();
    let mut failing = Box::pin(scope(async |s| {
        s.spawn(waiting::<Result<(), _>>(child));
        s.spawn(async {
            yield_now().await;
            yield_now().await;
            Err::<(), _>("second")
        });
        let siblings = s.clone();
        s.spawn(async move {
            yield_now().await;
            siblings.spawn(waiting::<Result<(), _>>(unbegun));
            Err::<(), _>("first")
        });
        waiting::<Result<(), _>>(body).await
    }));
    assert_eq!(failing.as_mut().await, Err("first"));
    assert!(all_gone(&gone), "{gone:?}");
}

#[tokio::test]
async fn the_bodys_error_cancels_the_children() {
    let ([child, unbegun], gone) = held();
    let mut failing = Box::pin(scope(async |s| {
        s.spawn(waiting::<Result<(), _>>(child));
        yield_now().await;
        s.spawn(waiting::<Result<(), _>>(unbegun));
        Err::<(), _>("body")
    }));
    assert_eq!(failing.as_mut().await, Err("body"));
    assert!(all_gone(&gone), "{gone:?}");
}

/// Polls a future until it panics, and gives what it panicked with; the future is still there.
async fn panic_of(mut future: std::pin::Pin<&mut impl Future>) -> &'static str {
    let panic = poll_fn(|cx| {
        let poll = AssertUnwindSafe(|| future.as_mut().poll(cx).is_ready());
        match catch_unwind(poll) {
            Ok(ready) => {
                assert!(!ready, "it ended without a panic");
                Poll::Pending
            }
            Err(panic) => Poll::Ready(panic),
        }
    });
    panic.await.downcast_ref::<&str>().expect("it has words")
}

#[tokio::test]
async fn a_panic_goes_on_when_all_others_are_gone() {
    let ([body, child, parallel], gone) = held();
    let mut panicking = Box::pin(scope(async |s| {
        s.spawn(waiting::<Result<(), ()>>(child));
        s.spawn_parallel(waiting::<Result<(), ()>>(parallel));
        s.spawn(async {
            yield_now().await;
            if true {
                panic!("child");
            }
            Ok(())
        });
        waiting::<Result<(), ()>>(body).await
    }));
    assert_eq!(panic_of(panicking.as_mut()).await, "child");
    assert!(all_gone(&gone), "{gone:?}");

    let ([child], gone) = held();
    let mut panicking = Box::pin(scope(async |s| {
        s.spawn(waiting::<Result<(), ()>>(child));
        yield_now().await;
        if true {
            panic!("body");
        }
        Ok(())
    }));
    assert_eq!(panic_of(panicking.as_mut()).await, "body");
    assert!(all_gone(&gone), "{gone:?}");

    let ([child], gone) = held();
    let mut panicking = Box::pin(scope(async |s| {
        s.spawn(waiting::<Result<(), ()>>(child));
        s.spawn_parallel(async {
            yield_now().await;
            if true {
                panic!("parallel");
            }
            Ok(())
        });
        Ok(())
    }));
    assert_eq!(panic_of(panicking.as_mut()).await, "parallel");
    assert!(all_gone(&gone), "{gone:?}");
}

/// Panics when it is dropped.
fn bomb() -> OnDrop<impl FnMut() + Send + use<>> {
    OnDrop(|| panic!("dropped"))
}

/// A body or a child that ends after so many polls, and panics as it is dropped.
fn goes_off(mut polls: u32) -> impl Future<Output = Result<(), &'static str>> + Send {
    let bomb = bomb();
    poll_fn(move |cx| {
        let _held = &bomb;
        if polls == 0 {
            return Poll::Ready(Ok(()));
        }
        polls -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

#[tokio::test]
async fn a_panic_of_what_is_dropped_goes_on_when_all_others_are_gone() {
    type Ended = Result<(), &'static str>;
    // Of children that are dropped because the body failed: running ones, and one that never began.
    let ([first, second, parallel, unbegun], gone) = held();
    let mut panicking = Box::pin(scope(async |s| {
        s.spawn_parallel(waiting::<Ended>(parallel));
        s.spawn(waiting::<Ended>(first));
        for _ in 0..2 {
            s.spawn(async {
                let _bomb = bomb();
                pending::<Ended>().await
            });
        }
        s.spawn(waiting::<Ended>(second));
        yield_now().await;
        yield_now().await;
        let bomb = bomb();
        s.spawn(async {
            let _bomb = bomb;
            Ended::Ok(())
        });
        s.spawn(waiting::<Ended>(unbegun));
        Err::<(), _>("body")
    }));
    assert_eq!(panic_of(panicking.as_mut()).await, "dropped");
    assert!(all_gone(&gone), "{gone:?}");

    // Of the body, because a child failed.
    let ([child, parallel], gone) = held();
    let mut panicking = Box::pin(scope(async |s| {
        s.spawn_parallel(waiting::<Ended>(parallel));
        s.spawn(waiting::<Ended>(child));
        yield_now().await;
        yield_now().await;
        s.spawn(async { Ended::Err("child") });
        let _bomb = bomb();
        pending::<Ended>().await
    }));
    assert_eq!(panic_of(panicking.as_mut()).await, "dropped");
    assert!(all_gone(&gone), "{gone:?}");

    // Of a child that has ended.
    let ([child, parallel], gone) = held();
    let mut panicking = Box::pin(scope(async |s| {
        s.spawn_parallel(waiting::<Ended>(parallel));
        s.spawn(waiting::<Ended>(child));
        s.spawn(goes_off(2));
        pending::<Ended>().await
    }));
    assert_eq!(panic_of(panicking.as_mut()).await, "dropped");
    assert!(all_gone(&gone), "{gone:?}");

    // Of a body that has.
    let ([child, parallel], gone) = held();
    let mut panicking = Box::pin(scope(|s| {
        s.spawn_parallel(waiting::<Ended>(parallel));
        s.spawn(waiting::<Ended>(child));
        goes_off(2)
    }));
    assert_eq!(panic_of(panicking.as_mut()).await, "dropped");
    assert!(all_gone(&gone), "{gone:?}");
}

#[tokio::test]
async fn a_scope_that_is_dropped_keeps_nothing_because_a_drop_panics() {
    let ([first, second, parallel, third], gone) = held();
    let mut dropped = Box::pin(scope(async |s: Scope<'_, ()>| {
        s.spawn_parallel(waiting::<Result<(), _>>(parallel));
        s.spawn(waiting::<Result<(), _>>(first));
        for _ in 0..2 {
            s.spawn(async {
                let _bomb = bomb();
                pending::<Result<(), _>>().await
            });
        }
        s.spawn(waiting::<Result<(), _>>(second));
        yield_now().await;
        s.spawn(waiting::<Result<(), _>>(third));
        pending::<Result<(), _>>().await
    }));
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        assert!(dropped.as_mut().poll(&mut cx).is_pending());
    }
    let panic = catch_unwind(AssertUnwindSafe(|| drop(dropped))).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"dropped"));
    until(|| all_gone(&gone)).await;
}

#[tokio::test]
async fn dropping_it_drops_all_even_what_they_begin_meanwhile() {
    let ([body, child, unbegun, late], gone) = held();
    let mut dropped = Box::pin(scope(async |s: Scope<'_, ()>| {
        let handle = s.clone();
        // Held in a circle, if the scope held its children by the handle.
        s.spawn(async move {
            drop(handle.spawn(waiting::<Result<(), _>>(unbegun)));
            let mut late = Some(late);
            let _begins_more = OnDrop(move || {
                if let Some(late) = late.take() {
                    drop(handle.spawn(waiting::<Result<(), _>>(late)));
                }
            });
            waiting::<Result<(), _>>(child).await
        });
        waiting::<Result<(), _>>(body).await
    }));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(dropped.as_mut().poll(&mut cx).is_pending());
    assert!(!gone.iter().any(Gone::is_gone), "{gone:?}");
    drop(dropped);
    assert!(all_gone(&gone), "{gone:?}");
}

#[test]
fn the_runtimes_end_drops_all() {
    let ([body, child, parallel], gone) = held();
    let runtime = runtime();
    runtime.block_on(async {
        drop(tokio::spawn(scope(async |s: Scope<'_, ()>| {
            s.spawn(waiting::<Result<(), _>>(child));
            s.spawn_parallel(waiting::<Result<(), _>>(parallel));
            waiting::<Result<(), _>>(body).await
        })));
        until(|| Handle::current().metrics().num_alive_tasks() == 2).await;
    });
    assert!(!gone.iter().any(Gone::is_gone), "{gone:?}");
    drop(runtime);
    assert!(all_gone(&gone), "{gone:?}");
}

#[tokio::test]
async fn a_child_begins_siblings_and_scopes_nest() {
    fn tree<'env>(s: &Scope<'env, ()>, depth: u32, leaves: &'env AtomicUsize) {
        for _ in 0..2 {
            let siblings = s.clone();
            s.spawn(async move {
                match depth {
                    0 => drop(leaves.fetch_add(1, Ordering::SeqCst)),
                    _ => tree(&siblings, depth - 1, leaves),
                }
                Ok(())
            });
        }
    }
    let leaves = AtomicUsize::new(0);
    let grown = scope(async |s| {
        tree(&s, 9, &leaves);
        Ok(())
    });
    assert_eq!(grown.await, Ok(()));
    assert_eq!(leaves.load(Ordering::SeqCst), 1_024);

    let ([inner], gone) = held();
    let nested = scope(async |s| {
        s.spawn(scope(async |s| {
            drop(s.spawn(waiting::<Result<(), _>>(inner)));
            Ok(())
        }));
        yield_now().await;
        Err::<(), _>("outer")
    });
    assert_eq!(nested.await, Err("outer"));
    assert!(all_gone(&gone));
}

#[tokio::test]
async fn a_parallel_child_has_a_task_of_its_own_and_gives_its_value() {
    let base = Handle::current().metrics().num_alive_tasks();
    let most = AtomicUsize::new(0);
    let sum = scope(async |s| {
        let children: Vec<_> = (0..8_u32)
            .map(|number| {
                s.spawn_parallel(async move {
                    yield_now().await;
                    Ok::<_, ()>(number)
                })
            })
            .collect();
        yield_now().await;
        let alive = Handle::current().metrics().num_alive_tasks();
        most.store(alive, Ordering::SeqCst);
        let mut sum = 0;
        for child in children {
            sum += child.await;
        }
        Ok(sum)
    });
    assert_eq!(sum.await, Ok(28));
    assert_eq!(most.into_inner(), base + 8);
    until(|| Handle::current().metrics().num_alive_tasks() == base).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_children_run_at_the_same_time_and_begin_siblings_from_their_threads() {
    let met = scope(async |s: Scope<'static, ()>| {
        let barrier = std::sync::Arc::new(Barrier::new(2));
        for _ in 0..2 {
            let (barrier, siblings) = (barrier.clone(), s.clone());
            s.spawn_parallel(async move {
                barrier.wait().await;
                let sibling = siblings.spawn(async { Ok(1) });
                assert_eq!(sibling.await, 1);
                Ok(())
            });
        }
        Ok(())
    });
    assert_eq!(met.await, Ok(()));
}

#[tokio::test]
async fn parallel_children_are_gone_when_an_error_is_told() {
    let ([first, second], gone) = held();
    let mut failing = Box::pin(scope(async |s| {
        s.spawn_parallel(waiting::<Result<(), _>>(first));
        s.spawn_parallel(waiting::<Result<(), _>>(second));
        // Both run by now.
        yield_now().await;
        yield_now().await;
        Err::<(), _>("body")
    }));
    assert_eq!(failing.as_mut().await, Err("body"));
    assert!(all_gone(&gone), "{gone:?}");
    let failing = scope(async |s| {
        s.spawn_parallel(async { Err::<(), _>("parallel") });
        pending::<Result<(), _>>().await
    });
    assert_eq!(failing.await, Err("parallel"));
}

#[tokio::test]
async fn parallel_children_of_a_dropped_scope_are_aborted() {
    let base = Handle::current().metrics().num_alive_tasks();
    let ([first, second], gone) = held();
    let mut dropped = Box::pin(scope(async |s| {
        s.spawn_parallel(waiting::<Result<(), ()>>(first));
        s.spawn_parallel(waiting::<Result<(), ()>>(second));
        Ok(())
    }));
    poll_fn(|cx| {
        assert!(dropped.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), base + 2);
    drop(dropped);
    until(|| Handle::current().metrics().num_alive_tasks() == base).await;
    assert!(all_gone(&gone), "{gone:?}");
}

#[tokio::test(start_paused = true)]
async fn children_of_both_kinds_see_the_deadline_around_the_scope() {
    let ([child, parallel], gone) = held();
    let deadline = Deadline::within(SECOND);
    let seen = deadline.scope(scope(async |s| {
        let child = s.spawn(async { Ok::<_, ()>(Deadline::current()) });
        let parallel = s.spawn_parallel(async { Ok(Deadline::current()) });
        Ok((child.await, parallel.await))
    }));
    assert_eq!(seen.await, Ok(Ok((Some(deadline), Some(deadline)))));
    let late = deadline.scope(scope(async |s| {
        s.spawn(waiting::<Result<(), ()>>(child));
        s.spawn_parallel(waiting::<Result<(), ()>>(parallel));
        Ok(())
    }));
    assert_eq!(late.await, Err(DeadlineExceeded));
    until(|| all_gone(&gone)).await;
    // It is the scope's, not that of whoever spawns.
    let unbound = scope(async |s| {
        let child = deadline.or_earlier();
        let child = Deadline::within(9 * SECOND).max(child);
        let spawn =
            |_: &mut Context<'_>| Poll::Ready(s.spawn(async { Ok::<_, ()>(Deadline::current()) }));
        let child = child.scope(poll_fn(spawn));
        Ok(child.await.unwrap().await)
    });
    assert_eq!(unbound.await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_the_scope_outlives_cuts_off_no_child() {
    for parallel in [false, true] {
        let mut outlives = Box::pin(scope(async |s: Scope<'_, ()>| {
            let work = async {
                sleep(2 * SECOND).await;
                Ok(5)
            };
            let child = match parallel {
                true => s.spawn_parallel(work),
                false => s.spawn(work),
            };
            Ok(child.await)
        }));
        // Whoever set it only looked, and goes on waiting.
        let looked = Deadline::within(SECOND).scope(outlives.as_mut()).await;
        assert_eq!(looked, Err(DeadlineExceeded));
        let ended = tokio::time::timeout(60 * SECOND, outlives).await;
        assert_eq!(ended, Ok(Ok(5)), "parallel: {parallel}");
    }
}

#[tokio::test(start_paused = true)]
async fn at_most_so_many_children_run_and_the_others_follow_in_order() {
    for parallel in [false, true] {
        let began = Mutex::new(Vec::new());
        let began: &'static Mutex<Vec<u64>> = Box::leak(Box::new(began));
        let start = Instant::now();
        let limited = scope_limited(NonZeroUsize::new(2).unwrap(), async |s| {
            for number in 0..6_u64 {
                let work = async move {
                    began.lock().unwrap().push(number);
                    sleep(SECOND).await;
                    Ok::<_, ()>(())
                };
                match parallel {
                    true => drop(s.spawn_parallel(work)),
                    false => drop(s.spawn(work)),
                }
            }
            yield_now().await;
            sleep(SECOND / 2).await;
            assert_eq!(*began.lock().unwrap(), [0, 1]);
            Ok(())
        });
        assert_eq!(limited.await, Ok(()));
        assert_eq!(*began.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(start.elapsed(), 3 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_cancelled_is_not_waited_for() {
    let ([beat, unbegun], gone) = held();
    let beats = &AtomicUsize::new(0);
    let ended = scope_limited(NonZeroUsize::MIN, async |s| {
        let heart: Child<()> = s.spawn(async move {
            let _held = beat;
            loop {
                sleep(SECOND).await;
                beats.fetch_add(1, Ordering::SeqCst);
            }
        });
        let second = s.spawn(waiting::<Result<(), ()>>(unbegun));
        sleep(3 * SECOND + SECOND / 2).await;
        heart.cancel();
        second.cancel();
        let ended = s.spawn(async { Ok(7) });
        yield_now().await;
        Ok(ended.await)
    });
    assert_eq!(ended.await, Ok::<_, ()>(7));
    assert_eq!(beats.load(Ordering::SeqCst), 3);
    assert!(all_gone(&gone), "{gone:?}");
    let too_late = scope(async |s| {
        let child = s.spawn(async { Ok::<_, ()>(()) });
        yield_now().await;
        yield_now().await;
        child.cancel();
        Ok(())
    });
    assert_eq!(too_late.await, Ok(()));
}

#[tokio::test]
async fn what_is_spawned_after_the_end_is_dropped_unbegun() {
    let mut carried = None;
    let ended = scope(async |s: Scope<'_, ()>| {
        carried = Some(s.clone());
        Ok(())
    });
    assert_eq!(ended.await, Ok(()));
    let ([late], gone) = held();
    let begun = AtomicBool::new(false);
    let child = carried.unwrap().spawn(async move {
        begun.store(true, Ordering::SeqCst);
        waiting::<Result<(), _>>(late).await
    });
    assert!(all_gone(&gone));
    assert_eq!(format!("{child:?}"), "Child { ended: true }");
    let mut child = Box::pin(child);
    let poll = AssertUnwindSafe(|| {
        child
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    });
    assert!(catch_unwind(poll).is_err());
}

#[tokio::test]
async fn a_handle_that_leaves_its_scope_still_gives_the_value() {
    let child = scope(async |s| Ok::<_, ()>(s.spawn(async { Ok(7) }))).await;
    assert_eq!(child.unwrap().await, 7);
}

#[tokio::test]
async fn children_without_end_leave_others_their_turn() {
    fn chain(s: &Scope<'static, ()>) {
        let next = s.clone();
        s.spawn(async move {
            chain(&next);
            Ok(())
        });
    }
    let mut endless = Box::pin(scope(async |s| {
        chain(&s);
        Ok(())
    }));
    let woken = std::sync::Arc::new(CountWakes::default());
    let waker = Waker::from(woken.clone());
    let mut cx = Context::from_waker(&waker);
    for _ in 0..3 {
        let before = woken.0.load(Ordering::SeqCst);
        assert!(endless.as_mut().poll(&mut cx).is_pending());
        assert!(
            woken.0.load(Ordering::SeqCst) > before,
            "it would never go on"
        );
    }
}

#[derive(Default)]
struct CountWakes(AtomicUsize);

impl std::task::Wake for CountWakes {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_scope_is_woken_by_whoever_spawns_from_outside() {
    let (carry, carried) = oneshot::channel();
    let release = std::sync::Arc::new(Notify::new());
    let (begins, ends) = (release.clone(), release);
    let resting = tokio::spawn(scope(async move |s: Scope<'static, ()>| {
        carry.send(s).unwrap();
        begins.notified().await;
        Ok(())
    }));
    let handle: Scope<'static, ()> = carried.await.unwrap();
    let child = handle.spawn(async { Ok(7) });
    assert_eq!(child.await, 7);
    ends.notify_one();
    assert_eq!(resting.await.unwrap(), Ok(()));
}

#[test]
fn wakers_may_use_the_scope_when_they_are_dropped() {
    use crate::foreign::{ends, owning};

    /// Begins a child when it is dropped.
    struct Spawns(Scope<'static, ()>);

    impl Drop for Spawns {
        fn drop(&mut self) {
            self.0.spawn(async { Ok(()) });
        }
    }

    ends(|| {
        let handle = std::sync::Arc::new(Mutex::new(None));
        let to = std::sync::Arc::clone(&handle);
        let mut scope = Box::pin(scope(move |scope: Scope<'static, ()>| {
            let child = scope.spawn(pending::<Result<(), ()>>());
            *to.lock().unwrap() = Some(scope);
            async move {
                child.await;
                Ok(())
            }
        }));
        let mut poll = |waker: &Waker| {
            let polled = scope.as_mut().poll(&mut Context::from_waker(waker));
            assert!(polled.is_pending());
        };
        poll(Waker::noop());
        for _ in 0..2 {
            let scope = handle.lock().unwrap().clone().unwrap();
            poll(&owning(Spawns(scope)));
        }
        poll(Waker::noop());
    });
}
