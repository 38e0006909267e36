//! Persistent services, and services that should be persistent.

use ipvs::{Change, Protocol, Service, ServiceState};

use super::super::check::{Check, Examined, Finding, Group, NotChecked, Outcome, Severity};
use super::super::facts::Facts;
use super::services::{each, protocol};
use super::{CORE, SYSCTL_DOC, ipvsadm, set};
use crate::terminal::plural::count;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "any-port-not-persistent",
        group: Group::Services,
        severity: Severity::Error,
        applies: "the table has services with port 0",
        found_if: "such a service is not persistent",
        default: "",
        meaning: "A service with port 0 serves all ports without a service of their own, but only if it is persistent. \
                  Otherwise the kernel refuses each connection.",
        cure: "Make the service persistent, or serve the ports by a firewall mark. The command sets a timeout of 300 \
               s.",
        commands: &["ipvsadm -E SERVICE OPTIONS"],
        since: None,
        until: None,
        source: CORE,
        examine: any_port,
    },
    Check {
        id: "engine-without-effect",
        group: Group::Services,
        severity: Severity::Warning,
        applies: "the table has services with a persistence engine",
        found_if: "such a service is not persistent or not UDP, and does not use one-packet scheduling of UDP",
        default: "",
        meaning: "A persistence engine needs persistence. The engine sip also needs UDP. Without persistence, it only \
                  serves one-packet scheduling of UDP.",
        cure: "Make the service persistent, or remove the engine.",
        commands: &[],
        since: None,
        until: None,
        source: "https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_pe_sip.c",
        examine: engine,
    },
    Check {
        id: "draining-with-templates",
        group: Group::Services,
        severity: Severity::Warning,
        applies: "the table has persistent services, and a server with weight 0 has persistence templates",
        found_if: "net.ipv4.vs.expire_quiescent_template is 0",
        default: "0",
        meaning: "Persistence sends known clients to this server as long as they return, although its weight is 0. The \
                  drain may never end.",
        cure: "Let the kernel ignore such templates.",
        commands: &["sysctl -w net.ipv4.vs.expire_quiescent_template=1"],
        since: None,
        until: None,
        source: SYSCTL_DOC,
        examine: draining_with_templates,
    },
    Check {
        id: "expire-quiescent-template",
        group: Group::Services,
        severity: Severity::Note,
        applies: "the table has persistent services",
        found_if: "net.ipv4.vs.expire_quiescent_template is 0",
        default: "0",
        meaning: "With 0, persistence sends known clients to a server of weight 0 as long as they return. Health checkers \
                  that set weight 0 do not protect these clients.",
        cure: "Set it to 1, unless a drain must not move known clients.",
        commands: &["sysctl -w net.ipv4.vs.expire_quiescent_template=1"],
        since: None,
        until: None,
        source: SYSCTL_DOC,
        examine: expire_quiescent_template,
    },
];

fn any_port(facts: &Facts) -> Examined {
    each(
        facts,
        |state| state.service.key.port() == Some(0),
        |state| {
            let changed = Service { persistence: Some(300), ..state.service };
            let is_bad = state.service.persistence.is_none();
            is_bad.then(|| ("port 0 without persistence.".into(), Some(ipvsadm(&Change::EditService(changed)))))
        },
    )
}

fn engine(facts: &Facts) -> Examined {
    each(
        facts,
        |state| state.service.engine.is_some(),
        |state| {
            let engine = state.service.engine?;
            // The engine makes connections for the packets of servers, also without persistence.
            if state.service.one_packet && protocol(&state.service).is_none_or(|protocol| protocol == Protocol::Udp) {
                return None;
            }
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
        Some((seen, Some(set("expire_quiescent_template", 1))))
    })
}

fn expire_quiescent_template(facts: &Facts) -> Examined {
    let Some(ignores) = ignores_templates(facts)? else { return Ok(Outcome::DoesNotApply) };
    if ignores {
        return Ok(Outcome::Passed);
    }
    let command = set("expire_quiescent_template", 1);
    Ok(Finding::new("net.ipv4.vs.expire_quiescent_template is 0.").command(command).into())
}
