//! Rules files ↔ tables.

use std::collections::HashMap;
use std::hash::Hash;

use super::command::Command;
use super::error::ParseError;
use super::read::{LineError, Lines};
use super::resolver::{Numeric, Resolver};
use super::write::{write_change, write_destination, write_service};
use crate::change::{Change, Warning};
use crate::daemon::SyncDaemon;
use crate::destination::Destination;
use crate::errors::Errors;
use crate::estimate::{Assumption, Refusal, Scheduling, Selection};
use crate::hash::TableSizes;
use crate::key::{DestinationKey, ServiceKey};
use crate::name::Scheduler;
use crate::service::Service;
use crate::state::{Config, Order, ServiceConfig};
use crate::timeouts::Timeouts;

/// The first line of a rules file in which the order of the servers matters.
const ORDER_LINE: &str = "# ipvsadm-rs: order=kernel";

/// A table that was read from a rules file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadConfig {
    /// The table that the lines describe.
    pub config: Config,
    /// Warnings about lines that are valid but probably unintended, each with its line number, from 1.
    pub warnings: Vec<(usize, ConfigWarning)>,
    /// The number of lines that are neither empty nor comments.
    pub lines: usize,
}

/// A part of a table's description that is valid but probably unintended.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigWarning {
    /// A warning about one service, server or sync daemon.
    #[error("{0}")]
    Change(Warning),
    /// A line that repeats an earlier one, which has this number.
    #[error("repeats line {0}")]
    Repeated(usize),
    /// A service without servers.
    #[error("{0} has no servers: every connection is refused")]
    NoServers(ServiceKey),
    /// A service whose servers all have weight 0.
    #[error("all servers of {0} have weight 0: every new connection is refused")]
    NoWeight(ServiceKey),
    /// A hashing scheduler that refuses the clients of servers of weight 0. mh does not, because it selects no server
    /// that was added with weight 0.
    #[error("{service}: {scheduler}{} refuses the new clients of servers of weight 0", without_fallback(*.scheduler))]
    RefusedClients {
        /// The service.
        service: ServiceKey,
        /// Its scheduler, sh or dh.
        scheduler: Scheduler,
    },
    /// A persistent service with a server of weight 0. Persistence templates still send their clients to it, unless the
    /// sysctl `net.ipv4.vs.expire_quiescent_template` is 1.
    #[error(
        "{0} is persistent: known clients of servers of weight 0 keep connecting to them unless \
         net.ipv4.vs.expire_quiescent_template is 1"
    )]
    KeptClients(ServiceKey),
}

fn without_fallback(scheduler: Scheduler) -> &'static str {
    if scheduler == Scheduler::SH { " without sh-fallback" } else { "" }
}

impl ConfigWarning {
    /// Returns the warnings about the servers of a service as a whole.
    pub(crate) fn of_servers(service: &Service, servers: &[Destination]) -> impl Iterator<Item = Self> + use<> {
        let key = service.key;
        let has_weight_0 = servers.iter().any(|server| server.weight == 0);
        let refused = match servers {
            [] => Some(Self::NoServers(key)),
            servers if servers.iter().all(|server| server.weight == 0) => Some(Self::NoWeight(key)),
            servers if has_weight_0 && refuses_some(service, servers) => {
                Some(Self::RefusedClients { service: key, scheduler: service.scheduler })
            }
            _ => None,
        };
        let kept = (has_weight_0 && service.persistence.is_some()).then_some(Self::KeptClients(key));
        refused.into_iter().chain(kept)
    }
}

/// Returns whether a new service with these servers refuses some of its clients.
fn refuses_some(service: &Service, servers: &[Destination]) -> bool {
    let scheduling = Scheduling::of_new(*service, servers);
    scheduling.refusal(Assumption::Best) == Refusal::Some
        // dh has the same server for all clients of an address.
        && !matches!(scheduling.selection(Assumption::Best, TableSizes::default()), Some(Selection::One(_)))
}

