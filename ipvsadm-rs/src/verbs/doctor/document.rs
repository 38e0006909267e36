//! docs/doctor.md, which is generated from the checks: `IPVS_ACCEPT=1 cargo test -p ipvsadm-rs doctor` writes it again.

use std::path::PathBuf;

use super::check::{Check, DOCUMENT};
use super::checks;
use crate::terminal::width::folded;

const HEAD: &str = "\
# The checks of doctor

`ipvsadm-rs doctor` checks the settings of a director. This document has a section for each check, with its name as the
heading. It is generated from the table in `ipvsadm-rs/src/verbs/doctor/checks`.

- An error breaks connections. A warning breaks some, or will do so in a foreseeable case. A note is worth knowing.
- The exit code is 2 if an error or a warning was found. With `--fail-on error`, it is 2 only for an error. Notes do not
  count. `--disable ID` skips a check.
- Each section has the condition for the check, the condition for a finding, and the default of the setting in the
  kernel. Distributions may set other values. Words in capitals in a command stand for values that `doctor` prints.
- A command with `sysctl -w` lasts until the next boot. To keep the setting, write it to a file in /etc/sysctl.d.
- The settings `net.ipv4.vs.*` exist only while the module ip_vs is loaded. To set them at boot, list the module in a
  file in /etc/modules-load.d. Each network namespace has settings of its own.
";

/// Returns the document.
fn document() -> String {
    let mut text = HEAD.to_owned();
    let mut group = None;
    for check in checks::all() {
        if group.replace(check.group) != Some(check.group) {
            text += &format!("\n## {}\n", check.group.title());
        }
        text += &section(check);
    }
    text
}

fn section(check: &Check) -> String {
    let item = |title: &str, value: &str| {
        let lines = folded(&format!("{title}: {value}"), Some(118));
        format!("- {}\n", lines.join("\n  "))
    };
    let mut text = format!("\n### {}\n\n{}\n\n", check.id, folded(check.meaning, Some(120)).join("\n"));
    text += &item("severity", check.severity.name());
    text += &item("checked if", check.applies);
    text += &item("found if", check.found_if);
    if !check.default.is_empty() {
        text += &item("default", check.default);
    }
    text += &item("cure", check.cure);
    for command in check.commands {
        text += &format!("- command: `{command}`\n");
    }
    text += &item("kernels", &check.kernels());
    if !check.source.is_empty() {
        text += &format!("- source: <{}>\n", check.source);
    }
    text
}

#[test]
fn the_document_is_that_of_the_checks() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/doctor.md");
    let text = document();
    if std::env::var_os("IPVS_ACCEPT").is_some() {
        std::fs::write(&path, &text).expect("written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "{} is not that of the checks\nTo accept it, set IPVS_ACCEPT=1.", path.display());
}

#[test]
fn the_package_installs_the_document() {
    let assets = include_str!("../../../Cargo.toml");
    let directory = DOCUMENT.strip_suffix("doctor.md").and_then(|path| path.strip_prefix('/')).expect("a path");
    assert!(assets.contains(&format!("[\"../docs/*.md\", \"{directory}\"")), "{directory}");
}
