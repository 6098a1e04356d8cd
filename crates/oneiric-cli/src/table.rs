//! Aligned columns. Every table here is a screenful of short words, so widths are the longest cell,
//! nothing is wrapped, and the last column is as long as it likes.

use std::fmt::{self, Display};

use crate::paint::{Paint, Style, harmless};

/// A cell: its text and what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    style: Style,
    right: bool,
}

impl Cell {
    pub(crate) fn new(text: impl Display) -> Self {
        Self {
            text: harmless(&text.to_string()).replace('\n', " "),
            ..Self::default()
        }
    }

    /// A number, aligned to the right.
    pub(crate) fn number(number: impl Display) -> Self {
        Self {
            right: true,
            ..Self::new(number)
        }
    }

    /// What is known, or a dash.
    pub(crate) fn maybe(text: Option<impl Display>) -> Self {
        text.map_or_else(|| Self::new("-").style(Style::Faint), Self::new)
    }

    pub(crate) const fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }
}

/// Rows under headings.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self {
            headings: headings.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as it is printed, each line ended.
    pub(crate) fn display(&self, paint: Paint) -> impl Display + '_ {
        Shown { table: self, paint }
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.headings.iter().map(|heading| heading.len()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        widths
    }
}

struct Shown<'a> {
    table: &'a Table,
    paint: Paint,
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.table.widths();
        let first: Option<&Vec<Cell>> = self.table.rows.first();
        let numeric = |column: usize| {
            first
                .and_then(|row| row.get(column))
                .is_some_and(|cell| cell.right)
        };
        let headings = self
            .table
            .headings
            .iter()
            .enumerate()
            .map(|(column, heading)| Cell {
                text: (*heading).to_owned(),
                style: Style::Heading,
                right: numeric(column),
            });
        let headings: Vec<Cell> = headings.collect();
        for row in std::iter::once(&headings).chain(&self.table.rows) {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                // Padding stands outside the colour and never at the end of a line.
                let padding = " ".repeat(width.saturating_sub(cell.text.chars().count()));
                let text = self.paint.text(cell.style, &cell.text);
                let gap = if column == 0 { "" } else { "  " };
                match (cell.right, column + 1 == row.len()) {
                    (true, _) => write!(f, "{gap}{padding}{text}")?,
                    (false, true) => write!(f, "{gap}{text}")?,
                    (false, false) => write!(f, "{gap}{text}{padding}")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["slot", "calls", "note"]);
        table.row([
            Cell::new("adapter/cache"),
            Cell::number(7),
            Cell::new("well").style(Style::Good),
        ]);
        table.row([
            Cell::new("a/b"),
            Cell::number(1234),
            Cell::maybe(None::<&str>),
        ]);
        table
    }

    #[test]
    fn columns_are_aligned_and_no_line_ends_in_spaces() {
        let text = table().display(Paint::new(false)).to_string();
        assert_eq!(
            text,
            "slot           calls  note\nadapter/cache      7  well\na/b             1234  -\n"
        );
    }

    #[test]
    fn colours_do_not_change_the_alignment() {
        let plain = table().display(Paint::new(false)).to_string();
        let mut coloured = table().display(Paint::new(true)).to_string();
        for code in ["\u{1b}[1m", "\u{1b}[32m", "\u{1b}[2m", "\u{1b}[0m"] {
            coloured = coloured.replace(code, "");
        }
        assert_eq!(coloured, plain);
    }

    #[test]
    fn a_cell_stays_on_its_line() {
        assert_eq!(Cell::new("a\nb\u{7}").text, "a b\\u{7}");
    }
}
