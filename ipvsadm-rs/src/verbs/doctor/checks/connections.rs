//! Connections: the table's size, timeouts, and the reuse of ports.

use ipvs::{Protocol, ServiceKey, ServiceState};

use super::super::check::{Check, Examined, Finding, Group, Outcome, Severity};
use super::super::facts::{Facts, destinations};
use super::{CONN, CORE, SYSCTL_DOC, examine_setting, is_one_way, set};
use crate::terminal::commands::Command;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "connection-limit",
        group: Group::Connections,
        severity: Severity::Warning,
        applies: "the kernel has the setting conn_max",
        found_if: "the table has at least 90 % of conn_max entries; an error if it has all of them",
        default: "1073741824",
        meaning: "The kernel drops new connections when the connection table has conn_max entries.",
        cure: "Raise the limit.",
        commands: &["sysctl -w net.ipv4.vs.conn_max=NUMBER"],
        since: Some((7, 2)),
        until: None,
        source: "https://elixir.bootlin.com/linux/v7.2/source/net/netfilter/ipvs/ip_vs_conn.c",
        examine: limit,
    },
    Check {
        id: "connection-buckets",
        group: Group::Connections,
        severity: Severity::Warning,
        applies: "always",
        found_if: "there are more than 4 entries for each bucket",
        default: "12 bits, which are 4096 buckets",
        meaning: "The connection table is a hash table. With many entries in a bucket, the kernel compares each packet \
                  with several connections. Before Linux 7.1 the number of buckets is fixed when the module is loaded. \
                  Since then it grows up to 2^conn_tab_bits.",
        cure: "Write the options to a file in /etc/modprobe.d, and restart the machine. Reloading the module deletes \
               the table.",
        commands: &[],
        since: None,
        until: None,
        source: CONN,
        examine: buckets,
    },
    Check {
        id: "conn-reuse-delay",
        group: Group::Connections,
        severity: Severity::Warning,
        applies: "net.ipv4.vs.conntrack is 1",
        found_if: "net.ipv4.vs.conn_reuse_mode is not 0",
        default: "1",
        meaning: "Before Linux 5.9, the kernel drops the first packet of a client that uses a port again. The client \
                  connects a second later, when it sends the packet again.",
        cure: "Set conn_reuse_mode to 0. These clients then return to the same server, even if its weight is 0.",
        commands: &["sysctl -w net.ipv4.vs.conn_reuse_mode=0"],
        since: Some((4, 1)),
        until: Some((5, 9)),
        source: "https://elixir.bootlin.com/linux/v5.8/source/net/netfilter/ipvs/ip_vs_core.c",
        examine: reuse_delay,
    },
    Check {
        id: "conn-reuse-off",
        group: Group::Connections,
        severity: Severity::Warning,
        applies: "the kernel is 5.9 or newer",
        found_if: "net.ipv4.vs.conn_reuse_mode is 0",
        default: "1",
        meaning: "With 0, a client that uses a port again returns to the server of its old connection. The weight of \
                  the server may be 0. Since Linux 5.9 the other modes have no delay.",
        cure: "Set the default, 1.",
        commands: &["sysctl -w net.ipv4.vs.conn_reuse_mode=1"],
        since: Some((5, 9)),
        until: None,
        source: SYSCTL_DOC,
        examine: |facts| examine_setting(facts, "conn_reuse_mode", |value| value == 0, 1),
    },
    Check {
        id: "conn-reuse-one-way",
        group: Group::Connections,
        severity: Severity::Note,
        applies: "a TCP service has servers with direct routing or tunnels, and one of them has weight 0 and connections",
        found_if: "net.ipv4.vs.conn_reuse_mode is 0 or 1",
        default: "1",
        meaning: "With direct routing and tunnels, the director sees only the packets of the client, so an ended \
                  connection stays in state FIN_WAIT. Mode 1 selects no new server in this state. A client that uses \
                  a port again then returns to the server that is drained. Mode 3 selects a new server.",
        cure: "Set mode 3.",
        commands: &["sysctl -w net.ipv4.vs.conn_reuse_mode=3"],
        since: Some((4, 1)),
        until: None,
        source: CORE,
        examine: reuse_one_way,
    },
    Check {
        id: "expire-nodest-conn",
        group: Group::Connections,
        severity: Severity::Note,
        applies: "the table has services",
        found_if: "net.ipv4.vs.expire_nodest_conn is 0",
        default: "0",
        meaning: "With 0, packets to a server that was deleted are dropped without a reply, so clients hang until their \
                  own timeout. With 1, their connections are removed, and clients get another server or an error. With \
                  0, a server that is added again within minutes keeps its connections.",
        cure: "Set it to 1, unless a health checker deletes and adds servers that stay up.",
        commands: &["sysctl -w net.ipv4.vs.expire_nodest_conn=1"],
        since: None,
        until: None,
        source: SYSCTL_DOC,
        examine: nodest,
    },
    Check {
        id: "tcp-timeout-keepalive",
        group: Group::Connections,
        severity: Severity::Note,
        applies: "the table has TCP services, or services of a firewall mark",
        found_if: "the TCP timeout of IPVS is not longer than net.ipv4.tcp_keepalive_time",
        default: "900 s for the timeout, 7200 s for the keepalive time",
        meaning: "The director forgets a TCP connection that is idle for the TCP timeout. Keepalive packets would prevent \
                  this, but hosts send the first one after tcp_keepalive_time, which is 7200 s by default. Programs \
                  with idle connections, such as databases, then hang or get a reset. The check \
                  compares the setting of this machine. Those of clients and servers may differ, and decide.",
        cure: "Raise the timeout above the keepalive time, or lower the keepalive time on clients or servers. Longer \
               timeouts need more memory.",
        commands: &["ipvsadm --set SECONDS 0 0"],
        since: None,
        until: None,
        source: "",
        examine: keepalive,
    },
    Check {
        id: "sloppy-tcp",
        group: Group::Connections,
        severity: Severity::Note,
        applies: "the table has TCP services, or services of a firewall mark",
        found_if: "net.ipv4.vs.sloppy_tcp is not 0",
        default: "0",
        meaning: "With 1, any TCP packet begins a connection, not only a SYN. Only directors that take over connections \
                  without a sync daemon need this. Otherwise packets of forgotten connections reach servers that do not \
                  know them.",
        cure: "Set the default (0), unless this is such a director.",
        commands: &["sysctl -w net.ipv4.vs.sloppy_tcp=0"],
        since: Some((3, 11)),
        until: None,
        source: SYSCTL_DOC,
        examine: sloppy_tcp,
    },
    Check {
        id: "sloppy-sctp",
        group: Group::Connections,
        severity: Severity::Note,
        applies: "the table has SCTP services",
        found_if: "net.ipv4.vs.sloppy_sctp is not 0",
        default: "0",
        meaning: "As sloppy-tcp, for SCTP.",
        cure: "Set the default (0), unless the director takes over connections without a sync daemon.",
        commands: &["sysctl -w net.ipv4.vs.sloppy_sctp=0"],
        since: Some((3, 11)),
        until: None,
        source: SYSCTL_DOC,
        examine: sloppy_sctp,
    },
];

