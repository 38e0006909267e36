//! Real servers in a document: the format, and the conversion in both directions.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use super::hexadecimal;
use super::read::Reader;
use crate::change::{Change, Invalid};
use crate::destination::{Destination, Forwarding, GueChecksum, Tunnel};
use crate::key::{DestinationKey, ServiceKey};
use crate::state::DestinationState;
use crate::stats::Stats;

/// A real server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RealServer {
    /// The address of the server.
    pub address: IpAddr,
    /// The port of the server. Absent: the service's port. 0: the port of the client's packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The forwarding method. Absent: `direct_route`, as with ipvsadm.
    #[serde(default)]
    pub forwarding: ForwardingMethod,
    /// The encapsulation, if `forwarding` is `tunnel`. Absent: `ipip`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelSettings>,
    /// The share of new connections, in proportion to the other weights, 0 to 2147483647. 0: no new connections.
    /// Absent: 1.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// The number of connections at which the server receives no new ones, 0 to 2147483647. 0: no limit.
    #[serde(default)]
    pub upper_threshold: u32,
    /// The number of connections below which the server receives new ones again, 0 to `upper_threshold`. 0: three
    /// quarters of `upper_threshold`.
    #[serde(default)]
    pub lower_threshold: u32,
    /// Observed: the number of established connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_connections: Option<u32>,
    /// Observed: the number of other connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inactive_connections: Option<u32>,
    /// Observed: the number of persistence templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_connections: Option<u32>,
    /// Observed: the counters of the server.
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
pub enum ForwardingMethod {
    /// LVS-NAT: the director rewrites addresses, and replies must pass through the director.
    Masquerade,
    /// The packet is delivered on the director itself.
    Local,
    /// LVS-TUN: the packet is encapsulated, and the server replies to the client directly.
    Tunnel,
    /// LVS-DR: the packet is sent unchanged, and the server replies to the client directly.
    #[default]
    DirectRoute,
    /// The packet is sent to its original destination.
    Bypass,
    /// Method 5: the kernel drops the packets.
    Unknown5,
    /// Method 6: the kernel drops the packets.
    Unknown6,
    /// Method 7: the kernel drops the packets.
    Unknown7,
}

/// The encapsulation of packets to a tunnelled server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TunnelSettings {
    /// IP in IP.
    Ipip,
    /// Generic UDP encapsulation.
    Gue {
        /// The UDP port on which the server decapsulates.
        port: NonZeroU16,
        /// The checksum.
        #[serde(default)]
        checksum: TunnelChecksum,
    },
    /// Generic routing encapsulation.
    Gre {
        /// The checksum: `none` or `full`.
        #[serde(default)]
        checksum: TunnelChecksum,
    },
    /// Any other combination, by the kernel's numbers.
    Other {
        /// The number of the tunnel type (`IPVS_DEST_ATTR_TUN_TYPE`).
        kind: u8,
        /// The UDP port. 0: no port.
        port: u16,
        /// The flag bits (`IPVS_DEST_ATTR_TUN_FLAGS`). 0: no checksum.
        flags: u16,
    },
}

/// The checksum of packets in a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TunnelChecksum {
    /// No checksum.
    #[default]
    None,
    /// A checksum over the whole packet.
    Full,
    /// Remote checksum offload.
    Remote,
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
            forwarding: forwarding.into(),
            tunnel: forwarding.tunnel().map(TunnelSettings::from),
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

impl RealServer {
    /// Returns the server, or `None` after an error that prevents reading it.
    pub(super) fn read(&self, reader: &mut Reader, path: &str, service: &ServiceKey) -> Option<Destination> {
        let Self {
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
        } = self;
        if tunnel.is_some() && *forwarding != ForwardingMethod::Tunnel {
            reader.error(path, "`tunnel' requires `forwarding = tunnel'");
        }
        let destination = Destination {
            key: DestinationKey { address: *address, port: port.or(service.port()).unwrap_or(0) },
            forwarding: reader.keep(path, forwarding.with(tunnel.as_ref()))?,
            weight: *weight,
            upper_threshold: *upper_threshold,
            lower_threshold: *lower_threshold,
        };
        reader.check(path, &Change::AddDestination(*service, destination));
        Some(destination)
    }
}

