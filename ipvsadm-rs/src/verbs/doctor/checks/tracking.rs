//! Connection tracking: firewall rules that see connections of IPVS.

use ipvs::{Protocol, ServiceKey, ServiceState};

use super::super::check::{Check, Examined, Finding, Group, NotChecked, Outcome, Severity};
use super::super::facts::Facts;
use super::{is_masquerade, set};
use crate::terminal::commands::Command;

const NFCT: &str = "https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_nfct.c";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "conntrack-off",
        group: Group::Tracking,
        severity: Severity::Warning,
        applies: "the table has servers with masquerading, and net.ipv4.vs.conntrack exists",
        found_if: "the setting is 0, and rules use one of the modules xt_ipvs, nft_nat, nft_masq, xt_nat and xt_MASQUERADE",
        default: "0",
        meaning: "Servers without a route back need firewall rules that change the source address of clients. Such rules \
                  see the connections of IPVS only if this setting is 1. The finding is a warning if rules use the match \
                  `ipvs` of iptables. It is a note for other rules that change addresses, because they may be for other \
                  traffic. The use count of a module is that of all network namespaces.",
        cure: "Let connection tracking see the connections.",
        commands: &["sysctl -w net.ipv4.vs.conntrack=1"],
        since: None,
        until: None,
        source: NFCT,
        examine: off,
    },
    Check {
        id: "conntrack-without-effect",
        group: Group::Tracking,
        severity: Severity::Warning,
        applies: "net.ipv4.vs.conntrack is 1, and TCP connections are active",
        found_if: "net.netfilter.nf_conntrack_count is 0",
        default: "0",
        meaning: "The setting alone tracks no connection. The kernel tracks connections in a network namespace only if a \
                  rule of its firewall needs this. Rules that change the source address have this effect.",
        cure: "Add the rules that `ipvsadm-rs snat-rules` prints, or disable the setting if there are to be none.",
        commands: &["sysctl -w net.ipv4.vs.conntrack=0"],
        since: None,
        until: None,
        source: "https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/nf_conntrack_proto.c",
        examine: without_effect,
    },
    Check {
        id: "conntrack-table",
        group: Group::Tracking,
        severity: Severity::Warning,
        applies: "the kernel tracks connections in this network namespace",
        found_if: "at least 90 % of net.netfilter.nf_conntrack_max are in use; an error if all are",
        default: "depends on the memory of the machine",
        meaning: "If the table of tracked connections is full, the kernel drops packets of new ones, also those for IPVS.",
        cure: "Raise the limit in the first network namespace of the machine, or track fewer connections.",
        commands: &["nsenter --target 1 --net sysctl -w net.netfilter.nf_conntrack_max=NUMBER"],
        since: None,
        until: None,
        source: "https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/nf_conntrack_core.c",
        examine: table,
    },
];

/// The module of the match `ipvs` of iptables.
const MATCH: &str = "xt_ipvs";
/// The modules of rules that change addresses, which may be for other connections than those of IPVS.
const TRANSLATIONS: [&str; 4] = ["nft_nat", "nft_masq", "xt_nat", "xt_MASQUERADE"];

const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";

fn off(facts: &Facts) -> Examined {
    let Some(value) = facts.setting("conntrack")? else { return Ok(Outcome::DoesNotApply) };
    if !facts.has(None, is_masquerade)? {
        return Ok(Outcome::DoesNotApply);
    }
    if value != 0 {
        return Ok(Outcome::Passed);
    }
    let modules = facts.must("/proc/modules")?;
    // The second number of a line is that of the users of the module. Each rule is one.
    let users = |module: &&str| -> u64 {
        let of =
            |line: &str| line.split_once(' ').filter(|(name, _)| name == module)?.1.split(' ').nth(1)?.parse().ok();
        modules.lines().find_map(of).unwrap_or_default()
    };
    let Some(module) = [MATCH].iter().chain(&TRANSLATIONS).find(|module| users(module) > 0) else {
        return Ok(Outcome::Passed);
    };
    let count = users(module);
    let seen = format!("net.ipv4.vs.conntrack is 0, and the use count of the module {module} is {count}.");
    let severity = if *module == MATCH { Severity::Warning } else { Severity::Note };
    Ok(Finding::new(seen).command(set("conntrack", 1)).severity(severity).into())
}

fn without_effect(facts: &Facts) -> Examined {
    if facts.setting("conntrack")?.unwrap_or_default() == 0 {
        return Ok(Outcome::DoesNotApply);
    }
    // Connection tracking keeps an established TCP connection for days, but other connections for less time than IPVS.
    let is_tcp = |service: &&ServiceState| matches!(service.service.key, ServiceKey::Address { protocol, .. } if protocol == Protocol::Tcp);
    let servers = facts.services()?.iter().filter(is_tcp).flat_map(|service| &service.destinations);
    let active: u64 = servers.map(|server| u64::from(server.active_connections)).sum();
    if active == 0 {
        return Ok(Outcome::DoesNotApply);
    }
    match facts.number(COUNT)? {
        None => Err(NotChecked(format!("there is no {COUNT}"))),
        Some(0) => {
            let seen = format!("net.ipv4.vs.conntrack is 1, {active} TCP connections are active, and none is tracked.");
            Ok(Finding::new(seen).command(set("conntrack", 0)).into())
        }
        Some(_) => Ok(Outcome::Passed),
    }
}

fn table(facts: &Facts) -> Examined {
    let count = facts.number(COUNT)?.unwrap_or_default();
    let limit = facts.number("/proc/sys/net/netfilter/nf_conntrack_max")?.unwrap_or_default();
    // A limit of 0 is none.
    if count == 0 || limit <= 0 {
        return Ok(Outcome::DoesNotApply);
    }
    if count.saturating_mul(100) < limit.saturating_mul(90) {
        return Ok(Outcome::Passed);
    }
    let seen = format!("{count} connections are tracked, and net.netfilter.nf_conntrack_max is {limit}.");
    // The setting is that of all network namespaces, and only the first can change it.
    let larger = limit.saturating_mul(4);
    let command = format!("nsenter --target 1 --net sysctl -w net.netfilter.nf_conntrack_max={larger}");
    let finding = Finding::new(seen).command(Command::director(command));
    Ok(if count >= limit { finding.severity(Severity::Error) } else { finding }.into())
}
