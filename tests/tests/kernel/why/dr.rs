//! Breaks of direct routing. All hosts are on one segment.

use std::net::Ipv4Addr;

use ipvs::{Client, Destination, Forwarding, ServiceKey};
use ipvs_tests::lab::topology::Lan;
use ipvs_tests::traffic::server::Protocol::Http;

use super::{Rig, text};
use crate::under_test;

ipvs_tests::tests! {
    a_server_lacks_the_address;
    a_server_lacks_the_address_in_ipv6;
    a_server_has_another_port;
    a_server_does_not_answer_arp;
    a_server_answers_arp_for_the_address;
    a_router_is_before_a_server;
    a_service_by_mark;
    a_service_by_mark_in_ipv6;
    packets_with_the_mark_are_not_delivered;
}

fn rig(vip: &str, servers: [&str; 2]) -> Rig {
    under_test::install();
    let Lan { lab, client, director, web1, web2 } = Lan::new().unwrap();
    let web = if vip.contains(':') { format!("[{vip}]:80") } else { format!("{vip}:80") };
    director.ok(&format!("ipvsadm -A -t {web} -s rr"));
    for (host, server) in [(&web1, servers[0]), (&web2, servers[1])] {
        under_test::real_server(host, &format!("--mode dr --vip {vip}"));
        host.serve(Http, if vip.contains(':') { "[::]:80" } else { "0.0.0.0:80" }).unwrap();
        director.ok(&format!("ipvsadm -a -t {web} -r {server} -g"));
    }
    let why = format!("-t {web} --client {}", if vip.contains(':') { "fd01::10" } else { "10.1.0.10" });
    Rig { lab, client, director, web1, web2, why, target: web }
}

fn rig_4() -> Rig {
    rig("10.1.0.100", ["10.1.0.11", "10.1.0.12"])
}

fn a_server_lacks_the_address() {
    let rig = rig_4();
    rig.works();
    rig.web1.ok("ip address del 10.1.0.100/32 dev lo");
    let verdict = rig.is_mended_by_its_commands("no_answer");
    assert_eq!(verdict["commands"][0]["command"], "ipvsadm-rs rs-setup --mode dr --vip 10.1.0.100 | sh -e");
}

fn a_server_lacks_the_address_in_ipv6() {
    let rig = rig("fd01::100", ["[fd01::11]:80", "[fd01::12]:80"]);
    rig.works();
    rig.web1.ok("ip -6 address del fd01::100/128 dev lo");
    rig.is_mended_by_its_commands("no_answer");
}

/// ipvsadm gives the server the port of the service. Other programs can set another one.
fn a_server_has_another_port() {
    let rig = rig_4();
    rig.works();
    let key = ServiceKey::tcp(Ipv4Addr::new(10, 1, 0, 100), 81);
    rig.director.ok("ipvsadm -A -t 10.1.0.100:81 -s rr");
    let server = Destination::new((Ipv4Addr::new(10, 1, 0, 11), 80), Forwarding::DirectRoute);
    rig.director.enter(|| Client::open().unwrap().add_destination(&key, &server)).unwrap();
    let rig = Rig { why: "-t 10.1.0.100:81".into(), target: "10.1.0.100:81".into(), ..rig };
    rig.is_broken("port");
}

fn a_server_does_not_answer_arp() {
    let rig = rig_4();
    rig.works();
    rig.lab.unplug(&rig.web1, "eth0").unwrap();
    rig.director.ok("ip neigh flush dev eth0");
    let verdict = rig.is_broken("neighbour");
    assert_eq!(verdict["text"], "10.1.0.11:80: did not answer ARP on eth0");
}

/// The first answer wins, so the test sets the neighbour of the client.
fn a_server_answers_arp_for_the_address() {
    let rig = rig_4();
    rig.works();
    let found = rig.json("--probe-from client");
    assert!(found["verdict"].is_null(), "{found:#}");
    let link = rig.web1.ok("ip -oneline link show eth0");
    let hardware = link.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap();
    rig.client.ok(&format!("ip neigh replace 10.1.0.100 lladdr {hardware} dev eth0"));
    assert_eq!(rig.client.client().pages(4, &rig.target).to_string(), "web1=4", "the director is bypassed");
    let verdict = rig.verdict("arp_of_server", "--probe-from client");
    assert_eq!(verdict["text"], "10.1.0.11:80: answers ARP for 10.1.0.100");
    rig.mend(&verdict, &rig.web1);
    rig.client.ok("ip neigh del 10.1.0.100 dev eth0");
    rig.works();
}

