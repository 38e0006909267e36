//! The firewall of the director, on the way of a packet to IPVS, to a server, and back.

use std::net::{IpAddr, SocketAddr};

use ipvs::{Client, DestinationKey, Family, Forwarding, Protocol, ServiceKey};

use super::mark;
use super::report::{Finding, Steps};
use super::rule::{Direction, accepting, list, name, protocol_name};
use super::servers::Way;
use super::subject::{Followed, Subject, options_of};
use crate::network::firewall::{
    Device, Firewall, Hook, Nat, Packet, Place, SCTP, TCP, Truth, UDP, Verdict, field_name,
};
use crate::network::{Network, sysctl};
use crate::terminal::commands::Command;
use crate::terminal::plural::count;

/// The least number of connections without an answer that shows a fault.
const LEAST: u64 = 2;
/// The maximum number of servers that are examined.
const MOST: usize = 50;

/// The firewall, and the packet with which IPVS begins.
pub(super) struct Passage {
    firewall: Firewall,
    /// `None`: the address of the service is not known.
    packet: Option<Packet>,
    /// The client's packet, before the firewall.
    arriving: Option<Packet>,
    key: ServiceKey,
}

/// Checks that the firewall lets packets reach IPVS, with the mark of the service.
pub(super) fn check(
    network: &mut Network,
    director: &mut Client,
    followed: &Followed,
    steps: &mut Steps<'_>,
) -> anyhow::Result<Passage> {
    let firewall = Firewall::read();
    for reason in &firewall.not_read {
        steps.add(Finding::unknown("firewall", format!("a part of the firewall was not checked: {reason}")));
    }
    let Followed { key, target, .. } = *followed;
    let Some(target) = target else {
        return Ok(Passage { firewall, packet: None, arriving: None, key });
    };
    let arriving = arriving(network, followed, target)?;
    let packets = match key {
        ServiceKey::Address { .. } => "packets to the service".to_owned(),
        // Other protocols may have other marks.
        ServiceKey::Fwmark { .. } => format!("{} packets to {target}", protocol_name(&arriving).to_uppercase()),
    };
    let mut packet = arriving.clone();
    let mut is_certain = firewall.not_read.is_empty();
    for hook in [Hook::Prerouting, Hook::Input] {
        let walk = firewall.walk(hook, &packet);
        let stops = matches!(walk.verdict, Verdict::Drop(_) | Verdict::Reject(_));
        is_certain &= walk.verdict == Verdict::Accept;
        if let Some(finding) = finding("firewall", &packets, &walk.verdict, &arriving, Direction::Request) {
            steps.add(finding);
        }
        if let (Hook::Prerouting, Some((nat, place))) = (hook, &walk.nat)
            && let Some(finding) = translated(*nat, place, key, target)
        {
            steps.add(finding);
        }
        packet = walk.packet;
        if stops {
            return Ok(Passage { firewall, packet: None, arriving: None, key });
        }
    }
    if is_certain && !firewall.tables.is_empty() {
        steps.add(Finding::good("firewall", format!("the firewall accepts {packets}")));
    }
    match (key, packet.mark.exact()) {
        (ServiceKey::Fwmark { mark, .. }, found) => {
            mark::check(&firewall, &arriving, mark.get(), found, director, &key, steps)?
        }
        (ServiceKey::Address { .. }, Some(mark)) if mark != 0 => {
            let by = firewall.walk(Hook::Prerouting, &arriving).mark_by;
            mark::check_others(director, key.family(), mark, by.as_ref(), steps)?;
        }
        _ => {}
    }
    Ok(Passage { firewall, packet: Some(packet), arriving: Some(arriving), key })
}

/// Returns the packet of a client, as it arrives.
fn arriving(network: &mut Network, followed: &Followed, target: SocketAddr) -> anyhow::Result<Packet> {
    let protocol = match followed.protocol {
        Some(Protocol::Udp) => UDP,
        Some(Protocol::Sctp) => SCTP,
        // Most clients of a mark use TCP. IPVS does not schedule other protocols.
        _ => TCP,
    };
    let (client, port) = (followed.client_address(), Some(target.port()).filter(|port| *port != 0));
    let mut arriving = Packet::request(protocol, client, target.ip(), port);
    arriving.source_port = followed.client.map(|client| client.port()).filter(|port| *port != 0);
    arriving.in_device = device_of(network, target.ip(), client)?;
    Ok(arriving)
}

