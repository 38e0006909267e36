//! Restores of random files with some invalid lines. Our program executes all lines of a file or none. It must report
//! the lines that the reference refuses if it runs each line alone.

use std::fmt::Write;

use ipvs::rules::{self, Command};
use ipvs_tests::oracle::diff::diff;
use ipvs_tests::oracle::mask::Mask;
use ipvs_tests::oracle::pair::Pair;
use ipvs_tests::oracle::pair::Side::{Ours, Reference};
use ipvs_tests::oracle::rng::Rng;
use ipvs_tests::oracle::shell::Outcome;

use super::generate::{self, Words};
use super::lines::plain;
use super::translate;

use crate::under_test;

/// Number of files in one test.
const FILES: usize = 60;

/// Messages of the reference for a line that popt cannot read, and for one without a command.
const SYNTAX: [&str; 4] = ["Try `", ": unknown option", ": missing argument", ": option does not take an argument"];

pub(super) fn agree(seed: u64) {
    let mut rng = Rng::new(seed ^ 0x9e5704e);
    let mut pair = Pair::new(under_test::program()).unwrap();
    super::plain_names();
    let empty = pair.save_table(Reference).unwrap();
    for _ in 0..FILES {
        for side in [Reference, Ours] {
            pair.restore_table(side, &empty).unwrap();
        }
        let odds = 1 + rng.below(12);
        let line = |rng: &mut Rng| if rng.once_in(odds) { generate::line(rng) } else { generate::change(rng) };
        let lines: Vec<Words> = (0..1 + rng.below(12)).map(|_| line(&mut rng)).filter(is_comparable).collect();
        let report = file(&mut pair, &lines);
        let text: String = lines.iter().map(|words| super::typed(words) + "\n").collect();
        assert!(report.is_empty(), "seed {seed}\n{text}\n{report}");
    }
}

/// Excludes lines that end the restore, start or stop a daemon, or cannot be translated for the reference.
fn is_comparable(words: &Words) -> bool {
    let slices: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let is_other = matches!(
        rules::parse(&slices, &mut translate::Names),
        Ok(Command::Help
            | Command::Version
            | Command::Restore { .. }
            | Command::Change(ipvs::Change::StartDaemon(_) | ipvs::Change::StopDaemon(_)))
    );
    !is_other && super::is_valid_in_a_file(words) && !translate::zeroes_any(words)
}

#[derive(PartialEq)]
enum Kind {
    Valid,
    /// A line that the kernel refuses, or a listing of a missing service.
    Refused,
    Invalid,
}

fn kind(words: &Words, outcome: &Outcome) -> Kind {
    let slices: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    // A change that every kernel refuses counts as an invalid line.
    let invalid = matches!(rules::parse(&slices, &mut translate::Names), Ok(Command::Change(change)) if change.validate().is_err());
    match outcome.end.as_str() {
        "exit 0" => Kind::Valid,
        "exit 2" => Kind::Invalid,
        _ if invalid || SYNTAX.iter().any(|text| outcome.stderr.contains(text)) => Kind::Invalid,
        _ => Kind::Refused,
    }
}

fn file(pair: &mut Pair, lines: &[Words]) -> String {
    let before = pair.table(Reference).unwrap();
    let (mut stdout, mut invalid_lines, mut first_refused_end) = (String::new(), Vec::new(), None);
    let mut first_invalid_end = None;
    for (number, words) in (1..).zip(lines) {
        let translated = translate::for_reference(words).map_or(words.clone(), |(translated, _)| translated);
        let outcome = pair.run(Reference, &translated, b"").unwrap();
        stdout += &outcome.stdout;
        match kind(words, &outcome) {
            Kind::Valid => {}
            Kind::Refused => drop(first_refused_end.get_or_insert(outcome.end)),
            Kind::Invalid => {
                invalid_lines.push(number);
                first_invalid_end.get_or_insert(outcome.end);
            }
        }
    }
    let ours = pair.run(Ours, &["-R"], &super::file(lines)).unwrap();
    let (expected, table, stdout) = match first_invalid_end {
        Some(end) => (end, before, String::new()),
        None => (first_refused_end.unwrap_or_else(|| "exit 0".to_owned()), pair.table(Reference).unwrap(), stdout),
    };
    let mut report = String::new();
    let reported = invalid_lines.iter().all(|number| ours.stderr.contains(&format!("line {number}")));
    let reports_no_change = ours.stderr.contains("nothing was changed");
    let texts = [stdout, ours.stdout.clone()].map(|stdout| plain(&Outcome { stdout, ..Outcome::default() }).stdout);
    if ours.end != expected || !reported || reports_no_change == invalid_lines.is_empty() || texts[0] != texts[1] {
        writeln!(report, "invalid lines {invalid_lines:?}, {expected}, but our program: {ours:#?}").unwrap();
        report += &diff(&texts[0], &texts[1]).unwrap_or_default();
    }
    // New kernels create the connection table with the first service, which only the reference may have added.
    let tables = [table, pair.table(Ours).unwrap()].map(|table| Mask::Size.apply(&table));
    report + &diff(&tables[0], &tables[1]).unwrap_or_default()
}
