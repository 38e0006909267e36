//! A text of rules as what a director should hold.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;

use super::command::Command;
use super::error::ProblemKind;
use super::read::{LineError, Lines};
use super::resolver::{Numeric, Resolver};
use super::write::{write_change, write_destination, write_service};
use crate::change::{Change, Warning};
use crate::daemon::SyncDaemon;
use crate::destination::Destination;
use crate::key::{DestinationKey, ServiceKey};
use crate::service::Service;
use crate::state::{Config, Order, ServiceConfig};
use crate::timeouts::Timeouts;

/// The line with which a text says that its order is the kernel's.
const ORDER_LINE: &str = "# ipvsadm-rs: order=kernel";

/// What a text of rules asks for, and what in it was hardly meant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadConfig {
    /// What a director should hold.
    pub config: Config,
    /// What is legal and hardly meant, by line.
    pub warnings: Vec<LineWarning>,
    /// How many lines say something.
    pub lines: usize,
}

/// Something in a text of rules that is legal and hardly meant.
#[derive(Clone, Debug, PartialEq)]
pub struct LineWarning {
    /// The line; the first is 1.
    pub number: usize,
    /// What it is.
    pub what: Doubt,
}

/// What is legal and hardly meant.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Doubt {
    /// The line by itself.
    #[error("{0}")]
    Change(Warning),
    /// The same line as before.
    #[error("line {0} says that already")]
    Repeated(usize),
    /// A service without servers.
    #[error("{0} has no servers: every connection is refused")]
    NoServers(ServiceKey),
    /// A service whose servers all have weight 0.
    #[error("all servers of {0} have weight 0: every new connection is refused")]
    NoWeight(ServiceKey),
}

impl Doubt {
    /// What is to be doubted of a service's servers together.
    pub(crate) fn of_servers(key: ServiceKey, servers: &[Destination]) -> Option<Self> {
        match servers {
            [] => Some(Self::NoServers(key)),
            servers if servers.iter().all(|server| server.weight == 0) => Some(Self::NoWeight(key)),
            _ => None,
        }
    }
}

impl fmt::Display for LineWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.number, self.what)
    }
}

