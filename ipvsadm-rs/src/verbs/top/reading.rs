//! Readings of the table and of the states of its connections.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ipvs::{Client, ConnectionEntry, DestinationKey, Error, Name, ServiceIndex, ServiceKey, ServiceState, State};
use jiff::Zoned;

use super::assessments::Assessments;
use crate::plan::entries::Entries;
use crate::sight::condition::Assessment;
use crate::sight::rates::TableRates;
use crate::sight::{interval, reading};

/// The number of connections from which the connection table is not read. Up to Linux 6.13 the time for reading it grows
/// with the square of this number.
pub(super) const MOST_CONNECTIONS: u64 = 20_000;

/// A reading of the table.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) time: Zoned,
    pub(super) instant: Instant,
    /// The services are sorted by name.
    pub(super) state: State,
    pub(super) states: States,
}

/// The states of connections, or the reason why they are unknown.
#[derive(Debug)]
pub(super) enum States {
    Counted(Counts),
    /// There are too many connections.
    TooMany(u64),
    Unreadable(String),
}

/// The number of connections in each state.
pub(super) type ByState = BTreeMap<Name, u64>;

/// The connections of services and servers, by state. Persistence templates are not counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    services: HashMap<ServiceKey, ByState>,
    servers: HashMap<(ServiceKey, DestinationKey), ByState>,
}

/// The state of connections whose handshake is not complete.
const SYN_RECV: &[u8] = b"SYN_RECV";

impl Counts {
    /// Counts connections. One that may belong to several services by mark is counted for each of them.
    pub(super) fn count(entries: impl Iterator<Item = io::Result<ConnectionEntry>>, state: &State) -> io::Result<Self> {
        let mut places = Places::new(state);
        let mut counts = Self::default();
        for entry in Entries::new(entries) {
            let entry = entry?;
            if entry.is_template() {
                continue;
            }
            for (service, server) in places.of(&entry) {
                *counts.services.entry(service).or_default().entry(entry.state).or_default() += 1;
                if let Some(server) = server {
                    *counts.servers.entry((service, server)).or_default().entry(entry.state).or_default() += 1;
                }
            }
        }
        Ok(counts)
    }

    /// Returns the connections of a service, by state.
    pub(super) fn of_service(&self, service: &ServiceKey) -> ByState {
        self.services.get(service).cloned().unwrap_or_default()
    }

    /// Returns the connections of a service in the state SYN_RECV, or those of one of its servers.
    pub(super) fn syn_recv(&self, service: &ServiceKey, server: Option<&DestinationKey>) -> u64 {
        let counts = match server {
            None => self.services.get(service),
            Some(server) => self.servers.get(&(*service, *server)),
        };
        let is_syn_recv = |(state, number): (&Name, &u64)| (state.as_bytes() == SYN_RECV).then_some(*number);
        counts.and_then(|counts| counts.iter().find_map(is_syn_recv)).unwrap_or_default()
    }
}

/// The services and servers to which connections can belong.
struct Places<'s> {
    index: ServiceIndex,
    services: HashMap<ServiceKey, &'s ServiceState>,
    /// The servers of services that have connections. A table can have many servers, but few connections.
    servers: HashMap<ServiceKey, HashSet<DestinationKey>>,
}

impl<'s> Places<'s> {
    fn new(state: &'s State) -> Self {
        let services = state.services.iter().map(|service| (service.service.key, service)).collect();
        Self { index: ServiceIndex::new(&state.services), services, servers: HashMap::new() }
    }

    /// Returns the services of a connection, and its server in each of them. There is no server if it was deleted.
    fn of(&mut self, entry: &ConnectionEntry) -> Vec<(ServiceKey, Option<DestinationKey>)> {
        let server = DestinationKey::from(entry.destination);
        // A server with port 0 gets the packets on the port of the client's choice.
        let any_port = DestinationKey { port: 0, ..server };
        let Self { index, services, servers } = self;
        let mut with_server = |service: ServiceKey| {
            let servers = servers.entry(service).or_insert_with(|| {
                let servers = services.get(&service).into_iter().flat_map(|state| &state.destinations);
                servers.map(|server| server.destination.key).collect()
            });
            (service, [server, any_port].into_iter().find(|server| servers.contains(server)))
        };
        index.find(entry).candidates().iter().map(|service| with_server(*service)).collect()
    }
}

