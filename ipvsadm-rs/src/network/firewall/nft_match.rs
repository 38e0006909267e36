//! Comparisons of nft.

use std::net::IpAddr;

use serde_json::Value as Json;

use super::model::{Field, Match, Step, Value, state};
use super::nft::Scope;
use super::protocol;

/// Returns the steps of `{"op": …, "left": …, "right": …}`.
pub(super) fn steps(comparison: &Json, scope: Scope<'_>) -> Vec<Step> {
    let unknown = || Step::Unknown(super::nft_text::comparison(comparison));
    let (Some(left), Some(right)) = (comparison.get("left"), comparison.get("right")) else { return vec![unknown()] };
    let mut steps = Vec::new();
    let Some(fields) = fields(left, &mut steps) else {
        steps.push(unknown());
        return steps;
    };
    let operator = comparison.get("op").and_then(Json::as_str);
    // `in` and `!` ask whether one of some flags is set, or none.
    if let ([Field::TcpFlags(mask)], Some("in" | "!")) = (fields.as_slice(), operator) {
        steps.push(match flag_bits(right).and_then(|bits| u8::try_from(bits).ok()) {
            Some(bits) => Step::Match(Match {
                fields: vec![Field::TcpFlags(mask & bits)],
                negated: operator == Some("in"),
                rows: vec![vec![Value::number(0_u8)]],
            }),
            None => unknown(),
        });
        return steps;
    }
    let negated = match comparison.get("op").and_then(Json::as_str) {
        Some("==" | "in") => false,
        Some("!=") => true,
        Some("!") if fields == [Field::State] => true,
        Some(order @ ("<" | ">" | "<=" | ">=")) => {
            steps.push(ordered(fields, order, right).unwrap_or_else(unknown));
            return steps;
        }
        _ => {
            steps.push(unknown());
            return steps;
        }
    };
    // `ct state & (established | related) == 0`, and the same of flags of TCP, whose mask is part of the field.
    if let ([Field::State], Some(mask)) = (fields.as_slice(), mask_of(left)) {
        let step = match (state_bits(mask), right.as_u64()) {
            (Some(bits), Some(0)) => {
                Step::Match(Match { fields, negated: !negated, rows: vec![vec![Value::number(bits)]] })
            }
            _ => unknown(),
        };
        steps.push(step);
        return steps;
    }
    steps.push(match rows(&fields, right, scope) {
        Some(rows) => Step::Match(Match { fields, negated, rows }),
        None => unknown(),
    });
    steps
}

/// Returns a comparison of a key with one element of a map, as steps do it.
pub(super) fn entry(key: &Json, element: &Json, implied: &mut Vec<Step>) -> Option<Match> {
    let fields = fields(key, implied)?;
    let row = row(&fields, element)?;
    Some(Match { fields, negated: false, rows: vec![row] })
}

fn ordered(fields: Vec<Field>, order: &str, right: &Json) -> Option<Step> {
    let ([_], number) = (fields.as_slice(), right.as_u64()?) else { return None };
    let value = match order {
        "<" => Value::Numbers(0, number.checked_sub(1)?),
        "<=" => Value::Numbers(0, number),
        ">" => Value::Numbers(number.checked_add(1)?, u64::MAX),
        _ => Value::Numbers(number, u64::MAX),
    };
    Some(Step::Match(Match { fields, negated: false, rows: vec![vec![value]] }))
}

/// Returns the fields of the left side. Adds the comparisons that it implies: `tcp dport` implies the protocol.
fn fields(left: &Json, implied: &mut Vec<Step>) -> Option<Vec<Field>> {
    if let Some(parts) = left.get("concat").and_then(Json::as_array) {
        let parts: Option<Vec<_>> = parts.iter().map(|part| field(part, implied)).collect();
        return parts.filter(|parts| !parts.is_empty());
    }
    field(left, implied).map(|field| vec![field])
}

fn mask_of(left: &Json) -> Option<&Json> {
    left.get("&")?.get(1)
}

