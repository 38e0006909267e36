//! The service in question: its servers, its connections, and the client.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};

use anyhow::Context as _;
use ipvs::{
    Client, ConnectionEntry, DestinationKey, DestinationState, Error, ErrorKind, Protocol, ServiceKey, ServiceState,
    TemplateKey, Timeouts,
};

use crate::plan::clients;
use crate::plan::entries::Entries;
use crate::terminal::commands::quoted_line;

/// The connections of a server.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    /// All connections, without templates.
    pub(super) all: u64,
    /// Connections that the client has acknowledged.
    pub(super) answered: u64,
    /// The time since the last packet of an answered connection, in seconds. `None`: there is none.
    last_answer: Option<u32>,
    /// The times since the last packet of connections in `SYN_RECV`, and their number.
    opening: BTreeMap<u32, u64>,
    /// The times since the last packet of connections in `CLOSE`, which one side has reset, and their number.
    closed: BTreeMap<u32, u64>,
    /// A client of a connection without an answer.
    pub(super) waiting_client: Option<IpAddr>,
}

/// A server answers within this time, in seconds.
const PATIENCE: u32 = 2;

/// The times until a connection expires if there is no packet, in seconds.
/// <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_proto_tcp.c> (`tcp_timeouts`)
mod lifetime {
    pub(super) const SYN_RECV: u32 = 60;
    pub(super) const TIME_WAIT: u32 = 120;
    pub(super) const CLOSE: u32 = 10;
    pub(super) const CLOSE_WAIT: u32 = 60;
    pub(super) const LAST_ACK: u32 = 30;
}

impl Sums {
    fn add(&mut self, entry: &ConnectionEntry, timeouts: &Timeouts) {
        self.all += 1;
        let age = |lifetime: u32| lifetime.saturating_sub(entry.expires);
        let answered = match entry.state.as_bytes() {
            b"SYN_RECV" => {
                let age = age(lifetime::SYN_RECV);
                *self.opening.entry(age).or_default() += 1;
                if age > PATIENCE {
                    self.waiting_client = Some(entry.client.ip());
                }
                return;
            }
            b"CLOSE" => {
                *self.closed.entry(age(lifetime::CLOSE)).or_default() += 1;
                return;
            }
            b"ESTABLISHED" => timeouts.tcp,
            b"FIN_WAIT" => timeouts.tcp_fin,
            b"TIME_WAIT" => lifetime::TIME_WAIT,
            b"CLOSE_WAIT" => lifetime::CLOSE_WAIT,
            b"LAST_ACK" => lifetime::LAST_ACK,
            _ => return,
        };
        self.answered += 1;
        self.last_answer = Some(self.last_answer.map_or(age(answered), |last| last.min(age(answered))));
    }

    /// Returns the number of connections without an answer, since the server last answered one.
    pub(super) fn stuck(&self) -> u64 {
        let end = self.last_answer.unwrap_or(u32::MAX);
        self.opening.iter().filter(|(age, _)| **age > PATIENCE && **age < end).map(|(_, number)| number).sum()
    }

    /// Returns the number of connections that were reset, since the server last answered one.
    pub(super) fn reset(&self) -> u64 {
        let end = self.last_answer.unwrap_or(u32::MAX);
        self.closed.range(..end).map(|(_, number)| number).sum()
    }
}

/// The packets that are followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Followed {
    pub(super) key: ServiceKey,
    /// The address and port to which clients send. `None`: a service by mark, whose addresses the firewall knows.
    pub(super) target: Option<SocketAddr>,
    /// The protocol. `None`: a service by mark, which gets packets of all protocols.
    pub(super) protocol: Option<Protocol>,
    /// The client. Port 0: any port.
    pub(super) client: Option<SocketAddr>,
}

impl Followed {
    pub(super) fn client_address(&self) -> Option<IpAddr> {
        self.client.map(|client| client.ip())
    }
}

/// The service, with its connections.
pub(super) struct Subject {
    pub(super) state: ServiceState,
    pub(super) followed: Followed,
    keys: HashSet<DestinationKey>,
    sums: HashMap<DestinationKey, Sums>,
    /// The first connection from the port of the client.
    pub(super) connection: Option<ConnectionEntry>,
    /// The persistence template of the client.
    pub(super) template: Option<ConnectionEntry>,
    /// The reason why lines of the connection table were skipped.
    pub(super) skipped: Option<String>,
}