/// Reads the table.
pub(super) struct Reader {
    director: Client,
}

impl Reader {
    pub(super) fn new(director: Client) -> Self {
        Self { director }
    }

    pub(super) fn read(&mut self) -> Result<Reading, Error> {
        let (time, instant) = (Zoned::now(), Instant::now());
        let mut state = reading::read(&mut self.director)?;
        state.services.sort_by_key(|service| service.service.key);
        let states = self.states(&state);
        Ok(Reading { time, instant, state, states })
    }

    fn states(&self, state: &State) -> States {
        let servers = state.services.iter().flat_map(|service| &service.destinations);
        let entries = servers.map(|server| {
            u64::from(server.active_connections)
                + u64::from(server.inactive_connections)
                + u64::from(server.persistent_connections)
        });
        let number = entries.sum();
        if number > MOST_CONNECTIONS {
            return States::TooMany(number);
        }
        let counted = self.director.connections().map_err(|error| error.to_string());
        let counted = counted.and_then(|entries| Counts::count(entries, state).map_err(|error| error.to_string()));
        counted.map_or_else(States::Unreadable, States::Counted)
    }
}

/// A reading, compared with the one before it.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) reading: Reading,
    /// `None` for the first reading.
    pub(super) rates: Option<TableRates>,
    /// The time in which the rates were counted.
    pub(super) counted: Duration,
    /// The assessments of the services. One that would take too long is missing until the next sample.
    pub(super) assessments: HashMap<ServiceKey, Rc<Assessment>>,
}

impl Sample {
    pub(super) fn new(reading: Reading, before: Option<&Reading>, assessments: &mut Assessments) -> Self {
        let elapsed = before.map(|before| reading.instant.saturating_duration_since(before.instant));
        let counted = interval::counted(elapsed.unwrap_or_default());
        let rates = before.map(|before| TableRates::between(&before.state, &reading.state, counted));
        let assessments = assessments.of(&reading.state);
        Self { reading, rates, counted, assessments }
    }

    /// Returns the reading, for the next comparison.
    pub(super) fn into_reading(self) -> Reading {
        self.reading
    }
}

#[cfg(test)]
mod tests {
    use ipvs::Connections;

    use super::super::testing::TABLE;
    use super::*;
    use crate::plan::testing::state;

    #[test]
    fn connections_belong_to_services_and_servers() {
        let state = state(
            "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.1.0.1:8080 -m\n\
             -A -u 10.0.0.1:0 -s rr -p 60\n-a -u 10.0.0.1:0 -r 10.1.0.1:0 -m\n\
             -A -f 7 -s rr\n-a -f 7 -r 10.1.0.3:0 -g\n",
        );
        let entries = Connections::new(TABLE.as_bytes()).expect("a title");
        let counts = Counts::count(entries, &state).expect("a table");
        let text = |service: &str| {
            let service = service.parse().expect("a key");
            let list = counts.of_service(&service);
            list.iter().map(|(state, number)| format!("{state} {number}")).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(text("tcp:10.0.0.1:80"), "ESTABLISHED 2, SYN_RECV 2");
        assert_eq!(text("udp:10.0.0.1:0"), "UDP 1");
        assert_eq!(text("fwmark:7"), "ESTABLISHED 1");
        let web = ServiceKey::tcp([10, 0, 0, 1], 80);
        let server = DestinationKey::new([10, 1, 0, 1], 8080);
        // One of them belongs to a server that was deleted.
        assert_eq!((counts.syn_recv(&web, None), counts.syn_recv(&web, Some(&server))), (2, 1));
        let udp = ServiceKey::udp([10, 0, 0, 1], 0);
        assert_eq!(counts.servers[&(udp, DestinationKey::new([10, 1, 0, 1], 0))].len(), 1);
    }

    #[test]
    fn malformed_tables_are_errors() {
        let entries = Connections::new(&b"Pro \nnonsense\n"[..]).expect("a title");
        assert!(Counts::count(entries, &State::default()).is_err());
    }
}
