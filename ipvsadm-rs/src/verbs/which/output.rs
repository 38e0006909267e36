//! The answers as text and as JSON.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::IpAddr;

use ipvs::document::SCHEMA;
use ipvs::rules::program::flag_names;
use ipvs::{DestinationKey, DestinationState, Netmask, Service, ServiceState};
use serde::Serialize;

use super::clients::Wanted;
use super::decision::{Cause, Decision, Outcome, Side};
use super::endpoint;
use super::entries::{Entry, Held};
use super::last_weights;
use crate::context::Context;
use crate::plan::clients::ClientEffects;
use crate::plan::report::{ServerName, ServiceName};
use crate::sight::condition::Condition;
use crate::terminal::plural::count;
use crate::terminal::width::{Size, folded_after};

/// All answers of a run.
pub(super) struct Answers<'a> {
    pub(super) state: &'a ServiceState,
    pub(super) clients: &'a [Wanted],
    pub(super) to: Option<(IpAddr, Option<u16>)>,
    /// The entries of each client.
    pub(super) held: &'a [Held],
    pub(super) now: &'a Side,
    /// The service after the change of `--with` or `--without`.
    pub(super) then: Option<&'a Side>,
    pub(super) effects: Option<ClientEffects>,
    /// The last weights of servers that `drain` remembers.
    pub(super) remembered: &'a HashMap<DestinationKey, u32>,
}

/// The answer for one client.
struct Answer<'a> {
    client: &'a Wanted,
    held: &'a Held,
    new: Decision,
    then: Option<Decision>,
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    service: ServiceName,
    scheduler: String,
    flags: Vec<&'static str>,
    /// The persistence timeout in seconds. `null`: no persistence.
    persistence: Option<u32>,
    /// The oldest first.
    servers: Vec<ServerRow>,
    clients: Vec<ClientRow>,
    /// Absent without a change to consider.
    #[serde(skip_serializing_if = "Option::is_none")]
    effects: Option<ClientEffects>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct ServerRow {
    server: ServerName,
    weight: u32,
    state: &'static str,
}

#[derive(Serialize)]
struct ClientRow {
    client: String,
    /// The connection from the port of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<EntryRow>,
    /// The number of connections of the client to each server.
    connections: Vec<CountRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<EntryRow>,
    /// The server of new connections.
    new: DecisionRow,
    /// The same after the change. Absent without a change to consider.
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<DecisionRow>,
}

#[derive(Serialize)]
struct EntryRow {
    server: ServerName,
    state: String,
    /// In seconds.
    expires: u32,
}

#[derive(Serialize)]
struct CountRow {
    server: ServerName,
    connections: u64,
}

#[derive(Serialize)]
struct DecisionRow {
    result: &'static str,
    /// `null` unless the result is `server`.
    server: Option<ServerName>,
    decided_by: &'static str,
    /// The results under two assumptions; `null` means refused. Absent unless the result is `uncertain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    possible: Option<[Option<ServerName>; 2]>,
    /// The server of the client's slot, if it is unavailable.
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<ServerName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Answers<'_> {
    pub(super) fn print(self, context: &Context) -> anyhow::Result<()> {
        if context.json {
            return context.write_json(&self.document());
        }
        let width = Size::of_stdout().map(|size| size.columns);
        context.write(|out| self.write_text(out, width))
    }

