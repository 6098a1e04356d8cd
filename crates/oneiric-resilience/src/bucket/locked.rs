//! The line, while nobody else changes it. What newcomers must know of it is told when the lock is given
//! back, and wakers are called and dropped after that.

use std::mem;
use std::ops::{Deref, DerefMut};

use super::line::Line;
use super::shared::{Shared, end};
use crate::sync::{MutexGuard, Ordering, lock};
use crate::wake::Afterwards;

pub(super) struct Locked<'a, C> {
    shared: &'a Shared<C>,
    line: MutexGuard<'a, Line>,
    // After the lock, so that it is dropped after it.
    afterwards: Afterwards,
}

impl<C> Shared<C> {
    pub(super) fn lock(&self) -> Locked<'_, C> {
        Locked {
            shared: self,
            line: lock(&self.line),
            afterwards: Afterwards::default(),
        }
    }

    /// Tells newcomers whether somebody waits, and for how long that is sure.
    fn publish(&self, line: &mut Line) {
        let told = (line.waited_for, line.lapse);
        if mem::replace(&mut line.told, told) == told {
            return;
        }
        self.lapse.store(line.lapse, Ordering::Release);
        self.waited_for.store(line.waited_for, Ordering::Release);
        let gate = match line.waited_for {
            0 => end(self.origin),
            _ => 0,
        };
        self.gate.store(gate, Ordering::Release);
    }
}

impl<C> Drop for Locked<'_, C> {
    fn drop(&mut self) {
        self.shared.publish(&mut self.line);
        self.afterwards = mem::take(&mut self.line.afterwards);
    }
}

impl<C> Deref for Locked<'_, C> {
    type Target = Line;

    fn deref(&self) -> &Line {
        &self.line
    }
}

impl<C> DerefMut for Locked<'_, C> {
    fn deref_mut(&mut self) -> &mut Line {
        &mut self.line
    }
}
