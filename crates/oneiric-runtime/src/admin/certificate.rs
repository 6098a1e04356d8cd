//! The certificate that a connection came with. Whom it stands for is looked up each time somebody asks: a connection
//! may stay open long after its certificate has run out or its role was taken away.

use std::time::SystemTime;

use super::{cert_names, entrance::Caller};
use crate::runtime::Runtime;

/// A client certificate; its signature was verified when it was shown.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    names: Vec<String>,
    /// The last moment at which it holds; one that cannot be read never does.
    until: Option<SystemTime>,
}

impl Certificate {
    pub(super) fn read(der: &[u8]) -> Self {
        Self {
            names: cert_names::names(der),
            until: cert_names::not_after(der),
        }
    }

    /// Whose it is: the first of its names that has a role now.
    pub(super) fn caller(&self, runtime: &Runtime) -> Option<Caller> {
        if runtime.inner.clock.now() > self.until? {
            return None;
        }
        let settings = runtime.settings();
        let roles = &settings.admin.client_roles;
        let role = |name: &String| roles.iter().find(|(known, _)| known == name);
        let (name, role) = self.names.iter().find_map(role)?;
        Some(Caller::new(format!("cert:{name}"), *role))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::{RuntimeBuilder, Settings, settings::Role};

    #[test]
    fn one_that_has_run_out_stands_for_nobody() {
        let text = "[admin.client_roles]\nci = \"read\"\nops = \"operate\"\n";
        let settings = Settings::parse(text, "oneiric.toml").unwrap();
        let runtime = RuntimeBuilder::new(settings).build().unwrap();
        let now = runtime.inner.clock.now();
        let until = |until| Certificate {
            names: vec!["nobody".to_owned(), "ops".to_owned()],
            until,
        };
        let ops = Some(Caller::new("cert:ops", Role::Operate));
        let later = now + Duration::from_secs(3_600);
        assert_eq!(until(Some(later)).caller(&runtime), ops);
        for past in [
            now.checked_sub(Duration::from_secs(1)),
            Some(UNIX_EPOCH),
            None,
        ] {
            assert_eq!(until(past).caller(&runtime), None, "{past:?}");
        }
    }
}
