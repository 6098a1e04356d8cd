//! Layers: which files, variables and options there are, and what comes of them.

use std::path::Path;

use oneiric_core::Coded;
use oneiric_runtime::{Settings, SettingsSource, Sources};
use serde_json::Value;

/// Files, variables and `--set` values, and what is asked for.
struct Case {
    files: &'static [(&'static str, &'static str)],
    variables: &'static [(&'static str, &'static str)],
    flags: &'static [&'static str],
    key: &'static str,
}

const NONE: Case = Case {
    files: &[],
    variables: &[],
    flags: &[],
    key: "run.grace_ms",
};

/// The value of the key and everybody who set it; or the error. Paths are shown from the directory on.
fn said(case: &Case) -> String {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), case.files);
    let said = match sources(dir.path(), case).load() {
        Ok(settings) => explained(&settings, case.key),
        Err(error) => {
            assert_eq!(error.code(), "runtime.settings_invalid");
            error.to_string()
        }
    };
    said.replace(&format!("{}/", dir.path().display()), "")
}

fn sources(dir: &Path, case: &Case) -> Sources {
    let files = ["machine", "user", "here", "here.local"].map(|stem| dir.join(stem));
    let sources = files.into_iter().fold(Sources::new(), Sources::maybe_file);
    let sources = sources.variables(case.variables.iter().copied());
    case.flags
        .iter()
        .fold(sources, |sources, flag| sources.flag(flag))
}

fn write(dir: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let mut file = std::fs::File::create(dir.join(name)).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }
}

fn explained(settings: &Settings, key: &str) -> String {
    let doc = settings.explain(key).unwrap_or_else(|e| panic!("{e:?}"));
    let layers = doc.layers.iter().map(|layer| {
        let by = &layer.set_by;
        let name = by.name.as_deref().unwrap_or(&by.layer);
        match (by.line, by.column) {
            (Some(line), Some(column)) => format!("{} {name}:{line}:{column}", layer.value),
            _ => format!("{} {name}", layer.value),
        }
    });
    let value = doc.value.unwrap_or(Value::Null);
    format!("{value} <- {}", layers.collect::<Vec<_>>().join(" <- "))
}

#[test]
fn later_layers_win_and_what_they_replace_is_known() {
    let cases = [
        (NONE, "45000 <- 45000 default"),
        (
            Case {
                files: &[
                    ("machine.toml", "[run]\ngrace_ms = 1\n"),
                    ("user.yaml", "run:\n  grace_ms: 2\n"),
                    ("here.json", "{\"run\": {\n \"grace_ms\": 3}}"),
                    ("here.local.toml", "\nrun = { grace_ms = 4 }"),
                ],
                variables: &[("ONEIRIC_RUN__GRACE_MS", "5")],
                flags: &["run.grace_ms=6", "run.grace_ms = 7"],
                ..NONE
            },
            "7 <- 7 --set run.grace_ms <- 6 --set run.grace_ms <- 5 ONEIRIC_RUN__GRACE_MS <- \
             4 here.local.toml:2:20 <- 3 here.json:2:14 <- 2 user.yaml:2:13 <- 1 machine.toml:2:12 <- 45000 default",
        ),
        (
            Case {
                files: &[
                    ("machine.toml", "security.factory_allowlist = ['a.', 'b.']"),
                    ("here.toml", "[security]\nfactory_allowlist = ['c.']"),
                ],
                key: "security.factory_allowlist",
                ..NONE
            },
            "[\"c.\"] <- [\"c.\"] here.toml:2:21 <- [\"a.\",\"b.\"] machine.toml:1:30 <- [\"oneiric.\"] default",
        ),
        (
            Case {
                variables: &[("ONEIRIC_SELECTIONS__ADAPTER__CACHE", "file")],
                flags: &["selections.adapter/cache=memory"],
                key: "selections.\"adapter/cache\"",
                ..NONE
            },
            "\"memory\" <- \"memory\" --set selections.adapter/cache <- \"file\" ONEIRIC_SELECTIONS__ADAPTER__CACHE",
        ),
        (
            Case {
                files: &[(
                    "here.yaml",
                    "providers:\n  adapter/cache:\n    redis:\n      url: &u redis://me:pw@h/0\n      other: *u\n",
                )],
                key: "providers.adapter/cache.redis.url",
                ..NONE
            },
            "\"redis://me:***@h/0\" <- \"redis://me:***@h/0\" here.yaml:4:12",
        ),
        (
            Case {
                flags: &["providers.adapter/cache.redis.password=hunter2"],
                key: "providers.adapter/cache.redis.password",
                ..NONE
            },
            "\"***\" <- \"***\" --set providers.adapter/cache.redis.password",
        ),
    ];
    for (case, expected) in cases {
        assert_eq!(said(&case), expected);
    }
}

