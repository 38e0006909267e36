//! Services and servers: settings that refuse clients, or have no effect.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipvs::{Change, Destination, Forwarding, Protocol, Scheduler, SchedulerFlags, Service, ServiceKey, ServiceState};

use super::super::check::{Check, Examined, Finding, Group, NotChecked, Outcome, Severity};
use super::super::facts::{Facts, destinations};
use crate::sight::condition::{self, Assessment, Problem};
use crate::terminal::plural::count;
use crate::terminal::text;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "no-services",
        group: Group::Services,
        severity: Severity::Note,
        applies: "always",
        meaning: "The table of this network namespace is empty, so nothing is balanced in it.",
        cure: "Restore the rules with `ipvsadm-restore`, or look for the table in another namespace.",
        since: None,
        until: None,
        source: "",
        examine: no_services,
    },
    Check {
        id: "other-namespaces",
        group: Group::Services,
        severity: Severity::Note,
        applies: "the network namespaces of this machine can be listed",
        meaning: "Containers and `ip netns` have tables of their own. ipvsadm shows only the table of its own namespace.",
        cure: "Check the others with --netns.",
        since: None,
        until: None,
        source: "",
        examine: other_namespaces,
    },
    Check {
        id: "service-without-servers",
        group: Group::Services,
        severity: Severity::Error,
        applies: "the table has services",
        meaning: "The service refuses all new clients, because it has no servers.",
        cure: "Add a server with `ipvsadm -a`, or delete the service.",
        since: None,
        until: None,
        source: "",
        examine: |facts| of_problem(facts, Problem::NoServers),
    },
    Check {
        id: "service-all-weight-0",
        group: Group::Services,
        severity: Severity::Error,
        applies: "the table has services",
        meaning: "The service refuses all new clients, because no server has a weight above 0. Either all were drained, \
                  or a health checker found all of them down.",
        cure: "Look at the health checker. `ipvsadm-rs undrain SERVER` ends a drain.",
        since: None,
        until: None,
        source: "",
        examine: |facts| of_problem(facts, Problem::AllWeight0),
    },
    Check {
        id: "service-refuses-all",
        group: Group::Services,
        severity: Severity::Error,
        applies: "the table has services",
        meaning: "The service refuses all new clients for the reason shown. Servers can be full, or the service has no \
                  scheduler.",
        cure: "Raise the upper threshold of a server, or set a scheduler with `ipvsadm -E`.",
        since: None,
        until: None,
        source: "",
        examine: |facts| of_problem(facts, Problem::RefusesAll),
    },
    Check {
        id: "hash-without-fallback",
        group: Group::Services,
        severity: Severity::Warning,
        applies: "the table has services with the schedulers sh, mh or dh",
        meaning: "These schedulers select the server of a client by a hash. Without a fallback, clients of a server with \
                  weight 0 are refused. dh has no fallback.",
        cure: "Set the flag for the fallback, which exists since Linux 3.11. For dh, delete the server, or use mh.",
        since: None,
        until: None,
        source: "https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_sh.c",
        examine: hash_without_fallback,
    },
    Check {
        id: "hash-with-thresholds",
        group: Group::Services,
        severity: Severity::Warning,
        applies: "the table has services with the schedulers sh, mh or dh",
        meaning: "A server that is full refuses its share of clients if the scheduler has no fallback, although other \
                  servers have room.",
        cure: "Set the flag for the fallback, or remove the thresholds. dh has no fallback.",
        since: None,
        until: None,
        source: "https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_sh.c",
        examine: hash_with_thresholds,
    },
    Check {
        id: "servers-full",
        group: Group::Services,
        severity: Severity::Warning,
        applies: "the table has services",
        meaning: "A server has as many connections as its upper threshold, and gets no new ones. Inactive connections \
                  count, too.",
        cure: "Raise the threshold, add servers, or shorten timeouts.",
        since: None,
        until: None,
        source: "",
        examine: |facts| of_problem(facts, Problem::Full),
    },
    Check {
        id: "weights-ignored",
        group: Group::Services,
        severity: Severity::Note,
        applies: "the table has services with the schedulers rr, lc or dh",
        meaning: "These schedulers ignore weights above 0: all servers get the same share.",
        cure: "Use a scheduler with weights, such as wrr for rr, wlc for lc, or mh for dh.",
        since: None,
        until: None,
        source: "",
        examine: weights_ignored,
    },
    Check {
        id: "weights-far-apart",
        group: Group::Services,
        severity: Severity::Note,
        applies: "the table has services with several servers",
        meaning: "One weight is more than 1000 times another. The server with the small weight gets nearly no clients, \
                  which often is a typing error.",
        cure: "Check the weights.",
        since: None,
        until: None,
        source: "",
        examine: weights_far_apart,
    },
    Check {
        id: "any-port-not-persistent",
        group: Group::Services,
        severity: Severity::Error,
        applies: "the table has services with port 0",
        meaning: "A service with port 0 serves all ports without a service of their own, but only if it is persistent. \
                  Otherwise the kernel refuses each connection.",
        cure: "Make the service persistent, or serve the ports by a firewall mark.",
        since: None,
        until: None,
        source: super::CORE,
        examine: any_port,
    },
    Check {
        id: "protocol-not-scheduled",
        group: Group::Services,
        severity: Severity::Error,
        applies: "the table has services",
        meaning: "The kernel accepts a service of any protocol, but schedules only TCP, UDP and SCTP.",
        cure: "Delete the service. A firewall mark does not serve other protocols, either.",
        since: None,
        until: None,
        source: super::CORE,
        examine: protocols,
    },
    Check {
        id: "one-packet-not-udp",
        group: Group::Services,
        severity: Severity::Note,
        applies: "the table has services with one-packet scheduling",
        meaning: "One-packet scheduling has an effect for UDP only.",
        cure: "Remove the option -o from the service.",
        since: None,
        until: None,
        source: super::CORE,
        examine: one_packet_not_udp,
    },
    Check {
        id: "one-packet-masquerade",
        group: Group::Services,
        severity: Severity::Warning,
        applies: "the table has UDP services with one-packet scheduling",
        meaning: "With one-packet scheduling, no connection remains for the reply. The reply of a server with \
                  masquerading keeps the address of the server, and the client drops it.",
        cure: "Use direct routing or a tunnel, or remove the option -o.",
        since: None,
        until: None,
        source: super::CORE,
        examine: one_packet_masquerade,
    },
    Check {
        id: "engine-without-effect",
        group: Group::Services,
        severity: Severity::Warning,
        applies: "the table has services with a persistence engine",
        meaning: "A persistence engine needs persistence. The engine sip also needs UDP.",
        cure: "Make the service persistent, or remove the engine.",
        since: None,
        until: None,
        source: "https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_pe_sip.c",
        examine: engine,
    },
    Check {
        id: "port-not-translated",
        group: Group::Services,
        severity: Severity::Warning,
        applies: "the table has servers with direct routing or tunnels",
        meaning: "Direct routing and tunnels do not change the port of a packet. The server gets the port of the service, \
                  whatever its own port in the table is.",
        cure: "Delete the server, and add it with the port of the service. The connections of the server end then.",
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
        meaning: "One machine is a server by masquerading in one service, and by direct routing or a tunnel in another. \
                  It needs both setups: a route back through the director, and the virtual address.",
        cure: "Check that both are meant.",
        since: None,
        until: None,
        source: "",
        examine: methods_differ,
    },
    Check {
        id: "draining-with-templates",
        group: Group::Services,
        severity: Severity::Warning,
        applies: "the table has persistent services, and a server with weight 0 has persistence templates",
        meaning: "Persistence sends known clients to this server as long as they return, although its weight is 0. The \
                  drain may never end.",
        cure: "Let the kernel ignore such templates.",
        since: None,
        until: None,
        source: super::SYSCTL_DOC,
        examine: draining_with_templates,
    },
    Check {
        id: "expire-quiescent-template",
        group: Group::Services,
        severity: Severity::Note,
        applies: "the table has persistent services",
        meaning: "With 0, persistence sends known clients to a server of weight 0 as long as they return. Health checkers \
                  that set weight 0 do not protect these clients.",
        cure: "Set it to 1, unless a drain must not move known clients.",
        since: None,
        until: None,
        source: super::SYSCTL_DOC,
        examine: expire_quiescent_template,
    },
];

