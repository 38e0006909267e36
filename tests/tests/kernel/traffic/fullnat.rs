//! What people want from FULLNAT: servers that see the director's address and need no route back to the client. Mainline
//! does it with masquerading, `net.ipv4.vs.conntrack=1` and a rule that changes the source.
//!
//! ```text
//!   client ──── outside ──── director ──── inside ──┬── web1  10.2.0.11   no routes but to
//!  10.1.0.10               10.1.0.1   10.2.0.1      └── web2  10.2.0.12   their own network
//!                 virtual: 10.1.0.100
//! ```

use std::time::Duration;

use ipvs_tests::guest::modules;
use ipvs_tests::kernel;
use ipvs_tests::serve::Protocol::{Tcp, Udp};
use ipvs_tests::topology::{Host, Lab};

use crate::ours;

ipvs_tests::tests! {
    by_iptables, needs = "iptables";
    by_iptables_on_one_segment, needs = "iptables";
    by_nft, needs = "qemu-system-x86", needs = "nftables", cloud = NFT;
    by_nft_on_one_segment, needs = "qemu-system-x86", needs = "nftables", cloud = NFT;
}

struct Inside {
    _lab: Lab,
    client: Host,
    director: Host,
}

/// Two segments, as drawn above.
fn two_armed() -> Inside {
    let lab = Lab::new().unwrap();
    let [client, director, web1, web2] = lab.hosts(["client", "director", "web1", "web2"]).unwrap();
    lab.segment("outside", [(&client, "10.1.0.10/24"), (&director, "10.1.0.1/24 10.1.0.100/32")]).unwrap();
    let inside = [(&director, "10.2.0.1/24"), (&web1, "10.2.0.11/24"), (&web2, "10.2.0.12/24")];
    lab.segment("inside", inside).unwrap();
    ready(lab, client, director, [web1, web2])
}

/// All on one, `10.2.0.0/24`: a server would answer the client itself, who does not know it.
fn one_armed() -> Inside {
    let lab = Lab::new().unwrap();
    let [client, director, web1, web2] = lab.hosts(["client", "director", "web1", "web2"]).unwrap();
    let plugs = [
        (&client, "10.2.0.10/24"),
        (&director, "10.2.0.1/24 10.1.0.100/32"),
        (&web1, "10.2.0.11/24"),
        (&web2, "10.2.0.12/24"),
    ];
    lab.segment("lan", plugs).unwrap();
    client.route("10.1.0.100/32", "10.2.0.1").unwrap();
    director.sysctl("net/ipv4/conf/all/send_redirects", "0").unwrap();
    ready(lab, client, director, [web1, web2])
}

fn ready(lab: Lab, client: Host, director: Host, webs: [Host; 2]) -> Inside {
    director.sysctl("net/ipv4/ip_forward", "1").unwrap();
    ours::install();
    for (protocol, service) in [(Tcp, "-t 10.1.0.100:80"), (Udp, "-u 10.1.0.100:80")] {
        director.ok(&format!("ipvsadm -A {service} -s rr"));
        for (web, server) in webs.iter().zip(["10.2.0.11:8080", "10.2.0.12:8080"]) {
            web.serve(protocol, server).unwrap();
            director.ok(&format!("ipvsadm -a {service} -r {server} -m"));
        }
    }
    Inside { _lab: lab, client, director }
}

/// The whole recipe, and what happens without either half of it.
fn recipe(Inside { client, director, .. }: &Inside, add_rule: &str, remove_rule: &str) {
    director.ok(add_rule);
    nobody_answers(client);
    director.sysctl("net/ipv4/vs/conntrack", "1").unwrap();
    let (held, datagrams) = (client.client().hold(2, "10.1.0.100:80"), client.client().datagrams(2, "10.1.0.100:80"));
    assert_eq!([held.to_string(), datagrams.to_string()], ["web1=1 web2=1"; 2]);
    assert_eq!(held.again().to_string(), "web1=1 web2=1");
    for peer in held.peers.iter().chain(&datagrams.peers) {
        assert!(peer.starts_with("10.2.0.1:"), "whom a server takes for its client: {peer}");
    }
    drop(held);
    director.ok(remove_rule);
    nobody_answers(client);
}

fn nobody_answers(client: &Host) {
    let client = client.client().patience(Duration::from_millis(400));
    assert_eq!(client.hold(2, "10.1.0.100:80").to_string(), "timeout=2");
    assert_eq!(client.datagrams(2, "10.1.0.100:80").to_string(), "timeout=2");
}

fn by_iptables() {
    iptables(two_armed);
}

fn by_iptables_on_one_segment() {
    iptables(one_armed);
}

fn iptables(inside: fn() -> Inside) {
    // Debian's user-mode-linux has iptables up to 6.12; nft it never had.
    if let Err(error) = modules::load("iptable_nat") {
        assert!(kernel::running() >= (7, 0), "{error:#}");
        println!("not on this kernel: {error:#}");
        return;
    }
    // Of what the director sends on, all that came for the virtual address.
    let rule = "POSTROUTING -m ipvs --vaddr 10.1.0.100/32 --vport 80 -j SNAT --to-source 10.2.0.1";
    recipe(&inside(), &format!("iptables-legacy -t nat -A {rule}"), &format!("iptables-legacy -t nat -D {rule}"));
}

const NFT: &[&str] = &[ours::PROGRAM, "/usr/sbin/nft"];

fn by_nft() {
    nft(two_armed);
}

fn by_nft_on_one_segment() {
    nft(one_armed);
}

fn nft(inside: fn() -> Inside) {
    let inside = inside();
    inside.director.ok("nft add table ip fullnat");
    inside.director.ok("nft add chain ip fullnat out { type nat hook postrouting priority srcnat ; }");
    // nft has no match for IPVS, but knows where a connection went first.
    let rule = "meta l4proto { tcp, udp } ct original ip daddr 10.1.0.100 ct original proto-dst 80 snat to 10.2.0.1";
    recipe(&inside, &format!("nft add rule ip fullnat out {rule}"), "nft flush chain ip fullnat out");
}
