//! The README is a program: every command in it is run, and what it prints is compared.

use oneiric_tests::{Place, console, guide};

const README: &str = include_str!("../../README.md");
const QUICKSTART: &str = include_str!("../../examples/quickstart/oneiric.toml");

const CARGO: &str = "cargo run -p oneiric-cli -- ";
const TEST: &str = "cargo xtask test";
const PATH: &str = r#"export PATH="$PWD/target/debug:$PATH""#;

#[test]
fn setting_up_takes_exactly_two_commands() {
    let steps = console::steps(README);
    let cargo: Vec<&str> = steps
        .iter()
        .map(|step| step.command.as_str())
        .filter(|command| command.starts_with("cargo "))
        .collect();
    assert_eq!(
        cargo,
        [
            &format!("{CARGO}run --config examples/quickstart/oneiric.toml"),
            TEST
        ]
    );
    assert_eq!(
        steps.iter().position(|step| step.command == TEST),
        Some(1),
        "before the tour"
    );
}

#[test]
fn the_tour_goes_as_the_readme_says() {
    let place = Place::new();
    place.write("examples/quickstart/oneiric.toml", QUICKSTART);
    let steps = console::steps(README).len();
    assert!(steps > 12, "{steps} steps are no tour");
    let faults = guide::run(README, &place, |command| match command {
        // The tests are run by whoever runs this one, and the path leads to what they built.
        TEST | PATH => String::new(),
        _ => match command.strip_prefix(CARGO) {
            Some(words) => format!("oneiric {words}"),
            None => command.to_owned(),
        },
    });
    assert!(faults.is_empty(), "README.md\n{}", faults.join("\n"));
}
