//! The tables of `uapi` agree with the installed `linux/ip_vs.h`: every name of the header is a row with that number.
//! The number of a row that is newer than the header is above the header's last number.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use ipvs_sys::uapi;
use ipvs_sys::wire::Attributes;

const HEADER: &str = "/usr/include/linux/ip_vs.h";

/// Returns the lists of numbers: the prefix of the names, and the rows of the table.
fn lists() -> [(&'static str, Vec<Row>); 7] {
    fn attributes<A: Attributes>() -> Vec<Row> {
        A::TABLE.iter().map(|(number, name)| (*name, i64::from(*number))).collect()
    }
    [
        ("IPVS_CMD_ATTR_", attributes::<uapi::CommandAttrs>()),
        ("IPVS_SVC_ATTR_", attributes::<uapi::ServiceAttrs>()),
        ("IPVS_DEST_ATTR_", attributes::<uapi::DestAttrs>()),
        ("IPVS_DAEMON_ATTR_", attributes::<uapi::DaemonAttrs>()),
        ("IPVS_STATS_ATTR_", attributes::<uapi::StatsAttrs>()),
        ("IPVS_INFO_ATTR_", attributes::<uapi::InfoAttrs>()),
        // After the attributes of commands, whose names begin with this prefix, too.
        ("IPVS_CMD_", uapi::Command::TABLE.iter().map(|(number, name)| (*name, i64::from(*number))).collect()),
    ]
}

type Row = (&'static str, i64);

/// Returns the names that the header defines with a number: `#define NAME …` and members of enumerations.
fn names(header: &str) -> Vec<&str> {
    let mut in_enum = false;
    let mut names = Vec::new();
    for line in header.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("#define") => names.extend(words.next().filter(|name| !name.contains('('))),
            Some("enum") => in_enum = true,
            Some("};") => in_enum = false,
            Some(word) if in_enum && word.contains("IP") => names.extend(word.split(',').next()),
            _ => {}
        }
    }
    names.retain(|name| !matches!(*name, "_IP_VS_H" | "IPVS_GENL_NAME"));
    names
}

/// Returns the numbers as the C compiler evaluates them. Linking this test requires a C compiler anyway.
fn values(names: &[&str]) -> BTreeMap<String, i64> {
    let mut source = String::from("#include <stdio.h>\n#include <linux/ip_vs.h>\nint main(void) {\n");
    for name in names {
        source += &format!("printf(\"{name} %ld\\n\", (long)({name}));\n");
    }
    source += "return 0; }\n";
    let program = std::env::temp_dir().join(format!("ipvs-header-{}", std::process::id()));
    let mut compiler = Command::new("cc")
        .args(["-x", "c", "-", "-o"])
        .arg(&program)
        .stdin(Stdio::piped())
        .spawn()
        .expect("cc, as for linking");
    compiler.stdin.take().expect("a pipe").write_all(source.as_bytes()).expect("cc reads");
    assert!(compiler.wait().expect("cc exits").success(), "cc does not compile {HEADER}");
    let output = Command::new(&program).output().expect("the program runs");
    std::fs::remove_file(&program).expect("the temporary file is removed");
    let output = String::from_utf8(output.stdout).expect("text");
    let lines = output.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
}

fn installed_header() -> BTreeMap<String, i64> {
    let header = std::fs::read_to_string(HEADER)
        .unwrap_or_else(|error| panic!("cannot read {HEADER}: {error}\nInstall the package linux-libc-dev."));
    let names = names(&header);
    assert!(names.len() > 130, "only {} names found in {HEADER}", names.len());
    values(&names)
}

