//! The rows of a sample: services or servers, with their numbers.

use std::cmp::Ordering;
use std::rc::Rc;

use clap::ValueEnum;
use ipvs::{DestinationKey, DestinationState, ServiceKey, ServiceState};

use super::reading::{Counts, Sample, States};
use crate::sight::condition::{Assessment, Condition, Problem, Severity};
use crate::sight::rates::Rates;
use crate::sight::selection::Selected;

/// A service, or a server of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    Service(ServiceKey),
    Server(ServiceKey, DestinationKey),
}

impl Item {
    pub(super) fn service(&self) -> ServiceKey {
        match self {
            Self::Service(service) | Self::Server(service, _) => *service,
        }
    }

    /// Returns the name of the service or server, without the service of a server.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Service(service) => service.to_string(),
            Self::Server(_, server) => server.to_string(),
        }
    }
}

/// A row of a table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) item: Item,
    /// Servers that can get new connections, and all servers. For a server, these are 0 or 1, and 1.
    pub(super) up: (usize, usize),
    /// The state of a server.
    pub(super) condition: Option<Condition>,
    /// The weight of a server.
    pub(super) weight: Option<u32>,
    pub(super) active: u64,
    pub(super) inactive: u64,
    /// The upper threshold of a server. 0: none.
    pub(super) limit: u64,
    /// Connections in the state SYN_RECV. `None`: the connection table was not read.
    pub(super) syn_recv: Option<u64>,
    /// `None`: the item is new.
    pub(super) rates: Option<Rates>,
    /// The assessment of a service.
    pub(super) assessment: Option<Rc<Assessment>>,
}

impl Row {
    pub(super) fn problem(&self) -> Option<Problem> {
        self.assessment.as_ref().and_then(|assessment| assessment.problem)
    }

    /// Returns whether the service has a problem, or the server is full or draining.
    pub(super) fn is_problem(&self) -> bool {
        self.problem().is_some() || matches!(self.condition, Some(Condition::Full | Condition::Draining))
    }

    /// Returns the severity of the problem of a service, or of the state of a server.
    pub(super) fn severity(&self) -> Severity {
        let of_server = self.condition.map_or(Severity::Usual, Condition::severity);
        self.problem().map_or(of_server, Problem::severity)
    }
}

/// The table that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Services,
    /// The servers of all services.
    Servers,
    /// The servers of one service.
    Service(ServiceKey),
}

/// Returns the rows of a view, in the order of their names.
pub(super) fn rows(sample: &Sample, view: View, selected: &Selected) -> Vec<Row> {
    let counts = match &sample.reading.states {
        States::Counted(counts) => Some(counts),
        States::TooMany(_) | States::Unreadable(_) => None,
    };
    let is_shown = |service: &&ServiceState| match view {
        View::Service(key) => service.service.key == key,
        View::Services | View::Servers => selected.has_service(&service.service.key),
    };
    let services = sample.reading.state.services.iter().filter(is_shown);
    let rows = Rows { sample, counts };
    match view {
        View::Services => {
            let has_server = |service: &&ServiceState| {
                let mut servers = service.destinations.iter();
                !selected.names_servers() || servers.any(|server| selected.has_server(&server.destination.key))
            };
            services.filter(has_server).map(|service| rows.of_service(service)).collect()
        }
        View::Servers | View::Service(_) => {
            let of_service = |service: &'_ ServiceState| {
                let servers = service.destinations.iter();
                let servers = servers.filter(|server| selected.has_server(&server.destination.key));
                servers.map(|server| rows.of_server(service, server)).collect::<Vec<_>>()
            };
            services.flat_map(of_service).collect()
        }
    }
}

struct Rows<'s> {
    sample: &'s Sample,
    counts: Option<&'s Counts>,
}

impl Rows<'_> {
    fn of_service(&self, service: &ServiceState) -> Row {
        let key = service.service.key;
        let servers = &service.destinations;
        let sum = |number: fn(&DestinationState) -> u32| servers.iter().map(|server| u64::from(number(server))).sum();
        let up = servers.iter().filter(|server| Condition::of(server) == Condition::Up).count();
        Row {
            item: Item::Service(key),
            up: (up, servers.len()),
            condition: None,
            weight: None,
            active: sum(|server| server.active_connections),
            inactive: sum(|server| server.inactive_connections),
            limit: 0,
            syn_recv: self.counts.map(|counts| counts.syn_recv(&key, None)),
            rates: self.sample.rates.as_ref().and_then(|rates| rates.of_service(&key)).copied(),
            assessment: self.sample.assessments.get(&key).cloned(),
        }
    }

    fn of_server(&self, service: &ServiceState, server: &DestinationState) -> Row {
        let (service, key) = (service.service.key, server.destination.key);
        let condition = Condition::of(server);
        Row {
            item: Item::Server(service, key),
            up: (usize::from(condition == Condition::Up), 1),
            condition: Some(condition),
            weight: Some(server.destination.weight),
            active: server.active_connections.into(),
            inactive: server.inactive_connections.into(),
            limit: server.destination.upper_threshold.into(),
            syn_recv: self.counts.map(|counts| counts.syn_recv(&service, Some(&key))),
            rates: self.sample.rates.as_ref().and_then(|rates| rates.of_server(&service, &key)).copied(),
            assessment: None,
        }
    }
}

