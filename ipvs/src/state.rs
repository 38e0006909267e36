//! Tables: the desired table ([`Config`]) and the current table ([`State`]).

use std::collections::HashSet;
use std::hash::Hash;

use ipvs_sys::DecodeError;
use ipvs_sys::wire::Unknown;

use crate::change::{Change, Invalid};
use crate::connections::ConnectionEntry;
use crate::daemon::SyncDaemon;
use crate::destination::{self, Destination};
use crate::family::Family;
use crate::info::Info;
use crate::key::ServiceKey;
use crate::service::{self, Service};
use crate::stats::{Counters, Stats};
use crate::timeouts::Timeouts;

/// The desired table.
///
/// The keys of services, the keys of destinations within a service, and the roles of sync daemons must be unique.
/// [`validate`](Self::validate) checks this, and so do [`apply`](crate::apply()) and all functions that read files.
/// [`plan`](crate::plan()) does not: with duplicates, no plan reaches the desired table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The connection timeouts. `None`: not changed. A timeout of 0 is not changed either.
    pub timeouts: Option<Timeouts>,
    /// The sync daemons, at most one of each role. `None`: not changed. Empty: none may run.
    pub daemons: Option<Vec<SyncDaemon>>,
    /// The virtual services, in any order.
    pub services: Vec<ServiceConfig>,
    /// Whether the order of the destinations matters.
    pub order: Order,
}

/// A virtual service with its destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Key and settings.
    pub service: Service,
    /// Its destinations. [`Config::order`] defines whether their order matters.
    pub destinations: Vec<Destination>,
}

impl Config {
    /// Checks that every key and role is unique, that [`Change::validate`] accepts every value, and that no name
    /// contains a blank or a control character.
    ///
    /// # Errors
    ///
    /// Returns the first duplicate: [`Invalid::DuplicateService`], [`Invalid::DuplicateDestination`] or
    /// [`Invalid::DuplicateDaemon`]. If there is none, returns the first invalid value or name.
    pub fn validate(&self) -> Result<(), Invalid> {
        /// Returns the first key that occurs a second time, or `None` if all are unique.
        fn duplicate<K: Copy + Eq + Hash>(mut keys: impl Iterator<Item = K>) -> Option<K> {
            let mut seen = HashSet::new();
            keys.find(|key| !seen.insert(*key))
        }
        if let Some(role) = duplicate(self.daemons.iter().flatten().map(|daemon| daemon.role)) {
            return Err(Invalid::DuplicateDaemon(role));
        }
        if let Some(key) = duplicate(self.services.iter().map(|service| service.service.key)) {
            return Err(Invalid::DuplicateService(key));
        }
        let duplicates = self.services.iter().filter_map(|ServiceConfig { service, destinations }| {
            let server = duplicate(destinations.iter().map(|server| server.key))?;
            Some(Invalid::DuplicateDestination(service.key, server))
        });
        duplicates.map(Err).next().unwrap_or(Ok(()))?;
        let daemons = self.daemons.iter().flatten().map(|daemon| Change::StartDaemon(*daemon));
        let services = self.services.iter().flat_map(|ServiceConfig { service, destinations }| {
            let servers = destinations.iter().map(|server| Change::AddDestination(service.key, *server));
            std::iter::once(Change::AddService(*service)).chain(servers)
        });
        daemons.chain(services).try_for_each(|change| change.validate_with_names())
    }
}

/// Whether the order of destinations matters. Hashing schedulers (sh, dh, mh) fill their tables in the kernel's order,
/// so the order determines the server of each client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The order does not matter. New destinations are added in this order; existing ones are not moved.
    #[default]
    Any,
    /// The order matters. The first destination is the oldest, the one that was added first.
    Kernel,
}

/// The current table of a director.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct State {
    /// The version of IPVS and the size of the connection table.
    pub info: Info,
    /// The connection timeouts.
    pub timeouts: Timeouts,
    /// The running sync daemons, the master first.
    pub daemons: Vec<SyncDaemon>,
    /// The virtual services, in the kernel's order, which has no meaning.
    pub services: Vec<ServiceState>,
    /// Whether the list of services may include deleted ones. Since Linux 7.1 the kernel resizes its table shortly after
    /// services were added or deleted. While it does so, some services are missing from a reading or repeated. The
    /// table is then read again, at most ten times.
    ///
    /// On every kernel, a reading of a long list also lacks items if others are deleted meanwhile. Nothing reports this.
    /// Before Linux 7.1, deleting services of another namespace has this effect, too.
    /// [`Watch`](crate::Watch) reads again before it reports a deletion.
    pub is_uncertain: bool,
}

/// A virtual service as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceState {
    /// Key and settings.
    pub service: Service,
    /// The counters of the service.
    pub stats: Stats,
    /// Its destinations in the kernel's order: the newest first.
    pub destinations: Vec<DestinationState>,
    /// Attributes of a newer kernel that this library does not know.
    pub unknown: Unknown,
}

/// A destination as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DestinationState {
    /// Key and settings.
    pub destination: Destination,
    /// The number of established connections.
    #[doc(alias = "IPVS_DEST_ATTR_ACTIVE_CONNS")]
    pub active_connections: u32,
    /// The number of other connections: those that are being opened or closed, and those without states (UDP).
    #[doc(alias = "IPVS_DEST_ATTR_INACT_CONNS")]
    pub inactive_connections: u32,
    /// The number of persistence templates: clients that are sent to this server.
    #[doc(alias = "IPVS_DEST_ATTR_PERSIST_CONNS")]
    pub persistent_connections: u32,
    /// The counters of the destination.
    pub stats: Stats,
    /// Attributes of a newer kernel that this library does not know.
    pub unknown: Unknown,
}