/// The share of the limit, in percent, from which there is a finding.
const NEAR: u64 = 90;

fn limit(facts: &Facts) -> Examined {
    let Some(limit) = facts.setting("conn_max")?.and_then(|limit| u64::try_from(limit).ok()) else {
        return Ok(Outcome::DoesNotApply);
    };
    let entries = facts.entries()?;
    if entries.number.saturating_mul(100) < limit.saturating_mul(NEAR) {
        return Ok(Outcome::Passed);
    }
    let finding = Finding::new(format!("{entries}, and net.ipv4.vs.conn_max is {limit}."))
        .command(set("conn_max", limit.max(1 << 15).saturating_mul(4).min(1 << 30)));
    Ok(if entries.number >= limit { finding.severity(Severity::Error) } else { finding }.into())
}

fn buckets(facts: &Facts) -> Examined {
    /// The number of entries for each bucket from which there is a finding.
    const MOST: u64 = 4;
    let buckets = match facts.status("Conn buckets:")? {
        Some(buckets) => buckets,
        // A container may have no /proc/net/ip_vs_status, and a kernel before 7.1 has none.
        None => u64::from(facts.table()?.info.connection_table_size),
    };
    let entries = facts.entries()?;
    if buckets == 0 || entries.number <= buckets.saturating_mul(MOST) {
        return Ok(Outcome::Passed);
    }
    let bits = (entries.number.next_power_of_two().trailing_zeros() + 1)
        .clamp(8, if facts.release >= Some((6, 5)) { 27 } else { 20 });
    let seen = format!(
        "{entries}, in {buckets} buckets. `options ip_vs conn_tab_bits={bits}` makes \
         {} buckets.",
        1_u64 << bits
    );
    // No command: the user may have a file with other options in /etc/modprobe.d, and the last one of all files applies.
    Ok(Finding::new(seen).into())
}

