//! The output without `--by`: a row for each entry.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};
use std::net::SocketAddr;

use anstyle::Style;
use ipvs::document::SCHEMA;
use ipvs::{ConnectionEntry, DestinationKey, Name, ServiceKey};

use super::columns::{Column, Columns};
use super::filter::Reading;
use super::json::Row;
use super::{Format, Key};
use crate::context::Context;
use crate::terminal::text;
use crate::terminal::width::Size;

/// The number of rows that the widths of the columns depend on.
const MEASURED: usize = 1000;

const COLUMNS: [Column; 6] = [
    Column::address("CLIENT"),
    Column::text("SERVICE", 26, 0),
    Column::address("SERVER"),
    Column::text("STATE", 11, 0),
    Column::number("EXPIRES", 1),
    Column::text("ENGINE", 0, 2),
];

/// Prints the selected entries as they are read, or sorted. Returns the number of those that were printed.
pub(super) fn print(
    context: &Context,
    reading: &mut Reading<'_>,
    sort: Option<Key>,
    limit: Option<usize>,
    format: Format,
) -> anyhow::Result<u64> {
    let limit = limit.unwrap_or(usize::MAX);
    let sorted = match sort {
        Some(key) => Some(first(reading, key, limit)?.into_iter()),
        None => None,
    };
    let mut source = Source { reading, sorted, left: limit, error: None };
    let mut number = 0;
    context.write(|out| {
        number = match format {
            Format::Text => {
                let width = Size::of_stdout().map(|size| size.columns);
                write_text(out, &mut source, width, context.palette().title)?
            }
            Format::Json => write_json(out, &mut source)?,
            Format::JsonLines => write_json_lines(out, &mut source)?,
        };
        Ok(())
    })?;
    source.error.map_or(Ok(number), Err)
}

/// The entries to print.
struct Source<'r, 'f> {
    reading: &'r mut Reading<'f>,
    /// All entries to print, if they are sorted.
    sorted: Option<std::vec::IntoIter<ConnectionEntry>>,
    /// The number of entries that may still be printed.
    left: usize,
    /// The error that ended the reading.
    error: Option<anyhow::Error>,
}

impl Iterator for Source<'_, '_> {
    type Item = ConnectionEntry;

    fn next(&mut self) -> Option<ConnectionEntry> {
        self.left = self.left.checked_sub(1)?;
        if let Some(sorted) = &mut self.sorted {
            return sorted.next();
        }
        match self.reading.next() {
            Ok(entry) => entry,
            Err(error) => {
                self.error = Some(error);
                self.left = 0;
                None
            }
        }
    }
}

/// The value that an entry is sorted by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum SortKey {
    Client(SocketAddr),
    Service(Option<ServiceKey>, SocketAddr),
    Server(DestinationKey),
    State(Name),
    Expires(Reverse<u32>),
}

impl SortKey {
    fn of(entry: &ConnectionEntry, key: Key) -> Self {
        match key {
            Key::Client => Self::Client(entry.client),
            Key::Service => Self::Service(entry.service_key(), entry.service),
            Key::Server => Self::Server(entry.destination.into()),
            Key::State => Self::State(entry.state),
            // Rows without --by have no number.
            Key::Expires | Key::Count => Self::Expires(Reverse(entry.expires)),
        }
    }
}

/// Returns the first entries in the order of a key. Only these are in memory.
fn first(reading: &mut Reading<'_>, key: Key, limit: usize) -> anyhow::Result<Vec<ConnectionEntry>> {
    let mut first = BinaryHeap::new();
    while let Some(entry) = reading.next()? {
        first.push((SortKey::of(&entry, key), entry));
        if first.len() > limit {
            first.pop();
        }
    }
    Ok(first.into_sorted_vec().into_iter().map(|(_, entry)| entry).collect())
}

fn write_text(
    out: &mut dyn Write,
    entries: &mut impl Iterator<Item = ConnectionEntry>,
    width: Option<usize>,
    title: Style,
) -> io::Result<u64> {
    let measured: Vec<Vec<String>> = entries.by_ref().take(MEASURED).map(|entry| cells(&entry)).collect();
    if measured.is_empty() {
        return Ok(0);
    }
    let has_engine = measured.iter().any(|row| row.last().is_some_and(|engine| !engine.is_empty()));
    // A pipe gets all columns.
    let columns = if has_engine || width.is_none() { &COLUMNS[..] } else { &COLUMNS[..COLUMNS.len() - 1] };
    let columns = Columns::new(columns, &measured, width);
    columns.write_titles(out, title)?;
    measured.iter().try_for_each(|row| columns.write_row(out, row))?;
    let mut number = measured.len() as u64;
    for entry in entries {
        columns.write_row(out, &cells(&entry))?;
        number += 1;
    }
    Ok(number)
}

