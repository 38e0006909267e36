//! Text → addresses, ports and netmasks.

use std::net::{IpAddr, Ipv6Addr};

use super::number::{decimal_ipv4, decimal_port, inet_aton, strtol};
use super::resolver::{HostError, Resolver};
use super::value_error::ValueError;
use crate::family::{Family, Protocol};
use crate::service::Netmask;

/// An address, with a port if the text has one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Endpoint {
    pub(crate) address: IpAddr,
    pub(crate) port: Option<u16>,
}

/// Reads `A.B.C.D[:port]`, `IPv6`, `[IPv6][:port]`, `name[:port]` or `[name][:port]`.
///
/// A name in brackets is resolved to an IPv6 address. Without a protocol, ports have no names.
pub(crate) fn endpoint(
    text: &[u8],
    protocol: Option<Protocol>,
    resolver: &mut dyn Resolver,
) -> Result<Endpoint, ValueError> {
    if let Some(endpoint) = in_numbers(text) {
        return Ok(endpoint);
    }
    if text.iter().all(u8::is_ascii_digit) {
        return Err(ValueError::NoAddress);
    }
    if let [b'[', inside @ ..] = text {
        let end = inside.iter().position(|&byte| byte == b']').ok_or(ValueError::Brackets)?;
        let (host, rest) = (&inside[..end], &inside[end + 1..]);
        let port = match rest {
            [] => None,
            [b':', port @ ..] => Some(read_port(port, protocol, resolver)?),
            _ => return Err(ValueError::Brackets),
        };
        return Ok(Endpoint { address: bracketed(host, resolver)?, port });
    }
    // Without brackets, every colon of an IPv6 address belongs to the address.
    if let Some(address) = ipv6(text) {
        return Ok(Endpoint { address: address.into(), port: None });
    }
    let (host, port) = match text.iter().rposition(|&byte| byte == b':') {
        Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
        None => (text, None),
    };
    let address = match inet_aton(host) {
        Some(address) => address.into(),
        None => lookup(host, &[Family::V4, Family::V6], resolver)?,
    };
    let port = port.map(|port| read_port(port, protocol, resolver)).transpose()?;
    Ok(Endpoint { address, port })
}

/// Reads `A.B.C.D` or `A.B.C.D:PORT` in decimal numbers, the usual form. Returns `None` for every other form, valid or
/// not.
fn in_numbers(text: &[u8]) -> Option<Endpoint> {
    let (address, rest) = decimal_ipv4(text)?;
    let (port, rest) = match rest {
        [] => (None, rest),
        _ => decimal_port(rest).map(|(port, rest)| (Some(port), rest))?,
    };
    rest.is_empty().then_some(Endpoint { address: address.into(), port })
}

