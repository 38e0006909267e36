//! Matches of iptables.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::iptables::Word;
use super::model::{Field, Match, Step, Value, state};
use super::{nft_match, protocol};

/// Adds the steps of options that belong to no extension: addresses, devices and the protocol.
pub(super) fn general(options: &[Word], steps: &mut Vec<Step>) {
    for (negated, name, values) in split(options) {
        let value = values.first().map_or("", |value| value.text.as_str());
        let step = match (name, values.len()) {
            ("-s" | "--source", 1) => networks(Field::Source, negated, value),
            ("-d" | "--destination", 1) => networks(Field::Destination, negated, value),
            ("-i" | "--in-interface", 1) => Some(device(Field::InDevice, negated, value)),
            ("-o" | "--out-interface", 1) => Some(device(Field::OutDevice, negated, value)),
            ("-p" | "--protocol", 1) => match protocol::number(value) {
                // 0 means all protocols.
                Some(0) => continue,
                None if value == "all" => continue,
                None => None,
                Some(number) => Some(test(Field::Protocol, negated, vec![Value::number(number)])),
            },
            ("-4" | "--ipv4", 0) => Some(test(Field::Version, negated, vec![Value::number(4_u8)])),
            ("-6" | "--ipv6", 0) => Some(test(Field::Version, negated, vec![Value::number(6_u8)])),
            _ => None,
        };
        steps.push(step.unwrap_or_else(|| unknown(name, &values)));
    }
}

/// Adds the steps of the options of an extension.
pub(super) fn of_extension(extension: &str, options: &[Word], steps: &mut Vec<Step>) {
    if extension == "comment" {
        return;
    }
    let split = split(options);
    if split.is_empty() {
        // `-m tcp` without options is a comparison of the protocol, which the rule has already.
        if protocol::number(extension).is_none() {
            steps.push(Step::Unknown(format!("-m {extension}")));
        }
        return;
    }
    for (negated, name, values) in split {
        let value = values.first().map_or("", |value| value.text.as_str());
        let step = match (extension, name, values.len()) {
            ("tcp" | "udp" | "sctp" | "dccp" | "udplite", "--dport" | "--destination-port", 1) => {
                ports(Field::DestinationPort, negated, value)
            }
            ("tcp" | "udp" | "sctp" | "dccp" | "udplite", "--sport" | "--source-port", 1) => {
                ports(Field::SourcePort, negated, value)
            }
            ("multiport", "--dports" | "--destination-ports", 1) => ports(Field::DestinationPort, negated, value),
            ("multiport", "--sports" | "--source-ports", 1) => ports(Field::SourcePort, negated, value),
            ("tcp", "--tcp-flags", 2) => flags(value, negated, values.get(1).map_or("", |set| set.text.as_str())),
            ("tcp", "--syn", 0) => flags("FIN,SYN,RST,ACK", negated, "SYN"),
            ("state", "--state", 1) | ("conntrack", "--ctstate", 1) => states(negated, value),
            ("conntrack", "--ctproto", 1) => {
                protocol::number(value).map(|number| test(Field::Protocol, negated, vec![Value::number(number)]))
            }
            ("conntrack", "--ctorigsrc", 1) => networks(Field::OriginalSource, negated, value),
            ("conntrack", "--ctorigdst", 1) => networks(Field::OriginalDestination, negated, value),
            ("conntrack", "--ctorigdstport", 1) => ports(Field::OriginalDestinationPort, negated, value),
            ("conntrack", "--ctdir", 1) => match value {
                "ORIGINAL" => Some(test(Field::Direction, negated, vec![Value::number(1_u8)])),
                "REPLY" => Some(test(Field::Direction, negated, vec![Value::number(0_u8)])),
                _ => None,
            },
            ("mark", "--mark", 1) => mark(Field::Mark, negated, value),
            ("connmark", "--mark", 1) => mark(Field::ConnectionMark, negated, value),
            ("iprange", "--src-range", 1) => range(Field::Source, negated, value),
            ("iprange", "--dst-range", 1) => range(Field::Destination, negated, value),
            ("addrtype", "--dst-type", 1) => match value {
                "LOCAL" => Some(test(Field::DestinationIsLocal, negated, vec![Value::number(1_u8)])),
                "UNICAST" => Some(test(Field::DestinationIsLocal, negated, vec![Value::number(0_u8)])),
                _ => None,
            },
            ("ipvs", "--ipvs", 0) => Some(test(Field::SentByIpvs, negated, vec![Value::number(1_u8)])),
            ("ipvs", "--vaddr", 1) => of_ipvs(networks(Field::OriginalDestination, negated, value), steps),
            ("ipvs", "--vport", 1) => of_ipvs(ports(Field::OriginalDestinationPort, negated, value), steps),
            ("ipvs", "--vproto", 1) => {
                let number = protocol::number(value);
                of_ipvs(number.map(|number| test(Field::Protocol, negated, vec![Value::number(number)])), steps)
            }
            _ => None,
        };
        steps.push(step.unwrap_or_else(|| unknown(&format!("-m {extension} {name}"), &values)));
    }
}

/// Adds the condition that IPVS has sent the packet on.
fn of_ipvs(step: Option<Step>, steps: &mut Vec<Step>) -> Option<Step> {
    steps.push(test(Field::SentByIpvs, false, vec![Value::number(1_u8)]));
    step
}

