//! Candidates and provider settings against the factories that a program has: the part of checking that needs more
//! than the settings themselves.

use oneiric_core::FactoryPolicy;
use oneiric_lifecycle::FactoryTable;
use serde_json::Value;

use super::{Configured, Declared, Fault, Place, Settings, SettingsError, fault::nearest, hide};

impl Settings {
    /// Checks that every candidate's factory is in `factories`, allowed, and takes the settings of its provider. Text
    /// from the environment and the command line gets the type that the factory takes.
    ///
    /// # Errors
    /// `runtime.settings_invalid` naming every candidate whose factory is not there (`lifecycle.factory_unknown`),
    /// not allowed (`core.factory_denied`) or does not take the settings (`lifecycle.settings_invalid`).
    pub fn check_factories(
        &mut self,
        factories: &FactoryTable,
    ) -> Result<FactoryPolicy, SettingsError> {
        let policy = FactoryPolicy::new(&self.factory_allowlist).map_err(|error| {
            let place = Place::whole(0);
            let fault = Fault::coded(place, "security.factory_allowlist", &error);
            SettingsError::invalid(&self.layers, [fault])
        })?;
        let mut faults = Vec::new();
        for declared in &self.candidates {
            let candidate = &declared.candidate;
            let of = (candidate.slot().clone(), candidate.provider().clone());
            let configured = self.providers.get_mut(&of);
            faults.extend(check(declared, configured, factories, &policy));
        }
        if faults.is_empty() {
            Ok(policy)
        } else {
            Err(SettingsError::invalid(&self.layers, faults))
        }
    }
}

fn check(
    declared: &Declared,
    configured: Option<&mut Configured>,
    factories: &FactoryTable,
    policy: &FactoryPolicy,
) -> Option<Fault> {
    let path = declared.candidate.factory()?;
    let at_factory =
        |code, message: String| Fault::new(declared.place, &declared.key, code, message);
    if let Err(denied) = policy.check(path) {
        let help = "add it to `security.factory_allowlist` if it is yours";
        let fault = Fault::coded(declared.place, &declared.key, &denied);
        return Some(fault.help((!denied.is_blocked()).then(|| help.to_owned())));
    }
    let Some(factory) = factories.get(path) else {
        let message = format!("no factory '{path}' is in this program");
        let known = factories.paths().map(|known| known.as_str());
        let fault = at_factory("lifecycle.factory_unknown", message);
        return Some(fault.help(nearest(path.as_str(), known)));
    };
    let refused = |message: String| {
        let message = in_words(&message);
        format!("'{path}' does not take these settings: {message}")
    };
    let code = "lifecycle.settings_invalid";
    match configured {
        // Settings that are missing altogether are missed where the candidate is declared.
        None => {
            let message = factory.check_settings(&Value::Null).err()?;
            Some(at_factory(code, refused(message)))
        }
        Some(configured) => {
            // What a secret is nobody knows yet: a factory that wants more than any text is asked when it builds. Which
            // fields there are is known.
            let holds_secrets = hide::has_reference(&configured.value);
            let may_be_the_secret =
                |message: &String| holds_secrets && !is_about_fields(message.as_str());
            let message = configured
                .fit(|value| {
                    factory
                        .check_settings(value)
                        .map_err(|error| error.to_string())
                })
                .err()
                .filter(|message| !may_be_the_secret(message))?;
            let message = refused(hide::message(message, "", &configured.value));
            Some(Fault::new(configured.place, &configured.key, code, message))
        }
    }
}

/// A refusal without the names of Rust's types: `expected a nonzero usize` says nothing to whoever writes settings.
fn in_words(message: &str) -> String {
    let Some((said, expected)) = message.rsplit_once("expected ") else {
        return message.to_owned();
    };
    let range = match expected {
        "a nonzero usize" | "a nonzero u64" | "a nonzero u32" => "a whole number of 1 or more",
        "a nonzero u16" => "a whole number from 1 to 65535",
        "a nonzero u8" => "a whole number from 1 to 255",
        "usize" | "u64" => "a whole number of 0 or more",
        "u32" => "a whole number from 0 to 4294967295",
        "u16" => "a whole number from 0 to 65535",
        "u8" => "a whole number from 0 to 255",
        "isize" | "i64" | "i32" => "a whole number",
        "f64" | "f32" => "a number",
        _ => return message.to_owned(),
    };
    format!("{said}expected {range}")
}

/// Whether a refusal is about a field that is not there or should not be, in the words of serde.
fn is_about_fields(message: &str) -> bool {
    message.starts_with("unknown field") || message.starts_with("missing field")
}