/// Returns the device through which packets of the client arrive: that of the route to the client, or the only one with
/// the address of the service.
fn device_of(network: &mut Network, target: IpAddr, client: Option<IpAddr>) -> anyhow::Result<Device> {
    if let Some(route) = client.and_then(|client| network.route(client.into()).ok()) {
        return Ok(Device::Named(network.link(route.device)?.name));
    }
    let owners = network.addresses(Family::of(target), None)?;
    let mut found = Device::Unknown;
    for owner in owners.into_iter().filter(|owner| owner.address == target) {
        let device = network.link(owner.device)?;
        if !device.is_loopback {
            found = if found == Device::Unknown { Device::Named(device.name) } else { return Ok(Device::Unknown) };
        }
    }
    Ok(found)
}

/// Returns a step for a verdict that is not to accept.
fn finding(
    id: &'static str,
    packets: &str,
    verdict: &Verdict,
    packet: &Packet,
    direction: Direction,
) -> Option<Finding> {
    let (does, place) = match verdict {
        Verdict::Accept => return None,
        Verdict::Drop(place) => ("drops", place),
        Verdict::Reject(place) => ("rejects", place),
        Verdict::Unknown(place, reason) => {
            let text = format!("the firewall may drop {packets}, by {}: {reason}", name(place));
            return Some(Finding::unknown(id, text));
        }
    };
    let why = match &place.rule {
        Some(rule) => format!("The rule is: {rule}"),
        None => "No rule before its end accepts them.".into(),
    };
    let text = format!("the firewall {does} {packets}, by {}", name(place));
    Some(Finding::broken(id, text, why).cure(Command::director(accepting(place, packet, direction))))
}

/// Describes a change of the destination before IPVS. `None`: there is none, or it changes nothing.
fn translated(nat: Nat, place: &Place, key: ServiceKey, target: SocketAddr) -> Option<Finding> {
    let (address, port, to) = match nat {
        Nat::Source(_) | Nat::Masquerade => return None,
        Nat::Destination(Some(address), Some(port)) => {
            (Some(address), Some(port), SocketAddr::new(address, port).to_string())
        }
        Nat::Destination(Some(address), None) => (Some(address), None, address.to_string()),
        Nat::Destination(None, port) => (None, port, "an address that was not evaluated".into()),
        Nat::Redirect(Some(port)) => (None, Some(port), format!("port {port} of this director")),
        Nat::Redirect(None) => (None, None, "an address of this director".into()),
    };
    let differs = [
        address.map(|address| address != target.ip()),
        // A service with port 0 has all ports.
        port.map(|port| target.port() != 0 && port != target.port()),
    ];
    let text = format!("the firewall changes the destination to {to}, by {}", name(place));
    if matches!(key, ServiceKey::Fwmark { .. }) {
        return Some(Finding::unknown("translated", format!("{text}; IPVS takes packets by their mark")));
    }
    if differs.contains(&Some(true)) {
        let rule = place.rule.as_deref().unwrap_or_default();
        let why = format!("IPVS sees packets after this change, so the service does not match. The rule is: {rule}");
        return Some(Finding::broken("translated", text, why).cure(Command::director(list(place))));
    }
    // A port that is not changed stays the same. An address that is not known may be another one.
    address.is_none().then(|| Finding::unknown("translated", format!("{text}; it may be another one")))
}