fn reuse_delay(facts: &Facts) -> Examined {
    if facts.setting("conntrack")?.unwrap_or_default() == 0 {
        return Ok(Outcome::DoesNotApply);
    }
    examine_setting(facts, "conn_reuse_mode", |value| value != 0, 0)
}

fn reuse_one_way(facts: &Facts) -> Examined {
    let is_draining = |service: &ServiceState| {
        is_tcp(service)
            && service.destinations.iter().any(|server| {
                is_one_way(&server.destination.forwarding) && server.destination.weight == 0 && server.has_connections()
            })
    };
    if !facts.services()?.iter().any(is_draining) {
        return Ok(Outcome::DoesNotApply);
    }
    examine_setting(facts, "conn_reuse_mode", |value| value & 2 == 0, 3)
}

fn nodest(facts: &Facts) -> Examined {
    if facts.services()?.is_empty() {
        return Ok(Outcome::DoesNotApply);
    }
    examine_setting(facts, "expire_nodest_conn", |value| value == 0, 1)
}

/// Returns whether a service serves TCP.
fn is_tcp(service: &ServiceState) -> bool {
    is_of(service, Protocol::Tcp) || matches!(service.service.key, ServiceKey::Fwmark { .. })
}

fn is_of(service: &ServiceState, wanted: Protocol) -> bool {
    matches!(service.service.key, ServiceKey::Address { protocol, .. } if protocol == wanted)
}

fn keepalive(facts: &Facts) -> Examined {
    let table = facts.table()?;
    if !table.services.iter().any(|service| is_tcp(service) && destinations(service).next().is_some()) {
        return Ok(Outcome::DoesNotApply);
    }
    let Some(keepalive) = facts.number("/proc/sys/net/ipv4/tcp_keepalive_time")? else {
        return Ok(Outcome::DoesNotApply);
    };
    let timeout = i64::from(table.timeouts.tcp);
    if timeout > keepalive {
        return Ok(Outcome::Passed);
    }
    let seen = format!("The TCP timeout is {timeout} s, and net.ipv4.tcp_keepalive_time is {keepalive} s.");
    Ok(Finding::new(seen)
        .command(Command::director(format!("ipvsadm --set {} 0 0", keepalive.saturating_add(120))))
        .into())
}

fn sloppy_tcp(facts: &Facts) -> Examined {
    if !facts.services()?.iter().any(is_tcp) {
        return Ok(Outcome::DoesNotApply);
    }
    examine_setting(facts, "sloppy_tcp", |value| value != 0, 0)
}

fn sloppy_sctp(facts: &Facts) -> Examined {
    if !facts.services()?.iter().any(|service| is_of(service, Protocol::Sctp)) {
        return Ok(Outcome::DoesNotApply);
    }
    examine_setting(facts, "sloppy_sctp", |value| value != 0, 0)
}
