//! How a process on another machine is reached.

use std::path::PathBuf;

use clap::Args;

/// Their ids are their own: a command may have a word called `key`.
#[derive(Debug, Default, Args)]
pub(crate) struct Remote {
    /// A process that serves TCP (`admin.tcp`), in place of one on this machine [default: $ONEIRIC_URL]
    #[arg(long, global = true, value_name = "https://HOST:PORT")]
    #[arg(conflicts_with = "socket", help_heading = "Global options")]
    pub(crate) url: Option<String>,

    /// With --url: the file of the bearer token, for nobody else to read [default: $ONEIRIC_TOKEN_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    #[arg(help_heading = "Global options")]
    pub(crate) token_file: Option<PathBuf>,

    /// With --url: the authorities its certificate must come from (PEM) [default: $ONEIRIC_CA_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    #[arg(help_heading = "Global options")]
    pub(crate) ca_file: Option<PathBuf>,

    /// With --url: a client certificate (PEM), with --key [default: $ONEIRIC_CERT_FILE]
    #[arg(id = "client_cert", long = "cert", global = true, value_name = "FILE")]
    #[arg(help_heading = "Global options")]
    pub(crate) cert: Option<PathBuf>,

    /// With --cert: its key (PEM), for nobody else to read [default: $ONEIRIC_KEY_FILE]
    #[arg(id = "client_key", long = "key", global = true, value_name = "FILE")]
    #[arg(help_heading = "Global options")]
    pub(crate) key: Option<PathBuf>,
}
