//! Forwarding: settings of the director that the forwarding methods need.

use ipvs::Family;

use super::super::check::{Check, Examined, Group, NotChecked, Outcome, Severity};
use super::super::facts::Facts;
use super::super::source::Device;
use super::tunnels::is_tunnel_device;
use super::{CORE, SYSCTL_DOC, examine_setting, is_masquerade, is_one_way, set_device, sysctl};
use crate::terminal::text;

const ROUTE: &str = "https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/route.c";
pub(super) const INETDEVICE: &str = "https://elixir.bootlin.com/linux/v6.12/source/include/linux/inetdevice.h";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "ip-forward",
        group: Group::Forwarding,
        severity: Severity::Error,
        applies: "the table has IPv4 servers with masquerading on other hosts",
        found_if: "net.ipv4.ip_forward is 0, and `forwarding` of the interface of the route to a server is 0",
        default: "0",
        meaning: "The replies of servers with masquerading pass through the director, which must forward them. The \
                  kernel checks the setting `forwarding` of the interface on which a packet arrives. A change of \
                  net.ipv4.ip_forward sets it for all interfaces. Direct routing and tunnels do not need it.",
        cure: "Enable forwarding.",
        commands: &["sysctl -w net.ipv4.ip_forward=1", "sysctl -w net.ipv4.conf.INTERFACE.forwarding=1"],
        since: None,
        until: None,
        source: ROUTE,
        examine: ip_forward,
    },
    Check {
        id: "ip-forward-ipv6",
        group: Group::Forwarding,
        severity: Severity::Error,
        applies: "the table has IPv6 servers with masquerading on other hosts",
        found_if: "net.ipv6.conf.all.forwarding is 0, and `force_forwarding` of the interface of the route to a server is not 1",
        default: "0",
        meaning: "As ip-forward, but for IPv6 the kernel checks the setting of `all`. Since Linux 6.17, it also forwards \
                  packets that arrive on an interface with `force_forwarding`. A host that forwards ignores router \
                  advertisements, unless accept_ra is 2.",
        cure: "Enable forwarding. Check that the default route does not come from router advertisements.",
        commands: &["sysctl -w net.ipv6.conf.all.forwarding=1"],
        since: None,
        until: None,
        source: "https://elixir.bootlin.com/linux/v6.17/source/net/ipv6/ip6_output.c",
        examine: ip_forward_ipv6,
    },
    Check {
        id: "ip-forward-interface",
        group: Group::Forwarding,
        severity: Severity::Error,
        applies: "the table has IPv4 servers with masquerading on other hosts, and net.ipv4.ip_forward is 1",
        found_if: "`forwarding` of the interface of the route to a server is 0",
        default: "",
        meaning: "The kernel forwards a packet only if the interface on which it arrives has the setting 1. That of \
                  net.ipv4.ip_forward does not suffice. The replies of servers on this interface are dropped.",
        cure: "Enable forwarding on the interface.",
        commands: &["sysctl -w net.ipv4.conf.INTERFACE.forwarding=1"],
        since: None,
        until: None,
        source: ROUTE,
        examine: ip_forward_interface,
    },
    Check {
        id: "rp-filter",
        group: Group::Forwarding,
        severity: Severity::Warning,
        applies: "the table has IPv4 servers with direct routing or tunnels, and several interfaces are up",
        found_if: "the greater value of net.ipv4.conf.all.rp_filter and that of an interface is 1",
        default: "0, but many distributions set 1 or 2",
        meaning: "With direct routing and tunnels, replies do not pass through the director. Its route to a client \
                  may use another interface than the packets of the client. A strict filter (1) drops these packets \
                  before IPVS gets them. The greater value of `all` and the interface applies.",
        cure: "Use the loose filter (2), or none (0).",
        commands: &["sysctl -w net.ipv4.conf.INTERFACE.rp_filter=2"],
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
        found_if: "net.ipv4.conf.all.send_redirects, or that of the interface, is not 0",
        default: "1",
        meaning: "Replies leave by the interface on which they arrived. The director then sends ICMP redirects to the \
                  servers, which may reply to clients directly afterwards. Clients drop such replies, because they do \
                  not come from the virtual address. A value of 1 for `all` or for the interface enables redirects.",
        cure: "Disable redirects.",
        commands: &["sysctl -w net.ipv4.conf.INTERFACE.send_redirects=0"],
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
        found_if: "net.ipv4.vs.snat_reroute is 0",
        default: "1",
        meaning: "With 0, replies take the route of forwarded packets. If policy routing (`ip rule`) selects routes by \
                  source address, they may leave through the wrong provider. Without policy routing, 0 saves time.",
        cure: "Set the default (1) if `ip rule` lists rules for the virtual address.",
        commands: &["sysctl -w net.ipv4.vs.snat_reroute=1"],
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
        found_if: "net.ipv4.vs.schedule_icmp is not 0",
        default: "0",
        meaning: "With 1, ICMP errors for unknown connections are sent to servers. Only directors that share connections \
                  without a sync daemon need this.",
        cure: "Set the default (0), unless several directors get packets of the same connection.",
        commands: &["sysctl -w net.ipv4.vs.schedule_icmp=0"],
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
        found_if: "net.ipv4.vs.nat_icmp_send is not 0",
        default: "0",
        meaning: "With 1, a server gets an ICMP error for each packet from its service port without a connection. Its \
                  own connections from this port break.",
        cure: "Set the default, 0.",
        commands: &["sysctl -w net.ipv4.vs.nat_icmp_send=0"],
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
        found_if: "net.ipv4.vs.cache_bypass is not 0",
        default: "0",
        meaning: "With 1, packets go to their original destination if no server accepts the connection. Only a cluster \
                  of transparent proxies wants this.",
        cure: "Set the default (0), unless this is a cluster of transparent proxies.",
        commands: &["sysctl -w net.ipv4.vs.cache_bypass=0"],
        since: None,
        until: None,
        source: CORE,
        examine: |facts| examine_setting(facts, "cache_bypass", |value| value != 0, 0),
    },
];

