//! What a director should hold ([`Config`]) and what it holds ([`State`]).

use std::collections::HashSet;
use std::hash::Hash;

use ipvs_sys::DecodeError;
use ipvs_sys::wire::Unknown;

use crate::change::Invalid;
use crate::daemon::SyncDaemon;
use crate::destination::Destination;
use crate::family::Family;
use crate::info::Info;
use crate::service::Service;
use crate::stats::{Counters, Seen, Stats};
use crate::timeouts::Timeouts;

/// What a director should hold.
///
/// There is one service of each key, one destination of each key in a service, and one sync daemon of each role:
/// [`validate`](Self::validate) tells of others, and so do [`apply`](crate::apply()) and everything that reads a file.
/// A [`plan`](crate::plan()) for a table with doubles never arrives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Connection timeouts; `None` leaves them alone, and so does a 0 for one of them.
    pub timeouts: Option<Timeouts>,
    /// The sync daemons, none to two; `None` leaves them alone.
    pub daemons: Option<Vec<SyncDaemon>>,
    /// The virtual services, in any order.
    pub services: Vec<ServiceConfig>,
    /// What the order of the destinations means.
    pub order: Order,
}

/// A virtual service with its destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// The service.
    pub service: Service,
    /// Its destinations; what their order means is said by [`Config::order`].
    pub destinations: Vec<Destination>,
}

impl Config {
    /// What no director can hold: the same thing twice.
    pub fn validate(&self) -> Result<(), Invalid> {
        /// The first key that was there before.
        fn double<K: Copy + Eq + Hash>(mut keys: impl Iterator<Item = K>) -> Option<K> {
            let mut seen = HashSet::new();
            keys.find(|key| !seen.insert(*key))
        }
        if let Some(role) = double(self.daemons.iter().flatten().map(|daemon| daemon.role)) {
            return Err(Invalid::DuplicateDaemon(role));
        }
        if let Some(key) = double(self.services.iter().map(|service| service.service.key)) {
            return Err(Invalid::DuplicateService(key));
        }
        let doubles = self.services.iter().filter_map(|ServiceConfig { service, destinations }| {
            let server = double(destinations.iter().map(|server| server.key))?;
            Some(Invalid::DuplicateDestination(service.key, server))
        });
        doubles.map(Err).next().unwrap_or(Ok(()))
    }
}

/// What the order of destinations means. Hashing schedulers (sh, dh, mh) fill their tables in the kernel's order, so
/// there it decides which client gets to which server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Nothing: new destinations are added in this order, those that are there stay where they are.
    #[default]
    Any,
    /// The first is the oldest: the order in which a kernel has to be fed to hold them so.
    Kernel,
}

/// What a director holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Version and connection-table size.
    pub info: Info,
    /// Connection timeouts.
    pub timeouts: Timeouts,
    /// The sync daemons that run, the master first.
    pub daemons: Vec<SyncDaemon>,
    /// The virtual services, in the kernel's order, which means nothing.
    pub services: Vec<ServiceState>,
}

/// A virtual service as the kernel holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceState {
    /// Its settings.
    pub service: Service,
    /// What went through it.
    pub stats: Stats,
    /// Its destinations in the kernel's order: the newest first.
    pub destinations: Vec<DestinationState>,
    /// Attributes of a newer kernel that this library does not know.
    pub unknown: Unknown,
}

/// A destination as the kernel holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationState {
    /// Its settings.
    pub destination: Destination,
    /// Established connections.
    #[doc(alias = "IPVS_DEST_ATTR_ACTIVE_CONNS")]
    pub active_connections: u32,
    /// Connections that are opening, closing or have no states (UDP).
    #[doc(alias = "IPVS_DEST_ATTR_INACT_CONNS")]
    pub inactive_connections: u32,
    /// Persistence templates: clients that are held to this server.
    #[doc(alias = "IPVS_DEST_ATTR_PERSIST_CONNS")]
    pub persistent_connections: u32,
    /// What went to it.
    pub stats: Stats,
    /// Attributes of a newer kernel that this library does not know.
    pub unknown: Unknown,
}

impl ServiceState {
    /// What the kernel says of a service; its destinations are to be asked for.
    pub(crate) fn read(bytes: &[u8], counters: Counters) -> Result<Self, DecodeError> {
        let (service, service::Observed { stats, unknown }) = Service::read(bytes)?;
        Ok(Self { service, stats: stats.read(counters)?, destinations: Vec::new(), unknown })
    }
}

impl DestinationState {
    /// What the kernel says of a destination of a service of that family.
    #[inline]
    pub(crate) fn read(bytes: &[u8], service: Family, counters: Counters) -> Result<Self, DecodeError> {
        let (destination, observed) = Destination::read(bytes, service)?;
        let destination::Observed { active_connections, inactive_connections, persistent_connections, stats, unknown } =
            observed;
        let stats = stats.read(counters)?;
        Ok(Self { destination, active_connections, inactive_connections, persistent_connections, stats, unknown })
    }
}

/// What is held, as something to ask for: the same everywhere, to the order of the destinations.
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
            // The kernel lists the newest first; asked for is the oldest first.
            destinations: state.destinations.iter().rev().map(|state| state.destination).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ipvs_sys::wire::write_attribute;

    use super::*;

    #[test]
    fn what_a_newer_kernel_says_is_kept() {
        let mut bytes = Vec::new();
        write_attribute(&mut bytes, 99, |out| out.extend_from_slice(b"new"));
        let server = DestinationState::read(&bytes, Family::V4, Counters::Read).expect("reads");
        assert_eq!(server.unknown.iter().collect::<Vec<_>>(), [(99, &b"new"[..])]);
    }
}
