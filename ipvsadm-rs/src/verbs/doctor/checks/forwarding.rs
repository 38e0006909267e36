//! Forwarding: settings of the director that the forwarding methods need.

use ipvs::Family;

use super::super::check::{Check, Examined, Finding, Group, NotChecked, Outcome, Severity};
use super::super::facts::{Device, Facts};
use super::tunnels::is_tunnel_device;
use super::{CORE, SYSCTL_DOC, examine_setting, is_masquerade, is_one_way, set_device};
use crate::terminal::text;

pub(super) const INETDEVICE: &str = "https://elixir.bootlin.com/linux/v6.12/source/include/linux/inetdevice.h";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "ip-forward",
        group: Group::Forwarding,
        severity: Severity::Error,
        applies: "the table has IPv4 servers with masquerading",
        meaning: "The replies of servers with masquerading pass through the director, which must forward them. \
                  Otherwise clients get no reply. Direct routing and tunnels do not need it.",
        cure: "Enable forwarding.",
        since: None,
        until: None,
        source: "",
        examine: ip_forward,
    },
    Check {
        id: "ip-forward-ipv6",
        group: Group::Forwarding,
        severity: Severity::Error,
        applies: "the table has IPv6 servers with masquerading",
        meaning: "As ip-forward, for IPv6. A host that forwards ignores router advertisements, unless accept_ra is 2.",
        cure: "Enable forwarding. Check that the default route does not come from router advertisements.",
        since: None,
        until: None,
        source: "",
        examine: ip_forward_ipv6,
    },
    Check {
        id: "ip-forward-interface",
        group: Group::Forwarding,
        severity: Severity::Warning,
        applies: "the table has IPv4 servers with masquerading, and net.ipv4.ip_forward is 1",
        meaning: "Packets that arrive on an interface are forwarded only if its own setting is 1, too. Replies of servers \
                  behind this interface are dropped.",
        cure: "Enable forwarding on the interface, unless no servers are behind it.",
        since: None,
        until: None,
        source: INETDEVICE,
        examine: ip_forward_interface,
    },
    Check {
        id: "rp-filter",
        group: Group::Forwarding,
        severity: Severity::Warning,
        applies: "the table has IPv4 servers with direct routing or tunnels, and several interfaces are up",
        meaning: "With direct routing and tunnels, replies do not pass through the director. Its route to a client \
                  may use another interface than the packets of the client. A strict filter (1) drops these packets \
                  before IPVS gets them. The greater value of `all` and the interface applies.",
        cure: "Use the loose filter (2), or none (0).",
        since: None,
        until: None,
        source: INETDEVICE,
        examine: rp_filter,
    },
    Check {
        id: "send-redirects",
        group: Group::Forwarding,
        severity: Severity::Warning,
        applies: "the table has IPv4 servers with masquerading, and only one interface is up",
        meaning: "Replies leave by the interface on which they arrived. The director then sends ICMP redirects to the \
                  servers, which may reply to clients directly afterwards. Clients drop such replies, because they do \
                  not come from the virtual address. A value of 1 for `all` or for the interface enables redirects.",
        cure: "Disable redirects.",
        since: None,
        until: None,
        source: INETDEVICE,
        examine: send_redirects,
    },
    Check {
        id: "snat-reroute",
        group: Group::Forwarding,
        severity: Severity::Note,
        applies: "the table has servers with masquerading",
        meaning: "With 0, replies take the route of forwarded packets. If policy routing (`ip rule`) selects routes by \
                  source address, they may leave through the wrong provider. Without policy routing, 0 saves time.",
        cure: "Set the default if `ip rule` lists rules for the virtual address.",
        since: None,
        until: None,
        source: SYSCTL_DOC,
        examine: snat_reroute,
    },
    Check {
        id: "schedule-icmp",
        group: Group::Forwarding,
        severity: Severity::Note,
        applies: "always",
        meaning: "With 1, ICMP errors for unknown connections are sent to servers. Only directors that share connections \
                  without a sync daemon need this.",
        cure: "Set the default, unless several directors get packets of the same connection.",
        since: Some((4, 4)),
        until: None,
        source: SYSCTL_DOC,
        examine: |facts| examine_setting(facts, "schedule_icmp", |value| value != 0, 0),
    },
    Check {
        id: "nat-icmp-send",
        group: Group::Forwarding,
        severity: Severity::Note,
        applies: "the table has servers with masquerading",
        meaning: "With 1, a server gets an ICMP error for each packet from its service port without a connection. Its \
                  own connections from this port break.",
        cure: "Set the default.",
        since: None,
        until: None,
        source: SYSCTL_DOC,
        examine: nat_icmp_send,
    },
    Check {
        id: "cache-bypass",
        group: Group::Forwarding,
        severity: Severity::Warning,
        applies: "always",
        meaning: "With 1, packets go to their original destination if no server accepts the connection. Only a cluster \
                  of transparent proxies wants this.",
        cure: "Set the default, unless this is a cluster of transparent proxies.",
        since: None,
        until: None,
        source: CORE,
        examine: |facts| examine_setting(facts, "cache_bypass", |value| value != 0, 0),
    },
];

