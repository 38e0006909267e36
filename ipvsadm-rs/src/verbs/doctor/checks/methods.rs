//! Forwarding methods of servers that do not suit their service.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipvs::{Change, Destination, Forwarding, Protocol, Service, ServiceKey, ServiceState};

use super::super::check::{Check, Examined, Group, Outcome, Severity};
use super::super::facts::{Facts, destinations};
use super::services::{each, protocol};
use super::{CORE, ipvsadm, is_one_way};
use crate::terminal::plural::count;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "one-packet-not-udp",
        group: Group::Services,
        severity: Severity::Note,
        applies: "the table has services with one-packet scheduling",
        found_if: "such a service is not UDP",
        default: "",
        meaning: "One-packet scheduling has an effect for UDP only.",
        cure: "Remove the option -o from the service.",
        commands: &["ipvsadm -E SERVICE OPTIONS"],
        since: None,
        until: None,
        source: CORE,
        examine: one_packet_not_udp,
    },
    Check {
        id: "one-packet-masquerade",
        group: Group::Services,
        severity: Severity::Warning,
        applies: "the table has UDP services with one-packet scheduling",
        found_if: "a server uses masquerading, and the service has no persistence engine",
        default: "",
        meaning: "With one-packet scheduling, no connection remains for the reply. The reply of a server with \
                  masquerading keeps the address of the server, and the client drops it. The engine sip avoids this.",
        cure: "Use direct routing or a tunnel, or remove the option -o.",
        commands: &["ipvsadm -E SERVICE OPTIONS"],
        since: None,
        until: None,
        source: CORE,
        examine: one_packet_masquerade,
    },
    Check {
        id: "port-not-translated",
        group: Group::Services,
        severity: Severity::Warning,
        applies: "the table has servers with direct routing or tunnels",
        found_if: "such a server has another port than the service",
        default: "",
        meaning: "Direct routing and tunnels do not change the port of a packet. The server gets the port of the service. \
                  Its own port in the table has no effect.",
        cure: "Delete the server, and add it with the port of the service. The connections of the server end then.",
        commands: &[],
        since: None,
        until: None,
        source: "https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_xmit.c",
        examine: port_not_translated,
    },
    Check {
        id: "methods-differ",
        group: Group::Services,
        severity: Severity::Note,
        applies: "the table has servers",
        found_if: "an address is a server with masquerading in one service, and with another method in another",
        default: "",
        meaning: "One machine is a server by masquerading in one service, and by direct routing or a tunnel in another. \
                  It needs both setups: a route back through the director, and the virtual address.",
        cure: "Check that both are intended.",
        commands: &[],
        since: None,
        until: None,
        source: "",
        examine: methods_differ,
    },
];

fn one_packet_not_udp(facts: &Facts) -> Examined {
    each(
        facts,
        |state| state.service.one_packet,
        |state| {
            let protocol = protocol(&state.service).filter(|protocol| *protocol != Protocol::Udp)?;
            let changed = Service { one_packet: false, ..state.service };
            Some((format!("one-packet scheduling of {protocol}."), Some(ipvsadm(&Change::EditService(changed)))))
        },
    )
}

fn one_packet_masquerade(facts: &Facts) -> Examined {
    let is_affected = |state: &ServiceState| {
        state.service.one_packet && protocol(&state.service).is_none_or(|protocol| protocol == Protocol::Udp)
    };
    each(facts, is_affected, |state| {
        let masqueraded = destinations(state).filter(|server| server.forwarding == Forwarding::Masquerade).count();
        let servers = count(masqueraded as u64, "server");
        let changed = Service { one_packet: false, ..state.service };
        let seen = format!("one-packet scheduling, and {servers} with masquerading.");
        // An engine, sip, makes connections for the packets of servers.
        // <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_core.c> (`__ip_vs_rs_conn_out`)
        (masqueraded > 0 && state.service.engine.is_none())
            .then(|| (seen, Some(ipvsadm(&Change::EditService(changed)))))
    })
}

fn port_not_translated(facts: &Facts) -> Examined {
    let has_one_way = |state: &ServiceState| {
        state.service.key.port().is_some_and(|port| port != 0)
            && destinations(state).any(|server| is_one_way(&server.forwarding))
    };
    each(facts, has_one_way, |state| {
        let port = state.service.key.port()?;
        let is_bad = |server: &&Destination| is_one_way(&server.forwarding) && server.key.port != port;
        let bad: Vec<String> = destinations(state).filter(is_bad).map(|server| server.key.to_string()).collect();
        let more = if bad.len() > 3 { format!(" and {} more", bad.len() - 3) } else { String::new() };
        let shown = bad.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        (!bad.is_empty()).then(|| (format!("the port of {shown}{more} has no effect."), None))
    })
}

fn methods_differ(facts: &Facts) -> Examined {
    // The service and the method of each address, for masquerading and for the other methods.
    let mut ways: BTreeMap<IpAddr, [Option<(ServiceKey, Forwarding)>; 2]> = BTreeMap::new();
    for (service, server) in facts.servers()? {
        let is_masqueraded = server.forwarding == Forwarding::Masquerade;
        if is_masqueraded || is_one_way(&server.forwarding) {
            let ways = ways.entry(server.key.address).or_default();
            ways[usize::from(is_masqueraded)].get_or_insert((service.service.key, server.forwarding));
        }
    }
    if ways.is_empty() {
        return Ok(Outcome::DoesNotApply);
    }
    let seen = ways.iter().filter_map(|(address, ways)| {
        let [Some((one, one_way)), Some((other, masquerade))] = ways else { return None };
        Some(format!("Server {address}: {one_way} in {one}, {masquerade} in {other}."))
    });
    Ok(Outcome::of(seen.collect(), Vec::new()))
}
