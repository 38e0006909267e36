//! Virtual services in a document: the format, and the conversion in both directions.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::destination::{self, RealServer};
use super::hexadecimal;
use super::read::Reader;
use crate::change::{Change, Invalid};
use crate::family::{Family, Protocol};
use crate::invalid_value::InvalidValue;
use crate::key::ServiceKey;
use crate::name::Scheduler;
use crate::rules::{self, ConfigWarning, ValueError};
use crate::service::{Netmask, SchedulerFlags, Service};
use crate::state::{ServiceConfig, ServiceState};
use crate::stats::Stats;

/// A virtual service: by `protocol`, `address` and `port`, or by `fwmark` and `family`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VirtualService {
    /// The protocol: `tcp`, `udp`, `sctp`, or the number of another protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<ProtocolName>,
    /// The virtual address (VIP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The port. 0: every port of the address that has no service of its own; it requires `persistence`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The firewall mark, 1 to 4294967295.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fwmark: Option<u32>,
    /// The family of the marked packets. Absent: `ipv4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<FamilyName>,
    /// The scheduler. Absent: `wlc`.
    #[serde(default = "default_scheduler")]
    pub scheduler: String,
    /// The scheduler's flags: `sh-port`, `flag-1`, …, or `0x40` for bits without a name.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Persistence timeout in seconds, 1 to 4294967. A client is sent to the same server until this time has passed
    /// since its last connection. `null` or absent: no persistence.
    #[serde(default)]
    pub persistence: Option<u32>,
    /// The network that persistence treats as one client: an IPv4 mask or a prefix length. Absent: each address is a
    /// separate client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netmask: Option<Mask>,
    /// The persistence engine: `sip`. `null` or absent: none.
    #[serde(default)]
    pub engine: Option<String>,
    /// Whether every UDP packet is scheduled separately. It has no effect for other protocols.
    #[serde(default)]
    pub one_packet: bool,
    /// Observed: the counters of the service.
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
    crate::name::Scheduler::default().to_string()
}

// The scalars below are decoded in scalar.rs, which also accepts capitals.
/// A protocol by name or number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
#[expect(missing_docs, reason = "the names explain themselves")]
pub enum ProtocolName {
    Known(KnownProtocol),
    Number(u16),
}

/// A protocol that IPVS schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names explain themselves")]
pub enum KnownProtocol {
    Tcp,
    Udp,
    Sctp,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names explain themselves")]
pub enum FamilyName {
    Ipv4,
    Ipv6,
}

/// A netmask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Mask {
    /// A prefix length, 0 to 32 (IPv4) or 1 to 128 (IPv6).
    Prefix(u8),
    /// An IPv4 mask.
    V4(std::net::Ipv4Addr),
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
        Self {
            scheduler: scheduler.to_string(),
            flags: flag_names(scheduler, flags),
            persistence,
            netmask: Some(netmask.into()),
            engine: engine.map(|engine| engine.to_string()),
            one_packet,
            ..Self::from(key)
        }
    }
}

impl From<ServiceKey> for VirtualService {
    fn from(key: ServiceKey) -> Self {
        match key {
            ServiceKey::Address { protocol, address, port } => {
                Self { protocol: Some(protocol.into()), address: Some(address), port: Some(port), ..Self::default() }
            }
            ServiceKey::Fwmark { mark, family } => {
                Self { fwmark: Some(mark.get()), family: Some(family.into()), ..Self::default() }
            }
        }
    }
}

