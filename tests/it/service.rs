//! The process as a service: what it tells its manager, and the files with which it is deployed.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use oneiric_tests::settings::CACHES;
use oneiric_tests::{Place, Process, binary};

/// How long to wait for a message that is going to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Listens where a service manager would.
fn manager(place: &Place) -> (UnixDatagram, String) {
    let path = place.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    (socket, path.to_str().unwrap().to_owned())
}

/// The next message that is no sign of life.
fn heard(socket: &UnixDatagram) -> String {
    loop {
        let message = any(socket);
        if message != "WATCHDOG=1\n" {
            return message;
        }
    }
}

fn any(socket: &UnixDatagram) -> String {
    let mut text = [0; 1024];
    let length = socket.recv(&mut text).expect("a message comes");
    String::from_utf8(text[..length].to_vec()).unwrap()
}

#[test]
fn a_service_manager_hears_of_every_turn() {
    let place = Place::with(CACHES);
    let (socket, path) = manager(&place);
    let variables = [("NOTIFY_SOCKET", path.as_str()), ("WATCHDOG_USEC", "60000")];
    let process = Process::start_with(place, &["run"], &variables);
    assert_eq!(
        heard(&socket),
        "READY=1\nSTATUS=adapter/cache (memory), service/clock (system) active\n"
    );
    // It goes on saying that it is alive.
    for _ in 0..3 {
        assert_eq!(any(&socket), "WATCHDOG=1\n");
    }
    process.signal("HUP");
    let reloading = heard(&socket);
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
    let since = since.and_then(|since| since.trim_end().parse::<u64>().ok());
    assert!(since.is_some_and(|since| since > 0), "{reloading}");
    assert_eq!(heard(&socket), "READY=1\nSTATUS=last reload: unchanged\n");
    // Settings that cannot be read are not put in force, and the process stays ready.
    process.place().write("oneiric.toml", "nonsense");
    process.signal("HUP");
    loop {
        // The file's change is noticed by itself as well.
        let message = heard(&socket);
        if message == "READY=1\nSTATUS=last reload: refused\n" {
            break;
        }
        assert!(message.starts_with("RELOADING=1\n"), "{message}");
    }
    process.signal("TERM");
    let stopping =
        std::iter::repeat_with(|| heard(&socket)).find(|said| said.starts_with("STOPPING"));
    assert!(stopping.unwrap().starts_with("STOPPING=1\nSTATUS="));
    assert_eq!(process.wait().0, Some(0));
}

#[test]
fn the_state_directory_is_the_one_the_manager_made() {
    let place = Place::with(CACHES);
    let made = place.path().join("made");
    let variable = ("STATE_DIRECTORY", made.to_str().unwrap());
    let process = Process::start_with(place, &["run"], &[variable]);
    assert!(made.join("admin.sock").exists());
    assert!(!process.place().socket().exists());
}

fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(deployed(name)).unwrap()
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let unit = read("oneiric.service");
    // The program is not installed here; everything else is as it is deployed.
    let here = binary::path().canonicalize().unwrap();
    assert!(unit.contains("ExecStart=/usr/bin/oneiric run"));
    let unit = unit.replace(
        "ExecStart=/usr/bin/oneiric",
        &format!("ExecStart={}", here.display()),
    );
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        assert!(
            std::env::var_os("CI").is_none(),
            "systemd-analyze is needed where CI is set"
        );
        eprintln!("SKIPPED: systemd-analyze is not there, so the unit was not verified");
        return;
    };
    // `systemd 252 (252.38-1)`
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let version: u32 = version.split_whitespace().nth(1).unwrap().parse().unwrap();
    let unit = if version < 253 {
        unit.replace("Type=notify-reload", "Type=notify")
    } else {
        unit
    };
    let place = Place::new();
    place.write("oneiric.service", &unit);
    let mut verify = Command::new("systemd-analyze");
    verify
        .args(["verify", "--man=no"])
        .arg(place.path().join("oneiric.service"));
    let output = verify.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    // It warns about words it does not know and succeeds all the same.
    assert!(!said.contains("oneiric.service"), "{said}");
}

/// The value of a key of the unit.
fn setting<'u>(unit: &'u str, key: &str) -> &'u str {
    let mut lines = unit.lines().filter_map(|line| line.split_once('='));
    lines
        .find(|(name, _)| *name == key)
        .unwrap_or_else(|| panic!("no {key}="))
        .1
}

#[test]
fn the_unit_fits_the_process() {
    let unit = read("oneiric.service");
    assert_eq!(setting(&unit, "Type"), "notify-reload");
    assert_eq!(setting(&unit, "StateDirectoryMode"), "0700");
    // systemd must not kill what is still within its own grace period.
    let stop = setting(&unit, "TimeoutStopSec").strip_suffix('s').unwrap();
    assert!(stop.parse::<u64>().unwrap() > 45 + 1, "{stop}");
    // What is run can be parsed by the program, and its codes are those that the program documents.
    let words: Vec<&str> = setting(&unit, "ExecStart")
        .split_whitespace()
        .skip(1)
        .collect();
    let said = Place::new().oneiric(&words).failed(3);
    assert!(said.contains("runtime.settings_not_found"), "{said}");
    assert_eq!(setting(&unit, "RestartPreventExitStatus"), "3 6");
}

#[test]
fn the_container_file_is_sound() {
    let text = read("Containerfile");
    let joined = text.replace("\\\n", " ");
    let lines: Vec<&str> = joined
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let known = [
        "FROM",
        "WORKDIR",
        "COPY",
        "RUN",
        "ENV",
        "VOLUME",
        "USER",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    ];
    for line in &lines {
        let word = line.split_whitespace().next().unwrap();
        assert!(known.contains(&word), "{line}");
    }
    let last = lines
        .iter()
        .rposition(|line| line.starts_with("FROM"))
        .unwrap();
    assert!(
        last > 0 && !lines[last].contains("rust:"),
        "what builds is not what runs"
    );
    let one = |word: &str| {
        let mut found = lines[last..]
            .iter()
            .filter_map(|line| line.strip_prefix(word));
        let value = found
            .next()
            .unwrap_or_else(|| panic!("no {word}"))
            .trim()
            .to_owned();
        assert_eq!(found.next(), None, "{word} twice");
        value
    };
    assert_eq!(one("USER "), "65532:65532");
    assert_eq!(one("STOPSIGNAL "), "SIGTERM");
    assert_eq!(one("ENTRYPOINT "), r#"["oneiric"]"#);
    assert_eq!(one("CMD "), r#"["run"]"#);
    assert!(one("HEALTHCHECK ").ends_with("CMD oneiric health > /dev/null || exit 1"));
    // The toolchain is the one the workspace asks for.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    let version = manifest.split("rust-version = \"").nth(1).unwrap();
    let version = version.split('"').next().unwrap();
    assert!(
        lines[0].contains(&format!("rust:{version}-")),
        "{}",
        lines[0]
    );
}
