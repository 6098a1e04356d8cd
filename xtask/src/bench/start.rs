//! `cargo xtask bench --start`: what it costs to start the program, in time, CPU and memory.
//!
//! Every figure is taken from outside, of the release build, one process after the other: wall time by our own clock,
//! CPU and the largest resident size from the kernel's account of the process while it is still there. A command that
//! ends by itself is held at its last step for that: its stdout is a pipe that is full, so it waits in its one write.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::workspace::Workspace;
use crate::{Failure, files, tests_run};

const PAGE: &str = "docs/reference/performance.md";
const BEGIN: &str = "<!-- start: begin -->";
const END: &str = "<!-- start: end -->";

/// Runs of each row.
const RUNS: usize = 41;

/// What a pipe holds.
const PIPE: usize = 64 << 10;

/// For anything that is going to happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The goals.
const GOAL_MS: f64 = 10.0;
const GOAL_MB: f64 = 20.0;

/// What one run cost.
struct Cost {
    wall_ms: f64,
    cpu_ms: f64,
    peak_mb: f64,
}

pub(super) fn run(workspace: &Workspace, write: bool) -> Result<(), Failure> {
    // As the tests do: what ONEIRIC_BIN names, for a figure of a program that is built already.
    let binary = match std::env::var_os("ONEIRIC_BIN") {
        Some(named) => PathBuf::from(named),
        None => tests_run::build_binary(workspace, &["--package", "oneiric-cli", "--release"])?,
    };
    let place = Place::new(workspace)?;
    let mut table = String::from(
        "| what | wall time | p10–p90 | CPU | peak memory | goal |\n|---|---|---|---|---|---|\n",
    );
    let mut measure = |name: &str, has_goal: bool, measure: &dyn Fn() -> Result<Cost, Failure>| {
        let costs = (0..RUNS).map(|_| measure());
        let costs = costs.collect::<Result<Vec<Cost>, _>>()?;
        table.push_str(&row(name, &costs, has_goal));
        Ok::<(), Failure>(())
    };
    measure(
        "control: `true`, a program that does nothing",
        false,
        &|| place.listed(Path::new("true"), &[]),
    )?;
    measure("`oneiric list --offline`", true, &|| {
        place.listed(&binary, &["list", "--offline"])
    })?;
    measure(
        "`oneiric run`, until it says that it is ready",
        true,
        &|| place.served(&binary),
    )?;
    table.push_str("| the Python original, for comparison |  |  | 906 ms | 83 MB |  |\n");
    println!("{table}");
    if !write {
        return Ok(());
    }
    let path = workspace.root.join(PAGE);
    let page = files::read(&path)?;
    let (before, rest) = page
        .split_once(BEGIN)
        .ok_or_else(|| Failure::failed(format!("{PAGE} has no `{BEGIN}`")))?;
    let (_, after) = rest
        .split_once(END)
        .ok_or_else(|| Failure::failed(format!("{PAGE} has no `{END}`")))?;
    files::replace(&path, &format!("{before}{BEGIN}\n{table}{END}{after}"))?;
    println!("bench: wrote {PAGE}");
    Ok(())
}

fn row(name: &str, costs: &[Cost], has_goal: bool) -> String {
    let of = |value: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let at = |values: &[f64], percent: usize| values[(values.len() - 1) * percent / 100];
    let (wall, cpu, peak) = (
        of(|cost| cost.wall_ms),
        of(|cost| cost.cpu_ms),
        of(|cost| cost.peak_mb),
    );
    let met = at(&wall, 50) <= GOAL_MS && at(&peak, 50) <= GOAL_MB;
    let goal = match (has_goal, met) {
        (false, _) => String::new(),
        (true, true) => format!("≤ {GOAL_MS} ms, ≤ {GOAL_MB} MB: met"),
        (true, false) => format!("≤ {GOAL_MS} ms, ≤ {GOAL_MB} MB: MISSED"),
    };
    format!(
        "| {name} | {:.1} ms | {:.1}–{:.1} | {:.1} ms | {:.1} MB | {goal} |\n",
        at(&wall, 50),
        at(&wall, 10),
        at(&wall, 90),
        at(&cpu, 50),
        at(&peak, 50),
    )
}

/// A directory with the settings of the tour, in which processes are started.
struct Place {
    path: PathBuf,
}

