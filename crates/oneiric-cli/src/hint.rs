//! What to do next, by error code. Only where one step is nearly always right: a hint that guesses
//! is worse than none. A hint that comes with the error wins over these.

/// The next step after the error with this code.
pub(crate) fn of(code: &str) -> Option<&'static str> {
    Some(match code {
        "runtime.not_running" => {
            "start it with `oneiric run --config FILE`, or say where it runs with --state-dir or \
             --socket"
        }
        "runtime.answer_late" => {
            "the process is there and does not answer: look whether it is stopped (state T in `ps \
             -o pid,stat,args -C oneiric`), busy, or waits for a disk; its log says what it did last"
        }
        "runtime.settings_not_found" => {
            "name the settings file with --config FILE, or write one with `oneiric init`"
        }
        "runtime.socket_foreign" => {
            "whoever may write to that directory can pose as the process; keep the socket in a \
             directory of the user who runs it"
        }
        "runtime.unreachable" => {
            "see that it runs, and that its settings have `[admin.tcp]` listen at that address"
        }
        "runtime.tls_failed" => {
            "--ca-file FILE names the authority that its certificate comes from, and --url the host as \
             the certificate has it"
        }
        "runtime.unauthenticated" => {
            "show who asks with --token-file FILE, or with --cert FILE and --key FILE; its settings know \
             tokens in `[[admin.tokens]]` and certificates in `[admin.client_roles]`"
        }
        "runtime.role_denied" => {
            "use a token or a certificate that has the role `operate`, or ask on the machine itself"
        }
        "runtime.socket_denied" => "run this as the user who started the process",
        "core.tied" => {
            "see who is tied with `oneiric explain SLOT`, and select one with `oneiric swap SLOT \
             PROVIDER`"
        }
        "lifecycle.retired" => {
            "it was replaced while this call ran longer than lifecycle.drain_ms; call again"
        }
        "core.invalid_slot" => "a slot is a domain and a key, such as adapter/cache",
        "core.stack_order_invalid" => "correct or unset the variable ONEIRIC_STACK_ORDER",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_sentences_without_an_end() {
        for code in [
            "runtime.not_running",
            "runtime.unreachable",
            "runtime.tls_failed",
            "runtime.unauthenticated",
            "runtime.role_denied",
            "core.tied",
            "core.invalid_slot",
        ] {
            let hint = of(code).expect(code);
            assert!(!hint.ends_with('.') && !hint.contains("  "), "{hint}");
        }
        assert_eq!(of("runtime.internal"), None);
    }
}
