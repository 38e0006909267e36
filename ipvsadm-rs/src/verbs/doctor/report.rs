//! The report: what the checks found, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ipvs::Namespace;
use ipvs::document::SCHEMA;
use serde::Serialize;

use super::check::{Check, DOCUMENT, Examined, Finding, Group, NotChecked, Outcome, Severity};
use crate::terminal::color::Palette;
use crate::terminal::commands::Command;
use crate::terminal::plural::count;
use crate::terminal::text;
use crate::terminal::width::folded_after;

/// A finding and its check.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    id: &'static str,
    group: Group,
    pub(super) severity: Severity,
    /// The condition under which the check applies.
    applies_if: &'static str,
    /// The condition for the finding.
    found_if: &'static str,
    /// The default of the setting. Empty: it is not about a setting.
    default: &'static str,
    seen: Vec<String>,
    meaning: &'static str,
    cure: &'static str,
    commands: Vec<Command>,
    /// The kernels with the behaviour, such as `since 5.9`.
    kernels: String,
    /// The source in the kernel. Empty: the meaning is not about the kernel.
    source: &'static str,
    link: String,
}

/// A check whose facts could not be read.
#[derive(Debug, Serialize)]
pub(super) struct Unread {
    id: &'static str,
    reason: String,
}

/// The result of all checks.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema: u32,
    /// The worst severity, or `ok`.
    status: &'static str,
    /// The worst come first.
    pub(super) findings: Vec<Found>,
    pub(super) not_checked: Vec<Unread>,
    passed: Vec<&'static str>,
    not_applicable: Vec<&'static str>,
    disabled: Vec<&'static str>,
}

impl Report {
    /// Makes a report from the checks and their results. `None`: the check was disabled. The commands act in the
    /// namespace.
    pub(super) fn new(results: Vec<(&'static Check, Option<Examined>)>, namespace: Option<&Namespace>) -> Self {
        let mut report = Self {
            schema: SCHEMA,
            status: "ok",
            findings: Vec::new(),
            not_checked: Vec::new(),
            passed: Vec::new(),
            not_applicable: Vec::new(),
            disabled: Vec::new(),
        };
        for (check, result) in results {
            match result {
                None => report.disabled.push(check.id),
                Some(Err(NotChecked(reason))) => report.not_checked.push(Unread { id: check.id, reason }),
                Some(Ok(Outcome::DoesNotApply)) => report.not_applicable.push(check.id),
                Some(Ok(Outcome::Passed)) => report.passed.push(check.id),
                Some(Ok(Outcome::Found(finding))) => report.findings.push(Found::new(check, finding, namespace)),
            }
        }
        report.sort();
        report.status = report.worst().map_or("ok", Severity::name);
        report
    }

    /// Sorts the groups by their worst finding, and the findings of each group by severity.
    fn sort(&mut self) {
        let mut worst: BTreeMap<Group, Severity> = BTreeMap::new();
        for found in &self.findings {
            let of_group = worst.entry(found.group).or_insert(found.severity);
            *of_group = (*of_group).max(found.severity);
        }
        use std::cmp::Reverse;
        self.findings.sort_by_key(|found| (Reverse(worst[&found.group]), found.group, Reverse(found.severity)));
    }

    /// Returns the worst severity. `None`: nothing was found.
    pub(super) fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|found| found.severity).max()
    }

    /// Returns the report in lines of this width. `lists_all` adds the checks without a finding.
    pub(super) fn text(&self, width: usize, lists_all: bool, colors: &Palette) -> String {
        let mut text = String::new();
        let mut group = None;
        for found in &self.findings {
            if group.replace(found.group) != Some(found.group) {
                let title = colors.title;
                push(&mut text, format_args!("{title}{}{title:#}\n", found.group.title()));
            }
            found.push_text(&mut text, width, colors);
        }
        self.push_not_checked(&mut text, width);
        if lists_all {
            for (title, ids) in
                [("passed", &self.passed), ("do not apply", &self.not_applicable), ("disabled", &self.disabled)]
            {
                if !ids.is_empty() {
                    push_folded(&mut text, &format!("{title}: {}", ids.join(", ")), "", "  ", width);
                }
            }
        }
        if !self.findings.is_empty() {
            push(&mut text, format_args!("{DOCUMENT} has a section for each check.\n"));
        }
        text + &self.summary() + "\n"
    }

    /// Adds the checks that were not examined, by reason.
    fn push_not_checked(&self, text: &mut String, width: usize) {
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for Unread { id, reason } in &self.not_checked {
            match reasons.iter_mut().find(|(known, _)| known == reason) {
                Some((_, ids)) => ids.push(id),
                None => reasons.push((reason, vec![id])),
            }
        }
        for (reason, ids) in reasons {
            push_folded(text, &format!("not checked: {}", text::escaped(reason)), "", "  ", width);
            push_folded(text, &ids.join(", "), "  ", "  ", width);
        }
    }

    fn summary(&self) -> String {
        let of = |severity| self.findings.iter().filter(|found| found.severity == severity).count() as u64;
        let mut parts: Vec<String> = [Severity::Error, Severity::Warning, Severity::Note]
            .into_iter()
            .map(|severity| (of(severity), severity.name()))
            .filter(|(number, _)| *number > 0)
            .map(|(number, name)| count(number, name))
            .collect();
        if parts.is_empty() {
            parts.push("nothing found".into());
        }
        let verb = |number: usize| if number == 1 { "does" } else { "do" };
        let (passed, others, unread) = (self.passed.len(), self.not_applicable.len(), self.not_checked.len());
        let mut rest = vec![format!("{} passed", count(passed as u64, "check"))];
        rest.extend((others > 0).then(|| format!("{others} {} not apply", verb(others))));
        rest.extend((unread > 0).then(|| format!("{unread} not checked")));
        rest.extend((!self.disabled.is_empty()).then(|| format!("{} disabled", self.disabled.len())));
        format!("{}; {}", parts.join(", "), rest.join(", "))
    }
}

