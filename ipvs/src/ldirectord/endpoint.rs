//! Hosts, ports and the settings of servers.

use std::net::IpAddr;

use crate::family::{Family, Protocol};
use crate::rules::Resolver;

/// A host or range of hosts, with a port.
pub(super) struct Hosts {
    pub(super) first: IpAddr,
    /// The number of addresses after the first.
    pub(super) more: u32,
    /// `None`: there is no port.
    pub(super) port: Option<u16>,
}

/// Splits `HOST:PORT` or `[HOST]:PORT`. There may be no port.
fn split(text: &str) -> Result<(&str, Option<&str>), String> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once(']').ok_or_else(|| format!("`{text}' has no closing `]'"))?,
        None => match text.find(':') {
            Some(colon) => text.split_at(colon),
            None => (text, ""),
        },
    };
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(format!("`{text}' is not HOST:PORT")),
    }
}

pub(super) fn host(text: &str, family: Family, resolver: &mut dyn Resolver) -> Result<IpAddr, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return match Family::of(address) == family {
            true => Ok(address),
            false => Err(format!("{text} is not an {family} address")),
        };
    }
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte));
    // getaddrinfo(3) reads a number as an address.
    if !is_name || text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(format!("`{text}' is not an {family} address or a host name"));
    }
    resolver.host(text, &[family]).map_err(|error| format!("{text}: {error}"))
}

pub(super) fn port(text: &str, protocols: &[Protocol], resolver: &mut dyn Resolver) -> Result<u16, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|_| format!("`{text}' is not a port from 0 to 65535"));
    }
    let found = protocols.iter().find_map(|protocol| resolver.port(text, *protocol));
    found.ok_or_else(|| format!("`{text}' is not a port or the name of a port"))
}

/// Reads `HOST:PORT`.
pub(super) fn endpoint(
    text: &str,
    family: Family,
    protocol: Protocol,
    resolver: &mut dyn Resolver,
) -> Result<(IpAddr, Option<u16>), String> {
    let (name, number) = split(text)?;
    let address = host(name, family, resolver)?;
    Ok((address, number.map(|number| port(number, &[protocol], resolver)).transpose()?))
}

/// Reads `HOST:PORT` or `HOST->HOST:PORT`. Ranges are IPv4 only.
pub(super) fn hosts(text: &str, family: Family, resolver: &mut dyn Resolver) -> Result<Hosts, String> {
    let (first, rest) = match text.split_once("->") {
        Some((first, rest)) => (Some(first), rest),
        None => (None, text),
    };
    let (last, number) = split(rest)?;
    let last = host(last, family, resolver)?;
    let port = number.map(|number| port(number, &[Protocol::Tcp, Protocol::Udp], resolver)).transpose()?;
    let Some(first) = first else { return Ok(Hosts { first: last, more: 0, port }) };
    let first = host(first.trim_start_matches('[').trim_end_matches(']'), family, resolver)?;
    match (first, last) {
        (IpAddr::V4(start), IpAddr::V4(end)) => match end.to_bits().checked_sub(start.to_bits()) {
            Some(more) => Ok(Hosts { first, more, port }),
            None => Err(format!("`{text}' ends before it starts")),
        },
        _ => Err("ldirectord supports ranges of IPv4 addresses only".into()),
    }
}

/// The settings after the address of a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// The option of ipvsadm.
    pub(super) forwarding: &'static str,
    pub(super) weight: u64,
    pub(super) lower_threshold: u64,
    pub(super) upper_threshold: u64,
    /// Whether the server has a request of its own.
    pub(super) has_request: bool,
}

pub(super) fn forwarding(word: &str) -> Result<&'static str, String> {
    match word {
        "gate" => Ok("-g"),
        "masq" => Ok("-m"),
        "ipip" => Ok("-i"),
        "" => Err("a server needs one of gate, masq, ipip".into()),
        word => Err(format!("`{word}' is not one of gate, masq, ipip")),
    }
}

impl Settings {
    /// Reads `gate|masq|ipip [WEIGHT] ["REQUEST", "RECEIVE"] [l:N] [u:N]`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (method, rest) = text.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((text, ""));
        let forwarding = forwarding(method)?;
        let mut rest = rest.trim_start();
        let (mut weight, mut has_request) = (1, false);
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if end > 0 {
            weight = rest[..end].parse().map_err(|_| format!("`{}' is not a weight", &rest[..end]))?;
            rest = rest[end..].trim_start();
        }
        if let Some(quoted) = rest.strip_prefix('"') {
            // The texts may contain quotes.
            let (_, after) = quoted.rsplit_once('"').unwrap_or_default();
            let texts = quoted.strip_suffix(after).and_then(|texts| texts.strip_suffix('"')).unwrap_or_default();
            let has_two = texts.contains("\",") || texts.contains("\" ");
            if !has_two {
                return Err(format!("`{rest}' is not \"REQUEST\", \"RECEIVE\""));
            }
            has_request = true;
            rest = after.trim_start();
        }
        let mut threshold = |name: &str| -> Result<u64, String> {
            let Some(number) = rest.strip_prefix(name) else { return Ok(0) };
            let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
            rest = number[end..].trim_start();
            number[..end].parse().map_err(|_| format!("`{name}' needs a number of connections"))
        };
        let lower_threshold = threshold("l:")?;
        let upper_threshold = threshold("u:")?;
        match rest {
            "" => Ok(Self { forwarding, weight, lower_threshold, upper_threshold, has_request }),
            rest => Err(format!("`{rest}' is not a setting of a server")),
        }
    }
}
