//! The firewall of the director, on the way of a packet to IPVS, to a server, and back.

use std::net::{IpAddr, SocketAddr};

use ipvs::{Client, DestinationKey, Family, Forwarding, Protocol, ServiceKey};

use super::report::{Finding, Steps};
use super::servers::Way;
use super::subject::{self, Followed, Subject, options_of};
use crate::network::firewall::{self as rules, field_name};
use crate::network::firewall::{
    Candidate, Device, Firewall, Hook, Nat, Packet, Place, SCTP, TCP, Tool, Truth, UDP, Verdict,
};
use crate::network::{Network, sysctl};
use crate::terminal::commands::{Command, quoted};
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
            marked(&firewall, &arriving, mark.get(), found, director, &key, steps)?
        }
        (ServiceKey::Address { .. }, Some(mark)) if mark != 0 => {
            let by = firewall.walk(Hook::Prerouting, &arriving).mark_by;
            taken_by_mark(director, key.family(), mark, by.as_ref(), steps)?;
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

fn protocol_name(packet: &Packet) -> &'static str {
    match packet.protocol {
        UDP => "udp",
        SCTP => "sctp",
        _ => "tcp",
    }
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

/// The direction of a packet. Connection tracking may not know it.
#[derive(Clone, Copy, PartialEq)]
enum Direction {
    /// From the client.
    Request,
    /// From a server.
    Reply,
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

/// Returns the name of a rule's place.
fn name(place: &Place) -> String {
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
    if place.family == rules::Family::Ip6 { "ip6tables" } else { "iptables" }
}

/// Returns the command that accepts packets to the destination, or from the server, before the other rules of the chain.
fn accepting(place: &Place, packet: &Packet, direction: Direction) -> String {
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
fn list(place: &Place) -> String {
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
        rules::Family::Ip => "ip",
        rules::Family::Ip6 => "ip6",
        rules::Family::Inet => "inet",
    }
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

/// Checks that the packet has the mark of the service.
fn marked(
    firewall: &Firewall,
    arriving: &Packet,
    mark: u32,
    found: Option<u32>,
    director: &mut Client,
    key: &ServiceKey,
    steps: &mut Steps<'_>,
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
    let protocol = protocol_name(arriving);
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
        let command =
            format!("{program} -t mangle -A PREROUTING -d {address} -p {protocol}{port} -j MARK --set-mark {mark}");
        finding.cure(Command::director(command))
    } else {
        let port = arriving.destination_port.map_or_else(String::new, |port| format!(" {protocol} dport {port}"));
        let chain = "'{ type filter hook prerouting priority mangle; }'";
        finding
            .cure(Command::director(format!("nft add table {family} ipvs-mark")))
            .cure(Command::director(format!("nft add chain {family} ipvs-mark in {chain}")))
            .cure(Command::director(format!(
                "nft add rule {family} ipvs-mark in {version} daddr {address}{port} meta mark set {mark}"
            )))
    });
    Ok(())
}

/// Checks that no service of the packet's mark takes it. `by` is the rule that sets the mark.
fn taken_by_mark(
    director: &mut Client,
    family: Family,
    mark: u32,
    by: Option<&Place>,
    steps: &mut Steps<'_>,
) -> anyhow::Result<()> {
    let Some(other) = ServiceKey::fwmark(mark, family) else { return Ok(()) };
    if subject::find(director, &other)?.is_some() {
        steps.add(taken(&other, mark, by));
    }
    Ok(())
}

/// Describes a service that takes the packets. Only the operator knows which of the rule and the service is unintended, so
/// the commands list both.
fn taken(other: &ServiceKey, mark: u32, by: Option<&Place>) -> Finding {
    let text = format!("the firewall sets mark {mark}, so {other} takes the packets");
    let why = "IPVS searches for a service of the mark first. Delete the rule, or use the service of the mark.";
    let finding =
        Finding::broken("mark", text, why).cure(Command::director(format!("ipvsadm -Ln {}", options_of(*other))));
    match by {
        Some(place) => finding.cure(Command::director(list(place))),
        None => finding,
    }
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
    use super::*;

    fn place(tool: Tool, family: rules::Family, table: &str, chain: &str) -> Place {
        Place { tool, family, table: table.into(), chain: chain.into(), rule: Some("dnat".into()), handle: Some(7) }
    }

    fn nft() -> Place {
        place(Tool::Nft, rules::Family::Inet, "f", "c")
    }

    fn packet() -> Packet {
        let address = |last| IpAddr::from([10, 1, 0, last]);
        Packet::request(TCP, Some(address(10)), address(100), Some(80))
    }

    fn commands(finding: &Finding) -> Vec<&str> {
        finding.cures.iter().map(Command::text).collect()
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
                accepting(&place(Tool::Iptables, rules::Family::Ip, "filter", "FORWARD"), &reply, Direction::Reply),
                "iptables -t filter -I FORWARD -s 10.2.0.11 -p tcp --sport 8080 -j ACCEPT"
            );
        }
    }

    #[test]
    fn names_that_nft_would_read_as_a_command_are_not_printed() {
        let hostile = place(Tool::Nft, rules::Family::Ip, "t", "c; flush ruleset");
        assert_eq!(accepting(&hostile, &packet(), Direction::Request), "nft -a list ruleset");
        assert_eq!(list(&hostile), "nft -a list ruleset");
        assert_eq!(list(&nft()), "nft -a list chain inet f c");
        let of_iptables = place(Tool::Iptables, rules::Family::Ip6, "filter", "x;y");
        assert_eq!(list(&of_iptables), "ip6tables -t filter -nL 'x;y'");
    }

    #[test]
    fn a_service_that_takes_the_packets_is_listed_and_not_deleted() {
        let other = ServiceKey::fwmark(7, Family::V6).expect("not 0");
        let finding = taken(&other, 7, Some(&nft()));
        assert_eq!(commands(&finding), ["ipvsadm -Ln -f 7 -6", "nft -a list chain inet f c"]);
    }

    #[test]
    fn a_translation_is_broken_only_if_the_destination_differs() {
        use super::super::report::Status;
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