impl Passage {
    /// Checks that the firewall lets packets reach the servers, and that it rewrites their source if it should.
    pub(super) fn check_servers(&self, subject: &Subject, ways: &[Way], steps: &mut Steps<'_>) {
        let Some(packet) = &self.packet else { return };
        let tracked = sysctl::number("ipv4/vs/conntrack").is_ok_and(|value| value > 0);
        let mut found: Vec<(DestinationKey, Finding)> = Vec::new();
        for way in ways.iter().filter(|way| !way.is_local()).take(MOST) {
            let key = way.server.destination.key;
            let masquerades = way.server.destination.forwarding == Forwarding::Masquerade;
            // The outer packets of tunnels are not examined.
            if !masquerades && way.server.destination.forwarding != Forwarding::DirectRoute {
                continue;
            }
            let server = masquerades.then_some((key.address, port_of(&key, packet)));
            let sent = packet.to_server(server, Device::Named(way.device.clone()), tracked);
            let output = self.firewall.walk(Hook::Output, &sent);
            let leaving = self.firewall.walk(Hook::Postrouting, &output.packet);
            for walk in [&output, &leaving] {
                if let Some(finding) =
                    finding("firewall_out", "packets to the server", &walk.verdict, &sent, Direction::Request)
                {
                    found.push((key, finding));
                }
            }
            if masquerades {
                let stuck = subject.sums(&key).stuck() >= LEAST;
                found.extend(self.source(&sent, &leaving.nat, tracked, stuck).map(|finding| (key, finding)));
            }
        }
        steps.add_all(with_all_commands(found));
        let others = ways.iter().filter(|way| !way.is_local()).count().saturating_sub(MOST);
        if others > 0 && !self.firewall.tables.is_empty() {
            let text = format!("the firewall was not checked for {}", count(others, "more server"));
            steps.add(Finding::unknown("firewall_out", text));
        }
    }

    /// Describes the translation of the source address. `None`: none is wanted.
    fn source(&self, sent: &Packet, nat: &Option<(Nat, Place)>, tracked: bool, stuck: bool) -> Option<Finding> {
        if let Some((nat, place)) = nat {
            let to = match nat {
                Nat::Source(Some(address)) => address.to_string(),
                _ => "an address of the director".into(),
            };
            return Some(Finding::good("snat", format!("the firewall changes the source to {to}, by {}", name(place))));
        }
        let candidates = self.firewall.rules_translating_sources(sent);
        if !tracked {
            // With connection tracking a rule would apply.
            let mut with = self.packet.clone()?;
            with = with.to_server(sent.destination.zip(sent.destination_port), sent.out_device.clone(), true);
            let (_, place) = self.firewall.walk(Hook::Postrouting, &with).nat?;
            let text = format!("net.ipv4.vs.conntrack is 0, so {} does not change the source", name(&place));
            let why = "The rule is for packets that connection tracking knows. Servers without a route back then reply \
                       to nobody.";
            let cure = Command::director("sysctl -w net.ipv4.vs.conntrack=1");
            return Some(if stuck {
                Finding::broken("snat", text, why).cure(cure)
            } else {
                Finding::unknown("snat", text)
            });
        }
        // A director that has such rules for other services may need one for this service.
        let other = candidates.first().filter(|candidate| candidate.matches == Truth::No);
        if !stuck {
            return None;
        }
        let text = match other.map(|other| (name(&other.place), other.differs)) {
            Some((place, Some(field))) => {
                format!("the source of the packets stays, because {place} is for another {}", field_name(field))
            }
            _ => "the source of the packets stays, because no rule of the firewall changes it".to_owned(),
        };
        let why = "net.ipv4.vs.conntrack is 1, and connections have no answer. Servers without a route back through the \
                   director need such a rule.";
        let service = options_of(self.key);
        let Device::Named(_) = &sent.out_device else { return None };
        let with = if self.firewall.prefers_nft() { "" } else { " --for iptables" };
        let command = format!("ipvsadm-rs snat-rules {service}{with} | sh -e");
        Some(Finding::broken("snat", text, why).cure(Command::director(command)))
    }