impl Place {
    fn new(workspace: &Workspace) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("oneiric-start-{}", std::process::id()));
        let settings = files::read(&workspace.root.join("examples/quickstart/oneiric.toml"))?;
        fs::create_dir_all(&path).map_err(Failure::failed)?;
        files::replace(&path.join("oneiric.toml"), &settings)?;
        Ok(Self { path })
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.path)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ONEIRIC_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// A command that prints something and ends.
    fn listed(&self, program: &Path, words: &[&str]) -> Result<Cost, Failure> {
        let begun = now();
        let mut child = self
            .command(program)
            .args(words)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Failure::failed)?;
        let mut printed = Vec::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_end(&mut printed).map_err(Failure::failed)?;
        }
        let status = child.wait().map_err(Failure::failed)?;
        let wall_ms = ms(begun);
        if !status.success() {
            return Err(Failure::failed(format!(
                "{} failed: {status}",
                program.display()
            )));
        }
        // One that prints nothing cannot be held, and has nothing worth holding it for.
        let (cpu_ms, peak_mb) = if printed.is_empty() {
            (0.0, 0.0)
        } else {
            self.held(program, words)?
        };
        Ok(Cost {
            wall_ms,
            cpu_ms,
            peak_mb,
        })
    }

    /// CPU and memory of a command, taken while it waits in its last write.
    fn held(&self, program: &Path, words: &[&str]) -> Result<(f64, f64), Failure> {
        let (reader, mut writer) = std::io::pipe().map_err(Failure::failed)?;
        writer.write_all(&[0; PIPE]).map_err(Failure::failed)?;
        let child = self.command(program).args(words).stdout(writer).spawn();
        let mut child = Killed(child.map_err(Failure::failed)?);
        let pid = child.0.id();
        let begun = now();
        let mut before = f64::NAN;
        let cost = loop {
            let cpu_ms = cpu_ms(pid)?;
            if is_asleep(pid)? && cpu_ms.total_cmp(&before).is_eq() {
                break (cpu_ms, peak_mb(pid)?);
            }
            before = cpu_ms;
            if begun.elapsed() > PATIENCE {
                return Err(Failure::failed("the command never wrote anything"));
            }
            std::thread::sleep(Duration::from_millis(3));
        };
        drop(reader);
        // It ends by itself now that nobody reads; if not, it is killed.
        drop(child.0.kill());
        Ok(cost)
    }

    /// A process that serves, up to the moment in which it says so.
    fn served(&self, program: &Path) -> Result<Cost, Failure> {
        let path = self.path.join("notify.sock");
        drop(fs::remove_file(&path));
        let socket = UnixDatagram::bind(&path).map_err(Failure::failed)?;
        socket
            .set_read_timeout(Some(PATIENCE))
            .map_err(Failure::failed)?;
        let begun = now();
        let child = self
            .command(program)
            .arg("run")
            .env("NOTIFY_SOCKET", &path)
            .stdout(Stdio::null())
            .spawn();
        let child = Killed(child.map_err(Failure::failed)?);
        let mut message = [0; 256];
        let length = socket.recv(&mut message).map_err(Failure::failed)?;
        let wall_ms = ms(begun);
        if !message[..length].starts_with(b"READY=1") {
            return Err(Failure::failed(
                "the process said something else than that it is ready",
            ));
        }
        let pid = child.0.id();
        Ok(Cost {
            wall_ms,
            cpu_ms: cpu_ms(pid)?,
            peak_mb: peak_mb(pid)?,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.path));
    }
}

/// A process that does not outlive us.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "measuring wall time is what this task is for"
)]
fn now() -> Instant {
    Instant::now()
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}

/// What all threads of a process have used so far.
fn cpu_ms(pid: u32) -> Result<f64, Failure> {
    let mut total = 0.0;
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_err(Failure::failed)?;
    for thread in threads.flatten() {
        // A thread may end while we look.
        let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else {
            continue;
        };
        let ns = text
            .split_whitespace()
            .next()
            .and_then(|ns| ns.parse::<f64>().ok());
        total += ns.unwrap_or_default() / 1e6;
    }
    Ok(total)
}

fn is_asleep(pid: u32) -> Result<bool, Failure> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(Failure::failed)?;
    // The name stands in parentheses and may hold anything.
    Ok(stat
        .rsplit(')')
        .next()
        .is_some_and(|rest| rest.starts_with(" S")))
}

fn peak_mb(pid: u32) -> Result<f64, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(Failure::failed)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    let kib: Option<f64> = kib.and_then(|kib| kib.parse().ok());
    kib.map(|kib| kib * 1_024.0 / 1e6)
        .ok_or_else(|| Failure::failed("the kernel does not tell the peak memory of a process"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_medians_and_says_whether_the_goal_is_met() {
        let cost = |wall_ms| Cost {
            wall_ms,
            cpu_ms: 2.0,
            peak_mb: 8.0,
        };
        let costs = [3.0, 1.0, 2.0].map(cost);
        let expected = "| x | 2.0 ms | 1.0–2.0 | 2.0 ms | 8.0 MB | ≤ 10 ms, ≤ 20 MB: met |\n";
        assert_eq!(row("x", &costs, true), expected);
        assert!(row("x", &[cost(11.0)], true).contains("MISSED"));
        assert!(row("x", &[cost(11.0)], false).ends_with("|  |\n"));
    }

    #[test]
    fn the_kernel_tells_about_a_process() {
        let me = std::process::id();
        assert!(cpu_ms(me).unwrap() > 0.0 && peak_mb(me).unwrap() > 0.5);
    }
}
