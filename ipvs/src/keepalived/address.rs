//! Addresses, ports and ranges of addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::tree::Statement;
use super::values::number;
use crate::convert::Report;

/// Returns address and port, at a place of a statement and the next. Port 0: there is none.
pub(super) fn endpoint(statement: &Statement, index: usize, report: &mut Report) -> Option<(IpAddr, u16)> {
    let Some(word) = statement.word(index) else {
        report.error(statement.at(index), format_args!("`{}' needs an address", statement.keyword()));
        return None;
    };
    let port = port(statement, index + 1, report);
    // keepalived reads the part before `-' or `/'.
    let address = word.split(['-', '/']).next().unwrap_or_default();
    if address.len() < word.len() {
        let sentence = format!("keepalived uses only {address} of {word}");
        report.adjusted(statement.at(index), sentence);
    }
    let Ok(address) = address.parse() else {
        report.error(statement.at(index), format_args!("`{word}' is not an IP address"));
        return None;
    };
    Some((address, port?))
}

/// Returns a port. 0: there is none.
pub(super) fn port(statement: &Statement, index: usize, report: &mut Report) -> Option<u16> {
    match statement.word(index) {
        None => Some(0),
        Some(_) => number(statement, index, 0..=65535, report).and_then(|port| port.try_into().ok()),
    }
}

/// Addresses from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: IpAddr,
    /// The number of addresses after the first.
    pub(super) more: u32,
}

impl Range {
    pub(super) fn addresses(self) -> impl Iterator<Item = IpAddr> {
        (0..=self.more).map(move |offset| match self.first {
            IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from_bits(first.to_bits().wrapping_add(offset))),
            IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from_bits(first.to_bits().wrapping_add(offset.into()))),
        })
    }

    /// Reads `ADDRESS`, `ADDRESS-LAST`, where `LAST` is an address or the last part of one, or `ADDRESS/LENGTH`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let first: IpAddr = text
            .split(['-', '/'])
            .next()
            .unwrap_or_default()
            .parse()
            .map_err(|_| format!("`{text}' is not an IP address, a range or a network"))?;
        if let Some((_, length)) = text.split_once('/') {
            return Self::network(text, first, length);
        }
        let Some((_, end)) = text.split_once('-') else { return Ok(Self { first, more: 0 }) };
        let invalid = || format!("`{end}' is not the end of a range");
        let (start, last) = match first {
            IpAddr::V4(first) => {
                let start = u128::from(first.to_bits());
                let last = match end.contains('.') {
                    true => u128::from(end.parse::<Ipv4Addr>().map_err(|_| invalid())?.to_bits()),
                    false => start & !0xff | u128::from(end.parse::<u8>().map_err(|_| invalid())?),
                };
                (start, last)
            }
            IpAddr::V6(first) => {
                let start = first.to_bits();
                let last = match end.contains(':') {
                    true => end.parse::<Ipv6Addr>().map_err(|_| invalid())?.to_bits(),
                    false => start & !0xffff | u128::from(u16::from_str_radix(end, 16).map_err(|_| invalid())?),
                };
                // keepalived counts in the last 16 bits only.
                if start >> 16 != last >> 16 {
                    return Err(format!("`{text}' differs in more than the last 16 bits, which is not supported"));
                }
                (start, last)
            }
        };
        match last.checked_sub(start).and_then(|more| u32::try_from(more).ok()) {
            Some(more) => Ok(Self { first, more }),
            None => Err(format!("`{text}' ends before it starts")),
        }
    }

    fn network(text: &str, first: IpAddr, length: &str) -> Result<Self, String> {
        let (bits, value) = match first {
            IpAddr::V4(first) => (32, u128::from(first.to_bits())),
            IpAddr::V6(first) => (128, first.to_bits()),
        };
        let length = length.parse::<u32>().ok().filter(|length| (1..=bits).contains(length));
        let length = length.ok_or_else(|| format!("`{text}' is not a network: the length is not 1 to {bits}"))?;
        let host_bits = bits - length;
        if bits == 128 && host_bits > 16 {
            return Err(format!("`{text}' differs in more than the last 16 bits, which is not supported"));
        }
        let more = (1_u64 << host_bits) - 1;
        if value & u128::from(more) != 0 {
            return Err(format!("`{text}' is not a network: the bits after the length are not 0"));
        }
        u32::try_from(more).map(|more| Self { first, more }).map_err(|_| format!("`{text}' is too large"))
    }
}
