//! What the patterns tell a dashboard, through the facade `metrics`.
//!
//! Nothing hot is counted twice. What happens seldom (a transition, a rejection, a retry) is counted when
//! it happens, by an observer; what a part knows of itself anyway is copied when somebody is about to
//! look ([`ResilienceMetrics::publish`]). So a call that goes well costs the same with metrics as
//! without. Labels are the names that the program gave its parts, and words of which there are few.

mod observer;
mod part;
mod publish;
mod table;

use std::sync::Arc;
use std::{fmt, mem};

use ::metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit,
};

pub use self::observer::MetricsObserver;
use self::part::Part;
pub(crate) use self::part::Weakly;
use self::table::{Kind, Metric};
use crate::sync::{Mutex, MutexGuard, lock};
use crate::{Breaker, Bulkhead, Clock, KeyedBuckets, Policy, RetryBudget, TokenBucket};

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// Metrics of breakers, buckets, bulkheads, retries and policies, in one recorder. Clones are the same.
///
/// The recorder is passed in; nothing global is set. What there is, and what it says, is in
/// `docs/reference/resilience-metrics.md`.
///
/// Parts are published as long as the program has them: nothing here keeps one, and those that are gone
/// are forgotten. What the recorder was told of them last, it keeps.
///
/// ```
/// use oneiric_resilience::{BreakerConfig, Policy, PolicyConfig, ResilienceMetrics, RetryConfig};
///
/// # let recorder = std::sync::Arc::new(metrics::NoopRecorder);
/// // Any `metrics::Recorder`: that of an exporter, say, in an `Arc`.
/// let metrics = ResilienceMetrics::new(recorder);
/// let policy = Policy::builder(PolicyConfig {
///     retry: Some(RetryConfig::default()),
///     breaker: Some(BreakerConfig::default()),
///     ..PolicyConfig::default()
/// })
/// .name("payments")
/// .observer(metrics.observer("payments"))
/// .breaker_observer(metrics.observer("payments"))
/// .build()?;
/// metrics.policy("payments", &policy);
/// // Before each scrape:
/// metrics.publish();
/// # Ok::<(), oneiric_resilience::InvalidConfig>(())
/// ```
#[derive(Clone)]
pub struct ResilienceMetrics {
    shared: Arc<Shared>,
}

struct Shared {
    recorder: Box<dyn Recorder + Send + Sync>,
    parts: Mutex<Vec<Arc<dyn Part>>>,
}

impl ResilienceMetrics {
    /// Metrics in this recorder, which is told what each of them says.
    pub fn new(recorder: impl Recorder + Send + Sync + 'static) -> Self {
        for metric in Metric::ALL {
            let about = metric.about();
            let name = KeyName::from_const_str(about.name);
            let says = SharedString::const_str(about.says);
            match about.kind {
                Kind::Counter => recorder.describe_counter(name, Some(about.unit), says),
                Kind::Gauge => recorder.describe_gauge(name, Some(about.unit), says),
            }
        }
        Self {
            shared: Arc::new(Shared {
                recorder: Box::new(recorder),
                parts: Mutex::default(),
            }),
        }
    }

    /// Metrics in the recorder that the facade has when a part or an observer of it is made: that of the
    /// thread, or else the program's. Must be installed before.
    pub fn of_facade() -> Self {
        Self::new(Facade)
    }

    /// Counts what happens to the part of that name: for a breaker, a retry, a fallback or a policy.
    pub fn observer(&self, name: impl Into<SharedString>) -> MetricsObserver {
        MetricsObserver::new(self.clone(), name.into())
    }

    /// Publishes a breaker under this name, as long as anybody has it.
    pub fn breaker<C: Clock>(&self, name: impl Into<SharedString>, breaker: &Breaker<C>) {
        self.add(publish::breaker(self, &name.into(), breaker));
    }

    /// Publishes a bucket under this name, as long as anybody has it.
    pub fn bucket<C: Clock>(&self, name: impl Into<SharedString>, bucket: &TokenBucket<C>) {
        self.add(publish::bucket(self, &name.into(), bucket));
    }

