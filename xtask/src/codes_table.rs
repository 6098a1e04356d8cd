//! The tables of `docs/reference/errors.md`: read, completed and written back.
//!
//! The page is prose for people with two Markdown tables in it: codes in use, and codes retired.
//! Only the rows of the first are ever rewritten; everything around them stays as it is.

use std::collections::BTreeMap;

/// The header of the table of codes in use; how the table is found, and how it must stay.
pub(crate) const HEADER: &str = "| code | meaning | cause | what to do | since |";
/// The header of the table of codes that must not come back.
pub(crate) const RETIRED_HEADER: &str = "| retired code | meant | last version |";
/// What stands in a cell that nobody has written yet.
const UNWRITTEN: &str = "?";

/// A page with its two tables taken apart.
#[derive(Debug)]
pub(crate) struct Page {
    before: String,
    rows: Vec<Row>,
    after: String,
    pub(crate) retired: Vec<String>,
}

/// One row: its code, and the whole line as written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    code: String,
    line: String,
}

impl Page {
    /// Takes a page apart.
    ///
    /// # Errors
    /// The table of codes is missing, or a row in it does not begin with a code in backquotes.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (before, table) = text
            .split_once(HEADER)
            .ok_or_else(|| format!("the table `{HEADER}` is missing"))?;
        let mut rows = Vec::new();
        let mut after = String::new();
        // The rest of the header's line, then the rule below it.
        for line in table.split_inclusive('\n').skip(2) {
            if after.is_empty() && line.starts_with('|') {
                let line = line.trim_end();
                let code = first_code(line).ok_or_else(|| format!("no code in row `{line}`"))?;
                rows.push(Row {
                    code,
                    line: line.to_owned(),
                });
            } else {
                after.push_str(line);
            }
        }
        let retired = match text.split_once(RETIRED_HEADER) {
            Some((_, table)) => table.lines().skip(2).map_while(first_code).collect(),
            None => Vec::new(),
        };
        Ok(Self {
            before: before.to_owned(),
            rows,
            after,
            retired,
        })
    }

    pub(crate) fn has(&self, code: &str) -> bool {
        self.rows.iter().any(|row| row.code == code)
    }

    pub(crate) fn codes(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|row| row.code.as_str())
    }

    /// Adds a row that still has to be filled in.
    pub(crate) fn add(&mut self, code: &str) {
        let line = format!("| `{code}` | {UNWRITTEN} | {UNWRITTEN} | {UNWRITTEN} | {UNWRITTEN} |");
        self.rows.push(Row {
            code: code.to_owned(),
            line,
        });
    }

    /// What is wrong with the rows themselves: order, repetition, cells that say nothing.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut seen = BTreeMap::new();
        for row in &self.rows {
            if seen.insert(&row.code, ()).is_some() {
                faults.push(format!("`{}` has two rows", row.code));
            }
            let cells = cells(&row.line);
            if cells.len() != 5 {
                faults.push(format!(
                    "the row of `{}` has {} cells, not 5",
                    row.code,
                    cells.len()
                ));
            } else if cells
                .iter()
                .any(|cell| cell.is_empty() || cell == UNWRITTEN)
            {
                faults.push(format!(
                    "the row of `{}` has a cell that is not written",
                    row.code
                ));
            }
        }
        let unsorted = self.rows.windows(2).find_map(|pair| match pair {
            [first, second] if first.code > second.code => Some((first, second)),
            _ => None,
        });
        if let Some((first, second)) = unsorted {
            faults.push(format!(
                "`{}` stands before `{}`: rows are sorted (--write sorts them)",
                first.code, second.code
            ));
        }
        faults
    }

    /// The page with its rows sorted.
    pub(crate) fn to_text(&self) -> String {
        let mut rows = self.rows.clone();
        rows.sort_by(|one, other| one.code.cmp(&other.code));
        let mut text = format!("{}{HEADER}\n|---|---|---|---|---|\n", self.before);
        for row in rows {
            text.push_str(&row.line);
            text.push('\n');
        }
        text.push_str(&self.after);
        text
    }
}

/// The code in the first cell: `` | `core.tied` | ... ``.
fn first_code(row: &str) -> Option<String> {
    let (code, _) = row.strip_prefix("| `")?.split_once('`')?;
    Some(code.to_owned())
}

/// The cells of a row; a `\|` inside one does not end it.
fn cells(row: &str) -> Vec<String> {
    let row = row.replace("\\|", "\u{1}");
    let inner = row.trim().trim_start_matches('|').trim_end_matches('|');
    inner
        .split('|')
        .map(|cell| cell.trim().replace('\u{1}', "\\|"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# Errors

| code | meaning | cause | what to do | since |
|---|---|---|---|---|
| `core.tied` | a tie | equal \\| same | raise one | 0.1 |

## Retired

| retired code | meant | last version |
|---|---|---|
| `core.old` | something | 0.0 |

The end.
";

    #[test]
    fn a_page_survives_being_read_and_written() {
        let page = Page::parse(PAGE).expect("a page");
        assert_eq!(page.to_text(), PAGE);
        assert_eq!(page.codes().collect::<Vec<_>>(), ["core.tied"]);
        assert_eq!(page.retired, ["core.old"]);
        assert_eq!(page.faults(), Vec::<String>::new());
    }

    #[test]
    fn an_added_row_is_sorted_in_and_refused_until_it_is_filled() {
        let mut page = Page::parse(PAGE).expect("a page");
        page.add("core.denied");
        let page = Page::parse(&page.to_text()).expect("a page");
        assert_eq!(
            page.codes().collect::<Vec<_>>(),
            ["core.denied", "core.tied"]
        );
        assert_eq!(
            page.faults(),
            ["the row of `core.denied` has a cell that is not written"]
        );
    }

    #[test]
    fn repetition_disorder_and_missing_cells_are_faults() {
        let row = "| `core.tied` | a | b | c | d |\n";
        let text = format!("{HEADER}\n|---|\n{row}{row}| `core.a` | b |\n");
        let faults = Page::parse(&text).expect("a page").faults();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults[0].contains("two rows"), "{faults:?}");
        assert!(faults[1].contains("2 cells"), "{faults:?}");
        assert!(faults[2].contains("sorted"), "{faults:?}");
    }

    #[test]
    fn a_page_without_the_table_is_refused() {
        assert!(Page::parse("# Errors\n").is_err());
        assert!(Page::parse(&format!("{HEADER}\n|---|\n| nothing |\n")).is_err());
    }
}
