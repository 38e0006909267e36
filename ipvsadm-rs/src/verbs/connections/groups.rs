//! The output with `--by`: a row for each group.

use std::cmp::Reverse;
use std::io::{self, Write};

use anstyle::Style;
use ipvs::{ConnectionCounts, EntryCount};

use super::columns::{Column, Columns};
use super::filter::Reading;
use super::group::{Group, Part};
use super::json::{Counted, Document, Others};
use super::{Format, Key};
use crate::context::Context;
use crate::terminal::plural::count;
use crate::terminal::text;
use crate::terminal::width::Size;

/// The groups to print.
struct Sums<'c> {
    by: &'c [Part],
    rows: Vec<(&'c Group, EntryCount)>,
    /// The number of groups beyond the limit. `None`: unknown, because groups were not counted.
    omitted: Option<usize>,
    /// The sum of all groups without a row.
    others: EntryCount,
    total: EntryCount,
    undercount: u64,
}

/// Counts the selected entries by group and prints the groups. Returns the number of entries.
pub(super) fn print(
    context: &Context,
    reading: &mut Reading<'_>,
    by: &[Part],
    sort: Option<Key>,
    limit: Option<usize>,
    format: Format,
) -> anyhow::Result<u64> {
    let mut counts = ConnectionCounts::default();
    reading.each(|entry, found| counts.add(Group::of(entry, found, by), entry))?;
    let sums = Sums::new(&counts, by, sort.unwrap_or(Key::Count), limit);
    match format {
        Format::Text => {
            let width = Size::of_stdout().map(|size| size.columns);
            context.write(|out| sums.write(out, width, context.palette().title))?;
        }
        Format::Json => {
            let Sums { by, rows, others, total, undercount, .. } = &sums;
            context.write_json(&Document::new(by, rows, *others, *total, *undercount))?;
        }
        Format::JsonLines => sums.write_json_lines(context)?,
    }
    Ok(sums.total.total())
}

impl<'c> Sums<'c> {
    fn new(counts: &'c ConnectionCounts<Group>, by: &'c [Part], sort: Key, limit: Option<usize>) -> Self {
        let mut rows: Vec<(&Group, EntryCount)> = counts.iter().collect();
        let limit = limit.unwrap_or(usize::MAX);
        rows.sort_by(|(a, in_a), (b, in_b)| {
            let by_count = Reverse(in_a.total()).cmp(&Reverse(in_b.total()));
            let by_key = match sort {
                Key::Service => a.service.cmp(&b.service),
                Key::Server => a.server.cmp(&b.server),
                Key::Client => a.client.cmp(&b.client),
                Key::State => a.state.cmp(&b.state),
                Key::Count | Key::Expires => std::cmp::Ordering::Equal,
            };
            by_key.then(by_count).then_with(|| a.cmp(b))
        });
        let mut others = counts.others();
        let beyond = rows.get(limit..).unwrap_or_default();
        beyond.iter().for_each(|(_, count)| others += *count);
        let omitted = (counts.undercount() == 0).then_some(beyond.len());
        rows.truncate(limit);
        Self { by, rows, omitted, others, total: counts.total(), undercount: counts.undercount() }
    }

    fn write(&self, out: &mut dyn Write, width: Option<usize>, title: Style) -> io::Result<()> {
        let numbers = [Column::number("CONNECTIONS", 0), Column::number("TEMPLATES", 2), Column::number("SHARE", 1)];
        let columns: Vec<Column> = numbers.into_iter().chain(self.by.iter().map(|part| column(*part))).collect();
        let mut rows: Vec<Vec<String>> =
            self.rows.iter().map(|(group, count)| self.row(*count, self.texts(group))).collect();
        if self.others.total() > 0 {
            let name = match self.omitted {
                Some(omitted) => format!("others ({})", count(omitted, "group")),
                None => "others".into(),
            };
            let mut texts = vec![String::new(); self.by.len()];
            if let Some(first) = texts.first_mut() {
                *first = name;
            }
            rows.push(self.row(self.others, texts));
        }
        if !rows.is_empty() {
            let columns = Columns::new(&columns, &rows, width);
            columns.write_titles(out, title)?;
            rows.iter().try_for_each(|row| columns.write_row(out, row))?;
            writeln!(out)?;
        }
        let EntryCount { connections, templates } = self.total;
        writeln!(out, "{}, {}", count(connections, "connection"), count(templates, "persistence template"))?;
        if self.undercount > 0 {
            let limit = ConnectionCounts::<Group>::LIMIT;
            let undercount = self.undercount;
            writeln!(out, "More than {limit} groups: the numbers of a row can be up to {undercount} too low.")?;
        }
        Ok(())
    }

    fn texts(&self, group: &Group) -> Vec<String> {
        self.by.iter().map(|part| group.text(*part)).collect()
    }

