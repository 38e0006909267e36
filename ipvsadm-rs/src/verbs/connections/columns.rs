//! Columns for rows that are written one by one.
//!
//! The widths are those of the first rows. A wide cell, such as an IPv6 address, widens no other row. The rest of its row
//! is moved to the right, or to the next line if it does not fit.
//!
//! This differs from [`Grid`](crate::sight::grid::Grid), which measures all rows before it writes the first one, and has
//! only one column of addresses. It keeps the numbers next to a wide address in their columns.

use std::io::{self, Write};

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

/// The blanks between two cells.
const GAP: usize = 2;

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    title: &'static str,
    /// Text is aligned on the left, numbers are aligned on the right.
    is_text: bool,
    /// The width from which a cell does not widen the column.
    most: usize,
    /// The order in which columns are omitted if there is no room: the highest first. 0 is never omitted.
    rank: u8,
}

impl Column {
    /// A column for addresses: wide enough for IPv4 with a port.
    pub(super) const fn address(title: &'static str) -> Self {
        Self { title, is_text: true, most: 21, rank: 0 }
    }

    pub(super) const fn text(title: &'static str, most: usize, rank: u8) -> Self {
        Self { title, is_text: true, most, rank }
    }

    pub(super) const fn number(title: &'static str, rank: u8) -> Self {
        Self { title, is_text: false, most: 20, rank }
    }
}

/// A column that is written.
#[derive(Clone, Copy, Debug)]
struct Placed {
    /// The index of its cell in a row.
    index: usize,
    column: Column,
    /// The distance from the left edge, if no cell before is too wide.
    start: usize,
    width: usize,
}

/// The columns that are written, and their places.
#[derive(Debug)]
pub(super) struct Columns {
    placed: Vec<Placed>,
    limit: Option<usize>,
}

impl Columns {
    /// Chooses the columns for rows that begin with `rows`. Without a limit, all columns fit.
    pub(super) fn new(columns: &[Column], rows: &[Vec<String>], limit: Option<usize>) -> Self {
        let place = |(index, column): (usize, &Column)| {
            let cells = rows.iter().map(|row| row[index].width()).filter(|width| *width <= column.most);
            let width = cells.max().unwrap_or_default().max(column.title.width());
            Placed { index, column: *column, start: 0, width }
        };
        let mut placed: Vec<Placed> = columns.iter().enumerate().map(place).collect();
        while limit.is_some_and(|limit| width(&placed) > limit) {
            let highest = placed.iter().map(|placed| placed.column.rank).max().unwrap_or_default();
            if highest == 0 {
                break;
            }
            placed.retain(|placed| placed.column.rank != highest);
        }
        let mut start = 0;
        for placed in &mut placed {
            placed.start = start;
            start += placed.width + GAP;
        }
        Self { placed, limit }
    }

    /// Writes the titles.
    pub(super) fn write_titles(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        let titles: Vec<&str> = self.placed.iter().map(|placed| placed.column.title).collect();
        writeln!(out, "{style}{}{style:#}", self.line(&titles))
    }

    /// Writes a row, which has a cell for each column, also for those that are omitted.
    pub(super) fn write_row(&self, out: &mut dyn Write, row: &[String]) -> io::Result<()> {
        let cells: Vec<&str> = self.placed.iter().map(|placed| row[placed.index].as_str()).collect();
        let line = self.line(&cells);
        match self.limit {
            Some(limit) if line.width() > limit => writeln!(out, "{}", wrapped(&cells, limit)),
            _ => writeln!(out, "{line}"),
        }
    }

    /// Returns a row in one line. After a wide cell, the others return to their places as soon as possible.
    fn line(&self, cells: &[&str]) -> String {
        let mut line = String::new();
        let mut end = 0;
        for (placed, cell) in self.placed.iter().zip(cells).filter(|(_, cell)| !cell.is_empty()) {
            let width = cell.width();
            let place = placed.start + if placed.column.is_text { 0 } else { placed.width.saturating_sub(width) };
            let start = if line.is_empty() { place } else { place.max(end + GAP) };
            line += &format!("{:blanks$}{cell}", "", blanks = start - end);
            end = start + width;
        }
        line
    }
}

