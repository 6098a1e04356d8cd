//! The README is a program: every command in it is run, and what it prints is compared.

use oneiric_tests::console::{self, Step};
use oneiric_tests::{Place, Process, binary};

const README: &str = include_str!("../../README.md");
const QUICKSTART: &str = include_str!("../../examples/quickstart/oneiric.toml");

const START: &str = "cargo run -p oneiric-cli -- ";
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
            &format!("{START}run --config examples/quickstart/oneiric.toml"),
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
    let mut tour = Tour {
        idle: Some(place),
        process: None,
        last_exit: None,
        faults: Vec::new(),
    };
    let steps = console::steps(README);
    assert!(steps.len() > 12, "{} steps are no tour", steps.len());
    for step in &steps {
        tour.go(step);
    }
    assert!(
        tour.process.is_none(),
        "the tour ends with stopping the process"
    );
    assert!(tour.faults.is_empty(), "\n{}", tour.faults.join("\n"));
}

/// A person with two terminals: in the first the process runs, in the second commands are typed.
struct Tour {
    idle: Option<Place>,
    process: Option<Process>,
    last_exit: Option<i32>,
    faults: Vec<String>,
}

impl Tour {
    fn go(&mut self, step: &Step) {
        let printed = match step.command.as_str() {
            TEST | PATH => String::new(),
            "echo $?" => format!("{}\n", self.last_exit.unwrap()),
            "^C" => self.interrupt(),
            command => match command.strip_prefix(START) {
                Some(words) => self.start(words),
                None => self.typed(command),
            },
        };
        self.faults.extend(console::difference(step, &printed));
    }

    fn start(&mut self, words: &str) -> String {
        let words: Vec<&str> = words.split(' ').collect();
        let process = Process::start_in(self.idle.take().unwrap(), &words);
        process.wait_for_line("stop it with");
        let said = process.stderr();
        self.process = Some(process);
        said
    }

    /// Ctrl-C in the first terminal.
    fn interrupt(&mut self) -> String {
        let process = self.process.take().unwrap();
        let before = process.stderr();
        process.signal("INT");
        let (code, said) = process.wait();
        self.last_exit = code;
        said.strip_prefix(&before).unwrap().to_owned()
    }

    /// A command in the second terminal, through a shell, as a person types it.
    fn typed(&mut self, line: &str) -> String {
        let place = self.process.as_ref().unwrap().place();
        let mut path = binary::path().parent().unwrap().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut shell = place.command("sh");
        let answer = Place::answer(shell.args(["-c", line]).env("PATH", path));
        self.last_exit = answer.code;
        answer.stdout + &answer.stderr
    }
}
