//! Destinations (real servers): settings ↔ attributes.

use std::fmt;
use std::num::NonZeroU16;

use ipvs_sys::DecodeError;
use ipvs_sys::uapi::{
    DestAttr, DestAttrs, IP_VS_CONN_F_BYPASS, IP_VS_CONN_F_DROUTE, IP_VS_CONN_F_FWD_MASK, IP_VS_CONN_F_LOCALNODE,
    IP_VS_CONN_F_MASQ, IP_VS_CONN_F_TUNNEL, IP_VS_CONN_F_TUNNEL_TYPE_GRE, IP_VS_CONN_F_TUNNEL_TYPE_GUE,
    IP_VS_CONN_F_TUNNEL_TYPE_IPIP, IP_VS_TUNNEL_ENCAP_FLAG_CSUM, IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM,
};
use ipvs_sys::wire::{Address, Be16, Unknown};

use crate::family::Family;
use crate::key::{DestinationKey, KeyAttrs};
use crate::stats::Seen;

/// The checksum of packets in a GUE tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GueChecksum {
    /// No checksum.
    #[default]
    None,
    /// A UDP checksum over the whole packet.
    #[doc(alias = "IP_VS_TUNNEL_ENCAP_FLAG_CSUM")]
    Full,
    /// Remote checksum offload.
    #[doc(alias = "IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM")]
    Remote,
}

/// The encapsulation of packets to a tunnelled server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tunnel {
    /// IP in IP, including IPv4 in IPv6 and IPv6 in IPv4.
    #[default]
    #[doc(alias = "IP_VS_CONN_F_TUNNEL_TYPE_IPIP")]
    Ipip,
    /// Generic UDP encapsulation. Since Linux 5.2; an older kernel ignores the attribute and uses IP in IP.
    #[doc(alias = "IPVS_DEST_ATTR_TUN_TYPE")]
    #[doc(alias = "IP_VS_CONN_F_TUNNEL_TYPE_GUE")]
    Gue {
        /// The UDP port on which the server decapsulates, 1 to 65535.
        #[doc(alias = "IPVS_DEST_ATTR_TUN_PORT")]
        port: NonZeroU16,
        /// The checksum. Since Linux 5.3.
        #[doc(alias = "IPVS_DEST_ATTR_TUN_FLAGS")]
        checksum: GueChecksum,
    },
    /// Generic routing encapsulation. Since Linux 5.3.
    #[doc(alias = "IP_VS_CONN_F_TUNNEL_TYPE_GRE")]
    Gre {
        /// Whether packets have a GRE checksum.
        checksum: bool,
    },
    /// Any other combination, set by another program or for a newer kernel.
    Other {
        /// The tunnel type, `IPVS_DEST_ATTR_TUN_TYPE`.
        kind: u8,
        /// The UDP port, `IPVS_DEST_ATTR_TUN_PORT`. 0: no port.
        port: u16,
        /// The flag bits, `IPVS_DEST_ATTR_TUN_FLAGS`. 0: no checksum.
        flags: u16,
    },
}

const IPIP: u8 = IP_VS_CONN_F_TUNNEL_TYPE_IPIP as u8;
const GUE: u8 = IP_VS_CONN_F_TUNNEL_TYPE_GUE as u8;
const GRE: u8 = IP_VS_CONN_F_TUNNEL_TYPE_GRE as u8;
const NO_CHECKSUM: u16 = 0;
const CHECKSUM: u16 = IP_VS_TUNNEL_ENCAP_FLAG_CSUM as u16;
const REMOTE_CHECKSUM: u16 = IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM as u16;

impl Tunnel {
    /// Returns type, port and flags, as the kernel stores them.
    fn to_numbers(self) -> (u8, u16, u16) {
        match self {
            Self::Ipip => (IPIP, 0, NO_CHECKSUM),
            Self::Gue { port, checksum } => {
                let flags = match checksum {
                    GueChecksum::None => NO_CHECKSUM,
                    GueChecksum::Full => CHECKSUM,
                    GueChecksum::Remote => REMOTE_CHECKSUM,
                };
                (GUE, port.get(), flags)
            }
            Self::Gre { checksum } => (GRE, 0, if checksum { CHECKSUM } else { NO_CHECKSUM }),
            Self::Other { kind, port, flags } => (kind, port, flags),
        }
    }