impl VirtualService {
    /// Returns the service with its servers, or `None` after an error that prevents reading it.
    pub(super) fn read(&self, reader: &mut Reader, path: &str) -> Option<ServiceConfig> {
        let Self {
            // Read by `key`.
            protocol: _,
            address: _,
            port: _,
            fwmark: _,
            family: _,
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
        } = self;
        let Some(key) = self.key() else {
            reader.error(path, "a service must have either protocol, address and port, or a fwmark greater than 0");
            return None;
        };
        let scheduler = reader.keep(path, scheduler.parse())?;
        let flags = reader.keep(path, read_flags(flags, scheduler))?;
        let engine: Result<_, InvalidValue> = engine.as_ref().map(|engine| engine.parse()).transpose();
        let netmask = netmask.map_or(Some(Netmask::host(key.family())), |netmask| netmask.of(key.family()));
        let service = Service {
            key,
            scheduler,
            flags,
            persistence: *persistence,
            netmask: reader.keep(path, netmask.ok_or("prefix length out of range"))?,
            engine: reader.keep(path, engine)?,
            one_packet: *one_packet,
        };
        reader.check(path, &Change::AddService(service));
        let destinations = destination::read(reader, path, &key, destinations);
        ConfigWarning::of_servers(&service, &destinations).for_each(|doubt| reader.doubt(path, doubt));
        Some(ServiceConfig { service, destinations })
    }

    fn key(&self) -> Option<ServiceKey> {
        match (self.protocol, self.address, self.port, self.fwmark, self.family) {
            (Some(protocol), Some(address), Some(port), None, None) => {
                Some(ServiceKey::new(protocol.into(), address, port))
            }
            (None, None, None, Some(mark), family) => {
                ServiceKey::fwmark(mark, family.unwrap_or(FamilyName::Ipv4).into())
            }
            _ => None,
        }
    }
}

/// Reads all services of a document.
pub(super) fn read(reader: &mut Reader, services: &[VirtualService]) -> Vec<ServiceConfig> {
    let mut seen = HashSet::new();
    let mut read = Vec::with_capacity(services.len());
    for (i, service) in services.iter().enumerate() {
        let path = format!("services[{i}]");
        let Some(service) = service.read(reader, &path) else { continue };
        if !seen.insert(service.service.key) {
            reader.error(&path, Invalid::DuplicateService(service.service.key));
        }
        read.push(service);
    }
    read
}

impl From<Protocol> for ProtocolName {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Known(KnownProtocol::Tcp),
            Protocol::Udp => Self::Known(KnownProtocol::Udp),
            Protocol::Sctp => Self::Known(KnownProtocol::Sctp),
            Protocol::Other(number) => Self::Number(number),
        }
    }
}

impl From<ProtocolName> for Protocol {
    fn from(name: ProtocolName) -> Self {
        match name {
            ProtocolName::Known(KnownProtocol::Tcp) => Self::Tcp,
            ProtocolName::Known(KnownProtocol::Udp) => Self::Udp,
            ProtocolName::Known(KnownProtocol::Sctp) => Self::Sctp,
            ProtocolName::Number(number) => Self::from_number(number),
        }
    }
}

impl From<Family> for FamilyName {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => Self::Ipv4,
            Family::V6 => Self::Ipv6,
        }
    }
}

impl From<FamilyName> for Family {
    fn from(name: FamilyName) -> Self {
        match name {
            FamilyName::Ipv4 => Self::V4,
            FamilyName::Ipv6 => Self::V6,
        }
    }
}

impl From<Netmask> for Mask {
    fn from(netmask: Netmask) -> Self {
        match netmask {
            Netmask::V4(mask) => Self::V4(mask),
            Netmask::V6(prefix) => Self::Prefix(prefix),
        }
    }
}

impl Mask {
    /// Returns the netmask for addresses of that family, or `None` if the family has no such prefix length.
    pub(super) fn of(self, family: Family) -> Option<Netmask> {
        match self {
            Self::V4(mask) => Some(Netmask::V4(mask)),
            Self::Prefix(prefix) => Netmask::from_prefix(family, prefix),
        }
    }
}

/// Returns the names of flags, and the bits without a name in hexadecimal.
fn flag_names(scheduler: Scheduler, flags: SchedulerFlags) -> Vec<String> {
    let nameless = flags.bits() & !SchedulerFlags::NAMED.bits();
    let nameless = (nameless != 0).then(|| format!("{nameless:#x}"));
    rules::program::flag_names(scheduler, flags).map(str::to_owned).chain(nameless).collect()
}

fn read_flags(names: &[String], scheduler: Scheduler) -> Result<SchedulerFlags, ValueError> {
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
