//! Breaks of tunnels. A router is between the director and the servers.

use ipvs_tests::lab::topology::Routed;
use ipvs_tests::traffic::server::Protocol::Http;

use super::{Rig, text};
use crate::under_test;

ipvs_tests::tests! {
    a_server_does_not_unpack_ipip;
    a_server_does_not_unpack_gre;
    a_server_does_not_unpack_gue;
    a_server_does_not_unpack_ipip_of_ipv6;
    a_server_of_the_other_family_does_not_unpack;
    no_route_to_the_servers;
    the_router_does_not_answer;
    the_source_is_the_virtual_address;
    the_mtu_is_too_small_for_ipv6;
}

/// The virtual address, the addresses of the servers, and the options of `ipvsadm -a` and `rs-setup`.
struct Tunnels<'a> {
    vip: &'a str,
    servers: [&'a str; 2],
    options: &'a str,
    mode: &'a str,
}

fn endpoint(address: &str) -> String {
    if address.contains(':') { format!("[{address}]:80") } else { format!("{address}:80") }
}

fn rig(tunnels: &Tunnels<'_>) -> Rig {
    let Tunnels { vip, servers, options, mode } = tunnels;
    let Routed { lab, client, director, web1, web2 } = Routed::new().unwrap();
    under_test::install();
    let target = endpoint(vip);
    director.ok(&format!("ipvsadm -A -t {target} -s rr"));
    for (web, own) in [(&web1, servers[0]), (&web2, servers[1])] {
        under_test::real_server(web, &format!("--mode {mode} --own {own} --vip {vip}"));
        web.serve(Http, if vip.contains(':') { "[::]:80" } else { "0.0.0.0:80" }).unwrap();
        director.ok(&format!("ipvsadm -a -t {target} -r {} -i {options}", endpoint(own)));
    }
    let why = format!("-t {target} --client {}", if vip.contains(':') { "fd01::10" } else { "10.1.0.10" });
    Rig { lab, client, director, web1, web2, why, target }
}

const SERVERS_4: [&str; 2] = ["10.3.0.11", "10.3.0.12"];
const SERVERS_6: [&str; 2] = ["fd03::11", "fd03::12"];
const IPIP: Tunnels<'_> = Tunnels { vip: "10.1.0.100", servers: SERVERS_4, options: "", mode: "tun-ipip" };

/// Breaks the device or port that unpacks on web1. The verdict has the command that sets it up.
fn check(tunnels: &Tunnels<'_>, stop: &str) {
    let rig = rig(tunnels);
    rig.works();
    rig.web1.ok(stop);
    rig.is_mended_by_its_commands("no_answer");
}

fn a_server_does_not_unpack_ipip() {
    check(&IPIP, "ip link set tunl0 down");
}

fn a_server_does_not_unpack_gre() {
    check(&Tunnels { options: "--tun-type gre", mode: "tun-gre", ..IPIP }, "ip link set gre0 down");
}

fn a_server_does_not_unpack_gue() {
    let gue = Tunnels { options: "--tun-type gue --tun-port 6080", mode: "tun-gue --tun-port 6080", ..IPIP };
    check(&gue, "ip fou del port 6080");
}

fn a_server_does_not_unpack_ipip_of_ipv6() {
    check(&Tunnels { vip: "fd01::100", servers: SERVERS_6, ..IPIP }, "ip link set ip6tnl0 down");
}

fn a_server_of_the_other_family_does_not_unpack() {
    check(&Tunnels { vip: "fd01::100", ..IPIP }, "ip link set sit0 down");
}

fn no_route_to_the_servers() {
    let rig = rig(&IPIP);
    rig.works();
    rig.director.ok("ip route del default");
    let verdict = rig.is_broken("route");
    assert!(text(&verdict).contains("and 10.3.0.1"), "{verdict:#}");
}

fn the_router_does_not_answer() {
    let rig = rig(&IPIP);
    rig.works();
    rig.director.ok("ip route replace default via 10.1.0.253");
    let verdict = rig.is_broken("neighbour");
    assert!(text(&verdict).contains("the router 10.1.0.253 did not answer ARP on eth0"), "{verdict:#}");
}

fn the_source_is_the_virtual_address() {
    let rig = rig(&IPIP);
    rig.works();
    rig.director.ok("ip route replace default via 10.1.0.254 src 10.1.0.100");
    let verdict = rig.is_broken("tunnel_source");
    let command = verdict["commands"][0]["command"].as_str().unwrap().replace("OWN-ADDRESS", "10.1.0.1");
    rig.director.ok(&command);
    rig.director.ok(&command.replace("10.3.0.11", "10.3.0.12"));
    rig.works();
}

fn the_mtu_is_too_small_for_ipv6() {
    let rig = rig(&Tunnels { vip: "fd01::100", servers: SERVERS_6, ..IPIP });
    rig.works();
    rig.director.ok("ip link set eth0 mtu 1300");
    rig.is_mended_by_its_commands("mtu");
}
