//! A table in memory that behaves like the kernel's table.

use std::net::Ipv4Addr;

use ipvs_sys::errno;

use crate::change::Change;
use crate::daemon::SyncDaemon;
use crate::destination::Destination;
use crate::director::{Director, Refused};
use crate::error::Error;
use crate::family::Family;
use crate::info::{Info, Version};
use crate::key::ServiceKey;
use crate::name::Scheduler;
use crate::service::Service;
use crate::state::{DestinationState, ServiceState, State};
use crate::stats::{Counters, Stats};
use crate::timeouts::Timeouts;

/// A table in memory, without traffic. It accepts and refuses the same changes as the kernel.
///
/// Tests compare it with real kernels. Like Debian's kernels up to 7.2, it has no scheduler `twos`. It accepts every
/// interface name.
///
/// ```
/// use ipvs::{Change, Director, Model, Scheduler, Service, ServiceKey};
/// use std::net::Ipv4Addr;
///
/// # fn main() -> Result<(), ipvs::Error> {
/// let mut director = Model::new();
/// let service = Service::new(ServiceKey::tcp(Ipv4Addr::new(192, 0, 2, 1), 80), Scheduler::RR);
/// let refused = director.submit(&[Change::AddService(service), Change::AddService(service)])?;
/// assert_eq!(refused.len(), 1);
/// assert_eq!(refused[0].0, 1, "the second one exists");
/// assert_eq!(director.state()?.services.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Model {
    state: State,
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// Returns an empty table with the kernel's default timeouts.
    pub fn new() -> Self {
        let info = Info { version: Version(1, 2, 1), connection_table_size: 4096 };
        Self { state: State { info, timeouts: Timeouts::KERNEL_DEFAULT, ..State::default() } }
    }

    /// Returns a table with these contents.
    pub fn with_state(state: State) -> Self {
        Self { state }
    }

    fn find(&mut self, key: &ServiceKey) -> Result<&mut ServiceState, i32> {
        self.state.services.iter_mut().find(|state| state.service.key == *key).ok_or(errno::ESRCH)
    }

    fn carry_out(&mut self, change: &Change) -> Result<(), i32> {
        match change {
            Change::AddService(service) => self.add_service(service)?,
            Change::EditService(service) => {
                let state = self.find(&service.key)?;
                known_names(service)?;
                state.service = *service;
            }
            Change::DeleteService(key) => {
                self.find(key)?;
                self.state.services.retain(|state| state.service.key != *key);
            }
            Change::AddDestination(key, destination) => {
                let state = self.find_for(key, destination)?;
                if state.destinations.iter().any(|state| state.destination.key == destination.key) {
                    return Err(errno::EEXIST);
                }
                // The kernel adds to the head:
                // https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_ctl.c (__ip_vs_update_dest)
                state.destinations.insert(0, DestinationState::new(*destination));
            }
            Change::EditDestination(key, destination) => {
                let state = self.find_for(key, destination)?;
                let mut destinations = state.destinations.iter_mut();
                let found = destinations.find(|state| state.destination.key == destination.key);
                found.ok_or(errno::ENOENT)?.destination = *destination;
            }
            Change::DeleteDestination(key, destination) => {
                let state = self.find(key)?;
                let found = state.destinations.iter().position(|state| state.destination.key == *destination);
                state.destinations.remove(found.ok_or(errno::ENOENT)?);
            }
            Change::SetTimeouts(timeouts) => self.state.timeouts = timeouts.over(self.state.timeouts),
            Change::StartDaemon(daemon) => self.start_daemon(*daemon)?,
            Change::StopDaemon(role) => {
                let found = self.state.daemons.iter().position(|daemon| daemon.role == *role);
                self.state.daemons.remove(found.ok_or(errno::ESRCH)?);
            }
            Change::Zero(None) => self.state.services.iter_mut().for_each(zero),
            Change::Zero(Some(key)) => zero(self.find(key)?),
            Change::Flush => self.state.services.clear(),
        }
        Ok(())
    }

    fn add_service(&mut self, service: &Service) -> Result<(), i32> {
        if self.find(&service.key).is_ok() {
            return Err(errno::EEXIST);
        }
        known_names(service)?;
        self.state.services.push(ServiceState::new(*service));
        Ok(())
    }

    /// Returns the service of a destination. Fails if the destination is of the other family and a sync daemon is
    /// running.
    fn find_for(&mut self, key: &ServiceKey, destination: &Destination) -> Result<&mut ServiceState, i32> {
        let sync = !self.state.daemons.is_empty();
        let state = self.find(key)?;
        if sync && is_mixed(key, destination) { Err(errno::EINVAL) } else { Ok(state) }
    }

    fn start_daemon(&mut self, daemon: SyncDaemon) -> Result<(), i32> {
        if self.state.daemons.iter().any(|running| running.role == daemon.role) {
            return Err(errno::EEXIST);
        }
        let mixes = |state: &ServiceState| {
            state.destinations.iter().any(|server| is_mixed(&state.service.key, &server.destination))
        };
        if self.state.services.iter().any(mixes) {
            return Err(errno::EINVAL);
        }
        self.state.daemons.push(as_it_runs(daemon));
        self.state.daemons.sort_by_key(|daemon| daemon.role);
        Ok(())
    }
}

impl Director for Model {
    fn state_with(&mut self, counters: Counters) -> Result<State, Error> {
        let mut state = self.state.clone();
        if counters == Counters::Skip {
            state.services.iter_mut().for_each(zero);
        }
        Ok(state)
    }

    fn submit(&mut self, changes: &[Change]) -> Result<Refused, Error> {
        for change in changes {
            change.validate().map_err(|why| Error::invalid(change, why))?;
        }
        let refuse =
            |(index, change)| self.carry_out(change).err().map(|errno| (index, Error::as_kernel(change, errno)));
        Ok(changes.iter().enumerate().filter_map(refuse).collect())
    }
}

fn known_names(service: &Service) -> Result<(), i32> {
    // Debian's kernels up to 7.2 do not have it.
    const NOT_BUILT: Scheduler = Scheduler::TWOS;
    let scheduler = service.scheduler.help().is_some() && service.scheduler != NOT_BUILT;
    let engine = service.engine.is_none_or(|engine| engine.as_bytes() == b"sip");
    if scheduler && engine { Ok(()) } else { Err(errno::ENOENT) }
}

fn is_mixed(service: &ServiceKey, destination: &Destination) -> bool {
    Family::of(destination.key.address) != service.family()
}

fn zero(state: &mut ServiceState) {
    state.stats = Stats::default();
    state.destinations.iter_mut().for_each(|state| state.stats = Stats::default());
}

/// Returns the daemon with the kernel's defaults filled in, for an interface with an MTU of 1500 bytes.
fn as_it_runs(daemon: SyncDaemon) -> SyncDaemon {
    let daemon = daemon.fitted();
    SyncDaemon {
        max_length: daemon.max_length.or(Some(1500 - daemon.headers())),
        group: daemon.group.or(Some(Ipv4Addr::new(224, 0, 0, 81).into())),
        port: daemon.port.or(Some(8848)),
        ttl: daemon.ttl.or(Some(1)),
        ..daemon
    }
}
