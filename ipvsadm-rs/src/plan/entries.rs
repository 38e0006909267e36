//! The entries of the connection table, without malformed lines.

use std::io;

use ipvs::ConnectionEntry;

use crate::terminal::exit::print_error;
use crate::terminal::plural::count;

/// Skips lines that are no entries. The persistence data of a sync packet can have a line break, so a packet must not
/// end the reading. If no line is an entry, the format is unknown, and the first line is an error.
#[derive(Debug)]
pub(crate) struct Entries<I> {
    lines: I,
    has_entries: bool,
    /// The number of lines that were skipped.
    skipped: u64,
    /// The error of the first of them.
    first: Option<io::Error>,
}

impl<I: Iterator<Item = io::Result<ConnectionEntry>>> Entries<I> {
    pub(crate) fn new(lines: I) -> Self {
        Self { lines, has_entries: false, skipped: 0, first: None }
    }

    /// Returns the number of lines that were skipped, and the first error. `None`: no line was skipped.
    pub(crate) fn skipped(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        Some(format!("{} of the connection table skipped: {first}", count(self.skipped, "line")))
    }

    /// Prints a warning if lines were skipped.
    pub(crate) fn print_warning(&self) {
        if let Some(skipped) = self.skipped() {
            print_error(&format!("warning: {skipped}"));
        }
    }
}

impl<I: Iterator<Item = io::Result<ConnectionEntry>>> Iterator for Entries<I> {
    type Item = io::Result<ConnectionEntry>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.lines.next() {
                Some(Ok(entry)) => {
                    self.has_entries = true;
                    return Some(Ok(entry));
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    self.skipped += 1;
                    self.first.get_or_insert(error);
                }
                None if !self.has_entries => return self.first.take().map(Err),
                end => return end,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ipvs::Connections;

    use super::*;

    const ENTRY: &str = "UDP CB007109 0000 C0000201 13C4 0A010001 13C4 NONE            297 sip call\n";

    fn read(lines: &str) -> (Vec<io::Result<ConnectionEntry>>, u64) {
        let table = format!("Pro \n{lines}");
        let mut entries = Entries::new(Connections::new(table.as_bytes()).expect("a title"));
        let read = entries.by_ref().collect();
        (read, entries.skipped)
    }

    #[test]
    fn malformed_lines_are_skipped() {
        for lines in [format!("{ENTRY}id\n\n{ENTRY}"), format!("id\n\n{ENTRY}{ENTRY}"), format!("{ENTRY}{ENTRY}id\n\n")]
        {
            let (read, skipped) = read(&lines);
            assert_eq!((read.len(), read.iter().all(Result::is_ok), skipped), (2, true, 2), "{lines}");
        }
        assert_eq!(read("").0.len(), 0);
    }

    #[test]
    fn a_table_without_an_entry_is_an_error() {
        let (read, _) = read("one\ntwo\n");
        let [Err(error)] = &read[..] else { panic!("{read:?}") };
        assert!(error.to_string().contains("\"one\""), "{error}");
    }
}
