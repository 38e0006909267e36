//! The facts about a director. They are read when a check asks for them, from the files of the network namespace that the
//! thread is in.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::IpAddr;

use ipvs::{Client, Destination, Family, Forwarding, Namespace, ServiceState, State, SyncDaemon};

use super::check::{NotChecked, Release};
use super::source::{Device, Kernel, Source};
use crate::network::RouteError;
use crate::sight::condition::Assessment;
use crate::sight::reading;
use crate::terminal::text;

/// The directory of the settings of IPVS.
const SETTINGS: &str = "/proc/sys/net/ipv4/vs";

/// Another network namespace with services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OtherTable {
    pub(super) name: Namespace,
    pub(super) services: usize,
}

/// The tables of other network namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OtherTables {
    pub(super) tables: Vec<OtherTable>,
    /// The number of namespaces that were not checked, and of processes whose namespace is not known.
    pub(super) unchecked: usize,
}

/// The number of entries of the connection table: connections and templates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entries {
    pub(super) number: u64,
    /// False before Linux 7.1: `number` then lacks the entries of servers that are no longer in the table.
    is_all: bool,
}

impl fmt::Display for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = if self.is_all { "" } else { "at least " };
        write!(f, "The connection table has {least}{} entries", self.number)
    }
}

/// The facts about a director.
pub(super) struct Facts {
    /// The release of the kernel, as uname(1) prints it.
    pub(super) release_text: String,
    /// Its first two numbers. `None`: not a release, such as that of a private kernel.
    pub(super) release: Option<Release>,
    /// Whether IPVS is in the kernel.
    pub(super) is_loaded: bool,
    pub(super) source: Box<dyn Source>,
    pub(super) table: Result<State, String>,
    pub(super) others: Result<OtherTables, String>,
    /// The state of each service of the table for new clients, in the same order. It takes milliseconds for a service with
    /// a hashing scheduler, and several checks need it.
    assessments: OnceCell<Vec<Assessment>>,
    devices: OnceCell<Result<Vec<Device>, String>>,
}

impl Facts {
    /// Reads the facts of the namespace that the calling thread is in. Loads no module: a request for the netlink family
    /// would load ip_vs, so the table is opened only if /proc/net/ip_vs exists.
    pub(super) fn read() -> Self {
        let source = Kernel::default();
        let is_loaded = source.exists("/proc/thread-self/net/ip_vs");
        let release = source.read("/proc/sys/kernel/osrelease").unwrap_or_default();
        let table = if is_loaded { read_table() } else { Err("IPVS is not in the kernel".into()) };
        let others = if is_loaded { read_others() } else { Ok(OtherTables::default()) };
        Self::new(release.trim(), is_loaded, Box::new(source), table, others)
    }

    pub(super) fn new(
        release: &str,
        is_loaded: bool,
        source: Box<dyn Source>,
        table: Result<State, String>,
        others: Result<OtherTables, String>,
    ) -> Self {
        let (assessments, devices) = (OnceCell::new(), OnceCell::new());
        let (release_text, release) = (release.to_owned(), parse_release(release));
        Self { release_text, release, is_loaded, source, table, others, assessments, devices }
    }

    /// Returns the release of the kernel for a message.
    pub(super) fn shown_release(&self) -> String {
        text::escaped(&self.release_text).into_owned()
    }

    /// Returns the table.
    pub(super) fn table(&self) -> Result<&State, NotChecked> {
        self.table.as_ref().map_err(|error| NotChecked(error.clone()))
    }

    pub(super) fn services(&self) -> Result<&[ServiceState], NotChecked> {
        Ok(&self.table()?.services)
    }

    /// Returns each service with its state for new clients.
    pub(super) fn assessed(&self) -> Result<impl Iterator<Item = (&ServiceState, &Assessment)>, NotChecked> {
        let services = self.services()?;
        let assessments = self.assessments.get_or_init(|| services.iter().map(Assessment::of).collect());
        Ok(services.iter().zip(assessments))
    }

    /// Returns each server with its service.
    pub(super) fn servers(&self) -> Result<impl Iterator<Item = (&ServiceState, &Destination)>, NotChecked> {
        let servers = |service| destinations(service).map(move |server| (service, server));
        Ok(self.services()?.iter().flat_map(servers))
    }

    /// Returns whether a server of this family is reached in one of these ways.
    pub(super) fn has(&self, family: Option<Family>, is: impl Fn(&Forwarding) -> bool) -> Result<bool, NotChecked> {
        let is_of = |server: &Destination| family.is_none_or(|family| Family::of(server.key.address) == family);
        Ok(self.servers()?.any(|(_, server)| is(&server.forwarding) && is_of(server)))
    }

    pub(super) fn daemons(&self) -> Result<&[SyncDaemon], NotChecked> {
        Ok(&self.table()?.daemons)
    }

    /// Reads a file. `None`: this kernel does not have it.
    pub(super) fn file(&self, path: &str) -> Result<Option<String>, NotChecked> {
        match self.source.read(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(NotChecked(format!("cannot read {}: {}", text::escaped(path), reason(&error)))),
        }
    }

    /// Reads a file that every kernel with IPVS has.
    pub(super) fn must(&self, path: &str) -> Result<String, NotChecked> {
        self.file(path)?.ok_or_else(|| NotChecked(format!("there is no {}", text::escaped(path))))
    }

    /// Reads the first line of a file that every kernel with IPVS has.
    pub(super) fn first_line(&self, path: &str) -> Result<String, NotChecked> {
        let read = self.source.first_line(path);
        read.map_err(|error| NotChecked(format!("cannot read {}: {}", text::escaped(path), reason(&error))))
    }

