//! Aligned tables: as wide as their cells, two spaces apart.

use crate::out::Colour;

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

    /// The whole table, with a final line feed.
    pub fn render(&self, colours: bool) -> String {
        let names: Vec<&str> = self.header.iter().map(|name| name.trim_end_matches('>')).collect();
        let width = |column: usize, name: &str| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.chars().count());
            cells.max().unwrap_or(0).max(name.chars().count())
        };
        let widths: Vec<usize> = names.iter().enumerate().map(|(column, name)| width(column, name)).collect();
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
            let padding = " ".repeat(width.saturating_sub(cell.text.chars().count()));
            let painted = cell.colour.paint(&cell.text, colours);
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
        assert_eq!(sample().render(false), expected);
    }

    #[test]
    fn colours_do_not_move_columns() {
        let coloured = sample().render(true);
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
        assert_eq!(plain, sample().render(false));
    }

    #[test]
    fn letters_count_not_bytes() {
        let mut table = Table::new(&["A", "B"]);
        table.row(["ü".into(), "x".into()]);
        table.row(["yy".into(), "z".into()]);
        assert_eq!(table.render(false), "A   B\nü   x\nyy  z\n");
    }
}
