//! What to do next, by error code. Only where one step is nearly always right: a hint that guesses
//! is worse than none. A hint that comes with the error wins over these.

/// The next step after the error with this code.
pub(crate) fn of(code: &str) -> Option<&'static str> {
    Some(match code {
        "runtime.not_running" => {
            "start it with `oneiric run --config FILE`, or say where it runs with --state-dir or \
             --socket"
        }
        "runtime.already_running" => {
            "look at it with `oneiric status`, or choose another --state-dir for a second process"
        }
        "runtime.settings_not_found" => {
            "name the settings file with --config FILE; examples/quickstart/oneiric.toml is one"
        }
        "runtime.socket_path_too_long" => {
            "choose a shorter --state-dir, or set admin.socket in the settings"
        }
        "runtime.slot_unknown" | "core.no_candidate" => {
            "`oneiric list --shadowed` shows every slot and candidate"
        }
        "core.tied" => "select one with `oneiric swap SLOT PROVIDER`, or raise one's priority",
        "core.invalid_slot" => "a slot is a domain and a key, such as adapter/cache",
        "core.invalid_change" => {
            "--what-if takes select=PROVIDER, priority:PROVIDER=N, without=PROVIDER, down=PROVIDER"
        }
        "core.factory_denied" => {
            "if the factory is yours, add its path to security.factory_allowlist"
        }
        "lifecycle.probe_failed" | "lifecycle.probe_error" => {
            "`oneiric swap SLOT PROVIDER --force` puts it in service all the same"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_sentences_without_an_end() {
        for code in ["runtime.not_running", "core.tied", "core.invalid_change"] {
            let hint = of(code).expect(code);
            assert!(!hint.ends_with('.') && !hint.contains("  "), "{hint}");
        }
        assert_eq!(of("runtime.internal"), None);
    }
}