    pub(crate) fn from_numbers(kind: u8, port: u16, flags: u16) -> Self {
        let other = Self::Other { kind, port, flags };
        match (kind, NonZeroU16::new(port), flags) {
            (IPIP, None, NO_CHECKSUM) => Self::Ipip,
            (GRE, None, NO_CHECKSUM) => Self::Gre { checksum: false },
            (GRE, None, CHECKSUM) => Self::Gre { checksum: true },
            (GUE, Some(port), NO_CHECKSUM) => Self::Gue { port, checksum: GueChecksum::None },
            (GUE, Some(port), CHECKSUM) => Self::Gue { port, checksum: GueChecksum::Full },
            (GUE, Some(port), REMOTE_CHECKSUM) => Self::Gue { port, checksum: GueChecksum::Remote },
            _ => other,
        }
    }
}

/// The forwarding method, by which packets are sent to a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Forwarding {
    /// LVS-NAT: the director rewrites the destination address, and the source address of replies. Replies must pass
    /// through the director.
    #[doc(alias = "IP_VS_CONN_F_MASQ")]
    Masquerade,
    /// The packet is delivered on the director itself.
    #[doc(alias = "IP_VS_CONN_F_LOCALNODE")]
    Local,
    /// LVS-TUN: the packet is encapsulated. The server decapsulates it and replies to the client directly.
    #[doc(alias = "IP_VS_CONN_F_TUNNEL")]
    Tunnel(Tunnel),
    /// LVS-DR: the packet is sent unchanged to the server's link-layer address. The server replies to the client
    /// directly. ipvsadm's default.
    #[default]
    #[doc(alias = "IP_VS_CONN_F_DROUTE")]
    DirectRoute,
    /// The packet is sent to its original destination. The kernel also uses it on its own, for transparent caches.
    #[doc(alias = "IP_VS_CONN_F_BYPASS")]
    Bypass,
    /// Method 5, 6 or 7. The kernel stores it, and drops every packet.
    Other(u8),
}

impl Forwarding {
    /// An IP-in-IP tunnel.
    pub const IPIP: Self = Self::Tunnel(Tunnel::Ipip);

    fn to_number(self) -> u32 {
        match self {
            Self::Masquerade => IP_VS_CONN_F_MASQ,
            Self::Local => IP_VS_CONN_F_LOCALNODE,
            Self::Tunnel(_) => IP_VS_CONN_F_TUNNEL,
            Self::DirectRoute => IP_VS_CONN_F_DROUTE,
            Self::Bypass => IP_VS_CONN_F_BYPASS,
            Self::Other(number) => number.into(),
        }
    }

    fn from_numbers(method: u32, tunnel: Tunnel) -> Self {
        match method & IP_VS_CONN_F_FWD_MASK {
            IP_VS_CONN_F_MASQ => Self::Masquerade,
            IP_VS_CONN_F_LOCALNODE => Self::Local,
            IP_VS_CONN_F_TUNNEL => Self::Tunnel(tunnel),
            IP_VS_CONN_F_DROUTE => Self::DirectRoute,
            IP_VS_CONN_F_BYPASS => Self::Bypass,
            other => Self::Other(other as u8),
        }
    }

    /// Returns the encapsulation, or `None` if the method is not [`Tunnel`](Self::Tunnel). With other methods, the
    /// kernel ignores the attributes of a tunnel.
    pub fn tunnel(&self) -> Option<Tunnel> {
        match self {
            Self::Tunnel(tunnel) => Some(*tunnel),
            _ => None,
        }
    }
}

