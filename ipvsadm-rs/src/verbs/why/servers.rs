//! The way of a packet from the director to a server.

use std::net::IpAddr;

use ipvs::{Change, Destination, DestinationKey, DestinationState, Family, Forwarding, ServiceKey, Tunnel};

use super::report::{Finding, Steps};
use super::subject::{Subject, options_of};
use crate::network::{Network, Reachable, Route, RouteError, RouteKind, is_in, tunnel};
use crate::terminal::commands::{Command, quoted, quoted_line};

/// The maximum number of servers that are examined.
const MOST: usize = 1000;

/// The way to a server, as far as it is known.
pub(super) struct Way {
    pub(super) server: DestinationState,
    pub(super) route: Route,
    /// The name of the device.
    pub(super) device: String,
}

impl Way {
    /// Returns whether packets to the server are delivered on the director itself.
    pub(super) fn is_local(&self) -> bool {
        self.route.kind == RouteKind::Local
    }
}

/// Checks the way to each server that has a weight. Returns the ways that exist.
pub(super) fn check(network: &mut Network, subject: &Subject, steps: &mut Steps<'_>) -> anyhow::Result<Vec<Way>> {
    let servers: Vec<&DestinationState> = subject.servers().take(MOST).collect();
    let ports = servers.iter().filter_map(|server| Some((server.destination.key, port(subject, server)?)));
    steps.add_all(ports.collect());
    let (mut ways, mut routes) = (Vec::new(), Vec::new());
    for server in servers {
        let key = server.destination.key;
        match network.route(key.address.into()) {
            Ok(route) => {
                let device = network.link(route.device)?;
                let way = Way { server: server.clone(), route, device: device.name };
                routes.push((key, way_of(&way, device.has_carrier, subject)));
                ways.push(way);
            }
            Err(error) => routes.push((key, no_route(network, key.address, error)?)),
        }
    }
    steps.add_all(routes);
    let mut neighbours = Vec::new();
    for way in ways.iter().filter(|way| !way.is_local()) {
        if let Some(finding) = neighbour(network, way)? {
            neighbours.push((way.server.destination.key, finding));
        }
    }
    steps.add_all(neighbours);
    let mut tunnels = Vec::new();
    for way in &ways {
        let key = way.server.destination.key;
        if let Forwarding::Tunnel(tunnel) = way.server.destination.forwarding
            && !way.is_local()
        {
            tunnels.extend(source(subject, way).map(|finding| (key, finding)));
            tunnels.push((key, fits(network, way, tunnel)?));
        }
    }
    steps.add_all(tunnels);
    let others = subject.servers().count().saturating_sub(MOST);
    if others > 0 {
        steps.add(Finding::unknown("servers", format!("{others} more servers were not checked")));
    }
    let drained = subject.state.destinations.iter().filter(|server| server.destination.weight == 0);
    let drained: Vec<(DestinationKey, Finding)> = drained
        .map(|server| {
            (server.destination.key, Finding::unknown("weight", "not checked: weight 0, gets no new clients"))
        })
        .collect();
    steps.add_all(drained);
    Ok(ways)
}

/// Returns the name of a forwarding method in a sentence.
pub(super) fn method(forwarding: Forwarding) -> &'static str {
    match forwarding {
        Forwarding::Masquerade => "masquerading",
        Forwarding::Local => "local delivery",
        Forwarding::Tunnel(Tunnel::Ipip) => "IP-in-IP tunnel",
        Forwarding::Tunnel(Tunnel::Gue { .. }) => "GUE tunnel",
        Forwarding::Tunnel(Tunnel::Gre { .. }) => "GRE tunnel",
        Forwarding::Tunnel(Tunnel::Other { .. }) => "unknown tunnel",
        Forwarding::DirectRoute => "direct routing",
        Forwarding::Bypass => "bypass",
        Forwarding::Other(_) => "unknown method",
    }
}

