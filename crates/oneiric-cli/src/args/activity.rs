//! What can be typed to pause, drain and resume.

use std::time::Duration;

use clap::Args;

use super::{Assent, Waiting};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric pause adapter/cache --note 'migrating the index' --for 30m
  oneiric pause adapter/cache --provider redis    only while redis serves it
  oneiric pause 'adapter/*' --yes                 a whole domain, later slots too

New calls are refused at once, with your note, until `oneiric resume`; what runs goes on. It
survives a restart. A swap by hand goes ahead, those by themselves wait.")]
pub(crate) struct Pause {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// Why; everybody who is refused reads it
    #[arg(long, visible_alias = "reason", value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// Resumes by itself after this time, such as 30m or 2h: 1s to 30d
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::duration::pause)]
    pub(crate) time: Option<Duration>,
    #[command(flatten)]
    pub(crate) assent: Assent,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric drain adapter/cache --wait --timeout 60s
  oneiric drain 'adapter/*' --yes --note 'moving house' --for 2h
  oneiric drain adapter/cache --wait && ./move && oneiric resume adapter/cache

New calls are refused at once, what runs is finished. With --wait it ends when nothing runs any more;
after --timeout the exit code is 8, and it goes on draining.")]
pub(crate) struct Drain {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// Why; everybody who is refused reads it
    #[arg(long, visible_alias = "reason", value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// Resumes by itself after this time, such as 30m or 2h: 1s to 30d
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::duration::pause)]
    pub(crate) time: Option<Duration>,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    #[command(flatten)]
    pub(crate) assent: Assent,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric resume adapter/cache
  oneiric resume 'adapter/*' --note 'moved'

It takes back what was said about this scope, and nothing else: a slot whose domain is paused too
stays paused, and the answer says so.")]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// Why, for the log
    #[arg(long, visible_alias = "reason", value_name = "TEXT")]
    pub(crate) note: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric activity                  everything that is paused or draining
  oneiric activity adapter/cache    whether it takes work, and what still runs
  oneiric activity --json | jq -r '.scopes[].scope'")]
pub(crate) struct Activity {
    /// Only this: a slot, a provider in it such as `adapter/cache:redis`, or a domain such as 'adapter/*'
    #[arg(id = "scope", value_name = "SCOPE")]
    pub(crate) words: Vec<String>,
}

/// What is meant.
#[derive(Debug, Args)]
pub(crate) struct Scope {
    /// A slot such as `adapter/cache`, or a domain such as 'adapter/*' (with the quotes)
    #[arg(id = "scope", value_name = "SCOPE", required = true)]
    pub(crate) words: Vec<String>,
    /// Only while this provider serves the slot
    #[arg(long, value_name = "PROVIDER")]
    pub(crate) provider: Option<String>,
}
