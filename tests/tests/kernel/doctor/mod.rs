//! `ipvsadm-rs doctor`: each break makes its finding appear, and the printed command removes it.

mod daemons;
mod healthy;
mod options;
mod services;
mod settings;
mod sizes;

use std::collections::BTreeSet;

use ipvs_tests::command::Ran;
use ipvs_tests::harness::Test;
use ipvs_tests::lab::topology::Host;
use serde_json::Value;

/// Returns the tests of all modules.
pub(crate) fn tests() -> Vec<Test> {
    [healthy::tests(), settings::tests(), services::tests(), daemons::tests(), options::tests(), sizes::tests()]
        .concat()
}

/// The findings of a director, by the name of their check.
struct Findings {
    ran: Ran,
    report: Value,
}

impl Findings {
    /// Runs `doctor` on a host.
    #[track_caller]
    fn of(host: &Host) -> Self {
        let ran = host.run("ipvsadm-rs doctor --json");
        assert_eq!(ran.stderr, "", "{ran}");
        let report = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran}"));
        Self { ran, report }
    }

    fn list(&self) -> &[Value] {
        self.report["findings"].as_array().unwrap()
    }

    /// Returns the names of the checks with a finding.
    fn ids(&self) -> BTreeSet<String> {
        self.list().iter().map(|finding| finding["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Returns the names of those that are warnings or errors.
    fn bad(&self) -> BTreeSet<String> {
        let is_bad = |finding: &&Value| finding["severity"] != "note";
        self.list().iter().filter(is_bad).map(|finding| finding["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Returns the commands of a finding.
    fn commands(&self, id: &str) -> Vec<String> {
        let finding = self.list().iter().find(|finding| finding["id"] == id);
        let finding = finding.unwrap_or_else(|| panic!("no finding {id}: {}", self.ran));
        let commands = finding["commands"].as_array().unwrap().iter();
        commands.map(|command| command["command"].as_str().unwrap().to_owned()).collect()
    }

    /// Returns the names of the checks in a list of the report.
    fn names(&self, list: &str) -> BTreeSet<String> {
        let name = |item: &Value| item["id"].as_str().or(item.as_str()).unwrap().to_owned();
        self.report[list].as_array().unwrap().iter().map(name).collect()
    }
}

/// Breaks a director with a command. Checks that exactly the expected findings appear, and that their commands remove
/// them again.
#[track_caller]
fn breaks_and_mends(host: &Host, breaking: &str, expected: &[&str]) {
    let before = Findings::of(host).ids();
    host.shell(breaking).ok();
    let broken = Findings::of(host);
    let new: BTreeSet<String> = broken.ids().difference(&before).cloned().collect();
    let expected: BTreeSet<String> = expected.iter().map(|id| (*id).to_owned()).collect();
    assert_eq!(new, expected, "after {breaking}: {}", broken.ran);
    for id in &expected {
        let commands = broken.commands(id);
        assert!(!commands.is_empty(), "{id} has no command");
        for command in commands {
            host.shell(&command).ok();
        }
    }
    let mended = Findings::of(host);
    assert_eq!(mended.ids(), before, "after the commands for {breaking}: {}", mended.ran);
}

/// Checks that exactly these findings appear after a command.
#[track_caller]
fn appears(host: &Host, breaking: &str, expected: &[&str]) -> Findings {
    let before = Findings::of(host).ids();
    host.shell(breaking).ok();
    let broken = Findings::of(host);
    let new: BTreeSet<&str> = broken.list().iter().filter_map(|finding| finding["id"].as_str()).collect();
    let new: BTreeSet<&str> = new.into_iter().filter(|id| !before.contains(*id)).collect();
    assert_eq!(new, expected.iter().copied().collect(), "after {breaking}: {}", broken.ran);
    broken
}

/// Returns whether the running kernel is at least this one.
fn kernel_is_from(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (major, minor)
}