/// Checks that the server has the port of the service if the method cannot change it.
fn port(subject: &Subject, server: &DestinationState) -> Option<Finding> {
    let ServiceKey::Address { port, .. } = subject.state.service.key else { return None };
    let destination = server.destination;
    if let Forwarding::Other(number) = destination.forwarding {
        return Some(Finding::broken("method", format!("forwarding method {number} drops every packet"), ""));
    }
    let keeps_port = matches!(destination.forwarding, Forwarding::DirectRoute | Forwarding::Tunnel(_));
    if !keeps_port || port == 0 || destination.key.port == port {
        return None;
    }
    let method = method(destination.forwarding);
    let why =
        format!("Packets arrive at the server with the port of the service, {port}. Only masquerading changes it.");
    let service = subject.state.service.key;
    let right = Destination { key: DestinationKey { port, ..destination.key }, ..destination };
    let mut finding =
        Finding::broken("port", format!("{method} cannot change the port to {}", destination.key.port), why);
    // First the new server, so that the service always has one.
    let exists = subject.state.destinations.iter().any(|server| server.destination.key == right.key);
    let add = (!exists).then_some(Change::AddDestination(service, right));
    for change in add.into_iter().chain([Change::DeleteDestination(service, destination.key)]) {
        finding = finding.cure(Command::director(format!("ipvsadm {}", quoted_line(&change.to_string()))));
    }
    Some(finding)
}

/// Describes an existing route, and checks that it suits the forwarding method.
fn way_of(way: &Way, has_carrier: bool, subject: &Subject) -> Finding {
    let Way { server, route, device } = way;
    let method = method(server.destination.forwarding);
    if way.is_local() {
        return Finding::good("route", format!("{method}, delivered on this director, which has the address"));
    }
    if route.kind == RouteKind::Other {
        return Finding::broken("route", "the address is not a unicast address of a server", "");
    }
    if !has_carrier {
        let why = format!("The cable of {device} is unplugged, or the other end is down.");
        return Finding::broken("carrier", format!("{device}, the device towards it, has no carrier"), why)
            .cure(Command::director(format!("ip link show {}", quoted(device))));
    }
    let Some(gateway) = route.gateway else {
        return Finding::good("route", format!("{method}, on the segment of {device}"));
    };
    if server.destination.forwarding != Forwarding::DirectRoute {
        return Finding::good("route", format!("{method}, through {gateway} on {device}"));
    }
    let why = "Direct routing leaves the packet unchanged. The router would send it to the virtual address, not to the \
               server. Use a tunnel or masquerading for this server.";
    let service = options_of(subject.state.service.key);
    let key = quoted(&server.destination.key.to_string());
    let text = format!("direct routing, but the router {gateway} is between director and server");
    let vip = subject.followed.target.map_or_else(|| "VIP".to_owned(), |target| target.ip().to_string());
    Finding::broken("segment", text, why)
        .cure(Command::director(format!("ipvsadm-rs set {service} -r {key} --forwarding ipip")))
        .cure(Command::server(format!(
            "ipvsadm-rs rs-setup --mode tun-ipip --vip {vip} --own {} | sh -e",
            server.destination.key.address
        )))
}

fn no_route(network: &mut Network, address: IpAddr, error: RouteError) -> anyhow::Result<Finding> {
    let kind = match error {
        RouteError::NotRead(error) => return Ok(Finding::unknown("route", format!("route not checked: {error}"))),
        RouteError::Prohibited => "a route of type prohibit refuses packets to it",
        RouteError::Invalid => "a route of type blackhole drops packets to it, or the address is not valid",
        RouteError::Unreachable | RouteError::ReversePath => "there is no route to it",
    };
    for other in network.addresses(Family::of(address), None)? {
        let device = network.link(other.device)?;
        if !device.is_up && is_in(address, other.address, other.length) {
            let text = format!("{}, the device of its network, is down", device.name);
            return Ok(Finding::broken("device", text, "")
                .cure(Command::director(format!("ip link set {} up", quoted(&device.name)))));
        }
    }
    let length = if address.is_ipv4() { 32 } else { 128 };
    let family = if address.is_ipv4() { "" } else { " -6" };
    Ok(Finding::broken("route", kind, "")
        .cure(Command::director(format!("ip{family} route show match {address}")))
        .cure(Command::director(format!("ip{family} route replace {address}/{length} via ROUTER"))))
}

