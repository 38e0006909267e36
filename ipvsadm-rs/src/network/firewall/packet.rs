//! A packet on its way through the firewall, and its comparison with the values of a rule.

use std::net::IpAddr;

use super::model::{Field, Match, Value};
use super::protocol;

/// An answer that can be unknown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Truth {
    /// It is so.
    Yes,
    /// It is not so.
    No,
    /// It depends on something that is not known.
    Unknown,
}

impl Truth {
    fn negated(self, negated: bool) -> Self {
        match self {
            Self::Yes if negated => Self::No,
            Self::No if negated => Self::Yes,
            other => other,
        }
    }

    /// Returns whether both are so.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Unknown,
        }
    }

    /// Returns whether one of both is so.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.negated(true).and(other.negated(true)).negated(true)
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::Yes } else { Self::No }
    }
}

/// A mark of which some bits are known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bits {
    /// The values of the known bits. The others are 0.
    pub value: u32,
    /// The bits that are known.
    pub known: u32,
}

impl Bits {
    /// A mark of which nothing is known.
    pub const UNKNOWN: Self = Self { value: 0, known: 0 };

    /// Returns a mark that is known.
    #[must_use]
    pub fn of(value: u32) -> Self {
        Self { value, known: u32::MAX }
    }

    /// Returns the mark. `None`: a bit is unknown.
    #[must_use]
    pub fn exact(self) -> Option<u32> {
        (self.known == u32::MAX).then_some(self.value)
    }

    /// Returns `(mark & and) ^ xor`.
    #[must_use]
    pub fn changed(self, and: u32, xor: u32) -> Self {
        let known = self.known | !and;
        Self { value: ((self.value & and) ^ xor) & known, known }
    }

    /// Returns the bits that are known and equal in both.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        let known = self.known & other.known & !(self.value ^ other.value);
        Self { value: self.value & known, known }
    }

    fn is(self, mask: u32, first: u64, last: u64) -> Truth {
        let (open, value) = (mask & !self.known, self.value & mask);
        if open == 0 {
            return (first..=last).contains(&value.into()).into();
        }
        // The smallest and the greatest mark that are possible.
        let possible = u64::from(value)..=u64::from(value | open);
        let other_bit = first == last && u32::try_from(first).is_ok_and(|only| (only ^ value) & !open != 0);
        if other_bit || last < *possible.start() || first > *possible.end() {
            Truth::No
        } else if first <= *possible.start() && last >= *possible.end() {
            Truth::Yes
        } else {
            Truth::Unknown
        }
    }
}

/// A device of a packet.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Device {
    /// Not known.
    #[default]
    Unknown,
    /// A packet has no such device at this hook.
    None,
    /// The device's name.
    Named(String),
}

/// A packet. `None` means that a value is not known.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// The number of the transport protocol.
    pub protocol: u8,
    /// The source address.
    pub source: Option<IpAddr>,
    /// The destination address.
    pub destination: Option<IpAddr>,
    /// The version of IP: 4 or 6.
    pub version: u8,
    /// The source port.
    pub source_port: Option<u16>,
    /// The destination port.
    pub destination_port: Option<u16>,
    /// The device through which it arrived.
    pub in_device: Device,
    /// The device through which it leaves.
    pub out_device: Device,
    /// The firewall mark.
    pub mark: Bits,
    /// The mark of the connection.
    pub connection_mark: Bits,
    /// The state of the connection: a bit of [`super::model::state`].
    pub state: Option<u64>,
    /// The source address of the connection's first packet.
    pub original_source: Option<IpAddr>,
    /// The destination address of the connection's first packet.
    pub original_destination: Option<IpAddr>,
    /// The destination port of the connection's first packet.
    pub original_destination_port: Option<u16>,
    /// Whether it goes in the direction of the connection's first packet.
    pub is_original: Option<bool>,
    /// The flags of TCP.
    pub tcp_flags: Option<u8>,
    /// Whether the destination is an address of this machine.
    pub destination_is_local: Option<bool>,
    /// Whether IPVS has sent it on.
    pub sent_by_ipvs: Option<bool>,
}

impl Packet {
    /// Returns the first packet of a connection from a client to a virtual address.
    #[must_use]
    pub fn request(protocol: u8, source: Option<IpAddr>, destination: IpAddr, port: Option<u16>) -> Self {
        use super::model::state;
        Self {
            protocol,
            source,
            destination: Some(destination),
            version: if destination.is_ipv4() { 4 } else { 6 },
            source_port: None,
            destination_port: port,
            in_device: Device::Unknown,
            out_device: Device::None,
            mark: Bits::of(0),
            connection_mark: Bits::of(0),
            state: Some(state::NEW),
            original_source: source,
            original_destination: Some(destination),
            original_destination_port: port,
            is_original: Some(true),
            // SYN.
            tcp_flags: (protocol == protocol::TCP).then_some(2),
            destination_is_local: Some(true),
            sent_by_ipvs: Some(false),
        }
    }

