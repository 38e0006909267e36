//! `ipvsadm-rs fleet`: shows the reports of all directors that follow a source.

use std::io::{self, Write};
use std::time::SystemTime;

use anyhow::bail;
use clap::Args;
use ipvs::hash::TableSizes;
use ipvs::rules::{self, Numeric};
use ipvs::{Config, document::SCHEMA};
use serde::Serialize;

use super::directors;
use super::follow::report::{self, Report};
use crate::context::{Context, code};
use crate::store::{self, Location, StoreArguments};
use crate::terminal::plural::count;
use crate::terminal::text;
use crate::terminal::width::cell;

/// Show all directors that write reports with `follow --report`
///
/// Prints a line for each director, and a line for each of their problems. AGE is the age of the report. It is computed
/// from the clocks of both hosts. Directors with the same letter in the column GROUP send the same clients to the same
/// servers. `?` means that a report does not contain the table, because it is too long.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Fleet {
    /// Location of the reports: the one of `follow --report`
    location: Location,
    #[command(flatten)]
    store: StoreArguments,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  All directors have the same revision, and no problem
  1  Error, or there are no reports
  2  Directors have problems, other revisions, old reports, or tables that send
     clients to different servers";

/// A report that is older, in seconds, is a problem: its director writes one every five seconds.
const OLD: u64 = 60;

/// One director.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    report: Report,
    /// The age of the report in seconds, by the clocks of both hosts. Absent if its time is not valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<u64>,
    /// Directors with the same number send the same clients to the same servers. Absent if the table is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<usize>,
}

#[derive(Serialize)]
struct Document<'d> {
    schema: u32,
    directors: &'d [Row],
    problems: Vec<String>,
}

impl Fleet {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let snapshot = store::open(&self.location, &self.store, context.input_limit()?)?.read()?;
        let (mut rows, mut problems) = (Vec::new(), Vec::new());
        for report in report::parse(&snapshot) {
            match report {
                Ok(report) => rows.push(Row { age: age(&report.written), report, group: None }),
                Err(error) => problems.push(format!("{error:#}")),
            }
        }
        if rows.is_empty() && problems.is_empty() {
            bail!("{}: there are no reports\nWrite them with `ipvsadm-rs follow --report`.", self.location);
        }
        group(&mut rows);
        problems.extend(problems_of(&rows));
        if context.json {
            context.write_json(&Document { schema: SCHEMA, directors: &rows, problems: problems.clone() })?;
        } else {
            let title = context.palette().title;
            context.write(|out| {
                writeln!(out, "{title}{HEADER}{title:#}")?;
                rows.iter().try_for_each(|row| row.write(out))?;
                if !problems.is_empty() {
                    writeln!(out)?;
                }
                problems.iter().try_for_each(|problem| writeln!(out, "{problem}"))
            })?;
        }
        Ok(if problems.is_empty() { code::DONE } else { code::CHANGES })
    }
}

/// Returns the time since a report was written, in seconds.
fn age(written: &str) -> Option<u64> {
    let written = humantime::parse_rfc3339(written).ok()?;
    // A clock that is ahead has no negative age.
    Some(SystemTime::now().duration_since(written).unwrap_or_default().as_secs())
}

/// Finds the directors that send the same clients to the same servers.
fn group(rows: &mut [Row]) {
    let mut groups: Vec<(String, Option<Config>)> = Vec::new();
    for row in rows {
        let Some(rules) = row.report.rules.take() else { continue };
        let known = groups.iter().position(|(other, _)| *other == rules);
        row.group = Some(known.unwrap_or_else(|| {
            let config = rules::read_config(rules.as_bytes(), &mut Numeric).ok().map(|read| read.config);
            let is_alike = |other: &Option<Config>| match (other, &config) {
                (Some(other), Some(config)) => directors::are_alike(other, config, TableSizes::default()),
                _ => false,
            };
            groups.iter().position(|(_, other)| is_alike(other)).unwrap_or_else(|| {
                groups.push((rules, config));
                groups.len() - 1
            })
        }));
    }
}

const HEADER: &str = "HOST              STATE     REVISION                 AGE  DRIFT  DRAINING  GROUP";

impl Row {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let status = &self.report.status;
        let revision = status.applied.as_ref().map_or_else(|| "-".to_owned(), |applied| applied.id.to_string());
        let age = self.age.map_or_else(|| "?".to_owned(), |age| format!("{age}s"));
        let number = |number: u64| if number == 0 { "-".to_owned() } else { number.to_string() };
        let drift = number(status.drift.as_ref().map_or(0, |drift| drift.times));
        let draining = number(status.draining as u64);
        writeln!(
            out,
            "{}  {:<8}  {}  {age:>6}  {drift:>5}  {draining:>8}  {:>5}",
            cell(&text::escaped(&status.host), 16),
            status.phase.name(),
            cell(&revision, 20),
            self.group.map_or_else(|| "?".to_owned(), letter),
        )
    }
}