/// Checks that the server, or the router before it, answers on the segment.
fn neighbour(network: &mut Network, way: &Way) -> anyhow::Result<Option<Finding>> {
    let address = way.server.destination.key.address;
    let hop = way.route.gateway.unwrap_or(address);
    let device = &way.device;
    let question = if hop.is_ipv4() { "ARP" } else { "neighbour solicitations" };
    let router = way.route.gateway.map_or_else(String::new, |gateway| format!("the router {gateway} "));
    let neighbour = match network.neighbour(way.route.device, hop) {
        Ok(neighbour) => neighbour,
        Err(error) => return Ok(Some(Finding::unknown("neighbour", format!("neighbour not checked: {error}")))),
    };
    Ok(match neighbour.reachable {
        Reachable::Yes => Some(Finding::good("neighbour", format!("{router}answered {question} on {device}"))),
        Reachable::Unknown => None,
        Reachable::No | Reachable::Asked => {
            let why = format!("It is off, has another address, or is not on the segment of {device}.");
            Some(
                Finding::broken("neighbour", format!("{router}did not answer {question} on {device}"), why)
                    .cure(Command::director(format!("ip neigh show {hop} dev {}", quoted(device))))
                    .cure(Command::server("ip -brief address")),
            )
        }
    })
}

/// Checks that the outer packets of a tunnel do not have the virtual address as their source.
fn source(subject: &Subject, way: &Way) -> Option<Finding> {
    let vip = subject.followed.target?.ip();
    if way.route.source != Some(vip) {
        return None;
    }
    let why = "The server has the same address, so it drops the packets as forged. The kernel selects the source of the \
               route to the server.";
    let address = way.server.destination.key.address;
    let family = if address.is_ipv4() { "" } else { " -6" };
    let via = way.route.gateway.map_or_else(String::new, |gateway| format!("via {gateway} "));
    let command = format!("ip{family} route replace {address} {via}dev {} src OWN-ADDRESS", quoted(&way.device));
    let text = format!("the packets of the tunnel have the source {vip}, the virtual address");
    Some(Finding::broken("tunnel_source", text, why).cure(Command::director(command)))
}

/// Checks the length of packets that fit in a tunnel.
fn fits(network: &mut Network, way: &Way, tunnel: Tunnel) -> anyhow::Result<Finding> {
    let is_ipv4 = way.server.destination.key.address.is_ipv4();
    let overhead = u32::from(tunnel::overhead(tunnel, Family::of(way.server.destination.key.address)));
    let link = network.link(way.route.device)?;
    let mtu = way.route.mtu.unwrap_or(link.mtu);
    let fits = mtu.saturating_sub(overhead);
    // `__ip_vs_get_out_rt` and `__ip_vs_get_out_rt_v6`, by the family of the server,
    // https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_xmit.c
    let least = if is_ipv4 { 68 } else { 1280 };
    if fits >= least {
        return Ok(Finding::good("mtu", format!("packets of at most {fits} bytes fit in the tunnel")));
    }
    let device = &way.device;
    let text = format!("no packet fits in the tunnel, because the MTU to the server is {mtu}");
    let why = format!(
        "The headers of the tunnel take {overhead} bytes. The kernel drops all packets if less than {least} bytes \
         are left."
    );
    let needed = least + overhead;
    let command = format!("ip link set {} mtu {}", quoted(device), needed.max(1500));
    Ok(Finding::broken("mtu", text, why).cure(Command::director(command)))
}

#[cfg(test)]
mod tests {
    use super::super::subject::tests::subject;
    use super::*;

    #[test]
    fn another_port_keeps_the_other_settings_of_the_server() {
        let mut subject = subject("-A -t [fd01::1]:80 -s rr\n-a -t [fd01::1]:80 -r [fd02::1]:80 -i\n", None, None);
        let server = &mut subject.state.destinations[0].destination;
        server.key.port = 8080;
        (server.weight, server.upper_threshold, server.lower_threshold) = (7, 100, 50);
        server.forwarding =
            Forwarding::Tunnel(Tunnel::Gue { port: std::num::NonZero::<u16>::MIN, checksum: ipvs::GueChecksum::Full });
        let finding = port(&subject, &subject.state.destinations[0]).expect("a finding");
        let commands: Vec<&str> = finding.cures.iter().map(Command::text).collect();
        assert_eq!(
            commands,
            [
                "ipvsadm -a -t '[fd01::1]:80' -r '[fd02::1]:80' -i -w 7 -x 100 -y 50 --tun-type gue --tun-port 1 \
                 --tun-csum",
                "ipvsadm -d -t '[fd01::1]:80' -r '[fd02::1]:8080'",
            ]
        );
    }
}
