//! Random tables: every listing, and saving with one program and restoring with the other.

use std::fmt::Write;

use ipvs::rules::{self, Command};
use ipvs_tests::oracle::diff::diff;
use ipvs_tests::oracle::mask::Mask;
use ipvs_tests::oracle::pair::Pair;
use ipvs_tests::oracle::pair::Side::{Ours, Reference};
use ipvs_tests::oracle::rng::Rng;

use super::generate::{self, Words};
use super::lines::{agrees, plain};
use super::translate;

use crate::under_test;

/// Every kind of listing.
const LISTINGS: [&str; 17] = [
    "-Ln",
    "-L",
    "-Ln --stats",
    "-L --stats --exact",
    "-Ln --rate",
    "-Ln --rate -X",
    "-Ln --thresholds",
    "-L --thresholds",
    "-Ln --persistent-conn",
    "-L --persistent-conn",
    "-Ln --tun-info",
    "-L --tun-info",
    "-Ln --nosort",
    "-Ln -t 10.0.0.1:80",
    "-L -f 2 --thresholds",
    "-Sn",
    "-S",
];

pub(super) fn agree(seed: u64, tables: u64) {
    let mut rng = Rng::new(seed ^ 0x7ab1e5);
    let mut pair = Pair::new(under_test::program()).unwrap();
    super::plain_names();
    let empty = pair.save_table(Reference).unwrap();
    for _ in 0..tables {
        for side in [Reference, Ours] {
            pair.restore_table(side, &empty).unwrap();
        }
        let lines: Vec<Words> = (0..5 + rng.below(60)).map(|_| generate::change(&mut rng)).filter(is_valid).collect();
        let report = table(&mut pair, &lines);
        assert!(report.is_empty(), "seed {seed}\n{}\n{report}", typed(&lines));
    }
    println!("{tables} tables restored by each program as the other saved them");
}

/// Checks whether a line is valid, apart from conflicts with the table, and means the same in a file.
fn is_valid(words: &Words) -> bool {
    let slices: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    super::is_valid_in_a_file(words)
        && match rules::parse(&slices, &mut translate::Names) {
            Ok(Command::Change(change)) => change.validate().is_ok(),
            _ => false,
        }
}

fn typed(lines: &[Words]) -> String {
    lines.iter().fold(String::new(), |text, words| text + &super::typed(words) + "\n")
}

fn table(pair: &mut Pair, lines: &[Words]) -> String {
    let mut report = String::new();
    let translated: Vec<Words> = lines
        .iter()
        .map(|words| translate::for_reference(words).map_or(words.clone(), |(translated, _)| translated))
        .collect();
    let reference = pair.run(Reference, &["-R"], &super::file(&translated)).unwrap();
    let ours = pair.run(Ours, &["-R"], &super::file(lines)).unwrap();
    // Both print a message for each refused line, and our program prints hints, too. The exit status of the reference is
    // only that of the last line.
    let messages = ours.stderr.lines().filter(|line| line.starts_with("line ")).count();
    if reference.stderr.lines().count() != messages || ours.stderr.is_empty() != (ours.end == "exit 0") {
        writeln!(report, "restored by the reference: {reference:#?}\nand by our program: {ours:#?}").unwrap();
    }
    let tables = [Reference, Ours].map(|side| pair.table(side).unwrap());
    report += &diff(&tables[0], &tables[1]).unwrap_or_default();
    for listing in LISTINGS {
        let words: Vec<&str> = listing.split(' ').collect();
        let [reference, ours] = [Reference, Ours].map(|side| {
            let mut outcome = pair.run(side, &words, b"").unwrap();
            if listing.contains("--nosort") {
                outcome.stdout = Mask::SortServices.apply(&outcome.stdout);
            }
            outcome
        });
        if !agrees(&tables[0], &reference, &ours) {
            let diff = diff(&reference.stdout, &ours.stdout).unwrap_or_default();
            writeln!(report, "# ipvsadm {listing}\n[{}] and [{}]\n{diff}", reference.end, ours.end).unwrap();
        }
    }
    if report.is_empty() { round_trip(pair) } else { report }
}

/// Checks that each program restores the output of the other.
fn round_trip(pair: &mut Pair) -> String {
    let mut report = String::new();
    let saved = [Reference, Ours].map(|side| pair.run(side, &["-Sn"], b"").unwrap());
    for (from, to) in [(0, Ours), (1, Reference)] {
        let cleared = pair.run(to, &["-C"], b"").unwrap();
        let restored = pair.run(to, &["-R"], saved[from].stdout.as_bytes()).unwrap();
        let again = pair.run(to, &["-Sn"], b"").unwrap();
        let same = plain(&again).stdout == plain(&saved[from]).stdout;
        if [&cleared.end, &restored.end, &again.end] != ["exit 0"; 3] || !same {
            writeln!(
                report,
                "saved: {}\nrestored by {to:?}: {restored:#?}\nsaved again: {}",
                saved[from].stdout, again.stdout
            )
            .unwrap();
        }
    }
    report
}