#[test]
fn p80_faults_of_every_layer_and_format_are_told_with_their_places() {
    let case = Case {
        files: &[
            ("machine.toml", "[run]\ngrace_ms = 'x'\n"),
            ("user.yml", "run:\n  activate: al\n  # nothing\nrnu: 1\n"),
            (
                "here.json",
                "{\n  \"lifecycle\": {\"probe_ms\": 0,\n \"drian_ms\": 1}\n}",
            ),
        ],
        variables: &[
            ("ONEIRIC_ADMIN__SOKET", "x"),
            ("ONEIRIC_ADMIN__TCP__LISTEN", "here"),
        ],
        flags: &["log.format=jsn", "a..b=1", "candidates[0].slot=a/b"],
        ..NONE
    };
    let expected = "\
10 faults in the settings
  machine.toml:2:12: run.grace_ms: expected a whole number, found a string
  user.yml:2:13: run.activate: expected one of 'all', 'on_use', found 'al'; did you mean 'all'?
  user.yml:4:1: rnu: unknown key; did you mean 'run'?
  here.json:2:29: lifecycle.probe_ms: expected 1 to 86400000 milliseconds, found 0
  here.json:3:2: lifecycle.drian_ms: unknown key; did you mean 'drain_ms'?
  ONEIRIC_ADMIN__SOKET: admin.soket: unknown key; did you mean 'socket'?
  ONEIRIC_ADMIN__TCP__LISTEN: admin.tcp.listen: expected an address and a port such as \"127.0.0.1:8443\", found \"here\"
  --set log.format: expected one of 'human', 'json', found 'jsn'; did you mean 'json'?
  --set a..b: a name in the key is empty
  --set candidates[0].slot: entries of a list cannot be set one by one; set the list, as in \
`--set 'candidates=[{ .. }]'`";
    assert_eq!(said(&case), expected);
}

#[test]
fn p80_what_is_no_file_of_its_format_is_told_with_its_place() {
    for (name, text, expected) in [
        (
            "here.json",
            "{\"run\": {\"grace_ms\": 1,\n}}",
            "here.json:2:1: key must be a string",
        ),
        (
            "here.json",
            "{\"a\": 1, \"a\": 2}",
            "here.json:1:10: the key \"a\" stands here twice",
        ),
        (
            "here.json",
            "[1]",
            "here.json:1:1: expected a table, found an array",
        ),
        (
            "here.json",
            "{\"state_dir\": \"\\ud800\"}",
            "here.json:1:15: this text has half a character in it",
        ),
        (
            "here.yaml",
            "run:\n  grace_ms: 1\n  grace_ms: 2\n",
            "here.yaml:3:3: the key \"grace_ms\" stands here twice",
        ),
        (
            "here.yaml",
            "run: !x {}\n",
            "here.yaml:1:6: settings have no tags (`!name`)",
        ),
        (
            "here.yaml",
            "run: [\n",
            "here.yaml:1:7: did not find expected node content",
        ),
        (
            "here.yaml",
            "- a\n",
            "here.yaml:1:3: expected a table, found an array",
        ),
        (
            "here.yaml",
            "a: &a [*a]\n",
            "here.yaml:1:4: recursion limit exceeded",
        ),
        (
            "here.toml",
            "a = [1",
            "here.toml:1:7: unclosed array, expected `]`",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[(name, text)]);
        let error = sources(dir.path(), &NONE).load().unwrap_err();
        let said = error.to_string();
        let said = said.replace(&format!("{}/", dir.path().display()), "");
        assert!(said.starts_with(expected), "{text:?}: {said}");
    }
}

#[test]
fn a_billion_laughs_are_cut_short() {
    let mut text = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, before) in ('b'..='i').zip('a'..='h') {
        let many = format!("*{before}, ").repeat(9);
        text.push_str(&format!("{name}: &{name} [{many}]\n"));
    }
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[("here.yaml", &text)]);
    let error = sources(dir.path(), &NONE).load().unwrap_err().to_string();
    assert!(error.contains("more than 50000 values"), "{error}");
}

