//! A director's table as a document: JSON, TOML, or what else serde reads and writes.
//!
//! One form for both directions: what [`State`] is written as can be read as a [`Config`]; what is only observed
//! (counters, connections, versions) is then passed over. Keys that there are not are errors, so that a mistyped one is
//! not lost.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;

use ipvs_sys::wire::Unknown;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::change::Change;
use crate::daemon::{Role, SyncDaemon};
use crate::destination::{Destination, Forwarding, GueChecksum, Tunnel};
use crate::family::{Family, Protocol};
use crate::key::{DestinationKey, ServiceKey};
use crate::names::{InvalidName, Scheduler};
use crate::rules::{self, Doubt, FlagError};
use crate::service::{Netmask, SchedulerFlags, Service};
use crate::state::{Config, DestinationState, Order, ServiceConfig, ServiceState, State};
use crate::stats::Stats;
use crate::timeouts::Timeouts;

/// The version of the form that is written here.
pub const SCHEMA: u32 = 1;

/// A director's table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The version of this form: 1.
    #[serde(default = "this_schema")]
    pub schema: u32,
    /// Observed: the kernel's IPVS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipvs: Option<Ipvs>,
    /// What the order of destinations means; absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderName>,
    /// Connection timeouts; absent: left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// The sync daemons, none to two; absent: left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemons: Option<Vec<Daemon>>,
    /// The virtual services.
    #[serde(default)]
    pub services: Vec<VirtualService>,
}

fn this_schema() -> u32 {
    SCHEMA
}

/// What the kernel says of its IPVS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Ipvs {
    /// Version, such as `1.2.1`.
    pub version: String,
    /// Buckets of the connection table.
    pub connection_table_size: u32,
}

/// What the order of destinations means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OrderName {
    /// The oldest first, as the kernel is to hold them: it decides which client a hashing scheduler sends where.
    Kernel,
}

/// A sync daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Daemon {
    /// Sender or receiver.
    pub role: Role,
    /// The multicast interface.
    pub interface: String,
    /// 0 to 255.
    #[serde(default)]
    pub sync_id: u32,
    /// The largest payload of a sync packet in bytes; absent: the kernel's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u16>,
    /// The multicast group; absent: the kernel's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<IpAddr>,
    /// The UDP port; absent: the kernel's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Time to live; absent: the kernel's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
}

/// A virtual service, by `protocol`, `address` and `port`, or by `fwmark` and `family`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VirtualService {
    /// `tcp`, `udp`, `sctp`; or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<ProtocolName>,
    /// The virtual address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The port; 0 is all that have no service of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The firewall mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fwmark: Option<u32>,
    /// The family of the marked packets; absent: `ipv4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<FamilyName>,
    /// The scheduler.
    #[serde(default = "default_scheduler")]
    pub scheduler: String,
    /// The scheduler's flags: `sh-port`, `flag-1`, …; bits without a name in hexadecimal: `0x40`.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Seconds that a client stays with its server; `null` or absent: not persistent.
    #[serde(default)]
    pub persistence: Option<u32>,
    /// Clients equal under it are one to persistence. IPv4: a mask; IPv6: a prefix length; absent: every address for
    /// itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netmask: Option<Mask>,
    /// The persistence engine.
    #[serde(default)]
    pub engine: Option<String>,
    /// Every UDP packet is scheduled by itself.
    #[serde(default)]
    pub one_packet: bool,
    /// Observed: what went through it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<Stats>,
    /// Observed: attributes of a newer kernel, by number, in hexadecimal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unknown_attributes: BTreeMap<u16, String>,
    /// The real servers.
    #[serde(default)]
    pub destinations: Vec<RealServer>,
}

fn default_scheduler() -> String {
    crate::names::Scheduler::default().to_string()
}

// This and its like are read in scalar.rs, names in capitals, too.
/// A protocol by name or number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ProtocolName {
    Known(KnownProtocol),
    Number(u16),
}

/// A protocol that IPVS schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum KnownProtocol {
    Tcp,
    Udp,
    Sctp,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum FamilyName {
    Ipv4,
    Ipv6,
}

/// A netmask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Mask {
    /// A prefix length.
    Prefix(u8),
    /// An IPv4 mask.
    V4(std::net::Ipv4Addr),
}

