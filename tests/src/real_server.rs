//! What a real server needs beside its service where packets reach it with the virtual address in them: by direct
//! routing, and through tunnels. All of it is here, so that a scenario says only by which way its servers are reached.
//!
//! (With masquerading a server needs nothing but its way back through the director: [`Host::gateway`].)

use std::net::IpAddr;

use anyhow::{Context, Result};

use crate::guest::modules;
use crate::topology::Host;

/// What a packet travels in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// IP in IP, of any two families.
    Ipip,
    /// GRE as it comes from `--tun-type gre`.
    Gre,
    /// GRE with a checksum: `--tun-type gre --tun-csum`. A device takes packets with a checksum, or without, not both.
    GreWithChecksum,
    /// Generic UDP encapsulation to this port, with any checksum.
    Gue(u16),
}

/// Direct routing: the server has the address too, and is silent about it on the segment.
pub fn direct(server: &Host, vip: &str) -> Result<()> {
    if !vip.contains(':') {
        // Before the address is there: not to answer for it, not to ask in its name. For IPv6 there is nothing to be
        // set: neighbours are not answered for addresses of `lo`.
        server.sysctl("net/ipv4/conf/all/arp_ignore", "1")?;
        server.sysctl("net/ipv4/conf/all/arp_announce", "2")?;
    }
    server.address("lo", vip)
}

/// Tunnelling: the server unpacks what arrives at its `own` address, finds the virtual address inside, and has it.
pub fn tunnelled(server: &Host, tunnel: Tunnel, own: &str, vip: &str) -> Result<()> {
    let outer_is_4 = own.parse::<IpAddr>().with_context(|| own.to_owned())?.is_ipv4();
    let inner_is_4 = vip.parse::<IpAddr>().with_context(|| vip.to_owned())?.is_ipv4();
    if let Tunnel::Gue(port) = tunnel {
        // It unpacks the UDP; what was in there goes on to the device for IP in IP.
        modules::load("fou")?;
        server.ok(&format!("ip fou add port {port} gue{}", if outer_is_4 { "" } else { " -6" }));
    }
    let device = match (tunnel, outer_is_4) {
        // Made in every namespace when its module is loaded, to take what comes from anybody: `tunl0`, `gre0`, ….
        (Tunnel::Ipip | Tunnel::Gue(_), true) if inner_is_4 => existing(server, "ipip", "tunl0")?,
        (Tunnel::Ipip | Tunnel::Gue(_), true) => existing(server, "sit", "sit0")?,
        (Tunnel::Ipip | Tunnel::Gue(_), false) if !inner_is_4 => existing(server, "ip6_tunnel", "ip6tnl0")?,
        // `ip6tnl0` takes IPv6 only.
        (Tunnel::Ipip | Tunnel::Gue(_), false) => added(server, &format!("ip6tnl mode any local {own}"))?,
        (Tunnel::Gre, true) => existing(server, "ip_gre", "gre0")?,
        (Tunnel::Gre, false) => existing(server, "ip6_gre", "ip6gre0")?,
        (Tunnel::GreWithChecksum, true) => added(server, &format!("gre local {own} icsum"))?,
        (Tunnel::GreWithChecksum, false) => added(server, &format!("ip6gre local {own} icsum"))?,
    };
    if inner_is_4 {
        // Clients are not to be reached through the tunnel: that is what this filter would want. The greater of `all`
        // and the device's own counts.
        server.sysctl("net/ipv4/conf/all/rp_filter", "0")?;
        server.sysctl(&format!("net/ipv4/conf/{device}/rp_filter"), "0")?;
    }
    server.address("lo", vip)
}

fn existing<'a>(server: &Host, module: &str, device: &'a str) -> Result<&'a str> {
    modules::load(module)?;
    server.with(|socket| socket.set_up(device))?;
    Ok(device)
}

fn added(server: &Host, kind_and_data: &str) -> Result<&'static str> {
    const DEVICE: &str = "tun-in";
    server.ok(&format!("ip link add {DEVICE} type {kind_and_data}"));
    server.with(|socket| socket.set_up(DEVICE))?;
    Ok(DEVICE)
}
