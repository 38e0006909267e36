//! The report on a plan, as text and as JSON.

use std::collections::HashSet;
use std::io::{self, IsTerminal, Write};
use std::net::IpAddr;

use ipvs::document::{FamilyName, ProtocolName, SCHEMA, VirtualService};
use ipvs::hash::TableSizes;
use ipvs::{Change, DestinationKey, Plan, Scheduler, Service, ServiceKey, State};
use serde::Serialize;

use crate::context::{Context, code};
use crate::plan::clients::{ClientEffects, Limits};
use crate::plan::impact::{Dropped, TableIndex};
use crate::plan::summary::ByService;
use crate::terminal::color::Palette;
use crate::terminal::plural::count;

/// A plan with its costs.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    changes: Vec<Row>,
    /// Services whose servers are not in the requested order. Only `--reorder` changes the order.
    order_differs: Vec<String>,
    /// Those of `order_differs` that `--reorder` does not change either.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    order_fixed: Vec<String>,
    #[serde(flatten)]
    clients: ClientEffects,
    /// Services of the wanted table that were not compared, because of `--only` or `--protect`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    out_of_scope: Vec<String>,
    /// Services of the table that are not in the file, and stay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_in_file: Vec<String>,
    summary: Summary,
    #[serde(skip)]
    by_service: ByService,
    /// Omits the list of changes from the text.
    #[serde(skip)]
    is_quiet: bool,
}

/// The number of changes from which a report also has a summary by service.
const LONG: usize = 20;

/// The maximum number of changes that are listed after they were made. `plan` and the journal list all of them.
const MAX_LISTED: usize = 50;

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    status: Stage,
    #[serde(flatten)]
    report: &'a Report,
}

/// A change with its cost.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    action: Action,
    /// The change as a line of ipvsadm.
    rule: String,
    /// The service that is changed, or that has the changed server. Absent for timeouts and sync daemons.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<ServiceName>,
    /// The server that is changed. Absent for changes of other things.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ServerName>,
    /// The options that an edit replaces, with their old values.
    #[serde(skip_serializing_if = "String::is_empty")]
    previous_options: String,
    /// The options that an edit adds, if it replaces none.
    #[serde(skip)]
    added_options: String,
    /// The number of servers of a service that is deleted.
    #[serde(skip)]
    servers: usize,
    /// The connections that a deletion drops.
    #[serde(skip_serializing_if = "Dropped::is_nothing")]
    dropped_connections: Dropped,
    /// A side effect of the change, as text for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

/// A service, with the keys of the table's document.
#[derive(Debug, Serialize)]
pub(crate) struct ServiceName {
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<ProtocolName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fwmark: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<FamilyName>,
}

impl From<ServiceKey> for ServiceName {
    fn from(key: ServiceKey) -> Self {
        let service = VirtualService::from(&Service::new(key, Scheduler::default()));
        let VirtualService { protocol, address, port, fwmark, family, .. } = service;
        Self { protocol, address, port, fwmark, family }
    }
}

/// A server, with the keys of the table's document.
#[derive(Debug, Serialize)]
pub(crate) struct ServerName {
    address: IpAddr,
    port: u16,
}

impl From<DestinationKey> for ServerName {
    fn from(key: DestinationKey) -> Self {
        Self { address: key.address, port: key.port }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Add,
    Edit,
    Delete,
}

#[derive(Debug, Default, Serialize)]
struct Summary {
    add: usize,
    edit: usize,
    delete: usize,
    dropped_connections: Dropped,
}

impl Report {
    /// Creates the report on a plan that was made from this state.
    ///
    /// Estimates the effects on clients, which can take two seconds. To apply a plan, do that first, and report after it.
    pub(crate) fn new(plan: &Plan, from: &State, sizes: TableSizes, context: &Context) -> Self {
        let held = TableIndex::new(from);
        let changes: Vec<Row> = plan.changes.iter().map(|change| Row::new(change, from, &held)).collect();
        let number = |action| changes.iter().filter(|row| row.action == action).count();
        let summary = Summary {
            add: number(Action::Add),
            edit: number(Action::Edit),
            delete: number(Action::Delete),
            dropped_connections: changes.iter().map(|row| row.dropped_connections).sum(),
        };
        let clients = ClientEffects::new(plan, &held, sizes, Limits::default(), context);
        let names = |services: &[ServiceKey]| services.iter().map(ToString::to_string).collect();
        Self {
            order_differs: names(&plan.order_kept),
            order_fixed: names(&plan.order_fixed),
            clients,
            out_of_scope: names(&plan.out_of_scope),
            not_in_file: Vec::new(),
            by_service: ByService::new(plan, &held),
            is_quiet: false,
            changes,
            summary,
        }
    }

