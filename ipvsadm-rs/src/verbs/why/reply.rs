//! The way of replies through the director, with masquerading.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use ipvs::{DestinationKey, Family, Forwarding};

use super::report::{Finding, Steps};
use super::servers::Way;
use super::subject::{Subject, options_of};
use crate::network::{Network, RouteError, is_in, sysctl};
use crate::terminal::commands::{Command, set_device};

/// Checks that the director forwards the replies of masqueraded servers.
pub(super) fn check(
    network: &mut Network,
    subject: &Subject,
    ways: &[Way],
    steps: &mut Steps<'_>,
) -> anyhow::Result<()> {
    let masquerades = |way: &&Way| way.server.destination.forwarding == Forwarding::Masquerade && !way.is_local();
    let ways: Vec<&Way> = ways.iter().filter(masquerades).collect();
    if ways.is_empty() {
        return Ok(());
    }
    let devices: BTreeSet<&str> = ways.iter().map(|way| way.device.as_str()).collect();
    forwards(subject.state.service.key.family(), &devices, steps);
    if let Some(client) = subject.client_or_waiting() {
        same_network(network, subject, client, &ways, steps)?;
        route_to(network, client, steps)?;
    }
    Ok(())
}

/// Checks that the director forwards packets that arrive on these devices.
fn forwards(family: Family, devices: &BTreeSet<&str>, steps: &mut Steps<'_>) {
    let (setting, all) = match family {
        Family::V4 => ("net.ipv4.ip_forward", sysctl::number("ipv4/ip_forward")),
        Family::V6 => ("net.ipv6.conf.all.forwarding", sysctl::of_device("ipv6", "all", "forwarding")),
    };
    let (mut off, mut unread) = (Vec::new(), None);
    for device in devices {
        match is_forwarding(family, device, &all) {
            Ok(true) => {}
            Ok(false) => off.push(*device),
            Err(error) => unread = Some(format!("forwarding from {device} was not checked: {error}")),
        }
    }
    if off.is_empty() {
        let devices: Vec<&str> = devices.iter().copied().collect();
        let good = || Finding::good("forwarding", format!("the director forwards replies from {}", devices.join(", ")));
        steps.add(unread.map_or_else(good, |text| Finding::unknown("forwarding", text)));
        return;
    }
    let text = format!("the director does not forward the replies of servers from {}", off.join(", "));
    let why = "The kernel drops the replies, because it is not a router for them.";
    let mut finding = Finding::broken("forwarding", text, why);
    if family == Family::V6 || all.is_ok_and(|value| value == 0) {
        // For IPv4, this also sets the setting of each device.
        finding = finding.cure(Command::director(format!("sysctl -w {setting}=1")));
    } else {
        for device in off {
            finding = finding.cure(Command::director(set_device("ipv4", device, "forwarding", 1)));
        }
    }
    steps.add(finding);
}

/// Returns whether the director forwards packets that arrive on a device. IPv4 checks the setting of the device only
/// (`ip_route_input_slow`, <https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/route.c>). IPv6 checks `all`, and since
/// Linux 6.17 also `force_forwarding` of the device (`ip6_forward`,
/// <https://elixir.bootlin.com/linux/v6.17/source/net/ipv6/ip6_output.c>).
fn is_forwarding(family: Family, device: &str, all: &io::Result<i64>) -> io::Result<bool> {
    if family == Family::V4 {
        return sysctl::of_device("ipv4", device, "forwarding").map(|value| value != 0);
    }
    match all {
        Ok(0) => match sysctl::of_device("ipv6", device, "force_forwarding") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            read => read.map(|value| value != 0),
        },
        Ok(_) => Ok(true),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}

/// Checks that the client is not in the network of a server, which would reply to it directly.
fn same_network(
    network: &mut Network,
    subject: &Subject,
    client: IpAddr,
    ways: &[&Way],
    steps: &mut Steps<'_>,
) -> anyhow::Result<()> {
    let mut found: Vec<(DestinationKey, Finding)> = Vec::new();
    let conntrack = sysctl::number("ipv4/vs/conntrack");
    let service = options_of(subject.state.service.key);
    for way in ways.iter().filter(|way| way.route.gateway.is_none()) {
        let server = way.server.destination.key;
        let addresses = network.addresses(Family::of(server.address), Some(way.route.device))?;
        let is_shared = |own: &crate::network::Address| {
            is_in(server.address, own.address, own.length) && is_in(client, own.address, own.length)
        };
        let Some(own) = addresses.into_iter().find(is_shared) else { continue };
        if own.address == client {
            continue;
        }
        let text = format!("the client {client} is in its network, so replies do not pass through the director");
        found.push((
            server,
            match &conntrack {
                Ok(1..) => {
                    Finding::unknown("same_network", format!("{text}, unless a rule rewrites the source address"))
                }
                _ => {
                    let source = way.route.source.unwrap_or(own.address);
                    let why = "The client drops them, because they come from an unexpected address. With connection \
                               tracking and a firewall rule, the servers reply to the director.";
                    let command = format!("ipvsadm-rs snat-rules {service} --to-source {source} | sh -e");
                    Finding::broken("same_network", text, why).cure(Command::director(command))
                }
            },
        ));
    }
    steps.add_all(found);
    Ok(())
}

/// Checks that the director has a route to the client.
fn route_to(network: &mut Network, client: IpAddr, steps: &mut Steps<'_>) -> anyhow::Result<()> {
    steps.add(match network.route(client.into()) {
        Ok(route) => {
            let device = network.link(route.device)?.name;
            let way = route.gateway.map_or_else(String::new, |gateway| format!("through {gateway} "));
            Finding::good("route_back", format!("replies to {client} leave {way}on {device}"))
        }
        Err(RouteError::NotRead(error)) => {
            Finding::unknown("route_back", format!("the route to {client} was not checked: {error}"))
        }
        Err(_) => {
            let family = if client.is_ipv4() { "" } else { " -6" };
            let text = format!("the director has no route to the client {client}");
            Finding::broken("route_back", text, "The kernel drops the replies of servers to this client.")
                .cure(Command::director(format!("ip{family} route replace {client} via ROUTER")))
        }
    });
    Ok(())
}
