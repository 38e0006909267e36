//! Lines and tables that nobody thought of: the reference and ours must agree on them, too.
//!
//! `IPVS_LINES` says how many lines are made up (2,500 if nothing is said; CI asks four times, for other seeds), `IPVS_SEED` of which seed: the same seed makes
//! the same lines on every machine. The seed is in the name of each test, so that what failed can be run again alone:
//! `IPVS_SEED=7 cargo test --test kernel random::lines-of-seed-7`.

mod generate;
mod lines;
mod restores;
mod tables;
mod translate;

use ipvs_tests::harness::Test;

/// The differences on purpose: the lines that are given to the reference in another way name their rows.
const COMPAT: &str = include_str!("../../../../docs/compat.md");

/// Lines of one test: few enough to take a guest some seconds.
const LINES: u64 = 500;

pub(crate) fn tests() -> Vec<Test> {
    let (seed, all) = (number("IPVS_SEED").unwrap_or(1), number("IPVS_LINES").unwrap_or(2_500));
    let mut tests = Vec::new();
    for seed in seed..seed + all.div_ceil(LINES) {
        tests.push(
            Test::new(format!("random::{LINES}-lines-of-seed-{seed}"), move || lines::agree(seed, LINES)).seconds(300),
        );
    }
    for seed in seed..seed + all.div_ceil(5 * LINES) {
        tests.push(Test::new(format!("random::tables-of-seed-{seed}"), move || tables::agree(seed)).seconds(300));
        tests.push(Test::new(format!("random::restores-of-seed-{seed}"), move || restores::agree(seed)).seconds(300));
    }
    tests
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable}={value} is not a number")))
}

/// Leaves out the names that two addresses have, and those that are cut: of them cases tell.
fn plain_names() {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap();
    let plain = hosts.lines().filter(|line| !line.contains("many.test") && !line.contains("a-real-server"));
    std::fs::write("/etc/hosts", plain.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

/// Whether a line is read from a file as it is read from a command line: there are no quotes, and comments.
fn can_stand_in_a_file(words: &generate::Words) -> bool {
    let plain = |word: &Vec<u8>| {
        !word.is_empty() && !word.starts_with(b"#") && !word.iter().any(|byte| b" \t\r\n".contains(byte))
    };
    !words.is_empty() && words.iter().all(plain) && !words.iter().all(|word| word == b"ipvsadm")
}

/// Lines as a file has them.
fn file(lines: &[generate::Words]) -> Vec<u8> {
    lines.iter().flat_map(|words| [words.join(&b' '), b"\n".to_vec()].concat()).collect()
}

/// A line as one could type it.
fn typed<W: AsRef<[u8]>>(words: &[W]) -> String {
    let quoted = |word: &W| {
        let text = ipvs_tests::oracle::shell::text(word.as_ref());
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,[]=+%@".contains(c);
        if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{text}'") }
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}