#[test]
fn the_same_settings_in_three_formats_are_the_same() {
    let toml = "state_dir = 'x'\n[run]\ngrace_ms = 7\n[[candidates]]\nslot = 'adapter/cache'\nprovider = 'p'\n\
                factory = 'oneiric.test:actor'\nmetadata = { a = [1, 2.5, true] }\n[selections]\n'adapter/cache' = 'p'\n";
    let yaml = "base: &base\n";
    let yaml = yaml.replace("base: &base\n", "")
        + "state_dir: x\nrun: {grace_ms: 7}\ncandidates:\n- slot: adapter/cache\n  provider: p\n  \
           factory: oneiric.test:actor\n  metadata: &m\n    a: [1, 2.5, true]\nselections:\n  adapter/cache: p\nadmin:\n";
    let json = r#"{"state_dir": "x", "run": {"grace_ms": 7}, "selections": {"adapter/cache": "p"}, "candidates": [
        {"slot": "adapter/cache", "provider": "p", "factory": "oneiric.test:actor", "metadata": {"a": [1, 2.5, true]}}]}"#;
    let mut shown = Vec::new();
    for (name, text) in [
        ("here.toml", toml),
        ("here.yaml", &yaml),
        ("here.json", json),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[(name, text)]);
        let settings = sources(dir.path(), &NONE).load().unwrap();
        let keys = settings.show().keys.into_iter();
        let keys: Vec<_> = keys
            .map(|key| (key.key, key.value, key.set_by.layer))
            .collect();
        assert_eq!(settings.files(), [dir.path().join(name)]);
        shown.push(keys);
    }
    assert_eq!(shown[0], shown[1]);
    assert_eq!(shown[0], shown[2]);
    assert!(
        shown[0]
            .iter()
            .any(|(key, ..)| key == "candidates[0].metadata.a"),
        "{:?}",
        shown[0]
    );
}

#[test]
fn yaml_merge_keys_fill_in_what_is_not_there() {
    let text = "candidates:\n- &base\n  slot: a/b\n  provider: p\n  factory: oneiric.test:actor\n  priority: 1\n\
                - <<: *base\n  provider: q\n";
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[("here.yaml", text)]);
    let settings = sources(dir.path(), &NONE).load().unwrap();
    assert_eq!(
        explained(&settings, "candidates[1].provider")
            .split(' ')
            .next(),
        Some("\"q\"")
    );
    assert!(explained(&settings, "candidates[1].priority").ends_with("here.yaml:6:13"));
}

#[test]
fn candidates_of_upper_layers_change_those_below_or_come_after_them() {
    let case = Case {
        files: &[
            (
                "machine.toml",
                "[[candidates]]\nslot = 'a/b'\nprovider = 'p'\nfactory = 'oneiric.test:actor'\npriority = 1\n\
                 [[candidates]]\nslot = 'a/b'\nprovider = 'q'\nfactory = 'oneiric.test:actor'\n",
            ),
            (
                "here.local.toml",
                "[[candidates]]\nslot = 'a/b'\nprovider = 'r'\nfactory = 'oneiric.test:actor'\n\
                 [[candidates]]\nslot = 'a/b'\nprovider = 'p'\npriority = 9\n",
            ),
        ],
        flags: &["candidates=[{ slot = 'a/b', provider = 'q', stack_level = 3 }]"],
        ..NONE
    };
    for (key, expected) in [
        (
            "candidates[0].priority",
            "9 <- 9 here.local.toml:8:12 <- 1 machine.toml:5:12",
        ),
        (
            "candidates[0].factory",
            "\"oneiric.test:actor\" <- \"oneiric.test:actor\" machine.toml:4:11",
        ),
        ("candidates[1].stack_level", "3 <- 3 --set candidates"),
        (
            "candidates[2].provider",
            "\"r\" <- \"r\" here.local.toml:3:12",
        ),
    ] {
        assert_eq!(said(&Case { key, ..case }), expected);
    }
    let lone = Case {
        flags: &["candidates=[{ slot = 'a/b', provider = 'q', stack_level = 3 }]"],
        ..NONE
    };
    assert_eq!(
        said(&lone),
        "--set candidates: candidates[0].factory: it is missing"
    );
}

#[test]
fn two_formats_in_one_place_are_a_fault() {
    let case = Case {
        files: &[("here.toml", ""), ("here.yaml", "")],
        ..NONE
    };
    assert_eq!(
        said(&case),
        "here.toml: here.yaml is there too, and only one of them can be meant"
    );
}

#[test]
fn a_file_that_everybody_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[("here.toml", "")]);
    let path = dir.path().join("here.toml");
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode));
    mode(0o666).unwrap();
    let error = sources(dir.path(), &NONE).load().unwrap_err().to_string();
    assert!(
        error.ends_with("here.toml: every user of this machine can change the file (mode 666); chmod o-w closes it"),
        "{error}"
    );
    mode(0o664).unwrap();
    sources(dir.path(), &NONE).load().unwrap();
}

#[test]
fn a_file_of_another_user_is_refused_unless_somebody_names_it() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[("here.toml", "[run]\ngrace_ms = 1000\n")]);
    let path = dir.path().join("here.toml");
    // Only root can give a file away.
    if std::os::unix::fs::chown(&path, Some(12_345), None).is_err() {
        return;
    }
    let error = sources(dir.path(), &NONE).load().unwrap_err().to_string();
    assert!(
        error.contains("here.toml: the file belongs to user 12345 and not to this one (0)"),
        "{error}"
    );
    let named = Sources::new().file(&path).load().unwrap();
    assert_eq!(named.grace, std::time::Duration::from_secs(1));
}

