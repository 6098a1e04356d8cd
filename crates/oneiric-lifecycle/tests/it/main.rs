//! The lifecycle from outside: only public paths, real tasks and threads.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test helpers outside of #[test] functions may fail loudly"
)]

mod absent;
mod activation;
mod activity;
mod activity_load;
mod activity_model;
mod bake;
mod bring_up;
mod calls;
mod cancel_points;
mod cancellation;
mod change_set_handover;
mod change_sets;
mod clocks;
mod deactivation;
mod dependencies;
mod drain_progress;
mod follow;
mod follow_restarts;
mod follow_retired;
mod handover;
mod handover_bad;
mod keyed;
mod leaving;
mod load;
mod pausing;
mod reconfigure;
mod redaction;
mod roll_back;
mod schedules;
mod self_healing;
mod shutdown;
mod shutdown_order;
mod support;
mod threads;