    /// Returns the packet as IPVS sends it to a server: its new destination is `server` for masquerading, and stays
    /// for direct routing. `tracked` is the sysctl net.ipv4.vs.conntrack.
    #[must_use]
    pub fn to_server(&self, server: Option<(IpAddr, u16)>, out_device: Device, tracked: bool) -> Self {
        let mut packet = self.clone();
        if let Some((address, port)) = server {
            (packet.destination, packet.destination_port) = (Some(address), Some(port));
            packet.version = if address.is_ipv4() { 4 } else { 6 };
        }
        packet.out_device = out_device;
        packet.destination_is_local = Some(false);
        packet.sent_by_ipvs = Some(true);
        if !tracked {
            packet.untrack();
        }
        packet
    }

    /// Returns the reply of a masqueraded server to this request, before IPVS rewrites its source.
    #[must_use]
    pub fn reply(&self, server: (IpAddr, u16), in_device: Device, out_device: Device, tracked: bool) -> Self {
        use super::model::state;
        let mut packet = self.clone();
        (packet.source, packet.source_port) = (Some(server.0), Some(server.1));
        (packet.destination, packet.destination_port) = (self.source, self.source_port);
        (packet.in_device, packet.out_device) = (in_device, out_device);
        packet.mark = Bits::of(0);
        packet.tcp_flags = (self.protocol == protocol::TCP).then_some(2 | 16);
        packet.destination_is_local = Some(false);
        packet.sent_by_ipvs = Some(false);
        packet.is_original = Some(false);
        packet.state = Some(state::ESTABLISHED);
        if !tracked {
            packet.untrack();
            // Connection tracking has seen no request that the reply could belong to. No connection begins with SYN and
            // ACK, while any packet of UDP can be the first one.
            packet.state = match self.protocol {
                protocol::TCP => Some(state::INVALID),
                protocol::UDP => Some(state::NEW),
                _ => None,
            };
            packet.is_original = None;
            packet.connection_mark = Bits::UNKNOWN;
        }
        packet
    }

    /// Excludes it from connection tracking.
    pub(super) fn untrack(&mut self) {
        self.state = Some(super::model::state::UNTRACKED);
        (self.original_source, self.original_destination, self.original_destination_port) = (None, None, None);
        self.is_original = None;
    }

    /// Forgets the value of a field.
    pub(super) fn forget(&mut self, field: Field) {
        match field {
            Field::Source => self.source = None,
            Field::Destination => self.destination = None,
            Field::SourcePort => self.source_port = None,
            Field::DestinationPort => self.destination_port = None,
            _ => {}
        }
    }

    /// Forgets each value that differs from that of another packet.
    pub(super) fn join(&mut self, other: &Self) {
        fn join<T: PartialEq>(own: &mut Option<T>, other: &Option<T>) {
            if own != other {
                *own = None;
            }
        }
        self.mark = self.mark.joined(other.mark);
        self.connection_mark = self.connection_mark.joined(other.connection_mark);
        join(&mut self.source, &other.source);
        join(&mut self.destination, &other.destination);
        join(&mut self.source_port, &other.source_port);
        join(&mut self.destination_port, &other.destination_port);
        join(&mut self.state, &other.state);
        join(&mut self.original_source, &other.original_source);
        join(&mut self.original_destination, &other.original_destination);
        join(&mut self.original_destination_port, &other.original_destination_port);
        join(&mut self.is_original, &other.is_original);
        join(&mut self.destination_is_local, &other.destination_is_local);
    }

    /// Returns whether it has the values of a comparison.
    pub(super) fn matches(&self, comparison: &Match) -> Truth {
        // A rule about something that the packet does not have fails, negated or not.
        if comparison.fields.iter().any(|field| self.lacks(*field)) {
            return Truth::No;
        }
        // Kernels differ: a rule about another device than eth0 may fail, or hold, for a packet without a device.
        if comparison.negated && comparison.fields.iter().any(|field| self.has_no_device(*field)) {
            return Truth::Unknown;
        }
        let mut any = Truth::No;
        for row in &comparison.rows {
            let fields = comparison.fields.iter().zip(row);
            any = any.or(fields.fold(Truth::Yes, |all, (field, value)| all.and(self.has(*field, value))));
            if any == Truth::Yes {
                break;
            }
        }
        any.negated(comparison.negated)
    }