    /// Reads a number in a file. `None`: this kernel does not have it.
    pub(super) fn number(&self, path: &str) -> Result<Option<i64>, NotChecked> {
        let Some(found) = self.file(path)? else { return Ok(None) };
        let number = found.trim().parse();
        number.map(Some).map_err(|_| NotChecked(format!("{} is not a number", text::escaped(path))))
    }

    /// Fails if no setting of IPVS is visible. Before Linux 6.2, a network namespace of a user namespace has none.
    fn ensure_settings(&self) -> Result<(), NotChecked> {
        // All kernels have this setting.
        if self.source.exists(&format!("{SETTINGS}/drop_entry")) {
            return Ok(());
        }
        Err(NotChecked("there are no settings net.ipv4.vs.* in this network namespace".into()))
    }

    /// Reads a setting of IPVS. `None`: this kernel does not have it.
    pub(super) fn setting(&self, name: &str) -> Result<Option<i64>, NotChecked> {
        self.ensure_settings()?;
        self.number(&format!("{SETTINGS}/{name}"))
    }

    /// Reads a setting of IPVS as text.
    pub(super) fn setting_text(&self, name: &str) -> Result<Option<String>, NotChecked> {
        self.ensure_settings()?;
        self.file(&format!("{SETTINGS}/{name}"))
    }

    /// Reads a setting of IPv4 of an interface, or of `all`.
    pub(super) fn of_device(&self, device: &str, name: &str) -> Result<Option<i64>, NotChecked> {
        self.number(&format!("/proc/sys/net/ipv4/conf/{device}/{name}"))
    }

    /// Returns the network interfaces.
    pub(super) fn devices(&self) -> Result<&[Device], NotChecked> {
        let read = || self.source.devices().map_err(|error| format!("cannot read the network interfaces: {error}"));
        self.devices.get_or_init(read).as_deref().map_err(|error| NotChecked(error.clone()))
    }

    /// Returns the interfaces of the routes to the servers with masquerading, each with one of these servers. Their replies
    /// usually arrive there. Servers on this host are omitted.
    pub(super) fn reply_devices(&self, family: Family) -> Result<BTreeMap<String, IpAddr>, NotChecked> {
        /// The maximum number of servers. The lookup of so many takes about a second.
        const MOST: usize = 1 << 16;
        let is_masquerade = |server: &Destination| server.forwarding == Forwarding::Masquerade;
        let addresses: BTreeSet<IpAddr> = self
            .servers()?
            .filter(|(_, server)| is_masquerade(server) && Family::of(server.key.address) == family)
            .map(|(_, server)| server.key.address)
            .collect();
        if addresses.len() > MOST {
            return Err(NotChecked(format!("there are more than {MOST} servers with masquerading")));
        }
        let mut devices = BTreeMap::new();
        for address in &addresses {
            match self.source.device_to(*address) {
                Ok(Some(device)) => _ = devices.entry(device).or_insert(*address),
                Ok(None) => {}
                Err(RouteError::NotRead(error)) => {
                    return Err(NotChecked(format!("cannot read the route to {address}: {}", reason(&error))));
                }
                // Without a route, the server gets no packets, and sends no replies.
                Err(_) => {}
            }
        }
        Ok(devices)
    }

    /// Counts the entries of the connection table.
    pub(super) fn entries(&self) -> Result<Entries, NotChecked> {
        if let Some(number) = self.status("Conns:")? {
            return Ok(Entries { number, is_all: true });
        }
        let servers = self.services()?.iter().flat_map(|service| &service.destinations);
        let of = |numbers: [u32; 3]| numbers.into_iter().map(u64::from).sum::<u64>();
        let entries = servers
            .map(|server| of([server.active_connections, server.inactive_connections, server.persistent_connections]));
        Ok(Entries { number: entries.sum(), is_all: false })
    }

    /// Reads a number of /proc/net/ip_vs_status, which kernels have since 7.1. `None`: the kernel is older, or the line is
    /// absent.
    pub(super) fn status(&self, title: &str) -> Result<Option<u64>, NotChecked> {
        let Some(status) = self.file("/proc/thread-self/net/ip_vs_status")? else { return Ok(None) };
        let values = status.lines().find_map(|line| line.strip_prefix(title));
        Ok(values.and_then(|values| values.split_whitespace().next()?.parse().ok()))
    }
}

/// Returns the servers of a service.
pub(super) fn destinations(service: &ServiceState) -> impl Iterator<Item = &Destination> {
    service.destinations.iter().map(|state| &state.destination)
}

/// Returns the reason without the number of the error.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

/// Returns the first two numbers of a release. `None`: there are none.
fn parse_release(text: &str) -> Option<Release> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn read_table() -> Result<State, String> {
    let read = || -> Result<State, ipvs::Error> { reading::read(&mut Client::open()?) };
    read().map_err(|error| format!("cannot read the table: {}", crate::verbs::sentence(&error.into())))
}

/// Counts the services of all other network namespaces.
fn read_others() -> Result<OtherTables, String> {
    /// The maximum number of namespaces that are entered.
    const MOST: usize = 1024;
    let found = Namespace::find_all().map_err(|error| format!("cannot find the network namespaces: {error}"))?;
    let mut others = OtherTables { unchecked: found.unreadable.len(), ..OtherTables::default() };
    for (number, namespace) in found.namespaces.iter().filter(|namespace| !namespace.is_own).enumerate() {
        if number >= MOST {
            others.unchecked += 1;
            continue;
        }
        let read = || Client::open()?.services().map(|services| services.len());
        match namespace.within(read) {
            Ok(Ok(0)) => {}
            Ok(Ok(services)) => others.tables.push(OtherTable { name: namespace.name().clone(), services }),
            Ok(Err(_)) | Err(_) => others.unchecked += 1,
        }
    }
    Ok(others)
}
