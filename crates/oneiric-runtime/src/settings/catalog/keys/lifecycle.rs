//! How long steps take, and how slots are looked after.

use super::super::{
    DAY, Key,
    Kind::{self, Bytes, Flag, Millis, Number, Percent, Word},
    field::Field,
};

/// The largest state that can be handed over: it is in memory beside both instances.
const GIB: i64 = 1 << 30;

const ON_FAILURE: &[&str] = &["report", "restart", "fail_over", "restart_then_fail_over"];
const REBIND: &[&str] = &["manual", "on_selection", "greedy"];
const HANDOVER: &[&str] = &["off", "empty", "abort"];
const ON_DEPENDENCY_CHANGE: &[&str] = &["nothing", "tell", "restart"];

pub(super) const LIFECYCLE: &[Key] = &[
    Key::new(
        "lifecycle.activation_ms",
        Millis(1..=DAY),
        Field::Millis(|settings| &mut settings.limits.activation),
        "Building an instance.",
    )
    .reloads(),
    Key::new(
        "lifecycle.probe_ms",
        Millis(1..=DAY),
        Field::Millis(|settings| &mut settings.limits.probe),
        "Its answer to a probe.",
    )
    .reloads(),
    Key::new(
        "lifecycle.hook_ms",
        Millis(1..=DAY),
        Field::Millis(|settings| &mut settings.limits.hook),
        "A hook before or after a swap.",
    )
    .reloads(),
    Key::new(
        "lifecycle.drain_ms",
        Millis(1..=DAY),
        Field::Millis(|settings| &mut settings.limits.drain),
        "Calls that still run on the old instance; then it is retired all the same.",
    )
    .reloads(),
    Key::new(
        "lifecycle.retire_ms",
        Millis(1..=DAY),
        Field::Millis(|settings| &mut settings.limits.retire),
        "Its clean-up.",
    )
    .reloads(),
    Key::new(
        "lifecycle.probes_at_once",
        Number(1..=1000),
        Field::Count(|settings| &mut settings.probes_at_once),
        "How many slots are probed at one time while nobody asks.",
    )
    .reloads(),
];

/// The keys of [`PolicyEntry`](oneiric_lifecycle::PolicyEntry).
pub(super) const SLOTS: &[Key] = &[
    policy(
        "slots.<scope>.health_interval_ms",
        Millis(0..=DAY),
        "From one probe to the next; 0: none but those that somebody asks for.",
    ),
    policy(
        "slots.<scope>.health_jitter_percent",
        Percent,
        "By how much an interval is longer or shorter by chance, so that not all are probed at once.",
    ),
    policy(
        "slots.<scope>.health_bad",
        Number(1..=1000),
        "So many bad answers in a row make it unhealthy.",
    ),
    policy(
        "slots.<scope>.health_good",
        Number(1..=1000),
        "So many good answers in a row make it healthy again.",
    ),
    policy(
        "slots.<scope>.health_grace_ms",
        Millis(0..=DAY),
        "How long `temporarily_unavailable` counts as neither good nor bad; then it is bad.",
    ),
    policy(
        "slots.<scope>.on_failure",
        Word(ON_FAILURE),
        "What is done when it is unhealthy: it is said (`report`), another instance of the same candidate is built \
         (`restart`), the next in rank takes over (`fail_over`), or that when restarts are given up.",
    ),
    policy(
        "slots.<scope>.restarts",
        Number(1..=1000),
        "So many restarts within `restarts_within_ms` are tried; then it is given up.",
    ),
    policy(
        "slots.<scope>.restarts_within_ms",
        Millis(1..=DAY),
        "The time in which restarts are counted.",
    ),
    policy(
        "slots.<scope>.restart_backoff_ms",
        Millis(1..=DAY),
        "Until the first restart is tried again; doubled each time.",
    ),
    policy(
        "slots.<scope>.restart_backoff_max_ms",
        Millis(1..=DAY),
        "The longest that it becomes.",
    ),
    policy(
        "slots.<scope>.fail_back",
        Flag,
        "Whether a better candidate that has become healthy takes over again by itself.",
    ),
    policy(
        "slots.<scope>.fail_back_after_ms",
        Millis(0..=DAY),
        "How long it must have been healthy for that.",
    ),
    policy(
        "slots.<scope>.bake_ms",
        Millis(0..=DAY),
        "How long a new instance is on trial after a swap, the old one kept warm; 0: not at all.",
    ),
    policy(
        "slots.<scope>.bake_min_calls",
        Number(1..=1_000_000),
        "So many calls must have ended before their share is looked at.",
    ),
    policy(
        "slots.<scope>.bake_error_percent",
        Percent,
        "By so many points the share of failed calls may be above the old instance's.",
    ),
    policy(
        "slots.<scope>.bake_panic_percent",
        Percent,
        "The share of calls that may panic.",
    ),
    policy(
        "slots.<scope>.rebind",
        Word(REBIND),
        "When somebody else takes over although nothing failed: only when an operator asks (`manual`), when a selection \
         changes, or whenever somebody else ranks best (`greedy`).",
    ),
    policy(
        "slots.<scope>.rebind_settle_ms",
        Millis(0..=DAY),
        "How long who ranks best must have stayed the same before a `greedy` slot follows.",
    ),
    policy(
        "slots.<scope>.handover",
        Word(HANDOVER),
        "Whether state goes from the old instance to the new. Over budget, the new one begins without it (`empty`) or \
         the swap is rolled back (`abort`).",
    ),
    policy(
        "slots.<scope>.handover_block_ms",
        Millis(1..=DAY),
        "How long new calls wait for it at most.",
    ),
    policy(
        "slots.<scope>.handover_max_bytes",
        Bytes(1..=GIB),
        "The largest state that is taken over.",
    ),
    policy(
        "slots.<scope>.on_dependency_change",
        Word(ON_DEPENDENCY_CHANGE),
        "What its instance does when a slot that it requires is exchanged: its references follow by themselves \
         (`nothing`), it is told (`tell`), or a new instance of the same candidate is built (`restart`).",
    ),
];

/// A key of a slot's policy. Policies are exchanged whole, so every one of them can be reloaded.
const fn policy(path: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key::new(path, kind, Field::Policy, doc).reloads()
}