/// Returns the mistakes in the rows of one list. `header` has the names of that list only, without the prefix.
fn mistakes(prefix: &str, rows: &[Row], header: &BTreeMap<&str, i64>) -> Vec<String> {
    let last = *header.get("MAX").unwrap_or_else(|| panic!("{prefix}MAX is not in {HEADER}"));
    let mut mistakes = Vec::new();
    for (name, number) in rows {
        match header.get(name.trim_start_matches(prefix)) {
            Some(expected) if expected == number => {}
            Some(expected) => mistakes.push(format!("{name} is {expected} in {HEADER}, not {number}: correct the row")),
            // A row may be newer than the installed header.
            None if *number > last => {}
            None => mistakes.push(format!(
                "{name} = {number} is not in {HEADER}, which numbers {prefix}… up to {last}: correct the name of the \
                 row, or, if it is newer than the header, its number"
            )),
        }
    }
    for (name, number) in header {
        if !matches!(*name, "UNSPEC" | "MAX") && !rows.iter().any(|(row, _)| row.trim_start_matches(prefix) == *name) {
            mistakes.push(format!("{prefix}{name} is not in src/uapi.rs: add the row `{number} {prefix}{name} => …`"));
        }
    }
    mistakes
}

#[test]
fn tables_agree_with_the_installed_header() {
    let mut header = installed_header();
    // `__…_MAX` is one more than the last number, which is `…_MAX`.
    header.retain(|name, _| !name.starts_with("__IPVS_"));
    let mut wrong = Vec::new();
    for (prefix, rows) in lists() {
        let (list, others): (BTreeMap<_, _>, _) = header.into_iter().partition(|(name, _)| name.starts_with(prefix));
        let list = list.iter().map(|(name, number)| (name.trim_start_matches(prefix), *number)).collect();
        wrong.extend(mistakes(prefix, &rows, &list));
        header = others;
    }
    // `IP_VS_CONN_F_TUNNEL_TYPE_MAX` is the number of tunnel types that the header knows.
    header.retain(|name, _| !name.ends_with("_TYPE_MAX"));
    let mut constants: BTreeMap<_, _> =
        uapi::CONSTANTS.iter().map(|(name, value)| (*name, i64::from(*value))).collect();
    constants.insert("IPVS_GENL_VERSION", i64::from(uapi::FAMILY_VERSION));
    for (name, value) in header {
        match constants.get(&*name) {
            Some(row) if *row == value => {}
            Some(row) => wrong.push(format!("{name} is {value:#x} in {HEADER}, not {row:#x}: correct the row")),
            None => {
                wrong.push(format!("{name} is not in src/uapi.rs: add the row `{name} = {value:#x},` to CONSTANTS"))
            }
        }
    }
    assert!(wrong.is_empty(), "src/uapi.rs disagrees with the header:\n{}", wrong.join("\n"));
}

/// This test needs no header: a wrong number leaves a gap or a duplicate.
#[test]
fn numbers_of_a_list_have_no_gaps() {
    for (prefix, rows) in lists() {
        let mut numbers: Vec<_> = rows.iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=rows.len() as i64).collect::<Vec<_>>(), "{prefix}… in src/uapi.rs");
    }
}

#[test]
fn a_row_may_be_newer_than_the_header() {
    let header = BTreeMap::from([("UNSPEC", 0), ("ADDR", 1), ("PORT", 2), ("MAX", 2)]);
    let mistakes = |rows: &[Row]| mistakes("IPVS_DEST_ATTR_", rows, &header);
    let known = [("IPVS_DEST_ATTR_ADDR", 1), ("IPVS_DEST_ATTR_PORT", 2)];
    assert_eq!(mistakes(&known), [""; 0]);
    assert_eq!(mistakes(&[known[0], known[1], ("IPVS_DEST_ATTR_ZONE", 3)]), [""; 0]);
    assert_eq!(
        mistakes(&[known[0], known[1], ("IPVS_DEST_ATTR_ZONE", 2)]),
        ["IPVS_DEST_ATTR_ZONE = 2 is not in /usr/include/linux/ip_vs.h, which numbers IPVS_DEST_ATTR_… up to 2: \
             correct the name of the row, or, if it is newer than the header, its number"]
    );
    assert_eq!(
        mistakes(&[known[0], ("IPVS_DEST_ATTR_PORT", 3)]),
        ["IPVS_DEST_ATTR_PORT is 2 in /usr/include/linux/ip_vs.h, not 3: correct the row"]
    );
    assert_eq!(
        mistakes(&known[..1]),
        ["IPVS_DEST_ATTR_PORT is not in src/uapi.rs: add the row `2 IPVS_DEST_ATTR_PORT => …`"]
    );
}
