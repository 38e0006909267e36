//! Tables whose columns fit a width: an address or name, and numbers.
//!
//! All rows are measured first. The rows of `connections` are written as they are read, and have several addresses:
//! `verbs/connections/columns.rs`.

use std::io::{self, Write};

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

/// The blanks between two columns.
const GAP: usize = 2;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    /// Text is aligned on the left, numbers are aligned on the right.
    pub(crate) is_text: bool,
    /// The order in which columns are omitted if there is no room: the highest first. 0 is never omitted.
    pub(crate) rank: u8,
}

impl Column {
    pub(crate) const fn text(title: &'static str, rank: u8) -> Self {
        Self { title, is_text: true, rank }
    }

    pub(crate) const fn number(title: &'static str, rank: u8) -> Self {
        Self { title, is_text: false, rank }
    }
}

/// The columns that fit, and their widths.
///
/// A cell of the first column that is wider than the column has a line of its own. So one long address does not widen the
/// whole table.
#[derive(Debug)]
pub(crate) struct Grid<'c> {
    /// The columns that fit, with their index and their width.
    columns: Vec<(usize, &'c Column, usize)>,
}

impl<'c> Grid<'c> {
    /// Chooses the columns for rows. Each row has a cell for each column. Without a limit, all columns fit.
    pub(crate) fn new<'r>(
        columns: &'c [Column],
        rows: impl Iterator<Item = &'r [String]> + Clone,
        limit: Option<usize>,
    ) -> Self {
        let width = |(index, column): (usize, &'c Column)| {
            let cells = rows.clone().map(|row| row[index].width());
            (index, column, cells.max().unwrap_or_default().max(column.title.width()))
        };
        let mut chosen: Vec<_> = columns.iter().enumerate().map(width).collect();
        let Some(limit) = limit else { return Self { columns: chosen } };
        let least = columns.first().map_or(0, |column| column.title.width()).max(FIRST);
        while room(&chosen, limit) < least {
            let last = chosen.iter().skip(1).map(|(_, column, _)| column.rank).max().unwrap_or_default();
            if last == 0 {
                break;
            }
            chosen.retain(|(index, column, _)| *index == 0 || column.rank != last);
        }
        let room = room(&chosen, limit).max(least);
        if let Some(first) = chosen.first_mut() {
            let fitting = rows.map(|row| row[0].width()).filter(|width| *width <= room);
            first.2 = fitting.max().unwrap_or_default().max(first.1.title.width());
        }
        Self { columns: chosen }
    }

    /// Writes the titles of the columns.
    pub(crate) fn write_titles(&self, out: &mut dyn Write, indent: usize, style: Style) -> io::Result<()> {
        let titles: Vec<&str> = self.columns.iter().map(|(_, column, _)| column.title).collect();
        self.write_line(out, &titles, indent, style)
    }

    /// Writes a row.
    pub(crate) fn write_row(&self, out: &mut dyn Write, row: &[String], indent: usize, style: Style) -> io::Result<()> {
        let mut cells: Vec<&str> = self.columns.iter().map(|(index, ..)| row[*index].as_str()).collect();
        let is_wide = self.columns.first().is_some_and(|(_, _, width)| cells[0].width() > *width);
        if is_wide && cells.len() > 1 {
            writeln!(out, "{:indent$}{style}{}{style:#}", "", cells[0])?;
            cells[0] = "";
        }
        self.write_line(out, &cells, indent, style)
    }

    fn write_line(&self, out: &mut dyn Write, cells: &[&str], indent: usize, style: Style) -> io::Result<()> {
        let mut line = String::new();
        for ((_, column, width), cell) in self.columns.iter().zip(cells) {
            // Not `{cell:<width$}`, because it counts characters. A wide character takes two columns.
            let blanks = width.saturating_sub(cell.width());
            let (before, after) = if column.is_text { (0, blanks) } else { (blanks, 0) };
            line += &format!("{:before$}{cell}{:after$}{:GAP$}", "", "", "");
        }
        writeln!(out, "{:indent$}{style}{}{style:#}", "", line.trim_end())
    }
}

/// The minimum width of the first column: an IPv4 address with a port.
const FIRST: usize = 21;

/// Returns the width that is left for the first column.
fn room(columns: &[(usize, &Column, usize)], limit: usize) -> usize {
    let others: usize = columns.iter().skip(1).map(|(_, _, width)| width + GAP).sum();
    limit.saturating_sub(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] =
        [Column::text("SERVER", 0), Column::text("STATE", 0), Column::number("ACTIVE", 0), Column::number("LIMIT", 1)];

    fn table(addresses: &[&str], limit: Option<usize>) -> String {
        let rows: Vec<Vec<String>> = addresses
            .iter()
            .map(|address| [address, "draining", "12.3k", "50..100"].map(str::to_owned).to_vec())
            .collect();
        let grid = Grid::new(&COLUMNS, rows.iter().map(Vec::as_slice), limit);
        let mut out = Vec::new();
        grid.write_titles(&mut out, 0, Style::new()).unwrap();
        rows.iter().for_each(|row| grid.write_row(&mut out, row, 0, Style::new()).unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_omitted_by_rank() {
        let all = "SERVER    STATE     ACTIVE    LIMIT\n10.0.0.1  draining   12.3k  50..100\n";
        assert_eq!(table(&["10.0.0.1"], None), all);
        assert_eq!(table(&["10.0.0.1"], Some(80)), all);
        let narrow = "SERVER    STATE     ACTIVE\n10.0.0.1  draining   12.3k\n";
        assert_eq!(table(&["10.0.0.1"], Some(45)), narrow);
        assert_eq!(table(&["10.0.0.1"], Some(1)), narrow, "columns of rank 0 stay");
    }

    #[test]
    fn wide_addresses_have_their_own_line() {
        let wide = "[2001:db8:1111:2222:3333:4444:5555:7777]:53";
        assert_eq!(
            table(&[wide, "10.0.0.1"], Some(45)),
            format!("SERVER    STATE     ACTIVE\n{wide}\n          draining   12.3k\n10.0.0.1  draining   12.3k\n")
        );
        let lines = table(&[wide, "10.0.0.1"], Some(80));
        assert!(lines.lines().all(|line| line.len() <= 80) && lines.lines().count() == 3, "{lines}");
    }
}