    /// Checks that the firewall lets the replies of masqueraded servers pass.
    pub(super) fn check_replies(
        &self,
        network: &mut Network,
        ways: &[Way],
        steps: &mut Steps<'_>,
    ) -> anyhow::Result<()> {
        let (Some(packet), Some(arriving)) = (&self.packet, &self.arriving) else { return Ok(()) };
        let tracked = sysctl::number("ipv4/vs/conntrack").is_ok_and(|value| value > 0);
        let mut found: Vec<(DestinationKey, Finding)> = Vec::new();
        for way in ways.iter().filter(|way| !way.is_local()).take(MOST) {
            let key = way.server.destination.key;
            if way.server.destination.forwarding != Forwarding::Masquerade {
                continue;
            }
            let server = (key.address, port_of(&key, packet));
            let arrives = Device::Named(way.device.clone());
            let leaves = match arriving.source.and_then(|client| network.route(client.into()).ok()) {
                Some(route) => Device::Named(network.link(route.device)?.name),
                None => Device::Unknown,
            };
            let sent = packet.to_server(Some(server), arrives.clone(), tracked);
            let output = self.firewall.walk(Hook::Output, &sent);
            if self.firewall.walk(Hook::Postrouting, &output.packet).nat.is_some() {
                // The reply comes to the director itself, and connection tracking restores the client's address first.
                // IPVS takes it in the chains of input or forward, which are not examined.
                continue;
            }
            let mut reply = arriving.reply(server, arrives, leaves, tracked);
            for hook in [Hook::Prerouting, Hook::Forward] {
                let walk = self.firewall.walk(hook, &reply);
                if let Some(finding) =
                    finding("firewall_back", "the replies of the server", &walk.verdict, &reply, Direction::Reply)
                {
                    found.push((key, finding));
                    break;
                }
                reply = walk.packet;
            }
        }
        steps.add_all(with_all_commands(found));
        Ok(())
    }
}

/// Returns the port to which masquerading sends. Port 0 of a server is the port of the client's packet.
fn port_of(server: &DestinationKey, packet: &Packet) -> u16 {
    if server.port == 0 { packet.destination_port.unwrap_or_default() } else { server.port }
}

/// Gives findings with the same text the commands of all of them, because they become one step.
fn with_all_commands(mut found: Vec<(DestinationKey, Finding)>) -> Vec<(DestinationKey, Finding)> {
    for at in 0..found.len() {
        let cures: Vec<Command> = found
            .iter()
            .filter(|(_, other)| other.text == found[at].1.text)
            .flat_map(|(_, other)| other.cures.clone())
            .collect();
        let held = &mut found[at].1.cures;
        for cure in cures {
            if !held.contains(&cure) {
                held.push(cure);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::super::rule::tests::nft;
    use super::*;

    #[test]
    fn a_translation_is_broken_only_if_the_destination_differs() {
        let (vip, other) = (IpAddr::from([10, 1, 0, 100]), IpAddr::from([10, 9, 0, 1]));
        let target = SocketAddr::new(vip, 80);
        let web = ServiceKey::tcp([10, 1, 0, 100], 80);
        let mark = ServiceKey::fwmark(7, Family::V4).expect("not 0");
        for (nat, key, expected) in [
            (Nat::Destination(Some(other), Some(80)), web, Some(Status::Broken)),
            (Nat::Destination(Some(vip), Some(81)), web, Some(Status::Broken)),
            (Nat::Redirect(Some(8080)), web, Some(Status::Broken)),
            (Nat::Redirect(Some(80)), web, Some(Status::Unknown)),
            (Nat::Destination(None, None), web, Some(Status::Unknown)),
            (Nat::Destination(Some(vip), None), web, None),
            (Nat::Destination(Some(vip), Some(80)), web, None),
            (Nat::Masquerade, web, None),
            (Nat::Destination(Some(other), Some(80)), mark, Some(Status::Unknown)),
        ] {
            assert_eq!(translated(nat, &nft(), key, target).map(|finding| finding.status), expected, "{nat:?} {key}");
        }
        let any_port = ServiceKey::tcp([10, 1, 0, 100], 0);
        assert_eq!(translated(Nat::Destination(Some(vip), Some(81)), &nft(), any_port, SocketAddr::new(vip, 0)), None);
    }
}
