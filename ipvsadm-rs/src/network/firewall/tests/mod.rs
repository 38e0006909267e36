//! Rulesets, packets and verdicts.
//!
//! `every_expression.json` is output of nft 1.0.6.

mod any_text;
mod iptables;
mod nft;

use std::net::IpAddr;

use super::{Bits, Device, Firewall, Hook, Packet, TCP, Verdict};

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A packet from 10.1.0.10:4000 to 10.1.0.100:80, arriving on eth0.
fn packet() -> Packet {
    let mut packet = Packet::request(TCP, Some(address("10.1.0.10")), address("10.1.0.100"), Some(80));
    packet.source_port = Some(4000);
    packet.in_device = Device::Named("eth0".into());
    packet
}

/// Returns the verdict in one line, and the mark.
fn outcome(firewall: &Firewall, hook: Hook, packet: &Packet) -> String {
    let walk = firewall.walk(hook, packet);
    let verdict = match walk.verdict {
        Verdict::Accept => "accept".into(),
        Verdict::Drop(place) => format!("drop: {}", place.rule.unwrap_or_else(|| format!("policy {}", place.chain))),
        Verdict::Reject(place) => format!("reject: {}", place.rule.unwrap_or_default()),
        Verdict::Unknown(_, reason) => format!("unknown: {reason}"),
    };
    match walk.packet.mark {
        Bits { known: u32::MAX, value: 0 } => verdict,
        Bits { known: u32::MAX, value } => format!("{verdict}, mark {value}"),
        Bits { .. } => format!("{verdict}, mark unknown"),
    }
}
