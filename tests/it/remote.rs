//! A process that serves TCP, as commands on another machine meet it, and users who are not let in.

use std::fs::{Permissions, set_permissions};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use oneiric_tests::ports;
use oneiric_tests::program::is_there;
use oneiric_tests::settings::CACHES;
use oneiric_tests::{Place, Process};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

pub(crate) const OPERATE: &str = "operate-0123456789abcdef";
const READ: &str = "read-0123456789abcdef";

/// A process that serves TCP, with whatever a client needs beside it: `ca.pem`, `operate`, `read`, `deploy.pem` and
/// `deploy.key`.
pub(crate) fn start(settings: &str) -> (Process, String) {
    let place = Place::new();
    let private = |name: &str, text: &str| {
        place.write(name, text);
        set_permissions(place.path().join(name), Permissions::from_mode(0o600)).unwrap();
    };
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    for name in ["server", "deploy"] {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        private(&format!("{name}.pem"), &certificate.pem());
        private(&format!("{name}.key"), &key.serialize_pem());
    }
    private("ca.pem", &authority.pem());
    private("operate", OPERATE);
    private("read", READ);
    private("secrets/operate", OPERATE);
    private("secrets/read", READ);
    let secrets = place.path().join("secrets");
    set_permissions(secrets, Permissions::from_mode(0o700)).unwrap();
    let address = format!("127.0.0.1:{}", ports::free());
    place.write(
        "oneiric.toml",
        &format!(
            r#"
[admin.tcp]
listen = "{address}"
certificate = "server.pem"
key = "server.key"
client_ca = "ca.pem"

[[admin.tokens]]
name = "operator"
role = "operate"
token = "secret://file/operate"

[[admin.tokens]]
name = "viewer"
role = "read"
token = "secret://file/read"

[admin.client_roles]
deploy = "operate"

[secrets]
directory = "secrets"
{settings}
"#
        ),
    );
    let process = Process::start_in(place, &["run"]);
    (process, format!("https://{address}"))
}

#[test]
fn p84_a_command_reaches_a_process_elsewhere_as_whom_it_says_it_is() {
    let (process, url) = start(CACHES);
    let with = |more: &[&str], words: &[&str]| {
        let options = [&["--url", &url, "--ca-file", "ca.pem"], more, words].concat();
        process.oneiric(&options)
    };
    let shown = with(&["--token-file", "read"], &["list"]).ok();
    assert!(shown.contains("adapter/cache"), "{shown}");
    let swap = ["swap", "adapter/cache", "file"];
    let denied = with(&["--token-file", "read"], &swap).failed(5);
    assert!(denied.contains("runtime.role_denied"), "{denied}");
    let done = with(&["--token-file", "operate", "--json"], &swap).json();
    assert_eq!(done["revision"]["who"], "token:operator");
    let back = ["swap", "adapter/cache", "memory", "--json"];
    let done = with(&["--cert", "deploy.pem", "--key", "deploy.key"], &back).json();
    assert_eq!(done["revision"]["who"], "cert:deploy");
    let nobody = with(&[], &["status"]).failed(5);
    assert!(nobody.contains("runtime.unauthenticated"), "{nobody}");
    // The same by variables; a socket that is named is meant all the same.
    let variables = [
        ("ONEIRIC_URL", url.as_str()),
        ("ONEIRIC_CA_FILE", "ca.pem"),
        ("ONEIRIC_TOKEN_FILE", "read"),
    ];
    let place = process.place();
    place.oneiric_with(&["status"], &variables).ok();
    let local = [
        "swap",
        "adapter/cache",
        "file",
        "--socket",
        ".oneiric/admin.sock",
    ];
    place.oneiric_with(&local, &variables).ok();
    let plain = process.oneiric(&[
        "--url",
        "http://127.0.0.1:1",
        "--ca-file",
        "ca.pem",
        "status",
    ]);
    assert!(plain.failed(3).contains("runtime.client_misconfigured"));
    place.write("open", READ);
    set_permissions(place.path().join("open"), Permissions::from_mode(0o644)).unwrap();
    let open = with(&["--token-file", "open"], &["status"]).failed(3);
    assert!(
        open.contains("cli.file_unusable") && open.contains("chmod 600"),
        "{open}"
    );
    let (code, _) = process.stop();
    assert_eq!(code, Some(0));
}

#[test]
fn each_way_not_to_reach_a_process_elsewhere_has_a_next_step_in_words() {
    let (process, url) = start(CACHES);
    let place = process.place();
    let other = CertifiedIssuer::self_signed(
        CertificateParams::new(Vec::new()).unwrap(),
        KeyPair::generate().unwrap(),
    );
    place.write("other.pem", &other.unwrap().pem());
    let named = url.replace("127.0.0.1", "localhost");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("https://{}", listener.local_addr().unwrap());
    drop(listener);
    let ca = ["--ca-file", "ca.pem"];
    let read = ["--token-file", "read"];
    for (words, code, said, step) in [
        (vec!["--url", &url], 3, "which authority", "--ca-file FILE"),
        (
            [&["--url", &url][..], &["--ca-file", "other.pem"]].concat(),
            5,
            "its certificate comes from another authority",
            "--ca-file FILE",
        ),
        (
            [&["--url", &named][..], &ca].concat(),
            5,
            "is not for localhost but for 127.0.0.1",
            "as the certificate has it",
        ),
        (
            [&["--url", &closed][..], &ca].concat(),
            8,
            "nothing answers",
            "[admin.tcp]",
        ),
        (
            [&["--url", &url][..], &ca].concat(),
            5,
            "request ",
            "--token-file FILE",
        ),
        (
            [&["--url", &url][..], &ca, &read].concat(),
            5,
            "may only read",
            "the role `operate`",
        ),
        (
            vec!["--url", &url, "--socket", "s"],
            2,
            "cannot be used with",
            "--help",
        ),
    ] {
        let answer = place.oneiric(&[&words[..], &["swap", "adapter/cache"]].concat());
        let text = answer.failed(code);
        assert!(
            text.contains(said) && text.contains(step),
            "{words:?}: {text}"
        );
        assert!(
            !text.contains("(\"") && !text.contains("BadSignature"),
            "{text}"
        );
    }
}

