//! The system's names of hosts and ports. Here and nowhere else.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use dns_lookup::{AddrInfoHints, getaddrinfo, getnameinfo};
use ipvs::rules::{Namer, Resolver};
use ipvs::{Family, Protocol};
use libc::{AF_INET, AF_INET6, NI_DGRAM, NI_NAMEREQD, NI_NUMERICHOST, SOCK_DGRAM, SOCK_STREAM};

/// The name service of the system: `/etc/hosts`, DNS, `/etc/services` and what else nsswitch.conf names. Answers are
/// remembered, for listings and files ask for the same again and again. (Not by a hash: that would begin with random
/// numbers from the kernel, for many a command line that asks for no name.)
#[derive(Debug, Default)]
pub(crate) struct System {
    hosts: BTreeMap<IpAddr, Option<String>>,
    ports: BTreeMap<(u16, Protocol), Option<String>>,
    addresses: BTreeMap<(String, Family), Option<IpAddr>>,
    port_numbers: BTreeMap<(String, Protocol), Option<u16>>,
}

impl Resolver for System {
    fn host(&mut self, name: &str, family: Family) -> Option<IpAddr> {
        *self.addresses.entry((name.to_owned(), family)).or_insert_with(|| host_address(name, family))
    }

    fn port(&mut self, name: &str, protocol: Protocol) -> Option<u16> {
        *self.port_numbers.entry((name.to_owned(), protocol)).or_insert_with(|| port_number(name, protocol))
    }
}

fn host_address(name: &str, family: Family) -> Option<IpAddr> {
    // What can be no name is a typing error, which no server of names needs to be asked about, and waited for.
    let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte) || !byte.is_ascii();
    if !name.bytes().all(is_of_names) {
        return None;
    }
    let address = match family {
        Family::V4 => AF_INET,
        Family::V6 => AF_INET6,
    };
    let hints = AddrInfoHints { address, socktype: SOCK_STREAM, ..AddrInfoHints::default() };
    let mut found = getaddrinfo(Some(name), None, Some(hints)).ok()?;
    found.find_map(|info| info.ok()).map(|info| info.sockaddr.ip())
}

fn port_number(name: &str, protocol: Protocol) -> Option<u16> {
    if is_number(name) {
        return None;
    }
    let socktype = match protocol {
        Protocol::Tcp => SOCK_STREAM,
        Protocol::Udp => SOCK_DGRAM,
        Protocol::Sctp => return sctp::port(name),
        Protocol::Other(_) => return None,
    };
    let protocol = protocol.number().into();
    let hints = AddrInfoHints { address: AF_INET, socktype, protocol, ..AddrInfoHints::default() };
    let mut found = getaddrinfo(None, Some(name), Some(hints)).ok()?;
    found.find_map(|info| info.ok()).map(|info| info.sockaddr.port())
}

impl Namer for System {
    fn host_name(&mut self, address: IpAddr) -> Option<String> {
        // An IPv4 address in an IPv6 one has that one's name for some C libraries. It is another service, and would be
        // read back as the IPv4 address.
        if matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some()) {
            return None;
        }
        let name = || getnameinfo(&SocketAddr::new(address, 0), NI_NAMEREQD).ok().map(|(host, _)| host);
        self.hosts.entry(address).or_insert_with(name).clone()
    }

    fn port_name(&mut self, port: u16, protocol: Protocol) -> Option<String> {
        let name = || match protocol {
            Protocol::Tcp => known_port(port, 0),
            Protocol::Udp => known_port(port, NI_DGRAM),
            Protocol::Sctp => sctp::name(port),
            Protocol::Other(_) => None,
        };
        self.ports.entry((port, protocol)).or_insert_with(name).clone()
    }
}

/// What getaddrinfo would take for the number of a port, cut to 16 bits: no number that is left here is one.
fn is_number(name: &str) -> bool {
    let digits = name.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let digits = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn known_port(port: u16, flags: i32) -> Option<String> {
    let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
    let (_, name) = getnameinfo(&nowhere, NI_NUMERICHOST | flags).ok()?;
    // Without a name it answers with the number.
    (name.parse() != Ok(port)).then_some(name)
}

/// Names that read back as what they name: what `--save` writes must be restorable.
pub(crate) struct Restorable(pub(crate) System);

impl Namer for Restorable {
    fn host_name(&mut self, address: IpAddr) -> Option<String> {
        let name = self.0.host_name(address)?;
        let is_plain = !name.bytes().any(|byte| byte.is_ascii_whitespace() || byte == b':' || byte == b'#');
        (is_plain && self.0.host(&name, Family::of(address)) == Some(address)).then_some(name)
    }

    fn port_name(&mut self, port: u16, protocol: Protocol) -> Option<String> {
        self.0.port_name(port, protocol).filter(|name| self.0.port(name, protocol) == Some(port))
    }
}

/// Ports of SCTP. getnameinfo knows none, and not every C library's getaddrinfo does: so they are read from the file.
mod sctp {
    const SERVICES: &str = "/etc/services";

    pub(super) fn port(name: &str) -> Option<u16> {
        entries(&std::fs::read_to_string(SERVICES).ok()?).find(|(_, names)| names.contains(&name)).map(|(port, _)| port)
    }

    pub(super) fn name(port: u16) -> Option<String> {
        let text = std::fs::read_to_string(SERVICES).ok()?;
        let (_, names) = entries(&text).find(|(found, _)| *found == port)?;
        names.first().map(|name| (*name).to_owned())
    }

    /// Port, and names with the official one first.
    fn entries(text: &str) -> impl Iterator<Item = (u16, Vec<&str>)> {
        text.lines().filter_map(|line| {
            let mut words = line.split('#').next()?.split_whitespace();
            let name = words.next()?;
            let port = words.next()?.strip_suffix("/sctp")?.parse().ok()?;
            Some((port, std::iter::once(name).chain(words).collect()))
        })
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn reads_names_and_aliases() {
            let text = "http 80/tcp www\n# x\nm3ua\t2905/sctp  em three # signalling\nbad x/sctp\n";
            assert_eq!(super::entries(text).collect::<Vec<_>>(), [(2905, vec!["m3ua", "em", "three"])]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_asked_for_once() {
        let mut system = System::default();
        assert_eq!(system.host("127.0.0.1", Family::V4), Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(system.port("no-such-port", Protocol::Tcp), None);
        // If it asked again, the answer would be the same as before.
        let remembered = Some(Ipv4Addr::new(192, 0, 2, 1).into());
        system.addresses.values_mut().for_each(|address| *address = remembered);
        system.port_numbers.values_mut().for_each(|port| *port = Some(7));
        assert_eq!(system.host("127.0.0.1", Family::V4), remembered);
        assert_eq!(system.port("no-such-port", Protocol::Tcp), Some(7));
        assert_eq!(system.port("no-such-port", Protocol::Udp), None, "another question");
    }
}
