//! The usual line of a save file, parsed in one step. It is `-a -t VIP:PORT -r SERVER:PORT -m -w WEIGHT` in numbers,
//! with one blank between words. About nine in ten lines have this form.
//!
//! Reading such a line word by word takes more than twice as long. For every other line these functions return `None`.
//! The grammar is in [`check`](super::check) alone; the tests below compare the two.

use std::net::IpAddr;

use super::address::ipv6;
use super::number::{decimal, decimal_ipv4, decimal_port};
use crate::change::Change;
use crate::destination::{Destination, Forwarding};
use crate::family::{Family, Protocol};
use crate::key::{DestinationKey, ServiceKey};

/// Reads a line that adds a server. Returns `None` for any other line.
pub(super) fn added_server(line: &[u8]) -> Option<Change> {
    let (service, line) = service(line.strip_prefix(b"-a -")?)?;
    let (address, line) = address(line.strip_prefix(b" -r ")?)?;
    let (port, line) = decimal_port(line)?;
    let (forwarding, line) = match line {
        [b' ', b'-', b'm', line @ ..] => (Forwarding::Masquerade, line),
        [b' ', b'-', b'g', line @ ..] => (Forwarding::DirectRoute, line),
        [b' ', b'-', b'i', line @ ..] => (Forwarding::IPIP, line),
        _ => return None,
    };
    let (weight, line) = decimal(line.strip_prefix(b" -w ")?, Destination::MAX)?;
    // Mixed families and changed ports require the checks of the general path.
    let is_plain = line.is_empty()
        && Family::of(address) == service.family()
        && (forwarding == Forwarding::Masquerade || service.port().is_none_or(|of_service| of_service == port));
    let key = DestinationKey { address, port };
    is_plain.then_some(Change::AddDestination(service, Destination { weight, ..Destination::new(key, forwarding) }))
}

/// Reads the option of a service after its dash. Returns the service and the rest of the text, or `None` for any other
/// text.
fn service(text: &[u8]) -> Option<(ServiceKey, &[u8])> {
    let (protocol, text) = match text {
        [b't', b' ', text @ ..] => (Protocol::Tcp, text),
        [b'u', b' ', text @ ..] => (Protocol::Udp, text),
        [b'f', b' ', text @ ..] => {
            let (mark, text) = decimal(text, u32::MAX)?;
            return Some((ServiceKey::fwmark(mark, Family::V4)?, text));
        }
        _ => return None,
    };
    let (address, text) = address(text)?;
    let (port, text) = decimal_port(text)?;
    Some((ServiceKey::new(protocol, address, port), text))
}

/// Reads `A.B.C.D` or `[IPv6]`. Returns the address and the rest of the text, or `None` for any other text.
fn address(text: &[u8]) -> Option<(IpAddr, &[u8])> {
    let [b'[', inside @ ..] = text else {
        return decimal_ipv4(text).map(|(address, text)| (address.into(), text));
    };
    let (address, text) = inside.split_at(inside.iter().position(|&byte| byte == b']')?);
    Some((ipv6(address)?.into(), &text[1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::super::check;
    use super::super::command::Command;
    use super::super::draft::Limits;
    use super::super::resolver::Numeric;
    use super::super::words::Words;
    use super::*;

    fn as_checked(line: &str) -> Option<Change> {
        match check::parse(Words::of(line.as_bytes()), false, Limits::OF_THE_KERNEL, &mut Numeric) {
            Ok(Command::Change(change)) => Some(change),
            _ => None,
        }
    }

    #[test]
    fn usual_lines() {
        for line in [
            "-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 1",
            "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 0",
            "-a -u 192.0.2.1:53 -r 10.0.0.1:53 -i -w 2147483647",
            "-a -t [2001:db8::1]:80 -r [2001:db8::2]:80 -m -w 1",
            "-a -f 4294967295 -r 10.0.0.1:80 -g -w 1",
            "-a -f 1 -r 10.0.0.1:0 -m -w 1",
        ] {
            let plain = added_server(line.as_bytes());
            assert!(plain.is_some(), "{line}");
            assert_eq!(plain, as_checked(line), "{line}");
        }
    }

    proptest! {
        /// The fast path never contradicts the grammar.
        #[test]
        fn equals_the_grammar(
            service in select(&["-t ", "-u ", "-f ", "-t", "--sctp-service "]),
            hosts in prop::array::uniform2(select(&[
                "10.0.0.1", "255.255.255.255", "0.0.0.0", "10.0.0.01", "10.0.0.256", "10.1", "7", "0", "4294967296",
                "[2001:db8::1]", "[::ffff:10.0.0.1]", "[10.0.0.1]", "[2001:db8::1", "[]", "name", "",
            ])),
            ports in prop::array::uniform2(select(&[":80", ":80", ":0", ":080", ":65535", ":65536", ":", "", ":http"])),
            method in select(&[" -m", " -g", " -i", "", " -mg", "m"]),
            weight in select(&[" -w 1", " -w 0", " -w 2147483647", " -w 2147483648", " -w 00000000001", " -w ", "", "-w 1"]),
            rest in select(&["", "", "", " ", "\r", " -x 5", "#", " # x", "x"]),
            blank in select(&[" ", " ", " ", "  ", "\t", " ipvsadm ", ""]),
        ) {
            let ([vip, server], [of_service, of_server]) = (hosts, ports);
            let line = format!("-a{blank}{service}{vip}{of_service} -r {server}{of_server}{method}{weight}{rest}");
            if let Some(change) = added_server(line.as_bytes()) {
                prop_assert_eq!(Some(change), as_checked(&line), "{}", line);
            }
        }
    }
}
