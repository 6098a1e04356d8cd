//! Keeps the figures on the reference page: what stands between the markers is the last run, what
//! stands around them is for people to write.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// A part of the page that is written by a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    begin: &'static str,
    end: &'static str,
}

/// The rows.
pub(crate) const FIGURES: Part = Part {
    begin: "<!-- figures: begin -->",
    end: "<!-- figures: end -->",
};

/// What swaps cost callers.
pub(crate) const SWAPS: Part = Part {
    begin: "<!-- swaps: begin -->",
    end: "<!-- swaps: end -->",
};

/// Where the page is, seen from this crate, which cargo names to the program it runs.
pub(crate) fn path() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
    here.join("../../docs/reference/performance.md")
}

/// Puts `figures` between the part's markers on the page.
///
/// # Errors
/// When the page cannot be read or written, or has no markers.
pub(crate) fn write(page: &Path, part: Part, figures: &str) -> io::Result<()> {
    let text = fs::read_to_string(page)?;
    let Part { begin, end } = part;
    let text = replace(&text, part, figures)
        .ok_or_else(|| io::Error::other(format!("it needs the lines '{begin}' and '{end}'")))?;
    // Renamed into place, so that an interrupted run leaves the old page.
    let next = page.with_extension("md.next");
    let mut file = fs::File::create(&next)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(next, page)
}

fn replace(text: &str, Part { begin, end }: Part, figures: &str) -> Option<String> {
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    let figures = figures.trim_end();
    Some(format!("{before}{begin}\n{figures}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let Part { begin, end } = FIGURES;
        let page = format!("# Title\n{begin}\nold\n{end}\nrest\n");
        let new = replace(&page, FIGURES, "new\n").unwrap();
        assert_eq!(new, format!("# Title\n{begin}\nnew\n{end}\nrest\n"));
        assert_eq!(replace(&new, FIGURES, "new\n").as_ref(), Some(&new));
        assert_eq!(replace("no markers", FIGURES, "new"), None);
    }

    #[test]
    fn the_page_of_this_repository_has_the_markers() {
        let text = fs::read_to_string(path()).unwrap();
        for part in [FIGURES, SWAPS] {
            assert!(replace(&text, part, "").is_some(), "{part:?}");
        }
    }
}
