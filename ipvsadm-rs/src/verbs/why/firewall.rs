//! The firewall of the director, on the way of a packet to IPVS, to a server, and back.

use std::net::{IpAddr, SocketAddr};

use ipvs::{Client, DestinationKey, Family, Forwarding, Protocol, ServiceKey};

use super::report::{Cure, Finding, Steps};
use super::servers::Way;
use super::subject::{self, Subject};
use crate::network::firewall::{self as rules, field_name};
use crate::network::firewall::{
    Candidate, Device, Firewall, Hook, Nat, Packet, Place, SCTP, TCP, Tool, Truth, UDP, Verdict,
};
use crate::network::{Network, sysctl};
use crate::plan::clients::options_of;
use crate::terminal::text;

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
    key: &ServiceKey,
    target: Option<SocketAddr>,
    client: Option<SocketAddr>,
    steps: &mut Steps,
) -> anyhow::Result<Passage> {
    let firewall = Firewall::read();
    for reason in &firewall.not_read {
        steps.add(Finding::unknown("firewall", format!("the firewall was not looked at: {reason}")));
    }
    let Some(target) = target else {
        return Ok(Passage { firewall, packet: None, arriving: None, key: *key });
    };
    let protocol = match key {
        ServiceKey::Address { protocol: Protocol::Udp, .. } => UDP,
        ServiceKey::Address { protocol: Protocol::Sctp, .. } => SCTP,
        // Most clients of a mark use TCP.
        _ => TCP,
    };
    let port = Some(target.port()).filter(|port| *port != 0);
    let mut arriving = Packet::request(protocol, client.map(|client| client.ip()), target.ip(), port);
    arriving.source_port = client.map(|client| client.port()).filter(|port| *port != 0);
    arriving.in_device = device_of(network, target.ip(), client.map(|client| client.ip()))?;
    let mut packet = arriving.clone();
    let mut is_certain = firewall.not_read.is_empty();
    for hook in [Hook::Prerouting, Hook::Input] {
        let walk = firewall.walk(hook, &packet);
        let stops = matches!(walk.verdict, Verdict::Drop(_) | Verdict::Reject(_));
        is_certain &= walk.verdict == Verdict::Accept;
        if let Some(finding) = finding("firewall", "packets to the service", &walk.verdict, &arriving) {
            steps.add(finding);
        }
        if let (Hook::Prerouting, Some((nat @ (Nat::Destination(..) | Nat::Redirect(_)), place))) = (hook, &walk.nat) {
            steps.add(translated(*nat, place));
        }
        packet = walk.packet;
        if stops {
            return Ok(Passage { firewall, packet: None, arriving: None, key: *key });
        }
    }
    if is_certain && !firewall.tables.is_empty() {
        steps.add(Finding::good("firewall", "the firewall accepts packets to the service"));
    }
    match (key, packet.mark.exact()) {
        (ServiceKey::Fwmark { mark, .. }, found) => {
            marked(&firewall, &arriving, mark.get(), found, director, key, steps)?
        }
        (ServiceKey::Address { .. }, Some(mark)) if mark != 0 => taken_by_mark(director, key.family(), mark, steps)?,
        _ => {}
    }
    Ok(Passage { firewall, packet: Some(packet), arriving: Some(arriving), key: *key })
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
fn finding(id: &'static str, packets: &str, verdict: &Verdict, packet: &Packet) -> Option<Finding> {
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
    Some(Finding::broken(id, text, why).cure(Cure::director(accepting(place, packet))))
}

/// Returns the name of a rule's place.
fn name(place: &Place) -> String {
    let Place { table, chain, .. } = place;
    let family = match place.family {
        rules::Family::Ip => "ip",
        rules::Family::Ip6 => "ip6",
        rules::Family::Inet => "inet",
    };
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
    if place.family == rules::Family::Ip6 { "ip6tables" } else { "iptables" }
}

/// Returns the command that accepts packets to the destination before the other rules of the chain.
fn accepting(place: &Place, packet: &Packet) -> String {
    let Place { table, chain, .. } = place;
    let protocol = match packet.protocol {
        UDP => "udp",
        SCTP => "sctp",
        _ => "tcp",
    };
    // A reply has the server as its source.
    let (is_reply, address, port) = match (packet.is_original, packet.source, packet.destination) {
        (Some(true), _, Some(destination)) => (false, Some(destination), packet.destination_port),
        _ => (true, packet.source, packet.source_port),
    };
    let Some(address) = address else { return list(place) };
    match place.tool {
        Tool::Nft => {
            let family = match place.family {
                rules::Family::Ip => "ip",
                rules::Family::Ip6 => "ip6",
                rules::Family::Inet => "inet",
            };
            let version = if address.is_ipv4() { "ip" } else { "ip6" };
            let [side, port_side] = if is_reply { ["saddr", "sport"] } else { ["daddr", "dport"] };
            let port = port.map_or_else(String::new, |port| format!(" {protocol} {port_side} {port}"));
            format!("nft insert rule {family} {} {} {version} {side} {address}{port} accept", word(table), word(chain))
        }
        Tool::Iptables => {
            let [side, port_side] = if is_reply { ["-s", "--sport"] } else { ["-d", "--dport"] };
            let port = port.map_or_else(String::new, |port| format!(" {port_side} {port}"));
            let program = iptables(place);
            let (table, chain) = (word(table), word(chain));
            format!("{program} -t {table} -I {chain} {side} {address} -p {protocol}{port} -j ACCEPT")
        }
    }
}

fn list(place: &Place) -> String {
    match place.tool {
        Tool::Nft => "nft -a list ruleset".into(),
        Tool::Iptables => format!("{}-save", iptables(place)),
    }
}

/// Returns a name as one word of the shell.
fn word(name: &str) -> String {
    text::shell_word(name, b"-_./")
}

fn translated(nat: Nat, place: &Place) -> Finding {
    let to = match nat {
        Nat::Destination(Some(address), Some(port)) => SocketAddr::new(address, port).to_string(),
        Nat::Destination(Some(address), None) => address.to_string(),
        Nat::Redirect(Some(port)) => format!("port {port} of this director"),
        _ => "another one".into(),
    };
    let text = format!("the firewall changes the destination to {to}, by {}", name(place));
    let why = match &place.rule {
        Some(rule) => {
            format!("IPVS sees packets after this change, so the service does not match. The rule is: {rule}")
        }
        None => String::new(),
    };
    Finding::broken("translated", text, why).cure(Cure::director(list(place)))
}

/// Checks that the packet has the mark of the service.
fn marked(
    firewall: &Firewall,
    arriving: &Packet,
    mark: u32,
    found: Option<u32>,
    director: &mut Client,
    key: &ServiceKey,
    steps: &mut Steps,
) -> anyhow::Result<()> {
    if found == Some(mark) {
        let by = firewall.walk(Hook::Prerouting, arriving).mark_by;
        let by = by.map_or_else(String::new, |place| format!(", by {}", name(&place)));
        steps.add(Finding::good("mark", format!("the firewall sets mark {mark}{by}")));
        return Ok(());
    }
    let candidates: Vec<Candidate> = firewall.rules_setting_mark(mark, arriving);
    // Traffic control can set marks, too, and its filters are not read.
    let has_packets = subject::find(director, key)?.is_some_and(|state| state.stats.incoming_packets > 0);
    let may_be_set = rules::has_ingress_filters();
    if !firewall.not_read.is_empty() || found.is_none() || has_packets || may_be_set != Ok(false) {
        if may_be_set == Ok(true) && candidates.is_empty() {
            let text =
                format!("mark {mark} was not checked: filters of tc may set it, and no rule of the firewall does");
            steps.add(Finding::unknown("mark", text));
        } else if let Err(error) = may_be_set {
            steps.add(Finding::unknown("mark", format!("mark {mark} was not checked: {error}")));
        } else {
            steps.add(Finding::unknown("mark", format!("it is not known whether the packet gets mark {mark}")));
        }
        return Ok(());
    }
    let address = arriving.destination.map_or_else(String::new, |address| address.to_string());
    let (family, version, program) = match key.family() {
        Family::V6 => ("ip6", "ip6", "ip6tables"),
        Family::V4 => ("ip", "ip", "iptables"),
    };
    let port = arriving.destination_port.map_or_else(String::new, |port| format!(" --dport {port}"));
    let (text, why) = match candidates.first() {
        None => (
            format!("no rule of the firewall sets mark {mark}"),
            "The service gets only packets with its mark.".to_owned(),
        ),
        Some(candidate) => {
            let rule = candidate.place.rule.clone().unwrap_or_default();
            let text = match candidate.differs {
                Some(field) => format!("{} sets mark {mark} for another {}", name(&candidate.place), field_name(field)),
                None => format!("{} sets mark {mark}, and packets do not reach it before IPVS", name(&candidate.place)),
            };
            (text, format!("The service gets only packets with its mark. The rule is: {rule}"))
        }
    };
    let finding = Finding::broken("mark", text, why);
    steps.add(if !firewall.prefers_nft() {
        let command = format!("{program} -t mangle -A PREROUTING -d {address} -p tcp{port} -j MARK --set-mark {mark}");
        finding.cure(Cure::director(command))
    } else {
        let port = arriving.destination_port.map_or_else(String::new, |port| format!(" tcp dport {port}"));
        let chain = "'{ type filter hook prerouting priority mangle; }'";
        finding
            .cure(Cure::director(format!("nft add table {family} ipvs-mark")))
            .cure(Cure::director(format!("nft add chain {family} ipvs-mark in {chain}")))
            .cure(Cure::director(format!(
                "nft add rule {family} ipvs-mark in {version} daddr {address}{port} meta mark set {mark}"
            )))
    });
    Ok(())
}

/// Checks that no service of the packet's mark takes it.
fn taken_by_mark(director: &mut Client, family: Family, mark: u32, steps: &mut Steps) -> anyhow::Result<()> {
    let Some(other) = ServiceKey::fwmark(mark, family) else { return Ok(()) };
    if subject::find(director, &other)?.is_some() {
        let text = format!("the firewall sets mark {mark}, so {other} takes the packets");
        let why = "IPVS looks for a service of the mark first.";
        steps.add(Finding::broken("mark", text, why).cure(Cure::director(format!("ipvsadm -D -f {mark}"))));
    }
    Ok(())
}

impl Passage {
    /// Checks that the firewall lets packets reach the servers, and that it rewrites their source if it should.
    pub(super) fn check_servers(&self, subject: &Subject, ways: &[Way], steps: &mut Steps) {
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
                if let Some(finding) = finding("firewall_out", "packets to the server", &walk.verdict, &sent) {
                    found.push((key, finding));
                }
            }
            if masquerades {
                let stuck = subject.sums(&key).stuck() >= LEAST;
                found.extend(self.source(&sent, &leaving.nat, tracked, stuck).map(|finding| (key, finding)));
            }
        }
        steps.add_all(with_all_commands(found));
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
            let cure = Cure::director("sysctl -w net.ipv4.vs.conntrack=1");
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
        Some(Finding::broken("snat", text, why).cure(Cure::director(command)))
    }

    /// Checks that the firewall lets the replies of masqueraded servers pass.
    pub(super) fn check_replies(&self, network: &mut Network, ways: &[Way], steps: &mut Steps) -> anyhow::Result<()> {
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
                if let Some(finding) = finding("firewall_back", "the replies of the server", &walk.verdict, &reply) {
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
        let cures: Vec<Cure> = found
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
