//! A check: one row of the table, and the result of examining it.

use std::collections::BTreeSet;

use serde::Serialize;

use super::facts::Facts;
use crate::terminal::commands::Command;

/// The importance of a finding. The worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Worth knowing. The director works.
    Note,
    /// Some connections fail, or will fail in a foreseeable case.
    Warning,
    /// Connections fail.
    Error,
}

impl Severity {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// The subject of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Group {
    Kernel,
    Forwarding,
    Services,
    Connections,
    Defence,
    Tracking,
    Synchronization,
    Statistics,
}

impl Group {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Kernel => "Kernel",
            Self::Forwarding => "Forwarding",
            Self::Services => "Services and servers",
            Self::Connections => "Connections",
            Self::Defence => "Defence against floods",
            Self::Tracking => "Connection tracking of the firewall",
            Self::Synchronization => "Synchronization",
            Self::Statistics => "Statistics",
        }
    }
}

/// The first two numbers of a kernel's release.
pub(super) type Release = (u32, u32);

/// A row of the table.
#[derive(Debug)]
pub(super) struct Check {
    /// The stable name, which is also the heading in docs/doctor.md.
    pub(super) id: &'static str,
    pub(super) group: Group,
    /// The usual severity. A finding can have another one.
    pub(super) severity: Severity,
    /// The condition for examining it, after "checked if".
    pub(super) applies: &'static str,
    /// The condition for a finding, after "found if".
    pub(super) found_if: &'static str,
    /// The default of the setting, with its unit. Empty: it is not about a setting, or the default depends on others.
    pub(super) default: &'static str,
    /// The reason why it matters.
    pub(super) meaning: &'static str,
    /// The cure in words.
    pub(super) cure: &'static str,
    /// The forms of commands that mend it. Words in capitals stand for values.
    #[cfg_attr(not(test), expect(dead_code, reason = "only docs/doctor.md is made from it"))]
    pub(super) commands: &'static [&'static str],
    /// The first kernel with the behaviour. `None`: all before.
    pub(super) since: Option<Release>,
    /// The first kernel without the behaviour. `None`: none yet.
    pub(super) until: Option<Release>,
    /// A link to the source, with a tag. Empty: the meaning is not about the kernel.
    pub(super) source: &'static str,
    pub(super) examine: fn(&Facts) -> Examined,
}

/// The reason why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotChecked(pub(super) String);

pub(super) type Examined = Result<Outcome, NotChecked>;

/// The result of a check that was examined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    DoesNotApply,
    Passed,
    Found(Finding),
}

/// Something that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Finding {
    /// `None`: the severity of the check.
    pub(super) severity: Option<Severity>,
    /// Sentences with values as they were read.
    pub(super) seen: Vec<String>,
    /// Commands that mend it. Empty: it takes more than a command.
    pub(super) commands: Vec<Command>,
}

impl Finding {
    pub(super) fn new(seen: impl Into<String>) -> Self {
        Self { seen: vec![seen.into()], ..Self::default() }
    }

    pub(super) fn command(mut self, command: Command) -> Self {
        self.commands.push(command);
        self
    }

    pub(super) fn severity(self, severity: Severity) -> Self {
        Self { severity: Some(severity), ..self }
    }
}

impl From<Finding> for Outcome {
    fn from(finding: Finding) -> Self {
        Self::Found(finding)
    }
}

impl Outcome {
    /// Returns a finding if there is a sentence about something, otherwise that the check passed.
    pub(super) fn of(seen: Vec<String>, commands: Vec<Command>) -> Self {
        if seen.is_empty() {
            return Self::Passed;
        }
        let mut known = BTreeSet::new();
        let commands = commands.into_iter().filter(|command| known.insert(command.clone())).collect();
        Self::Found(Finding { severity: None, seen, commands })
    }
}

impl Check {
    /// Examines a director.
    pub(super) fn examine(&self, facts: &Facts) -> Examined {
        // Without the module there is nothing to examine but its absence.
        if !facts.is_loaded && self.id != MODULE {
            return Ok(Outcome::DoesNotApply);
        }
        let is_before = |release: Release| facts.release.is_some_and(|running| running < release);
        let is_from = |release: Release| facts.release.is_none_or(|running| running >= release);
        if self.since.is_some_and(is_before) || self.until.is_some_and(is_from) {
            return Ok(Outcome::DoesNotApply);
        }
        (self.examine)(facts)
    }

    /// Returns the kernels with the behaviour, in words.
    pub(super) fn kernels(&self) -> String {
        let text = |(major, minor): Release| format!("{major}.{minor}");
        match (self.since.map(text), self.until.map(text)) {
            (None, None) => "all".into(),
            (Some(since), None) => format!("since {since}"),
            (None, Some(until)) => format!("before {until}"),
            (Some(since), Some(until)) => format!("since {since}, before {until}"),
        }
    }

    /// Returns the section of the documentation about it.
    pub(super) fn link(&self) -> String {
        format!("{DOCUMENT}#{}", self.id)
    }
}

/// The documentation of the checks, where the package installs it.
pub(super) const DOCUMENT: &str = "/usr/share/doc/ipvsadm-rs/docs/doctor.md";

/// The check for the module, the only one that applies without it.
pub(super) const MODULE: &str = "module-loaded";