    /// Sets whether the text omits the list of changes.
    pub(crate) fn quiet(self, is_quiet: bool) -> Self {
        Self { is_quiet, ..self }
    }

    /// Also reports services of the table that are not in the file, and stay.
    pub(crate) fn not_in_file(self, services: &[ServiceKey]) -> Self {
        Self { not_in_file: services.iter().map(ToString::to_string).collect(), ..self }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Prints the plan and returns the exit code of `plan`.
    ///
    /// If standard output is not a terminal, only the ipvsadm lines are written to it. The remarks and the summary are
    /// written to standard error.
    pub(crate) fn print_plan(&self, context: &Context) -> anyhow::Result<u8> {
        if context.json {
            context.write_json(&self.document(Stage::Planned))?;
        } else if io::stdout().is_terminal() {
            context.write(|out| self.write_text(out, &context.palette(), Stage::Planned))?;
        } else {
            context.write(|out| self.write_rules(out))?;
            self.print_remarks(context)?;
        }
        Ok(self.plan_code())
    }

    /// Prints all but the changes to standard error.
    pub(crate) fn print_remarks(&self, context: &Context) -> anyhow::Result<()> {
        let mut remarks = Vec::new();
        self.write_remarks(&mut remarks, &Palette::of(context.color, &io::stderr()), Stage::Planned)?;
        Ok(io::stderr().write_all(&remarks)?)
    }

    /// Returns the exit code of `plan`.
    pub(crate) fn plan_code(&self) -> u8 {
        if self.is_empty() { code::DONE } else { code::CHANGES }
    }

    /// Prints the changes that were made.
    pub(crate) fn print_result(&self, context: &Context) -> anyhow::Result<()> {
        if context.json {
            return context.write_json(&self.document(Stage::Applied));
        }
        context.write(|out| self.write_text(out, &context.palette(), Stage::Applied))
    }

    /// Writes only the lines, for `ipvsadm -R`.
    pub(crate) fn write_rules(&self, out: &mut dyn Write) -> io::Result<()> {
        self.changes.iter().try_for_each(|row| writeln!(out, "{}", row.rule))
    }

    /// Returns the JSON document.
    pub(crate) fn document(&self, stage: Stage) -> impl Serialize {
        Document { schema: SCHEMA, status: stage, report: self }
    }

    /// Writes the changes, the remarks on services, and the summary.
    pub(crate) fn write_text(&self, out: &mut dyn Write, colors: &Palette, stage: Stage) -> io::Result<()> {
        if self.is_quiet || (stage == Stage::Applied && self.changes.len() > MAX_LISTED) {
            return self.write_remarks(out, colors, stage);
        }
        self.changes.iter().try_for_each(|row| row.write_text(out, colors))?;
        self.write_notes(out, colors)?;
        if self.changes.len() > LONG {
            self.by_service.write(out, colors)?;
        }
        writeln!(out, "{}", self.summary_line(stage))
    }

    /// Writes all but the changes, and the summary by service instead of them.
    fn write_remarks(&self, out: &mut dyn Write, colors: &Palette, stage: Stage) -> io::Result<()> {
        self.write_notes(out, colors)?;
        self.by_service.write(out, colors)?;
        writeln!(out, "{}", self.summary_line(stage))
    }

    /// Writes the remarks on clients, on the order of servers, and on services that were not compared.
    fn write_notes(&self, out: &mut dyn Write, colors: &Palette) -> io::Result<()> {
        self.clients.write_text(out, colors)?;
        self.write_order(out, colors)?;
        let out_of_scope = ("wanted services", "not compared, because of --only or --protect");
        write_services(out, colors, &self.out_of_scope, out_of_scope)?;
        write_services(out, colors, &self.not_in_file, ("services of the table", "not in FILE, and kept"))
    }

    /// Writes a remark for each service whose servers are not in the requested order.
    fn write_order(&self, out: &mut dyn Write, colors: &Palette) -> io::Result<()> {
        let style = colors.remark;
        for service in &self.order_differs {
            let remark = if self.order_fixed.contains(service) {
                "new connections would be refused while the only server with a weight above 0 is moved"
            } else {
                "--reorder restores it, but drops connections"
            };
            writeln!(out, "{style}# {service}: servers are not in the requested order; {remark}{style:#}")?;
        }
        Ok(())
    }

    /// Returns the last line: `3 changes: 1 to add, 2 to edit, 0 to delete; no connections dropped`.
    fn summary_line(&self, stage: Stage) -> String {
        let Summary { add, edit, delete, dropped_connections: dropped } = &self.summary;
        if self.is_empty() {
            return "nothing to change".into();
        }
        let changes = count(self.changes.len(), "change");
        match (stage, dropped.is_nothing()) {
            (Stage::Planned, true) => {
                format!("{changes}: {add} to add, {edit} to edit, {delete} to delete; no connections dropped")
            }
            (Stage::Planned, false) => {
                format!("{changes}: {add} to add, {edit} to edit, {delete} to delete; drops {dropped}")
            }
            (Stage::Applied, true) => {
                format!("{changes} made: {add} added, {edit} edited, {delete} deleted; no connections dropped")
            }
            (Stage::Applied, false) => {
                format!("{changes} made: {add} added, {edit} edited, {delete} deleted; dropped {dropped}")
            }
        }
    }
}

/// Writes a remark on services, with their noun and the remark. Names them only if there are few.
fn write_services(
    out: &mut dyn Write,
    colors: &Palette,
    services: &[String],
    (noun, remark): (&str, &str),
) -> io::Result<()> {
    const FEW: usize = 3;
    let style = colors.remark;
    if services.len() > FEW {
        return writeln!(out, "{style}# {} {noun}: {remark}{style:#}", services.len());
    }
    services.iter().try_for_each(|service| writeln!(out, "{style}# {service}: {remark}{style:#}"))
}

/// The stage of a plan: shown only, or applied.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    Planned,
    Applied,
}

impl Row {
    pub(crate) fn new(change: &Change, from: &State, held: &TableIndex<'_>) -> Self {
        let before = before(change, from, held);
        let rule = change.to_string();
        let note = held.interruption_by(change);
        let action = match change {
            Change::AddService(_) | Change::AddDestination(..) | Change::StartDaemon(_) => Action::Add,
            Change::EditService(_) | Change::EditDestination(..) | Change::SetTimeouts(_) | Change::Zero(_) => {
                Action::Edit
            }
            Change::DeleteService(_) | Change::DeleteDestination(..) | Change::StopDaemon(_) | Change::Flush => {
                Action::Delete
            }
        };
        let (mut previous_options, mut added_options) = (String::new(), String::new());
        if let Some(before) = before {
            let before = before.to_string();
            previous_options = differing_options(&before, &rule);
            if previous_options.is_empty() {
                added_options = differing_options(&rule, &before);
            }
        }
        let (service, server) = (change.service().map(ServiceName::from), change.destination().map(ServerName::from));
        let servers = held.servers_of_deleted(change);
        let dropped_connections = held.dropped_by(change);
        Self { action, rule, service, server, previous_options, added_options, servers, dropped_connections, note }
    }