/// Returns the cells of an entry.
fn cells(entry: &ConnectionEntry) -> Vec<String> {
    let client = if entry.is_template() { entry.client.ip().to_string() } else { entry.client.to_string() };
    let service = match entry.service_key() {
        Some(key) => key.to_string(),
        None => format!("{} {}", entry.protocol, entry.service),
    };
    let engine = entry.engine.as_ref().map(|(name, data)| {
        // The client chooses the data.
        format!("{} {}", text::escaped(&name.to_string()), text::data(data))
    });
    vec![
        client,
        service,
        entry.destination.to_string(),
        text::escaped(&entry.state.to_string()).into_owned(),
        format!("{}s", entry.expires),
        engine.unwrap_or_default(),
    ]
}

fn write_json(out: &mut dyn Write, entries: &mut Source<'_, '_>) -> io::Result<u64> {
    write!(out, "{{\"schema\": {SCHEMA}, \"connections\": [")?;
    let mut number = 0;
    for entry in entries.by_ref() {
        let comma = if number == 0 { "" } else { "," };
        let row = serde_json::to_string(&Row::new(&entry, false))?;
        write!(out, "{comma}\n  {}", text::json(&row))?;
        number += 1;
    }
    // After an error, the document stays incomplete, so that no program mistakes it for the whole table.
    if entries.error.is_none() {
        write!(out, "{}]}}", if number == 0 { "" } else { "\n" })?;
    }
    writeln!(out)?;
    Ok(number)
}

fn write_json_lines(out: &mut dyn Write, entries: &mut Source<'_, '_>) -> io::Result<u64> {
    let mut number = 0;
    for entry in entries {
        let row = serde_json::to_string(&Row::new(&entry, true))?;
        writeln!(out, "{}", text::json(&row))?;
        number += 1;
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use ipvs::Connections;

    use super::*;

    const LINES: &[u8] = b"Pro \n\
        TCP CB007107 9C41 C0000201 0050 0A010001 1F90 ESTABLISHED     899\n\
        TCP 2001:db8:1111:2222:3333:4444:5555:6666 9C41 2001:db8:1111:2222:3333:4444:5555:7777 0050 \
        2001:db8:1111:2222:3333:4444:5555:8888 1F90 SYN_RECV         59\n\
        IP  CB007100 0000 00000007 0000 0A010001 0000 NONE            359\n\
        UDP CB007109 0000 C0000201 13C4 0A010001 13C4 NONE            297 sip caf\xe9\x1b[2J\n";

    fn text(lines: &[u8], width: Option<usize>) -> String {
        let mut entries = Connections::new(lines).expect("a title").map(|entry| entry.expect("an entry"));
        let mut out = Vec::new();
        write_text(&mut out, &mut entries, width, Style::new()).expect("a vector");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn rows_fit_the_terminal() {
        assert_eq!(
            text(LINES, Some(80)),
            "CLIENT             SERVICE             SERVER         STATE        EXPIRES\n\
             203.0.113.7:40001  TCP 192.0.2.1:80    10.1.0.1:8080  ESTABLISHED     899s\n\
             [2001:db8:1111:2222:3333:4444:5555:6666]:40001\n  \
             TCP [2001:db8:1111:2222:3333:4444:5555:7777]:80\n  \
             [2001:db8:1111:2222:3333:4444:5555:8888]:8080  SYN_RECV  59s\n\
             203.0.113.0        FWM 7               10.1.0.1:0     NONE            359s\n\
             203.0.113.9        UDP 192.0.2.1:5060  10.1.0.1:5060  NONE            297s\n"
        );
        assert_eq!(text(b"Pro \n", Some(80)), "");
    }

    /// The longest texts of IPv4.
    #[test]
    fn the_widest_rows_of_ipv4_fit_80_columns() {
        let line = b"SCTP FFFFFFFE FFFE FFFFFFFD FFFE FFFFFFFC FFFE ESTABLISHED     2678400\n";
        let short = b"TCP 0A000001 0050 0A000001 0050 0A000001 0050 NONE 1\n";
        for lines in [[&line[..], &short[..]].concat(), [&short[..], &line[..]].concat()] {
            let lines = [b"Pro \n", &lines[..]].concat();
            let text = text(&lines, Some(80));
            assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        }
    }

    #[test]
    fn a_pipe_gets_one_row_for_each_entry() {
        let text = text(LINES, None);
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(text.ends_with("  sip caf\\xe9\\x1b[2J\n"), "{text}");
        assert!(text.contains("]:40001  TCP [2001:db8:1111:2222:3333:4444:5555:7777]:80  [2001:"), "{text}");
    }
}
