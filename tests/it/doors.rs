//! What `doctor` finds wrong with the places where a process listens, and what `run` says of the same.

use std::fs::{Permissions, set_permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use oneiric_tests::settings::CACHES;
use oneiric_tests::{Place, Process};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;

use crate::remote;

fn doctor(place: &Place) -> Value {
    serde_json::from_str(&place.oneiric(&["doctor", "--json"]).stdout).unwrap()
}

/// One check: its verdict, what it says, and the fix.
#[track_caller]
fn check(document: &Value, name: &str) -> [String; 3] {
    let checks = document["checks"].as_array().unwrap();
    let found = checks.iter().find(|one| one["check"] == name);
    let found = found.unwrap_or_else(|| panic!("no {name} in {document:#}"));
    ["verdict", "says", "fix"].map(|key| found[key].as_str().unwrap_or_default().to_owned())
}

#[test]
fn something_else_in_the_place_of_the_socket_is_found_before_run_stumbles_over_it() {
    let place = Place::with(CACHES);
    place.write(".oneiric/admin.sock", "");
    let directory = place.path().join(".oneiric");
    set_permissions(directory, Permissions::from_mode(0o700)).unwrap();
    let [verdict, says, fix] = check(&doctor(&place), "socket");
    assert_eq!(verdict, "bad");
    assert!(
        says.contains("is no socket") && fix.contains("admin.socket"),
        "{says} {fix}"
    );
    let said = place.oneiric(&["run"]).failed(3);
    assert!(
        said.contains("(runtime.socket_unusable)") && said.contains("hint: move away"),
        "{said}"
    );
}

#[test]
fn a_socket_that_another_process_serves_is_told_before_run_is_refused() {
    let other = Process::start(CACHES);
    let socket = other.place().socket();
    let place = Place::with(&format!("{CACHES}\n[admin]\nsocket = {socket:?}\n"));
    let [verdict, says, _] = check(&doctor(&place), "socket");
    assert_eq!(verdict, "bad");
    assert!(
        says.contains("one that is started here is refused"),
        "{says}"
    );
    place.oneiric(&["run"]).failed(6);
    // Its own process, and one that somebody names to look at it, are nothing to complain of.
    for words in [
        &["doctor"][..],
        &["--socket", socket.to_str().unwrap(), "doctor"],
    ] {
        let said = other.oneiric(words).ok();
        assert!(!said.contains("is served by"), "{said}");
    }
}

/// Settings that want TCP, with a certificate that ends in this year.
fn with_tls(year: i32) -> (Place, TcpListener) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let place = Place::with(&format!(
        "{CACHES}\n[admin.tcp]\nlisten = \"{address}\"\ncertificate = \"server.pem\"\nkey = \"server.key\"\n\
         [[admin.tokens]]\nname = \"a\"\nrole = \"read\"\ntoken = \"secret://env/TOKEN\"\n"
    ));
    certificate(&place, "server", year);
    (place, taken)
}

fn certificate(place: &Place, name: &str, year: i32) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    for (ending, text) in [("pem", certificate.pem()), ("key", key.serialize_pem())] {
        let name = format!("{name}.{ending}");
        place.write(&name, &text);
        set_permissions(place.path().join(name), Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn what_keeps_tcp_from_being_served_is_found_without_a_process() {
    let (place, taken) = with_tls(2100);
    let document = doctor(&place);
    assert_eq!(check(&document, "tls")[0], "good", "{document:#}");
    let [verdict, says, fix] = check(&document, "tcp");
    assert_eq!(verdict, "bad");
    assert!(
        says.contains("runtime.listen_failed") && fix.contains("admin.tcp.listen"),
        "{says}"
    );
    drop(taken);
    assert_eq!(check(&doctor(&place), "tcp")[0], "good");
    // Another certificate's key.
    certificate(&place, "other", 2100);
    std::fs::rename(
        place.path().join("other.key"),
        place.path().join("server.key"),
    )
    .unwrap();
    let [verdict, says, fix] = check(&doctor(&place), "tls");
    assert_eq!(verdict, "bad");
    assert!(
        says.contains("runtime.tls_unusable") && !fix.is_empty(),
        "{says} {fix}"
    );
    std::fs::remove_file(place.path().join("server.pem")).unwrap();
    assert!(check(&doctor(&place), "tls")[1].contains("server.pem"));
    certificate(&place, "server", 2001);
    let [verdict, says, _] = check(&doctor(&place), "tls");
    assert_eq!(
        (verdict.as_str(), says.contains("ended")),
        ("bad", true),
        "{says}"
    );
}

#[test]
fn tcp_that_nobody_could_use_is_refused_by_check_as_by_run() {
    let (place, _taken) = with_tls(2100);
    let settings = std::fs::read_to_string(place.path().join("oneiric.toml")).unwrap();
    let without = settings.split("[[admin.tokens]]").next().unwrap();
    place.write("oneiric.toml", without);
    for words in [&["config", "check"][..], &["run"]] {
        let said = place.oneiric(words).failed(3);
        assert!(said.contains("(runtime.tcp_unguarded)"), "{said}");
        assert!(said.contains("hint: add `[[admin.tokens]]`"), "{said}");
    }
    assert_eq!(check(&doctor(&place), "tcp")[0], "bad");
}

#[test]
fn of_a_process_elsewhere_only_that_process_is_examined() {
    let (process, url) = remote::start(CACHES);
    // Settings of this machine that are wrong are nothing to the process elsewhere.
    let here = Place::with("[run]\ngarce_ms = 1\n");
    let file = |name: &str| process.place().path().join(name).display().to_string();
    let answer = here.oneiric(&[
        "--url",
        &url,
        "--ca-file",
        &file("ca.pem"),
        "--token-file",
        &file("read"),
        "doctor",
        "--json",
    ]);
    let document: Value = serde_json::from_str(&answer.clone().ok()).unwrap();
    assert_eq!(check(&document, "here")[0], "unknown");
    assert_eq!(check(&document, "process")[0], "good");
    let names: Vec<&str> = document["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["check"].as_str().unwrap())
        .collect();
    for name in [
        "settings",
        "state_dir",
        "database",
        "disk",
        "open_files",
        "socket",
    ] {
        assert!(!names.contains(&name), "{names:?}");
    }
}
