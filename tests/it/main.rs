//! Scenarios with the real binary: what only a whole process can show. One file per theme.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests; clippy.toml excuses the bodies of tests only"
)]

mod activity;
mod answers;
mod bad_requests;
mod bad_settings;
mod bake;
mod cancel_safety;
mod config;
mod disks;
mod doctor;
mod doors;
mod endings;
mod error_mode;
mod first_steps;
mod guides;
mod handover;
mod help;
mod history;
mod interrupts;
mod kills;
mod load;
mod logs;
mod metrics;
mod openapi;
mod plans;
mod processes;
mod readme;
mod redis;
mod reload;
mod remote;
mod secrets;
mod self_healing;
mod service;
mod settings_page;
mod settings_told;
mod shell;
mod state;
mod swaps;
mod watch;

/// A file that nobody lists is a file of tests that never run.
#[test]
fn every_file_of_tests_is_listed() {
    let listed = include_str!("main.rs");
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/it")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.strip_suffix(".rs").unwrap_or(&name);
        let is_listed = listed.lines().any(|line| line == format!("mod {module};"));
        assert!(module == "main" || is_listed, "{name} is not listed");
    }
}
