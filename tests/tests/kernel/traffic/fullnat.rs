//! The mainline replacement for FULLNAT: servers see the director's address and need no route back to the client. It
//! consists of masquerading, `net.ipv4.vs.conntrack=1` and a rule that rewrites the source address.
//!
//! ```text
//!   client ──── outside ──── director ──── inside ──┬── web1  10.2.0.11   no routes except
//!  10.1.0.10               10.1.0.1   10.2.0.1      └── web2  10.2.0.12   to their network
//!                 virtual: 10.1.0.100
//! ```

use std::time::Duration;

use ipvs_tests::command::install;
use ipvs_tests::guest::modules;
use ipvs_tests::host::kernel;
use ipvs_tests::lab::topology::{Host, Lab};
use ipvs_tests::traffic::server::Protocol::{Tcp, Udp};

use crate::under_test;

ipvs_tests::tests! {
    snat_by_iptables, needs = "iptables";
    snat_by_iptables_on_one_segment, needs = "iptables";
    snat_of_marks_and_ranges_by_iptables, needs = "iptables";
    snat_of_marks_and_ranges_by_nft, needs = "qemu-system-x86", needs = "nftables", cloud = NFT;
    snat_by_nft, needs = "qemu-system-x86", needs = "nftables", cloud = NFT;
    snat_by_nft_on_one_segment, needs = "qemu-system-x86", needs = "nftables", cloud = NFT;
}

struct Inside {
    _lab: Lab,
    client: Host,
    director: Host,
}

/// Builds the two segments drawn above.
fn two_armed() -> Inside {
    let lab = Lab::new().unwrap();
    let [client, director, web1, web2] = lab.hosts(["client", "director", "web1", "web2"]).unwrap();
    lab.segment("outside", [(&client, "10.1.0.10/24"), (&director, "10.1.0.1/24 10.1.0.100/32")]).unwrap();
    let inside = [(&director, "10.2.0.1/24"), (&web1, "10.2.0.11/24"), (&web2, "10.2.0.12/24")];
    lab.segment("inside", inside).unwrap();
    ready(lab, client, director, [web1, web2])
}

/// Builds one segment, `10.2.0.0/24`, with all hosts. Without SNAT a server would reply directly to the client, which
/// rejects packets from an address that it has not connected to.
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
    under_test::install();
    for (protocol, service) in [(Tcp, "-t 10.1.0.100:80"), (Udp, "-u 10.1.0.100:80")] {
        director.ok(&format!("ipvsadm -A {service} -s rr"));
        for (web, server) in webs.iter().zip(["10.2.0.11:8080", "10.2.0.12:8080"]) {
            web.serve(protocol, server).unwrap();
            director.ok(&format!("ipvsadm -a {service} -r {server} -m"));
        }
    }
    Inside { _lab: lab, client, director }
}

/// Checks that connections work with the commands of `ipvsadm-rs snat-rules`, and fail without either half of them.
fn check_snat_rules(Inside { client, director, .. }: &Inside, firewall: &str, remove: &str) {
    assert_timeouts(client);
    for service in ["-t 10.1.0.100:80", "-u 10.1.0.100:80"] {
        let printed = director.ok(&format!("ipvsadm-rs snat-rules {service} --to-source 10.2.0.1 --for {firewall}"));
        director.shell(&format!("set -e\n{printed}")).ok();
    }
    director.sysctl("net/ipv4/vs/conntrack", "0").unwrap();
    assert_timeouts(client);
    director.sysctl("net/ipv4/vs/conntrack", "1").unwrap();
    assert_replies(client);
    director.ok(remove);
    assert_timeouts(client);
    // Without --to-source the address is that of the interface towards the servers.
    for service in ["-t 10.1.0.100:80", "-u 10.1.0.100:80"] {
        let printed = director.ok(&format!("ipvsadm-rs snat-rules {service} --for {firewall}"));
        director.shell(&format!("set -e\n{printed}")).ok();
    }
    assert_replies(client);
}

fn assert_replies(client: &Host) {
    let (held, datagrams) = (client.client().hold(2, "10.1.0.100:80"), client.client().datagrams(2, "10.1.0.100:80"));
    assert_eq!([held.to_string(), datagrams.to_string()], ["web1=1 web2=1"; 2]);
    assert_eq!(held.again().to_string(), "web1=1 web2=1");
    for peer in held.peers.iter().chain(&datagrams.peers) {
        assert!(peer.starts_with("10.2.0.1:"), "the server sees the client as {peer}");
    }
}

