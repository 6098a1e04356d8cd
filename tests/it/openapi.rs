//! The OpenAPI document against the process it describes, by a program that knows nothing but the document.

use oneiric_tests::Place;
use oneiric_tests::program::is_there;
use oneiric_tests::settings::CACHES;

use crate::remote::{OPERATE, start};

/// Schemathesis makes requests from the document, right ones and wrong ones, and looks whether what comes back is what
/// the document says. `.ci/run` installs it.
#[test]
fn what_the_document_says_is_what_the_process_does() {
    if !is_there("schemathesis") {
        return;
    }
    let (process, url) = start(CACHES);
    let place = process.place();
    let document = process.oneiric(&["--json", "list"]).ok();
    assert!(document.contains("oneiric.list/1"));
    place.write(
        "openapi.json",
        include_str!("../../docs/reference/openapi.json"),
    );
    let mut command = place.command("schemathesis");
    command.args([
        "run",
        "openapi.json",
        "--url",
        &url,
        "--tls-verify",
        "ca.pem",
    ]);
    command.args(["--header", &format!("Authorization: Bearer {OPERATE}")]);
    command.args([
        "--max-examples",
        "12",
        "--phases",
        "examples,coverage,fuzzing",
        "--seed",
        "7",
    ]);
    // A stream never ends by itself, which is what it is for; tests of its own are in the runtime.
    command.args(["--exclude-path", "/v1/events"]);
    // What is well-formed may still be refused: a slot that is not there, an assumption that contradicts itself.
    command.args(["--exclude-checks", "positive_data_acceptance"]);
    command.args(["--no-color", "--request-timeout", "30"]);
    let answer = Place::answer(&mut command);
    assert_eq!(answer.code, Some(0), "{}\n{}", answer.stdout, answer.stderr);
    assert!(answer.stdout.contains(" generated, "), "{}", answer.stdout);
    // And it does its work still.
    process.oneiric(&["call", "service/clock", "now"]).ok();
    let (code, _) = process.stop();
    assert_eq!(code, Some(0));
}
