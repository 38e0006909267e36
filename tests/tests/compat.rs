//! Checks docs/compat.md: the tests that it names exist, and each case with `@compat` is named by its row.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ipvs_tests::oracle::case::{self, Case};

/// A row of a table.
struct Row {
    name: String,
    /// Names of tests, as [`exists`] reads them.
    tests: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// Returns the rows of all tables. The first cell is the name, the last one names tests.
fn rows() -> Vec<Row> {
    let text = fs::read_to_string(root().join("docs/compat.md")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix("| `")?.strip_suffix(" |")?.split(" | ").collect();
        let name = cells.first()?.strip_suffix('`')?.to_owned();
        // The texts between back quotes.
        let tests = cells.last()?.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Some(Row { name, tests })
    };
    text.lines().filter_map(row).collect()
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let read = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        case::parse(&name, &fs::read_to_string(path).unwrap()).unwrap()
    };
    files.iter().flat_map(read).collect()
}

/// Checks whether a test exists: `file::case`, `file::prefix-` of several cases, or `path/to/file.rs::name` for a text
/// that occurs in that file.
fn exists(test: &str, cases: &[Case]) -> bool {
    match test.split_once(".rs::") {
        Some((file, name)) => {
            fs::read_to_string(root().join(format!("{file}.rs"))).is_ok_and(|text| text.contains(name))
        }
        None if test.ends_with('-') => cases.iter().any(|case| case.name.starts_with(test)),
        None => cases.iter().any(|case| case.name == test),
    }
}

#[test]
fn every_row_has_tests_that_exist() {
    let (rows, cases) = (rows(), cases());
    assert!(rows.len() > 30, "only {} rows found", rows.len());
    for row in &rows {
        assert!(!row.tests.is_empty(), "row {} names no test", row.name);
        for test in &row.tests {
            assert!(exists(test, &cases), "row {}: no test {test}", row.name);
        }
    }
    let names: BTreeSet<&String> = rows.iter().map(|row| &row.name).collect();
    assert_eq!(names.len(), rows.len(), "two rows have the same name");
}

#[test]
fn every_case_is_named_by_its_row() {
    let rows = rows();
    for case in cases() {
        let Some(name) = &case.compat else { continue };
        let row = rows.iter().find(|row| row.name == *name);
        let row = row.unwrap_or_else(|| panic!("{}: docs/compat.md has no row `{name}`", case.name));
        assert!(row.tests.contains(&case.name), "row {name} does not name {}", case.name);
    }
}