/// Prints the word of a document: `masquerade`, `direct_route`, `tunnel`, `local`, `bypass`, `unknown5`. Settings of a
/// tunnel follow: `tunnel:gue:6080`, `tunnel:gue:6080:full`, `tunnel:gre:full`. Other tunnels are printed as the kernel's
/// numbers: `tunnel:KIND:PORT:FLAGS`.
impl fmt::Display for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tunnel = match self {
            Self::Masquerade => return f.write_str("masquerade"),
            Self::Local => return f.write_str("local"),
            Self::DirectRoute => return f.write_str("direct_route"),
            Self::Bypass => return f.write_str("bypass"),
            Self::Other(number) => return write!(f, "unknown{number}"),
            Self::Tunnel(tunnel) => tunnel,
        };
        match tunnel {
            Tunnel::Ipip => f.write_str("tunnel"),
            Tunnel::Gue { port, checksum: GueChecksum::None } => write!(f, "tunnel:gue:{port}"),
            Tunnel::Gue { port, checksum: GueChecksum::Full } => write!(f, "tunnel:gue:{port}:full"),
            Tunnel::Gue { port, checksum: GueChecksum::Remote } => write!(f, "tunnel:gue:{port}:remote"),
            Tunnel::Gre { checksum: false } => f.write_str("tunnel:gre"),
            Tunnel::Gre { checksum: true } => f.write_str("tunnel:gre:full"),
            Tunnel::Other { kind, port, flags } => write!(f, "tunnel:{kind}:{port}:{flags}"),
        }
    }
}

/// A destination of a service: identity and settings.
///
/// ```
/// use ipvs::{Destination, Forwarding};
/// use std::net::Ipv4Addr;
///
/// let server = Destination {
///     weight: 10,
///     ..Destination::new((Ipv4Addr::new(10, 0, 0, 1), 8080), Forwarding::Masquerade)
/// };
/// assert_eq!(server.key.to_string(), "10.0.0.1:8080");
/// assert_eq!(server.to_string(), "-r 10.0.0.1:8080 -m -w 10");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// The identity of the destination.
    pub key: DestinationKey,
    /// The method by which packets are sent to the server.
    #[doc(alias = "IPVS_DEST_ATTR_FWD_METHOD")]
    pub forwarding: Forwarding,
    /// The share of new connections, in proportion to the other weights, 0 to [`Destination::MAX`]. With 0, the server
    /// receives new connections only from clients with a persistence template.
    #[doc(alias = "IPVS_DEST_ATTR_WEIGHT")]
    pub weight: u32,
    /// The number of connections at which the server receives no new ones, 0 to [`Destination::MAX`]. 0: no limit.
    #[doc(alias = "IPVS_DEST_ATTR_U_THRESH")]
    pub upper_threshold: u32,
    /// The number of connections below which the server receives new ones again, 0 to
    /// [`upper_threshold`](Self::upper_threshold). 0: three quarters of the upper threshold. See `ip_vs_unbind_dest` in
    /// <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_conn.c>.
    #[doc(alias = "IPVS_DEST_ATTR_L_THRESH")]
    pub lower_threshold: u32,
}

impl Destination {
    /// The largest weight and the largest threshold: 2147483647.
    pub const MAX: u32 = i32::MAX as u32;

    /// Returns a destination with weight 1 and without thresholds.
    pub fn new(key: impl Into<DestinationKey>, forwarding: Forwarding) -> Self {
        Self { key: key.into(), forwarding, weight: 1, upper_threshold: 0, lower_threshold: 0 }
    }

    pub(crate) fn to_attributes(self) -> DestAttrs {
        let Self { key, forwarding, weight, upper_threshold, lower_threshold } = self;
        let KeyAttrs { addr, port, addr_family } = key.parts();
        // The kernel's default of each is 0: IP in IP without a port and a checksum.
        let (kind, tunnel_port, tunnel_flags) = forwarding.tunnel().unwrap_or_default().to_numbers();
        DestAttrs {
            addr,
            port,
            fwd_method: Some(forwarding.to_number()),
            weight: Some(weight),
            u_thresh: Some(upper_threshold),
            l_thresh: Some(lower_threshold),
            active_conns: None,
            inact_conns: None,
            persist_conns: None,
            stats: None,
            addr_family,
            stats64: None,
            tun_type: (kind != 0).then_some(kind),
            tun_port: (tunnel_port != 0).then_some(Be16(tunnel_port)),
            tun_flags: (tunnel_flags != 0).then_some(tunnel_flags),
            unknown: Unknown::default(),
        }
    }