/// Reads a service with its servers. `None`: it does not exist. Other services are not read.
pub(super) fn find(director: &mut Client, key: &ServiceKey) -> Result<Option<ServiceState>, Error> {
    match director.service(key) {
        Ok(mut state) => {
            state.destinations = director.destinations(key)?;
            Ok(Some(state))
        }
        Err(error) if matches!(error.kind(), ErrorKind::NoSuchService) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the options that specify a service, for a shell.
pub(super) fn options_of(key: ServiceKey) -> String {
    quoted_line(&clients::options_of(key))
}

impl Subject {
    /// Returns the service without its connections.
    pub(super) fn without_connections(state: ServiceState, followed: &Followed) -> Self {
        let keys = state.destinations.iter().map(|server| server.destination.key).collect();
        let followed = *followed;
        Self { state, followed, keys, sums: HashMap::new(), connection: None, template: None, skipped: None }
    }

    /// Reads the connections of the service. Those of other services are skipped.
    pub(super) fn new(director: &mut Client, state: ServiceState, followed: &Followed) -> anyhow::Result<Self> {
        let timeouts = director.timeouts()?;
        let table = director.connections().context("cannot read the connection table")?;
        let mut subject = Self::without_connections(state, followed);
        subject.read(table, &timeouts).context("cannot read the connection table")?;
        Ok(subject)
    }

    fn read(
        &mut self,
        table: impl Iterator<Item = io::Result<ConnectionEntry>>,
        timeouts: &Timeouts,
    ) -> io::Result<()> {
        let mut entries = Entries::new(table);
        for entry in &mut entries {
            let entry = entry?;
            let Some(server) = self.server_of(&entry) else { continue };
            if entry.is_template() {
                if self.template.is_none() && self.is_template_of_client(&entry) {
                    self.template = Some(entry);
                }
                continue;
            }
            if self.connection.is_none() && self.followed.client == Some(entry.client) {
                self.connection = Some(entry.clone());
            }
            self.sums.entry(server).or_default().add(&entry, timeouts);
        }
        self.skipped = entries.skipped();
        Ok(())
    }

    /// Returns whether the client has this template. With a persistence engine, its address must be that of the template.
    /// A service without persistence does not use the templates that it still has.
    fn is_template_of_client(&self, entry: &ConnectionEntry) -> bool {
        let Some(client) = self.followed.client_address() else { return false };
        if self.state.service.persistence.is_none() {
            return false;
        }
        match TemplateKey::new(&self.state.service, client) {
            Some(key) => TemplateKey::of(entry) == Some(key),
            None => entry.client.ip() == client,
        }
    }

    /// Returns the server of an entry, as the service names it. `None`: the entry is of another service.
    fn server_of(&self, entry: &ConnectionEntry) -> Option<DestinationKey> {
        let is_of_service = match self.state.service.key {
            key @ ServiceKey::Fwmark { mark, family } => match entry.fwmark() {
                Some(number) => number == mark.get() && entry.family() == family,
                // The table does not name the mark of a connection, so the target decides.
                None => {
                    let protocol = self.followed.protocol;
                    entry.family() == key.family()
                        && self.followed.target == Some(entry.service)
                        && (protocol.is_none() || entry.protocol() == protocol)
                }
            },
            ServiceKey::Address { protocol, address, port } => {
                entry.protocol() == Some(protocol)
                    && entry.service.ip() == address
                    && (port == 0 || entry.service.port() == port)
            }
        };
        if !is_of_service {
            return None;
        }
        let server = DestinationKey::from(entry.destination);
        let any_port = DestinationKey { port: 0, ..server };
        if self.keys.contains(&server) {
            Some(server)
        } else if self.keys.contains(&any_port) {
            Some(any_port)
        } else {
            // A server that was deleted. For a mark without target, the connection may be of another service.
            matches!(self.state.service.key, ServiceKey::Address { .. }).then_some(server)
        }
    }

    pub(super) fn sums(&self, server: &DestinationKey) -> Sums {
        self.sums.get(server).cloned().unwrap_or_default()
    }

    /// Returns the address of a client: the one in question, or one whose connection has no answer.
    pub(super) fn client_or_waiting(&self) -> Option<IpAddr> {
        let waiting = || self.sums.values().find_map(|sums| sums.waiting_client);
        self.followed.client_address().or_else(waiting)
    }

    /// Returns the servers that get new clients: those with a weight.
    pub(super) fn servers(&self) -> impl Iterator<Item = &DestinationState> {
        // The kernel lists the newest first.
        self.state.destinations.iter().rev().filter(|server| server.destination.weight > 0)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use ipvs::rules::{Numeric, read_config};
    use ipvs::{Connections, Director, Family, Model, apply, plan};

    use super::*;

    /// Returns the service of some rules, without connections.
    pub(in super::super) fn subject(rules: &str, target: Option<SocketAddr>, client: Option<SocketAddr>) -> Subject {
        let mut director = Model::new();
        let desired = read_config(rules.as_bytes(), &mut Numeric).expect("good rules").config;
        apply(&mut director, &desired, &plan::Options::default()).expect("applies");
        let state = director.state().expect("a model").services.remove(0);
        let (target, protocol) = match state.service.key {
            ServiceKey::Address { protocol, address, port } => (Some(SocketAddr::new(address, port)), Some(protocol)),
            ServiceKey::Fwmark { .. } => (target, None),
        };
        let followed = Followed { key: state.service.key, target, protocol, client };
        Subject::without_connections(state, &followed)
    }

    /// Reads a table of connections into a subject.
    fn read(mut subject: Subject, lines: &[&str]) -> Subject {
        let table = format!("Pro \n{}\n", lines.join("\n"));
        let entries = Connections::new(table.as_bytes()).expect("a title");
        subject.read(entries, &Timeouts::default()).expect("a table");
        subject
    }

    #[test]
    fn connections_of_a_mark_are_those_to_the_target() {
        const RULES: &str = "-A -f 7 -s rr\n-a -f 7 -r 10.1.0.1:8080 -m\n";
        let lines = [
            "TCP 0A090001 9C41 0A000001 0050 0A010001 1F90 SYN_RECV 50",
            "TCP 0A090001 9C42 0A000009 0050 0A010001 1F90 SYN_RECV 50",
            "UDP 0A090001 9C41 0A000001 0050 0A010001 1F90 UDP 50",
        ];
        let target = || Some(SocketAddr::from(([10, 0, 0, 1], 80)));
        let server = DestinationKey::from(([10, 1, 0, 1], 8080));
        let all = |subject: Subject| read(subject, &lines).sums(&server).all;
        assert_eq!(all(subject(RULES, None, None)), 0, "the mark of a connection is not known");
        assert_eq!(all(subject(RULES, target(), None)), 2);
        let mut of_tcp = subject(RULES, target(), None);
        of_tcp.followed.protocol = Some(Protocol::Tcp);
        assert_eq!(all(of_tcp), 1);
        assert_eq!(ServiceKey::fwmark(7, Family::V4).map(options_of).as_deref(), Some("-f 7"));
        assert_eq!(options_of("tcp:[fd01::1]:80".parse().expect("a service")), "-t '[fd01::1]:80'");
    }

    #[test]
    fn malformed_lines_do_not_end_the_reading() {
        let subject = subject("-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.1.0.1:8080 -m\n", None, None);
        let read =
            read(subject, &["nonsense", "TCP 0A090001 9C41 0A000001 0050 0A010001 1F90 SYN_RECV 50", "more nonsense"]);
        assert_eq!(read.sums(&DestinationKey::from(([10, 1, 0, 1], 8080))).all, 1);
        let skipped = read.skipped.expect("lines were skipped");
        assert!(skipped.starts_with("2 lines of the connection table skipped: "), "{skipped}");
    }

    #[test]
    fn the_template_of_a_client_is_that_of_its_network() {
        const RULES: &str = "-A -t 10.0.0.1:80 -s rr -p 300 -M 255.255.255.0\n-a -t 10.0.0.1:80 -r 10.1.0.1:8080 -m\n";
        let lines = ["TCP 0A090000 0000 0A000001 0050 0A010001 1F90 NONE 50"];
        let has_template =
            |client: [u8; 4]| read(subject(RULES, None, Some((client, 0).into())), &lines).template.is_some();
        assert!(has_template([10, 9, 0, 77]) && !has_template([10, 9, 1, 77]));
        let without = RULES.replace(" -p 300 -M 255.255.255.0", "");
        assert!(read(subject(&without, None, Some(([10, 9, 0, 0], 0).into())), &lines).template.is_none());
    }

    fn sums(lines: &[&str]) -> Sums {
        let table: String =
            lines.iter().map(|line| format!("TCP 0A090001 9C41 0A000001 0050 0A010001 1F90 {line}\n")).collect();
        let mut sums = Sums::default();
        let mut timeouts = Timeouts::default();
        (timeouts.tcp, timeouts.tcp_fin) = (900, 120);
        for entry in Connections::new(format!("Pro \n{table}").as_bytes()).expect("a title") {
            sums.add(&entry.expect("an entry"), &timeouts);
        }
        sums
    }

    #[test]
    fn only_connections_after_the_last_answer_are_stuck() {
        let of = |lines: &[&str]| (sums(lines).stuck(), sums(lines).reset(), sums(lines).answered);
        assert_eq!(of(&["SYN_RECV 50", "SYN_RECV 57", "SYN_RECV 59"]), (2, 0, 0), "one may still be answered");
        assert_eq!(of(&["SYN_RECV 50", "TIME_WAIT 100", "ESTABLISHED 800"]), (1, 0, 2));
        assert_eq!(of(&["SYN_RECV 30", "SYN_RECV 50", "ESTABLISHED 880"]), (1, 0, 1));
        assert_eq!(of(&["SYN_RECV 50", "ESTABLISHED 899"]), (0, 0, 1));
        assert_eq!(of(&["CLOSE 8", "CLOSE 5", "FIN_WAIT 100", "CLOSE 99"]), (0, 3, 1));
        assert_eq!(of(&["SYN_RECV 4000000000", "UDP 3"]), (0, 0, 0));
    }
}
