//! Settings files as large as they may be: what is read, and how much of what is wrong is told.

use std::{fmt::Write, sync::mpsc, thread};

use oneiric_runtime::{Settings, SettingsError};

use crate::support::OUTER;

/// Reads a file in a thread of its own: were the work to grow with the square of the size, hours would not do.
fn parse(text: String) -> Result<Settings, SettingsError> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || drop(sender.send(Settings::parse(&text, "big.toml"))));
    receiver.recv_timeout(OUTER).unwrap()
}

#[test]
fn a_long_line_of_values_costs_what_many_short_ones_do() {
    let mut text = "[providers.\"adapter/cache\".first]\nlist = [".to_owned();
    while text.len() < (1 << 20) - 10 {
        text.push_str("1,");
    }
    text.push_str("]\n");
    parse(text).unwrap();
}

#[test]
fn long_keys_of_many_values_are_not_written_out() {
    let mut text = "[providers.\"adapter/cache\".first]\n".to_owned();
    writeln!(text, "{} = [", "k".repeat(500_000)).unwrap();
    while text.len() < (1 << 20) - 10 {
        text.push_str("1,");
    }
    text.push_str("]\n");
    parse(text).unwrap();
}

#[test]
fn the_places_of_a_long_yaml_file_cost_one_reading() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.yaml");
    let mut text = "candidates:\n".to_owned();
    let mut last = 0;
    while text.len() < (1 << 18) - 200 {
        last += 1;
        writeln!(
            text,
            "- slot: task/t{last}\n  provider: p\n  factory: oneiric.test:actor"
        )
        .unwrap();
    }
    let mut file = std::fs::File::create(&path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || drop(sender.send(Settings::load(&path).unwrap().show())));
    let shown = receiver.recv_timeout(OUTER).unwrap();
    let mut end = shown.keys.iter().filter(|key| key.key.ends_with("].slot"));
    assert_eq!(end.next_back().unwrap().set_by.line, Some(last * 3 - 1));
}

#[test]
fn five_thousand_candidates_are_read() {
    let mut text = String::new();
    for number in 0..5_000 {
        writeln!(
            text,
            "[[candidates]]\nslot = \"task/t{number}\"\nprovider = \"p\"\nfactory = \"oneiric.test:actor\""
        )
        .unwrap();
    }
    parse(text).unwrap();
}

#[test]
fn of_many_faults_the_first_are_told_and_the_rest_counted() {
    let mut text = String::new();
    for _ in 0..50_000 {
        text.push_str("[[candidates]]\n");
    }
    let error = parse(text).unwrap_err();
    assert_eq!(error.faults().len(), 100);
    // Each lacks a slot, a provider and a factory.
    let told = error.to_string();
    assert!(told.starts_with("150000 faults in big.toml"), "{told}");
    assert!(told.ends_with("\n  and 149900 more"), "{told}");
}
