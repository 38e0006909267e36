//! Virtual services: settings ↔ attributes.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipvs_sys::DecodeError;
use ipvs_sys::uapi::{
    IP_VS_SVC_F_HASHED, IP_VS_SVC_F_ONEPACKET, IP_VS_SVC_F_PERSISTENT, IP_VS_SVC_F_SCHED1, IP_VS_SVC_F_SCHED2,
    IP_VS_SVC_F_SCHED3, ServiceAttr, ServiceAttrs,
};
use ipvs_sys::wire::{Address, Be16, FlagsMask, Name, Unknown};

use crate::family::{AF_INET, Family, Protocol};
use crate::key::ServiceKey;
use crate::name::{Engine, Scheduler};
use crate::stats::Seen;
use crate::timeouts::whole_seconds;

bitflags::bitflags! {
    /// Flags of the scheduler, which defines their meaning. Bits without a name are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct SchedulerFlags: u32 {
        /// Flag 1 (`flag-1`). With sh and mh, another server is selected if the selected one is unavailable.
        #[doc(alias = "IP_VS_SVC_F_SCHED1")]
        const FLAG_1 = IP_VS_SVC_F_SCHED1;
        /// Flag 2 (`flag-2`). With sh and mh, the hash includes the client's port.
        #[doc(alias = "IP_VS_SVC_F_SCHED2")]
        const FLAG_2 = IP_VS_SVC_F_SCHED2;
        /// Flag 3 (`flag-3`). No scheduler of Linux 6.1 to 7.3 uses it.
        #[doc(alias = "IP_VS_SVC_F_SCHED3")]
        const FLAG_3 = IP_VS_SVC_F_SCHED3;
        const _ = !0;
    }
}

impl SchedulerFlags {
    /// Flag of sh and mh (`sh-fallback`, `mh-fallback`): another server is selected if the selected one is unavailable.
    pub const FALLBACK: Self = Self::FLAG_1;
    /// Flag of sh and mh (`sh-port`, `mh-port`): the hash includes the client's port.
    pub const PORT: Self = Self::FLAG_2;

    /// The flags that have names.
    #[cfg_attr(not(feature = "serde"), expect(dead_code, reason = "only documents need it"))]
    pub(crate) const NAMED: Self = Self::FLAG_1.union(Self::FLAG_2).union(Self::FLAG_3);

    /// Bits of the flags word that are not flags of the scheduler.
    pub(crate) const OTHERS: u32 = IP_VS_SVC_F_PERSISTENT | IP_VS_SVC_F_HASHED | IP_VS_SVC_F_ONEPACKET;
}

/// The network that persistence treats as one client: all addresses that are equal under the mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Netmask {
    /// An IPv4 mask. The kernel accepts any mask, even one with gaps.
    V4(Ipv4Addr),
    /// An IPv6 prefix length, 1 to 128.
    V6(u8),
}

impl Netmask {
    /// Returns the mask that treats every address as a separate client.
    pub const fn host(family: Family) -> Self {
        match family {
            Family::V4 => Self::V4(Ipv4Addr::BROADCAST),
            Family::V6 => Self::V6(128),
        }
    }

    /// Returns the mask of a prefix length: 0 to 32 for IPv4, 1 to 128 for IPv6. Returns `None` for other lengths.
    pub fn from_prefix(family: Family, prefix: u8) -> Option<Self> {
        match family {
            Family::V4 => ipnet::Ipv4Net::new(Ipv4Addr::UNSPECIFIED, prefix).ok().map(|net| Self::V4(net.netmask())),
            Family::V6 => (1..=128).contains(&prefix).then_some(Self::V6(prefix)),
        }
    }

    /// Returns the family of the addresses that the mask is for.
    pub fn family(&self) -> Family {
        match self {
            Self::V4(_) => Family::V4,
            Self::V6(_) => Family::V6,
        }
    }

    // Returns the kernel's number. IPv4: the mask in network byte order. IPv6: the prefix length.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    /// The identity of the service.
    pub key: ServiceKey,
    /// The scheduler, which selects the server of a new connection.
    #[doc(alias = "IPVS_SVC_ATTR_SCHED_NAME")]
    pub scheduler: Scheduler,
    /// Flags of the scheduler. Empty by default.
    #[doc(alias = "IPVS_SVC_ATTR_FLAGS")]
    pub flags: SchedulerFlags,
    /// Persistence timeout in seconds, 1 to [`Service::MAX_PERSISTENCE`]. A client is sent to the same server until
    /// this time has passed since its last connection. `None`: no persistence.
    #[doc(alias = "IPVS_SVC_ATTR_TIMEOUT")]
    #[doc(alias = "IP_VS_SVC_F_PERSISTENT")]
    pub persistence: Option<u32>,
    /// The network that persistence treats as one client. It has no effect without persistence.
    #[doc(alias = "IPVS_SVC_ATTR_NETMASK")]
    pub netmask: Netmask,
    /// The persistence engine, which distinguishes clients by more than their address. `None`: by address only. It has
    /// no effect without persistence.
    #[doc(alias = "IPVS_SVC_ATTR_PE_NAME")]
    pub engine: Option<Engine>,
    /// Whether every UDP packet is scheduled separately, without an entry in the connection table. It has no effect for
    /// other protocols.
    #[doc(alias = "IP_VS_SVC_F_ONEPACKET")]
    pub one_packet: bool,
}

