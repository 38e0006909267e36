//! A service with the inputs of its scheduler.

use std::collections::HashMap;

use super::Selection;
use crate::change::Change;
use crate::destination::Destination;
use crate::hash::{self, Input, LookupTable, TableSizes};
use crate::key::{DestinationKey, ServiceKey};
use crate::name::Scheduler;
use crate::service::{SchedulerFlags, Service};
use crate::state::{DestinationState, ServiceState};

/// A service with everything that its scheduler uses to select a server.
#[derive(Clone, Debug)]
pub struct Scheduling {
    service: Service,
    /// The oldest first.
    servers: Vec<Server>,
    /// The last weight that [`Assumption::Worst`] assumes.
    assumed_last_weight: u32,
}

/// An assumption about the values that the kernel does not report.
///
/// There are two. One is the last weight of a server that has weight 0, which mh uses. The other is whether a server is
/// full if the number of its connections is between its thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assumption {
    /// Servers of weight 0 never had another weight. Servers between their thresholds accept connections.
    Best,
    /// Servers of weight 0 had the greatest weight of the service's servers, and at least 1. Servers between their
    /// thresholds accept no connections.
    Worst,
}

/// The new clients that a service refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// No client.
    Nobody,
    /// Some clients. sh, mh and dh select an unavailable server for them.
    Some,
    /// Every client. No server is available.
    Everybody,
}

#[derive(Clone, Copy, Debug)]
struct Server {
    destination: Destination,
    /// The last weight other than 0 since the server was added, or 0. `None`: unknown.
    last_weight: Option<u32>,
    active_connections: u32,
    /// Active and inactive connections. Persistence templates do not count for thresholds. See `ip_vs_dest_totalconns`
    /// in <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_conn.c>.
    connections: u64,
    templates: u32,
    /// Whether the kernel has set `IP_VS_DEST_F_OVERLOAD`. `None`: unknown.
    is_full: Option<bool>,
}

impl Server {
    fn new(destination: Destination) -> Self {
        let last_weight = Some(destination.weight);
        let mut server =
            Self { destination, last_weight, active_connections: 0, connections: 0, templates: 0, is_full: None };
        server.is_full = server.fullness().or(Some(false));
        server
    }

    fn observed(state: &DestinationState) -> Self {
        let destination = state.destination;
        let mut server = Self {
            last_weight: (destination.weight > 0).then_some(destination.weight),
            active_connections: state.active_connections,
            connections: u64::from(state.active_connections) + u64::from(state.inactive_connections),
            templates: state.persistent_connections,
            ..Self::new(destination)
        };
        server.is_full = server.fullness();
        server
    }

    /// Returns whether the server is full. Returns `None` if this depends on the past: a full server accepts connections
    /// again when it has fewer than the lower threshold, by default 75 % of the upper one.
    fn fullness(&self) -> Option<bool> {
        let (upper, lower) = (u64::from(self.destination.upper_threshold), u64::from(self.destination.lower_threshold));
        let lower = if lower == 0 { upper - upper / 4 } else { lower };
        match self.connections {
            _ if upper == 0 => Some(false),
            connections if connections >= upper => Some(true),
            connections if connections < lower => Some(false),
            _ => None,
        }
    }

    /// Changes the settings.
    ///
    /// A server that accepted connections still does between its thresholds. A full one accepts connections again on
    /// some kernels if its upper threshold was raised. With a threshold that was lowered to its number of connections,
    /// older kernels let one more connection pass. See `ip_vs_dest_update_overload` and `__ip_vs_update_dest`.
    fn edit(&mut self, destination: Destination) {
        let was_full = self.is_full;
        self.destination = destination;
        if destination.weight > 0 {
            self.last_weight = Some(destination.weight);
        }
        self.is_full = self.fullness().or(was_full.filter(|was_full| !was_full));
    }

    fn is_available(&self, scheduler: Scheduler, assumption: Assumption) -> bool {
        let overflows = scheduler == Scheduler::OVF && self.active_connections > self.destination.weight;
        self.destination.weight > 0 && !self.is_full(assumption) && !overflows
    }

    fn is_full(&self, assumption: Assumption) -> bool {
        self.is_full.unwrap_or(assumption == Assumption::Worst)
    }
}

impl Scheduling {
    /// Returns the service of a reading.
    pub fn new(state: &ServiceState) -> Self {
        Self::with(state.service, state.destinations.iter().rev().map(Server::observed).collect())
    }

    /// Returns a service without connections, as it is after it was added with these servers, the oldest first.
    pub fn of_new(service: Service, oldest_first: &[Destination]) -> Self {
        Self::with(service, oldest_first.iter().copied().map(Server::new).collect())
    }