#[test]
fn p85_a_reader_elsewhere_learns_no_place_from_any_command_and_the_owner_does() {
    let (process, url) = start(&CACHES.replace("\"entries\"", "\"/dev/null/deep/entries\""));
    let place = process.place();
    let here = place.path().display().to_string();
    let swap = ["swap", "adapter/cache", "file", "--json"];
    let owner = place.oneiric(&swap).failed_json(7);
    assert!(
        owner["message"]
            .to_string()
            .contains("/dev/null/deep/entries"),
        "{owner}"
    );
    assert!(
        owner["details"]
            .to_string()
            .contains("/dev/null/deep/entries"),
        "{owner}"
    );
    let good = std::fs::read_to_string(place.path().join("oneiric.toml")).unwrap();
    place.write(
        "oneiric.toml",
        &format!("{good}\n[selections]\n\"adapter/cache\" = \"file\"\n"),
    );
    let owner = place.oneiric(&["reload", "--json"]).failed_json(7);
    assert!(
        owner.to_string().contains("/dev/null/deep/entries"),
        "{owner}"
    );
    for token in ["read", "operate"] {
        let elsewhere = ["--url", &url, "--ca-file", "ca.pem", "--token-file", token];
        let mut asked = vec![
            vec!["status"],
            vec!["status", "adapter/cache"],
            vec!["health"],
            vec!["explain", "adapter/cache"],
            vec!["config", "show", "--origin"],
            vec!["secrets", "list"],
            vec!["state", "show"],
            vec!["activity"],
        ];
        if token == "operate" {
            asked.push(vec!["swap", "adapter/cache", "file"]);
            asked.push(vec!["reload"]);
        }
        for words in asked {
            for json in [&[][..], &["--json"]] {
                let told = place.oneiric(&[&words[..], json, &elsewhere].concat());
                let text = format!("{}{}", told.stdout, told.stderr);
                assert!(!text.is_empty(), "{words:?}");
                assert!(
                    !text.contains("/dev/null") && !text.contains(&here),
                    "{words:?} {text}"
                );
            }
        }
    }
}

/// Says that a test does nothing, where nobody is watching as well as where somebody is. Where `CI` is set, a test
/// that does nothing fails.
fn skipped(why: &str) {
    use std::io::Write;
    assert!(std::env::var_os("CI").is_none(), "{why}");
    drop(std::io::stderr().write_all(format!("SKIPPED: {why}\n").as_bytes()));
}

#[test]
fn a_socket_that_somebody_else_put_there_is_not_taken_for_the_process() {
    let place = Place::with(CACHES);
    if std::os::unix::fs::chown(place.path(), Some(0), None).is_err() {
        skipped("only root can become somebody else");
        return;
    }
    if !is_there("python3") {
        return;
    }
    // As in /tmp: everybody may put something there.
    set_permissions(place.path(), Permissions::from_mode(0o1777)).unwrap();
    let serve = "import os,socket,sys\nos.setuid(65534)\ns = socket.socket(socket.AF_UNIX)\ns.bind('theirs.sock')\ns.listen()\n\
                 print('there', flush=True)\nsys.stdin.read()\n";
    let mut impostor = Command::new("python3")
        .args(["-c", serve])
        .current_dir(place.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    let said = impostor.stdout.take().unwrap();
    BufReader::new(said).read_line(&mut ready).unwrap();
    assert_eq!(ready, "there\n");
    let answer = place.oneiric(&["status", "--socket", "theirs.sock"]);
    assert_eq!(answer.code, Some(5), "{answer:?}");
    assert!(
        answer
            .stderr
            .contains("theirs.sock is served by user 65534")
            && answer.stderr.contains("(runtime.socket_foreign)"),
        "{answer:?}"
    );
    drop(impostor.stdin.take());
    impostor.wait().unwrap();
}

#[test]
fn p84_another_user_is_hung_up_on_even_where_the_file_lets_them_in() {
    let place = Place::with(&format!("[admin]\nsocket = \"open.sock\"\n{CACHES}"));
    let me = std::fs::metadata(place.path()).map(|here| std::os::unix::fs::MetadataExt::uid(&here));
    if me.unwrap() != 0 {
        skipped("only root can become somebody else");
        return;
    }
    if !is_there("setpriv") || !is_there("curl") {
        return;
    }
    set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    let process = Process::start_in(place, &["run"]);
    let socket = process.place().path().join("open.sock");
    set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
    let asked = |as_whom: &[&str], socket: &Path| {
        let mut command = Command::new("setpriv");
        command
            .args(as_whom)
            .args(["curl", "--silent", "--max-time", "20", "--unix-socket"]);
        command.arg(socket).arg("http://oneiric/healthz");
        Place::answer(&mut command)
    };
    let root = asked(&["--reuid=0"], &socket);
    assert!(root.stdout.contains("\"alive\":true"), "{root:?}");
    let nobody = asked(
        &["--reuid=65534", "--regid=65534", "--clear-groups"],
        &socket,
    );
    assert_eq!(nobody.stdout, "", "{nobody:?}");
    assert_ne!(nobody.code, Some(0));
    let metrics = process.oneiric(&["metrics"]).ok();
    let counted = "oneiric_admin_refusals_total{reason=\"other_user\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    process.wait_for_line("uid:65534");
    process.stop();
}