fn field(left: &Json, implied: &mut Vec<Step>) -> Option<Field> {
    if let Some(parts) = left.get("&").and_then(Json::as_array) {
        let [inner, mask] = parts.as_slice() else { return None };
        let number = || mask.as_u64().and_then(|mask| u32::try_from(mask).ok());
        return match field(inner, implied)? {
            Field::Mark(before) => Some(Field::Mark(before & number()?)),
            Field::ConnectionMark(before) => Some(Field::ConnectionMark(before & number()?)),
            Field::TcpFlags(before) => Some(Field::TcpFlags(before & u8::try_from(flag_bits(mask)?).ok()?)),
            Field::State => Some(Field::State),
            _ => None,
        };
    }
    if let Some(key) = left.pointer("/meta/key").and_then(Json::as_str) {
        return Some(match key {
            "iif" | "iifname" => Field::InDevice,
            "oif" | "oifname" => Field::OutDevice,
            "l4proto" => Field::Protocol,
            "nfproto" | "protocol" => Field::Version,
            "mark" => Field::Mark(u32::MAX),
            _ => return None,
        });
    }
    if let Some(payload) = left.get("payload") {
        return payload_field(payload, implied);
    }
    if let Some(tracking) = left.get("ct") {
        return tracking_field(tracking, implied);
    }
    let fib = left.get("fib")?;
    let flags = fib.get("flags").and_then(Json::as_array)?;
    let asks_type = fib.get("result").and_then(Json::as_str) == Some("type");
    (asks_type && flags.len() == 1 && flags[0] == "daddr").then_some(Field::DestinationIsLocal)
}

fn payload_field(payload: &Json, implied: &mut Vec<Step>) -> Option<Field> {
    let name = payload.get("protocol").and_then(Json::as_str)?;
    let field = payload.get("field").and_then(Json::as_str)?;
    if let Some(version) = match name {
        "ip" => Some(4_u8),
        "ip6" => Some(6),
        _ => None,
    } {
        implied.push(equals(Field::Version, version));
        return match field {
            "saddr" => Some(Field::Source),
            "daddr" => Some(Field::Destination),
            "protocol" | "nexthdr" => Some(Field::Protocol),
            _ => None,
        };
    }
    if name != "th" {
        implied.push(equals(Field::Protocol, protocol::number(name)?));
    }
    match field {
        "sport" => Some(Field::SourcePort),
        "dport" => Some(Field::DestinationPort),
        "flags" if name == "tcp" => Some(Field::TcpFlags(u8::MAX)),
        _ => None,
    }
}

fn tracking_field(tracking: &Json, implied: &mut Vec<Step>) -> Option<Field> {
    let key = tracking.get("key").and_then(Json::as_str)?;
    let (family, key) = key.split_once(' ').map_or((None, key), |(family, key)| (Some(family), key));
    match tracking.get("dir").and_then(Json::as_str) {
        None => match key {
            "state" => Some(Field::State),
            "mark" => Some(Field::ConnectionMark(u32::MAX)),
            "direction" => Some(Field::Direction),
            _ => None,
        },
        Some("original") => {
            let family = family.or_else(|| tracking.get("family").and_then(Json::as_str));
            if let (Some(family), "saddr" | "daddr") = (family, key) {
                implied.push(equals(Field::Version, if family == "ip6" { 6_u8 } else { 4 }));
            }
            match key {
                "saddr" => Some(Field::OriginalSource),
                "daddr" => Some(Field::OriginalDestination),
                "proto-dst" => Some(Field::OriginalDestinationPort),
                // Translation changes neither.
                "protocol" => Some(Field::Protocol),
                "l3proto" => Some(Field::Version),
                _ => None,
            }
        }
        Some(_) => None,
    }
}

fn equals(field: Field, number: u8) -> Step {
    Step::Match(Match { fields: vec![field], negated: false, rows: vec![vec![Value::number(number)]] })
}

/// Returns the rows of the right side.
fn rows(fields: &[Field], right: &Json, scope: Scope<'_>) -> Option<Vec<Vec<Value>>> {
    let named = right.as_str().is_some_and(|text| text.starts_with('@'));
    if named || right.get("set").is_some() {
        return scope.elements(right)?.iter().map(|element| row(fields, element)).collect();
    }
    if let ([field], Json::Array(list)) = (fields, right) {
        // A list of flags, of which one is enough for a state.
        return match field {
            Field::State => Some(vec![vec![Value::number(state_bits(right)?)]]),
            Field::TcpFlags(_) => Some(vec![vec![Value::number(flag_bits(right)?)]]),
            _ => list.iter().map(|element| row(fields, element)).collect(),
        };
    }
    Some(vec![row(fields, right)?])
}

/// Returns the values of one element of a set.
fn row(fields: &[Field], element: &Json) -> Option<Vec<Value>> {
    let element = element.pointer("/elem/val").unwrap_or(element);
    if let [field] = fields {
        return Some(vec![value(*field, element)]);
    }
    let parts = element.get("concat").and_then(Json::as_array)?;
    (parts.len() == fields.len()).then(|| fields.iter().zip(parts).map(|(field, part)| value(*field, part)).collect())
}