pub(super) fn ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    // The longest text of an IPv6 address has 45 bytes (INET6_ADDRSTRLEN - 1).
    if text.len() > 45 || !text.contains(&b':') {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn bracketed(host: &[u8], resolver: &mut dyn Resolver) -> Result<IpAddr, ValueError> {
    match ipv6(host) {
        Some(address) => Ok(address.into()),
        None if inet_aton(host).is_some() => Err(ValueError::BracketsAroundV4),
        None => lookup(host, &[Family::V6], resolver),
    }
}

fn lookup(host: &[u8], families: &[Family], resolver: &mut dyn Resolver) -> Result<IpAddr, ValueError> {
    let unknown = ValueError::Host(HostError::Unknown);
    let Ok(name) = std::str::from_utf8(host) else { return Err(unknown) };
    // A zone (`fe80::1%eth0`). Host names have no `%`, and IPVS has no zones.
    if name.contains('%') {
        return Err(unknown);
    }
    if name.is_empty() || name.contains('\0') {
        return Err(ValueError::NoAddress);
    }
    resolver.host(name, families).map_err(ValueError::Host)
}

fn read_port(text: &[u8], protocol: Option<Protocol>, resolver: &mut dyn Resolver) -> Result<u16, ValueError> {
    if let Ok(port) = strtol(text, 0, u16::MAX.into()) {
        return Ok(port as u16);
    }
    let name = std::str::from_utf8(text).ok().filter(|name| !name.is_empty() && !name.contains('\0'));
    let found = name.zip(protocol).and_then(|(name, protocol)| resolver.port(name, protocol));
    found.ok_or(ValueError::UnknownPort)
}

/// Reads a netmask: for IPv6 a prefix length; for IPv4 a prefix length, a mask, or a name whose address is the mask.
pub(crate) fn netmask(text: &[u8], family: Family, resolver: &mut dyn Resolver) -> Result<Netmask, ValueError> {
    match family {
        Family::V6 => strtol(text, 1, 128).map(|prefix| Netmask::V6(prefix as u8)).map_err(|_| ValueError::Prefix),
        Family::V4 => {
            if let Ok(prefix) = strtol(text, 0, 32) {
                return Netmask::from_prefix(family, prefix as u8).ok_or(ValueError::Netmask);
            }
            let address = match inet_aton(text) {
                Some(address) => address.into(),
                None => lookup(text, &[Family::V4], resolver).map_err(|_| ValueError::Netmask)?,
            };
            match address {
                IpAddr::V4(mask) => Ok(Netmask::V4(mask)),
                IpAddr::V6(_) => Err(ValueError::Netmask),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Names;

    impl Resolver for Names {
        fn host(&mut self, name: &str, families: &[Family]) -> Result<IpAddr, HostError> {
            let found = families.iter().find_map(|family| match (name, family) {
                ("four" | "both", Family::V4) => Some([10, 0, 0, 4].into()),
                ("six" | "both", Family::V6) => Some("2001:db8::6".parse().expect("an address")),
                _ => None,
            });
            found.ok_or(HostError::Unknown)
        }

        fn port(&mut self, name: &str, protocol: Protocol) -> Option<u16> {
            (name == "http" && protocol == Protocol::Tcp).then_some(80)
        }
    }

    fn read(text: &str) -> Result<String, ValueError> {
        endpoint(text.as_bytes(), Some(Protocol::Tcp), &mut Names)
            .map(|Endpoint { address, port }| format!("{address} {port:?}"))
    }

    #[test]
    fn forms_of_endpoints() {
        for (text, endpoint) in [
            ("10.0.0.1:80", "10.0.0.1 Some(80)"),
            ("10.0.0.1", "10.0.0.1 None"),
            ("10.1:0", "10.0.0.1 Some(0)"),
            ("10.0.0.1: +080", "10.0.0.1 Some(80)"),
            ("167772163:80", "10.0.0.3 Some(80)"),
            ("10.0.0.1:http", "10.0.0.1 Some(80)"),
            ("2001:db8::1", "2001:db8::1 None"),
            ("2001:db8::1:80", "2001:db8::1:80 None"),
            ("[2001:db8::1]:80", "2001:db8::1 Some(80)"),
            ("[2001:db8::1]", "2001:db8::1 None"),
            ("[::ffff:10.0.0.1]:http", "::ffff:10.0.0.1 Some(80)"),
            ("four:80", "10.0.0.4 Some(80)"),
            ("both", "10.0.0.4 None"),
            ("six:80", "2001:db8::6 Some(80)"),
            ("[both]:80", "2001:db8::6 Some(80)"),
        ] {
            assert_eq!(read(text), Ok(endpoint.to_owned()), "{text}");
        }
    }

    #[test]
    fn bad_endpoints() {
        for (text, reason) in [
            ("", ValueError::NoAddress),
            ("80", ValueError::NoAddress),
            ("167772161", ValueError::NoAddress),
            (":80", ValueError::NoAddress),
            ("[2001:db8::1", ValueError::Brackets),
            ("[2001:db8::1]80", ValueError::Brackets),
            ("[10.0.0.1]:80", ValueError::BracketsAroundV4),
            ("[four]:80", ValueError::Host(HostError::Unknown)),
            ("nobody:80", ValueError::Host(HostError::Unknown)),
            ("fe80::1%eth0", ValueError::Host(HostError::Unknown)),
            ("10.0.0.1:", ValueError::UnknownPort),
            ("10.0.0.1:65536", ValueError::UnknownPort),
            ("10.0.0.1:-1", ValueError::UnknownPort),
            ("10.0.0.1:HTTP", ValueError::UnknownPort),
            ("10.0.0.1 junk:80", ValueError::Host(HostError::Unknown)),
            ("[2001:db8::1]:", ValueError::UnknownPort),
            ("[fe80::1%lo]:80", ValueError::Host(HostError::Unknown)),
        ] {
            assert_eq!(read(text), Err(reason), "{text}");
        }
    }

    #[test]
    fn netmasks() {
        let four = |text: &str| netmask(text.as_bytes(), Family::V4, &mut Names);
        assert_eq!(four("255.255.255.0"), Ok(Netmask::V4([255, 255, 255, 0].into())));
        assert_eq!(four("24"), four("255.255.255.0"));
        assert_eq!(four("0xffff0000"), Ok(Netmask::V4([255, 255, 0, 0].into())));
        assert_eq!(four("four"), Ok(Netmask::V4([10, 0, 0, 4].into())));
        assert_eq!(four("/24"), Err(ValueError::Netmask));
        assert_eq!(four("six"), Err(ValueError::Netmask));
        assert_eq!(netmask(b"64", Family::V6, &mut Names), Ok(Netmask::V6(64)));
        assert_eq!(netmask(b"64abc", Family::V6, &mut Names), Err(ValueError::Prefix));
    }
}