    fn row(&self, count: EntryCount, texts: Vec<String>) -> Vec<String> {
        let share = count.total() as f64 * 100.0 / self.total.total().max(1) as f64;
        let numbers = [count.connections.to_string(), count.templates.to_string(), format!("{share:.1}%")];
        numbers.into_iter().chain(texts).collect()
    }

    fn write_json_lines(&self, context: &Context) -> anyhow::Result<()> {
        context.write(|out| {
            for (group, count) in &self.rows {
                let line = serde_json::to_string(&Counted::new(group, *count, true))?;
                writeln!(out, "{}", text::json(&line))?;
            }
            if self.others.total() > 0 {
                let line = serde_json::to_string(&Others::new(self.others, self.undercount))?;
                writeln!(out, "{line}")?;
            }
            Ok(())
        })
    }
}

fn column(part: Part) -> Column {
    match part {
        Part::State => Column::text("STATE", 11, 0),
        Part::Server => Column::address("SERVER"),
        Part::Client { .. } => Column::address("CLIENT"),
        // A protocol, and an IPv4 address with a port.
        Part::Service => Column::text("SERVICE", 26, 0),
    }
}

#[cfg(test)]
mod tests {
    use ipvs::{ConnectionEntry, Connections, ServiceMatch};

    use super::*;

    fn entries(lines: &str) -> Vec<ConnectionEntry> {
        let table = format!("Pro \n{lines}");
        Connections::new(table.as_bytes()).expect("a title").map(|entry| entry.expect("an entry")).collect()
    }

    fn table(lines: &str, by: &[Part], sort: Key, limit: Option<usize>) -> String {
        let mut counts = ConnectionCounts::default();
        for entry in entries(lines) {
            counts.add(Group::of(&entry, ServiceMatch::Unknown, by), &entry);
        }
        let mut out = Vec::new();
        Sums::new(&counts, by, sort, limit).write(&mut out, Some(80), Style::new()).expect("a vector");
        String::from_utf8(out).expect("text")
    }

    const LINES: &str = "\
        TCP 0A090001 9C41 0A000001 0050 0A010001 1F90 ESTABLISHED     899\n\
        TCP 0A090002 9C41 0A000001 0050 0A010001 1F90 ESTABLISHED     899\n\
        TCP 0A090103 9C41 0A000001 0050 0A010002 1F90 SYN_RECV         59\n\
        TCP 2001:db8::9 9C41 2001:db8::1 0050 2001:db8:1111:2222:3333:4444:5555:6666 1F90 SYN_RECV         59\n\
        TCP 0A090001 0000 0A000001 0050 0A010001 1F90 NONE            359\n";

    #[test]
    fn groups_are_sorted_by_their_numbers() {
        assert_eq!(
            table(LINES, &[Part::State], Key::Count, None),
            "CONNECTIONS  TEMPLATES  SHARE  STATE\n          \
             2          0  40.0%  ESTABLISHED\n          \
             2          0  40.0%  SYN_RECV\n          \
             0          1  20.0%  NONE\n\
             \n\
             4 connections, 1 persistence template\n"
        );
        assert_eq!(table("", &[Part::State], Key::Count, None), "0 connections, 0 persistence templates\n");
    }

    #[test]
    fn groups_beyond_the_limit_are_summed() {
        let client = Part::Client { v4: 24, v6: 64 };
        assert_eq!(
            table(LINES, &[client], Key::Count, Some(1)),
            "CONNECTIONS  TEMPLATES  SHARE  CLIENT\n          \
             2          1  60.0%  10.9.0.0/24\n          \
             2          0  40.0%  others (2 groups)\n\
             \n\
             4 connections, 1 persistence template\n"
        );
    }

    #[test]
    fn wide_addresses_are_wrapped() {
        let text = table(LINES, &[Part::Server, Part::Service], Key::Server, None);
        assert_eq!(
            text,
            "CONNECTIONS  TEMPLATES  SHARE  SERVER         SERVICE\n          \
             2          1  60.0%  10.1.0.1:8080  TCP 10.0.0.1:80 (no service)\n          \
             1          0  20.0%  10.1.0.2:8080  TCP 10.0.0.1:80 (no service)\n\
             1  0  20.0%  [2001:db8:1111:2222:3333:4444:5555:6666]:8080\n  \
             TCP [2001:db8::1]:80 (no service)\n\
             \n\
             4 connections, 1 persistence template\n"
        );
    }

    #[test]
    fn numbers_that_may_be_too_low_are_reported() {
        let mut counts = ConnectionCounts::with_limit(2);
        for entry in entries(LINES) {
            counts.add(Group::of(&entry, ServiceMatch::Unknown, &[Part::State, Part::Server]), &entry);
        }
        let by = [Part::State, Part::Server];
        let mut out = Vec::new();
        Sums::new(&counts, &by, Key::Count, None).write(&mut out, None, Style::new()).expect("a vector");
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("%  others\n"), "{text}");
        assert!(text.ends_with("More than 50000 groups: the numbers of a row can be up to 2 too low.\n"), "{text}");
    }
}
