//! The identity of services and destinations.

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZeroU32;

use ipvs_sys::uapi::{DestAttrs, ServiceAttrs};
use ipvs_sys::wire::{Address, Be16};

use crate::family::{Family, Protocol, wire_address};

/// The identity of a service. It cannot be edited: a service with another key is another service.
///
/// Keys are ordered as ipvsadm lists services: by family, protocol, address and port, then by mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceKey {
    /// A service for packets to an address and port.
    Address {
        /// The transport protocol. The kernel schedules TCP, UDP and SCTP only.
        #[doc(alias = "IPVS_SVC_ATTR_PROTOCOL")]
        protocol: Protocol,
        /// The virtual address (VIP).
        #[doc(alias = "IPVS_SVC_ATTR_ADDR")]
        address: IpAddr,
        /// The port, 0 to 65535. 0: every port of the address that has no service of its own, for persistent services
        /// only.
        #[doc(alias = "IPVS_SVC_ATTR_PORT")]
        port: u16,
    },
    /// A service for packets with a firewall mark, of any protocol, address and port.
    Fwmark {
        /// The mark that the firewall sets, 1 to 4294967295. A packet without a mark has mark 0.
        #[doc(alias = "IPVS_SVC_ATTR_FWMARK")]
        mark: NonZeroU32,
        /// The family of the packets. The same mark can be one service of each family.
        #[doc(alias = "IPVS_SVC_ATTR_AF")]
        family: Family,
    },
}

impl ServiceKey {
    /// Returns the key of a service by address and port.
    pub fn new(protocol: Protocol, address: impl Into<IpAddr>, port: u16) -> Self {
        Self::Address { protocol, address: address.into(), port }
    }

    /// Returns the key of a TCP service.
    pub fn tcp(address: impl Into<IpAddr>, port: u16) -> Self {
        Self::new(Protocol::Tcp, address, port)
    }

    /// Returns the key of a UDP service.
    pub fn udp(address: impl Into<IpAddr>, port: u16) -> Self {
        Self::new(Protocol::Udp, address, port)
    }

    /// Returns the key of an SCTP service.
    pub fn sctp(address: impl Into<IpAddr>, port: u16) -> Self {
        Self::new(Protocol::Sctp, address, port)
    }

    /// Returns the key of a service by firewall mark, or `None` for mark 0.
    pub fn fwmark(mark: u32, family: Family) -> Option<Self> {
        NonZeroU32::new(mark).map(|mark| Self::Fwmark { mark, family })
    }

    /// Returns the family of the clients' packets.
    pub fn family(&self) -> Family {
        match self {
            Self::Address { address, .. } => Family::of(*address),
            Self::Fwmark { family, .. } => *family,
        }
    }

    /// Returns the port, or `None` for a service by mark.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Address { port, .. } => Some(*port),
            Self::Fwmark { .. } => None,
        }
    }

    /// Returns the attributes that identify the service.
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

impl From<(Protocol, SocketAddr)> for ServiceKey {
    fn from((protocol, endpoint): (Protocol, SocketAddr)) -> Self {
        Self::new(protocol, endpoint.ip(), endpoint.port())
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

/// Prints the key as ipvsadm lists it: `TCP 10.0.0.1:80`, `UDP [2001:db8::1]:53`, `FWM 7`, `FWM 7 IPv6`.
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

/// The identity of a destination within its service. It cannot be edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationKey {
    /// The address of the real server. It must be a unicast address, or one of the director's own.
    #[doc(alias = "IPVS_DEST_ATTR_ADDR")]
    pub address: IpAddr,
    /// The port of the real server, 0 to 65535. 0: the port of the client's packet. Direct routing and tunnels do not
    /// change the port of a packet; the port is nevertheless part of the identity.
    #[doc(alias = "IPVS_DEST_ATTR_PORT")]
    pub port: u16,
}

impl DestinationKey {
    /// Returns the key of a destination by address and port.
    pub fn new(address: impl Into<IpAddr>, port: u16) -> Self {
        Self { address: address.into(), port }
    }

    /// Returns the attributes that identify the destination.
    pub(crate) fn to_attributes(self) -> DestAttrs {
        let KeyAttrs { addr, port, addr_family } = self.parts();
        DestAttrs { addr, port, addr_family, ..DestAttrs::default() }
    }

    /// Returns only the attributes of the key.
    pub(crate) fn parts(self) -> KeyAttrs {
        KeyAttrs {
            addr: Some(wire_address(self.address)),
            port: Some(Be16(self.port)),
            // Without it the kernel uses the service's family, and the first four bytes of an IPv6 address as IPv4:
            // https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_ctl.c (ip_vs_genl_set_cmd)
            addr_family: Some(Family::of(self.address).number()),
        }
    }
}

/// The attributes that identify a destination.
pub(crate) struct KeyAttrs {
    pub(crate) addr: Option<Address>,
    pub(crate) port: Option<Be16>,
    pub(crate) addr_family: Option<u16>,
}

/// Prints `10.0.0.1:80` or `[2001:db8::1]:80`.
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

impl From<SocketAddrV4> for DestinationKey {
    fn from(endpoint: SocketAddrV4) -> Self {
        Self::new(*endpoint.ip(), endpoint.port())
    }
}

/// Leaves out the scope and the flow label.
impl From<SocketAddrV6> for DestinationKey {
    fn from(endpoint: SocketAddrV6) -> Self {
        Self::new(*endpoint.ip(), endpoint.port())
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

    #[test]
    fn endpoints_are_keys() {
        let v4: SocketAddrV4 = "10.0.0.1:80".parse().expect("an endpoint");
        let v6: SocketAddrV6 = "[fe80::1%7]:80".parse().expect("an endpoint");
        assert_eq!(DestinationKey::from(v4), DestinationKey::new([10, 0, 0, 1], 80));
        assert_eq!(DestinationKey::from(v6).to_string(), "[fe80::1]:80");
        assert_eq!(ServiceKey::from((Protocol::Tcp, v4.into())), ServiceKey::tcp([10, 0, 0, 1], 80));
        assert_eq!(Family::from(IpAddr::from(*v6.ip())), Family::V6);
    }

    fn v6(text: &str) -> std::net::Ipv6Addr {
        text.parse().expect("an address")
    }
}
