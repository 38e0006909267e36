//! Addresses and ports → text.
//!
//! This code is optimised, because a listing of many connections spends most of its time here and in reading them.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

use super::resolver::Namer;
use crate::family::Protocol;

/// Appends `A.B.C.D:P` or `[IPv6]:P`, with names instead of numbers where `names` has them ([`Numeric`](super::Numeric)
/// has none).
///
/// Without a protocol, ports are written as numbers.
pub fn write_endpoint(
    out: &mut Vec<u8>,
    address: IpAddr,
    port: u16,
    protocol: Option<Protocol>,
    names: &mut dyn Namer,
) {
    let host = names.host_name(address);
    match (address, host) {
        (IpAddr::V4(address), None) => write_v4(out, address.octets()),
        (IpAddr::V4(_), Some(name)) => out.extend_from_slice(name.as_bytes()),
        (IpAddr::V6(address), host) => {
            out.push(b'[');
            match host {
                Some(name) => out.extend_from_slice(name.as_bytes()),
                None => write_v6(out, address),
            }
            out.push(b']');
        }
    }
    out.push(b':');
    // Port 0 means any port, and has no name.
    match protocol.filter(|_| port != 0).and_then(|protocol| names.port_name(port, protocol)) {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => write_port(out, port),
    }
}

fn write_port(out: &mut Vec<u8>, port: u16) {
    let digit = |unit| b'0' + (port / unit % 10) as u8;
    match port {
        0..10 => out.extend_from_slice(&[digit(1)]),
        10..100 => out.extend_from_slice(&[digit(10), digit(1)]),
        100..1000 => out.extend_from_slice(&[digit(100), digit(10), digit(1)]),
        1000..10_000 => out.extend_from_slice(&[digit(1000), digit(100), digit(10), digit(1)]),
        _ => out.extend_from_slice(&[digit(10_000), digit(1000), digit(100), digit(10), digit(1)]),
    }
}

// Inlined, since one of its callers runs for each connection.
#[inline]
fn write_v4(out: &mut Vec<u8>, octets: [u8; 4]) {
    let (mut text, mut end) = ([0; 16], 0);
    for octet in octets {
        let (digits, length) = OCTETS[usize::from(octet)];
        text[end..end + 4].copy_from_slice(&digits);
        end += length;
    }
    // Without the dot after the last octet.
    write_start(out, text, end - 1);
}

/// The texts `0.` to `255.`, each with its length.
static OCTETS: [([u8; 4], usize); 256] = {
    let mut texts = [([0; 4], 0); 256];
    let mut octet = 0;
    while octet < 256 {
        let digit = [b'0' + (octet / 100) as u8, b'0' + (octet / 10 % 10) as u8, b'0' + (octet % 10) as u8];
        texts[octet] = match octet {
            0..10 => ([digit[2], b'.', 0, 0], 2),
            10..100 => ([digit[1], digit[2], b'.', 0], 3),
            _ => ([digit[0], digit[1], digit[2], b'.'], 4),
        };
        octet += 1;
    }
    texts
};

/// Appends an IPv6 address. It is not inlined, because the IPv4 path would have to save the registers that it uses.
#[inline(never)]
fn write_v6(out: &mut Vec<u8>, address: Ipv6Addr) {
    let [.., a, b, c, d] = address.octets();
    match address.segments() {
        // `inet_ntop` writes both of these with dots, Rust only the second.
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => {
            out.extend_from_slice(b"::");
            write_v4(out, [a, b, c, d]);
        }
        [0, 0, 0, 0, 0, 0xFFFF, ..] => {
            out.extend_from_slice(b"::ffff:");
            write_v4(out, [a, b, c, d]);
        }
        segments => {
            let zeros = longest_zeros(&segments);
            write_segments(out, &segments[..zeros.start]);
            if !zeros.is_empty() {
                out.extend_from_slice(b"::");
            }
            write_segments(out, &segments[zeros.end..]);
        }
    }
}

/// Returns the first of the longest runs of zero segments. A single zero is not a run.
fn longest_zeros(segments: &[u16; 8]) -> Range<usize> {
    let (mut longest, mut start) = (0..0, 0);
    for (at, &segment) in segments.iter().enumerate() {
        if segment != 0 {
            start = at + 1;
        } else if at > start && at + 1 - start > longest.len() {
            longest = start..at + 1;
        }
    }
    longest
}

/// Appends segments, such as `2001:db8:1`.
fn write_segments(out: &mut Vec<u8>, segments: &[u16]) {
    for (place, &segment) in segments.iter().enumerate() {
        if place > 0 {
            out.push(b':');
        }
        let length = (4 - segment.leading_zeros() / 4).max(1);
        let aligned = segment << (16 - 4 * length);
        let digit = |place: u32| b"0123456789abcdef"[usize::from(aligned >> (12 - 4 * place) & 0xF)];
        write_start(out, [digit(0), digit(1), digit(2), digit(3)], length as usize);
    }
}

/// Appends the first bytes of a text. The whole text is copied, because a copy of a fixed length is one or two
/// instructions. A copy of a variable length is a call of `memcpy`, which is expensive for a few bytes.
fn write_start<const SIZE: usize>(out: &mut Vec<u8>, text: [u8; SIZE], length: usize) {
    let end = out.len() + length;
    out.extend_from_slice(&text);
    out.truncate(end);
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::super::resolver::Numeric;
    use super::*;

    fn address(address: IpAddr) -> String {
        let mut out = Vec::new();
        match address {
            IpAddr::V4(address) => write_v4(&mut out, address.octets()),
            IpAddr::V6(address) => write_v6(&mut out, address),
        }
        String::from_utf8(out).expect("text")
    }

    fn endpoint(address: impl Into<IpAddr>, port: u16) -> String {
        let mut out = Vec::new();
        write_endpoint(&mut out, address.into(), port, None, &mut Numeric);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn addresses_as_c_writes_them() {
        for text in [
            "::1",
            "::2",
            "::",
            "::10.0.0.1",
            "::0.1.0.128",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2001:db8::1",
            "2001:db8::",
            "1:0:0:2::3",
            "1::2:0:0:3:4",
            "1:0:2:3:4:5:6:7",
            "1.2.3.4",
        ] {
            assert_eq!(address(text.parse().expect("an address")), text);
        }
    }

    #[test]
    fn every_octet_and_every_port() {
        for number in 0..=u16::MAX {
            let octet = number as u8;
            let ip = Ipv4Addr::from([octet, 0, 255, octet]);
            assert_eq!(endpoint(ip, number), format!("{ip}:{number}"));
        }
    }

    proptest! {
        /// Few different segments, so that there are runs of zeros.
        #[test]
        fn ipv6_as_std_writes_it(segments in prop::array::uniform8(prop_oneof![Just(0), Just(0xF), any::<u16>()])) {
            let ip = Ipv6Addr::from(segments);
            // Std writes these without dots.
            prop_assume!(segments[..6] != [0; 6]);
            prop_assert_eq!(endpoint(ip, 1), format!("[{ip}]:1"));
        }
    }
}