/// Read a text of rules as what a director should hold: what it would hold if the lines were carried out on an empty
/// one. A line that says what an earlier one has said already does no harm.
///
/// If the first line is `# ipvsadm-rs: order=kernel`, the order of the servers counts ([`Order::Kernel`]).
pub fn read_config(text: &[u8], resolver: &mut dyn Resolver) -> Result<ReadConfig, Vec<LineError>> {
    let mut builder = Builder::default();
    let mut errors = Vec::new();
    let mut lines = 0;
    let mut reader = Lines::new(text, resolver);
    while let Some(line) = reader.next() {
        lines += 1;
        match line {
            Ok(line) => {
                if let Err(problem) = builder.take(line.number, &line.command) {
                    let text = String::from_utf8_lossy(reader.line()).into_owned();
                    errors.push(LineError { number: line.number, column: 1, text, problem });
                }
            }
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let first = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let order = if first.trim_ascii() == ORDER_LINE.as_bytes() { Order::Kernel } else { Order::Any };
    Ok(ReadConfig { lines, ..builder.finish(order) })
}

/// Values by key in the order in which they came.
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

/// What the lines so far have made, each thing with its line.
#[derive(Default)]
struct Builder {
    timeouts: Option<Timeouts>,
    daemons: Option<Vec<(usize, SyncDaemon)>>,
    services: Ordered<ServiceKey, Entry>,
    warnings: Vec<LineWarning>,
}

struct Entry {
    line: usize,
    service: Service,
    servers: Ordered<DestinationKey, (usize, Destination)>,
}

impl Builder {
    fn take(&mut self, line: usize, command: &Command) -> Result<(), ProblemKind> {
        let Command::Change(change) = command else { return Err(ProblemKind::SaysNothing) };
        change.validate().map_err(ProblemKind::Invalid)?;
        let warnings = change.warnings().into_iter();
        self.warnings.extend(warnings.map(|warning| LineWarning { number: line, what: Doubt::Change(warning) }));
        match change {
            Change::AddService(service) => match self.services.get(&service.key) {
                Some(entry) if entry.service == *service => self.repeated(line, |entry| entry.line, &service.key),
                Some(_) => return Err(ProblemKind::ServiceExists),
                None => {
                    let entry = Entry { line, service: *service, servers: Ordered::default() };
                    self.services.insert(service.key, entry);
                }
            },
            Change::EditService(service) => self.entry(&service.key)?.service = *service,
            Change::DeleteService(key) => drop(self.services.remove(key).ok_or(ProblemKind::NoSuchService)?),
            Change::AddDestination(key, server) => {
                let entry = self.entry(key)?;
                match entry.servers.get(&server.key) {
                    Some((_, there)) if there == server => {
                        let server = server.key;
                        self.repeated(line, |entry| entry.servers.get(&server).map_or(0, |(line, _)| *line), key);
                    }
                    Some(_) => return Err(ProblemKind::ServerExists),
                    None => entry.servers.insert(server.key, (line, *server)),
                }
            }
            Change::EditDestination(key, server) => {
                self.entry(key)?.servers.get(&server.key).ok_or(ProblemKind::NoSuchServer)?.1 = *server;
            }
            Change::DeleteDestination(key, server) => {
                self.entry(key)?.servers.remove(server).ok_or(ProblemKind::NoSuchServer)?;
            }
            Change::SetTimeouts(timeouts) => {
                self.timeouts = Some(timeouts.over(self.timeouts.unwrap_or_default()));
            }
            Change::StartDaemon(daemon) => {
                let daemons = self.daemons.get_or_insert_default();
                match daemons.iter().find(|(_, running)| running.role == daemon.role) {
                    Some((first, running)) if running == daemon => {
                        self.warnings.push(LineWarning { number: line, what: Doubt::Repeated(*first) });
                    }
                    Some(_) => return Err(ProblemKind::DaemonRuns),
                    None => daemons.push((line, *daemon)),
                }
            }
            Change::StopDaemon(role) => {
                let daemons = self.daemons.as_mut().ok_or(ProblemKind::NoDaemon)?;
                let at = daemons.iter().position(|(_, running)| running.role == *role).ok_or(ProblemKind::NoDaemon)?;
                daemons.remove(at);
            }
            Change::Flush => self.services = Ordered::default(),
            Change::Zero(_) => return Err(ProblemKind::SaysNothing),
        }
        Ok(())
    }

    fn entry(&mut self, key: &ServiceKey) -> Result<&mut Entry, ProblemKind> {
        self.services.get(key).ok_or(ProblemKind::NoSuchService)
    }

    fn repeated(&mut self, line: usize, first: impl FnOnce(&mut Entry) -> usize, key: &ServiceKey) {
        if let Some(first) = self.services.get(key).map(first) {
            self.warnings.push(LineWarning { number: line, what: Doubt::Repeated(first) });
        }
    }

    fn finish(self, order: Order) -> ReadConfig {
        let mut warnings = self.warnings;
        let mut services = Vec::with_capacity(self.services.places.len());
        for Entry { line, service, servers } in self.services.into_values() {
            let destinations: Vec<Destination> = servers.into_values().map(|(_, server)| server).collect();
            let doubt = Doubt::of_servers(service.key, &destinations);
            warnings.extend(doubt.map(|what| LineWarning { number: line, what }));
            services.push(ServiceConfig { service, destinations });
        }
        warnings.sort_by_key(|warning| warning.number);
        let daemons = self.daemons.map(|daemons| daemons.into_iter().map(|(_, daemon)| daemon).collect());
        ReadConfig { config: Config { timeouts: self.timeouts, daemons, services, order }, warnings, lines: 0 }
    }
}

/// Append a text of rules that asks for all of that. ipvsadm-restore of 1.31 can read it, too: timeouts and daemons come
/// first, so that its exit code, which is that of the last line, speaks of services.
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
