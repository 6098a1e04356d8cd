//! The help of the real binary, as a person at a terminal gets it.

use oneiric_tests::Place;

const COMMANDS: &[&str] = &[
    "run",
    "init",
    "list",
    "explain",
    "status",
    "call",
    "swap",
    "health",
    "metrics",
    "doctor",
    "config",
    "secrets",
    "reload",
    "pause",
    "drain",
    "resume",
    "activity",
    "watch",
    "state",
    "completions",
    "man",
];

#[test]
fn the_help_of_every_command_has_examples_and_the_global_options() {
    let place = Place::new();
    for command in COMMANDS {
        let help = place.oneiric(&[command, "--help"]).ok();
        let example = format!("\n  oneiric {command}");
        assert!(
            help.contains("Examples:") && help.contains(&example),
            "{help}"
        );
        assert!(
            help.contains("--json") && help.contains("--socket"),
            "{help}"
        );
        assert!(
            help.lines().all(|line| line.chars().count() <= 100),
            "{help}"
        );
    }
}

#[test]
fn the_help_lists_every_command_exit_code_and_variable() {
    let help = Place::new().oneiric(&["--help"]).ok();
    for command in COMMANDS {
        assert!(
            help.contains(&format!("\n  {command}  ")),
            "{command}: {help}"
        );
    }
    for code in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 70] {
        assert!(help.contains(&format!("\n  {code:<2}  ")), "{code}: {help}");
    }
    for variable in [
        "ONEIRIC_CONFIG",
        "ONEIRIC_STATE_DIR",
        "ONEIRIC_LOG",
        "ONEIRIC_FACTORY_ALLOWLIST",
        "ONEIRIC_STACK_ORDER",
        "NO_COLOR",
        "TERM",
    ] {
        assert!(help.contains(variable), "{variable}: {help}");
    }
}

#[test]
fn wrong_words_exit_2_and_no_words_show_the_help() {
    let place = Place::new();
    let said = place.oneiric(&["swap"]).failed(2);
    assert!(said.contains("<SLOT>"), "{said}");
    let said = place.oneiric(&[]).failed(2);
    assert!(said.contains("Commands:"), "{said}");
    let document = place.oneiric(&["explain", "--json"]).failed_json(2);
    assert_eq!(document["code"], "cli.usage");
}
