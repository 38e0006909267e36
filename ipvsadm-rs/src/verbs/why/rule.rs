//! A rule of the firewall: its name, and the commands that list it, or that accept packets before it.

use crate::network::firewall::{Family, Packet, Place, SCTP, Tool, UDP};
use crate::terminal::commands::quoted;

/// The direction of a packet. Connection tracking may not know it.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Direction {
    /// From the client.
    Request,
    /// From a server.
    Reply,
}

/// Returns the name of a rule's place.
pub(super) fn name(place: &Place) -> String {
    let Place { table, chain, .. } = place;
    let family = family(place);
    let part = match (&place.rule, place.handle) {
        (None, _) => "the policy".to_owned(),
        (Some(_), Some(handle)) => format!("rule {handle}"),
        (Some(_), None) => "a rule".to_owned(),
    };
    match place.tool {
        Tool::Nft => format!("{part} of chain {chain}, table {family} {table}"),
        Tool::Iptables => format!("{part} of chain {chain}, table {table} of {}", iptables(place)),
    }
}

fn iptables(place: &Place) -> &'static str {
    if place.family == Family::Ip6 { "ip6tables" } else { "iptables" }
}

/// Returns the command that accepts packets to the destination, or from the server, before the other rules of the chain.
pub(super) fn accepting(place: &Place, packet: &Packet, direction: Direction) -> String {
    let Place { table, chain, .. } = place;
    let protocol = protocol_name(packet);
    let is_reply = direction == Direction::Reply;
    let (address, port) = match direction {
        Direction::Request => (packet.destination, packet.destination_port),
        // A reply has the server as its source.
        Direction::Reply => (packet.source, packet.source_port),
    };
    let Some(address) = address.filter(|_| has_plain_names(place)) else { return list(place) };
    match place.tool {
        Tool::Nft => {
            let family = family(place);
            let version = if address.is_ipv4() { "ip" } else { "ip6" };
            let [side, port_side] = if is_reply { ["saddr", "sport"] } else { ["daddr", "dport"] };
            let port = port.map_or_else(String::new, |port| format!(" {protocol} {port_side} {port}"));
            format!(
                "nft insert rule {family} {} {} {version} {side} {address}{port} accept",
                quoted(table),
                quoted(chain)
            )
        }
        Tool::Iptables => {
            let [side, port_side] = if is_reply { ["-s", "--sport"] } else { ["-d", "--dport"] };
            let port = port.map_or_else(String::new, |port| format!(" {port_side} {port}"));
            let program = iptables(place);
            let (table, chain) = (quoted(table), quoted(chain));
            format!("{program} -t {table} -I {chain} {side} {address} -p {protocol}{port} -j ACCEPT")
        }
    }
}

/// Returns whether nft takes the names of the place literally. nft reads its arguments as one text, in which a name with
/// other characters could be a command.
fn has_plain_names(place: &Place) -> bool {
    let is_plain = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte))
    };
    place.tool == Tool::Iptables || is_plain(&place.table) && is_plain(&place.chain)
}

/// Returns the command that lists the rules of the chain.
pub(super) fn list(place: &Place) -> String {
    let (table, chain) = (quoted(&place.table), quoted(&place.chain));
    match place.tool {
        Tool::Nft if !has_plain_names(place) => "nft -a list ruleset".into(),
        Tool::Nft => format!("nft -a list chain {} {table} {chain}", family(place)),
        Tool::Iptables => format!("{} -t {table} -nL {chain}", iptables(place)),
    }
}

/// Returns the name of the family in the language of nft.
fn family(place: &Place) -> &'static str {
    match place.family {
        Family::Ip => "ip",
        Family::Ip6 => "ip6",
        Family::Inet => "inet",
    }
}

pub(super) fn protocol_name(packet: &Packet) -> &'static str {
    match packet.protocol {
        UDP => "udp",
        SCTP => "sctp",
        _ => "tcp",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::network::firewall::{Device, TCP};

    fn place(tool: Tool, family: Family, table: &str, chain: &str) -> Place {
        Place { tool, family, table: table.into(), chain: chain.into(), rule: Some("dnat".into()), handle: Some(7) }
    }

    pub(in super::super) fn nft() -> Place {
        place(Tool::Nft, Family::Inet, "f", "c")
    }

    fn packet() -> Packet {
        let address = |last| IpAddr::from([10, 1, 0, last]);
        Packet::request(TCP, Some(address(10)), address(100), Some(80))
    }

    #[test]
    fn a_request_that_is_not_tracked_is_accepted_by_its_destination() {
        let server = IpAddr::from([10, 2, 0, 11]);
        for tracked in [false, true] {
            let sent = packet().to_server(Some((server, 8080)), Device::Unknown, tracked);
            assert_eq!(
                accepting(&nft(), &sent, Direction::Request),
                "nft insert rule inet f c ip daddr 10.2.0.11 tcp dport 8080 accept"
            );
            let reply = packet().reply((server, 8080), Device::Unknown, Device::Unknown, tracked);
            assert_eq!(
                accepting(&place(Tool::Iptables, Family::Ip, "filter", "FORWARD"), &reply, Direction::Reply),
                "iptables -t filter -I FORWARD -s 10.2.0.11 -p tcp --sport 8080 -j ACCEPT"
            );
        }
    }

    #[test]
    fn names_that_nft_would_read_as_a_command_are_not_printed() {
        let hostile = place(Tool::Nft, Family::Ip, "t", "c; flush ruleset");
        assert_eq!(accepting(&hostile, &packet(), Direction::Request), "nft -a list ruleset");
        assert_eq!(list(&hostile), "nft -a list ruleset");
        assert_eq!(list(&nft()), "nft -a list chain inet f c");
        let of_iptables = place(Tool::Iptables, Family::Ip6, "filter", "x;y");
        assert_eq!(list(&of_iptables), "ip6tables -t filter -nL 'x;y'");
    }
}