impl Service {
    /// The longest persistence timeout, 4294967 seconds (49 days). The kernel multiplies it by its clock rate (`HZ`, at
    /// most 1000) in 32 bits, so a longer timeout wraps around. See `ip_vs_add_service` in
    /// <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_ctl.c>.
    pub const MAX_PERSISTENCE: u32 = u32::MAX / 1000;

    /// Returns a service without flags, persistence, engine or one-packet scheduling.
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

    /// Makes the service persistent: for this time after its last connection, a client gets the same server. The
    /// duration is rounded up to seconds.
    pub fn with_persistence(self, timeout: Duration) -> Self {
        Self { persistence: Some(whole_seconds(timeout)), ..self }
    }

    /// Returns whether the existing service `held` has these settings. A netmask is ignored without persistence, where
    /// it has no effect.
    pub fn is_met_by(&self, held: &Self) -> bool {
        let effective = |service: &Self| Self {
            netmask: if service.persistence.is_some() { service.netmask } else { Netmask::host(service.key.family()) },
            ..*service
        };
        effective(self) == effective(held)
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
            // All bits are in the mask, so bits that are not set are cleared.
            flags: Some(FlagsMask { flags: bits, mask: u32::MAX }),
            timeout: Some(persistence.unwrap_or(0)),
            netmask: Some(netmask.to_number()),
            stats: None,
            // Without the attribute the kernel removes the engine.
            pe_name: engine.map(|engine| engine.0),
            stats64: None,
            unknown: Unknown::default(),
        }
    }

    /// Reads the settings and the observed values of a service. Absent attributes have their defaults, and every value
    /// is accepted.
    #[inline]
    pub(crate) fn read(bytes: &[u8]) -> Result<(Self, Observed<'_>), DecodeError> {
        let (mut af, mut protocol, mut address, mut port, mut mark) = (AF_INET, 0, Address::default(), Be16(0), 0);
        let (mut scheduler, mut engine) = (Name::default(), Name::default());
        let (mut bits, mut timeout, mut netmask) = (0, 0, None);
        let mut observed = Observed::default();
        ServiceAttr::visit(bytes, |attribute| {
            match attribute {
                ServiceAttr::Af(value) => af = value,
                ServiceAttr::Protocol(value) => protocol = value,
                ServiceAttr::Addr(value) => address = value,
                ServiceAttr::Port(value) => port = value,
                ServiceAttr::Fwmark(value) => mark = value,
                ServiceAttr::SchedName(value) => scheduler = value,
                ServiceAttr::Flags(value) => bits = value.flags,
                ServiceAttr::Timeout(value) => timeout = value,
                ServiceAttr::Netmask(value) => netmask = Some(value),
                ServiceAttr::Stats(list) => observed.stats.short = list,
                ServiceAttr::PeName(value) => engine = value,
                ServiceAttr::Stats64(list) => observed.stats.whole = list,
                ServiceAttr::Unknown(number, value) => observed.unknown.push(number, value),
            }
            Ok(())
        })?;
        let family = Family::from_number(af);
        let key = ServiceKey::fwmark(mark, family)
            .unwrap_or_else(|| ServiceKey::new(Protocol::from_number(protocol), family.address(address), port.0));
        let service = Self {
            key,
            scheduler: if scheduler.is_empty() { Scheduler::NONE } else { Scheduler(scheduler) },
            flags: SchedulerFlags::from_bits_retain(bits & !SchedulerFlags::OTHERS),
            persistence: (bits & IP_VS_SVC_F_PERSISTENT != 0).then_some(timeout),
            netmask: netmask.map_or(Netmask::host(family), |number| Netmask::from_number(number, family)),
            engine: (!engine.is_empty()).then_some(Engine(engine)),
            one_packet: bits & IP_VS_SVC_F_ONEPACKET != 0,
        };
        Ok((service, observed))
    }
}

/// Attributes of a service that are not settings.
#[derive(Default)]
pub(crate) struct Observed<'a> {
    pub(crate) stats: Seen<'a>,
    pub(crate) unknown: Unknown,
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use ipvs_sys::wire::Attributes;

    use super::*;

    fn read(attributes: &ServiceAttrs) -> Service {
        let mut bytes = Vec::new();
        attributes.write(&mut bytes);
        Service::read(&bytes).expect("a service").0
    }

    fn v6(text: &str) -> Ipv6Addr {
        text.parse().expect("an address")
    }

    #[test]
    fn attributes_round_trip() {
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
            assert_eq!(read(&service.to_attributes()), service);
        }
    }

    #[test]
    fn the_flag_hashed_is_neither_read_nor_sent() {
        let service = Service::new(ServiceKey::tcp([10, 0, 0, 1], 80), Scheduler::RR);
        let mut attributes = service.to_attributes();
        attributes.flags = Some(FlagsMask { flags: IP_VS_SVC_F_HASHED, mask: u32::MAX });
        assert_eq!(read(&attributes), service);
        assert_eq!(service.to_attributes().flags.expect("sent").flags, 0);
    }
}
