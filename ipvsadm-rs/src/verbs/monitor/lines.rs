//! The lines of `monitor`, as text and as JSON.

use std::io::{self, Write};
use std::time::Duration;

use ipvs::document::{Document, SCHEMA};
use ipvs::{Change, Config, Destination, DestinationKey, Event, Service, ServiceKey, State, SyncDaemon, Timeouts};
use jiff::{Unit, Zoned};
use serde::Serialize;

use crate::plan::report::{ServerName, ServiceName, differing_options};
use crate::sight::number;
use crate::sight::rates::Rates;
use crate::terminal::color::Palette;
use crate::terminal::plural::count;
use crate::terminal::text;

/// An observation, which is printed as a line. A snapshot has a line for each item, too.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Record {
    Snapshot {
        table: Box<Document>,
        /// The lines that add the items of the table.
        #[serde(skip)]
        rules: Vec<String>,
        /// The number of items: `2 services, 4 servers`.
        #[serde(skip)]
        size: String,
    },
    Change(Box<Difference>),
    Lost {
        reason: String,
    },
    Traffic(Box<Traffic>),
}

/// A change of one item.
#[derive(Debug, Serialize)]
pub(super) struct Difference {
    item: Item,
    action: Action,
    /// The equivalent line of ipvsadm.
    rule: String,
    /// The options that were replaced or deleted, or `without` and those that were added.
    #[serde(skip)]
    was: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<ServiceName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ServerName>,
    /// Absent for an item that was added.
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<Settings>,
    /// Absent for an item that was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<Settings>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Item {
    Timeouts,
    Daemon,
    Service,
    Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Add,
    Edit,
    Delete,
}

/// The settings of an item.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Settings {
    Timeouts(Timeouts),
    Daemon(SyncDaemon),
    Service(Service),
    Server(Destination),
}

/// The traffic of a service or of a server since the last such line.
#[derive(Debug, Serialize)]
pub(super) struct Traffic {
    service: ServiceName,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ServerName>,
    /// The time in which it was counted.
    seconds: f64,
    per_second: Rates,
    #[serde(skip)]
    name: String,
}

impl Record {
    /// Returns the snapshot of a table.
    pub(super) fn snapshot(state: &State) -> Self {
        let mut config = Config::from(state);
        config.services.sort_by_key(|service| service.service.key);
        let servers: usize = config.services.iter().map(|service| service.destinations.len()).sum();
        let mut size = format!("{}, {}", count(config.services.len(), "service"), count(servers, "server"));
        if !state.daemons.is_empty() {
            size += &format!(", {}", count(state.daemons.len(), "sync daemon"));
        }
        let timeouts = Change::SetTimeouts(state.timeouts).to_string();
        let daemons = state.daemons.iter().map(|daemon| Change::StartDaemon(*daemon).to_string());
        let services = config.services.iter().flat_map(|service| {
            let key = service.service.key;
            let servers = service.destinations.iter().map(move |server| Change::AddDestination(key, *server));
            std::iter::once(Change::AddService(service.service)).chain(servers)
        });
        let rules = std::iter::once(timeouts).chain(daemons).chain(services.map(|change| change.to_string())).collect();
        Self::Snapshot { table: Box::new(Document::from(&config)), rules, size }
    }

    /// Returns the line of an event. `None` for an event that a newer library reports.
    pub(super) fn change(event: &Event) -> Option<Self> {
        Difference::of(event).map(|difference| Self::Change(Box::new(difference)))
    }

    pub(super) fn lost(reason: impl ToString) -> Self {
        Self::Lost { reason: reason.to_string() }
    }

    /// Returns the traffic of a service, or of one of its servers.
    pub(super) fn traffic(
        service: ServiceKey,
        server: Option<DestinationKey>,
        counted: Duration,
        rates: &Rates,
    ) -> Self {
        let name = server.map_or_else(|| service.to_string(), |server| format!("{service}, server {server}"));
        let (service, server) = (service.into(), server.map(ServerName::from));
        let seconds = counted.as_secs_f64();
        Self::Traffic(Box::new(Traffic { service, server, seconds, per_second: *rates, name }))
    }