    fn with(service: Service, servers: Vec<Server>) -> Self {
        let assumed_last_weight = servers.iter().map(|server| server.destination.weight).max().unwrap_or(1).max(1);
        Self { service, servers, assumed_last_weight }
    }

    /// Returns the service after these changes. Changes of other services are skipped. Returns `None` if the service is
    /// deleted.
    ///
    /// A server that is deleted and added again keeps its connections, because the kernel finds it in its trash.
    pub fn after<'c>(&self, changes: impl IntoIterator<Item = &'c Change>) -> Option<Self> {
        let key = self.service.key;
        let mut changed = Changed::of(self);
        for change in changes.into_iter().filter(|change| change.service() == Some(key)) {
            changed.make(change);
        }
        let Changed { service, servers, .. } = changed;
        let servers = servers.into_iter().flatten().collect();
        Some(Self { service: service?, servers, assumed_last_weight: self.assumed_last_weight })
    }

    /// Returns the service with weight 0 for some of its servers.
    #[must_use]
    pub fn with_weight_0(mut self, servers: impl Fn(&DestinationKey) -> bool) -> Self {
        for server in self.servers.iter_mut().filter(|server| servers(&server.destination.key)) {
            server.edit(Destination { weight: 0, ..server.destination });
        }
        self
    }

    /// Returns the service with the last weights of servers that have weight 0, as far as `last_weight` knows them. Those
    /// that are known already stay.
    #[must_use]
    pub fn with_last_weights(mut self, last_weight: impl Fn(&DestinationKey) -> Option<u32>) -> Self {
        for server in self.servers.iter_mut().filter(|server| server.last_weight.is_none()) {
            server.last_weight = last_weight(&server.destination.key);
        }
        self
    }

    /// Returns the settings of the service.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Returns the servers, the oldest first.
    pub fn destinations(&self) -> impl Iterator<Item = Destination> + '_ {
        self.servers.iter().map(|server| server.destination)
    }

    /// Returns the number of servers.
    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Returns whether the service has no servers.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// Returns whether a server has weight 0.
    pub fn has_weight_0(&self) -> bool {
        self.servers.iter().any(|server| server.destination.weight == 0)
    }

    /// Returns whether all servers have weight 0. This is also the case without servers.
    pub fn has_only_weight_0(&self) -> bool {
        self.servers.iter().all(|server| server.destination.weight == 0)
    }

    /// Returns whether a server with a weight above 0 is full, or may be.
    pub fn has_full(&self) -> bool {
        self.servers.iter().any(|server| server.destination.weight > 0 && server.is_full(Assumption::Worst))
    }

    /// Returns the servers whose last weight is unknown and used.
    pub fn unknown_last_weights(&self) -> impl Iterator<Item = DestinationKey> + '_ {
        let servers = self.servers.iter().filter(|_| self.service.scheduler == Scheduler::MH);
        servers.filter(|server| server.last_weight.is_none()).map(|server| server.destination.key)
    }

    /// Returns the last weight that [`Assumption::Worst`] assumes.
    pub fn assumed_last_weight(&self) -> u32 {
        self.assumed_last_weight
    }

    /// Returns the servers of weight 0 that keep getting clients, each with the number of its persistence templates.
    ///
    /// A template sends its client to its server as long as the client returns within the timeout, also at weight 0.
    /// With the sysctl `net.ipv4.vs.expire_quiescent_template` it does not. See `ip_vs_check_template` in
    /// <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_conn.c>.
    pub fn kept_by_templates(&self) -> impl Iterator<Item = (DestinationKey, u32)> + '_ {
        let servers = self.servers.iter().filter(|_| self.service.persistence.is_some());
        let keeping = servers.filter(|server| server.destination.weight == 0 && server.templates > 0);
        keeping.map(|server| (server.destination.key, server.templates))
    }

    /// Returns the new clients that are refused, by the rules of the scheduler alone. [`selection`](Self::selection)
    /// has the server of each client.
    pub fn refusal(&self, assumption: Assumption) -> Refusal {
        if self.service.scheduler == Scheduler::NONE || !self.may_serve(assumption) {
            return Refusal::Everybody;
        }
        let scheduler = self.service.scheduler;
        let is_selected = |server: &Server| {
            scheduler != Scheduler::MH
                || server.last_weight.map_or(assumption == Assumption::Worst, |weight| weight > 0)
        };
        let is_unavailable = |server: &Server| !server.is_available(scheduler, assumption) && is_selected(server);
        let has_fallback = scheduler != Scheduler::DH && self.service.flags.contains(SchedulerFlags::FALLBACK);
        if LookupTable::exists_for(&self.service) && !has_fallback && self.servers.iter().any(is_unavailable) {
            return Refusal::Some;
        }
        Refusal::Nobody
    }

    /// Returns whether a server is available.
    fn may_serve(&self, assumption: Assumption) -> bool {
        let scheduler = self.service.scheduler;
        let is_cached = |server: &Server| {
            scheduler == Scheduler::LBLC && server.destination.weight > 0 && assumption == Assumption::Best
        };
        self.servers.iter().any(|server| server.is_available(scheduler, assumption) || is_cached(server))
    }

    /// Returns the servers that the scheduler selects. Returns `None` if they are unknown: mh with more servers than
    /// slots keeps its previous table.
    pub fn selection(&self, assumption: Assumption, sizes: TableSizes) -> Option<Selection> {
        if !self.has_room(sizes) {
            return None;
        }
        if !LookupTable::exists_for(&self.service) {
            let refuses = self.refusal(assumption) == Refusal::Everybody;
            return Some(if refuses { Selection::Nothing } else { Selection::Any });
        }
        let table = self.lookup_table(assumption, sizes)?;
        Some(match self.service.key {
            // dh hashes the destination address, which is the same for all clients of the service.
            ServiceKey::Address { address, .. } if self.service.scheduler == Scheduler::DH => {
                table.pick(address, 0).map_or(Selection::Nothing, Selection::One)
            }
            _ => Selection::Table(Box::new(table)),
        })
    }

    /// Returns the table of a hashing scheduler. Returns `None` if the scheduler does not hash.
    pub(super) fn lookup_table(&self, assumption: Assumption, sizes: TableSizes) -> Option<LookupTable> {
        let last_weight = if assumption == Assumption::Worst { self.assumed_last_weight } else { 0 };
        let input = |server: &Server| Input {
            destination: server.destination,
            last_weight: server.last_weight.unwrap_or(last_weight),
            is_available: server.is_available(self.service.scheduler, assumption),
        };
        let inputs: Vec<Input> = self.servers.iter().map(input).collect();
        LookupTable::from_inputs(&self.service, &inputs, sizes)
    }

    /// Returns whether the kernel's table is known. mh with more servers than slots keeps its previous table.
    pub(super) fn has_room(&self, sizes: TableSizes) -> bool {
        hash::has_room(&self.service, self.len(), sizes)
    }

    /// Returns whether a result can depend on the assumption.
    pub(super) fn has_unknown(&self) -> bool {
        let is_cached = self.service.scheduler == Scheduler::LBLC && self.has_full();
        is_cached
            || self.unknown_last_weights().next().is_some()
            || self.servers.iter().any(|server| server.destination.weight > 0 && server.is_full.is_none())
    }
}