fn value(field: Field, json: &Json) -> Value {
    understood(field, json).unwrap_or(Value::Unknown)
}

fn understood(field: Field, json: &Json) -> Option<Value> {
    if json.as_str() == Some("*") {
        return None;
    }
    if let Some([first, last]) = json.get("range").and_then(Json::as_array).map(Vec::as_slice) {
        return match (understood(field, first)?, understood(field, last)?) {
            (Value::Numbers(first, _), Value::Numbers(_, last)) => Some(Value::Numbers(first, last)),
            (Value::Addresses(first, _), Value::Addresses(_, last)) => Some(Value::Addresses(first, last)),
            _ => None,
        };
    }
    if let Some(prefix) = json.get("prefix") {
        let address = prefix.get("addr").and_then(Json::as_str)?.parse().ok()?;
        return network(address, prefix.get("len").and_then(Json::as_u64)?);
    }
    match field {
        Field::Source | Field::Destination | Field::OriginalSource | Field::OriginalDestination => {
            let address = json.as_str()?.parse().ok()?;
            Some(Value::Addresses(address, address))
        }
        Field::InDevice | Field::OutDevice => {
            let name = json.as_str()?;
            Some(match name.strip_suffix('*') {
                Some(start) if !start.ends_with('\\') => Value::DevicesFrom(start.into()),
                _ => Value::Device(name.into()),
            })
        }
        Field::Version => match json.as_str()? {
            "ipv4" | "ip" => Some(Value::number(4_u8)),
            "ipv6" | "ip6" => Some(Value::number(6_u8)),
            // Another protocol of the link: no packet of IPVS.
            _ => Some(Value::number(0_u8)),
        },
        Field::Protocol => number_or(json, |name| protocol::number(name).map(u64::from)),
        Field::State => number_or(json, state::from_name),
        Field::TcpFlags(_) => Some(Value::number(flag_bits(json)?)),
        Field::Direction => number_or(json, |name| match name {
            "original" => Some(1),
            "reply" => Some(0),
            _ => None,
        }),
        Field::DestinationIsLocal => match json.as_str()? {
            "local" => Some(Value::number(1_u8)),
            "unicast" => Some(Value::number(0_u8)),
            _ => None,
        },
        Field::SourcePort
        | Field::DestinationPort
        | Field::OriginalDestinationPort
        | Field::Mark(_)
        | Field::ConnectionMark(_)
        | Field::SentByIpvs => number_or(json, |text| text.parse().ok()),
    }
}

fn number_or(json: &Json, named: impl Fn(&str) -> Option<u64>) -> Option<Value> {
    json.as_u64().or_else(|| named(json.as_str()?)).map(Value::number)
}

/// Returns all addresses of a network.
pub(super) fn network(address: IpAddr, length: u64) -> Option<Value> {
    match address {
        IpAddr::V4(address) => {
            let host = u32::MAX.checked_shr(u32::try_from(length).ok().filter(|length| *length <= 32)?).unwrap_or(0);
            let bits = address.to_bits();
            let ends = [bits & !host, bits | host].map(|bits| IpAddr::V4(bits.into()));
            Some(Value::Addresses(ends[0], ends[1]))
        }
        IpAddr::V6(address) => {
            let host = u128::MAX.checked_shr(u32::try_from(length).ok().filter(|length| *length <= 128)?).unwrap_or(0);
            let bits = address.to_bits();
            let ends = [bits & !host, bits | host].map(|bits| IpAddr::V6(bits.into()));
            Some(Value::Addresses(ends[0], ends[1]))
        }
    }
}

fn state_bits(json: &Json) -> Option<u64> {
    bits(json, state::from_name)
}

fn flag_bits(json: &Json) -> Option<u64> {
    bits(json, |name| {
        let names = ["fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"];
        names.iter().position(|known| *known == name).map(|bit| 1 << bit)
    })
}

/// Returns the union of flags: a list, a name, a number, or `a | b`.
fn bits(json: &Json, named: impl Fn(&str) -> Option<u64> + Copy) -> Option<u64> {
    match json {
        Json::Array(flags) => flags.iter().try_fold(0, |sum, flag| Some(sum | bits(flag, named)?)),
        Json::String(name) => named(name),
        Json::Object(_) => bits(json.get("|")?, named),
        _ => json.as_u64(),
    }
}
