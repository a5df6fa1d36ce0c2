//! Aligned tables: as wide as their cells, two spaces apart.

use crate::out::Colour;
use std::borrow::Cow;

/// The last column keeps this many letters, however narrow the terminal is.
const LEAST: usize = 12;

/// One cell: its text, and its colour on a terminal.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    colour: Colour,
}

impl Cell {
    /// A cell in a colour.
    pub fn coloured(text: impl Into<String>, colour: Colour) -> Self {
        Self { text: text.into(), colour }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::coloured(text, Colour::Plain)
    }
}

/// Rows under a header. A header that ends in `>` (not printed) aligns its column to the right.
pub struct Table {
    header: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub fn new(header: &'static [&'static str]) -> Self {
        Self { header, rows: Vec::new() }
    }

    /// Adds a row; missing cells stay empty.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The whole table, with a final line feed. Where it would be wider than `width`, its last column is cut.
    pub fn render(&self, colours: bool, width: Option<usize>) -> String {
        let names: Vec<&str> = self.header.iter().map(|name| name.trim_end_matches('>')).collect();
        let wide = |column: usize, name: &str| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.chars().count());
            cells.max().unwrap_or(0).max(name.chars().count())
        };
        let mut widths: Vec<usize> = names.iter().enumerate().map(|(column, name)| wide(column, name)).collect();
        if let (Some(total), Some((last, others))) = (width, widths.split_last_mut()) {
            let before: usize = others.iter().map(|width| width + 2).sum();
            *last = (*last).min(total.saturating_sub(before).max(LEAST));
        }
        let head: Vec<Cell> = names.iter().map(|name| Cell::coloured(*name, Colour::Dim)).collect();
        let mut text = String::new();
        for row in std::iter::once(&head).chain(&self.rows) {
            text.push_str(&self.line(row, &widths, colours));
        }
        text
    }

    fn line(&self, row: &[Cell], widths: &[usize], colours: bool) -> String {
        let mut line = String::new();
        let last = row.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or(0);
        for (column, ((cell, width), name)) in row.iter().zip(widths).zip(self.header).enumerate().take(last + 1) {
            let shown = cut(&cell.text, *width);
            let padding = " ".repeat(width.saturating_sub(shown.chars().count()));
            let painted = cell.colour.paint(&shown, colours);
            if column > 0 {
                line.push_str("  ");
            }
            if name.ends_with('>') {
                line.push_str(&padding);
                line.push_str(&painted);
            } else {
                line.push_str(&painted);
                if column < last {
                    line.push_str(&padding);
                }
            }
        }
        line.push('\n');
        line
    }
}

/// The text in at most `width` letters; what is cut ends in `…`.
fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.chars().count() <= width {
        return text.into();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    (kept + "…").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&["NAME", "RECORDS>", "NOTE"]);
        table.row(["shop".into(), "1,000".into(), "".into()]);
        table.row([Cell::coloured("crm-nightly", Colour::Red), "7".into(), "waits".into()]);
        table
    }

    #[test]
    fn columns_align_and_lines_do_not_trail() {
        let expected = "NAME         RECORDS  NOTE\nshop           1,000\ncrm-nightly        7  waits\n";
        assert_eq!(sample().render(false, None), expected);
    }

    #[test]
    fn colours_do_not_move_columns() {
        let coloured = sample().render(true, None);
        assert!(coloured.contains('\x1b'));
        let mut plain = String::new();
        let mut inside = false;
        for c in coloured.chars() {
            match (inside, c) {
                (false, '\x1b') => inside = true,
                (true, 'm') => inside = false,
                (true, _) => {}
                (false, c) => plain.push(c),
            }
        }
        assert_eq!(plain, sample().render(false, None));
    }

    #[test]
    fn letters_count_not_bytes() {
        let mut table = Table::new(&["A", "B"]);
        table.row(["ü".into(), "x".into()]);
        table.row(["yy".into(), "z".into()]);
        assert_eq!(table.render(false, None), "A   B\nü   x\nyy  z\n");
    }

    #[test]
    fn only_the_last_column_is_cut_to_the_terminal() {
        let mut table = Table::new(&["TASK", "WHY"]);
        table.row(["20261121T024501Z".into(), "the source says no and goes on to say so".into()]);
        let lines = |width| table.render(false, width).lines().map(|line| line.chars().count()).max().unwrap();
        assert_eq!(lines(Some(40)), 40);
        assert!(table.render(false, Some(40)).ends_with("…\n"));
        assert_eq!(lines(Some(500)), lines(None));
        assert_eq!(lines(Some(3)), 18 + LEAST);
    }
}
