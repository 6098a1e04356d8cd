//! The contract between services and their callers, under random sequences of everything that may be done to a stack of
//! layers and its clones: see the page of the module.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use oneiric_resilience::layers::{
    BreakerLayer, BucketLayer, BulkheadLayer, InnerLayer, RetryLayer, TimeoutLayer,
};
use oneiric_resilience::{Breaker, BreakerState, Bulkhead, Error, TokenBucket, TokioClock};
use proptest::prelude::*;
use tokio::time::{Instant, advance};
use tower::{Service, ServiceBuilder};

use super::gates::{breaker, bucket, bulkhead};
use super::mock::{Alarm, Answer, Fault, Mock, poll};
use super::retries::retry;

/// What may happen; numbers choose among the services or calls that there are.
#[derive(Debug, Clone, Copy)]
enum Step {
    Clone(usize),
    Ask(usize),
    /// Calls if it is ready.
    Call(usize, Answer),
    Drop(usize),
    Poll(usize),
    GiveUp(usize),
    Pass(u64),
    Ready(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let answer = prop_oneof![
        4 => Just(Answer::Good),
        1 => Just(Answer::Bad),
        2 => Just(Answer::Hangs),
        4 => (1..400_u64).prop_map(|ms| Answer::After(Duration::from_millis(ms))),
    ];
    let which = 0..8_usize;
    prop_oneof![
        2 => which.clone().prop_map(Step::Clone),
        8 => which.clone().prop_map(Step::Ask),
        6 => (which.clone(), answer).prop_map(|(which, answer)| Step::Call(which, answer)),
        1 => which.clone().prop_map(Step::Drop),
        6 => which.clone().prop_map(Step::Poll),
        1 => which.prop_map(Step::GiveUp),
        3 => (0..1_500_u64).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Ready),
    ]
}

/// A service, and what it last said.
struct Caller<S> {
    service: S,
    alarm: Arc<Alarm>,
    asked: Option<Poll<()>>,
}

impl<S: Service<u32, Error = Error<Fault>>> Caller<S> {
    fn new(service: S) -> Self {
        Self {
            service,
            alarm: Alarm::new(),
            asked: None,
        }
    }

    fn look(&mut self) {
        self.asked = Some(self.ask());
    }

    fn ask(&mut self) -> Poll<()> {
        self.alarm.rung();
        let waker = self.alarm.waker();
        let asked = self.service.poll_ready(&mut Context::from_waker(&waker));
        let now = asked.map(|ready| ready.expect("a rejection does not break a service"));
        if self.asked == Some(Poll::Ready(())) {
            assert_eq!(now, Poll::Ready(()), "what is ready stays ready");
        }
        now
    }
}

/// What everybody shares.
struct World {
    mock: Mock,
    seats: Bulkhead<TokioClock>,
    tokens: TokenBucket<TokioClock>,
    breaker: Breaker<TokioClock>,
}

const LIMIT: u32 = 2;
const CAPACITY: u32 = 3;

impl World {
    fn new() -> Self {
        Self {
            mock: Mock::new(),
            seats: bulkhead(LIMIT, 3),
            tokens: bucket(CAPACITY, 3),
            breaker: breaker(),
        }
    }

    /// Whatever is done, this holds.
    fn check(&self, began: Instant) {
        assert_eq!(self.mock.violations(), 0);
        assert!(self.mock.running() <= LIMIT);
        assert!(self.seats.in_flight() <= LIMIT);
        let granted = f64::from(CAPACITY) + began.elapsed().as_secs_f64();
        let calls = self.mock.calls().len() as f64;
        assert!(calls <= granted, "{calls} calls, {granted} tokens");
    }
}