    /// Writes the change as a line with a mark, followed by its previous options and its cost.
    fn write_text(&self, out: &mut dyn Write, colors: &Palette) -> io::Result<()> {
        let (mark, style) = match self.action {
            Action::Add => ('+', colors.add),
            Action::Edit => ('~', colors.change),
            Action::Delete => ('-', colors.remove),
        };
        write!(out, "{style}{mark} {}{style:#}", self.rule)?;
        let servers = (self.servers > 0).then(|| format!("with {}", count(self.servers, "server")));
        let dropped = (!self.dropped_connections.is_nothing()).then(|| format!("drops {}", self.dropped_connections));
        let was = match (self.previous_options.as_str(), self.added_options.as_str()) {
            ("", "") => None,
            ("", added) => Some(format!("was without {added}")),
            (previous, _) => Some(format!("was {previous}")),
        };
        let remarks: Vec<String> =
            was.into_iter().chain(servers).chain(dropped).chain(self.note.map(str::to_owned)).collect();
        if !remarks.is_empty() {
            write!(out, "  {style}# {}{style:#}", remarks.join("; "), style = colors.remark)?;
        }
        writeln!(out)
    }
}

/// Returns the change that would restore the present values. `None` if the change replaces no values.
fn before(change: &Change, from: &State, held: &TableIndex<'_>) -> Option<Change> {
    match change {
        Change::EditService(new) => held.service(&new.key).map(|state| Change::EditService(state.service)),
        Change::EditDestination(key, new) => {
            held.server(key, &new.key).map(|state| Change::EditDestination(*key, state.destination))
        }
        Change::SetTimeouts(_) => Some(Change::SetTimeouts(from.timeouts)),
        _ => None,
    }
}

/// Returns the options of `line` that `other` lacks or has with another value.
pub(crate) fn differing_options(line: &str, other: &str) -> String {
    let other: HashSet<String> = options(other).into_iter().collect();
    let differing: Vec<String> = options(line).into_iter().filter(|option| !other.contains(option)).collect();
    differing.join(" ")
}

/// Splits a line into options, each with its value.
fn options(line: &str) -> Vec<String> {
    let mut options: Vec<String> = Vec::new();
    for word in line.split(' ') {
        match options.last_mut() {
            Some(last) if !word.starts_with('-') => {
                last.push(' ');
                last.push_str(word);
            }
            _ => options.push(word.to_owned()),
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{config, state};

    fn report(from: &str, to: &str) -> Report {
        let state = state(from);
        let plan = ipvs::plan(&config(to), &state, &Default::default());
        Report::new(&plan, &state, TableSizes::default(), &Context::for_tests())
    }

    fn text(report: &Report) -> String {
        let mut out = Vec::new();
        report.write_text(&mut out, &Palette::default(), Stage::Planned).expect("memory takes all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn reads_like_a_diff() {
        let report = report(
            "--set 900 120 300\n-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m -w 3\n-A -f 1 -s rr\n",
            "--set 901 0 0\n-A -t 192.0.2.1:80 -s wrr -p 60\n-a -t 192.0.2.1:80 -r 10.0.0.1 -g -w 5\n-A -f 2 -s rr\n",
        );
        assert_eq!(
            text(&report),
            "~ --set 901 0 0  # was --set 900 120 300\n\
             ~ -E -t 192.0.2.1:80 -s wrr -p 60  # was -s rr; new connections are refused for about 15 ms while the scheduler changes\n\
             ~ -e -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 5  # was -m -w 3\n\
             + -A -f 2 -s rr\n\
             - -D -f 1\n\
             5 changes: 1 to add, 3 to edit, 1 to delete; no connections dropped\n"
        );
    }

    #[test]
    fn json_names_service_and_server() {
        let report = report(
            "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m -w 3\n",
            "--set 901 0 0\n-A -t 192.0.2.1:80 -s rr\n-A -f 2 -6 -s rr\n",
        );
        let document = serde_json::to_value(report.document(Stage::Applied)).expect("writes");
        assert_eq!((&document["schema"], &document["status"]), (&1.into(), &"applied".into()));
        let changes = document["changes"].as_array().expect("changes");
        let of = |action: &str| changes.iter().find(|change| change["action"] == action).expect("one");
        assert_eq!(of("edit").get("service"), None, "timeouts belong to no service");
        assert_eq!(of("add")["service"], serde_json::json!({ "fwmark": 2, "family": "ipv6" }));
        let web = serde_json::json!({ "protocol": "tcp", "address": "192.0.2.1", "port": 80 });
        let server = serde_json::json!({ "address": "10.0.0.1", "port": 80 });
        assert_eq!((&of("delete")["service"], &of("delete")["server"]), (&web, &server));
    }

    #[test]
    fn reports_that_nothing_changes() {
        let rules = "-A -t 192.0.2.1:80 -s rr\n";
        assert_eq!(text(&report(rules, rules)), "nothing to change\n");
    }

    #[test]
    fn reports_added_options() {
        let report = report("-A -t 192.0.2.1:80 -s rr\n", "-A -t 192.0.2.1:80 -s rr -p 60\n");
        assert!(
            text(&report).starts_with("~ -E -t 192.0.2.1:80 -s rr -p 60  # was without -p 60\n"),
            "{}",
            text(&report)
        );
    }

    #[test]
    fn reports_services_outside_the_scope() {
        let mut report = report("", "");
        let reason = "not compared, because of --only or --protect";
        report.out_of_scope = vec!["TCP 192.0.2.1:80".to_owned()];
        assert_eq!(text(&report), format!("# TCP 192.0.2.1:80: {reason}\nnothing to change\n"));
        report.out_of_scope = vec!["TCP 192.0.2.1:80".to_owned(); 4];
        assert_eq!(text(&report), format!("# 4 wanted services: {reason}\nnothing to change\n"));
        assert_eq!(serde_json::to_value(&report).expect("writes")["out_of_scope"][3], "TCP 192.0.2.1:80");
    }

    #[test]
    fn reports_the_order() {
        let server = |last, weight| format!("-a -t 192.0.2.1:80 -r 10.0.0.{last} -m -w {weight}\n");
        let table =
            |[one, other]: [String; 2]| format!("# ipvsadm-rs: order=kernel\n-A -t 192.0.2.1:80 -s mh\n{one}{other}");
        let differs = "# TCP 192.0.2.1:80: servers are not in the requested order; ";
        let swapped = |weight| {
            let [from, to] = [[server(1, 1), server(2, weight)], [server(2, weight), server(1, 1)]].map(table);
            report(&from, &to)
        };
        let report = swapped(1);
        assert_eq!(
            text(&report),
            format!("{differs}--reorder restores it, but drops connections\nnothing to change\n")
        );
        assert!(report.order_fixed.is_empty());
        let report = swapped(0);
        assert_eq!(
            text(&report),
            format!(
                "{differs}new connections would be refused while the only server with a weight above 0 is moved\n\
                 nothing to change\n"
            )
        );
        let document = serde_json::to_value(report.document(Stage::Planned)).expect("writes");
        assert_eq!(document["order_fixed"], serde_json::json!(["TCP 192.0.2.1:80"]));
    }
}