/// A service while its changes are made.
struct Changed {
    service: Option<Service>,
    /// The oldest first. `None`: deleted.
    servers: Vec<Option<Server>>,
    places: HashMap<DestinationKey, usize>,
    trash: HashMap<DestinationKey, Server>,
}

impl Changed {
    fn of(before: &Scheduling) -> Self {
        let servers: Vec<_> = before.servers.iter().copied().map(Some).collect();
        let key = |(place, server): (usize, &Option<Server>)| Some(((*server)?.destination.key, place));
        let places = servers.iter().enumerate().filter_map(key).collect();
        Self { service: Some(before.service), servers, places, trash: HashMap::new() }
    }

    fn make(&mut self, change: &Change) {
        match change {
            Change::AddService(service) | Change::EditService(service) => self.service = Some(*service),
            Change::DeleteService(_) => {
                self.service = None;
                self.places.clear();
                self.servers.clear();
            }
            Change::AddDestination(_, destination) => {
                let server = Server::new(*destination);
                let server = self.trash.remove(&destination.key).map_or(server, |deleted| {
                    let mut again = Server { last_weight: server.last_weight, ..deleted };
                    again.edit(*destination);
                    again
                });
                self.places.insert(destination.key, self.servers.len());
                self.servers.push(Some(server));
            }
            Change::EditDestination(_, destination) => {
                let place = self.places.get(&destination.key);
                if let Some(server) = place.and_then(|place| self.servers[*place].as_mut()) {
                    server.edit(*destination);
                }
            }
            Change::DeleteDestination(_, key) => {
                let deleted = self.places.remove(key).and_then(|place| self.servers[place].take());
                self.trash.extend(deleted.map(|deleted| (*key, deleted)));
            }
            _ => {}
        }
    }
}
