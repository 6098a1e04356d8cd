//! Connecting to a process that serves TCP: which files say whom to trust and who asks.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use oneiric_core::ErrorKind;
use oneiric_domains::Secret;
use oneiric_runtime::ClientBuilder;

use crate::args::Global;
use crate::env_vars::{self, Env, Variable};
use crate::failure::Failure;

/// The longest of these files: 1 MiB.
const MAX_BYTES: u64 = 1 << 20;

/// What was said about a process elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) url: String,
    token: Option<PathBuf>,
    authorities: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Remote {
    /// What options and variables say, options first; nothing without a URL. Whoever names a socket means that.
    pub(crate) fn of(global: &Global, env: &Env) -> Option<Self> {
        let said = &global.remote;
        let path = |option: &Option<PathBuf>, variable: Variable| {
            let by_variable = || env.value(variable).map(PathBuf::from);
            option.clone().or_else(by_variable)
        };
        let by_variable = || {
            let url = env
                .value(env_vars::URL)
                .filter(|_| global.socket.is_none())?;
            Some(url.to_string_lossy().into_owned())
        };
        Some(Self {
            url: said.url.clone().or_else(by_variable)?,
            token: path(&said.token_file, env_vars::TOKEN_FILE),
            authorities: path(&said.ca_file, env_vars::CA_FILE),
            certificate: path(&said.cert, env_vars::CERT_FILE),
            key: path(&said.key, env_vars::KEY_FILE),
        })
    }

    /// Reads the files. Blocks.
    pub(crate) fn builder(&self) -> Result<ClientBuilder, Failure> {
        let Some(authorities) = &self.authorities else {
            let message = "nothing says which authority its certificate must come from";
            let code = "runtime.client_misconfigured";
            let failure = Failure::new(code, ErrorKind::Config, message);
            return Err(failure.hint(
                "--ca-file FILE (or ONEIRIC_CA_FILE) names a file with the authority's certificate, in PEM form",
            ));
        };
        let builder = ClientBuilder::url(&self.url);
        let mut builder = builder.authorities(read(authorities, false)?);
        if let Some(path) = &self.token {
            let token = String::from_utf8(read(path, true)?)
                .map_err(|_| unusable(path, "it is not UTF-8 text"))?;
            builder = builder.token(Secret::new(token));
        }
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                Ok(builder.identity(read(certificate, false)?, read(key, true)?))
            }
            (None, None) => Ok(builder),
            _ => Err(Failure::new(
                "cli.usage",
                ErrorKind::Usage,
                "--cert and --key are given together",
            )),
        }
    }
}

/// Reads a file; one that holds a secret must not be open to others.
fn read(path: &Path, secret: bool) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| unusable(path, &error.to_string());
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    if secret && mode & 0o077 != 0 {
        let failure = unusable(path, &format!("it is open to other users (mode {mode:o})"));
        return Err(failure.hint(format!("chmod 600 {}", path.display())));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

fn unusable(path: &Path, why: &str) -> Failure {
    let message = format!("{} cannot be used: {why}", path.display());
    Failure::new("cli.file_unusable", ErrorKind::Config, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        let pairs = pairs.iter();
        Env::new(pairs.map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn options_stand_above_variables_and_a_socket_above_a_variable_url() {
        let mut global = Global::default();
        let env = env(&[("ONEIRIC_URL", "https://v:1"), ("ONEIRIC_CA_FILE", "ca")]);
        assert_eq!(Remote::of(&global, &Env::default()), None);
        let remote = Remote::of(&global, &env).unwrap();
        assert_eq!(
            (&*remote.url, remote.authorities),
            ("https://v:1", Some("ca".into()))
        );
        global.socket = Some("s".into());
        assert_eq!(Remote::of(&global, &env), None);
        global.socket = None;
        global.remote.url = Some("https://o:1".to_owned());
        assert_eq!(Remote::of(&global, &env).unwrap().url, "https://o:1");
    }

    #[test]
    fn without_an_authority_the_option_for_one_is_named() {
        let mut global = Global::default();
        global.remote.url = Some("https://a:1".to_owned());
        let remote = Remote::of(&global, &Env::default()).unwrap();
        let failure = remote.builder().unwrap_err();
        assert_eq!(failure.code, "runtime.client_misconfigured");
        assert!(
            failure
                .hint
                .unwrap()
                .starts_with("--ca-file FILE (or ONEIRIC_CA_FILE)")
        );
    }

    #[test]
    fn a_token_that_others_can_read_is_not_used() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        File::create(&path).unwrap();
        let readable = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&path, readable).unwrap();
        let mut global = Global::default();
        global.remote.ca_file = Some(path.clone());
        global.remote.url = Some("https://a:1".to_owned());
        for wrong in [path, "/nowhere".into()] {
            global.remote.token_file = Some(wrong);
            let remote = Remote::of(&global, &Env::default()).unwrap();
            let failure = remote.builder().unwrap_err();
            assert_eq!(failure.code, "cli.file_unusable");
        }
        global.remote.token_file = None;
        global.remote.cert = Some("a".into());
        let remote = Remote::of(&global, &Env::default()).unwrap();
        assert_eq!(remote.builder().unwrap_err().code, "cli.usage");
    }
}