const IPV4: &str = "/proc/sys/net/ipv4/ip_forward";
const IPV6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

/// Returns the interfaces of IPv4 replies that do not forward, each in a sentence. The kernel uses the setting of the
/// interface only: that of `all`, which is net.ipv4.ip_forward, has no effect but to set all others when it changes.
/// <https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/route.c> (`ip_route_input_slow`)
fn not_forwarding(facts: &Facts) -> Result<Vec<(String, String)>, NotChecked> {
    let mut found = Vec::new();
    for (name, server) in facts.reply_devices(Family::V4)? {
        let shown = text::escaped(&name);
        match facts.of_device(&name, "forwarding")? {
            None => return Err(NotChecked(format!("there is no setting net.ipv4.conf.{shown}.forwarding"))),
            Some(0) => {
                let seen = format!("The route to server {server} uses {shown}, where `forwarding` is 0.");
                found.push((name, seen));
            }
            Some(_) => {}
        }
    }
    Ok(found)
}

fn ip_forward(facts: &Facts) -> Examined {
    if facts.reply_devices(Family::V4)?.is_empty() {
        return Ok(Outcome::DoesNotApply);
    }
    if facts.number(IPV4)? != Some(0) {
        return Ok(Outcome::Passed);
    }
    let off = not_forwarding(facts)?;
    if off.is_empty() {
        return Ok(Outcome::Passed);
    }
    // The setting enables forwarding on all interfaces, also on those for which someone has disabled it.
    let mut is_off_everywhere = true;
    for device in facts.devices()?.iter().filter(|device| device.name != "lo") {
        is_off_everywhere &= facts.of_device(&device.name, "forwarding")?.unwrap_or_default() == 0;
    }
    let of_device = |(name, _): &(String, String)| set_device(name, "forwarding", 1);
    let commands =
        if is_off_everywhere { vec![sysctl("net.ipv4.ip_forward", 1)] } else { off.iter().map(of_device).collect() };
    let seen = ["net.ipv4.ip_forward is 0.".into()].into_iter().chain(off.into_iter().map(|(_, seen)| seen));
    Ok(Outcome::of(seen.collect(), commands))
}

fn ip_forward_ipv6(facts: &Facts) -> Examined {
    let devices = facts.reply_devices(Family::V6)?;
    if devices.is_empty() {
        return Ok(Outcome::DoesNotApply);
    }
    match facts.number(IPV6)? {
        None => return Err(NotChecked(format!("there is no {IPV6}"))),
        Some(0) => {}
        Some(_) => return Ok(Outcome::Passed),
    }
    let mut seen = Vec::new();
    for (name, server) in devices {
        // A setting since Linux 6.17.
        let forced = facts.number(&format!("/proc/sys/net/ipv6/conf/{name}/force_forwarding"))?;
        if forced.unwrap_or_default() == 0 {
            seen.push(format!("The route to server {server} uses {}.", text::escaped(&name)));
        }
    }
    if seen.is_empty() {
        return Ok(Outcome::Passed);
    }
    seen.insert(0, "net.ipv6.conf.all.forwarding is 0.".into());
    Ok(Outcome::of(seen, vec![sysctl("net.ipv6.conf.all.forwarding", 1)]))
}

/// Returns the interfaces that are up, without lo.
pub(super) fn up(facts: &Facts) -> Result<Vec<&Device>, NotChecked> {
    Ok(facts.devices()?.iter().filter(|device| device.is_up && device.name != "lo").collect())
}

fn ip_forward_interface(facts: &Facts) -> Examined {
    if facts.reply_devices(Family::V4)?.is_empty() || facts.number(IPV4)? == Some(0) {
        return Ok(Outcome::DoesNotApply);
    }
    let off = not_forwarding(facts)?;
    let commands = off.iter().map(|(name, _)| set_device(name, "forwarding", 1)).collect();
    Ok(Outcome::of(off.into_iter().map(|(_, seen)| seen).collect(), commands))
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
            seen.push(format!("rp_filter of {name_shown} is strict: it is {own}, and that of `all` is {all}."));
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
        if let Some(value) = facts.of_device(device, "send_redirects")?.filter(|value| *value != 0) {
            seen.push(format!("net.ipv4.conf.{}.send_redirects is {value}.", text::escaped(device)));
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
