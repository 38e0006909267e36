//! The steps of a report, its verdict, and their output.

use std::fmt::Write as _;

use ipvs::document::SCHEMA;
use ipvs::{DestinationKey, Namespace, ServiceKey};
use serde::Serialize;

use crate::terminal::color::Palette;
use crate::terminal::commands::Command;
use crate::terminal::text;
use crate::terminal::width::folded_after;

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Good,
    Broken,
    /// It was not checked, or the result is not certain.
    Unknown,
}

/// A result, without the servers that it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    pub(super) id: &'static str,
    pub(super) status: Status,
    /// A sentence. If it is about servers, their names and a colon precede it.
    pub(super) text: String,
    /// More about the reason. Empty: the text has it.
    pub(super) why: String,
    pub(super) cures: Vec<Command>,
}

impl Finding {
    pub(super) fn good(id: &'static str, text: impl Into<String>) -> Self {
        Self { id, status: Status::Good, text: text.into(), why: String::new(), cures: Vec::new() }
    }

    pub(super) fn unknown(id: &'static str, text: impl Into<String>) -> Self {
        Self { status: Status::Unknown, ..Self::good(id, text) }
    }

    pub(super) fn broken(id: &'static str, text: impl Into<String>, why: impl Into<String>) -> Self {
        Self { status: Status::Broken, why: why.into(), ..Self::good(id, text) }
    }

    pub(super) fn cure(mut self, cure: Command) -> Self {
        self.cures.push(cure);
        self
    }
}

/// One step of a packet's way.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Step {
    id: &'static str,
    status: Status,
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    why: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    servers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    commands: Vec<Command>,
}

/// All steps, in the order in which a packet meets them.
#[derive(Debug, Default)]
pub(super) struct Steps<'n> {
    steps: Vec<Step>,
    /// The namespace in which commands for the director act. `None`: that of the person who runs them.
    namespace: Option<&'n Namespace>,
}

impl<'n> Steps<'n> {
    pub(super) fn new(namespace: Option<&'n Namespace>) -> Self {
        Self { steps: Vec::new(), namespace }
    }

    pub(super) fn add(&mut self, finding: Finding) {
        self.add_of(finding, &[]);
    }

    /// Adds findings about servers. Servers with the same result are one step.
    pub(super) fn add_all(&mut self, found: Vec<(DestinationKey, Finding)>) {
        let mut groups: Vec<(Finding, Vec<DestinationKey>)> = Vec::new();
        for (server, finding) in found {
            let is_same = |group: &&mut (Finding, Vec<DestinationKey>)| {
                let held = &group.0;
                (held.id, held.status, &held.text) == (finding.id, finding.status, &finding.text)
            };
            match groups.iter_mut().find(is_same) {
                Some((_, servers)) => servers.push(server),
                None => groups.push((finding, vec![server])),
            }
        }
        for (finding, servers) in groups {
            self.add_of(finding, &servers);
        }
    }

    fn add_of(&mut self, finding: Finding, servers: &[DestinationKey]) {
        let Finding { id, status, text, why, cures } = finding;
        let commands = cures.into_iter().filter_map(|command| command.printable(self.namespace)).collect();
        let text = if servers.is_empty() { text } else { format!("{}: {text}", names(servers)) };
        let servers = servers.iter().map(ToString::to_string).collect();
        self.steps.push(Step { id, status, text, why, servers, commands });
    }

    fn first_broken(&self) -> Option<&Step> {
        self.steps.iter().find(|step| step.status == Status::Broken)
    }

    /// Returns whether a step is broken.
    pub(super) fn is_broken(&self) -> bool {
        self.first_broken().is_some()
    }
}

/// Returns the names of some servers: all if there are at most two, or the first and the number of others.
fn names(servers: &[DestinationKey]) -> String {
    match servers {
        [] => String::new(),
        [one] => one.to_string(),
        [one, other] => format!("{one} and {other}"),
        [one, others @ ..] => format!("{one} and {} others", others.len()),
    }
}

#[derive(Serialize)]
pub(super) struct Document<'r> {
    schema: u32,
    service: String,
    steps: &'r [Step],
    /// The first broken step.
    verdict: Option<&'r Step>,
}

