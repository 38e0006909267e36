//! Virtual services: identity, settings, and both as the kernel's attributes.

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;

use ipvs_sys::uapi::{
    IP_VS_SVC_F_HASHED, IP_VS_SVC_F_ONEPACKET, IP_VS_SVC_F_PERSISTENT, IP_VS_SVC_F_SCHED1, IP_VS_SVC_F_SCHED2,
    IP_VS_SVC_F_SCHED3, ServiceAttrs,
};
use ipvs_sys::wire::{Address, Be16, FlagsMask, Unknown};

use crate::names::{Engine, Scheduler};
use crate::state::ServiceState;
use crate::stats::Stats;

/// An address family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    #[default]
    V4,
    /// IPv6.
    V6,
}

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    pub(crate) fn number(self) -> u16 {
        match self {
            Self::V4 => AF_INET,
            Self::V6 => AF_INET6,
        }
    }

    pub(crate) fn from_number(number: u16) -> Self {
        if number == AF_INET6 { Self::V6 } else { Self::V4 }
    }

    /// The address in 16 bytes of an attribute.
    pub(crate) fn address(self, bytes: Address) -> IpAddr {
        match self {
            Self::V4 => bytes.v4().into(),
            Self::V6 => bytes.v6().into(),
        }
    }
}

pub(crate) fn wire_address(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => address.into(),
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP, 6.
    Tcp,
    /// UDP, 17.
    Udp,
    /// SCTP, 132.
    Sctp,
    /// Any other number. The kernel takes it and never schedules a packet for it.
    Other(u16),
}

impl Protocol {
    /// The IP protocol number.
    pub fn number(self) -> u16 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
            Self::Other(number) => number,
        }
    }

    /// The protocol with that IP protocol number.
    pub fn from_number(number: u16) -> Self {
        match number {
            6 => Self::Tcp,
            17 => Self::Udp,
            132 => Self::Sctp,
            other => Self::Other(other),
        }
    }

    /// The name in capitals, "?" for what IPVS does not know.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
            Self::Other(_) => "?",
        }
    }
}

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
                write!(f, "protocol {number} {}", std::net::SocketAddr::new(*address, *port))
            }
            Self::Address { protocol, address, port } => {
                write!(f, "{} {}", protocol.name(), std::net::SocketAddr::new(*address, *port))
            }
            Self::Fwmark { mark, family: Family::V4 } => write!(f, "FWM {mark}"),
            Self::Fwmark { mark, family: Family::V6 } => write!(f, "FWM {mark} IPv6"),
        }
    }
}

bitflags::bitflags! {
    /// Flags that belong to the scheduler; what they mean, it decides. Bits that have no name yet are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct SchedulerFlags: u32 {
        /// `flag-1`. For sh and mh: if the chosen server is unavailable, go on to another.
        const FLAG_1 = IP_VS_SVC_F_SCHED1;
        /// `flag-2`. For sh and mh: hash the client's port, too.
        const FLAG_2 = IP_VS_SVC_F_SCHED2;
        /// `flag-3`. No scheduler of the kernel uses it.
        const FLAG_3 = IP_VS_SVC_F_SCHED3;
        const _ = !0;
    }
}

impl SchedulerFlags {
    /// sh and mh: if the chosen server is unavailable, go on to another (`sh-fallback`, `mh-fallback`).
    pub const FALLBACK: Self = Self::FLAG_1;
    /// sh and mh: hash the client's port, too (`sh-port`, `mh-port`).
    pub const PORT: Self = Self::FLAG_2;

    /// Bits of the flags word that are not the scheduler's.
    const OTHERS: u32 = IP_VS_SVC_F_PERSISTENT | IP_VS_SVC_F_HASHED | IP_VS_SVC_F_ONEPACKET;
}

/// Which clients persistence takes for one client: those whose addresses are equal under the mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Netmask {
    /// An IPv4 mask; the kernel takes any, also with holes.
    V4(Ipv4Addr),
    /// An IPv6 prefix length, 1 to 128.
    V6(u8),
}

