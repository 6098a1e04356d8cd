//! `config` and `init` as an operator uses them: against the real binary, with a process and without.

use oneiric_tests::settings::CACHES;
use oneiric_tests::{Place, Process};

#[test]
fn init_writes_a_file_that_run_starts_with_and_never_overwrites_one() {
    let place = Place::new();
    let said = place.oneiric(&["run"]).failed(3);
    assert!(
        said.contains("none of oneiric.local.toml, oneiric.toml, ")
            && said.contains("oneiric init"),
        "{said}"
    );
    let said = place.oneiric(&["init"]).ok();
    assert!(said.contains("wrote oneiric.toml"), "{said}");
    let said = place.oneiric(&["init"]).failed(2);
    assert!(said.contains("--force"), "{said}");
    place.oneiric(&["init", "--force"]).ok();
    assert_eq!(
        place.oneiric(&["config", "check"]).ok(),
        "no faults in oneiric.toml\n"
    );
    let process = Process::start_in(place, &["run"]);
    let said = process.oneiric(&["config", "show"]).ok();
    assert!(said.contains("run.grace_ms = 45000\n"), "{said}");
}

#[test]
fn who_set_what_is_told_by_the_process_and_without_it() {
    let place = Place::with(&format!("{CACHES}\n[run]\ngrace_ms = 5000\n"));
    place.write("oneiric.local.yaml", "run:\n  grace_ms: 6000\n");
    let asked = ["config", "explain", "run.grace_ms", "--json"];
    assert_eq!(place.oneiric(&asked).json()["value"], 6000);
    let said = place.oneiric(&["config", "show", "--json"]).failed_json(8);
    assert!(
        said["hint"].as_str().unwrap().contains("--offline"),
        "{said}"
    );
    let offline: Vec<&str> = asked.iter().copied().chain(["--offline"]).collect();
    let flags = ["--set", "run.grace_ms=7000"];
    let alone = place
        .oneiric(&offline.iter().copied().chain(flags).collect::<Vec<_>>())
        .json();
    assert_eq!(alone["value"], 7000);
    let process = Process::start_in(place, &["run", "--set", "run.grace_ms=7000"]);
    let told = process.oneiric(&asked).json();
    assert_eq!(told, alone, "with and without a process the same is said");
    let by: Vec<_> = told["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| {
            (
                layer["value"].as_u64().unwrap(),
                layer["set_by"]["name"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        by,
        [
            (7000, Some("--set run.grace_ms")),
            (6000, Some("oneiric.local.yaml")),
            (5000, Some("oneiric.toml")),
            (45000, None)
        ]
    );
    // Here and now nobody says --set.
    let said = process
        .oneiric(&["config", "show", "--offline", "--origin"])
        .ok();
    assert!(said.contains("oneiric.local.yaml:2:13"), "{said}");
}

#[test]
fn an_operators_selection_is_told_beside_the_setting_it_stands_above() {
    let process = Process::start(&format!(
        "{CACHES}\n[selections]\n\"adapter/cache\" = \"memory\"\n"
    ));
    let explain = ["config", "explain", "selections.adapter/cache"];
    assert!(!process.oneiric(&explain).ok().contains("operator"));
    let reason = [
        "swap",
        "adapter/cache",
        "file",
        "--reason",
        "try \u{1b}[31mit",
    ];
    process.oneiric(&reason).ok();
    let said = process.oneiric(&explain).ok();
    assert!(
        said.starts_with("selections.\"adapter/cache\" = \"memory\"\n"),
        "{said}"
    );
    assert!(
        said.contains("an operator selected file, which stands above the settings"),
        "{said}"
    );
    assert!(
        said.contains("try \\u{1b}[31mit") && !said.contains('\u{1b}'),
        "{said}"
    );
}

#[test]
fn check_lists_all_faults_of_files_factories_and_variables_and_does_nothing() {
    let place = Place::with("[run]\ngrace = 1\nactivate = \"al\"\n");
    let said = place.oneiric(&["config", "check", "--json"]).failed_json(3);
    assert_eq!(
        said["details"]["faults"].as_array().unwrap().len(),
        2,
        "{said}"
    );
    assert_eq!(said["details"]["faults"][0]["line"], 2);
    place.write(
        "oneiric.toml",
        "[[candidates]]\nslot = \"a/b\"\nprovider = \"x\"\nfactory = \"oneiric.builtins:memory_cash\"\n",
    );
    let said = place.oneiric(&["config", "check"]).failed(3);
    assert!(said.contains("memory_cache"), "{said}");
    // The file alone, whatever variables say.
    place.write("fine.json", "{\"run\": {\"grace_ms\": 1}}");
    let variables = [("ONEIRIC_RUN__GRACE_MS", "soon")];
    place
        .oneiric_with(&["config", "check", "fine.json"], &variables)
        .ok();
    let said = place
        .oneiric_with(&["config", "check", "--config", "fine.json"], &variables)
        .failed(3);
    assert!(said.contains("ONEIRIC_RUN__GRACE_MS"), "{said}");
    let said = place
        .oneiric_with(
            &["config", "check", "--config", "fine.json"],
            &[("ONEIRIC_GRACE", "1")],
        )
        .ok();
    assert!(said.contains("ONEIRIC_GRACE"), "{said}");
    assert!(
        !place.path().join(".oneiric").exists(),
        "a check leaves nothing behind"
    );
}

#[test]
fn p83_variables_reach_a_component_with_the_type_it_takes() {
    let place = Place::with(CACHES);
    let arguments = [
        "config",
        "check",
        "--set",
        "providers.adapter/cache.memory.max_entries=17",
    ];
    place.oneiric(&arguments).ok();
    // A directory of digits stays a text.
    let variables = [(
        "ONEIRIC_PROVIDERS__ADAPTER__CACHE__FILE__DIRECTORY",
        "123456",
    )];
    place.oneiric_with(&["config", "check"], &variables).ok();
    let wrong = [
        "config",
        "check",
        "--set",
        "providers.adapter/cache.memory.max_entries=many",
    ];
    let said = place.oneiric(&wrong).failed(3);
    assert!(
        said.contains("--set providers.adapter/cache.memory.max_entries"),
        "{said}"
    );
}
