//! Tables for people: a heading, and columns that line up.

/// To which side the cells of a column lean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows under a heading.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, with a cell for each column.
    pub(crate) fn push(&mut self, row: Vec<String>) {
        assert_eq!(row.len(), self.columns.len(), "a row has a cell for each column");
        self.rows.push(row);
    }

    /// How wide each column must be for what is in it.
    pub(crate) fn widths(&self) -> Vec<usize> {
        let widest = |column: usize, title: &str| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([title.chars().count()]).max().unwrap_or(0)
        };
        self.columns.iter().enumerate().map(|(column, (title, _))| widest(column, title)).collect()
    }

    /// The heading, in columns of these widths.
    pub(crate) fn heading(&self, widths: &[usize]) -> String {
        self.line(self.columns.iter().map(|(title, _)| *title), widths)
    }

    /// The rows, in columns of these widths, and forgets them.
    pub(crate) fn take_rows(&mut self, widths: &[usize]) -> String {
        let rows = std::mem::take(&mut self.rows);
        rows.iter().map(|row| self.line(row.iter().map(String::as_str), widths)).collect()
    }

    /// The whole table.
    pub(crate) fn rendered(mut self) -> String {
        let widths = self.widths();
        self.heading(&widths) + &self.take_rows(&widths)
    }

    /// How many rows it holds.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    fn line<'a>(&self, cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, width), (_, align)) in cells.zip(widths).zip(&self.columns) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            match align {
                Align::Left => line.push_str(&format!("{cell:<width$}")),
                Align::Right => line.push_str(&format!("{cell:>width$}")),
            }
        }
        line.truncate(line.trim_end().len());
        line + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&[("NAME", Align::Left), ("ROWS", Align::Right), ("NOTE", Align::Left)]);
        table.push(vec!["é".to_owned(), "12".to_owned(), String::new()]);
        table.push(vec!["longer".to_owned(), "12345".to_owned(), "x".to_owned()]);
        assert_eq!(table.rendered(), "NAME     ROWS  NOTE\né          12\nlonger  12345  x\n");
    }
}
