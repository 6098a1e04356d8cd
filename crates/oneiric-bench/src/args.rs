//! The command line. Five options do not need a parser from elsewhere.

pub(crate) const HELP: &str = "\
Measures Oneiric beside its peers, in one run, and prints ratios. A goal that is missed is reported;
it is no failure.

Usage: cargo xtask bench [OPTIONS] [NAME...]
       cargo xtask bench --swaps [--quick] [--write]

Only rows whose name contains a NAME are measured; all of them if none is given.

Options:
  --filter NAME   the same as NAME
  --swaps         measure instead how long callers are held up by swaps (not at all), and how long swaps take
  --quick         few samples: does it still run, is it roughly right?
  --json          print one JSON document instead of tables
  --write         also write the figures to docs/reference/performance.md
  --help          print this";

/// What to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) filters: Vec<String>,
    pub(crate) swaps: bool,
    pub(crate) quick: bool,
    pub(crate) json: bool,
    pub(crate) write: bool,
    pub(crate) help: bool,
}

impl Args {
    /// # Errors
    /// What is wrong with them, for people.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--filter" => match args.next() {
                    Some(name) => parsed.filters.push(name),
                    None => return Err("--filter needs the name of a row".to_owned()),
                },
                "--swaps" => parsed.swaps = true,
                "--quick" => parsed.quick = true,
                "--json" => parsed.json = true,
                "--write" => parsed.write = true,
                "--help" | "-h" => parsed.help = true,
                other if other.starts_with('-') => {
                    return Err(format!("unknown option '{other}'; see --help"));
                }
                name => parsed.filters.push(name.to_owned()),
            }
        }
        if parsed.write && (parsed.quick || !parsed.filters.is_empty()) {
            return Err(
                "--write needs a full run: leave --quick and names of rows away".to_owned(),
            );
        }
        if parsed.swaps && (parsed.json || !parsed.filters.is_empty()) {
            return Err("--swaps goes with --quick and --write and nothing else".to_owned());
        }
        Ok(parsed)
    }

    /// Whether a row of this name is wanted.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|part| name.contains(part.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_may_come_in_any_order() {
        let args = parse("--json --filter lease --quick").unwrap();
        assert!(args.json && args.quick && !args.write);
        assert!(args.wants("lease") && !args.wants("resolve"));
        assert!(parse("").unwrap().wants("anything"));
        assert_eq!(
            parse("lease resolve").unwrap().filters,
            ["lease", "resolve"]
        );
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        assert!(parse("--fast").unwrap_err().contains("'--fast'"));
        assert!(parse("--filter").unwrap_err().contains("name of a row"));
    }

    #[test]
    fn a_partial_run_is_never_written_down() {
        assert!(parse("--write --quick").is_err());
        assert!(parse("--filter lease --write").is_err());
        assert!(parse("--swaps lease").is_err() && parse("--swaps --json").is_err());
    }
}