/// A real server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RealServer {
    /// Its address.
    pub address: IpAddr,
    /// Its port; absent: the service's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How packets get there; absent: `direct_route`, as with ipvsadm.
    #[serde(default)]
    pub forwarding: Method,
    /// With `tunnel`: how packets are wrapped; absent: `ipip`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Wrapping>,
    /// The share of new connections; 0: none.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// No new connections from this many on; 0: no limit.
    #[serde(default)]
    pub upper_threshold: u32,
    /// New connections again below this many.
    #[serde(default)]
    pub lower_threshold: u32,
    /// Observed: established connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_connections: Option<u32>,
    /// Observed: other connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inactive_connections: Option<u32>,
    /// Observed: persistence templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_connections: Option<u32>,
    /// Observed: what went to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<Stats>,
    /// Observed: attributes of a newer kernel, by number, in hexadecimal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unknown_attributes: BTreeMap<u16, String>,
}

fn default_weight() -> u32 {
    1
}

/// A forwarding method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// LVS-NAT.
    Masquerade,
    /// On the director itself.
    Local,
    /// LVS-TUN.
    Tunnel,
    /// LVS-DR.
    #[default]
    DirectRoute,
    /// To the packet's own destination.
    Bypass,
    /// 5.
    Unknown5,
    /// 6.
    Unknown6,
    /// 7.
    Unknown7,
}

/// How packets are wrapped on their way through a tunnel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Wrapping {
    /// IP in IP.
    Ipip,
    /// Generic UDP encapsulation.
    Gue {
        /// The UDP port.
        port: NonZeroU16,
        /// Checksums.
        #[serde(default)]
        checksum: Checksum,
    },
    /// Generic routing encapsulation.
    Gre {
        /// Checksums: `none` or `full`.
        #[serde(default)]
        checksum: Checksum,
    },
    /// What has no name.
    Other {
        /// Tunnel type.
        kind: u8,
        /// Port.
        port: u16,
        /// Flag bits.
        flags: u16,
    },
}

/// Checksums of a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// None.
    #[default]
    None,
    /// Over the whole packet.
    Full,
    /// Remote checksum offload.
    Remote,
}

/// Something in a document that cannot be, and where: `services[2].destinations[0]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DocumentProblem {
    /// Where.
    pub path: String,
    /// What.
    pub what: String,
}

impl fmt::Display for DocumentProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

impl std::error::Error for DocumentProblem {}

impl From<&State> for Document {
    fn from(state: &State) -> Self {
        let State { info, timeouts, daemons, services } = state;
        Self {
            schema: SCHEMA,
            ipvs: Some(Ipvs { version: info.version.to_string(), connection_table_size: info.connection_table_size }),
            order: Some(OrderName::Kernel),
            timeouts: Some(*timeouts),
            daemons: Some(daemons.iter().map(Daemon::from).collect()),
            services: services.iter().map(VirtualService::from).collect(),
        }
    }
}

impl From<&Config> for Document {
    fn from(config: &Config) -> Self {
        let Config { timeouts, daemons, services, order } = config;
        Self {
            schema: SCHEMA,
            ipvs: None,
            order: match order {
                Order::Any => None,
                Order::Kernel => Some(OrderName::Kernel),
            },
            timeouts: *timeouts,
            daemons: daemons.as_ref().map(|daemons| daemons.iter().map(Daemon::from).collect()),
            services: services.iter().map(VirtualService::from).collect(),
        }
    }
}

impl From<&SyncDaemon> for Daemon {
    fn from(daemon: &SyncDaemon) -> Self {
        let SyncDaemon { role, interface, sync_id, max_length, group, port, ttl } = *daemon;
        Self { role, interface: interface.to_string(), sync_id, max_length, group, port, ttl }
    }
}

impl From<&ServiceState> for VirtualService {
    fn from(state: &ServiceState) -> Self {
        let ServiceState { service, stats, destinations, unknown } = state;
        Self {
            stats: Some(*stats),
            unknown_attributes: hexadecimal(unknown),
            // The kernel lists the newest first; a document has the oldest first.
            destinations: destinations.iter().rev().map(RealServer::from).collect(),
            ..Self::from(service)
        }
    }
}

impl From<&ServiceConfig> for VirtualService {
    fn from(config: &ServiceConfig) -> Self {
        let ServiceConfig { service, destinations } = config;
        Self { destinations: destinations.iter().map(RealServer::from).collect(), ..Self::from(service) }
    }
}

