//! A breaker with more than settings: a name, someone who watches, a hand on it.

use std::fmt;
use std::sync::Arc;

use crate::{Backoff, Clock, InvalidConfig, Jitter, SystemClock, ThreadJitter};

use super::control::BreakerControl;
use super::machine::{Machine, Parts};
use super::observe::{BreakerObserver, Observers};
use super::{Breaker, BreakerConfig};

/// Builds a [`Breaker`]. All but the settings can be left out.
#[must_use = "it is `build` that makes a breaker"]
pub struct BreakerBuilder<C: Clock = SystemClock> {
    config: BreakerConfig,
    clock: C,
    name: Arc<str>,
    control: Option<BreakerControl>,
    observers: Vec<Box<dyn BreakerObserver>>,
    jitter: Box<dyn Jitter + Send>,
}

impl BreakerBuilder {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            clock: SystemClock::new(),
            name: Arc::from(""),
            control: None,
            observers: Vec::new(),
            jitter: Box::new(ThreadJitter),
        }
    }
}

impl<C: Clock> BreakerBuilder<C> {
    /// By this clock instead of the machine's.
    pub fn clock<D: Clock>(self, clock: D) -> BreakerBuilder<D> {
        BreakerBuilder {
            clock,
            config: self.config,
            name: self.name,
            control: self.control,
            observers: self.observers,
            jitter: self.jitter,
        }
    }

    /// What it is called in [`BreakerTransition`](super::BreakerTransition)s.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Held by this control from the beginning.
    pub fn control(mut self, control: &BreakerControl) -> Self {
        self.control = Some(control.clone());
        self
    }

    /// One more who is told of its transitions, after those before.
    pub fn observer(mut self, observer: impl BreakerObserver) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Draws the open time from this chance instead of the thread's. That is done while transitions are locked,
    /// so it must not use the breaker. Its panic goes on in the call that was to open the breaker, and another
    /// call opens it.
    pub fn jitter(mut self, jitter: impl Jitter + Send + 'static) -> Self {
        self.jitter = Box::new(jitter);
        self
    }

    /// The breaker, closed, or as its control says.
    ///
    /// # Errors
    /// `resilience.invalid_config` with every setting that is out of its bounds.
    pub fn build(self) -> Result<Breaker<C>, InvalidConfig> {
        let control = self.control.clone();
        let breaker = Breaker::from_machine(self.machine()?);
        breaker.obey(&control.unwrap_or_default());
        Ok(breaker)
    }

    pub(super) fn machine(self) -> Result<Machine<C>, InvalidConfig> {
        let checked = self.config.checked();
        checked.map_err(|invalid| invalid.named(&self.name))?;
        let backoff = Backoff::new(self.config.open)?;
        let parts = Parts {
            clock: self.clock,
            jitter: self.jitter,
            observers: Observers::new(self.observers),
            name: self.name,
        };
        Ok(Machine::new(self.config, backoff, parts))
    }
}

impl<C: Clock> fmt::Debug for BreakerBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerBuilder")
            .field("name", &self.name)
            .field("config", &self.config)
            .field("control", &self.control)
            .field("observers", &self.observers.len())
            .finish_non_exhaustive()
    }
}