    fn answers(&self) -> impl Iterator<Item = Answer<'_>> {
        let to = self.to.map(|(address, _)| address);
        self.clients.iter().zip(self.held).map(move |(client, held)| {
            let decide = |side: &Side| side.decide(client, to, held.template.as_ref());
            Answer { client, held, new: decide(self.now), then: self.then.map(decide) }
        })
    }

    fn write_text(&self, out: &mut dyn Write, width: Option<usize>) -> io::Result<()> {
        let service = &self.state.service;
        let title = format!("{}: {}", service.key, settings(service));
        out.write_all(folded_after("", "  ", &title, width).as_bytes())?;
        for answer in self.answers() {
            answer.write_text(out, width, self.now)?;
        }
        if self.now.decides_on_connect() {
            self.write_servers(out)?;
        }
        if let Some(effects) = &self.effects {
            let lines = effects.lines();
            let none = "no new client gets another server, and none is refused or served in addition";
            let none = if lines.is_empty() && !self.now.decides_on_connect() { Some(none.to_owned()) } else { None };
            for line in lines.into_iter().chain(none) {
                write_folded(out, width, "then", &line)?;
            }
        }
        self.notes().iter().try_for_each(|note| write_folded(out, width, "note", note))
    }

    fn write_servers(&self, out: &mut dyn Write) -> io::Result<()> {
        let servers = || self.state.destinations.iter().rev();
        let name = |server: &DestinationState| server.destination.key.to_string();
        let widest = servers().map(|server| name(server).len()).max().unwrap_or(0);
        if !self.state.destinations.is_empty() {
            writeln!(out, "servers")?;
        }
        servers().try_for_each(|server| {
            let (name, weight, state) = (name(server), server.destination.weight, Condition::of(server).name());
            writeln!(out, "  {name:widest$}  weight {weight}, {state}")
        })
    }

    fn servers(&self) -> Vec<ServerRow> {
        let row = |server: &DestinationState| ServerRow {
            server: server.destination.key.into(),
            weight: server.destination.weight,
            state: Condition::of(server).name(),
        };
        self.state.destinations.iter().rev().map(row).collect()
    }

    /// Returns remarks that apply to all clients.
    fn notes(&self) -> Vec<String> {
        let Service { persistence, engine, netmask, key, .. } = &self.state.service;
        let mut notes = Vec::new();
        if let (Some(_), Some(engine)) = (persistence, engine) {
            notes.push(format!(
                "templates of the persistence engine {engine} were not searched: they do not depend on the address only"
            ));
        } else if persistence.is_some() && *netmask != Netmask::host(key.family()) {
            notes.push(format!(
                "clients share a template if they are equal under the netmask {netmask}: without one, the first to \
                 connect decides for all"
            ));
        }
        notes.extend(last_weights::note(self.remembered));
        notes
    }

    fn document(self) -> Document {
        let service = &self.state.service;
        Document {
            schema: SCHEMA,
            service: service.key.into(),
            scheduler: service.scheduler.to_string(),
            flags: flag_names(service.scheduler, service.flags).collect(),
            persistence: service.persistence,
            servers: self.servers(),
            clients: self.answers().map(|answer| answer.row()).collect(),
            notes: self.notes(),
            effects: self.effects,
        }
    }
}

/// Returns the settings that decide: `sh, sh-fallback, persistent 300 s`.
fn settings(service: &Service) -> String {
    let mut words = vec![format!("scheduler {}", service.scheduler)];
    words.extend(flag_names(service.scheduler, service.flags).map(str::to_owned));
    words.extend(service.persistence.map(|timeout| format!("persistent {timeout} s")));
    words.join(", ")
}

/// Writes a text with a label of at most four letters. Further lines are indented.
fn write_folded(out: &mut dyn Write, width: Option<usize>, label: &str, text: &str) -> io::Result<()> {
    let [first, rest] = [label, ""].map(|label| format!("  {label:4}  "));
    let width = width.map(|width| width.max(rest.len() + 20));
    out.write_all(folded_after(&first, &rest, text, width).as_bytes())
}

impl Answer<'_> {
    fn write_text(&self, out: &mut dyn Write, width: Option<usize>, now: &Side) -> io::Result<()> {
        writeln!(out, "{}", endpoint(self.client.address, self.client.port))?;
        if let Some(connection) = &self.held.connection {
            let Entry { server, state, expires } = connection;
            let rest = self.held.connections.values().sum::<u64>().saturating_sub(1);
            let more = if rest > 0 { format!(", and {}", count(rest, "other connection")) } else { String::new() };
            let gone = if now.server_of(connection, false).is_none() { ", which is not in the service" } else { "" };
            let text = format!("{server}{gone}, by its connection: {state}, expires in {expires} s{more}");
            write_folded(out, width, "now", &text)?;
        } else {
            for (server, connections) in &self.held.connections {
                write_folded(out, width, "now", &format!("{server}, {}", count(*connections, "connection")))?;
            }
        }
        write_folded(out, width, "new", &self.text(&self.new))?;
        self.then.iter().try_for_each(|then| write_folded(out, width, "then", &self.text(then)))
    }

    fn text(&self, decision: &Decision) -> String {
        let name = |server: Option<DestinationKey>| server.map_or_else(|| "refused".to_owned(), |key| key.to_string());
        let by = match (decision.cause, &self.held.template) {
            (Cause::Template, Some(Entry { state, expires, .. })) => {
                format!("by its template: {state}, expires in {expires} s")
            }
            (Cause::Template, None) => "by its template".into(),
            (Cause::Hash | Cause::Scheduler, _) => "by the hash".into(),
        };
        let text = match decision.outcome {
            Outcome::Server(key) => format!("{key}, {by}"),
            Outcome::Refused => "refused".into(),
            Outcome::Uncertain(best, worst) if best == worst => format!("probably {}, {by}", name(best)),
            Outcome::Uncertain(best, worst) => format!("{} or {}, {by}", name(best), name(worst)),
            Outcome::OnConnect => "decided when the client connects".into(),
            Outcome::NotKnown => "not known".into(),
        };
        decision.reason.as_ref().map_or_else(|| text.clone(), |reason| format!("{text}: {reason}"))
    }

    fn row(&self) -> ClientRow {
        let entry = |entry: &Entry| EntryRow {
            server: entry.server.into(),
            state: entry.state.clone(),
            expires: entry.expires,
        };
        let connections = self.held.connections.iter();
        ClientRow {
            client: endpoint(self.client.address, self.client.port),
            connection: self.held.connection.as_ref().map(entry),
            connections: connections
                .map(|(server, connections)| CountRow { server: (*server).into(), connections: *connections })
                .collect(),
            template: self.held.template.as_ref().map(entry),
            new: DecisionRow::of(&self.new),
            then: self.then.as_ref().map(DecisionRow::of),
        }
    }
}

