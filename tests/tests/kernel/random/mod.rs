//! Random lines and tables, on which our program must do the same as the reference.
//!
//! `IPVS_LINES` is the number of lines (default 2,500; CI generates 10,000 in all), `IPVS_SEED` the first seed
//! (default 1). `IPVS_TABLES` is the number of tables of each seed (default 12). A seed generates the same lines on
//! every machine. It is in the name of each test, so that a failed test can be run again alone: `IPVS_SEED=7 cargo
//! kernel random::500-lines-of-seed-7`.

mod generate;
mod lines;
mod restores;
mod tables;
mod translate;

use ipvs_tests::harness::Test;
use ipvs_tests::property::number;

/// The intended differences. Each translation of a line for the reference names its row.
const COMPAT: &str = include_str!("../../../../docs/compat.md");

/// Number of lines in one test, which takes some seconds.
const LINES: u64 = 500;

pub(crate) fn tests() -> Vec<Test> {
    let (seed, all) = (number("IPVS_SEED", 1), number("IPVS_LINES", 2_500));
    let mut tests = Vec::new();
    for seed in seed..seed + all.div_ceil(LINES) {
        tests.push(
            Test::new(format!("random::{LINES}-lines-of-seed-{seed}"), move || lines::agree(seed, LINES)).seconds(300),
        );
    }
    for seed in seed..seed + all.div_ceil(5 * LINES) {
        let tables = number("IPVS_TABLES", 12);
        tests.push(
            Test::new(format!("random::tables-of-seed-{seed}"), move || tables::agree(seed, tables))
                .seconds(300 + 5 * tables),
        );
        tests.push(Test::new(format!("random::restores-of-seed-{seed}"), move || restores::agree(seed)).seconds(300));
    }
    tests
}

/// Removes host names with several addresses, and those that listings truncate, because cases test them.
fn plain_names() {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap();
    let plain = hosts.lines().filter(|line| !line.contains("many.test") && !line.contains("a-real-server"));
    std::fs::write("/etc/hosts", plain.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

/// Checks whether a line means the same in a file as on a command line. A file has comments and no quotes, and the word
/// `ipvsadm` is ignored.
fn is_valid_in_a_file(words: &generate::Words) -> bool {
    let plain = |word: &Vec<u8>| {
        !word.is_empty()
            && word != b"ipvsadm"
            && !word.starts_with(b"#")
            && !word.iter().any(|byte| b" \t\r\n".contains(byte))
    };
    !words.is_empty() && words.iter().all(plain)
}

/// Returns lines as the content of a file.
fn file(lines: &[generate::Words]) -> Vec<u8> {
    lines.iter().flat_map(|words| [words.join(&b' '), b"\n".to_vec()].concat()).collect()
}

/// Returns a line quoted for the shell.
fn typed<W: AsRef<[u8]>>(words: &[W]) -> String {
    let quoted = |word: &W| {
        let text = ipvs_tests::oracle::shell::text(word.as_ref());
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,[]=+%@".contains(c);
        if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{text}'") }
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}
