//! The sections of the page, and what each key does.

use super::{File, of_keys, of_policies};

/// Keys that are told of together.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) file: fn() -> File,
    /// How the paths of its keys begin.
    pub(super) under: &'static str,
    pub(super) says: &'static str,
    /// Each with what it does.
    pub(super) keys: &'static [(&'static str, &'static str)],
}

pub(super) const HEAD: &str = "\
# Settings of the resilience patterns

<!-- Made and compared by a test, crates/oneiric-resilience/tests/it/settings.rs. What keys do stands in settings/table.rs. -->

What may stand in a file from which a program reads a `PolicyConfig` (feature `serde`): TOML here, but JSON serves
as well. Which numbers to choose is on [the pages of the patterns](../resilience/README.md).

All keys may be left out; a table that is left out is a stage that is not there, and an empty one (`breaker = {}`) a
stage with its defaults. Keys that end in `_ms` take whole milliseconds: 2000 for 2 s, 86400000 for 24 h. Keys that end in
`_percent` take percent: 50 for a half. An unknown key is refused, one at a time, when the file is read; values that cannot
work are told all at once, by these paths, when the policy is made.

Each table can be read by itself too: `RetryConfig`, `BackoffConfig`, `RetryBudgetConfig`, `BreakerConfig`,
`TokenBucketConfig`, `BulkheadConfig`, `AimdConfig`.
";