/// Returns the line of ipvsadm that makes a change.
fn ipvsadm(change: Change) -> String {
    format!("ipvsadm {change}")
}

/// Examines each service. `applies` selects them; `examine` returns a sentence and a command.
fn each(
    facts: &Facts,
    applies: impl Fn(&ServiceState) -> bool,
    examine: impl Fn(&ServiceState) -> Option<(String, Option<String>)>,
) -> Examined {
    let mut services: Vec<&ServiceState> = facts.services()?.iter().filter(|service| applies(service)).collect();
    services.sort_by_key(|service| service.service.key);
    if services.is_empty() {
        return Ok(Outcome::DoesNotApply);
    }
    let (mut seen, mut commands) = (Vec::new(), Vec::new());
    for service in services {
        if let Some((sentence, command)) = examine(service) {
            seen.push(format!("{}: {}", service.service.key, text::escaped(&sentence)));
            commands.extend(command);
        }
    }
    Ok(Outcome::of(seen, commands))
}

fn no_services(facts: &Facts) -> Examined {
    Ok(if facts.services()?.is_empty() { Finding::new("The table has no services.").into() } else { Outcome::Passed })
}

fn other_namespaces(facts: &Facts) -> Examined {
    let others = facts.others.as_ref().map_err(|error| NotChecked(error.clone()))?;
    let (mut seen, mut commands) = (Vec::new(), Vec::new());
    for other in &others.tables {
        let name = other.name.to_string();
        seen.push(format!("Network namespace {}: {}.", text::escaped(&name), count(other.services as u64, "service")));
        commands.push(format!("ipvsadm-rs doctor --netns {}", super::quoted(&name)));
    }
    if seen.is_empty() && others.unreadable > 0 {
        let why = format!("{} cannot be read", count(others.unreadable as u64, "network namespace"));
        return Err(NotChecked(why));
    }
    Ok(Outcome::of(seen, commands))
}

