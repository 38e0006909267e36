//! Services that refuse clients, and tables that are empty.

use ipvs::{Protocol, Service, ServiceKey, ServiceState};

use super::super::check::{Check, Examined, Finding, Group, NotChecked, Outcome, Severity};
use super::super::facts::Facts;
use super::CORE;
use crate::sight::condition::{self, Assessment, Problem};
use crate::terminal::commands::{Command, quoted};
use crate::terminal::plural::count;
use crate::terminal::text;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "no-services",
        group: Group::Services,
        severity: Severity::Note,
        applies: "always",
        found_if: "the table has no services",
        default: "",
        meaning: "The table of this network namespace is empty, so nothing is balanced in it.",
        cure: "Restore the rules with `ipvsadm-restore`, or check another network namespace with --netns.",
        commands: &[],
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
        found_if: "another network namespace has services",
        default: "",
        meaning: "Containers and `ip netns` have tables of their own. ipvsadm shows only the table of its own namespace.",
        cure: "Check the others with --netns.",
        commands: &["ipvsadm-rs doctor --netns NAMESPACE"],
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
        found_if: "a service has no servers",
        default: "",
        meaning: "The service refuses all new clients, because it has no servers.",
        cure: "Add a server with `ipvsadm -a`, or delete the service.",
        commands: &[],
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
        found_if: "all servers of a service have weight 0",
        default: "",
        meaning: "The service refuses all new clients, because no server has a weight above 0. Servers are drained, or a \
                  health checker found them down.",
        cure: "Check the health checker. `ipvsadm-rs undrain SERVER` ends a drain.",
        commands: &[],
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
        found_if: "a service with servers of a weight above 0 refuses all new clients",
        default: "",
        meaning: "The service refuses all new clients for the reason shown. Servers can be full, or the service has no \
                  scheduler.",
        cure: "Raise the upper threshold of a server, or set a scheduler with `ipvsadm -E`.",
        commands: &[],
        since: None,
        until: None,
        source: "",
        examine: |facts| of_problem(facts, Problem::RefusesAll),
    },
    Check {
        id: "servers-full",
        group: Group::Services,
        severity: Severity::Warning,
        applies: "the table has services",
        found_if: "a server is full, and its service accepts other clients",
        default: "",
        meaning: "A server has as many connections as its upper threshold, and gets no new ones. Inactive connections \
                  count, too.",
        cure: "Raise the threshold, add servers, or shorten timeouts.",
        commands: &[],
        since: None,
        until: None,
        source: "",
        examine: |facts| of_problem(facts, Problem::Full),
    },
    Check {
        id: "protocol-not-scheduled",
        group: Group::Services,
        severity: Severity::Error,
        applies: "the table has services",
        found_if: "a service has another protocol than TCP, UDP and SCTP",
        default: "",
        meaning: "The kernel accepts a service of any protocol, but schedules only TCP, UDP and SCTP.",
        cure: "Delete the service. A firewall mark does not serve other protocols, either.",
        commands: &[],
        since: None,
        until: None,
        source: CORE,
        examine: protocols,
    },
];

/// Examines each service. `applies` selects them; `examine` returns a sentence and a command.
pub(super) fn each(
    facts: &Facts,
    applies: impl Fn(&ServiceState) -> bool,
    examine: impl Fn(&ServiceState) -> Option<(String, Option<Command>)>,
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

pub(super) fn protocol(service: &Service) -> Option<Protocol> {
    match service.key {
        ServiceKey::Address { protocol, .. } => Some(Protocol::from_number(protocol.number())),
        ServiceKey::Fwmark { .. } => None,
    }
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
        commands.push(Command::director(format!("ipvsadm-rs doctor --netns {}", quoted(&name))));
    }
    if others.unchecked > 0 {
        let why = format!("{} could not be read", count(others.unchecked as u64, "network namespace"));
        if seen.is_empty() {
            return Err(NotChecked(why));
        }
        seen.push(format!("{why}."));
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