    /// Writes the record as text. The list of a snapshot's items is omitted if it is longer than `most`.
    pub(super) fn write_text(
        &self,
        out: &mut dyn Write,
        now: &Zoned,
        colors: &Palette,
        most: Option<usize>,
    ) -> io::Result<()> {
        let now = now.strftime("%Y-%m-%d %H:%M:%S");
        let mut line = |style: anstyle::Style, text: &str| {
            // A name can contain control characters, also a line break.
            writeln!(out, "{now}  {style}{}{style:#}", text::escaped(text))
        };
        match self {
            Self::Snapshot { rules, size, .. } => {
                line(colors.remark, &format!("# snapshot: {size}"))?;
                let is_listed = most.is_none_or(|most| rules.len() <= most);
                let plain = anstyle::Style::new();
                rules.iter().filter(|_| is_listed).try_for_each(|rule| line(plain, &format!("= {rule}")))
            }
            Self::Change(difference) => {
                let (mark, style) = match difference.action {
                    Action::Add => ('+', colors.add),
                    Action::Edit => ('~', colors.change),
                    Action::Delete => ('-', colors.remove),
                };
                let was = difference.was.as_ref().map(|was| format!("  # was {was}")).unwrap_or_default();
                line(style, &format!("{mark} {}{was}", difference.rule))
            }
            Self::Lost { reason } => line(colors.bad, &format!("# lost sight of the table: {reason}")),
            Self::Traffic(traffic) => line(colors.remark, &format!("# {}", traffic.text())),
        }
    }

    /// Writes the record as a JSON object on one line.
    pub(super) fn write_json(&self, out: &mut dyn Write, now: &Zoned) -> io::Result<()> {
        #[derive(Serialize)]
        struct Line<'r> {
            schema: u32,
            time: String,
            #[serde(flatten)]
            record: &'r Record,
        }
        let now = now.timestamp();
        let time = now.round(Unit::Millisecond).unwrap_or(now).to_string();
        let line = serde_json::to_string(&Line { schema: SCHEMA, time, record: self })?;
        writeln!(out, "{}", text::json(&line))
    }
}

impl Difference {
    fn of(event: &Event) -> Option<Self> {
        use Action::{Add, Delete, Edit};
        use Settings::{Daemon, Server, Service};
        let (item, action, rule, before, old, new) = match *event {
            Event::TimeoutsChanged { old, new } => {
                let [before, rule] = [old, new].map(Change::SetTimeouts);
                let [old, new] = [old, new].map(|timeouts| Some(Settings::Timeouts(timeouts)));
                (Item::Timeouts, Edit, rule, Some(before), old, new)
            }
            Event::DaemonStarted(new) => (Item::Daemon, Add, Change::StartDaemon(new), None, None, Some(Daemon(new))),
            Event::DaemonStopped(old) => {
                let (rule, before) = (Change::StopDaemon(old.role), Change::StartDaemon(old));
                (Item::Daemon, Delete, rule, Some(before), Some(Daemon(old)), None)
            }
            Event::ServiceAdded(new) => (Item::Service, Add, Change::AddService(new), None, None, Some(Service(new))),
            Event::ServiceEdited { old, new } => {
                let [before, rule] = [old, new].map(Change::EditService);
                (Item::Service, Edit, rule, Some(before), Some(Service(old)), Some(Service(new)))
            }
            Event::ServiceDeleted(old) => {
                let (rule, before) = (Change::DeleteService(old.key), Change::AddService(old));
                (Item::Service, Delete, rule, Some(before), Some(Service(old)), None)
            }
            Event::DestinationAdded(service, new) => {
                (Item::Server, Add, Change::AddDestination(service, new), None, None, Some(Server(new)))
            }
            Event::DestinationEdited { service, old, new } => {
                let [before, rule] = [old, new].map(|server| Change::EditDestination(service, server));
                (Item::Server, Edit, rule, Some(before), Some(Server(old)), Some(Server(new)))
            }
            Event::DestinationDeleted(service, old) => {
                let rule = Change::DeleteDestination(service, old.key);
                (Item::Server, Delete, rule, Some(Change::AddDestination(service, old)), Some(Server(old)), None)
            }
            _ => return None,
        };
        let was = before.and_then(|before| was(&before.to_string(), &rule.to_string()));
        let (service, server) = (rule.service().map(ServiceName::from), rule.destination().map(ServerName::from));
        Some(Self { item, action, rule: rule.to_string(), was, service, server, old, new })
    }
}