async fn play<S>(steps: &[Step], world: &World, service: S, wakes: bool)
where
    S: Service<u32, Response = u32, Error = Error<Fault>> + Clone,
{
    let began = Instant::now();
    let mut callers = vec![Caller::new(service)];
    let mut calls: Vec<Pin<Box<S::Future>>> = vec![];
    for &step in steps {
        match step {
            Step::Clone(which) => {
                let which = which % callers.len();
                let clone = callers[which].service.clone();
                callers.push(Caller::new(clone));
            }
            Step::Ask(which) => {
                let which = which % callers.len();
                callers[which].look();
            }
            Step::Call(which, answer) => {
                let which = which % callers.len();
                if callers[which].asked == Some(Poll::Ready(())) {
                    callers[which].asked = None;
                    let before = world.mock.calls().len();
                    world.mock.next(answer);
                    calls.push(Box::pin(callers[which].service.call(1)));
                    if world.mock.calls().len() == before {
                        world.mock.take_back();
                    }
                }
            }
            Step::Drop(which) if callers.len() > 1 => {
                callers.swap_remove(which % callers.len());
            }
            Step::Poll(which) if !calls.is_empty() => {
                let which = which % calls.len();
                if poll(calls[which].as_mut()).is_ready() {
                    drop(calls.swap_remove(which));
                }
            }
            Step::GiveUp(which) if !calls.is_empty() => {
                drop(calls.swap_remove(which % calls.len()));
            }
            Step::Pass(ms) => advance(Duration::from_millis(ms)).await,
            Step::Ready(ready) => world.mock.set_ready(ready),
            Step::Drop(_) | Step::Poll(_) | Step::GiveUp(_) => {}
        }
        world.check(began);
        if wakes {
            for caller in &mut callers {
                if caller.asked == Some(Poll::Pending) && caller.alarm.rung() == 0 {
                    assert_eq!(caller.ask(), Poll::Pending, "ready, and nobody was woken");
                } else if caller.asked == Some(Poll::Pending) {
                    // Woken: whoever is, asks again.
                    caller.look();
                }
            }
        }
    }
    drop((callers, calls));
    assert_eq!((world.seats.in_flight(), world.seats.waiting()), (0, 0));
    assert_eq!(world.mock.running(), 0);
    // No probe is lost: an open breaker can be closed again.
    advance(Duration::from_secs(1)).await;
    if world.breaker.state() != BreakerState::Closed {
        let probe = world.breaker.permit().expect("its slot is free");
        probe.record(oneiric_resilience::Outcome::Success);
    }
    assert_eq!(world.breaker.state(), BreakerState::Closed);
    // Nor a token: the bucket fills up to its capacity.
    advance(Duration::from_secs(u64::from(CAPACITY))).await;
    assert!(world.tokens.try_take(CAPACITY).is_ok());
}

pub(super) fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_stack_keeps_the_contract_and_leaves_nothing_behind(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        paused().block_on(async {
            let world = World::new();
            let service = ServiceBuilder::new()
                .layer(BreakerLayer::new(world.breaker.clone()))
                .layer(BucketLayer::new(world.tokens.clone()))
                .layer(BulkheadLayer::new(world.seats.clone()))
                .layer(TimeoutLayer::new(Duration::from_millis(300)))
                .layer(InnerLayer)
                .service(world.mock.clone());
            play(&steps, &world, service, false).await;
        });
    }

    #[test]
    fn and_so_it_does_in_another_order_with_retries(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        paused().block_on(async {
            let world = World::new();
            let service = ServiceBuilder::new()
                .layer(BulkheadLayer::new(world.seats.clone()))
                .layer(RetryLayer::new(retry(3)).retry_rejected())
                .layer(BucketLayer::new(world.tokens.clone()).max_wait(Duration::from_millis(700)))
                .layer(BreakerLayer::new(world.breaker.clone()))
                .layer(InnerLayer)
                .service(world.mock.clone());
            play(&steps, &world, service, false).await;
        });
    }

    #[test]
    fn who_can_go_on_is_woken(steps in proptest::collection::vec(step(), 1..80)) {
        paused().block_on(async {
            let world = World::new();
            let service = ServiceBuilder::new()
                .layer(BucketLayer::new(world.tokens.clone()))
                .layer(BulkheadLayer::new(world.seats.clone()))
                .layer(InnerLayer)
                .service(world.mock.clone());
            play(&steps, &world, service, true).await;
        });
    }
}
