//! Every name of the installed `linux/ip_vs.h` is in the tables, with that number.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use ipvs_sys::uapi;
use ipvs_sys::wire::Attributes;

const HEADER: &str = "/usr/include/linux/ip_vs.h";

/// Names with a prefix like these are ends and beginnings of lists, checked by their lists' lengths.
fn is_list_end(name: &str) -> bool {
    name.starts_with("__IPVS_") || name.ends_with("_ATTR_MAX") || name == "IPVS_CMD_MAX" || name.ends_with("_TYPE_MAX")
}

/// The names that the header defines with a number: `#define NAME …` and members of enumerations.
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

/// What the C compiler, which the linking of this test needed too, makes of them.
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
    assert!(compiler.wait().expect("cc ends").success(), "cc does not compile {HEADER}");
    let output = Command::new(&program).output().expect("the program runs");
    std::fs::remove_file(&program).expect("the temporary file goes");
    let output = String::from_utf8(output.stdout).expect("text");
    let lines = output.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
}

fn tables() -> BTreeMap<&'static str, i64> {
    let mut tables = BTreeMap::new();
    tables.extend(uapi::Command::TABLE.iter().map(|(number, name)| (*name, i64::from(*number))));
    tables.extend(uapi::CONSTANTS.iter().map(|(name, value)| (*name, i64::from(*value))));
    tables.insert("IPVS_GENL_VERSION", i64::from(uapi::FAMILY_VERSION));
    for list in [
        uapi::CommandAttrs::TABLE,
        uapi::ServiceAttrs::TABLE,
        uapi::DestAttrs::TABLE,
        uapi::DaemonAttrs::TABLE,
        uapi::StatsAttrs::TABLE,
        uapi::InfoAttrs::TABLE,
    ] {
        tables.extend(list.iter().map(|(number, name)| (*name, i64::from(*number))));
    }
    tables
}

#[test]
fn every_name_of_the_header_is_in_the_tables() {
    let header = std::fs::read_to_string(HEADER)
        .unwrap_or_else(|error| panic!("{HEADER}: {error}; install the package linux-libc-dev"));
    let names = names(&header);
    assert!(names.len() > 130, "the header has been read: {} names", names.len());
    let values = values(&names);
    let tables = tables();
    let mut wrong = Vec::new();
    for name in names {
        let expected = values[name];
        let prefix = name.rsplit_once("_MAX").or(name.rsplit_once("_UNSPEC")).map_or(name, |(prefix, _)| prefix);
        let found = if name.ends_with("_UNSPEC") {
            Some(0)
        } else if is_list_end(name) {
            // `__IPVS_SVC_ATTR_MAX` is one more than the last attribute, `IPVS_SVC_ATTR_MAX` is the last.
            let list = prefix.trim_start_matches('_');
            let last = tables
                .iter()
                .filter(|(name, _)| name.starts_with(list) && !(list == "IPVS_CMD" && name.contains("_ATTR_")));
            last.map(|(_, value)| *value).max().map(|last| {
                let one_more = name.starts_with("__") || name.ends_with("_TYPE_MAX");
                last + i64::from(one_more)
            })
        } else {
            tables.get(name).copied()
        };
        if found != Some(expected) {
            wrong.push(format!("{name} is {expected} in {HEADER} and {found:?} in src/uapi.rs"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_lists_are_as_long_as_the_family_has_attributes() {
    let attributes = [
        uapi::CommandAttrs::TABLE.len(),
        uapi::ServiceAttrs::TABLE.len(),
        uapi::DestAttrs::TABLE.len(),
        uapi::DaemonAttrs::TABLE.len(),
        uapi::StatsAttrs::TABLE.len(),
        uapi::InfoAttrs::TABLE.len(),
    ];
    assert_eq!(attributes.iter().sum::<usize>(), 54, "as many as are known: a new one is counted here");
    assert_eq!(uapi::Command::TABLE.len(), 17);
}
