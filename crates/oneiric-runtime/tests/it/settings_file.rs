//! Every way a settings file can be wrong, and what is said about it.

use oneiric_core::Coded;
use oneiric_runtime::{RuntimeBuilder, Settings};

use crate::support::Stage;

/// What reading, and then building, says about a file.
fn complaint(text: &str) -> String {
    let settings = match Settings::parse(text, "o.toml") {
        Ok(settings) => settings,
        Err(error) => {
            assert_eq!(error.code(), "runtime.settings_invalid");
            return error.to_string();
        }
    };
    let error = RuntimeBuilder::new(settings)
        .factories(Stage::new().factories())
        .build()
        .unwrap_err();
    assert_eq!(error.code(), "runtime.settings_invalid");
    error.to_string()
}

const ACTOR: &str =
    "[[candidates]]\nslot = 'adapter/cache'\nprovider = 'a'\nfactory = 'oneiric.test:actor'\n";

#[test]
fn p80_every_fault_names_file_line_and_key() {
    let with = |more: &str| format!("{ACTOR}{more}");
    let cases = [
        ("a = [1", "o.toml:1:7: unclosed array, expected `]`"),
        (
            "state_dri = 'x'",
            "o.toml:1:1: state_dri: unknown key; did you mean 'state_dir'?",
        ),
        (
            "[run]\ncolour = 1",
            "o.toml:2:1: run.colour: unknown key; known here: activate, grace_ms, error_mode",
        ),
        (
            "state_dir = 7",
            "o.toml:1:13: state_dir: expected a string, found an integer",
        ),
        (
            "run = 7",
            "o.toml:1:7: run: expected a table, found an integer",
        ),
        (
            "[run]\nactivate = 'al'",
            "o.toml:2:12: run.activate: expected one of 'all', 'on_use', found 'al'; did you mean 'all'?",
        ),
        (
            "[lifecycle]\nprobe_ms = 0",
            "o.toml:2:12: lifecycle.probe_ms: expected 1 to 86400000 milliseconds, found 0",
        ),
        (
            "[lifecycle]\nprobe_ms = -1",
            "o.toml:2:12: lifecycle.probe_ms: expected 1 to 86400000 milliseconds, found -1",
        ),
        (
            "[lifecycle]\nprobe_ms = 99999999999999999999",
            "o.toml:2:12: lifecycle.probe_ms: the number does not fit into 64 bits",
        ),
        (
            "[resolution]\ndefault_priority = 1001",
            "o.toml:2:20: resolution.default_priority: priority must be an integer from -1000 to 1000, found 1001 \
             (core.out_of_bounds)",
        ),
        (
            "[security]\nfactory_allowlist = ['']",
            "o.toml:2:22: security.factory_allowlist[0]: invalid factory \"\": an allowlist entry is 'module', 'module.' or \
             'module:function' (core.invalid_factory)",
        ),
        (
            "[selections]\n'adapter' = 'x'",
            "o.toml:2:1: selections.adapter: invalid slot \"adapter\": expected 'domain/key', such as 'adapter/cache' \
             (core.invalid_slot)",
        ),
        (
            "[selections]\n'adapter/cache' = 1",
            "o.toml:2:19: selections.\"adapter/cache\": expected the name of a provider, found an integer",
        ),
        (
            "[providers.'adapter/cache']\na = 1",
            "o.toml:2:5: providers.\"adapter/cache\".a: expected a table, found an integer",
        ),
        (
            "[providers.'adapter/cache'.a]\nx = nan",
            "o.toml:2:5: providers.\"adapter/cache\".a.x: the number must be finite",
        ),
        (
            "[[candidates]]\nslot = 'adapter/cache'\nprovider = 'a'",
            "o.toml:1:1: candidates[0].factory: it is missing",
        ),
        (
            "[[candidates]]\nslot = 'adapter/cache'\nprovider = 'a b'\nfactory = 'oneiric.test:actor'",
            "o.toml:3:12: candidates[0].provider: invalid provider \"a b\": only letters, digits, '_', '-' and '.' are \
             allowed (core.invalid_name)",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(complaint(text), expected, "{text}");
    }
    let cases = [
        (
            with("priority = 5000"),
            "o.toml:5:12: candidates[0].priority: priority must be an integer from -1000 to 1000, found 5000 \
             (core.out_of_bounds)",
        ),
        (
            with(ACTOR),
            "o.toml:5:1: candidates[1].provider: adapter/cache from 'a' is listed in line 1 already \
             (core.duplicate_candidate)",
        ),
        (
            with("requires = ['x']"),
            "o.toml:5:13: candidates[0].requires[0]: invalid slot \"x\": expected 'domain/key', such as 'adapter/cache' \
             (core.invalid_slot)",
        ),
        (
            with("fallback = 'yes'"),
            "o.toml:5:12: candidates[0].fallback: expected true or false, found a string",
        ),
        (
            ACTOR.replace("test:actor", "test:actr"),
            "o.toml:4:11: candidates[0].factory: no factory 'oneiric.test:actr' is in this program; did you mean \
             'oneiric.test:actor'? (lifecycle.factory_unknown)",
        ),
        (
            ACTOR.replace("oneiric.test", "other.test"),
            "o.toml:4:11: candidates[0].factory: factory 'other.test:actor' is not on the allowlist; add it to \
             `security.factory_allowlist` if it is yours (core.factory_denied)",
        ),
        (
            ACTOR.replace("oneiric.test:actor", "os:system"),
            "o.toml:4:11: candidates[0].factory: factory 'os:system' names a module that is always blocked \
             (core.factory_denied)",
        ),
        (
            ACTOR.to_owned(),
            "o.toml:4:11: candidates[0].factory: 'oneiric.test:actor' does not take these settings: missing field \
             `name` (lifecycle.settings_invalid)",
        ),
        (
            with("[providers.'adapter/cache'.a]\nname = 'a'\nsize = 1"),
            "o.toml:5:28: providers.\"adapter/cache\".a: 'oneiric.test:actor' does not take these settings: unknown \
             field `size`, expected one of `name`, `build`, `probe`, `token`, `told`, `fails_with` (lifecycle.settings_invalid)",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(complaint(&text), expected, "{text}");
    }
}

#[test]
fn all_faults_are_reported_together_by_line() {
    let text =
        "[lifecycle]\nprobe_ms = 0\ndrian_ms = 1\n[[candidates]]\nslot = 'x'\nprovider = 1\n";
    let error = Settings::parse(text, "o.toml").unwrap_err();
    let keys: Vec<_> = error
        .faults()
        .iter()
        .map(|fault| (fault.at.unwrap().0, fault.key.as_str()))
        .collect();
    let expected = [
        (2, "lifecycle.probe_ms"),
        (3, "lifecycle.drian_ms"),
        (4, "candidates[0].factory"),
        (5, "candidates[0].slot"),
        (6, "candidates[0].provider"),
    ];
    assert_eq!(keys, expected);
    assert!(
        error
            .to_string()
            .starts_with("5 faults in o.toml\n  o.toml:2:12: "),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_there_not_readable_not_text_or_too_long_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("o.toml");
    let load = || Settings::load(&path).unwrap_err();
    assert_eq!(load().code(), "runtime.settings_not_found");
    assert_eq!(
        Settings::load(dir.path()).unwrap_err().code(),
        "runtime.settings_unreadable"
    );
    let write = |bytes: &[u8]| {
        std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), bytes).unwrap()
    };
    write(b"a = '\xff'");
    assert!(
        load()
            .to_string()
            .ends_with("the file is not UTF-8 text (byte 5)"),
        "{}",
        load()
    );
    write(&vec![b'#'; (1 << 20) + 1]);
    assert!(
        load()
            .to_string()
            .ends_with("the file is longer than 1048576 bytes"),
        "{}",
        load()
    );
    write(&vec![b'#'; 1 << 20]);
    Settings::load(&path).unwrap();
}

#[test]
fn deep_nesting_is_refused_and_not_a_crash() {
    let text = format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(
        Settings::parse(&text, "o.toml").unwrap_err().code(),
        "runtime.settings_invalid"
    );
    let text = format!("[{}x]", "a.".repeat(100_000));
    assert_eq!(
        Settings::parse(&text, "o.toml").unwrap_err().code(),
        "runtime.settings_invalid"
    );
}

#[test]
fn a_full_file_is_read() {
    let settings = Settings::parse(
        "state_dir = 'run'\n[admin]\nsocket = 's.sock'\nrequest_timeout_ms = 500\n[lifecycle]\ndrain_ms = 7\n\
         [resolution]\nties = 'error'\ndefault_priority = -3\n[run]\nactivate = 'on_use'\ngrace_ms = 0\n\
         [security]\nfactory_allowlist = ['app']\n",
        "o.toml",
    )
    .unwrap();
    assert_eq!(settings.socket_path(), std::path::Path::new("s.sock"));
    assert_eq!(settings.limits.drain.as_millis(), 7);
    assert_eq!(settings.request_limit().as_millis(), 500);
    assert_eq!(
        (settings.default_priority, settings.grace.as_millis()),
        (-3, 0)
    );
    assert_eq!(settings.factory_allowlist, ["app"]);
}

#[test]
fn requirements_in_a_ring_are_a_warning_with_the_path_and_optional_ones_are_not() {
    let parsed = |needs: &str| {
        let text = format!(
            "
[[candidates]]
slot = 'service/b'
provider = 'one'
factory = 'oneiric.test:actor'
requires = ['service/a']
[[candidates]]
slot = 'service/a'
provider = 'one'
factory = 'oneiric.test:actor'
{needs}
[[candidates]]
slot = 'service/a'
provider = 'other'
factory = 'oneiric.test:actor'
priority = -1
"
        );
        let warnings = Settings::parse(&text, "x.toml").unwrap().warnings();
        let said = warnings.iter().map(ToString::to_string);
        said.collect::<Vec<String>>()
    };
    let said = parsed("requires = ['service/b']");
    let path =
        "candidates[1].requires: it requires itself: service/a -> service/b -> service/a; take one";
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains(path), "{said:?}");
    assert!(parsed("optional_requires = ['service/b']").is_empty());
    // Whoever wins in its place needs nothing.
    assert!(parsed("requires = ['service/b']\nfallback = true").is_empty());
    // Nobody need be there, but somebody with nearly that name may have been meant.
    assert!(parsed("optional_requires = ['adapter/mail']").is_empty());
    let said = parsed("optional_requires = ['service/bb']");
    assert!(said[0].contains("did you mean 'service/b'"), "{said:?}");
}
