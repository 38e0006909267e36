//! Services by firewall mark, which join several ports or addresses.
//!
//! ```text
//!   client ──── outside ──── director ──── inside ──┬── web1  10.2.0.11  fd02::11
//!  10.1.0.10               10.1.0.1    10.2.0.1     └── web2  10.2.0.12  fd02::12
//!   fd01::10                fd01::1     fd02::1
//!              virtual: 10.1.0.100, fd01::100
//! ```

use ipvs_tests::guest::modules;
use ipvs_tests::host::kernel;
use ipvs_tests::lab::topology::{Host, Nat};
use ipvs_tests::traffic::server::Protocol::{Http, Tcp, Udp};

use crate::under_test;

ipvs_tests::tests! {
    mark_joins_two_ports;
    mark_joins_two_ports_in_ipv6;
    mark_by_iptables_joins_two_ports, needs = "iptables";
    mark_is_separate_for_each_family;
    mark_joins_tcp_and_udp;
}

fn nat() -> Nat {
    let nat = Nat::dual_stack().unwrap();
    for web in [&nat.web1, &nat.web2] {
        web.serve(Http, "[::]:80").unwrap();
        web.serve(Http, "[::]:443").unwrap();
        web.serve(Tcp, "[::]:53").unwrap();
        web.serve(Udp, "[::]:53").unwrap();
    }
    under_test::install();
    nat
}

/// Marks packets from outside to an address and some ports. tc is used, because all kernels of the guests support it.
fn mark(director: &Host, number: u32, family: &str, address: &str, protocol: &str, ports: &[u16]) {
    director.run("tc qdisc add dev eth0 clsact");
    for port in ports {
        director.ok(&format!(
            "tc filter add dev eth0 ingress protocol {family} flower dst_ip {address} ip_proto {protocol} \
             dst_port {port} action skbedit mark {number}"
        ));
    }
}

fn mark_joins_two_ports() {
    let Nat { client, director, .. } = &nat();
    mark(director, 7, "ip", "10.1.0.100", "tcp", &[80, 443]);
    director.ok("ipvsadm -A -f 7 -s rr");
    director.ok("ipvsadm -a -f 7 -r 10.2.0.11 -m");
    director.ok("ipvsadm -a -f 7 -r 10.2.0.12 -m");
    assert_one_service(client, director, "-f 7", ["10.1.0.10", "10.1.0.11"], ["10.1.0.100:80", "10.1.0.100:443"]);
}

fn mark_joins_two_ports_in_ipv6() {
    let Nat { client, director, .. } = &nat();
    mark(director, 7, "ipv6", "fd01::100", "tcp", &[80, 443]);
    director.ok("ipvsadm -A -f 7 -6 -s rr");
    director.ok("ipvsadm -a -f 7 -6 -r [fd02::11] -m");
    director.ok("ipvsadm -a -f 7 -6 -r [fd02::12] -m");
    assert_one_service(client, director, "-f 7 -6", ["fd01::10", "fd01::11"], ["[fd01::100]:80", "[fd01::100]:443"]);
}

/// The most common setup. Debian's user-mode-linux has no iptables since Linux 7.0.
fn mark_by_iptables_joins_two_ports() {
    if let Err(error) = modules::load("iptable_mangle") {
        assert!(kernel::running() >= (7, 0), "{error:#}");
        println!("not on this kernel: {error:#}");
        return;
    }
    let Nat { client, director, .. } = &nat();
    for (iptables, vip) in [("iptables-legacy", "10.1.0.100"), ("ip6tables-legacy", "fd01::100")] {
        director.ok(&format!(
            "{iptables} -t mangle -A PREROUTING -d {vip} -p tcp -m multiport --dports 80,443 -j MARK --set-mark 7"
        ));
    }
    director.ok("ipvsadm -A -f 7 -s rr");
    director.ok("ipvsadm -a -f 7 -r 10.2.0.11 -m");
    director.ok("ipvsadm -a -f 7 -r 10.2.0.12 -m");
    assert_one_service(client, director, "-f 7", ["10.1.0.10", "10.1.0.11"], ["10.1.0.100:80", "10.1.0.100:443"]);
    director.ok("ipvsadm -A -f 7 -6 -s rr");
    director.ok("ipvsadm -a -f 7 -6 -r [fd02::11] -m");
    director.ok("ipvsadm -a -f 7 -6 -r [fd02::12] -m");
    assert_one_service(client, director, "-f 7 -6", ["fd01::10", "fd01::11"], ["[fd01::100]:80", "[fd01::100]:443"]);
}

/// Checks that rr alternates over all ports, and that with persistence a client has one server for all of them.
fn assert_one_service(client: &Host, director: &Host, service: &str, sources: [&str; 2], [http, https]: [&str; 2]) {
    let one_each = || {
        let replies = [http, https].map(|address| client.client().pages(1, address).to_string());
        assert_eq!(
            {
                let mut replies = replies.clone();
                replies.sort();
                replies
            },
            ["web1=1", "web2=1"]
        );
        replies
    };
    // With two servers and two ports, each port reaches the same server in the second round.
    assert_eq!(one_each(), one_each());

    director.ok(&format!("ipvsadm -E {service} -s rr -p 60"));
    let mut servers = sources.map(|source| {
        let replies = [http, https, https].map(|address| client.client().from(source).pages(2, address).to_string());
        assert!(replies.iter().all(|server| *server == replies[0]), "{source}: {replies:?}");
        replies[0].clone()
    });
    servers.sort();
    assert_eq!(servers, ["web1=2", "web2=2"]);
}

fn mark_is_separate_for_each_family() {
    let Nat { client, director, .. } = &nat();
    mark(director, 1, "ip", "10.1.0.100", "tcp", &[80]);
    mark(director, 1, "ipv6", "fd01::100", "tcp", &[80]);
    director.ok("ipvsadm -A -f 1 -s rr");
    director.ok("ipvsadm -a -f 1 -r 10.2.0.11 -m");
    assert_eq!(client.client().pages(2, "10.1.0.100:80").to_string(), "web1=2");
    assert_eq!(client.client().pages(1, "[fd01::100]:80").to_string(), "refused=1");
    director.ok("ipvsadm -A -f 1 -6 -s rr");
    director.ok("ipvsadm -a -f 1 -6 -r [fd02::12] -m");
    assert_eq!(client.client().pages(2, "10.1.0.100:80").to_string(), "web1=2");
    assert_eq!(client.client().pages(2, "[fd01::100]:80").to_string(), "web2=2");
    director.ok("ipvsadm -D -f 1");
    assert_eq!(client.client().pages(2, "[fd01::100]:80").to_string(), "web2=2");
}

fn mark_joins_tcp_and_udp() {
    let Nat { client, director, .. } = &nat();
    mark(director, 4294967295, "ip", "10.1.0.100", "tcp", &[53]);
    mark(director, 4294967295, "ip", "10.1.0.100", "udp", &[53]);
    director.ok("ipvsadm -A -f 4294967295 -s rr -p 60");
    director.ok("ipvsadm -a -f 4294967295 -r 10.2.0.11 -m");
    director.ok("ipvsadm -a -f 4294967295 -r 10.2.0.12 -m");
    let by_tcp = client.client().hold(2, "10.1.0.100:53").to_string();
    assert!(["web1=2", "web2=2"].contains(&by_tcp.as_str()), "{by_tcp}");
    assert_eq!(client.client().datagrams(2, "10.1.0.100:53").to_string(), by_tcp);
}