/// Examines a number: it must be 1.
fn must_be_1(facts: &Facts, path: &str, name: &str) -> Examined {
    Ok(match facts.number(path)? {
        None => return Err(NotChecked(format!("there is no {path}"))),
        Some(0) => Finding::new(format!("{name} is 0.")).command(format!("sysctl -w {name}=1")).into(),
        Some(_) => Outcome::Passed,
    })
}

fn ip_forward(facts: &Facts) -> Examined {
    if !facts.has(Some(Family::V4), is_masquerade)? {
        return Ok(Outcome::DoesNotApply);
    }
    must_be_1(facts, "/proc/sys/net/ipv4/ip_forward", "net.ipv4.ip_forward")
}

fn ip_forward_ipv6(facts: &Facts) -> Examined {
    if !facts.has(Some(Family::V6), is_masquerade)? {
        return Ok(Outcome::DoesNotApply);
    }
    must_be_1(facts, "/proc/sys/net/ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding")
}

/// Returns the interfaces that are up, without lo.
pub(super) fn up(facts: &Facts) -> Result<Vec<Device>, NotChecked> {
    let mut devices = facts.devices()?;
    devices.retain(|device| device.is_up && device.name != "lo");
    Ok(devices)
}

fn ip_forward_interface(facts: &Facts) -> Examined {
    let is_on = facts.number("/proc/sys/net/ipv4/ip_forward")? == Some(1);
    if !facts.has(Some(Family::V4), is_masquerade)? || !is_on {
        return Ok(Outcome::DoesNotApply);
    }
    let (mut seen, mut commands) = (Vec::new(), Vec::new());
    for Device { name, .. } in up(facts)? {
        if facts.of_device(&name, "forwarding")? == Some(0) {
            seen.push(format!("net.ipv4.conf.{}.forwarding is 0.", text::escaped(&name)));
            commands.push(set_device(&name, "forwarding", 1));
        }
    }
    Ok(Outcome::of(seen, commands))
}

fn rp_filter(facts: &Facts) -> Examined {
    let devices = up(facts)?;
    if !facts.has(Some(Family::V4), is_one_way)? || devices.len() < 2 {
        return Ok(Outcome::DoesNotApply);
    }
    let all = facts.of_device("all", "rp_filter")?.unwrap_or_default();
    let (mut seen, mut commands) = (Vec::new(), Vec::new());
    for Device { name, .. } in devices.iter().filter(|device| !is_tunnel_device(&device.name)) {
        let own = facts.of_device(name, "rp_filter")?.unwrap_or_default();
        if all.max(own) == 1 {
            let name_shown = text::escaped(name);
            seen.push(format!("rp_filter of {name_shown} is strict: it is {own}, and that of `all' is {all}."));
            commands.push(set_device(name, "rp_filter", 2));
        }
    }
    Ok(Outcome::of(seen, commands))
}

fn send_redirects(facts: &Facts) -> Examined {
    let devices = up(facts)?;
    let [Device { name, .. }] = devices.as_slice() else { return Ok(Outcome::DoesNotApply) };
    if !facts.has(Some(Family::V4), is_masquerade)? {
        return Ok(Outcome::DoesNotApply);
    }
    let (mut seen, mut commands) = (Vec::new(), Vec::new());
    for device in ["all", name] {
        if facts.of_device(device, "send_redirects")?.is_some_and(|value| value != 0) {
            seen.push(format!("net.ipv4.conf.{}.send_redirects is 1.", text::escaped(device)));
            commands.push(set_device(device, "send_redirects", 0));
        }
    }
    Ok(Outcome::of(seen, commands))
}

fn snat_reroute(facts: &Facts) -> Examined {
    if !facts.has(None, is_masquerade)? {
        return Ok(Outcome::DoesNotApply);
    }
    examine_setting(facts, "snat_reroute", |value| value == 0, 1)
}

fn nat_icmp_send(facts: &Facts) -> Examined {
    if !facts.has(None, is_masquerade)? {
        return Ok(Outcome::DoesNotApply);
    }
    examine_setting(facts, "nat_icmp_send", |value| value != 0, 0)
}