impl From<&Service> for VirtualService {
    fn from(service: &Service) -> Self {
        let Service { key, scheduler, flags, persistence, netmask, engine, one_packet } = *service;
        let identity = match key {
            ServiceKey::Address { protocol, address, port } => Self {
                protocol: Some(match protocol {
                    Protocol::Tcp => ProtocolName::Known(KnownProtocol::Tcp),
                    Protocol::Udp => ProtocolName::Known(KnownProtocol::Udp),
                    Protocol::Sctp => ProtocolName::Known(KnownProtocol::Sctp),
                    Protocol::Other(number) => ProtocolName::Number(number),
                }),
                address: Some(address),
                port: Some(port),
                ..Self::default()
            },
            ServiceKey::Fwmark { mark, family } => Self {
                fwmark: Some(mark.get()),
                family: Some(match family {
                    Family::V4 => FamilyName::Ipv4,
                    Family::V6 => FamilyName::Ipv6,
                }),
                ..Self::default()
            },
        };
        Self {
            scheduler: scheduler.to_string(),
            flags: flag_names(scheduler, flags),
            persistence,
            netmask: Some(match netmask {
                Netmask::V4(mask) => Mask::V4(mask),
                Netmask::V6(prefix) => Mask::Prefix(prefix),
            }),
            engine: engine.map(|engine| engine.to_string()),
            one_packet,
            ..identity
        }
    }
}

impl From<&DestinationState> for RealServer {
    fn from(state: &DestinationState) -> Self {
        let DestinationState {
            destination,
            active_connections,
            inactive_connections,
            persistent_connections,
            stats,
            unknown,
        } = state;
        Self {
            active_connections: Some(*active_connections),
            inactive_connections: Some(*inactive_connections),
            persistent_connections: Some(*persistent_connections),
            stats: Some(*stats),
            unknown_attributes: hexadecimal(unknown),
            ..Self::from(destination)
        }
    }
}

impl From<&Destination> for RealServer {
    fn from(destination: &Destination) -> Self {
        let Destination { key, forwarding, weight, upper_threshold, lower_threshold } = *destination;
        Self {
            address: key.address,
            port: Some(key.port),
            forwarding: match forwarding {
                Forwarding::Masquerade => Method::Masquerade,
                Forwarding::Local => Method::Local,
                Forwarding::Tunnel(_) => Method::Tunnel,
                Forwarding::DirectRoute => Method::DirectRoute,
                Forwarding::Bypass => Method::Bypass,
                Forwarding::Other(5) => Method::Unknown5,
                Forwarding::Other(6) => Method::Unknown6,
                Forwarding::Other(_) => Method::Unknown7,
            },
            tunnel: forwarding.tunnel().map(Wrapping::from),
            weight,
            upper_threshold,
            lower_threshold,
            active_connections: None,
            inactive_connections: None,
            persistent_connections: None,
            stats: None,
            unknown_attributes: BTreeMap::new(),
        }
    }
}

impl From<Tunnel> for Wrapping {
    fn from(tunnel: Tunnel) -> Self {
        match tunnel {
            Tunnel::Ipip => Self::Ipip,
            Tunnel::Gue { port, checksum } => Self::Gue {
                port,
                checksum: match checksum {
                    GueChecksum::None => Checksum::None,
                    GueChecksum::Full => Checksum::Full,
                    GueChecksum::Remote => Checksum::Remote,
                },
            },
            Tunnel::Gre { checksum } => Self::Gre { checksum: if checksum { Checksum::Full } else { Checksum::None } },
            Tunnel::Other { kind, port, flags } => Self::Other { kind, port, flags },
        }
    }
}

/// The names of flags; bits without one in hexadecimal.
fn flag_names(scheduler: Scheduler, flags: SchedulerFlags) -> Vec<String> {
    let nameless = flags.bits() & !SchedulerFlags::NAMED.bits();
    let nameless = (nameless != 0).then(|| format!("{nameless:#x}"));
    rules::flag_names(scheduler, flags).map(str::to_owned).chain(nameless).collect()
}

fn read_flags(names: &[String], scheduler: Scheduler) -> Result<SchedulerFlags, FlagError> {
    let mut flags = SchedulerFlags::empty();
    for name in names {
        let bits = name.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
        flags |= match bits {
            Some(bits) => SchedulerFlags::from_bits_retain(bits),
            None => rules::read_flags(std::iter::once(name.as_bytes()), scheduler)?,
        };
    }
    Ok(flags)
}