/// Reads a rules file as the table that results when its lines are applied to an empty table.
///
/// A line that repeats an earlier one is a warning, not an error. If the first line is `# ipvsadm-rs: order=kernel`,
/// the order of the servers matters ([`Order::Kernel`]).
///
/// # Errors
///
/// Returns an error for each line that [`Lines`] cannot read or that no kernel accepts
/// ([`Change::validate`](crate::Change::validate)). Lines that do not change the table, or that contradict an earlier
/// line, are errors, too.
pub fn read_config(text: &[u8], resolver: &mut dyn Resolver) -> Result<ReadConfig, Errors<LineError>> {
    let mut builder = Builder::default();
    let mut errors = Vec::new();
    let mut lines = 0;
    let mut reader = Lines::new(text, resolver);
    while let Some(line) = reader.next() {
        lines += 1;
        match line {
            Ok(line) => {
                if let Err(error) = builder.take(line.number, &line.command) {
                    errors.push(reader.error_of_command(error));
                }
            }
            Err(error) => errors.push(error),
        }
    }
    Errors::none_or(errors, || ReadConfig { lines, ..builder.finish(order(text)) })
}

/// Returns the order that the first line names.
fn order(text: &[u8]) -> Order {
    let first = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    if first.trim_ascii() == ORDER_LINE.as_bytes() { Order::Kernel } else { Order::Any }
}

/// Values by key, in the order of their insertion.
struct Ordered<K, V> {
    places: HashMap<K, usize>,
    values: Vec<Option<V>>,
}

impl<K, V> Default for Ordered<K, V> {
    fn default() -> Self {
        Self { places: HashMap::new(), values: Vec::new() }
    }
}

impl<K: Copy + Eq + Hash, V> Ordered<K, V> {
    fn get(&mut self, key: &K) -> Option<&mut V> {
        self.places.get(key).and_then(|place| self.values[*place].as_mut())
    }

    fn insert(&mut self, key: K, value: V) {
        self.places.insert(key, self.values.len());
        self.values.push(Some(value));
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        self.places.remove(key).and_then(|place| self.values[place].take())
    }

    fn into_values(self) -> impl Iterator<Item = V> {
        self.values.into_iter().flatten()
    }
}

/// The table that the lines so far describe, with the number of each line.
#[derive(Default)]
struct Builder {
    timeouts: Option<Timeouts>,
    daemons: Option<Vec<(usize, SyncDaemon)>>,
    services: Ordered<ServiceKey, Entry>,
    warnings: Vec<(usize, ConfigWarning)>,
}

struct Entry {
    line: usize,
    service: Service,
    servers: Ordered<DestinationKey, (usize, Destination)>,
}

impl Builder {
    fn take(&mut self, line: usize, command: &Command) -> Result<(), ParseError> {
        let Command::Change(change) = command else { return Err(ParseError::NotAChange) };
        change.validate_with_names().map_err(ParseError::Invalid)?;
        self.warnings.extend(change.warnings().into_iter().map(|warning| (line, ConfigWarning::Change(warning))));
        match change {
            Change::AddService(service) => self.add_service(line, service)?,
            Change::EditService(service) => self.entry(&service.key)?.service = *service,
            Change::DeleteService(key) => drop(self.services.remove(key).ok_or(ParseError::NoSuchService)?),
            Change::AddDestination(key, server) => self.add_server(line, key, server)?,
            Change::EditDestination(key, server) => {
                self.entry(key)?.servers.get(&server.key).ok_or(ParseError::NoSuchServer)?.1 = *server;
            }
            Change::DeleteDestination(key, server) => {
                self.entry(key)?.servers.remove(server).ok_or(ParseError::NoSuchServer)?;
            }
            Change::SetTimeouts(timeouts) => {
                self.timeouts = Some(timeouts.over(self.timeouts.unwrap_or_default()));
            }
            Change::StartDaemon(daemon) => self.start_daemon(line, daemon)?,
            Change::StopDaemon(role) => {
                let daemons = self.daemons.as_mut().ok_or(ParseError::NoDaemon)?;
                let at = daemons.iter().position(|(_, running)| running.role == *role).ok_or(ParseError::NoDaemon)?;
                daemons.remove(at);
            }
            Change::Flush => self.services = Ordered::default(),
            Change::Zero(_) => return Err(ParseError::NotAChange),
        }
        Ok(())
    }

