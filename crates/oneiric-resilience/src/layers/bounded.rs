//! A future that may have a time limit: without one it costs nothing.

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::Deadline;
use crate::limited::{Limit, Limited, Over};

pin_project_lite::pin_project! {
    #[project = BoundedState]
    #[derive(Debug)]
    pub(super) enum Bounded<F> {
        Free {
            #[pin]
            future: F,
        },
        Limited {
            #[pin]
            limited: Limited<F>,
        },
    }
}

impl<F> Bounded<F> {
    pub(super) const fn until(deadline: Option<Deadline>, future: F) -> Self {
        match deadline {
            None => Self::Free { future },
            Some(deadline) => Self::Limited {
                limited: Limited::new(future, Limit::Until(deadline)),
            },
        }
    }
}

impl<F: Future> Future for Bounded<F> {
    type Output = Result<F::Output, Over>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            BoundedState::Free { future } => future.poll(cx).map(Ok),
            BoundedState::Limited { limited } => limited.poll(cx),
        }
    }
}