impl Found {
    fn new(check: &Check, finding: Finding, namespace: Option<&Namespace>) -> Self {
        let Finding { severity, mut seen, commands } = finding;
        let number = commands.len();
        let commands: Vec<Command> = commands.into_iter().filter_map(|command| command.printable(namespace)).collect();
        if commands.len() < number {
            seen.push("The command is not printed, because a name in it has hidden characters.".into());
        }
        Self {
            id: check.id,
            group: check.group,
            severity: severity.unwrap_or(check.severity),
            applies_if: check.applies,
            found_if: check.found_if,
            default: check.default,
            seen,
            meaning: check.meaning,
            cure: check.cure,
            commands,
            kernels: check.kernels(),
            source: check.source,
            link: check.link(),
        }
    }

    fn push_text(&self, text: &mut String, width: usize, colors: &Palette) {
        /// The most sentences and commands of a finding. JSON has all of them.
        const SHOWN: usize = 5;
        const INDENT: &str = "    ";
        let style = match self.severity {
            Severity::Error => colors.bad,
            Severity::Warning => colors.change,
            Severity::Note => colors.remark,
        };
        push(text, format_args!("  {style}{}{style:#} {}\n", self.severity.name(), self.id));
        for seen in self.seen.iter().take(SHOWN) {
            push_folded(text, &text::escaped(seen), INDENT, INDENT, width);
        }
        push_more(text, self.seen.len(), SHOWN);
        push_folded(text, self.meaning, INDENT, INDENT, width);
        push_folded(text, self.cure, INDENT, INDENT, width);
        // Not folded, to be copied.
        for command in self.commands.iter().take(SHOWN) {
            push(text, format_args!("{INDENT}# {}\n", command.text()));
        }
        push_more(text, self.commands.len(), SHOWN);
    }
}

fn push_more(text: &mut String, length: usize, shown: usize) {
    if length > shown {
        push(text, format_args!("    and {} more\n", length - shown));
    }
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(arguments);
}

/// Adds a paragraph. `first` and `rest` precede its first and its other lines.
fn push_folded(text: &mut String, paragraph: &str, first: &str, rest: &str, width: usize) {
    text.push_str(&folded_after(first, rest, paragraph, Some(width)));
}
