//! `FromStr` of keys and their parts: reads the text that `Display` prints.

use std::net::SocketAddr;
use std::str::FromStr;

use crate::daemon::Role;
use crate::destination::{Forwarding, GueChecksum, Tunnel};
use crate::family::{Family, Protocol};
use crate::invalid_value::InvalidValue;
use crate::key::{DestinationKey, ServiceKey};
use crate::service::Netmask;

fn expect<T>(read: Option<T>, text: &str, expected: &str) -> Result<T, InvalidValue> {
    read.ok_or_else(|| InvalidValue::new(text, expected))
}

/// Reads `IPv4` or `IPv6`, in upper or lower case.
impl FromStr for Family {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let families = [Self::V4, Self::V6];
        let family = families.into_iter().find(|family| text.eq_ignore_ascii_case(&family.to_string()));
        expect(family, text, "IPv4 or IPv6")
    }
}

/// Reads a name in upper or lower case, or a number.
impl FromStr for Protocol {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let known =
            [Self::Tcp, Self::Udp, Self::Sctp].into_iter().find(|known| text.eq_ignore_ascii_case(known.name()));
        let protocol = known.or_else(|| text.parse().ok().map(Self::from_number));
        expect(protocol, text, "TCP, UDP, SCTP or the number of a protocol")
    }
}

/// Reads an IPv4 mask, or an IPv6 prefix length from 1 to 128.
impl FromStr for Netmask {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let mask = text.parse().ok().map(Self::V4);
        let prefix = || text.parse().ok().and_then(|prefix| Self::from_prefix(Family::V6, prefix));
        expect(mask.or_else(prefix), text, "an IPv4 mask or an IPv6 prefix length")
    }
}

/// Reads a key as it is printed, in upper or lower case. `fwmark` is a synonym of `FWM`, and a colon can replace each
/// blank: `tcp:192.0.2.1:80`.
///
/// ```
/// use ipvs::{Family, Protocol, ServiceKey};
///
/// assert_eq!("tcp 192.0.2.1:80".parse(), Ok(ServiceKey::tcp([192, 0, 2, 1], 80)));
/// assert_eq!("protocol 99 192.0.2.1:0".parse(), Ok(ServiceKey::new(Protocol::Other(99), [192, 0, 2, 1], 0)));
/// assert_eq!("tcp:192.0.2.1:80".parse(), Ok(ServiceKey::tcp([192, 0, 2, 1], 80)));
/// assert_eq!("fwmark 7 IPv6".parse().ok(), ServiceKey::fwmark(7, Family::V6));
/// ```
impl FromStr for ServiceKey {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        expect(service_key(text), text, "a service: PROTOCOL:ADDRESS:PORT, fwmark:MARK, fwmark:MARK:IPv6")
    }
}

fn service_key(text: &str) -> Option<ServiceKey> {
    let (first, rest) = split_word(text)?;
    if ["fwm", "fwmark"].iter().any(|name| first.eq_ignore_ascii_case(name)) {
        let (mark, family) = split_word(rest).unwrap_or((rest, "IPv4"));
        return ServiceKey::fwmark(mark.parse().ok()?, family.parse().ok()?);
    }
    let (protocol, endpoint) = if first.eq_ignore_ascii_case("protocol") { split_word(rest)? } else { (first, rest) };
    Some((protocol.parse().ok()?, endpoint_of(endpoint)?).into())
}

/// Reads an address and a port. A scope (`%2`) is an error, because neither IPVS nor the keys have one.
fn endpoint_of(text: &str) -> Option<SocketAddr> {
    text.parse().ok().filter(|endpoint| !matches!(endpoint, SocketAddr::V6(endpoint) if endpoint.scope_id() != 0))
}

/// Returns the text before the first blank or colon, and the text after it.
fn split_word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_ascii();
    let (word, rest) = text.split_once([' ', '\t', ':'])?;
    Some((word, rest.trim_ascii_start()))
}

/// Reads `10.0.0.1:80` or `[2001:db8::1]:80`.
impl FromStr for DestinationKey {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        expect(endpoint_of(text).map(Self::from), text, "a server: ADDRESS:PORT")
    }
}

/// Reads a method as it is printed, in upper or lower case. `ipip` and the checksum `none` can be written, too.
///
/// ```
/// use ipvs::{Forwarding, GueChecksum, Tunnel};
///
/// assert_eq!("masquerade".parse(), Ok(Forwarding::Masquerade));
/// assert_eq!("tunnel".parse(), Ok(Forwarding::IPIP));
/// let gue = Tunnel::Gue { port: 6080.try_into()?, checksum: GueChecksum::None };
/// assert_eq!("tunnel:gue:6080".parse(), Ok(Forwarding::Tunnel(gue)));
/// # Ok::<_, std::num::TryFromIntError>(())
/// ```
impl FromStr for Forwarding {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        const METHODS: &str = "a forwarding method: masquerade, direct_route, local, bypass, tunnel, \
                               tunnel:gue:PORT[:CHECKSUM], tunnel:gre[:CHECKSUM]";
        expect(forwarding(&text.to_ascii_lowercase()), text, METHODS)
    }
}

fn forwarding(text: &str) -> Option<Forwarding> {
    Some(match text {
        "masquerade" => Forwarding::Masquerade,
        "local" => Forwarding::Local,
        "direct_route" => Forwarding::DirectRoute,
        "bypass" => Forwarding::Bypass,
        "unknown5" => Forwarding::Other(5),
        "unknown6" => Forwarding::Other(6),
        "unknown7" => Forwarding::Other(7),
        "tunnel" => Forwarding::IPIP,
        _ => Forwarding::Tunnel(tunnel(text.strip_prefix("tunnel:")?)?),
    })
}