/// A report about one service.
pub(super) struct Report<'n> {
    pub(super) key: ServiceKey,
    /// The first line.
    pub(super) title: String,
    pub(super) steps: Steps<'n>,
}

/// The width of the text, in columns.
const WIDTH: usize = 80;

impl Report<'_> {
    pub(super) fn document(&self) -> Document<'_> {
        let Self { key, steps, .. } = self;
        let service = ipvs::Selector::from(*key).to_string();
        Document { schema: SCHEMA, service, steps: &steps.steps, verdict: steps.first_broken() }
    }

    /// Returns the text: a line for each step, and the verdict.
    pub(super) fn text(&self, colors: &Palette, has_unicode: bool) -> String {
        let mut out = String::new();
        push_folded(&mut out, "", &self.title);
        out.push('\n');
        for step in &self.steps.steps {
            let (style, signs) = match step.status {
                Status::Good => (colors.add, ["\u{2713}", "+"]),
                Status::Broken => (colors.bad, ["\u{2717}", "x"]),
                Status::Unknown => (colors.change, ["?", "?"]),
            };
            let sign = signs[usize::from(!has_unicode)];
            push_folded(&mut out, &format!("{style}{sign}{style:#}"), &step.text);
        }
        out.push('\n');
        let Some(step) = self.steps.first_broken() else {
            out.push_str("Nothing broken was found.\n");
            return out;
        };
        push_folded(&mut out, "", &format!("Broken: {}", step.text));
        push_folded(&mut out, "", &step.why);
        for command in &step.commands {
            // Writing to a string does not fail. Commands are not folded, so that they can be copied.
            let _ = writeln!(out, "  {}# {}", command.on().name(), text::escaped(command.text()));
        }
        out
    }
}

/// Adds lines of at most [`WIDTH`] columns. The sign precedes the first line, and the others are indented.
fn push_folded(out: &mut String, sign: &str, text: &str) {
    let (first, rest) = if sign.is_empty() { (String::new(), "") } else { (format!("{sign} "), "  ") };
    out.push_str(&folded_after(&first, rest, &text::escaped(text), Some(WIDTH)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(last: u8) -> DestinationKey {
        DestinationKey::new(std::net::IpAddr::from([10, 2, 0, last]), 80)
    }

    fn report(steps: Steps<'_>) -> Report<'_> {
        Report { key: ServiceKey::tcp([10, 1, 0, 100], 80), title: "TCP 10.1.0.100:80".into(), steps }
    }

    #[test]
    fn servers_with_the_same_result_are_one_step() {
        let mut steps = Steps::default();
        steps.add(Finding::good("address", "10.1.0.100 is an address of this director"));
        let found = |last| {
            let text = if last == 7 { "no route" } else { "on the segment of eth1" };
            let finding =
                if last == 7 { Finding::broken("route", text, "because") } else { Finding::good("route", text) };
            (server(last), finding.cure(Command::director("ip route")).cure(Command::director("ip link set $(x) up")))
        };
        steps.add_all((1..=50).map(found).collect());
        assert!(steps.is_broken());
        let text = report(steps).text(&Palette::default(), false);
        assert_eq!(
            text,
            "TCP 10.1.0.100:80\n\n\
             + 10.1.0.100 is an address of this director\n\
             + 10.2.0.1:80 and 48 others: on the segment of eth1\n\
             x 10.2.0.7:80: no route\n\n\
             Broken: 10.2.0.7:80: no route\nbecause\n  director# ip route\n"
        );
    }

    #[test]
    fn lines_fit_on_a_terminal() {
        let mut steps = Steps::default();
        steps.add(Finding::unknown("long", "word ".repeat(40)));
        steps.add(Finding::broken("long", "word ".repeat(40), "reason ".repeat(30)));
        let report = report(steps);
        let text = report.text(&Palette::default(), true);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        let json = serde_json::to_value(report.document()).expect("JSON");
        assert_eq!((&json["verdict"]["id"], &json["service"]), (&"long".into(), &"tcp:10.1.0.100:80".into()));
    }
}
