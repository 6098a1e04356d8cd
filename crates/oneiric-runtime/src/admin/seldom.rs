//! Lines of the log that somebody else decides the number of: whoever is refused can come again at once, and a component
//! that fails can be called again. Of each kind so many are written in a minute; the next one after that says how many
//! were left out, and all of them are still there for whoever logs more.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// So many lines of a kind are written
const MOST: u32 = 10;
/// in so long.
const WINDOW: Duration = Duration::from_secs(60);

/// What was written lately, by kind. Kinds are codes, so that there are only so many.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<HashMap<&'static str, Lately>>);

#[derive(Debug)]
struct Lately {
    since: Instant,
    written: u32,
    left_out: u64,
}

/// Whether to write a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Yes; before it, so many were left out, if any were.
    Write { left_out: Option<u64> },
    /// Not at this level.
    LeaveOut,
}

impl Seldom {
    /// Takes note of something of this kind.
    pub(super) fn turn(&self, kind: &'static str) -> Turn {
        let now = Instant::now();
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = kinds.entry(kind).or_insert(Lately {
            since: now,
            written: 0,
            left_out: 0,
        });
        if now - lately.since >= WINDOW {
            (lately.since, lately.written) = (now, 0);
        }
        if lately.written == MOST {
            lately.left_out = lately.left_out.saturating_add(1);
            return Turn::LeaveOut;
        }
        lately.written += 1;
        let left_out = std::mem::take(&mut lately.left_out);
        Turn::Write {
            left_out: (left_out > 0).then_some(left_out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_comes_often_is_left_out_and_counted_by_kind() {
        let seldom = Seldom::default();
        let write = |left_out| Turn::Write { left_out };
        for _ in 0..MOST {
            assert_eq!(seldom.turn("a"), write(None));
        }
        for _ in 0..3 {
            assert_eq!(seldom.turn("a"), Turn::LeaveOut);
        }
        assert_eq!(seldom.turn("b"), write(None));
        tokio::time::advance(WINDOW).await;
        assert_eq!(seldom.turn("a"), write(Some(3)));
        assert_eq!(seldom.turn("a"), write(None));
    }
}
