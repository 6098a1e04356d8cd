//! Secrets from the environment: `secret://env/NAME`.
//!
//! The environment is handed in as a value, because a library must not read it: the program decides
//! what is seen. Any variable may be named. Settings name it, and whoever writes settings could have
//! its value anyway; a list of allowed names beside them would only be a second place to forget.
//!
//! A process' environment does not change from outside while it runs, so neither do these secrets:
//! for one that is to be rotated while the process runs, use a file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use oneiric_core::BoxFuture;
use oneiric_domains::{MAX_SECRET_BYTES, Secret, SecretError, SecretProvider};

/// Keeps the variables of an environment as secrets, under the provider name `env`.
pub struct EnvSecrets(BTreeMap<String, Value>);

enum Value {
    Text(Secret),
    NoText,
}

impl EnvSecrets {
    /// From pairs, such as `std::env::vars_os()`. A name that is no UTF-8 cannot be asked for.
    pub fn new(pairs: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let named = pairs.into_iter().filter_map(|(name, value)| {
            let value = match value.into_string() {
                Ok(text) => Value::Text(Secret::new(text)),
                Err(_) => Value::NoText,
            };
            Some((name.into_string().ok()?, value))
        });
        Self(named.collect())
    }

    fn find(&self, name: &str) -> Result<Secret, SecretError> {
        let absent = |message: &str| SecretError::NotFound {
            name: name.to_owned(),
            message: message.to_owned(),
        };
        let unusable = |message: String| SecretError::Unusable {
            name: name.to_owned(),
            message,
        };
        match self.0.get(name) {
            None => Err(absent(
                "the environment of this process has no variable of that name",
            )),
            Some(Value::NoText) => Err(unusable("the variable is not UTF-8 text".to_owned())),
            Some(Value::Text(secret)) => match secret.expose().len() {
                0 => Err(absent("the variable is empty")),
                length if length > MAX_SECRET_BYTES => Err(unusable(format!(
                    "the variable is {length} bytes long, at most {MAX_SECRET_BYTES} are taken"
                ))),
                _ => Ok(secret.clone()),
            },
        }
    }
}

impl SecretProvider for EnvSecrets {
    fn name(&self) -> &str {
        "env"
    }

    fn fetch<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>> {
        Box::pin(std::future::ready(self.find(name)))
    }
}

impl fmt::Debug for EnvSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvSecrets")
            .field("variables", &self.0.len())
            .finish_non_exhaustive()
    }
}