impl Netmask {
    /// Every address for itself.
    pub const fn host(family: Family) -> Self {
        match family {
            Family::V4 => Self::V4(Ipv4Addr::BROADCAST),
            Family::V6 => Self::V6(128),
        }
    }

    /// The mask with that many leading ones, if the family has them.
    pub fn from_prefix(family: Family, prefix: u8) -> Option<Self> {
        match family {
            Family::V4 => ipnet::Ipv4Net::new(Ipv4Addr::UNSPECIFIED, prefix).ok().map(|net| Self::V4(net.netmask())),
            Family::V6 => (1..=128).contains(&prefix).then_some(Self::V6(prefix)),
        }
    }

    /// Which family's addresses the mask is for.
    pub fn family(&self) -> Family {
        match self {
            Self::V4(_) => Family::V4,
            Self::V6(_) => Family::V6,
        }
    }

    // IPv4: the mask in network byte order. IPv6: the prefix length as a number.
    fn to_number(self) -> u32 {
        match self {
            Self::V4(mask) => u32::from_ne_bytes(mask.octets()),
            Self::V6(prefix) => prefix.into(),
        }
    }

    fn from_number(number: u32, family: Family) -> Self {
        match family {
            Family::V4 => Self::V4(number.to_ne_bytes().into()),
            Family::V6 => Self::V6(number.try_into().unwrap_or(128)),
        }
    }
}

impl fmt::Display for Netmask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(mask) => mask.fmt(f),
            Self::V6(prefix) => prefix.fmt(f),
        }
    }
}

/// A virtual service: identity and settings.
///
/// ```
/// use ipvs::{Scheduler, Service, ServiceKey};
/// use std::net::Ipv4Addr;
///
/// let mut service = Service::new(ServiceKey::tcp(Ipv4Addr::new(192, 0, 2, 1), 443), Scheduler::WRR);
/// service.persistence = Some(360);
/// assert_eq!(service.to_string(), "-A -t 192.0.2.1:443 -s wrr -p 360");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// What makes it this service.
    pub key: ServiceKey,
    /// How servers are picked for new connections.
    #[doc(alias = "IPVS_SVC_ATTR_SCHED_NAME")]
    pub scheduler: Scheduler,
    /// Settings of the scheduler.
    #[doc(alias = "IPVS_SVC_ATTR_FLAGS")]
    pub flags: SchedulerFlags,
    /// For how many seconds after its last connection a client is sent to the same server; `None`: not at all.
    /// At most [`Service::MAX_PERSISTENCE`].
    #[doc(alias = "IPVS_SVC_ATTR_TIMEOUT")]
    #[doc(alias = "IP_VS_SVC_F_PERSISTENT")]
    pub persistence: Option<u32>,
    /// Which clients persistence takes for one. Without persistence it does nothing.
    #[doc(alias = "IPVS_SVC_ATTR_NETMASK")]
    pub netmask: Netmask,
    /// What else tells clients apart, beyond the address. Without persistence it does nothing.
    #[doc(alias = "IPVS_SVC_ATTR_PE_NAME")]
    pub engine: Option<Engine>,
    /// Every UDP packet is scheduled by itself, and no connection entry is kept. For other protocols it does nothing.
    #[doc(alias = "IP_VS_SVC_F_ONEPACKET")]
    pub one_packet: bool,
}

impl Service {
    /// The longest persistence timeout that does not wrap around in the kernel, whatever its clock rate: 49 days.
    pub const MAX_PERSISTENCE: u32 = u32::MAX / 1000;

    /// A service with all settings at their defaults.
    pub fn new(key: ServiceKey, scheduler: Scheduler) -> Self {
        Self {
            key,
            scheduler,
            flags: SchedulerFlags::empty(),
            persistence: None,
            netmask: Netmask::host(key.family()),
            engine: None,
            one_packet: false,
        }
    }