/// Reads all servers of the service at `path`.
pub(super) fn read(reader: &mut Reader, path: &str, key: &ServiceKey, servers: &[RealServer]) -> Vec<Destination> {
    let mut seen = HashSet::new();
    let mut read = Vec::with_capacity(servers.len());
    for (i, server) in servers.iter().enumerate() {
        let path = format!("{path}.destinations[{i}]");
        let Some(server) = server.read(reader, &path, key) else { continue };
        if !seen.insert(server.key) {
            reader.error(&path, Invalid::DuplicateDestination(*key, server.key));
        }
        read.push(server);
    }
    read
}

impl From<Forwarding> for ForwardingMethod {
    fn from(forwarding: Forwarding) -> Self {
        match forwarding {
            Forwarding::Masquerade => Self::Masquerade,
            Forwarding::Local => Self::Local,
            Forwarding::Tunnel(_) => Self::Tunnel,
            Forwarding::DirectRoute => Self::DirectRoute,
            Forwarding::Bypass => Self::Bypass,
            Forwarding::Other(5) => Self::Unknown5,
            Forwarding::Other(6) => Self::Unknown6,
            Forwarding::Other(_) => Self::Unknown7,
        }
    }
}

impl ForwardingMethod {
    fn with(self, tunnel: Option<&TunnelSettings>) -> Result<Forwarding, &'static str> {
        Ok(match self {
            Self::Masquerade => Forwarding::Masquerade,
            Self::Local => Forwarding::Local,
            Self::DirectRoute => Forwarding::DirectRoute,
            Self::Bypass => Forwarding::Bypass,
            Self::Unknown5 => Forwarding::Other(5),
            Self::Unknown6 => Forwarding::Other(6),
            Self::Unknown7 => Forwarding::Other(7),
            Self::Tunnel => Forwarding::Tunnel(tunnel.map_or(Ok(Tunnel::Ipip), Tunnel::try_from)?),
        })
    }
}

impl From<Tunnel> for TunnelSettings {
    fn from(tunnel: Tunnel) -> Self {
        match tunnel {
            Tunnel::Ipip => Self::Ipip,
            Tunnel::Gue { port, checksum } => Self::Gue {
                port,
                checksum: match checksum {
                    GueChecksum::None => TunnelChecksum::None,
                    GueChecksum::Full => TunnelChecksum::Full,
                    GueChecksum::Remote => TunnelChecksum::Remote,
                },
            },
            Tunnel::Gre { checksum } => {
                Self::Gre { checksum: if checksum { TunnelChecksum::Full } else { TunnelChecksum::None } }
            }
            Tunnel::Other { kind, port, flags } => Self::Other { kind, port, flags },
        }
    }
}

impl TryFrom<&TunnelSettings> for Tunnel {
    type Error = &'static str;

    fn try_from(settings: &TunnelSettings) -> Result<Self, &'static str> {
        Ok(match settings {
            TunnelSettings::Ipip => Self::Ipip,
            TunnelSettings::Gue { port, checksum } => Self::Gue {
                port: *port,
                checksum: match checksum {
                    TunnelChecksum::None => GueChecksum::None,
                    TunnelChecksum::Full => GueChecksum::Full,
                    TunnelChecksum::Remote => GueChecksum::Remote,
                },
            },
            TunnelSettings::Gre { checksum: TunnelChecksum::Remote } => {
                return Err("a GRE tunnel does not support remote checksum offload");
            }
            TunnelSettings::Gre { checksum } => Self::Gre { checksum: *checksum == TunnelChecksum::Full },
            TunnelSettings::Other { kind, port, flags } => Self::from_numbers(*kind, *port, *flags),
        })
    }
}
