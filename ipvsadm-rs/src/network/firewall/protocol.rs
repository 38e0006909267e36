//! Names of transport protocols, as nft and iptables print them.

/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// SCTP.
pub const SCTP: u8 = 132;

const NAMES: &[(&str, u8)] = &[
    ("icmp", 1),
    ("igmp", 2),
    ("ipencap", 4),
    ("tcp", TCP),
    ("udp", UDP),
    ("dccp", 33),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", 58),
    ("ipv6-icmp", 58),
    ("comp", 108),
    ("vrrp", 112),
    ("sctp", SCTP),
    ("udplite", 136),
];

/// Returns the number of a protocol, by its name or number.
pub(super) fn number(name: &str) -> Option<u8> {
    let named = NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    named.or_else(|| name.parse().ok())
}

/// Returns whether the packets of a protocol have ports.
pub(super) fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | SCTP | 33 | 136)
}
