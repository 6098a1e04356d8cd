//! `oneiric watch`: what happens, while it happens, and over a restart.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use oneiric_tests::settings::CACHES;
use oneiric_tests::{Place, Process, binary};
use serde_json::Value;

/// A `watch` that runs, and its lines as they come.
struct Watching {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

fn lines(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Watching {
    fn begin(place: &Place, words: &[&str]) -> Self {
        let mut command = place.command(binary::path());
        command.arg("watch").args(words);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdout: lines(child.stdout.take().unwrap()),
            stderr: lines(child.stderr.take().unwrap()),
            child,
        }
    }

    /// The next line with `text` in it.
    fn line(receiver: &Receiver<String>, text: &str) -> String {
        loop {
            let line = receiver.recv_timeout(Duration::from_secs(60));
            let line = line.unwrap_or_else(|_| panic!("no line with {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    fn code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

/// Swaps to and fro until the watcher, which may be slow to begin, has seen what it waits for.
fn swap_until(process: &Process, mut seen: impl FnMut() -> bool) {
    for provider in ["file", "memory"].iter().cycle().take(200) {
        process.oneiric(&["swap", "adapter/cache", provider]).ok();
        if seen() {
            return;
        }
    }
    panic!("nothing was seen");
}

#[test]
fn a_swap_is_a_line_and_until_ends_the_watch() {
    let process = Process::start(CACHES);
    let mut watching = Watching::begin(process.place(), &["adapter/cache", "--until", "published"]);
    swap_until(&process, || watching.child.try_wait().unwrap().is_some());
    let line = Watching::line(&watching.stdout, "published");
    assert!(line.contains("Z adapter/cache published "), "{line}");
    assert!(line.contains(" -> "), "{line}");
    assert_eq!(watching.code(), Some(0));
    let nothing = ["watch", "--until", "no_such_event", "--timeout", "100ms"];
    assert!(
        process
            .oneiric(&nothing)
            .failed(8)
            .contains("cli.timed_out")
    );
    assert_eq!(process.oneiric(&["watch", "--timeout", "100ms"]).ok(), "");
    let unknown = process.oneiric(&["watch", "adapter/nothing"]).failed(4);
    assert!(unknown.contains("core.no_candidate"), "{unknown}");
    process.stop();
}

#[test]
fn a_watch_outlives_the_process_and_ends_well_on_ctrl_c() {
    let process = Process::start(CACHES);
    let mut watching = Watching::begin(process.place(), &["--json"]);
    let first = std::cell::RefCell::new(None);
    swap_until(&process, || {
        *first.borrow_mut() = watching.stdout.try_recv().ok();
        first.borrow().is_some()
    });
    let event: Value = serde_json::from_str(&first.take().unwrap()).unwrap();
    assert_eq!(event["schema"], "oneiric.event/1");
    let (_, _, place) = process.stop_in_place();
    Watching::line(&watching.stderr, "the process has ended");
    let process = Process::start_in(place, &["run"]);
    Watching::line(&watching.stderr, "there again");
    // What the new process did before cannot be known, which is said.
    Watching::line(&watching.stdout, "\"oneiric.missed/1\"");
    // Whichever of them was selected before and still is.
    for provider in ["file", "memory"] {
        process.oneiric(&["swap", "adapter/cache", provider]).ok();
    }
    Watching::line(&watching.stdout, "\"published\"");
    let interrupt = format!("kill -INT {}", watching.child.id());
    assert!(
        Command::new("sh")
            .args(["-c", &interrupt])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(watching.child.wait().unwrap().code(), Some(0));
    process.stop();
}
