//! Keeps the figures on the reference page: what stands between the markers is the last run, what
//! stands around them is for people to write.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const BEGIN: &str = "<!-- figures: begin -->";
const END: &str = "<!-- figures: end -->";

/// Where the page is, seen from this crate, which cargo names to the program it runs.
pub(crate) fn path() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
    here.join("../../docs/reference/performance.md")
}

/// Puts `figures` between the page's markers.
///
/// # Errors
/// When the page cannot be read or written, or has no markers.
pub(crate) fn write(page: &Path, figures: &str) -> io::Result<()> {
    let text = fs::read_to_string(page)?;
    let text = replace(&text, figures)
        .ok_or_else(|| io::Error::other(format!("it needs the lines '{BEGIN}' and '{END}'")))?;
    // Renamed into place, so that an interrupted run leaves the old page.
    let next = page.with_extension("md.next");
    let mut file = fs::File::create(&next)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(next, page)
}

fn replace(text: &str, figures: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!(
        "{before}{BEGIN}\n{}\n{END}{after}",
        figures.trim_end()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let page = format!("# Title\n{BEGIN}\nold\n{END}\nrest\n");
        let new = replace(&page, "new\n").unwrap();
        assert_eq!(new, format!("# Title\n{BEGIN}\nnew\n{END}\nrest\n"));
        assert_eq!(replace(&new, "new\n").as_ref(), Some(&new));
        assert_eq!(replace("no markers", "new"), None);
    }

    #[test]
    fn the_page_of_this_repository_has_the_markers() {
        let text = fs::read_to_string(path()).unwrap();
        assert!(replace(&text, "").is_some());
    }
}
