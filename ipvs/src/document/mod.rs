//! A director's table as a document: JSON, TOML, or what else serde reads and writes.
//!
//! One form for both directions: what [`State`] is written as can be read as a [`Config`]; what is only observed
//! (counters, connections, versions) is then passed over. Keys that there are not are errors, so that a mistyped one is
//! not lost.

mod read;
mod scalar;
mod write;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::daemon::Role;
use crate::state::{Config, State};
use crate::stats::Stats;
use crate::timeouts::Timeouts;

pub use read::{DocumentProblem, Read};

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
    crate::name::Scheduler::default().to_string()
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
    /// New connections again below this number of connections. 0: three quarters of `upper_threshold`.
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