fn of_problem(facts: &Facts, problem: Problem) -> Examined {
    if facts.services()?.is_empty() {
        return Ok(Outcome::DoesNotApply);
    }
    let mut found: Vec<_> = facts.assessed()?.filter(|(_, assessment)| assessment.problem == Some(problem)).collect();
    found.sort_by_key(|(service, _)| service.service.key);
    let seen = found.into_iter().map(|(service, Assessment { refusal, .. })| {
        let states = || condition::states_of(service.destinations.iter());
        format!("{}: {}.", service.service.key, text::escaped(&refusal.clone().unwrap_or_else(states)))
    });
    Ok(Outcome::of(seen.collect(), Vec::new()))
}

const HASHING: [Scheduler; 3] = [Scheduler::SH, Scheduler::MH, Scheduler::DH];

fn is_hashing(service: &ServiceState) -> bool {
    HASHING.contains(&service.service.scheduler)
}

/// Returns whether a hashing scheduler looks for another server.
fn has_fallback(service: &Service) -> bool {
    service.scheduler != Scheduler::DH && service.flags.contains(SchedulerFlags::FALLBACK)
}

/// Returns the command that sets the fallback. `None`: dh has none.
fn set_fallback(service: &Service) -> Option<String> {
    let changed = Service { flags: service.flags | SchedulerFlags::FALLBACK, ..*service };
    (service.scheduler != Scheduler::DH).then(|| ipvsadm(Change::EditService(changed)))
}

fn hash_without_fallback(facts: &Facts) -> Examined {
    each(facts, is_hashing, |state| {
        let drained = destinations(state).filter(|server| server.weight == 0).count();
        let is_some = drained > 0 && drained < state.destinations.len();
        let have = if drained == 1 { "has" } else { "have" };
        let seen = format!(
            "scheduler {}, no fallback, and {} {have} weight 0.",
            state.service.scheduler,
            count(drained as u64, "server")
        );
        (is_some && !has_fallback(&state.service)).then(|| (seen, set_fallback(&state.service)))
    })
}

fn hash_with_thresholds(facts: &Facts) -> Examined {
    each(facts, is_hashing, |state| {
        let limited = destinations(state).filter(|server| server.upper_threshold > 0).count();
        let have = if limited == 1 { "has" } else { "have" };
        let limited_shown = count(limited as u64, "server");
        let seen = format!(
            "scheduler {}, no fallback, and {limited_shown} {have} an upper threshold.",
            state.service.scheduler
        );
        (limited > 0 && !has_fallback(&state.service)).then(|| (seen, set_fallback(&state.service)))
    })
}

fn weights_ignored(facts: &Facts) -> Examined {
    let ignores =
        |state: &ServiceState| [Scheduler::RR, Scheduler::LC, Scheduler::DH].contains(&state.service.scheduler);
    each(facts, ignores, |state| {
        let mut weights: Vec<u32> =
            destinations(state).map(|server| server.weight).filter(|weight| *weight > 0).collect();
        weights.sort_unstable();
        weights.dedup();
        let shown: Vec<String> = weights.iter().take(5).map(u32::to_string).collect();
        let seen = format!("scheduler {} with weights {}.", state.service.scheduler, shown.join(", "));
        (weights.len() > 1).then_some((seen, None))
    })
}