fn assert_timeouts(client: &Host) {
    let client = client.client().patience(Duration::from_millis(400));
    assert_eq!(client.hold(2, "10.1.0.100:80").to_string(), "timeout=2");
    assert_eq!(client.datagrams(2, "10.1.0.100:80").to_string(), "timeout=2");
}

fn snat_by_iptables() {
    iptables(two_armed);
}

fn snat_by_iptables_on_one_segment() {
    iptables(one_armed);
}

/// Prepares iptables. Returns whether this kernel has its modules.
pub(crate) fn has_iptables() -> bool {
    // Debian's user-mode-linux has the iptables modules up to 6.12, and never those of nft.
    if let Err(error) = modules::load("iptable_nat") {
        assert!(kernel::running() >= (7, 0), "{error:#}");
        println!("not on this kernel: {error:#}");
        return false;
    }
    // Debian has two variants. This kernel has only the modules of iptables-legacy.
    install("/usr/sbin/iptables-legacy", "/usr/local/sbin/iptables").unwrap();
    true
}

fn iptables(inside: fn() -> Inside) {
    if has_iptables() {
        check_snat_rules(&inside(), "iptables", "iptables -t nat -F POSTROUTING");
    }
}

fn snat_of_marks_and_ranges_by_iptables() {
    if has_iptables() {
        let mark = "iptables -t mangle -A PREROUTING -d 10.1.0.100 -p tcp --dport 80 -j MARK --set-mark 7";
        check_marks_and_ranges("iptables", mark, "iptables -t nat -F POSTROUTING");
    }
}

fn snat_of_marks_and_ranges_by_nft() {
    let mark = "nft add table ip marks && \
                nft add chain ip marks in '{ type filter hook prerouting priority mangle; }' && \
                nft add rule ip marks in ip daddr 10.1.0.100 tcp dport 80 meta mark set 7";
    check_marks_and_ranges("nft", mark, "nft flush chain ip ipvs-snat out");
}

/// Checks the rules for a range of ports that includes the service's, and for a service of a firewall mark.
fn check_marks_and_ranges(firewall: &str, mark: &str, remove: &str) {
    let Inside { client, director, .. } = &two_armed();
    let assert_tcp = |expected: &str| {
        let client = client.client().patience(Duration::from_secs(if expected.contains("timeout") { 1 } else { 20 }));
        let held = client.hold(2, "10.1.0.100:80");
        assert_eq!(held.to_string(), expected);
        let peers: Vec<_> = held.peers.iter().filter(|peer| !peer.is_empty()).collect();
        assert!(peers.iter().all(|peer| peer.starts_with("10.2.0.1:")), "{peers:?}");
    };
    let run_rules = |service: &str| {
        let printed = director.ok(&format!("ipvsadm-rs snat-rules {service} --for {firewall}"));
        director.shell(&format!("set -e\n{printed}")).ok();
    };
    run_rules("-t 10.1.0.100:81-90");
    assert_tcp("timeout=2");
    run_rules("-t 10.1.0.100:70-90");
    assert_tcp("web1=1 web2=1");
    director.ok(remove);
    director.ok("ipvsadm -D -t 10.1.0.100:80");
    director.ok("ipvsadm -A -f 7 -s rr");
    director.ok("ipvsadm -a -f 7 -r 10.2.0.11:8080 -m");
    director.ok("ipvsadm -a -f 7 -r 10.2.0.12:8080 -m");
    director.shell(mark).ok();
    assert_tcp("timeout=2");
    run_rules("-f 7");
    assert_tcp("web1=1 web2=1");
}

const NFT: &[&str] = &[under_test::PROGRAM, "/usr/sbin/nft", "/usr/sbin/sysctl"];

fn snat_by_nft() {
    nft(two_armed);
}

fn snat_by_nft_on_one_segment() {
    nft(one_armed);
}

fn nft(inside: fn() -> Inside) {
    check_snat_rules(&inside(), "nft", "nft flush chain ip ipvs-snat out");
}
