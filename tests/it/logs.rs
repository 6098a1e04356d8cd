//! The log of a real process: for programs, for people, and for nobody.

use std::process::Stdio;

use oneiric_tests::settings::CACHES;
use oneiric_tests::{Place, Process, binary, eventually};
use serde_json::Value;

/// What was logged, leaving out what the process says to the person who started it.
fn lines(stderr: &str) -> Vec<Value> {
    let json = stderr.lines().filter(|line| line.starts_with('{'));
    json.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The only line with this message.
fn only<'l>(lines: &'l [Value], message: &str) -> &'l Value {
    let found: Vec<&Value> = lines
        .iter()
        .filter(|line| line["message"] == message)
        .collect();
    let [line] = found[..] else {
        panic!("{} lines say `{message}`: {lines:#?}", found.len());
    };
    line
}

#[test]
fn p86_every_line_for_programs_has_its_message_and_fields() {
    let settings = format!("{CACHES}\n[log]\nformat = \"json\"\nfilter = \"debug\"\n");
    let process = Process::start(&settings);
    process
        .oneiric(&["swap", "adapter/cache", "flaky"])
        .failed(7);
    process.oneiric(&["call", "service/clock", "now"]).ok();
    process
        .oneiric(&["call", "adapter/cache", "nothing"])
        .failed(4);
    let (code, stderr) = process.stop();
    assert_eq!(code, Some(0), "{stderr}");
    let lines = lines(&stderr);
    for line in &lines {
        let names: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert_eq!(
            names,
            ["fields", "level", "message", "spans", "target", "timestamp"],
            "{line}"
        );
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
        assert!(!line["message"].as_str().unwrap().is_empty(), "{line}");
    }
    // What went wrong is there once, with who, where and for which request.
    let line = only(&lines, "swap rolled back");
    let fields = &line["fields"];
    for (name, expected) in [
        ("slot", "adapter/cache"),
        ("to", "flaky"),
        ("provider", "flaky"),
        ("code", "lifecycle.probe_failed"),
        ("origin", "settings"),
    ] {
        assert_eq!(fields[name], expected, "{line}");
    }
    assert_eq!(line["level"], "warn");
    assert_eq!(line["spans"], serde_json::json!(["admin_request", "swap"]));
    let request = fields["request_id"].as_str().unwrap();
    let of_request = lines.iter().filter(|line| {
        line["fields"]["request_id"] == request && line["fields"]["status"] != Value::Null
    });
    assert_eq!(of_request.count(), 1, "{lines:#?}");
    let refused = only(&lines, "admin request refused");
    assert_eq!(
        refused["fields"]["code"], "lifecycle.unknown_operation",
        "{refused}"
    );
}

#[test]
fn the_variable_wins_over_the_settings() {
    let settings = format!("{CACHES}\n[log]\nformat = \"json\"\nfilter = \"trace\"\n");
    let process = Process::start_with(
        Place::with(&settings),
        &["run"],
        &[("ONEIRIC_LOG", "error")],
    );
    process
        .oneiric(&["swap", "adapter/cache", "flaky"])
        .failed(7);
    let (_, stderr) = process.stop();
    assert!(lines(&stderr).is_empty(), "{stderr}");
}

#[test]
fn a_wrong_filter_in_the_settings_is_an_error_that_names_it() {
    let place = Place::with("[log]\nfilter = \"a=b=c\"\n");
    let said = place.oneiric(&["run"]).failed(3);
    assert!(
        said.contains("(runtime.settings_invalid)")
            && said.contains("log.filter")
            && said.contains("not a log filter"),
        "{said}"
    );
}

#[test]
fn a_process_whose_log_nobody_reads_serves_and_stops() {
    let settings = format!("{CACHES}\n[log]\nfilter = \"trace\"\n");
    let place = Place::with(&settings);
    // A pipe that is never read, and soon full; and one whose reader is gone at once.
    for reads in [true, false] {
        let mut command = place.command(binary::path());
        command
            .arg("run")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let pipe = child.stderr.take().unwrap();
        let kept = reads.then_some(pipe);
        eventually("it answers", || place.oneiric(&["health"]).code == Some(0));
        // Each is logged with what was asked for; 64 KiB are more than a pipe holds.
        let unknown = "x".repeat(120);
        for _ in 0..120 {
            place
                .oneiric(&["call", "adapter/cache", &unknown])
                .failed(4);
        }
        assert_eq!(place.oneiric(&["health"]).code, Some(0));
        let pid = child.id().to_string();
        let killed = std::process::Command::new("sh")
            .args(["-c", &format!("kill -TERM {pid}")])
            .status();
        assert!(killed.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "reads: {reads}");
        drop(kept);
    }
}

/// A reload checks what a start checks.
#[test]
fn a_wrong_filter_in_reloaded_settings_is_refused_with_its_place() {
    let settings = format!("{CACHES}\n[reload]\nwatch = false\n");
    let process = Process::start(&settings);
    let with = |filter: &str| {
        let text = format!("{settings}\n[run]\ngrace_ms = 7\n[log]\nfilter = \"{filter}\"\n");
        process.place().write("oneiric.toml", &text);
        process.oneiric(&["reload"])
    };
    let said = with("a=b=c").failed(3);
    assert!(
        said.contains("log.filter") && said.contains("(runtime.settings_invalid)"),
        "{said}"
    );
    assert!(said.contains("oneiric.toml:"), "{said}");
    let in_force = process.oneiric(&["config", "show"]).ok();
    assert!(!in_force.contains("grace_ms = 7\n"), "{in_force}");
    with("debug").ok();
    let (code, _) = process.stop();
    assert_eq!(code, Some(0));
}