#[test]
fn a_pipe_where_settings_may_be_is_refused_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("here.toml"), mode).unwrap();
    let error = sources(dir.path(), &NONE).load().unwrap_err().to_string();
    assert!(error.contains("it is a pipe and no file"), "{error}");
}

#[test]
fn a_file_that_has_to_be_there_is_missed_and_one_that_cannot_be_read_never_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Sources::new().file(dir.path().join("here.toml")).load();
    assert_eq!(missing.unwrap_err().code(), "runtime.settings_not_found");
    // A directory of that name is there and cannot be read.
    std::fs::create_dir(dir.path().join("here.toml")).unwrap();
    let unreadable = sources(dir.path(), &NONE).load();
    assert_eq!(
        unreadable.unwrap_err().code(),
        "runtime.settings_unreadable"
    );
}

#[test]
fn the_files_that_may_come_are_known_before_they_are_there() {
    let sources = Sources::new().file("a.json").maybe_file("d/oneiric.local");
    let files: Vec<_> = sources
        .files()
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    assert_eq!(
        files,
        [
            "a.json",
            "d/oneiric.local.toml",
            "d/oneiric.local.yaml",
            "d/oneiric.local.yml",
            "d/oneiric.local.json"
        ]
    );
}

#[test]
fn what_the_program_changes_afterwards_is_said_to_be_its_doing() {
    let mut settings = Settings::parse("[run]\ngrace_ms = 1\n", "o.toml").unwrap();
    settings.grace = std::time::Duration::from_millis(2);
    assert_eq!(
        explained(&settings, "run.grace_ms"),
        "2 <- 2 program <- 1 o.toml:2:12 <- 45000 default"
    );
    let shown = settings.show().keys.into_iter();
    let by: Vec<_> = shown
        .filter(|key| key.key == "run.grace_ms")
        .map(|key| (key.value, key.set_by.layer))
        .collect();
    assert_eq!(by, [(2.into(), "program".to_owned())]);
}

#[test]
fn keys_that_are_none_are_refused_with_what_may_be_meant() {
    let settings = Settings::parse("[selections]\n'a/b' = 'x'\n", "o.toml").unwrap();
    for (key, message, help) in [
        (
            "run.grac_ms",
            "there is no setting run.grac_ms",
            "did you mean 'grace_ms'?",
        ),
        ("rnu", "there is no setting rnu", "did you mean 'run'?"),
        (
            "selections",
            "selections is a section",
            "it has selections.\"a/b\"",
        ),
        ("run.grace_ms.x", "there is no setting run.grace_ms.x", ""),
        (
            "candidates[3].slot",
            "there is no setting candidates[3]",
            "",
        ),
        ("run..x", "this is no key: a name in the key is empty", ""),
    ] {
        let error = settings.explain(key).unwrap_err();
        assert_eq!(error.code(), "runtime.settings_key_unknown");
        assert_eq!(
            (error.to_string().as_str(), error.help().unwrap_or("")),
            (message, help)
        );
    }
}

#[test]
fn p86_no_secret_is_in_faults_debug_output_or_documents() {
    let text = "[providers.'adapter/cache'.a]\npassword = 'hunter2'\napi_key = 77123\nurl = 'x://u:hunter2@h'\n\
                nested = { token = 'hunter2', name = 'fine' }\nreference_token = 'secret://env/T'\n";
    let settings = Settings::parse(text, "o.toml").unwrap();
    let shown = serde_json::to_string(&settings.show()).unwrap();
    let debug = format!("{settings:?} {settings:#?}");
    for said in [&shown, &debug] {
        assert!(
            !said.contains("hunter2") && !said.contains("77123"),
            "{said}"
        );
    }
    assert!(
        shown.contains("secret://env/T") && shown.contains("fine"),
        "{shown}"
    );
    // The key of a token says what it is, whatever is wrong with it.
    let text = "[[admin.tokens]]\nname = 'n'\nrole = 'read'\ntoken = 'hunter2'\n";
    let error = Settings::parse(text, "o.toml").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
}

#[test]
fn a_layer_of_the_programs_own_has_its_name() {
    let source = SettingsSource::Flag("--state-dir".to_owned());
    let settings = Sources::new()
        .value(source, "state_dir", "x")
        .load()
        .unwrap();
    assert_eq!(
        explained(&settings, "state_dir"),
        "\"x\" <- \"x\" --state-dir <- \".oneiric\" default"
    );
}
