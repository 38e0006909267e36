//! The services to which a plan is limited.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::str::FromStr;

use ipnet::IpNet;

use crate::family::Protocol;
use crate::invalid_value::InvalidValue;
use crate::key::ServiceKey;

/// A selection of services: `tcp`, `udp`, `sctp`, `protocol:99`, `192.0.2.0/24`, `2001:db8::1`, `fwmark`, `fwmark:7`,
/// `tcp:192.0.2.1:80`, `fwmark:7:IPv6`. Names are read in upper or lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// All services of a protocol.
    Protocol(Protocol),
    /// All services whose address is in the network.
    Net(IpNet),
    /// All services by firewall mark.
    Fwmarks,
    /// The services of a firewall mark, of both families.
    Fwmark(NonZeroU32),
    /// One service.
    Service(ServiceKey),
}

impl Selector {
    /// Returns whether the service is selected.
    pub fn selects(&self, key: &ServiceKey) -> bool {
        match (self, key) {
            (Self::Protocol(wanted), ServiceKey::Address { protocol, .. }) => wanted == protocol,
            (Self::Net(net), ServiceKey::Address { address, .. }) => net.contains(address),
            (Self::Fwmarks, ServiceKey::Fwmark { .. }) => true,
            (Self::Fwmark(wanted), ServiceKey::Fwmark { mark, .. }) => wanted == mark,
            (Self::Service(wanted), key) => wanted == key,
            _ => false,
        }
    }
}

const SELECTORS: &str = "one of tcp, udp, sctp, ADDRESS, ADDRESS/LENGTH, PROTOCOL:ADDRESS:PORT, fwmark, fwmark:N (N \
                         from 1), fwmark:N:FAMILY, protocol:N";

/// Selects one service.
impl From<ServiceKey> for Selector {
    fn from(key: ServiceKey) -> Self {
        Self::Service(key)
    }
}

impl FromStr for Selector {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let lower = text.to_ascii_lowercase();
        let selector = match (&*lower, lower.split_once(':')) {
            ("tcp", _) => Some(Self::Protocol(Protocol::Tcp)),
            ("udp", _) => Some(Self::Protocol(Protocol::Udp)),
            ("sctp", _) => Some(Self::Protocol(Protocol::Sctp)),
            ("fwmark", _) => Some(Self::Fwmarks),
            (_, Some(("fwmark", mark))) => mark.parse().ok().map(Self::Fwmark),
            (_, Some(("protocol", number))) => number.parse().ok().map(Protocol::from_number).map(Self::Protocol),
            _ => text.parse().map(IpAddr::into).or_else(|_| text.parse()).ok().map(Self::Net),
        };
        let service = || text.parse().ok().map(Self::Service);
        selector.or_else(service).ok_or_else(|| InvalidValue::new(text, SELECTORS))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(Protocol::Other(number)) => write!(f, "protocol:{number}"),
            Self::Protocol(protocol) => f.write_str(&protocol.name().to_lowercase()),
            Self::Net(net) => net.fmt(f),
            Self::Fwmarks => f.write_str("fwmark"),
            Self::Fwmark(mark) => write!(f, "fwmark:{mark}"),
            Self::Service(ServiceKey::Fwmark { mark, family }) => write!(f, "fwmark:{mark}:{family}"),
            Self::Service(ServiceKey::Address { protocol, address, port }) => {
                write!(f, "{}:{}", Self::Protocol(*protocol), SocketAddr::new(*address, *port))
            }
        }
    }
}

/// The services that a plan may change. By default these are all services, and those that are not in the desired table
/// are deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The services that may be changed. Empty: all services. If it is not empty, timeouts and sync daemons are not
    /// changed.
    pub only: Vec<Selector>,
    /// The services that are never changed. This takes precedence over all other fields.
    pub protect: Vec<Selector>,
    /// Whether services that are not in the desired table are kept. If false, they are deleted.
    pub listed: bool,
    /// With `listed`: the services that are still deleted if they are not in the desired table. Intended for the
    /// services of the table that was applied before.
    pub former: HashSet<ServiceKey>,
}

impl Scope {
    /// Returns whether the service may be changed.
    pub fn contains(&self, key: &ServiceKey) -> bool {
        let any = |selectors: &[Selector]| selectors.iter().any(|selector| selector.selects(key));
        (self.only.is_empty() || any(&self.only)) && !any(&self.protect)
    }

    /// Returns whether the service is deleted if it is not in the desired table.
    pub(crate) fn deletes_unasked(&self, key: &ServiceKey) -> bool {
        self.contains(key) && (!self.listed || self.former.contains(key))
    }

    /// Returns whether timeouts and sync daemons may be changed.
    pub fn contains_globals(&self) -> bool {
        self.only.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Family;

    #[test]
    fn selectors_are_read_and_select() {
        let web = ServiceKey::tcp([192, 0, 2, 1], 80);
        let mark = ServiceKey::fwmark(7, Family::V6).expect("not 0");
        for (text, selects_web, selects_mark) in [
            ("tcp", true, false),
            ("udp", false, false),
            ("protocol:6", true, false),
            ("protocol:99", false, false),
            ("192.0.2.0/24", true, false),
            ("192.0.2.1", true, false),
            ("192.0.2.2/32", false, false),
            ("2001:db8::/32", false, false),
            ("fwmark", false, true),
            ("fwmark:7", false, true),
            ("fwmark:8", false, false),
            ("fwmark:7:IPv6", false, true),
            ("fwmark:7:ipv4", false, false),
            ("tcp:192.0.2.1:80", true, false),
            ("TCP:192.0.2.1:80", true, false),
            ("TCP 192.0.2.1:80", true, false),
            ("tcp:192.0.2.1:443", false, false),
            ("udp:[2001:db8::1]:53", false, false),
            ("protocol:99:192.0.2.1:80", false, false),
            ("FWMARK", false, true),
        ] {
            let selector: Selector = text.parse().expect(text);
            assert_eq!(selector.to_string().parse(), Ok(selector), "{text}");
            assert_eq!((selector.selects(&web), selector.selects(&mark)), (selects_web, selects_mark), "{text}");
        }
        for text in [
            "",
            "icmp",
            "fwmark:",
            "fwmark:x",
            "fwmark:0",
            "protocol:",
            "protocol:tcp",
            "192.0.2.0/33",
            "web",
            "tcp:",
            "tcp:80",
            "tcp:192.0.2.1",
            "fwmark:7:x",
            "fwmark:7:ipv6:x",
        ] {
            assert!(text.parse::<Selector>().is_err(), "{text}");
        }
    }

    #[test]
    fn protect_takes_precedence() {
        let scope = Scope {
            only: vec!["192.0.2.0/24".parse().expect("a prefix")],
            protect: vec!["192.0.2.1".parse().expect("an address")],
            ..Scope::default()
        };
        assert!(!scope.contains(&ServiceKey::tcp([192, 0, 2, 1], 80)));
        assert!(scope.contains(&ServiceKey::tcp([192, 0, 2, 2], 80)));
        assert!(!scope.contains(&ServiceKey::tcp([198, 51, 100, 2], 80)));
        assert!(!scope.contains_globals());
    }
}