    /// Reads the settings and the observed values of a destination. `service` is the family of its service. Absent
    /// attributes have their defaults, and every value is accepted.
    #[inline]
    pub(crate) fn read(bytes: &[u8], service: Family) -> Result<(Self, Observed<'_>), DecodeError> {
        let (mut address, mut port, mut family) = (Address::default(), Be16(0), 0);
        let (mut method, mut tunnel_type, mut tunnel_port, mut tunnel_flags) = (0, 0, Be16(0), 0);
        let (mut weight, mut upper_threshold, mut lower_threshold) = (0, 0, 0);
        let mut observed = Observed::default();
        DestAttr::visit(bytes, |attribute| {
            match attribute {
                DestAttr::Addr(value) => address = value,
                DestAttr::Port(value) => port = value,
                DestAttr::FwdMethod(value) => method = value,
                DestAttr::Weight(value) => weight = value,
                DestAttr::UThresh(value) => upper_threshold = value,
                DestAttr::LThresh(value) => lower_threshold = value,
                DestAttr::ActiveConns(value) => observed.active_connections = value,
                DestAttr::InactConns(value) => observed.inactive_connections = value,
                DestAttr::PersistConns(value) => observed.persistent_connections = value,
                DestAttr::Stats(list) => observed.stats.short = list,
                DestAttr::AddrFamily(value) => family = value,
                DestAttr::Stats64(list) => observed.stats.whole = list,
                DestAttr::TunType(value) => tunnel_type = value,
                DestAttr::TunPort(value) => tunnel_port = value,
                DestAttr::TunFlags(value) => tunnel_flags = value,
                DestAttr::Unknown(number, value) => observed.unknown.push(number, value),
            }
            Ok(())
        })?;
        // Kernels before 3.18 do not send the family.
        let family = if family == 0 { service } else { Family::from_number(family) };
        let tunnel = Tunnel::from_numbers(tunnel_type, tunnel_port.0, tunnel_flags);
        let destination = Self {
            key: DestinationKey { address: family.address(address), port: port.0 },
            forwarding: Forwarding::from_numbers(method, tunnel),
            weight,
            upper_threshold,
            lower_threshold,
        };
        Ok((destination, observed))
    }
}

/// Attributes of a destination that are not settings.
#[derive(Default)]
pub(crate) struct Observed<'a> {
    pub(crate) active_connections: u32,
    pub(crate) inactive_connections: u32,
    pub(crate) persistent_connections: u32,
    pub(crate) stats: Seen<'a>,
    pub(crate) unknown: Unknown,
}

#[cfg(test)]
mod tests {
    use ipvs_sys::wire::Attributes;

    use super::*;

    fn read(attributes: &DestAttrs, service: Family) -> Destination {
        let mut bytes = Vec::new();
        attributes.write(&mut bytes);
        Destination::read(&bytes, service).expect("a destination").0
    }

    fn all_methods() -> impl Iterator<Item = Forwarding> {
        (0..8).flat_map(|method| {
            (0..4).flat_map(move |kind| {
                [0, 6080].into_iter().flat_map(move |port| {
                    (0..5).map(move |flags| Forwarding::from_numbers(method, Tunnel::from_numbers(kind, port, flags)))
                })
            })
        })
    }

    #[test]
    fn attributes_round_trip() {
        for forwarding in all_methods() {
            for address in ["10.0.0.1", "2001:db8::1"] {
                let key = DestinationKey { address: address.parse().expect("an address"), port: 80 };
                let destination = Destination {
                    weight: Destination::MAX,
                    upper_threshold: 100,
                    lower_threshold: 50,
                    ..Destination::new(key, forwarding)
                };
                assert_eq!(read(&destination.to_attributes(), Family::V4), destination);
            }
        }
    }

    #[test]
    fn the_family_defaults_to_that_of_the_service() {
        let key = DestinationKey { address: "2001:db8::1".parse().expect("an address"), port: 80 };
        let attributes = DestAttrs { addr_family: None, ..key.to_attributes() };
        assert_eq!(read(&attributes, Family::V6).key, key);
    }
}
