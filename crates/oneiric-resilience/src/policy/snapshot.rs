//! What can be seen of a policy at one moment.

use super::order::Stage;
use super::parts::Parts;
use crate::{BreakerSnapshot, BulkheadSnapshot, Clock, RetryBudget, TokenBucketSnapshot};

/// A policy at one moment: its parts, those it has. They are looked at one after the other.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PolicySnapshot {
    /// Its name; empty if it has none.
    pub name: String,
    /// Its stages, the outermost first.
    pub order: Vec<Stage>,
    /// Its breaker.
    pub breaker: Option<BreakerSnapshot>,
    /// Its bucket.
    pub bucket: Option<TokenBucketSnapshot>,
    /// Its bulkhead.
    pub bulkhead: Option<BulkheadSnapshot>,
    /// The retries that its budget has tokens for.
    pub retry_tokens: Option<u32>,
}

impl PolicySnapshot {
    pub(super) fn of<C: Clock>(parts: &Parts<C>) -> Self {
        let budget = parts.retry.as_ref().and_then(|retry| retry.budget());
        Self {
            name: parts.name.to_string(),
            order: parts.order.to_vec(),
            breaker: parts.breaker().map(|breaker| breaker.snapshot()),
            bucket: parts.bucket().map(|bucket| bucket.snapshot()),
            bulkhead: parts.bulkhead().map(|bulkhead| bulkhead.snapshot()),
            retry_tokens: budget.map(RetryBudget::available),
        }
    }
}
