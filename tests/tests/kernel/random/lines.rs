//! Random lines, one after the other, in two namespaces with the same table.

use std::collections::BTreeMap;
use std::fmt::Write;

use ipvs_tests::oracle::compare::same;
use ipvs_tests::oracle::mask::Mask;
use ipvs_tests::oracle::pair::Side::{Ours, Reference};
use ipvs_tests::oracle::pair::{Pair, SavedTable, Side};
use ipvs_tests::oracle::rng::Rng;
use ipvs_tests::oracle::shell::Outcome;

use super::generate::{self, Words};
use super::{translate, typed};

use crate::under_test;

/// Number of lines after which the table is emptied, so that it stays short.
const LINES_PER_TABLE: u64 = 40;
/// Number of differences after which a test stops, since one cause may lead to many.
const MAX_REPORTS: usize = 5;

/// Runs lines of a seed with both programs and compares them.
pub(super) fn agree(seed: u64, lines: u64) {
    let mut rng = Rng::new(seed);
    let mut bench = Bench::new();
    for number in 0..lines {
        if number % LINES_PER_TABLE == 0 {
            bench.empty();
        }
        bench.line(&generate::line(&mut rng));
        if bench.reports.len() >= MAX_REPORTS {
            break;
        }
    }
    println!("{} lines: {:?}", bench.lines, bench.ends);
    println!("translated for the reference, by row: {:?}", bench.rows);
    assert!(bench.reports.is_empty(), "seed {seed}\n{}", bench.reports.concat());
}

pub(super) struct Bench {
    pair: Pair,
    empty: SavedTable,
    before: SavedTable,
    /// Lines since the table was empty.
    typed: Vec<String>,
    lines: usize,
    rows: BTreeMap<&'static str, usize>,
    ends: BTreeMap<String, usize>,
    pub(super) reports: Vec<String>,
}

/// The outcome of a program, and the table after it.
#[derive(Clone, Debug, PartialEq)]
struct Done {
    outcome: Outcome,
    table: String,
}

impl Bench {
    pub(super) fn new() -> Bench {
        let mut pair = Pair::new(under_test::program()).unwrap();
        super::plain_names();
        let empty = pair.save_table(Reference).unwrap();
        Bench {
            before: empty.clone(),
            empty,
            pair,
            typed: Vec::new(),
            lines: 0,
            rows: BTreeMap::new(),
            ends: BTreeMap::new(),
            reports: Vec::new(),
        }
    }

    pub(super) fn empty(&mut self) {
        self.typed.clear();
        for side in [Reference, Ours] {
            self.pair.restore_table(side, &self.empty).unwrap();
        }
    }

    fn done(&mut self, side: Side, words: &Words) -> Done {
        let outcome = self.pair.run(side, words, b"").unwrap();
        Done { outcome, table: self.pair.table(side).unwrap() }
    }

    fn line(&mut self, words: &Words) {
        self.lines += 1;
        self.typed.push(typed(words));
        if translate::zeroes_any(words) {
            *self.rows.entry("zero-of-any").or_default() += 1;
            return;
        }
        self.before = self.pair.save_table(Reference).unwrap();
        let mut ours = self.done(Ours, words);
        *self.ends.entry(ours.outcome.end.clone()).or_default() += 1;
        let (translated, rows) = translate::for_reference(words).unwrap_or_default();
        for row in &rows {
            assert!(super::COMPAT.contains(&format!("| `{row}` |")), "no row {row} in docs/compat.md");
            *self.rows.entry(row).or_default() += 1;
        }
        let mut reference = self.done(Reference, if rows.is_empty() { words } else { &translated });
        if words.iter().any(|word| word.starts_with(b"--nosort")) {
            for done in [&mut reference, &mut ours] {
                done.outcome.stdout = Mask::SortServices.apply(&done.outcome.stdout);
            }
        }
        reference.outcome.stderr = reference.outcome.stderr.replace(translate::ALIAS, "!#:+");
        if !rows.is_empty() && ours.outcome.stderr.contains("`-h'") {
            // The translation has long options only.
            reference.outcome.stderr = reference.outcome.stderr.replace("`--help'", "`-h'");
        }
        let mut agrees_with_reference =
            agree_all(&reference, &ours) || rows.contains(&"any-order") && both_report_errors(&reference, &ours);
        if !agrees_with_reference && !rows.is_empty() {
            // Our program may also do the same as the reference does for the original line.
            self.pair.restore_table(Reference, &self.before).unwrap();
            agrees_with_reference = agree_all(&self.done(Reference, words), &ours);
        }
        if !agrees_with_reference {
            self.report((!rows.is_empty()).then_some(&translated), &reference, &ours);
        }
    }

