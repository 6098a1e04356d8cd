//! `secrets`.

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric secrets list
  oneiric secrets rotate
  oneiric secrets rotate secret://file/db-password --reason 'quarterly'

Settings name secrets and never hold them: token = \"secret://file/NAME\" is a private file in
secrets.directory, \"secret://env/NAME\" a variable of the environment of `oneiric run`.")]
pub(crate) struct Secrets {
    #[command(subcommand)]
    pub(crate) command: SecretsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Lists the secrets that settings name: who uses them and how old they are, never what they are
    List(SecretsList),
    /// Fetches secrets anew and gives what changed to whoever uses it, without a failed call
    Rotate(SecretsRotate),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric secrets list
  oneiric secrets list --json | jq -r '.secrets[] | select(.stale) | .reference'")]
pub(crate) struct SecretsList {}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric secrets rotate                            every secret that settings name
  oneiric secrets rotate secret://file/db-password
  oneiric secrets rotate secret://file/db-password --reason 'quarterly'

First put the new value where the old one was. A component that can take new settings is told; another
is exchanged for a new instance. If one cannot be built the old one serves on and the exit code is 7.")]
pub(crate) struct SecretsRotate {
    /// Only this one, such as `secret://file/db-password`
    pub(crate) reference: Option<String>,
    /// Why, for the log
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}