fn hexadecimal(unknown: &Unknown) -> BTreeMap<u16, String> {
    let text = |value: &[u8]| value.iter().map(|byte| format!("{byte:02x}")).collect();
    unknown.iter().map(|(number, value)| (number, text(value))).collect()
}

/// What is asked for, and what in it was hardly meant, with where it stands.
pub type Read = (Config, Vec<(String, Doubt)>);

impl Document {
    /// What the document asks for; what is only observed is passed over.
    pub fn to_config(&self) -> Result<Read, Vec<DocumentProblem>> {
        let mut reader = Reader::default();
        // Observed: `ipvs`.
        let Self { schema, ipvs: _, order, timeouts, daemons, services } = self;
        if *schema != SCHEMA {
            reader.problem("schema", format!("{schema} is not known, only {SCHEMA}"));
        }
        let daemons = daemons.as_ref().map(|daemons| reader.daemons(daemons));
        let mut seen = HashSet::new();
        let mut wanted = Vec::with_capacity(services.len());
        for (i, service) in services.iter().enumerate() {
            let path = format!("services[{i}]");
            let Some(service) = reader.service(&path, service) else { continue };
            if !seen.insert(service.service.key) {
                reader.problem(&path, format!("{} is there already", service.service.key));
            }
            wanted.push(service);
        }
        let order = match order {
            None => Order::Any,
            Some(OrderName::Kernel) => Order::Kernel,
        };
        if reader.problems.is_empty() {
            Ok((Config { timeouts: *timeouts, daemons, services: wanted, order }, reader.doubts))
        } else {
            Err(reader.problems)
        }
    }
}

#[derive(Default)]
struct Reader {
    problems: Vec<DocumentProblem>,
    doubts: Vec<(String, Doubt)>,
}

impl Reader {
    fn problem(&mut self, path: &str, what: impl fmt::Display) {
        self.problems.push(DocumentProblem { path: path.to_owned(), what: what.to_string() });
    }

