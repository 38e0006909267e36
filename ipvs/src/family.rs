//! Address families and transport protocols.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use ipvs_sys::wire::Address;

/// An address family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    #[doc(alias = "AF_INET")]
    #[default]
    V4,
    /// IPv6.
    #[doc(alias = "AF_INET6")]
    V6,
}

pub(crate) const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

impl Family {
    /// Returns the family of an address.
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

    /// Reads an address from the 16 bytes of an attribute.
    pub(crate) fn address(self, bytes: Address) -> IpAddr {
        match self {
            Self::V4 => bytes.v4().into(),
            Self::V6 => bytes.v6().into(),
        }
    }
}

/// Returns the family of an address.
impl From<IpAddr> for Family {
    fn from(address: IpAddr) -> Self {
        Self::of(address)
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

/// A transport protocol. Protocols are compared and ordered by their number: `Other(6)` equals `Tcp`.
#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    /// TCP, number 6.
    #[doc(alias = "IPPROTO_TCP")]
    Tcp,
    /// UDP, number 17.
    #[doc(alias = "IPPROTO_UDP")]
    Udp,
    /// SCTP, number 132.
    #[doc(alias = "IPPROTO_SCTP")]
    Sctp,
    /// Any other protocol, by number. The kernel accepts such a service but never schedules a packet for it.
    Other(u16),
}

impl Protocol {
    /// Returns the IP protocol number.
    pub fn number(self) -> u16 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
            Self::Other(number) => number,
        }
    }

    /// Returns the protocol with that IP protocol number.
    pub fn from_number(number: u16) -> Self {
        match number {
            6 => Self::Tcp,
            17 => Self::Udp,
            132 => Self::Sctp,
            other => Self::Other(other),
        }
    }

    /// Returns the name in capitals, or "?" for [`Other`](Self::Other).
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
            Self::Other(_) => "?",
        }
    }
}

/// Prints `TCP`, `UDP`, `SCTP`, or the number.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::from_number(self.number()) {
            Self::Other(number) => number.fmt(f),
            known => known.name().fmt(f),
        }
    }
}

impl PartialEq for Protocol {
    fn eq(&self, other: &Self) -> bool {
        self.number() == other.number()
    }
}

impl Eq for Protocol {}

impl PartialOrd for Protocol {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Protocol {
    fn cmp(&self, other: &Self) -> Ordering {
        self.number().cmp(&other.number())
    }
}

impl Hash for Protocol {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number().hash(state);
    }
}
