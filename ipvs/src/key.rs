//! What makes a service that service, and a destination that destination.

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use ipvs_sys::uapi::{DestAttrs, ServiceAttrs};
use ipvs_sys::wire::{Address, Be16};

use crate::family::{Family, Protocol, wire_address};

/// What makes a service that service and no other.
///
/// Sorted as ipvsadm lists: by address (family, protocol, address, port), then by mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceKey {
    /// Packets to an address and port.
    Address {
        /// Transport protocol.
        protocol: Protocol,
        /// The virtual address (VIP).
        address: IpAddr,
        /// The port; 0 is every port that has no service of its own, which works for persistent services only.
        port: u16,
    },
    /// Packets with a firewall mark, of any protocol, address and port.
    Fwmark {
        /// The mark.
        mark: NonZeroU32,
        /// The packets' family: the same mark can be a service of each.
        family: Family,
    },
}

impl ServiceKey {
    /// A service by address and port.
    pub fn new(protocol: Protocol, address: impl Into<IpAddr>, port: u16) -> Self {
        Self::Address { protocol, address: address.into(), port }
    }

    /// A TCP service.
    pub fn tcp(address: impl Into<IpAddr>, port: u16) -> Self {
        Self::new(Protocol::Tcp, address, port)
    }

    /// A UDP service.
    pub fn udp(address: impl Into<IpAddr>, port: u16) -> Self {
        Self::new(Protocol::Udp, address, port)
    }

    /// An SCTP service.
    pub fn sctp(address: impl Into<IpAddr>, port: u16) -> Self {
        Self::new(Protocol::Sctp, address, port)
    }

    /// A service by firewall mark; 0 is no mark.
    pub fn fwmark(mark: u32, family: Family) -> Option<Self> {
        NonZeroU32::new(mark).map(|mark| Self::Fwmark { mark, family })
    }

    /// The family of the clients' packets.
    pub fn family(&self) -> Family {
        match self {
            Self::Address { address, .. } => Family::of(*address),
            Self::Fwmark { family, .. } => *family,
        }
    }

    /// The port, if the service has one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Address { port, .. } => Some(*port),
            Self::Fwmark { .. } => None,
        }
    }

    /// The attributes that name the service.
    pub(crate) fn to_attributes(self) -> ServiceAttrs {
        let mut attributes = ServiceAttrs { af: Some(self.family().number()), ..ServiceAttrs::default() };
        match self {
            Self::Address { protocol, address, port } => {
                attributes.protocol = Some(protocol.number());
                attributes.addr = Some(wire_address(address));
                attributes.port = Some(Be16(port));
            }
            Self::Fwmark { mark, .. } => attributes.fwmark = Some(mark.get()),
        }
        attributes
    }
}

impl Ord for ServiceKey {
    fn cmp(&self, other: &Self) -> Ordering {
        type Rank = (u32, Family, u16, Option<IpAddr>, u16);
        fn rank(key: &ServiceKey) -> Rank {
            match *key {
                ServiceKey::Address { protocol, address, port } => {
                    (0, Family::of(address), protocol.number(), Some(address), port)
                }
                ServiceKey::Fwmark { mark, family } => (mark.get(), family, 0, None, 0),
            }
        }
        rank(self).cmp(&rank(other))
    }
}

impl PartialOrd for ServiceKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As ipvsadm lists it: `TCP 10.0.0.1:80`, `UDP [2001:db8::1]:53`, `FWM 7`, `FWM 7 IPv6`.
impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { protocol: Protocol::Other(number), address, port } => {
                write!(f, "protocol {number} {}", SocketAddr::new(*address, *port))
            }
            Self::Address { protocol, address, port } => {
                write!(f, "{} {}", protocol.name(), SocketAddr::new(*address, *port))
            }
            Self::Fwmark { mark, family: Family::V4 } => write!(f, "FWM {mark}"),
            Self::Fwmark { mark, family: Family::V6 } => write!(f, "FWM {mark} IPv6"),
        }
    }
}

/// What makes a destination that destination within its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationKey {
    /// The server's address.
    #[doc(alias = "IPVS_DEST_ATTR_ADDR")]
    pub address: IpAddr,
    /// The server's port; 0 keeps the client's. Direct routing and tunnels never change the packet's port, but this
    /// one is part of the identity all the same.
    #[doc(alias = "IPVS_DEST_ATTR_PORT")]
    pub port: u16,
}

impl DestinationKey {
    /// A destination by address and port.
    pub fn new(address: impl Into<IpAddr>, port: u16) -> Self {
        Self { address: address.into(), port }
    }

    /// The attributes that name the destination.
    pub(crate) fn to_attributes(self) -> DestAttrs {
        let KeyAttrs { addr, port, addr_family } = self.parts();
        DestAttrs { addr, port, addr_family, ..DestAttrs::default() }
    }

    /// What stands in them.
    pub(crate) fn parts(self) -> KeyAttrs {
        KeyAttrs {
            addr: Some(wire_address(self.address)),
            port: Some(Be16(self.port)),
            // Without it an IPv6 address is taken for the IPv4 address in its first four bytes.
            addr_family: Some(Family::of(self.address).number()),
        }
    }
}

/// The attributes that name a destination, without the others of their list.
pub(crate) struct KeyAttrs {
    pub(crate) addr: Option<Address>,
    pub(crate) port: Option<Be16>,
    pub(crate) addr_family: Option<u16>,
}

/// `10.0.0.1:80`, `[2001:db8::1]:80`.
impl fmt::Display for DestinationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address, self.port).fmt(f)
    }
}

impl From<SocketAddr> for DestinationKey {
    fn from(endpoint: SocketAddr) -> Self {
        Self::new(endpoint.ip(), endpoint.port())
    }
}

impl From<DestinationKey> for SocketAddr {
    fn from(key: DestinationKey) -> Self {
        Self::new(key.address, key.port)
    }
}

impl<A: Into<IpAddr>> From<(A, u16)> for DestinationKey {
    fn from((address, port): (A, u16)) -> Self {
        Self::new(address, port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_as_ipvsadm_lists() {
        let sorted = [
            ServiceKey::tcp([9, 0, 0, 1], 8080),
            ServiceKey::tcp([10, 0, 0, 1], 80),
            ServiceKey::tcp([10, 0, 0, 1], 443),
            ServiceKey::tcp([192, 168, 0, 1], 80),
            ServiceKey::udp([10, 0, 0, 1], 80),
            ServiceKey::sctp([10, 0, 0, 1], 80),
            ServiceKey::tcp(v6("2001:db8::1"), 80),
            ServiceKey::tcp(v6("fd00::1"), 80),
            ServiceKey::udp(v6("2001:db8::1"), 80),
            ServiceKey::fwmark(1, Family::V4).expect("not 0"),
            ServiceKey::fwmark(1, Family::V6).expect("not 0"),
            ServiceKey::fwmark(u32::MAX, Family::V4).expect("not 0"),
        ];
        assert!(sorted.is_sorted(), "{sorted:?}");
    }

    fn v6(text: &str) -> std::net::Ipv6Addr {
        text.parse().expect("an address")
    }
}