fn a_router_is_before_a_server() {
    let rig = rig_4();
    rig.works();
    let [router, web3] = rig.lab.hosts(["router", "web3"]).unwrap();
    rig.lab.plug(&router, "lan", "10.1.0.254/24").unwrap();
    rig.lab.segment("back", [(&router, "10.3.0.254/24"), (&web3, "10.3.0.13/24")]).unwrap();
    router.sysctl("net/ipv4/ip_forward", "1").unwrap();
    web3.gateway("10.3.0.254").unwrap();
    under_test::real_server(&web3, "--mode tun-ipip --vip 10.1.0.100 --own 10.3.0.13");
    web3.serve(Http, "0.0.0.0:80").unwrap();
    rig.director.route("10.3.0.0/24", "10.1.0.254").unwrap();
    rig.director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.3.0.13 -g");
    let verdict = rig.is_broken("segment");
    assert!(text(&verdict).contains("the router 10.1.0.254 is between"), "{verdict:#}");
    rig.mend(&verdict, &web3);
    assert_eq!(rig.client.client().pages(3, &rig.target).to_string(), "web1=1 web2=1 web3=1");
    rig.is_not_broken();
}

/// Marks packets of the client with tc, which all kernels of the guests support.
fn mark(rig: &Rig, family: &str, address: &str) {
    rig.director.ok("tc qdisc add dev eth0 clsact");
    rig.director.ok(&format!(
        "tc filter add dev eth0 ingress protocol {family} flower dst_ip {address} ip_proto tcp dst_port 80 action \
         skbedit mark 7"
    ));
}

/// Replaces the service by one for mark 7, which tc sets.
fn serve_by_mark(rig: &Rig) {
    rig.director.ok("ipvsadm -C");
    rig.director.ok("ipvsadm -A -f 7 -s rr");
    rig.director.ok("ipvsadm -a -f 7 -r 10.1.0.11 -g");
    rig.director.ok("ipvsadm -a -f 7 -r 10.1.0.12 -g");
    mark(rig, "ip", "10.1.0.100");
}

fn a_service_by_mark() {
    let rig = rig_4();
    serve_by_mark(&rig);
    let rig = Rig { why: "-f 7 --to 10.1.0.100:80 --client 10.1.0.10".into(), ..rig };
    rig.works();
    rig.web1.ok("ip address del 10.1.0.100/32 dev lo");
    rig.is_mended_by_its_commands("no_answer");
    rig.director.ok("ipvsadm -D -f 7");
    rig.director.ok("ipvsadm -A -f 7 -6 -s rr");
    let verdict = rig.verdict("service", "");
    assert!(text(&verdict).contains("FWM 7 IPv6 exists"), "{verdict:#}");
}

fn a_service_by_mark_in_ipv6() {
    let rig = rig("fd01::100", ["[fd01::11]:80", "[fd01::12]:80"]);
    rig.director.ok("ipvsadm -C");
    rig.director.ok("ipvsadm -A -f 7 -6 -s rr");
    rig.director.ok("ipvsadm -a -f 7 -6 -r [fd01::11]:0 -g");
    rig.director.ok("ipvsadm -a -f 7 -6 -r [fd01::12]:0 -g");
    mark(&rig, "ipv6", "fd01::100");
    let rig = Rig { why: "-f 7 -6 --to [fd01::100]:80 --client fd01::10".into(), ..rig };
    rig.works();
    rig.web1.ok("ip -6 address del fd01::100/128 dev lo");
    rig.is_mended_by_its_commands("no_answer");
}

fn packets_with_the_mark_are_not_delivered() {
    let rig = rig_4();
    serve_by_mark(&rig);
    let rig = Rig { why: "-f 7 --to 10.1.0.100:80".into(), ..rig };
    rig.works();
    rig.director.ok("ip address del 10.1.0.100/32 dev eth0");
    let verdict = rig.is_broken("address");
    assert!(text(&verdict).contains("packets with mark 7 to 10.1.0.100 are not delivered"), "{verdict:#}");
    rig.mend(&verdict, &rig.web1);
    rig.works();
}