fn test(field: Field, negated: bool, values: Vec<Value>) -> Step {
    let rows = values.into_iter().map(|value| vec![value]).collect();
    Step::Match(Match { fields: vec![field], negated, rows })
}

/// Splits options: each with the `!` before it, and the words after it.
fn split(options: &[Word]) -> Vec<(bool, &str, Vec<&Word>)> {
    let mut split: Vec<(bool, &str, Vec<&Word>)> = Vec::new();
    let mut negated = false;
    for word in options {
        let is_number =
            word.text.as_bytes().get(1).is_some_and(u8::is_ascii_digit) && word.text != "-4" && word.text != "-6";
        if word.text == "!" && !word.quoted {
            negated = true;
        } else if word.text.starts_with('-') && !word.quoted && !is_number {
            split.push((std::mem::take(&mut negated), &word.text, Vec::new()));
        } else if let Some((_, _, values)) = split.last_mut() {
            values.push(word);
        } else {
            split.push((std::mem::take(&mut negated), &word.text, Vec::new()));
        }
    }
    split
}

fn unknown(name: &str, values: &[&Word]) -> Step {
    let values: String = values.iter().map(|value| format!(" {}", value.text)).collect();
    Step::Unknown(format!("{name}{values}"))
}

fn networks(field: Field, negated: bool, text: &str) -> Option<Step> {
    let values: Option<_> = text.split(',').map(network).collect();
    Some(test(field, negated, values?))
}

/// Parses an address, or an address and a length or mask.
fn network(text: &str) -> Option<Value> {
    let (address, mask) = text.split_once('/').map_or((text, None), |(address, mask)| (address, Some(mask)));
    let address: IpAddr = address.parse().ok()?;
    let all = if address.is_ipv4() { 32 } else { 128 };
    let length = match mask {
        None => all,
        Some(mask) => match mask.parse::<u8>() {
            Ok(length) => u64::from(length),
            Err(_) => length(mask.parse().ok()?)?,
        },
    };
    nft_match::network(address, length)
}

/// Returns the number of leading ones. `None`: other bits are ones, too.
fn length(mask: IpAddr) -> Option<u64> {
    match mask {
        IpAddr::V4(mask) => {
            let ones = mask.to_bits().leading_ones();
            let whole = u32::MAX.checked_shl(32 - ones).unwrap_or(0);
            (mask == Ipv4Addr::from_bits(whole)).then_some(ones.into())
        }
        IpAddr::V6(mask) => {
            let ones = mask.to_bits().leading_ones();
            let whole = u128::MAX.checked_shl(128 - ones).unwrap_or(0);
            (mask == Ipv6Addr::from_bits(whole)).then_some(ones.into())
        }
    }
}

fn range(field: Field, negated: bool, text: &str) -> Option<Step> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(test(field, negated, vec![Value::Addresses(first.parse().ok()?, last.parse().ok()?)]))
}

fn device(field: Field, negated: bool, name: &str) -> Step {
    let value = match name.strip_suffix('+') {
        Some(start) => Value::DevicesFrom(start.into()),
        None => Value::Device(name.into()),
    };
    test(field, negated, vec![value])
}

fn ports(field: Field, negated: bool, text: &str) -> Option<Step> {
    let port = |text: &str, default: u16| if text.is_empty() { Some(default) } else { text.parse().ok() };
    let values: Option<Vec<_>> = text
        .split(',')
        .map(|part| {
            let (first, last) = part.split_once(':').unwrap_or((part, part));
            Some(Value::Numbers(port(first, 0)?.into(), port(last, u16::MAX)?.into()))
        })
        .collect();
    Some(test(field, negated, values?))
}

fn states(negated: bool, text: &str) -> Option<Step> {
    let bits = text.split(',').try_fold(0, |sum, name| Some(sum | state::from_name(name)?))?;
    Some(test(Field::State, negated, vec![Value::number(bits)]))
}

fn mark(field: fn(u32) -> Field, negated: bool, text: &str) -> Option<Step> {
    let (value, mask) = value_and_mask(text)?;
    Some(test(field(mask), negated, vec![Value::number(value)]))
}

/// Parses `0x7`, `7` or `0x7/0xff`. Without a mask all bits count.
pub(super) fn value_and_mask(text: &str) -> Option<(u32, u32)> {
    let (value, mask) = text.split_once('/').map_or((text, None), |(value, mask)| (value, Some(mask)));
    Some((number(value)?, mask.map_or(Some(u32::MAX), number)?))
}

/// Parses a number, decimal or with `0x`.
pub(super) fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn flags(mask: &str, negated: bool, set: &str) -> Option<Step> {
    let bits = |text: &str| {
        text.split(',').try_fold(0_u8, |sum, name| {
            Some(
                sum | match name {
                    "FIN" => 1,
                    "SYN" => 2,
                    "RST" => 4,
                    "PSH" => 8,
                    "ACK" => 16,
                    "URG" => 32,
                    "ALL" => 63,
                    "NONE" => 0,
                    _ => return None,
                },
            )
        })
    };
    Some(test(Field::TcpFlags(bits(mask)?), negated, vec![Value::number(bits(set)?)]))
}