/// Returns `A`, `B` … `Z`, `27` and so on.
fn letter(group: usize) -> String {
    match u8::try_from(group) {
        Ok(small @ 0..26) => char::from(b'A' + small).to_string(),
        _ => (group + 1).to_string(),
    }
}

fn problems_of(rows: &[Row]) -> Vec<String> {
    let mut problems = Vec::new();
    for Row { report, age, .. } in rows {
        let status = &report.status;
        let host = text::escaped(&status.host);
        let mut add = |problem: String| problems.push(format!("{host}: {problem}"));
        if age.is_none_or(|age| age > OLD) {
            add("the report is old; the director may be down".to_owned());
        }
        if status.phase.is_problem() {
            let reason = status.reason.as_deref().unwrap_or_default();
            add(format!("{}: {}", status.phase.name(), text::escaped(reason)));
        }
        if let Some(error) = &status.store_error {
            add(format!("cannot read the source: {}", text::escaped(error)));
        }
        if let Some(drift) = status.drift.as_ref().filter(|drift| drift.remains) {
            let changes = count(drift.changes, "change");
            add(format!("the table differs: {changes}, the first is: {}", text::escaped(&drift.first)));
        }
    }
    let mut digests: Vec<_> =
        rows.iter().map(|row| row.report.status.applied.as_ref().map(|applied| applied.id.digest.clone())).collect();
    digests.sort_unstable();
    digests.dedup();
    if digests.len() > 1 {
        problems.push(format!("the directors have {} different revisions", digests.len()));
    }
    let groups = rows.iter().filter_map(|row| row.group).max().map_or(0, |last| last + 1);
    if groups > 1 {
        problems.push(format!(
            "{groups} groups of directors send the same clients to different servers\n\
             `ipvsadm-rs which --compare` shows the differences."
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use unicode_width::UnicodeWidthStr;

    use super::*;

    /// Returns the row of a director that has applied a revision.
    fn row(host: &str, digest: &str, rules: Option<&str>) -> Row {
        let time = "2026-01-02T03:04:05Z";
        let report = json!({
            "schema": 1, "host": host, "source": "etcd://h/x", "time": time, "phase": "good", "draining": 0,
            "applied": {"revision": "7", "digest": digest, "time": time},
            "beat": 1, "written": time, "interval": 5, "rules": rules,
        });
        Row { report: serde_json::from_value(report).expect("a report"), age: Some(3), group: None }
    }

    fn table(servers: &[(u8, u32)]) -> String {
        let servers =
            servers.iter().map(|(last, weight)| format!("-a -t 192.0.2.1:80 -r 10.0.0.{last}:80 -m -w {weight}\n"));
        format!("-A -t 192.0.2.1:80 -s mh\n{}", servers.collect::<String>())
    }

    #[test]
    fn directors_that_choose_the_same_servers_are_one_group() {
        let [one, two] = [table(&[(1, 1), (2, 1)]), table(&[(1, 1), (2, 5)])];
        // The weights have the same ratio, so mh has the same slots.
        let same = table(&[(1, 2), (2, 2)]);
        let tables = [Some(&*one), Some(&*one), Some(&*two), None, Some(&*same), Some("no rules")];
        let mut rows: Vec<Row> = tables.into_iter().map(|rules| row("lb", "1", rules)).collect();
        group(&mut rows);
        let groups: Vec<Option<usize>> = rows.iter().map(|row| row.group).collect();
        assert_eq!(groups, [Some(0), Some(0), Some(1), None, Some(0), Some(2)]);
    }

    #[test]
    fn problems_name_the_director() {
        let mut rows = vec![row("lb1", "1", None), row("lb2", "1", None)];
        assert_eq!(problems_of(&rows), Vec::<String>::new());
        rows[1] = row("lb\x1b2", "2", None);
        rows[1].age = Some(OLD + 1);
        rows[1].report.status.store_error = Some("no server".to_owned());
        assert_eq!(
            problems_of(&rows),
            [
                r"lb\x1b2: the report is old; the director may be down",
                r"lb\x1b2: cannot read the source: no server",
                "the directors have 2 different revisions"
            ]
        );
        (rows[0].group, rows[1].group) = (Some(0), Some(1));
        assert!(problems_of(&rows)[3].starts_with("2 groups of directors"));
    }

    #[test]
    fn rows_have_80_columns() {
        let mut long = row(&"long".repeat(20), "0123456789abcdef", None);
        long.report.status.applied.as_mut().expect("a revision").id.revision = "9".repeat(40);
        for row in [row("lb1", "1", None), long] {
            let mut out = Vec::new();
            row.write(&mut out).expect("a vector");
            let line = String::from_utf8(out).expect("text");
            assert_eq!(line.trim_end().width(), HEADER.width(), "{line}");
        }
        assert!(HEADER.width() <= 80);
        assert_eq!((letter(0), letter(25), letter(26)), ("A".to_owned(), "Z".to_owned(), "27".to_owned()));
    }
}
