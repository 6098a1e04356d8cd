//! A Redis server of a test's own, to be killed, stopped and started again.
//!
//! It is tied to the test by a pipe: a small shell waits for its end, which comes with the end of the
//! test however that ends, and kills the server. So none is ever left behind.
//!
//! Without the program `redis-server` a test shows nothing; see `program`. This file is also a module of the tests of `oneiric-builtins`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

use super::{ports, program};

/// Runs the server until standard input ends, then kills it. Its process id is the first line.
const KEEPER: &str = r#""$@" & echo "$!"; read -r _; kill -9 "$!" 2> /dev/null; wait"#;

/// How long to wait for something that is going to happen. Never reached when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `redis-server`, or one that was killed. Gone when dropped.
#[derive(Debug)]
pub struct RedisServer {
    directory: TempDir,
    port: u16,
    options: Vec<String>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    keeper: Child,
    server: u32,
}

impl RedisServer {
    /// Starts one that keeps nothing on disk; `None` where there is no such program.
    ///
    /// # Panics
    /// Where `CI` is set and there is no such program, or when it cannot be started.
    #[track_caller]
    pub fn start(options: &[&str]) -> Option<Self> {
        if !program::is_there("redis-server") {
            return None;
        }
        let mut server = Self {
            directory: tempfile::Builder::new()
                .prefix("redis")
                .tempdir()
                .expect("a temporary directory"),
            port: 0,
            options: options.iter().map(|&option| option.to_owned()).collect(),
            running: None,
        };
        // Between the choice of a port and its use somebody else may take it.
        for _ in 0..20 {
            server.port = ports::free();
            match server.try_start() {
                Ok(()) => return Some(server),
                Err(log) if log.contains("bind:") || log.contains("Failed listening") => {}
                Err(log) => panic!("redis-server does not start:\n{log}"),
            }
        }
        panic!("no free port in twenty attempts");
    }

    /// The port on 127.0.0.1 on which it listens.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its address as settings name it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The address of its Unix socket.
    pub fn socket_url(&self) -> String {
        format!("unix://{}", self.socket())
    }

    fn socket(&self) -> String {
        self.directory.path().join("socket").display().to_string()
    }

    /// Kills it, as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            // The end of its input tells the keeper to kill.
            drop(running.keeper.stdin.take());
            running.keeper.wait().expect("a child can be waited for");
        }
    }

    /// Starts it again where it was, empty.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.kill();
        self.try_start().expect("it starts where it was before");
    }

    /// Stops it without ending it: connections stay and nothing answers.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let running = self.running.as_ref().expect("it runs");
        let script = format!("kill -{name} {}", running.server);
        let status = Command::new("sh").args(["-c", &script]).status();
        assert!(status.expect("a shell").success(), "{script}");
    }

    /// Sends a command as its administrator, and gives what came back, a value a line.
    ///
    /// # Panics
    /// When the server refuses it.
    #[track_caller]
    pub fn admin(&self, words: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-e", "--raw", "-s", &self.socket()])
            .args(words)
            .stdin(Stdio::null())
            .output()
            .expect("redis-cli comes with redis-server");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{words:?}: {text}{output:?}");
        text.trim_end().to_owned()
    }

    fn try_start(&mut self) -> Result<(), String> {
        let mut command = Command::new("sh");
        command
            .args(["-c", KEEPER, "sh", "redis-server"])
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--unixsocket", &self.socket()])
            .args(["--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(self.directory.path())
            .args(&self.options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut keeper = command.spawn().expect("a shell");
        let output = BufReader::new(keeper.stdout.take().expect("stdout is piped"));
        let (lines, heard) = mpsc::channel();
        // Goes on after it is ready, or the server would stand still before a full pipe.
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                drop(lines.send(line));
            }
        });
        let first = heard.recv_timeout(PATIENCE).expect("the keeper names it");
        let server = first.trim().parse().expect("a process id");
        self.running = Some(Running { keeper, server });
        let mut log = String::new();
        loop {
            let line = heard
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| "aborting: silent".into());
            let (ready, failed) = (
                line.contains("Ready to accept connections"),
                ["aborting", "FATAL", "Bad directive", "can't"]
                    .iter()
                    .any(|word| line.contains(word)),
            );
            log.push_str(&line);
            log.push('\n');
            if ready {
                return Ok(());
            }
            if failed {
                self.kill();
                return Err(log);
            }
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
