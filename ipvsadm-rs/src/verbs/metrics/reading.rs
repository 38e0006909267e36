//! A reading of a table, as rows of values.

use ipvs::{
    Client, Destination, DestinationState, Error, Info, Selector, Service, ServiceState, State, Stats, SyncDaemon,
    Timeouts,
};

use super::follower::Follower;
use super::kernel_files::{KernelFiles, KernelValues};
use super::text::{Item, extended};
use crate::sight::condition::{Assessment, Condition, Problem};
use crate::sight::reading;

/// The table of the calling thread's network namespace.
#[derive(Debug)]
pub(super) struct Table {
    client: Client,
    files: KernelFiles,
}

impl Table {
    pub(super) fn open() -> Result<Self, Error> {
        Ok(Self { client: Client::open()?, files: KernelFiles::new() })
    }

    /// Reads the services that are selected, or all if there are no selectors. `namespace` is the value of the label
    /// `netns`.
    pub(super) fn read(&mut self, only: &[Selector], namespace: Option<&str>) -> Result<Reading, Error> {
        // The first request loads the module, which creates the files.
        let state = reading::read(&mut self.client)?;
        Ok(Reading::new(state, self.files.read(), only, namespace))
    }
}

/// A reading of a table.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) totals: Totals,
    /// In the order of their keys.
    pub(super) services: Vec<ServiceRow>,
}

/// Values of the whole table. The sums and numbers are those of the services that are selected.
#[derive(Debug)]
pub(super) struct Totals {
    labels: String,
    pub(super) info: Info,
    pub(super) timeouts: Timeouts,
    pub(super) daemons: Vec<SyncDaemon>,
    /// Whether the list of services may lack some, or include deleted ones.
    pub(super) is_uncertain: bool,
    pub(super) values: KernelValues,
    pub(super) services: usize,
    /// The number of services with each problem, in the order of [`Problem::ALL`].
    pub(super) problems: [usize; Problem::ALL.len()],
    pub(super) sums: Sums,
    /// `None`: no source was ever followed, or nobody read the state.
    pub(super) follower: Option<Follower>,
}

/// Sums over servers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sums {
    pub(super) active_connections: u64,
    pub(super) inactive_connections: u64,
    pub(super) templates: u64,
    pub(super) weight: u64,
    /// The number of servers in each condition, in the order of [`Condition::ALL`].
    pub(super) conditions: [u64; Condition::ALL.len()],
}

impl Sums {
    fn add_server(&mut self, server: &ServerRow) {
        self.active_connections += u64::from(server.active_connections);
        self.inactive_connections += u64::from(server.inactive_connections);
        self.templates += u64::from(server.templates);
        self.weight += u64::from(server.destination.weight);
        let at = Condition::ALL.iter().position(|condition| *condition == server.condition);
        at.into_iter().for_each(|at| self.conditions[at] += 1);
    }

    fn add(&mut self, other: &Self) {
        self.active_connections += other.active_connections;
        self.inactive_connections += other.inactive_connections;
        self.templates += other.templates;
        self.weight += other.weight;
        self.conditions.iter_mut().zip(other.conditions).for_each(|(sum, count)| *sum += count);
    }
}

/// A service.
#[derive(Debug)]
pub(super) struct ServiceRow {
    labels: String,
    pub(super) service: Service,
    pub(super) stats: Stats,
    pub(super) problem: Option<Problem>,
    pub(super) sums: Sums,
    /// The oldest first.
    pub(super) servers: Vec<ServerRow>,
}

/// A server of a service.
#[derive(Clone, Debug)]
pub(super) struct ServerRow {
    labels: String,
    pub(super) destination: Destination,
    pub(super) active_connections: u32,
    pub(super) inactive_connections: u32,
    pub(super) templates: u32,
    pub(super) stats: Stats,
    pub(super) condition: Condition,
}

impl Item for Totals {
    const LABELS: &'static [&'static str] = &[];

    fn labels(&self) -> &str {
        &self.labels
    }
}

impl Item for ServiceRow {
    const LABELS: &'static [&'static str] = &["service"];

    fn labels(&self) -> &str {
        &self.labels
    }
}

impl Item for ServerRow {
    const LABELS: &'static [&'static str] = &["service", "server"];

    fn labels(&self) -> &str {
        &self.labels
    }
}

impl Reading {
    /// Makes the rows of the services that are selected, or of all if there are no selectors.
    pub(super) fn new(state: State, values: KernelValues, only: &[Selector], namespace: Option<&str>) -> Self {
        let State { info, timeouts, daemons, services, is_uncertain, .. } = state;
        let is_selected = |service: &ServiceState| {
            only.is_empty() || only.iter().any(|selector| selector.selects(&service.service.key))
        };
        let labels = namespace.map(|name| extended("", &[("netns", &name)])).unwrap_or_default();
        let selected = services.iter().filter(|state| is_selected(state));
        let mut services: Vec<ServiceRow> = selected.map(|state| ServiceRow::new(state, &labels)).collect();
        services.sort_unstable_by_key(|row| row.service.key);
        let mut sums = Sums::default();
        services.iter().for_each(|row| sums.add(&row.sums));
        let with = |problem| services.iter().filter(|row| row.problem == Some(problem)).count();
        let (count, problems) = (services.len(), Problem::ALL.map(with));
        let totals = Totals {
            labels,
            info,
            timeouts,
            daemons,
            is_uncertain,
            values,
            services: count,
            problems,
            sums,
            follower: None,
        };
        Self { totals, services }
    }
}

impl ServiceRow {
    /// `labels` are those of the table.
    fn new(state: &ServiceState, labels: &str) -> Self {
        // The same text as that of a selector on the command line.
        let labels = extended(labels, &[("service", &Selector::Service(state.service.key))]);
        let servers: Vec<_> = state.destinations.iter().rev().map(|server| ServerRow::new(server, &labels)).collect();
        let mut sums = Sums::default();
        servers.iter().for_each(|server| sums.add_server(server));
        Self {
            labels,
            service: state.service,
            stats: state.stats,
            problem: Assessment::of(state).problem,
            sums,
            servers,
        }
    }
}

impl ServerRow {
    /// `labels` are those of the service.
    fn new(state: &DestinationState, labels: &str) -> Self {
        Self {
            labels: extended(labels, &[("server", &state.destination.key)]),
            destination: state.destination,
            active_connections: state.active_connections,
            inactive_connections: state.inactive_connections,
            templates: state.persistent_connections,
            stats: state.stats,
            condition: Condition::of(state),
        }
    }
}
