//! Values of documents that are a name or a number. The decoding is written by hand, because the error of an untagged
//! enum of serde does not name the value.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use super::service::{FamilyName, KnownProtocol, Mask, ProtocolName};

/// A visitor that accepts a text or a number. Each function returns `None` for an invalid value.
struct Scalar<T> {
    expected: &'static str,
    text: fn(&str) -> Option<T>,
    number: fn(u64) -> Option<T>,
}

impl<T> Visitor<'_> for Scalar<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.text)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        (self.number)(number).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        let read = u64::try_from(number).ok().and_then(self.number);
        read.ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }
}

impl<'de> Deserialize<'de> for ProtocolName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar {
            expected: "tcp, udp, sctp or the number of a protocol",
            text: |text| known_protocol(text).map(Self::Known),
            number: |number| number.try_into().ok().map(Self::Number),
        })
    }
}

impl<'de> Deserialize<'de> for KnownProtocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar { expected: "tcp, udp or sctp", text: known_protocol, number: |_| None })
    }
}

fn known_protocol(text: &str) -> Option<KnownProtocol> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Some(KnownProtocol::Tcp),
        "udp" => Some(KnownProtocol::Udp),
        "sctp" => Some(KnownProtocol::Sctp),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for FamilyName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar {
            expected: "ipv4 or ipv6",
            text: |text| match text.to_ascii_lowercase().as_str() {
                "ipv4" => Some(Self::Ipv4),
                "ipv6" => Some(Self::Ipv6),
                _ => None,
            },
            number: |_| None,
        })
    }
}

impl<'de> Deserialize<'de> for Mask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar {
            expected: "an IPv4 mask or a prefix length",
            text: |text| text.parse().ok().map(Self::V4),
            number: |number| number.try_into().ok().map(Self::Prefix),
        })
    }
}