fn tunnel(text: &str) -> Option<Tunnel> {
    let words: Vec<&str> = text.split(':').collect();
    Some(match *words {
        ["ipip"] => Tunnel::Ipip,
        ["gue", port] | ["gue", port, "none"] => Tunnel::Gue { port: port.parse().ok()?, checksum: GueChecksum::None },
        ["gue", port, "full"] => Tunnel::Gue { port: port.parse().ok()?, checksum: GueChecksum::Full },
        ["gue", port, "remote"] => Tunnel::Gue { port: port.parse().ok()?, checksum: GueChecksum::Remote },
        ["gre"] | ["gre", "none"] => Tunnel::Gre { checksum: false },
        ["gre", "full"] => Tunnel::Gre { checksum: true },
        [kind, port, flags] => Tunnel::from_numbers(kind.parse().ok()?, port.parse().ok()?, flags.parse().ok()?),
        _ => return None,
    })
}

/// Reads `master` or `backup`, in upper or lower case.
impl FromStr for Role {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let role = [Self::Master, Self::Backup].into_iter().find(|role| text.eq_ignore_ascii_case(&role.to_string()));
        expect(role, text, "master or backup")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_text_is_read() {
        for text in
            ["TCP 192.0.2.1:80", "UDP [2001:db8::1]:53", "protocol 99 192.0.2.1:0", "FWM 7", "FWM 4294967295 IPv6"]
        {
            assert_eq!(text.parse::<ServiceKey>().map(|key| key.to_string()), Ok(text.to_owned()));
            let lower = text.to_lowercase();
            assert_eq!(lower.parse::<ServiceKey>().map(|key| key.to_string()), Ok(text.to_owned()));
        }
        for text in ["10.0.0.1:80", "[2001:db8::1]:0"] {
            assert_eq!(text.parse::<DestinationKey>().map(|key| key.to_string()), Ok(text.to_owned()));
        }
        for text in ["TCP", "SCTP", "99"] {
            assert_eq!(text.parse::<Protocol>().map(|protocol| protocol.to_string()), Ok(text.to_owned()));
        }
        for text in ["255.255.0.255", "1", "128"] {
            assert_eq!(text.parse::<Netmask>().map(|mask| mask.to_string()), Ok(text.to_owned()));
        }
        for family in [Family::V4, Family::V6] {
            assert_eq!(family.to_string().parse(), Ok(family));
        }
    }

    #[test]
    fn printed_methods_and_roles_are_read() {
        for text in [
            "masquerade",
            "local",
            "direct_route",
            "bypass",
            "unknown5",
            "unknown6",
            "unknown7",
            "tunnel",
            "tunnel:gue:6080",
            "tunnel:gue:6080:full",
            "tunnel:gue:6080:remote",
            "tunnel:gre",
            "tunnel:gre:full",
            "tunnel:9:0:3",
        ] {
            for written in [text.to_owned(), text.to_ascii_uppercase()] {
                assert_eq!(written.parse::<Forwarding>().map(|method| method.to_string()), Ok(text.to_owned()));
            }
        }
        for (text, same) in
            [("tunnel:ipip", "tunnel"), ("tunnel:gre:none", "tunnel:gre"), ("tunnel:1:6080:0", "tunnel:gue:6080")]
        {
            assert_eq!(text.parse::<Forwarding>(), same.parse(), "{text}");
        }
        assert_eq!("Backup".parse(), Ok(Role::Backup));
    }

    #[test]
    fn invalid_methods_and_roles_are_explained() {
        for text in [
            "",
            "masq",
            "unknown4",
            "unknown8",
            "tunnel:",
            "tunnel:gue",
            "tunnel:gue:0",
            "tunnel:gue:6080:half",
            "tunnel:gre:remote",
            "tunnel:9",
            "tunnel:256:0:0",
            "masquerade:full",
        ] {
            let error = text.parse::<Forwarding>().expect_err(text).to_string();
            let methods = "masquerade, direct_route, local, bypass, tunnel, tunnel:gue:PORT[:CHECKSUM], \
                           tunnel:gre[:CHECKSUM]";
            assert_eq!(error, format!("`{text}' is not a forwarding method: {methods}"));
        }
        assert_eq!("slave".parse::<Role>().unwrap_err().to_string(), "`slave' is not master or backup");
    }

    #[test]
    fn invalid_texts_are_errors() {
        for text in [
            "",
            "TCP",
            "TCP 192.0.2.1",
            "TCP 192.0.2.1:80 x",
            "x 192.0.2.1:80",
            "FWM 0",
            "FWM",
            "FWM 7 IPv5",
            "protocol",
        ] {
            let error = text.parse::<ServiceKey>().expect_err(text);
            assert!(error.to_string().starts_with(&format!("`{text}' is not a service: ")), "{error}");
        }
        for text in ["0", "129", "255.255.255", "x"] {
            assert!(text.parse::<Netmask>().is_err(), "{text}");
        }
        for text in ["10.0.0.1", "[fe80::1%2]:1"] {
            assert!(text.parse::<DestinationKey>().is_err(), "{text}");
        }
        assert!("tcp:[fe80::1%2]:1".parse::<ServiceKey>().is_err());
        assert!("65536".parse::<Protocol>().is_err());
    }
}