    fn lacks(&self, field: Field) -> bool {
        match field {
            Field::SourcePort | Field::DestinationPort => !protocol::has_ports(self.protocol),
            Field::TcpFlags(_) => self.protocol != protocol::TCP,
            Field::OriginalSource
            | Field::OriginalDestination
            | Field::OriginalDestinationPort
            | Field::Direction
            | Field::ConnectionMark(_) => self.state == Some(super::model::state::UNTRACKED),
            _ => false,
        }
    }

    fn has_no_device(&self, field: Field) -> bool {
        match field {
            Field::InDevice => self.in_device == Device::None,
            Field::OutDevice => self.out_device == Device::None,
            _ => false,
        }
    }

    fn has(&self, field: Field, value: &Value) -> Truth {
        match field {
            Field::Version => number(Some(self.version), value),
            Field::Protocol => number(Some(self.protocol), value),
            Field::SourcePort => number_of_16_bits(self.source_port, value),
            Field::DestinationPort => number_of_16_bits(self.destination_port, value),
            Field::OriginalDestinationPort => number_of_16_bits(self.original_destination_port, value),
            Field::InDevice => device(&self.in_device, value),
            Field::OutDevice => device(&self.out_device, value),
            Field::Source => address(self.source, self.version, value),
            Field::Destination => address(self.destination, self.version, value),
            Field::OriginalSource => address(self.original_source, self.version, value),
            Field::OriginalDestination => address(self.original_destination, self.version, value),
            Field::Mark(mask) => mark(self.mark, mask, value),
            Field::ConnectionMark(mask) => mark(self.connection_mark, mask, value),
            Field::State => match (self.state, value) {
                (Some(state), Value::Numbers(bits, _)) => (state & bits != 0).into(),
                _ => Truth::Unknown,
            },
            Field::TcpFlags(mask) => number(self.tcp_flags.map(|flags| flags & mask), value),
            Field::Direction => number(self.is_original.map(u8::from), value),
            Field::DestinationIsLocal => number(self.destination_is_local.map(u8::from), value),
            Field::SentByIpvs => number(self.sent_by_ipvs.map(u8::from), value),
        }
    }
}

fn number(own: Option<u8>, value: &Value) -> Truth {
    match (own, value) {
        (Some(own), Value::Numbers(first, last)) => (*first..=*last).contains(&own.into()).into(),
        _ => Truth::Unknown,
    }
}

fn number_of_16_bits(own: Option<u16>, value: &Value) -> Truth {
    match (own, value) {
        (Some(own), Value::Numbers(first, last)) => (*first..=*last).contains(&own.into()).into(),
        (None, Value::Numbers(0, last)) if *last >= u16::MAX.into() => Truth::Yes,
        _ => Truth::Unknown,
    }
}

fn mark(own: Bits, mask: u32, value: &Value) -> Truth {
    match value {
        Value::Numbers(first, last) => own.is(mask, *first, *last),
        _ => Truth::Unknown,
    }
}

fn address(own: Option<IpAddr>, version: u8, value: &Value) -> Truth {
    let Value::Addresses(first, last) = value else { return Truth::Unknown };
    match own {
        Some(own) => (own.is_ipv4() == first.is_ipv4() && (*first..=*last).contains(&own)).into(),
        None if first.is_ipv4() != (version == 4) => Truth::No,
        None => {
            let is_all = match (first, last) {
                (IpAddr::V4(first), IpAddr::V4(last)) => first.to_bits() == 0 && last.to_bits() == u32::MAX,
                (IpAddr::V6(first), IpAddr::V6(last)) => first.to_bits() == 0 && last.to_bits() == u128::MAX,
                _ => false,
            };
            if is_all { Truth::Yes } else { Truth::Unknown }
        }
    }
}

fn device(own: &Device, value: &Value) -> Truth {
    match (own, value) {
        (Device::Named(own), Value::Device(name)) => (own == name).into(),
        (Device::Named(own), Value::DevicesFrom(start)) => own.starts_with(start.as_str()).into(),
        (_, Value::DevicesFrom(start)) if start.is_empty() => Truth::Yes,
        (Device::None, Value::Device(_) | Value::DevicesFrom(_)) => Truth::No,
        _ => Truth::Unknown,
    }
}

impl From<&str> for Device {
    fn from(name: &str) -> Self {
        Self::Named(name.into())
    }
}