    pub(crate) fn to_attributes(self) -> ServiceAttrs {
        let Self { key, scheduler, flags, persistence, netmask, engine, one_packet } = self;
        let mut bits = flags.bits() & !SchedulerFlags::OTHERS;
        if persistence.is_some() {
            bits |= IP_VS_SVC_F_PERSISTENT;
        }
        if one_packet {
            bits |= IP_VS_SVC_F_ONEPACKET;
        }
        let ServiceAttrs { af, protocol, addr, port, fwmark, .. } = key.to_attributes();
        ServiceAttrs {
            af,
            protocol,
            addr,
            port,
            fwmark,
            sched_name: Some(scheduler.0),
            // Every bit is meant: what is not set is taken away.
            flags: Some(FlagsMask { flags: bits, mask: u32::MAX }),
            timeout: Some(persistence.unwrap_or(0)),
            netmask: Some(netmask.to_number()),
            stats: None,
            // Left out, it is taken away.
            pe_name: engine.map(|engine| engine.0),
            stats64: None,
            unknown: Unknown::default(),
        }
    }
}

/// What the kernel says of a service. Absent attributes have their defaults; nothing is refused.
impl From<ServiceAttrs> for ServiceState {
    fn from(attributes: ServiceAttrs) -> Self {
        let ServiceAttrs {
            af,
            protocol,
            addr,
            port,
            fwmark,
            sched_name,
            flags,
            timeout,
            netmask,
            stats,
            pe_name,
            stats64,
            unknown,
        } = attributes;
        let family = Family::from_number(af.unwrap_or(AF_INET));
        let key = match fwmark.and_then(NonZeroU32::new) {
            Some(mark) => ServiceKey::Fwmark { mark, family },
            None => ServiceKey::Address {
                protocol: Protocol::from_number(protocol.unwrap_or(0)),
                address: family.address(addr.unwrap_or_default()),
                port: port.unwrap_or_default().0,
            },
        };
        let bits = flags.unwrap_or_default().flags;
        let service = Service {
            key,
            scheduler: sched_name.filter(|name| !name.is_empty()).map_or(Scheduler::NONE, Scheduler),
            flags: SchedulerFlags::from_bits_retain(bits & !SchedulerFlags::OTHERS),
            persistence: (bits & IP_VS_SVC_F_PERSISTENT != 0).then_some(timeout.unwrap_or(0)),
            netmask: netmask.map_or(Netmask::host(family), |number| Netmask::from_number(number, family)),
            engine: pe_name.filter(|name| !name.is_empty()).map(Engine),
            one_packet: bits & IP_VS_SVC_F_ONEPACKET != 0,
        };
        Self { service, stats: Stats::best(stats64, stats), destinations: Vec::new(), unknown }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn v6(text: &str) -> Ipv6Addr {
        text.parse().expect("an address")
    }

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
    fn there_and_back() {
        let services = [
            Service::new(ServiceKey::tcp([10, 0, 0, 1], 80), Scheduler::RR),
            Service {
                flags: SchedulerFlags::PORT | SchedulerFlags::from_bits_retain(0x4000),
                persistence: Some(60),
                netmask: Netmask::V6(64),
                engine: Some(Engine::new("sip").expect("short")),
                one_packet: true,
                ..Service::new(ServiceKey::udp(v6("2001:db8::1"), 5060), Scheduler::SH)
            },
            Service {
                netmask: Netmask::V4([255, 255, 0, 0].into()),
                ..Service::new(ServiceKey::fwmark(7, Family::V4).expect("not 0"), Scheduler::MH)
            },
            Service::new(ServiceKey::new(Protocol::Other(99), [10, 0, 0, 1], 0), Scheduler::NONE),
        ];
        for service in services {
            assert_eq!(ServiceState::from(service.to_attributes()).service, service);
        }
    }

    #[test]
    fn the_kernels_own_flag_is_neither_shown_nor_sent() {
        let service = Service::new(ServiceKey::tcp([10, 0, 0, 1], 80), Scheduler::RR);
        let mut attributes = service.to_attributes();
        attributes.flags = Some(FlagsMask { flags: IP_VS_SVC_F_HASHED, mask: u32::MAX });
        assert_eq!(ServiceState::from(attributes).service, service);
        assert_eq!(service.to_attributes().flags.expect("sent").flags, 0);
    }
}