impl DecisionRow {
    fn of(decision: &Decision) -> Self {
        let name = |server: Option<DestinationKey>| server.map(ServerName::from);
        let (result, server, possible) = match decision.outcome {
            Outcome::Server(key) => ("server", Some(key), None),
            Outcome::Refused => ("refused", None, None),
            Outcome::Uncertain(best, worst) => ("uncertain", None, Some([name(best), name(worst)])),
            Outcome::OnConnect => ("decided_on_connect", None, None),
            Outcome::NotKnown => ("not_known", None, None),
        };
        let decided_by = match decision.cause {
            Cause::Template => "template",
            Cause::Hash => "hash",
            Cause::Scheduler => "scheduler",
        };
        let (slot, reason) = (name(decision.slot), decision.reason.clone());
        Self { result, server: name(server), decided_by, possible, slot, reason }
    }
}

#[cfg(test)]
mod tests {
    use ipvs::estimate::Scheduling;
    use ipvs::hash::TableSizes;

    use super::*;
    use crate::plan::testing::state;

    const SERVER: &str = "[2001:db8:1111:2222:3333:4444:5555:6661]:8080";
    const RULES: &str = "-A -t [2001:db8:1111:2222:3333:4444:5555:ffff]:443 -s sh -b sh-fallback -p 300 -M 64\n\
        -a -t [2001:db8:1111:2222:3333:4444:5555:ffff]:443 -r [2001:db8:1111:2222:3333:4444:5555:6661]:8080 -m\n\
        -a -t [2001:db8:1111:2222:3333:4444:5555:ffff]:443 -r [2001:db8:1111:2222:3333:4444:5555:6662]:8080 -m -w 0\n";

    fn with_answers(act: impl FnOnce(Answers<'_>)) {
        let table = state(RULES);
        let state = &table.services[0];
        let side = Side::of(Scheduling::new(state), TableSizes::default(), Some(false));
        let address = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:fff".parse().expect("an address");
        let clients = [Wanted { address, port: Some(40_001) }, Wanted { address, port: None }];
        let entry = |expires| Entry { server: SERVER.parse().expect("a server"), state: "ESTABLISHED".into(), expires };
        let connections = [(entry(0).server, 3)].into();
        let one = Held { connection: Some(entry(899)), connections, template: Some(entry(120)) };
        let held = [one.clone(), Held { connection: None, template: None, ..one }];
        let (now, then) = (&side, Some(&side));
        let remembered = HashMap::from([(entry(0).server, 3)]);
        act(Answers {
            state,
            clients: &clients,
            to: None,
            held: &held,
            now,
            then,
            effects: None,
            remembered: &remembered,
        });
    }

    #[test]
    fn lines_fit_a_terminal() {
        with_answers(|answers| {
            let mut text = Vec::new();
            answers.write_text(&mut text, Some(80)).expect("memory takes all");
            let text = String::from_utf8(text).expect("text");
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            assert!(
                text.contains("by its connection:\n        ESTABLISHED, expires in 899 s, and 2 other connections"),
                "{text}"
            );
        });
    }

    #[test]
    fn json_has_all_results() {
        with_answers(|answers| {
            let document = serde_json::to_value(answers.document()).expect("JSON");
            let [one, other] = document["clients"].as_array().expect("clients").as_slice() else { panic!("two") };
            assert_eq!(
                (&one["connection"]["state"], &one["connection"]["expires"]),
                (&"ESTABLISHED".into(), &899.into())
            );
            let server = serde_json::json!({"address": "2001:db8:1111:2222:3333:4444:5555:6661", "port": 8080});
            assert_eq!((&one["new"]["decided_by"], &one["new"]["server"]), (&"template".into(), &server));
            assert_eq!((&other["new"]["decided_by"], &other["then"]["result"]), (&"hash".into(), &"server".into()));
            assert_eq!(other["connections"][0]["connections"], 3);
            assert_eq!((&document["schema"], &document["persistence"]), (&SCHEMA.into(), &300.into()));
            assert_eq!(document["service"]["port"], 443);
        });
    }
}