    /// Reports a difference and empties the table. `translated` is the line for the reference if it is another one.
    fn report(&mut self, translated: Option<&Words>, reference: &Done, ours: &Done) {
        let mut report = String::new();
        self.typed.iter().for_each(|line| writeln!(report, "# ipvsadm {line}").unwrap());
        if let Some(translated) = translated {
            writeln!(report, "translated for the reference: {}", typed(translated)).unwrap();
        }
        writeln!(report, "the reference: {:#?}\nour program: {:#?}", reference.outcome, ours.outcome).unwrap();
        let tables = ipvs_tests::oracle::diff::diff(&reference.table, &ours.table);
        writeln!(report, "{}", tables.unwrap_or_default()).unwrap();
        self.reports.push(report);
        self.empty();
    }
}

/// Checks whether two outcomes on the same table agree.
pub(super) fn agrees(table: &str, reference: &Outcome, ours: &Outcome) -> bool {
    let [reference, ours] = [reference, ours].map(plain);
    // Rows order and large-marks: the reference sorts numbers that differ by 2^31 or more in an undefined order.
    let unordered = || far_apart(table) && same(&sorted(&reference), &sorted(&ours));
    same(&reference, &ours) || is_reported_early(&reference, &ours) || unordered()
}

fn agree_all(reference: &Done, ours: &Done) -> bool {
    reference.table == ours.table && agrees(&reference.table, &reference.outcome, &ours.outcome)
}

/// Checks whether both programs report an error and leave the same table. Row any-order: if a line has two errors, the
/// programs may report different ones.
fn both_report_errors(reference: &Done, ours: &Done) -> bool {
    let has_message = |done: &Done| {
        ["exit 2", "exit 255"].contains(&done.outcome.end.as_str()) && !done.outcome.stderr.trim().is_empty()
    };
    reference.table == ours.table && has_message(reference) && has_message(ours)
}

/// Checks whether the table has numbers for which a signed 32-bit subtraction overflows.
fn far_apart(table: &str) -> bool {
    let bytes = table.split("Address([").skip(1).filter_map(|rest| rest.split("])").next());
    let words = bytes.flat_map(|bytes| bytes.split(", ").step_by(4)).filter_map(|byte| byte.parse::<u8>().ok());
    let marks = table.split("FWMARK: ").skip(1).filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    words.into_iter().any(|byte| byte >= 128)
        || marks.filter_map(|mark| mark.parse::<u32>().ok()).any(|mark| mark >= 1 << 31)
}

fn sorted(outcome: &Outcome) -> Outcome {
    let mut lines: Vec<&str> = outcome.stdout.lines().collect();
    lines.sort_unstable();
    Outcome { stdout: lines.join("\n"), ..outcome.clone() }
}

/// Removes intended differences that every output of a kind has.
pub(super) fn plain(outcome: &Outcome) -> Outcome {
    // Rows version and help: both begin with the version.
    if outcome.stdout.starts_with("ipvsadm v") {
        return Outcome { stdout: String::new(), ..outcome.clone() };
    }
    let stdout = outcome.stdout.lines().map(plain_line).collect::<Vec<_>>().join("\n");
    // Row explained: invalid UTF-8 is replaced in messages.
    let stderr = outcome.stderr.replace("\\xff", "\u{fffd}");
    Outcome { stdout, stderr, ..outcome.clone() }
}

/// Checks whether our program has refused a change in place of the kernel. Row explained: the kernel's message may
/// differ.
fn is_reported_early(reference: &Outcome, ours: &Outcome) -> bool {
    const SENTENCES: [&str; 2] =
        ["Numerical result out of range: ", "Invalid operation.  Possibly wrong module version, "];
    let explained = SENTENCES.iter().any(|sentence| ours.stderr.starts_with(sentence)) && ours.stderr.contains(": ");
    explained && !reference.stderr.is_empty() && (&reference.stdout, &reference.end) == (&ours.stdout, &ours.end)
}

fn plain_line(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    if line.starts_with("-a ") {
        // Row thresholds-saved.
        for option in ["-x", "-y"] {
            if let Some(at) = words.iter().position(|word| word == option) {
                words.drain(at..at + 2);
            }
        }
    }
    for at in 1..words.len() {
        // Row large-marks.
        let mark = words[at - 1] == "-f" || line.starts_with("FWM  ") && at == 2;
        if let Some(number) = words[at].parse::<i32>().ok().filter(|number| mark && *number < 0) {
            words[at] = (number as u32).to_string();
        }
    }
    // Row third-flag.
    let line = words.join(" ");
    let of_hash = [" sh ", " mh "].iter().any(|scheduler| line.contains(scheduler));
    if of_hash { line.replace(",flag-3", "").replace("flag-3", "") } else { line }
}
