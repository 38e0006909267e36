//! Forwarding through tunnels.

use ipvs::Family;

use super::super::check::{Check, Examined, Finding, Group, NotChecked, Outcome, Severity};
use super::super::facts::Facts;
use super::super::source::Device;
use super::forwarding::{INETDEVICE, up};
use super::{SYSCTL_DOC, examine_setting, is_tunnel, set, set_device};
use crate::network::tunnel::overhead;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "rp-filter-tunnel",
        group: Group::Forwarding,
        severity: Severity::Warning,
        applies: "the table has tunnel servers, and a tunnel device of this machine is up",
        found_if: "the greater value of net.ipv4.conf.all.rp_filter and that of the tunnel device is 1",
        default: "0, but many distributions set 1 or 2",
        meaning: "A director that also is a server of another director unpacks packets of clients from a tunnel device. \
                  The route back to the client does not use this device, so the filter drops the packets.",
        cure: "Disable the filter of the tunnel device, and of `all` because the greater value applies. Give the \
               value of `all` to the other interfaces.",
        commands: &["sysctl -w net.ipv4.conf.INTERFACE.rp_filter=NUMBER"],
        since: None,
        until: None,
        source: INETDEVICE,
        examine: rp_filter_tunnel,
    },
    Check {
        id: "tunnel-overhead",
        group: Group::Forwarding,
        severity: Severity::Note,
        applies: "the table has tunnel servers",
        found_if: "always",
        default: "",
        meaning: "A tunnel makes each packet longer. A packet that does not fit is answered with ICMP, and the client \
                  then sends shorter ones. If a firewall drops this ICMP, long requests hang.",
        cure: "Raise the MTU between the director and the servers, or limit the TCP segments on the servers. \
               `ipvsadm-rs rs-setup --mode tun-ipip --vip ADDRESS` prints the rule.",
        commands: &[],
        since: None,
        until: None,
        source: "https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_xmit.c",
        examine: tunnel_overhead,
    },
    Check {
        id: "pmtu-disc",
        group: Group::Forwarding,
        severity: Severity::Note,
        applies: "the table has tunnel servers",
        found_if: "net.ipv4.vs.pmtu_disc is 0",
        default: "1",
        meaning: "With 0, the director fragments the packets of a tunnel instead of asking the client for shorter ones. \
                  Servers must reassemble all of them.",
        cure: "Set the default (1), unless clients cannot get ICMP.",
        commands: &["sysctl -w net.ipv4.vs.pmtu_disc=1"],
        since: Some((3, 7)),
        until: None,
        source: SYSCTL_DOC,
        examine: pmtu_disc,
    },
    Check {
        id: "ignore-tunneled",
        group: Group::Forwarding,
        severity: Severity::Note,
        applies: "the table has tunnel servers, and a tunnel device of this machine is up",
        found_if: "net.ipv4.vs.ignore_tunneled is 0",
        default: "0",
        meaning: "A director that also is a server of another director may schedule packets from its tunnel device \
                  again. They then loop between the directors.",
        cure: "Ignore packets in tunnels if this machine is both a director and a server.",
        commands: &["sysctl -w net.ipv4.vs.ignore_tunneled=1"],
        since: Some((4, 4)),
        until: None,
        source: SYSCTL_DOC,
        examine: ignore_tunneled,
    },
];

/// Returns whether a device is one that unpacks tunnels, and that the kernel creates with its module.
pub(super) fn is_tunnel_device(name: &str) -> bool {
    ["tunl0", "gre0", "sit0", "ip6tnl0", "ip6gre0"].contains(&name)
}

/// Returns the tunnel devices that are up. `None`: there are no tunnel servers, or no such devices.
fn tunnels(facts: &Facts) -> Result<Option<Vec<&Device>>, NotChecked> {
    if !facts.has(None, is_tunnel)? {
        return Ok(None);
    }
    let mut devices = up(facts)?;
    devices.retain(|device| is_tunnel_device(&device.name));
    Ok((!devices.is_empty()).then_some(devices))
}

fn rp_filter_tunnel(facts: &Facts) -> Examined {
    let Some(devices) = tunnels(facts)? else { return Ok(Outcome::DoesNotApply) };
    let all = facts.of_device("all", "rp_filter")?.unwrap_or_default();
    let (mut seen, mut strict) = (Vec::new(), Vec::new());
    for Device { name, .. } in devices {
        let own = facts.of_device(name, "rp_filter")?.unwrap_or_default();
        if all.max(own) == 1 {
            seen.push(format!("rp_filter of {name} is strict: it is {own}, and that of `all` is {all}."));
            strict.push(name);
        }
    }
    let mut commands = Vec::new();
    if all > 0 && !strict.is_empty() {
        // The other interfaces keep their filter.
        for Device { name, .. } in facts.devices()?.iter().filter(|device| !is_tunnel_device(&device.name)) {
            let own = facts.of_device(name, "rp_filter")?;
            commands.extend(own.filter(|own| *own < all).map(|_| set_device(name, "rp_filter", all)));
        }
        commands.push(set_device("all", "rp_filter", 0));
    }
    commands.extend(strict.into_iter().map(|name| set_device(name, "rp_filter", 0)));
    Ok(Outcome::of(seen, commands))
}

fn tunnel_overhead(facts: &Facts) -> Examined {
    let tunnels = facts.servers()?.filter(|(_, server)| is_tunnel(&server.forwarding));
    let bytes = tunnels.filter_map(|(_, server)| {
        server.forwarding.tunnel().map(|tunnel| overhead(tunnel, Family::of(server.key.address)))
    });
    Ok(match bytes.max() {
        Some(bytes) => Finding::new(format!("Tunnels make packets up to {bytes} bytes longer.")).into(),
        None => Outcome::DoesNotApply,
    })
}

fn pmtu_disc(facts: &Facts) -> Examined {
    if !facts.has(None, is_tunnel)? {
        return Ok(Outcome::DoesNotApply);
    }
    examine_setting(facts, "pmtu_disc", |value| value == 0, 1)
}

fn ignore_tunneled(facts: &Facts) -> Examined {
    let Some(devices) = tunnels(facts)? else { return Ok(Outcome::DoesNotApply) };
    let names: Vec<&str> = devices.iter().map(|device| device.name.as_str()).collect();
    let are = if names.len() == 1 { "is" } else { "are" };
    Ok(match facts.setting("ignore_tunneled")? {
        None => Outcome::DoesNotApply,
        Some(0) => Finding::new(format!("net.ipv4.vs.ignore_tunneled is 0, and {} {are} up.", names.join(", ")))
            .command(set("ignore_tunneled", 1))
            .into(),
        Some(_) => Outcome::Passed,
    })
}