/// Returns the options that a change replaces or deletes, or `without` and those that it adds. `before` is the line that
/// would add the item, or that would restore it.
fn was(before: &str, rule: &str) -> Option<String> {
    // The first word is the command, which differs if an item is deleted.
    let options = |line: &'_ str| line.split_once(' ').map(|(_, options)| options.to_owned()).unwrap_or_default();
    let (before, rule) = (options(before), options(rule));
    match (differing_options(&before, &rule), differing_options(&rule, &before)) {
        (replaced, added) if replaced.is_empty() && added.is_empty() => None,
        (replaced, added) if replaced.is_empty() => Some(format!("without {added}")),
        (replaced, _) => Some(replaced),
    }
}

impl Traffic {
    fn text(&self) -> String {
        let Rates { connections, incoming_packets, outgoing_packets, incoming_bytes, outgoing_bytes } = self.per_second;
        let rate = number::rate;
        format!(
            "{}: {} connections/s, {} packets/s, {} bits/s",
            self.name,
            rate(connections),
            rate(incoming_packets + outgoing_packets),
            rate(8.0 * (incoming_bytes + outgoing_bytes))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::state;

    const NOW: &str = "2026-11-27T20:03:11.1234+00:00[UTC]";

    fn lines(records: &[Record], most: Option<usize>) -> Vec<String> {
        let now: Zoned = NOW.parse().expect("a time");
        let mut out = Vec::new();
        for record in records {
            record.write_text(&mut out, &now, &Palette::default(), most).expect("memory takes all");
        }
        let text = String::from_utf8(out).expect("text");
        let without_time = |line: &str| line.strip_prefix("2026-11-27 20:03:11  ").expect("a time").to_owned();
        text.lines().map(without_time).collect()
    }

    fn json(record: &Record) -> serde_json::Value {
        let mut out = Vec::new();
        record.write_json(&mut out, &NOW.parse().expect("a time")).expect("memory takes all");
        assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1, "one line");
        serde_json::from_slice(&out).expect("JSON")
    }

    fn changes(from: &str, to: &str) -> Vec<Record> {
        state(to).events_since(&state(from)).iter().filter_map(Record::change).collect()
    }

    const FROM: &str = "--set 900 120 300\n-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m -w 3\n\
        -a -t 192.0.2.1:80 -r 10.0.0.2 -m -x 5\n-A -f 1 -s sh -p 60\n";
    const TO: &str = "--set 901 120 300\n-A -t 192.0.2.1:80 -s rr -p 60\n-a -t 192.0.2.1:80 -r 10.0.0.1 -g -w 0\n\
        -A -u 192.0.2.1:53 -s rr\n";

    #[test]
    fn changes_are_lines_of_ipvsadm_with_the_old_settings() {
        assert_eq!(
            lines(&changes(FROM, TO), None),
            [
                "~ --set 901 120 300  # was 900 120 300",
                "~ -E -t 192.0.2.1:80 -s rr -p 60  # was without -p 60",
                "~ -e -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 0  # was -m -w 3",
                "- -d -t 192.0.2.1:80 -r 10.0.0.2:80  # was -m -w 1 -x 5",
                "+ -A -u 192.0.2.1:53 -s rr",
                "- -D -f 1  # was -s sh -p 60",
            ]
        );
    }

    #[test]
    fn daemons_are_lines_of_ipvsadm() {
        let daemon = SyncDaemon::new(ipvs::Role::Backup, "eth0".parse().expect("a name"), 1);
        let records = [Event::DaemonStarted(daemon), Event::DaemonStopped(daemon)];
        let records: Vec<Record> = records.iter().filter_map(Record::change).collect();
        assert_eq!(
            lines(&records, None),
            [
                "+ --start-daemon backup --mcast-interface eth0 --syncid 1",
                "- --stop-daemon backup  # was --mcast-interface eth0 --syncid 1",
            ]
        );
        assert_eq!(json(&records[1])["old"]["interface"], "eth0");
    }

    #[test]
    fn json_has_the_old_and_the_new_settings() {
        let changes = changes(FROM, TO);
        let edit = json(&changes[2]);
        assert_eq!((&edit["schema"], &edit["time"]), (&1.into(), &"2026-11-27T20:03:11.123Z".into()));
        assert_eq!(
            (&edit["event"], &edit["action"], &edit["item"]),
            (&"change".into(), &"edit".into(), &"server".into())
        );
        assert_eq!(edit["rule"], "-e -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 0");
        assert_eq!(edit["service"], serde_json::json!({ "protocol": "tcp", "address": "192.0.2.1", "port": 80 }));
        assert_eq!(edit["server"], serde_json::json!({ "address": "10.0.0.1", "port": 80 }));
        assert_eq!((&edit["old"]["weight"], &edit["new"]["weight"]), (&3.into(), &0.into()));
        assert_eq!((edit["new"].get("stats"), edit["new"].get("active_connections")), (None, None), "not observed");
        assert_eq!((json(&changes[3]).get("new"), json(&changes[4]).get("old")), (None, None));
        assert_eq!(json(&changes[0])["old"]["tcp"], 900);
    }

    #[test]
    fn snapshots_list_the_table() {
        let snapshot = Record::snapshot(&state(FROM));
        let expected = [
            "# snapshot: 2 services, 2 servers",
            "= --set 900 120 300",
            "= -A -t 192.0.2.1:80 -s rr",
            "= -a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 3",
            "= -a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 1 -x 5",
            "= -A -f 1 -s sh -p 60",
        ];
        let snapshot = [snapshot];
        assert_eq!(lines(&snapshot, None), expected);
        assert_eq!(lines(&snapshot, Some(5)), expected);
        assert_eq!(lines(&snapshot, Some(4)), expected[..1]);
        let document = json(&snapshot[0]);
        assert_eq!(
            (&document["event"], &document["table"]["services"][0]["destinations"][1]["weight"]),
            (&"snapshot".into(), &1.into())
        );
        let table: Document = serde_json::from_value(document["table"].clone()).expect("a document");
        assert_eq!(Config::from(&state(FROM)).services.len(), table.services.len());
    }

    #[test]
    fn hidden_characters_are_escaped() {
        let lost = [Record::lost("a\nb\u{1b}[31m")];
        assert_eq!(lines(&lost, None), [r"# lost sight of the table: a\nb\x1b[31m"]);
        assert_eq!(json(&lost[0])["reason"], "a\nb\u{1b}[31m");
    }

    #[test]
    fn traffic_is_in_bits() {
        let rates = Rates { connections: 0.5, incoming_packets: 3.0, outgoing_bytes: 1000.0, ..Rates::default() };
        let key = ServiceKey::tcp([192, 0, 2, 1], 80);
        let seconds = Duration::from_secs(2);
        let of_server = Record::traffic(key, Some(DestinationKey::new([10, 0, 0, 1], 80)), seconds, &rates);
        let records = [Record::traffic(key, None, seconds, &rates), of_server];
        assert_eq!(
            lines(&records, None),
            [
                "# TCP 192.0.2.1:80: 0.5 connections/s, 3 packets/s, 8000 bits/s",
                "# TCP 192.0.2.1:80, server 10.0.0.1:80: 0.5 connections/s, 3 packets/s, 8000 bits/s"
            ]
        );
        let document = json(&records[1]);
        assert_eq!((&document["seconds"], &document["per_second"]["outgoing_bytes"]), (&2.0.into(), &1000.0.into()));
        assert_eq!(document["server"]["address"], "10.0.0.1");
    }
}