pub(super) const SECTIONS: &[Section] = &[
    Section {
        title: "A policy",
        file: of_policies,
        under: "",
        says: "See [policy](../resilience/policy.md).",
        keys: &[
            (
                "deadline_ms",
                "The time that a call has in all, with its waits and attempts.",
            ),
            (
                "retry",
                "How often, and after which waits, a call is tried again.",
            ),
            (
                "retry_rejected",
                "Whether an attempt that a stage inside of the retry refused is tried again, after the wait that the refusal names. Only with `retry`.",
            ),
            (
                "breaker",
                "When calls are not made because what is called is down.",
            ),
            ("bucket", "How many calls a second are made."),
            (
                "bucket_wait_ms",
                "How long a call may wait for its token; 0 is not at all. Only with `bucket`.",
            ),
            ("bulkhead", "How many calls are made at once."),
            (
                "bulkhead_wait_ms",
                "How long a call may wait for its permit; 0 is not at all. Only with `bulkhead`.",
            ),
            (
                "attempt_limit_ms",
                "The time that an attempt has, from when it has its permit; then it is cut off, and has failed. Less than `deadline_ms` and `retry.total_limit_ms`.",
            ),
            (
                "order",
                "The stages that are set, outermost first, each once; `attempt` is `attempt_limit_ms`. Left out: in the order of this list. Only `breaker`, `bucket` and `bulkhead` can stand elsewhere, anywhere between `deadline` and `attempt`.",
            ),
        ],
    },
    Section {
        title: "Retry",
        file: of_policies,
        under: "retry.",
        says: "See [retry](../resilience/retry.md).",
        keys: &[
            (
                "attempts",
                "How often the call is made at most, the first time included.",
            ),
            ("backoff", "The waits between attempts."),
            (
                "total_limit_ms",
                "The time that all attempts and the waits between them have. Beside `deadline_ms` it matters only where it ends earlier.",
            ),
            (
                "attempt_limit_ms",
                "For a `RetryConfig` alone: the time that an attempt has, more than 0, at most 24 h. On a blocking thread nothing is cut off.",
            ),
            (
                "max_retry_after_ms",
                "The longest wait that the called one may ask for. Who asks for more is not tried again.",
            ),
            (
                "budget",
                "How many retries all calls of the policy may make together; `\"none\"` for no bound.",
            ),
        ],
    },
    Section {
        title: "Waits between attempts",
        file: of_policies,
        under: "retry.backoff.",
        says: "See [backoff](../resilience/retry.md#backoff).",
        keys: BACKOFF,
    },
    Section {
        title: "Retry budget",
        file: of_policies,
        under: "retry.budget.",
        says: "See [the budget](../resilience/retry.md#the-budget).",
        keys: &[
            (
                "capacity",
                "How many retries can be saved up; it begins with all of them.",
            ),
            (
                "ratio",
                "How many retries a success brings: 0.1 is one for ten successes.",
            ),
            (
                "min_per_sec",
                "How many retries a second are allowed though none is saved.",
            ),
        ],
    },
    Section {
        title: "Breaker",
        file: of_policies,
        under: "breaker.",
        says: "See [circuit breaker](../resilience/circuit-breaker.md).",
        keys: &[
            ("window", "Which calls it judges by."),
            (
                "failure_percent",
                "It opens when so many of them failed; and again when so many probes did. Does not matter with `window.consecutive`.",
            ),
            (
                "min_calls",
                "Fewer calls than these in the window say nothing. At most `window.calls`; does not matter with `window.consecutive`.",
            ),
            (
                "slow_call_ms",
                "A call that takes longer is slow. Less than `attempt_limit_ms`, `retry.total_limit_ms` and `deadline_ms`, unless the breaker stands outside of the retry: less than `deadline_ms` then. Not with `window.consecutive`.",
            ),
            (
                "slow_percent",
                "It opens when so many of the calls were slow. Only with `slow_call_ms`.",
            ),
            ("open", "How long it stays open."),
            (
                "probes",
                "How many calls are let through to find out whether it may close.",
            ),
            (
                "half_open_max_ms",
                "If that is not known after so long, because probes hang, it opens again.",
            ),
            (
                "max_retry_after_ms",
                "The longest that the called one can keep it open by asking for a wait.",
            ),
        ],
    },
    Section {
        title: "Window of a breaker",
        file: of_policies,
        under: "breaker.window.",
        says: "One of `calls`, `time` and `consecutive`, and only one.",
        keys: &[
            ("calls", "The last so many calls, however long ago."),
            ("time", "The calls of the last while."),
            ("time.length_ms", "How long that is."),
            ("time.buckets", "In how many steps calls are forgotten."),
            (
                "consecutive",
                "So many failures in a row open it, and nothing else does.",
            ),
        ],
    },
    Section {
        title: "Open time of a breaker",
        file: of_policies,
        under: "breaker.open.",
        says: "The same keys as of `retry.backoff`, with other defaults. It grows each time that the probes fail, and begins anew once the breaker has closed.",
        keys: BACKOFF,
    },
    Section {
        title: "Token bucket",
        file: of_policies,
        under: "bucket.",
        says: "See [token bucket](../resilience/token-bucket.md).",
        keys: &[
            (
                "capacity",
                "How many calls can be made at once after a quiet time.",
            ),
            (
                "refill_per_sec",
                "How many a second in the long run; 0.5 is one in two seconds. So many that an empty bucket is full within 366 days.",
            ),
            (
                "max_waiters",
                "How many callers may wait for their token. Does not matter without `bucket_wait_ms`: nobody waits then.",
            ),
        ],
    },
    Section {
        title: "Bulkhead",
        file: of_policies,
        under: "bulkhead.",
        says: "See [bulkhead](../resilience/bulkhead.md).",
        keys: &[
            (
                "limit",
                "How many calls are made at once; where that adapts, with how many it begins: `adaptive.min` to `adaptive.max`.",
            ),
            (
                "max_waiters",
                "How many callers may wait for their permit. Does not matter without `bulkhead_wait_ms`: nobody waits then.",
            ),
            ("adaptive", "Finds the limit by itself, between bounds."),
            (
                "shed",
                "Refuses at once who is expected to wait longer than allowed.",
            ),
        ],
    },
    Section {
        title: "Limit that adapts",
        file: of_policies,
        under: "bulkhead.adaptive.",
        says: "See [bulkhead](../resilience/bulkhead.md).",
        keys: &[
            ("min", "The limit never falls below this."),
            ("max", "The limit never rises above this."),
            (
                "increase",
                "By how much the limit rises while as many successes come in as it allows calls at once.",
            ),
            (
                "decrease_percent",
                "What share of the limit an overload takes away.",
            ),
            (
                "latency_above_ms",
                "A success that took longer is a sign of overload too.",
            ),
        ],
    },
    Section {
        title: "Buckets by key",
        file: of_keys,
        under: "",
        says: "Not part of a policy: what a program reads as a `KeyedBucketsConfig`. See [token bucket](../resilience/token-bucket.md).",
        keys: &[
            ("capacity", "How many tokens the bucket of each key holds."),
            (
                "refill_per_sec",
                "How many come back to each a second. So many that an empty bucket is full within 366 days.",
            ),
            (
                "max_keys",
                "How many keys are limited apart at the same time.",
            ),
            (
                "overflow",
                "What becomes of a key for which there is no place: it is refused, or shares one bucket with all others for which there is none.",
            ),
        ],
    },
];

const BACKOFF: &[(&str, &str)] = &[
    (
        "strategy",
        "How the longest wait grows: not, by `factor` each time, or at random up to three times the wait before.",
    ),
    (
        "min_ms",
        "The first of the longest waits; 0 is no wait, ever.",
    ),
    (
        "max_ms",
        "What no wait is longer than. Does not matter to `constant`.",
    ),
    (
        "factor",
        "What an `exponential` wait is multiplied by each time. Does not matter to others.",
    ),
    (
        "jitter",
        "How much of the longest wait is left to chance. Does not matter to `decorrelated`.",
    ),
];