    fn add_service(&mut self, line: usize, service: &Service) -> Result<(), ParseError> {
        match self.services.get(&service.key) {
            Some(entry) if entry.service == *service => {
                let first = entry.line;
                self.repeated(line, first);
            }
            Some(entry) => return Err(ParseError::ServiceExists(entry.line)),
            None => {
                let entry = Entry { line, service: *service, servers: Ordered::default() };
                self.services.insert(service.key, entry);
            }
        }
        Ok(())
    }

    fn add_server(&mut self, line: usize, key: &ServiceKey, server: &Destination) -> Result<(), ParseError> {
        let servers = &mut self.entry(key)?.servers;
        match servers.get(&server.key) {
            Some((first, earlier)) if earlier == server => {
                let first = *first;
                self.repeated(line, first);
            }
            Some((first, _)) => return Err(ParseError::ServerExists(*first)),
            None => servers.insert(server.key, (line, *server)),
        }
        Ok(())
    }

    fn start_daemon(&mut self, line: usize, daemon: &SyncDaemon) -> Result<(), ParseError> {
        let daemons = self.daemons.get_or_insert_default();
        match daemons.iter().find(|(_, running)| running.role == daemon.role) {
            Some((first, running)) if running == daemon => {
                let first = *first;
                self.repeated(line, first);
            }
            Some((first, _)) => return Err(ParseError::DaemonRuns(*first)),
            None => daemons.push((line, *daemon)),
        }
        Ok(())
    }

    fn entry(&mut self, key: &ServiceKey) -> Result<&mut Entry, ParseError> {
        self.services.get(key).ok_or(ParseError::NoSuchService)
    }

    fn repeated(&mut self, line: usize, first: usize) {
        self.warnings.push((line, ConfigWarning::Repeated(first)));
    }

    fn finish(self, order: Order) -> ReadConfig {
        let mut warnings = self.warnings;
        let mut services = Vec::with_capacity(self.services.places.len());
        for Entry { line, service, servers } in self.services.into_values() {
            let destinations: Vec<Destination> = servers.into_values().map(|(_, server)| server).collect();
            warnings.extend(ConfigWarning::of_servers(&service, &destinations).map(|warning| (line, warning)));
            services.push(ServiceConfig { service, destinations });
        }
        warnings.sort_by_key(|(line, _)| *line);
        let daemons = self.daemons.map(|daemons| daemons.into_iter().map(|(_, daemon)| daemon).collect());
        ReadConfig { config: Config { timeouts: self.timeouts, daemons, services, order }, warnings, lines: 0 }
    }
}

/// Appends the rules file that describes a table.
///
/// ipvsadm-restore 1.31 can read it, too. Its exit code is that of the last line, so timeouts and daemons come first.
pub fn write_config(out: &mut Vec<u8>, config: &Config) {
    let Config { timeouts, daemons, services, order } = config;
    if *order == Order::Kernel {
        out.extend_from_slice(ORDER_LINE.as_bytes());
        out.push(b'\n');
    }
    let globals = timeouts.iter().map(|timeouts| Change::SetTimeouts(*timeouts));
    for change in globals.chain(daemons.iter().flatten().map(|daemon| Change::StartDaemon(*daemon))) {
        write_change(out, &change);
        out.push(b'\n');
    }
    for ServiceConfig { service, destinations } in services {
        write_service(out, service, &mut Numeric);
        out.push(b'\n');
        for destination in destinations {
            write_destination(out, &service.key, destination, &mut Numeric);
            out.push(b'\n');
        }
    }
}