    /// Publishes how many keys have a bucket, and how many takes were refused, under this name, as long as
    /// anybody has the buckets.
    pub fn keyed<K: ?Sized + 'static, C: Clock>(
        &self,
        name: impl Into<SharedString>,
        buckets: &KeyedBuckets<K, C>,
    ) {
        self.add(publish::keyed(self, &name.into(), buckets));
    }

    /// Publishes a bulkhead under this name, as long as anybody has it.
    pub fn bulkhead<C: Clock>(&self, name: impl Into<SharedString>, bulkhead: &Bulkhead<C>) {
        self.add(publish::bulkhead(self, &name.into(), bulkhead));
    }

    /// Publishes a retry budget under this name, as long as anybody has it.
    pub fn budget(&self, name: impl Into<SharedString>, budget: &RetryBudget) {
        self.add(publish::budget(self, &name.into(), budget));
    }

    /// Publishes all parts of a policy under this name, each as long as anybody has it. Parts that
    /// several policies share belong under a name of their own.
    pub fn policy<K, C: Clock>(&self, name: impl Into<SharedString>, policy: &Policy<K, C>) {
        let name = name.into();
        policy
            .breaker()
            .inspect(|part| self.breaker(name.clone(), part));
        policy
            .bucket()
            .inspect(|part| self.bucket(name.clone(), part));
        policy
            .bulkhead()
            .inspect(|part| self.bulkhead(name.clone(), part));
        let budget = policy.retry().and_then(|retry| retry.budget());
        budget.inspect(|part| self.budget(name.clone(), part));
    }

    /// Copies what all parts know of themselves: to be called before somebody looks. Asks each part for
    /// its snapshot, so it is nothing to do for each call.
    pub fn publish(&self) {
        // Clocks and the last handle of a part are foreign code: not under the lock.
        let parts = self.parts().clone();
        for part in parts {
            part.publish();
        }
        let gone = take_gone(&mut self.parts());
        drop(gone);
    }

    fn parts(&self) -> MutexGuard<'_, Vec<Arc<dyn Part>>> {
        lock(&self.shared.parts)
    }

    fn add(&self, part: Arc<dyn Part>) {
        let mut parts = self.parts();
        // Where nobody publishes, too: there are never more than twice as many as ever were at once.
        let gone = match parts.len() == parts.capacity() {
            true => take_gone(&mut parts),
            false => Vec::new(),
        };
        parts.push(part);
        drop(parts);
        drop(gone);
    }

    fn counter(&self, metric: Metric, labels: Vec<Label>) -> Counter {
        let key = key(metric, labels);
        self.shared.recorder.register_counter(&key, &METADATA)
    }

    fn gauge(&self, metric: Metric, labels: Vec<Label>) -> Gauge {
        let key = key(metric, labels);
        self.shared.recorder.register_gauge(&key, &METADATA)
    }
}

/// Takes those out that nobody has any more: they own what a recorder gave them, so they go without the lock.
fn take_gone(parts: &mut Vec<Arc<dyn Part>>) -> Vec<Arc<dyn Part>> {
    let all = mem::take(parts).into_iter();
    let (there, gone) = all.partition(|part| part.is_there());
    *parts = there;
    gone
}

/// A metric with values for the labels that the table says it has.
fn key(metric: Metric, labels: Vec<Label>) -> Key {
    let about = metric.about();
    debug_assert!(
        labels
            .iter()
            .map(Label::key)
            .eq(about.labels.iter().copied())
    );
    Key::from_parts(about.name, labels)
}

fn label(name: &SharedString) -> Label {
    Label::new("name", name.clone())
}

impl fmt::Debug for ResilienceMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResilienceMetrics")
            .field("parts", &self.parts().len())
            .finish_non_exhaustive()
    }
}

/// Whatever recorder the facade has just then.
struct Facade;

impl Recorder for Facade {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, says: SharedString) {
        ::metrics::with_recorder(|recorder| recorder.describe_counter(key, unit, says));
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, says: SharedString) {
        ::metrics::with_recorder(|recorder| recorder.describe_gauge(key, unit, says));
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, says: SharedString) {
        ::metrics::with_recorder(|recorder| recorder.describe_histogram(key, unit, says));
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        ::metrics::with_recorder(|recorder| recorder.register_counter(key, metadata))
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        ::metrics::with_recorder(|recorder| recorder.register_gauge(key, metadata))
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        ::metrics::with_recorder(|recorder| recorder.register_histogram(key, metadata))
    }
}
