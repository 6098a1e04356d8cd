//! What is offered, without a process: the live values are given here.

use serde_json::json;

use super::*;

fn live() -> Option<ListDoc> {
    let candidate = |provider: &str| {
        json!({
            "provider": provider, "origin": "settings", "priority": 0, "stack_level": 0,
            "sequence": 1, "fallback": false, "capabilities": [], "active": false, "winner": false,
        })
    };
    let slot = |slot: &str, providers: &[&str]| {
        let candidates: Vec<_> = providers.iter().map(|name| candidate(name)).collect();
        json!({"slot": slot, "state": "active", "candidates": candidates})
    };
    let list = json!({
        "schema": "oneiric.list/1",
        "slots": [slot("adapter/cache", &["memory", "file"]), slot("service/clock", &["system"])],
    });
    Some(serde_json::from_value(list).unwrap())
}

/// What is offered at the end of a line.
fn offered(line: &str) -> Vec<String> {
    let words: Vec<String> = split(line).into_iter().skip(1).collect();
    let (typed, before) = words.split_last().unwrap();
    let mut cli = Cli::command();
    cli.build();
    Place::of(&cli, before).candidates(typed, &live)
}

#[test]
fn commands_options_and_their_values_are_offered() {
    assert_eq!(offered("oneiric sw"), ["swap"]);
    assert!(offered("oneiric ").contains(&"status".to_owned()));
    assert!(
        !offered("oneiric ").contains(&"complete".to_owned()),
        "it is hidden"
    );
    assert_eq!(offered("oneiric swap --dry"), ["--dry-run"]);
    assert_eq!(offered("oneiric status --color a"), ["auto", "always"]);
    assert_eq!(offered("oneiric status --color=al"), ["--color=always"]);
    assert_eq!(offered("oneiric run --config "), [FILES]);
    assert_eq!(offered("oneiric run --config=x"), [FILES]);
    assert_eq!(offered("oneiric completions z"), ["zsh"]);
}

#[test]
fn slots_and_providers_are_the_live_ones() {
    assert_eq!(
        offered("oneiric status "),
        ["adapter/cache", "service/clock"]
    );
    assert_eq!(offered("oneiric swap --force se"), ["service/clock"]);
    assert_eq!(
        offered("oneiric --json swap adapter/cache "),
        ["file", "memory"]
    );
    assert_eq!(
        offered("oneiric swap service/clock --reason 'a b' "),
        ["system"]
    );
    assert_eq!(offered("oneiric swap 'adapter/cache' m"), ["memory"]);
    assert_eq!(offered("oneiric swap -- adapter/cache m"), ["memory"]);
    assert_eq!(offered("oneiric list "), ["adapter", "service"]);
    assert_eq!(
        offered("oneiric explain adapter/cache --provider f"),
        ["file"]
    );
    assert_eq!(
        offered("oneiric explain adapter/cache --what-if priority:"),
        ["priority:file=", "priority:memory="]
    );
}

#[test]
fn changes_are_slots_with_each_of_their_providers_and_with_none_or_a_file() {
    assert_eq!(
        offered("oneiric plan adapter/cache=file adapter/"),
        [
            FILES,
            "adapter/cache=file",
            "adapter/cache=memory",
            "adapter/cache="
        ]
    );
    let offered = offered("oneiric apply service/clock=s");
    assert_eq!(offered, [FILES, "service/clock=system"]);
}

#[test]
fn nothing_is_offered_where_nothing_is_known() {
    assert_eq!(offered("oneiric swap adapter/cache memory "), [""; 0]);
    assert_eq!(offered("oneiric swap --reason "), [""; 0]);
    assert_eq!(offered("oneiric nonsense --x"), [""; 0]);
    let cli = Cli::command();
    let words = ["swap".to_owned()];
    assert_eq!(Place::of(&cli, &words).candidates("", &|| None), [""; 0]);
}

#[test]
fn what_a_process_says_cannot_reach_the_shell_as_two_words() {
    let names = vec!["a b".to_owned(), "a\nb".to_owned(), "a".to_owned()];
    assert_eq!(starting_with("a", names), ["a"]);
}

#[test]
fn a_process_that_is_named_on_the_line_is_the_one_that_is_asked() {
    let words = ["swap", "--socket", "a.sock", "--dry-run", "--state-dir=b"].map(str::to_owned);
    let global = global(&words).unwrap();
    assert_eq!(global.socket.unwrap().to_str(), Some("a.sock"));
    assert_eq!(global.state_dir.unwrap().to_str(), Some("b"));
}