/// Returns the width of a row whose cells are not too wide. The last column of text needs no blanks.
fn width(placed: &[Placed]) -> usize {
    placed.iter().map(|placed| placed.width + GAP).sum::<usize>().saturating_sub(GAP)
}

/// Returns a row in several lines. All but the first are indented.
fn wrapped(cells: &[&str], limit: usize) -> String {
    let mut text = String::new();
    let mut end = 0;
    for cell in cells.iter().filter(|cell| !cell.is_empty()) {
        if end > 0 && end + GAP + cell.width() > limit {
            text += "\n";
            end = 0;
        }
        if !text.is_empty() {
            text += &format!("{:GAP$}", "");
            end += GAP;
        }
        text += cell;
        end += cell.width();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::address("CLIENT"),
        Column::address("SERVER"),
        Column::text("STATE", 11, 0),
        Column::number("EXPIRES", 1),
    ];

    fn rows(rows: &[[&str; 4]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect()
    }

    fn table(measured: &[[&str; 4]], others: &[[&str; 4]], limit: Option<usize>) -> String {
        let (measured, others) = (rows(measured), rows(others));
        let columns = Columns::new(&COLUMNS, &measured, limit);
        let mut out = Vec::new();
        columns.write_titles(&mut out, Style::new()).expect("a vector");
        for row in measured.iter().chain(&others) {
            columns.write_row(&mut out, row).expect("a vector");
        }
        String::from_utf8(out).expect("text")
    }

    const V4: [&str; 4] = ["203.0.113.7:40001", "10.0.0.1:80", "SYN_RECV", "59s"];
    const V6: [&str; 4] =
        ["[2001:db8:1111:2222:3333:4444:5555:6666]:40001", "[2001:db8::1]:8080", "ESTABLISHED", "899s"];

    #[test]
    fn wide_cells_widen_no_other_row() {
        let expected = "CLIENT             SERVER       STATE     EXPIRES\n\
                        203.0.113.7:40001  10.0.0.1:80  SYN_RECV      59s\n\
                        [2001:db8:1111:2222:3333:4444:5555:6666]:40001  [2001:db8::1]:8080  ESTABLISHED  899s\n";
        assert_eq!(table(&[V4], &[V6], None), expected);
        let wrapped = "CLIENT             SERVER       STATE     EXPIRES\n\
                       203.0.113.7:40001  10.0.0.1:80  SYN_RECV      59s\n\
                       [2001:db8:1111:2222:3333:4444:5555:6666]:40001  [2001:db8::1]:8080  ESTABLISHED\n  \
                       899s\n";
        assert_eq!(table(&[V4], &[V6], Some(80)), wrapped);
    }

    #[test]
    fn rows_return_to_their_columns() {
        let longer = ["203.0.113.117:40001", "10.0.0.1:80", "SYN_RECV", "59s"];
        let text = table(&[V4], &[longer], Some(80));
        assert!(text.ends_with("203.0.113.117:40001  10.0.0.1:80  SYN_RECV    59s\n"), "{text}");
        let shorter = ["203.0.113.117:40001", "10.0.0.1", "SYN_RECV", "59s"];
        let text = table(&[V4], &[shorter], Some(80));
        assert!(text.ends_with("203.0.113.117:40001  10.0.0.1   SYN_RECV      59s\n"), "{text}");
    }

    #[test]
    fn columns_are_omitted_if_there_is_no_room() {
        let text = table(&[V4], &[], Some(41));
        assert_eq!(
            text, "CLIENT             SERVER       STATE\n203.0.113.7:40001  10.0.0.1:80  SYN_RECV\n",
            "titles and rows fit without EXPIRES"
        );
        let narrow = table(&[V4], &[], Some(10));
        assert_eq!(narrow.lines().count(), 4, "{narrow}");
    }
}