    fn keep<T, E: fmt::Display>(&mut self, path: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|what| self.problem(path, what)).ok()
    }

    fn judge(&mut self, path: &str, change: &Change) {
        self.keep(path, change.validate());
        let warnings = change.warnings().into_iter();
        self.doubts.extend(warnings.map(|warning| (path.to_owned(), Doubt::Change(warning))));
    }

    fn daemons(&mut self, daemons: &[Daemon]) -> Vec<SyncDaemon> {
        let mut read: Vec<SyncDaemon> = Vec::new();
        for (i, daemon) in daemons.iter().enumerate() {
            let path = format!("daemons[{i}]");
            let Daemon { role, interface, sync_id, max_length, group, port, ttl } = daemon;
            let Some(interface) = self.keep(&path, interface.parse()) else { continue };
            let daemon = SyncDaemon {
                role: *role,
                interface,
                sync_id: *sync_id,
                max_length: *max_length,
                group: *group,
                port: *port,
                ttl: *ttl,
            };
            self.judge(&path, &Change::StartDaemon(daemon));
            if read.iter().any(|other| other.role == daemon.role) {
                self.problem(&path, format!("a {role} is there already"));
            }
            read.push(daemon);
        }
        read
    }

    fn service(&mut self, path: &str, document: &VirtualService) -> Option<ServiceConfig> {
        let VirtualService {
            protocol,
            address,
            port,
            fwmark,
            family,
            scheduler,
            flags,
            persistence,
            netmask,
            engine,
            one_packet,
            // Observed.
            stats: _,
            unknown_attributes: _,
            destinations,
        } = document;
        let key = match (protocol, address, port, fwmark, family) {
            (Some(protocol), Some(address), Some(port), None, None) => {
                let protocol = match protocol {
                    ProtocolName::Known(KnownProtocol::Tcp) => Protocol::Tcp,
                    ProtocolName::Known(KnownProtocol::Udp) => Protocol::Udp,
                    ProtocolName::Known(KnownProtocol::Sctp) => Protocol::Sctp,
                    ProtocolName::Number(number) => Protocol::from_number(*number),
                };
                Some(ServiceKey::new(protocol, *address, *port))
            }
            (None, None, None, Some(mark), family) => {
                let family = match family {
                    None | Some(FamilyName::Ipv4) => Family::V4,
                    Some(FamilyName::Ipv6) => Family::V6,
                };
                ServiceKey::fwmark(*mark, family)
            }
            _ => None,
        };
        let wanted = "a service has either protocol, address and port, or a fwmark that is not 0";
        let key = self.keep(path, key.ok_or(wanted))?;
        let scheduler = self.keep(path, scheduler.parse())?;
        let flags = self.keep(path, read_flags(flags, scheduler))?;
        let engine: Result<_, InvalidName> = engine.as_ref().map(|engine| engine.parse()).transpose();
        let netmask = match (netmask, key.family()) {
            (None, family) => Some(Netmask::host(family)),
            (Some(Mask::V4(mask)), _) => Some(Netmask::V4(*mask)),
            (Some(Mask::Prefix(prefix)), family) => Netmask::from_prefix(family, *prefix),
        };
        let service = Service {
            key,
            scheduler,
            flags,
            persistence: *persistence,
            netmask: self.keep(path, netmask.ok_or("no such prefix length"))?,
            engine: self.keep(path, engine)?,
            one_packet: *one_packet,
        };
        self.judge(path, &Change::AddService(service));
        let destinations = self.destinations(path, &key, destinations);
        self.doubts.extend(Doubt::of_servers(key, &destinations).map(|doubt| (path.to_owned(), doubt)));
        Some(ServiceConfig { service, destinations })
    }

    fn destinations(&mut self, path: &str, key: &ServiceKey, servers: &[RealServer]) -> Vec<Destination> {
        let mut seen = HashSet::new();
        let mut read = Vec::with_capacity(servers.len());
        for (i, server) in servers.iter().enumerate() {
            let path = format!("{path}.destinations[{i}]");
            let Some(server) = self.destination(&path, key, server) else { continue };
            if !seen.insert(server.key) {
                self.problem(&path, format!("{} is there already", server.key));
            }
            read.push(server);
        }
        read
    }

    fn destination(&mut self, path: &str, service: &ServiceKey, document: &RealServer) -> Option<Destination> {
        let RealServer {
            address,
            port,
            forwarding,
            tunnel,
            weight,
            upper_threshold,
            lower_threshold,
            // Observed.
            active_connections: _,
            inactive_connections: _,
            persistent_connections: _,
            stats: _,
            unknown_attributes: _,
        } = document;
        if tunnel.is_some() && *forwarding != Method::Tunnel {
            self.problem(path, "`tunnel' goes with `forwarding = tunnel' only");
        }
        let forwarding = match forwarding {
            Method::Masquerade => Forwarding::Masquerade,
            Method::Local => Forwarding::Local,
            Method::DirectRoute => Forwarding::DirectRoute,
            Method::Bypass => Forwarding::Bypass,
            Method::Unknown5 => Forwarding::Other(5),
            Method::Unknown6 => Forwarding::Other(6),
            Method::Unknown7 => Forwarding::Other(7),
            Method::Tunnel => Forwarding::Tunnel(match tunnel {
                None | Some(Wrapping::Ipip) => Tunnel::Ipip,
                Some(Wrapping::Gue { port, checksum }) => Tunnel::Gue {
                    port: *port,
                    checksum: match checksum {
                        Checksum::None => GueChecksum::None,
                        Checksum::Full => GueChecksum::Full,
                        Checksum::Remote => GueChecksum::Remote,
                    },
                },
                Some(Wrapping::Gre { checksum: Checksum::Remote }) => {
                    self.problem(path, "a gre tunnel has no remote checksum offload");
                    return None;
                }
                Some(Wrapping::Gre { checksum }) => Tunnel::Gre { checksum: *checksum == Checksum::Full },
                Some(Wrapping::Other { kind, port, flags }) => Tunnel::from_numbers(*kind, *port, *flags),
            }),
        };
        let destination = Destination {
            key: DestinationKey { address: *address, port: port.or(service.port()).unwrap_or(0) },
            forwarding,
            weight: *weight,
            upper_threshold: *upper_threshold,
            lower_threshold: *lower_threshold,
        };
        self.judge(path, &Change::AddDestination(*service, destination));
        Some(destination)
    }
}

/// Written as a [`Document`].
impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Document::from(self).serialize(serializer)
    }
}

/// Written as a [`Document`].
impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Document::from(self).serialize(serializer)
    }
}

/// Read as a [`Document`]; of several problems the first is the error.
impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = Document::deserialize(deserializer)?;
        match document.to_config() {
            Ok((config, _)) => Ok(config),
            Err(problems) => Err(serde::de::Error::custom(&problems[0])),
        }
    }
}