/// The value that the rows are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Key {
    /// Protocol, address and port
    Name,
    /// New connections per second
    #[default]
    Rate,
    /// Packets per second, in both directions
    Packets,
    /// Bits per second, in both directions
    #[value(alias = "bytes")]
    Bits,
    /// Active connections
    Active,
    /// Inactive connections
    Inactive,
    /// Connections in the state SYN_RECV
    SynRecv,
}

impl Key {
    /// Returns the title of the column.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Rate => "CONN/S",
            Self::Packets => "PKT/S",
            Self::Bits => "BIT/S",
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
            Self::SynRecv => "SYN_RECV",
        }
    }

    /// Returns the value of a row. 0 if it is unknown.
    fn value(self, row: &Row) -> f64 {
        let rates = row.rates.unwrap_or_default();
        match self {
            Self::Name => 0.0,
            Self::Rate => rates.connections,
            Self::Packets => packets(&rates),
            Self::Bits => bits(&rates),
            Self::Active => row.active as f64,
            Self::Inactive => row.inactive as f64,
            Self::SynRecv => row.syn_recv.unwrap_or_default() as f64,
        }
    }
}

/// Returns the packets per second in both directions.
pub(super) fn packets(rates: &Rates) -> f64 {
    rates.incoming_packets + rates.outgoing_packets
}

/// Returns the bits per second in both directions.
pub(super) fn bits(rates: &Rates) -> f64 {
    8.0 * (rates.incoming_bytes + rates.outgoing_bytes)
}

/// Sorts rows by a value, from the highest, and rows with the same value by name. `is_reversed` reverses the order.
pub(super) fn sort(rows: &mut [Row], key: Key, is_reversed: bool) {
    let order =
        |a: &Row, b: &Row| -> Ordering { key.value(b).total_cmp(&key.value(a)).then_with(|| a.item.cmp(&b.item)) };
    rows.sort_unstable_by(|a, b| if is_reversed { order(b, a) } else { order(a, b) });
}

/// The sums of rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) rates: Rates,
    pub(super) active: u64,
    pub(super) inactive: u64,
    pub(super) syn_recv: u64,
    pub(super) servers: usize,
    pub(super) problems: usize,
}

impl Sum {
    pub(super) fn of(rows: &[Row]) -> Self {
        let mut sum = Self::default();
        for row in rows {
            row.rates.iter().for_each(|rates| sum.rates.add(rates));
            sum.active += row.active;
            sum.inactive += row.inactive;
            sum.syn_recv += row.syn_recv.unwrap_or_default();
            sum.servers += row.up.1;
            sum.problems += usize::from(row.is_problem());
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{sample, selected};
    use super::*;

    fn names(rows: &[Row]) -> Vec<String> {
        rows.iter().map(|row| row.item.name()).collect()
    }

    #[test]
    fn services_have_the_sums_of_their_servers() {
        let rows = rows(&sample(), View::Services, &selected(&[]));
        assert_eq!(names(&rows)[..2], ["TCP 10.0.0.1:80", "TCP 192.0.2.1:443"]);
        let web = &rows[0];
        assert_eq!((web.up, web.active, web.inactive, web.syn_recv), ((2, 3), 40, 10, Some(2)));
        assert_eq!(web.rates.expect("rates").connections, 12.5);
    }

    #[test]
    fn rows_are_sorted_from_the_highest() {
        let sample = sample();
        for (key, first) in [
            (Key::Name, "TCP 10.0.0.1:80"),
            (Key::Rate, "TCP 10.0.0.1:80"),
            (Key::Bits, "TCP 192.0.2.1:443"),
            (Key::Active, "TCP 192.0.2.1:443"),
            (Key::SynRecv, "TCP [2001:db8:1111:2222:3333:4444:5555:6666]:443"),
        ] {
            let mut rows = rows(&sample, View::Services, &selected(&[]));
            sort(&mut rows, key, false);
            assert_eq!(names(&rows)[0], first, "{key:?}");
            let forward = names(&rows);
            sort(&mut rows, key, true);
            let backward: Vec<String> = names(&rows).into_iter().rev().collect();
            assert_eq!(forward, backward, "{key:?}");
        }
    }

    #[test]
    fn the_selection_limits_services_and_servers() {
        let sample = sample();
        let rows_of = |view, options: &[&str]| names(&rows(&sample, view, &selected(options)));
        assert_eq!(rows_of(View::Services, &["udp"]), ["UDP 10.0.0.1:53"]);
        assert_eq!(rows_of(View::Services, &["--server", "10.1.0.2"]), ["TCP 10.0.0.1:80"]);
        assert_eq!(rows_of(View::Servers, &["--server", "10.1.0.2"]), ["10.1.0.2:8080"]);
        let web = View::Service("tcp:10.0.0.1:80".parse().expect("a key"));
        assert_eq!(rows_of(web, &[]).len(), 3);
    }
}
