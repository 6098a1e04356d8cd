//! Passing gates with waiting. It is polled together with the gates it is for, so that a service can
//! keep both without one borrowing the other.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::{Gate, Gates, Held, Pass, Refused};
use crate::{Clock, Deadline, EnterBefore, Take};

pin_project_lite::pin_project! {
    /// A call on its way through gates. Dropped, it leaves the queue it is in and gives back what it holds.
    #[derive(Debug)]
    pub(crate) struct Entering<C: Clock> {
        held: Held<C>,
        passed: usize,
        // It waits nowhere longer than until then.
        by: Option<Deadline>,
        #[pin]
        waiting: Waiting<C>,
    }
}

pin_project_lite::pin_project! {
    #[project = WaitingProjection]
    #[derive(Debug)]
    enum Waiting<C: Clock> {
        Nowhere,
        Bucket { #[pin] take: Take<C> },
        Bulkhead { #[pin] enter: EnterBefore<C> },
    }
}

impl<C: Clock> Waiting<C> {
    #[cold]
    fn at(gate: &Gate<C>, until: Deadline) -> Self {
        match gate {
            Gate::Breaker(_) => Self::Nowhere,
            Gate::Bucket(bucket, _) => Self::Bucket {
                take: bucket.take_before(1, until),
            },
            Gate::Bulkhead(bulkhead, _) => Self::Bulkhead {
                enter: bulkhead.enter_before(until),
            },
        }
    }
}

impl<C: Clock> Entering<C> {
    /// A call that comes from outside. It waits nowhere longer than until `by`.
    #[inline]
    pub(crate) fn new(by: Option<Deadline>) -> Self {
        Self {
            held: Held::at_rest(),
            passed: 0,
            by,
            waiting: Waiting::Nowhere,
        }
    }

    /// Goes on through these gates, which must be the same each time. Once it was ready it begins anew.
    #[inline]
    pub(crate) fn poll_enter(
        self: Pin<&mut Self>,
        gates: &Gates<C>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Held<C>, Refused>> {
        let mut this = self.project();
        while let Some(gate) = gates.gates.get(*this.passed) {
            let passed = match this.waiting.as_mut().project() {
                WaitingProjection::Nowhere => match gate.try_pass() {
                    Err(_) if !gate.wait().is_zero() => {
                        this.waiting.set(Waiting::at(gate, gate.until(*this.by)));
                        continue;
                    }
                    passed => passed,
                },
                WaitingProjection::Bucket { take } => ready!(take.poll(cx)).map(|()| Pass::Bucket),
                WaitingProjection::Bulkhead { enter } => ready!(enter.poll(cx)).map(Pass::Bulkhead),
            };
            this.waiting.set(Waiting::Nowhere);
            match passed {
                Ok(pass) => {
                    this.held.push(pass);
                    *this.passed += 1;
                }
                Err(rejected) => {
                    *this.passed = 0;
                    // Nothing ran yet, so nothing panicked.
                    *this.held = Held::at_rest();
                    let stage = gate.stage();
                    return Poll::Ready(Err(Refused { stage, rejected }));
                }
            }
        }
        *this.passed = 0;
        Poll::Ready(Ok(this.held.take_up()))
    }
}