fn weights_far_apart(facts: &Facts) -> Examined {
    each(
        facts,
        |state| state.destinations.len() > 1,
        |state| {
            let weights = || destinations(state).map(|server| server.weight).filter(|weight| *weight > 0);
            let (least, most) = (weights().min()?, weights().max()?);
            (most / least > 1000).then(|| (format!("weights from {least} to {most}."), None))
        },
    )
}

fn any_port(facts: &Facts) -> Examined {
    each(
        facts,
        |state| state.service.key.port() == Some(0),
        |state| {
            let changed = Service { persistence: Some(300), ..state.service };
            let is_bad = state.service.persistence.is_none();
            is_bad.then(|| ("port 0 without persistence.".into(), Some(ipvsadm(Change::EditService(changed)))))
        },
    )
}

fn protocol(service: &Service) -> Option<Protocol> {
    match service.key {
        ServiceKey::Address { protocol, .. } => Some(Protocol::from_number(protocol.number())),
        ServiceKey::Fwmark { .. } => None,
    }
}

fn protocols(facts: &Facts) -> Examined {
    each(
        facts,
        |_| true,
        |state| match protocol(&state.service) {
            Some(Protocol::Other(number)) => Some((format!("protocol {number} is never scheduled."), None)),
            _ => None,
        },
    )
}

fn one_packet_not_udp(facts: &Facts) -> Examined {
    each(
        facts,
        |state| state.service.one_packet,
        |state| {
            let protocol = protocol(&state.service).filter(|protocol| *protocol != Protocol::Udp)?;
            let changed = Service { one_packet: false, ..state.service };
            Some((format!("one-packet scheduling of {protocol}."), Some(ipvsadm(Change::EditService(changed)))))
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
        (masqueraded > 0).then(|| (seen, Some(ipvsadm(Change::EditService(changed)))))
    })
}

fn engine(facts: &Facts) -> Examined {
    each(
        facts,
        |state| state.service.engine.is_some(),
        |state| {
            let engine = state.service.engine?;
            let reason = if state.service.persistence.is_none() {
                "the service is not persistent"
            } else if protocol(&state.service).is_some_and(|protocol| protocol != Protocol::Udp) {
                "the service is not UDP"
            } else {
                return None;
            };
            Some((format!("persistence engine {engine} has no effect: {reason}."), None))
        },
    )
}

/// Returns whether a method delivers packets with the address of the service.
fn is_one_way(forwarding: Forwarding) -> bool {
    forwarding == Forwarding::DirectRoute || forwarding.tunnel().is_some()
}

fn port_not_translated(facts: &Facts) -> Examined {
    let has_one_way = |state: &ServiceState| {
        state.service.key.port().is_some_and(|port| port != 0)
            && destinations(state).any(|server| is_one_way(server.forwarding))
    };
    each(facts, has_one_way, |state| {
        let port = state.service.key.port()?;
        let is_bad = |server: &&Destination| is_one_way(server.forwarding) && server.key.port != port;
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
        if is_masqueraded || is_one_way(server.forwarding) {
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

/// Returns whether the kernel ignores templates of servers with weight 0. `None`: no service is persistent.
fn ignores_templates(facts: &Facts) -> Result<Option<bool>, NotChecked> {
    if !facts.services()?.iter().any(|state| state.service.persistence.is_some()) {
        return Ok(None);
    }
    Ok(facts.setting("expire_quiescent_template")?.map(|value| value != 0))
}

fn draining_with_templates(facts: &Facts) -> Examined {
    let Some(ignores) = ignores_templates(facts)? else { return Ok(Outcome::DoesNotApply) };
    if ignores {
        return Ok(Outcome::Passed);
    }
    let is_persistent = |state: &ServiceState| state.service.persistence.is_some();
    each(facts, is_persistent, |state| {
        let mut drained = state.destinations.iter().filter(|server| server.destination.weight == 0);
        let server = drained.find(|server| server.persistent_connections > 0)?;
        let templates = count(server.persistent_connections, "persistence template");
        let seen = format!("server {} has weight 0 and {templates}.", server.destination.key);
        Some((seen, Some(super::set("expire_quiescent_template", 1))))
    })
}

fn expire_quiescent_template(facts: &Facts) -> Examined {
    let Some(ignores) = ignores_templates(facts)? else { return Ok(Outcome::DoesNotApply) };
    if ignores {
        return Ok(Outcome::Passed);
    }
    let command = super::set("expire_quiescent_template", 1);
    Ok(Finding::new("net.ipv4.vs.expire_quiescent_template is 0.").command(command).into())
}