impl State {
    /// Returns the service of a connection: the one with its address and port, or the one with its address and port 0.
    /// Returns `None` if there is neither, as for connections of a service by mark.
    ///
    /// It searches all services. For many connections, use [`ServiceIndex`](crate::ServiceIndex).
    pub fn service_of(&self, entry: &ConnectionEntry) -> Option<&ServiceState> {
        let key = entry.service_key()?;
        let find = |key: &ServiceKey| self.services.iter().find(|state| state.service.key == *key);
        find(&key).or_else(|| match key {
            ServiceKey::Address { protocol, address, .. } => find(&ServiceKey::new(protocol, address, 0)),
            ServiceKey::Fwmark { .. } => None,
        })
    }
}

/// Returns a table with these services.
impl From<Vec<ServiceState>> for State {
    fn from(services: Vec<ServiceState>) -> Self {
        Self { services, ..Self::default() }
    }
}

impl ServiceState {
    /// Returns a service without destinations.
    pub fn new(service: Service) -> Self {
        Self { service, stats: Stats::default(), destinations: Vec::new(), unknown: Unknown::default() }
    }

    /// Reads the attributes of a service, without its destinations.
    pub(crate) fn read(bytes: &[u8], counters: Counters) -> Result<Self, DecodeError> {
        let (service, service::Observed { stats, unknown }) = Service::read(bytes)?;
        Ok(Self { service, stats: stats.read(counters)?, destinations: Vec::new(), unknown })
    }
}

impl DestinationState {
    /// Returns a destination without connections.
    pub fn new(destination: Destination) -> Self {
        Self {
            destination,
            active_connections: 0,
            inactive_connections: 0,
            persistent_connections: 0,
            stats: Stats::default(),
            unknown: Unknown::default(),
        }
    }

    /// Returns whether the destination has connections, active or inactive. Persistence templates are no connections.
    pub fn has_connections(&self) -> bool {
        self.active_connections > 0 || self.inactive_connections > 0
    }

    /// Reads the attributes of a destination. `service` is the family of its service.
    #[inline]
    pub(crate) fn read(bytes: &[u8], service: Family, counters: Counters) -> Result<Self, DecodeError> {
        let (destination, observed) = Destination::read(bytes, service)?;
        let destination::Observed { active_connections, inactive_connections, persistent_connections, stats, unknown } =
            observed;
        let stats = stats.read(counters)?;
        Ok(Self { destination, active_connections, inactive_connections, persistent_connections, stats, unknown })
    }
}

/// Returns the same table as a desired table, including the order of the destinations.
impl From<&State> for Config {
    fn from(state: &State) -> Self {
        Self {
            timeouts: Some(state.timeouts),
            daemons: Some(state.daemons.clone()),
            services: state.services.iter().map(ServiceConfig::from).collect(),
            order: Order::Kernel,
        }
    }
}

impl From<&ServiceState> for ServiceConfig {
    fn from(state: &ServiceState) -> Self {
        Self {
            service: state.service,
            // The kernel lists the newest first, a desired table the oldest first.
            destinations: state.destinations.iter().rev().map(|state| state.destination).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ipvs_sys::wire::write_attribute;

    use super::*;
    use crate::{Connections, Forwarding, Role, Scheduler};

    #[test]
    fn invalid_values_of_all_kinds_are_found() {
        let key = ServiceKey::tcp([192, 0, 2, 1], 80);
        let server = Destination::new(([10, 0, 0, 1], 80), Forwarding::Masquerade);
        let with = |server| Config {
            services: vec![ServiceConfig { service: Service::new(key, Scheduler::RR), destinations: vec![server] }],
            ..Config::default()
        };
        assert_eq!(with(server).validate(), Ok(()));
        let heavy = with(Destination { weight: u32::MAX, ..server });
        assert_eq!(heavy.validate(), Err(Invalid::Weight(u32::MAX)));
        let mut persistent = with(server);
        persistent.services[0].service.persistence = Some(0);
        assert_eq!(persistent.validate(), Err(Invalid::Persistence(0)));
        let daemon = SyncDaemon::new(Role::Backup, "eth0".parse().expect("a name"), 256);
        assert_eq!(Config { daemons: Some(vec![daemon]), ..heavy }.validate(), Err(Invalid::SyncId(256)));
    }

    #[test]
    fn service_of_a_connection_may_have_port_0() {
        let service = |port| ServiceState::new(Service::new(ServiceKey::tcp([10, 0, 0, 1], port), Scheduler::RR));
        let table = "Pro \nTCP 0A090001 9C41 0A000001 0050 0A010001 1F90 ESTABLISHED     899\n";
        let entry = Connections::new(table.as_bytes()).expect("a title").next().expect("a line").expect("an entry");
        let port_of = |services: Vec<ServiceState>| State::from(services).service_of(&entry)?.service.key.port();
        assert_eq!(port_of(vec![service(0), service(80)]), Some(80));
        assert_eq!(port_of(vec![service(0), service(443)]), Some(0));
        assert_eq!(port_of(vec![service(443)]), None);
    }

    #[test]
    fn attributes_of_a_newer_kernel_are_kept() {
        let mut bytes = Vec::new();
        write_attribute(&mut bytes, 99, |out| out.extend_from_slice(b"new"));
        let server = DestinationState::read(&bytes, Family::V4, Counters::Read).expect("reads");
        assert_eq!(server.unknown.iter().collect::<Vec<_>>(), [(99, &b"new"[..])]);
    }
}
