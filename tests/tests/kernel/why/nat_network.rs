//! Breaks of masquerading in the network: links, routes, neighbours, and the way of the replies.

use std::fmt::Write;
use std::time::{Duration, Instant};

use ipvs_tests::traffic::server::Protocol::{Http, Udp};

use super::nat::{rig, rig_6};
use super::{Rig, text};

ipvs_tests::tests! {
    the_director_does_not_forward;
    the_director_does_not_forward_ipv6;
    the_director_does_not_forward_from_one_device;
    a_server_does_not_answer_arp;
    a_server_does_not_answer_neighbour_solicitations;
    the_device_of_the_servers_is_down;
    the_cable_of_the_servers_is_unplugged;
    no_route_to_a_server;
    a_blackhole_for_a_server;
    a_server_replies_by_another_route;
    a_server_replies_by_another_route_in_ipv6;
    replies_of_udp_are_lost;
    nothing_listens_on_a_server;
    a_probe_finds_that_nothing_listens;
    a_probe_finds_that_replies_are_lost;
    a_client_in_the_network_of_the_servers;
    no_route_to_the_client;
    only_one_service_is_read, seconds = 180;
    the_reverse_path_filter_drops_the_client;
}

fn the_director_does_not_forward() {
    let rig = rig();
    rig.works();
    rig.director.sysctl("net/ipv4/ip_forward", "0").unwrap();
    let verdict = rig.is_mended_by_its_commands("forwarding");
    assert_eq!(verdict["commands"][0]["command"], "sysctl -w net.ipv4.ip_forward=1");
}

fn the_director_does_not_forward_ipv6() {
    let rig = rig_6();
    rig.works();
    rig.director.sysctl("net/ipv6/conf/all/forwarding", "0").unwrap();
    rig.is_mended_by_its_commands("forwarding");
}

fn the_director_does_not_forward_from_one_device() {
    let rig = rig();
    rig.works();
    rig.director.sysctl("net/ipv4/conf/eth1/forwarding", "0").unwrap();
    let verdict = rig.is_mended_by_its_commands("forwarding");
    assert_eq!(verdict["commands"][0]["command"], "sysctl -w net.ipv4.conf.eth1.forwarding=1");
}

fn a_server_does_not_answer_arp() {
    let rig = rig();
    rig.works();
    rig.lab.unplug(&rig.web1, "eth0").unwrap();
    rig.director.ok("ip neigh flush dev eth1");
    let verdict = rig.is_broken("neighbour");
    assert_eq!(verdict["text"], "10.2.0.11:8080: did not answer ARP on eth1");
    rig.lab.replug(&rig.web1, "eth0").unwrap();
    rig.forget_neighbours();
    rig.works();
}

fn a_server_does_not_answer_neighbour_solicitations() {
    let rig = rig_6();
    rig.works();
    rig.lab.unplug(&rig.web1, "eth0").unwrap();
    rig.director.ok("ip -6 neigh flush dev eth1");
    let verdict = rig.is_broken("neighbour");
    assert_eq!(verdict["text"], "[fd02::11]:8080: did not answer neighbour solicitations on eth1");
}

fn the_device_of_the_servers_is_down() {
    let rig = rig();
    rig.works();
    rig.director.ok("ip link set eth1 down");
    let verdict = rig.is_mended_by_its_commands("device");
    let expected = "10.2.0.12:8080 and 10.2.0.11:8080: eth1, the device of its network, is down";
    assert!(
        [expected, "10.2.0.11:8080 and 10.2.0.12:8080: eth1, the device of its network, is down"]
            .contains(&verdict["text"].as_str().unwrap()),
        "{verdict:#}"
    );
}

fn the_cable_of_the_servers_is_unplugged() {
    let rig = rig();
    rig.works();
    rig.lab.unplug(&rig.director, "eth1").unwrap();
    rig.is_broken("carrier");
    rig.lab.replug(&rig.director, "eth1").unwrap();
    rig.forget_neighbours();
    rig.works();
}

fn no_route_to_a_server() {
    let rig = rig();
    rig.works();
    rig.director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.4.0.11:8080 -m");
    let verdict = rig.is_broken("route");
    assert_eq!(verdict["text"], "10.4.0.11:8080: there is no route to it");
}

fn a_blackhole_for_a_server() {
    let rig = rig();
    rig.works();
    rig.director.ok("ip route add blackhole 10.2.0.12");
    let verdict = rig.is_broken("route");
    assert!(text(&verdict).contains("blackhole"), "{verdict:#}");
    rig.director.ok("ip route del blackhole 10.2.0.12");
    rig.works();
}

fn a_server_replies_by_another_route() {
    let rig = rig();
    rig.works();
    rig.web1.ok("ip route del default");
    let verdict = rig.is_broken("no_replies");
    assert_eq!(verdict["servers"].as_array().unwrap().len(), 1, "{verdict:#}");
    // The first command only shows the route, and fails without one.
    let route = verdict["commands"][1]["command"].as_str().unwrap();
    assert_eq!(route, "ip route replace default via 10.2.0.1");
    rig.web1.ok(route);
    rig.works();
}

fn a_server_replies_by_another_route_in_ipv6() {
    let rig = rig_6();
    rig.works();
    rig.web1.ok("ip -6 route del default");
    let verdict = rig.is_broken("no_replies");
    let route = verdict["commands"][1]["command"].as_str().unwrap();
    assert_eq!(route, "ip -6 route replace default via fd02::1");
    rig.web1.ok(route);
    rig.works();
}

fn replies_of_udp_are_lost() {
    let rig = Rig { why: "-u 10.1.0.100:53 --client 10.1.0.10".into(), ..rig() };
    rig.web1.serve(Udp, "10.2.0.11:53").unwrap();
    rig.director.ok("ipvsadm -A -u 10.1.0.100:53 -s rr");
    rig.director.ok("ipvsadm -a -u 10.1.0.100:53 -r 10.2.0.11:53 -m");
    rig.web1.ok("ip route del default");
    let client = rig.client.client().patience(Duration::from_millis(500));
    assert_eq!(client.datagrams(2, "10.1.0.100:53").to_string(), "timeout=2");
    rig.verdict("no_replies", "");
    rig.web1.gateway("10.2.0.1").unwrap();
    assert_eq!(client.datagrams(2, "10.1.0.100:53").to_string(), "web1=2");
}

/// Replaces web1 by a server that does not listen.
fn without_listener(rig: &Rig) {
    rig.director.ok("ipvsadm -d -t 10.1.0.100:80 -r 10.2.0.11:8080");
    rig.director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.11:8081 -m");
}

fn nothing_listens_on_a_server() {
    let rig = rig();
    rig.works();
    without_listener(&rig);
    let verdict = rig.is_broken("refused");
    assert_eq!(verdict["commands"][0]["command"], "ss -Hltn sport = :8081");
    rig.web1.serve(Http, "10.2.0.11:8081").unwrap();
    rig.works();
}

fn a_probe_finds_that_nothing_listens() {
    let rig = rig();
    let found = rig.json("--probe --probe-from client");
    assert!(found["verdict"].is_null(), "{found:#}");
    without_listener(&rig);
    let verdict = rig.verdict("probe", "--probe");
    assert_eq!(verdict["text"], "10.2.0.11:8081: refused a connection from this director");
}

fn a_probe_finds_that_replies_are_lost() {
    let rig = rig();
    rig.web1.ok("ip route del default");
    rig.web2.ok("ip route del default");
    rig.fails();
    let verdict = rig.verdict("no_replies", "--probe");
    assert!(text(&verdict).contains("accepts connections from the director"), "{verdict:#}");
}

fn a_client_in_the_network_of_the_servers() {
    let rig = rig();
    rig.works();
    let client = rig.lab.host("inner").unwrap();
    rig.lab.plug(&client, "inside", "10.2.0.10/24").unwrap();
    client.gateway("10.2.0.1").unwrap();
    rig.director.sysctl("net/ipv4/conf/all/send_redirects", "0").unwrap();
    let rig = Rig { client, why: "-t 10.1.0.100:80 --client 10.2.0.10".into(), ..rig };
    let verdict = rig.is_broken("same_network");
    assert_eq!(
        verdict["commands"][0]["command"],
        "ipvsadm-rs snat-rules -t 10.1.0.100:80 --to-source 10.2.0.1 | sh -e"
    );
    // Without the option, a connection that is not answered names the client.
    Rig { why: "-t 10.1.0.100:80".into(), ..rig }.verdict("same_network", "");
}

/// The best time of several runs is compared, because the machine may be busy.
fn only_one_service_is_read() {
    let rig = rig();
    let servers: String = (20..68).map(|last| format!("-a -t 10.1.0.100:80 -r 10.2.0.{last}:8080 -m\n")).collect();
    std::fs::write("servers", servers).unwrap();
    rig.director.shell("ipvsadm -R < servers").ok();
    let best = |line: &str| {
        let time = || {
            let start = Instant::now();
            rig.director.run(line);
            start.elapsed()
        };
        (0..5).map(|_| time()).min().unwrap()
    };
    let why = "ipvsadm-rs why -t 10.1.0.100:80 --client 10.1.0.10";
    let small = best(why);
    let mut table = String::new();
    for number in 0..10_000 {
        let service = format!("-t 10.7.{}.{}:80", number / 250, number % 250);
        writeln!(table, "-A {service} -s rr\n-a {service} -r 10.8.0.1:80 -m").unwrap();
    }
    std::fs::write("table", table).unwrap();
    rig.director.shell("IPVSADM_HISTORY=no ipvsadm -R < table").ok();
    let neighbours = (0..10_000).map(|number| {
        format!("neigh replace 10.9.{}.{} lladdr 02:00:00:00:00:01 dev eth1\n", number / 250, number % 250)
    });
    std::fs::write("neighbours", neighbours.collect::<String>()).unwrap();
    rig.director.ok("ip -batch neighbours");
    let (large, list) = (best(why), best("ipvsadm -Ln"));
    println!("{small:?}, with 10,000 services and neighbours {large:?}; all services {list:?}");
    // Reading all services takes at least as long as listing them.
    assert!(large * 3 < list * 2, "{large:?} {list:?}");
}

fn no_route_to_the_client() {
    let rig = rig();
    rig.works();
    rig.client.ok("ip address add 10.9.0.10/32 dev eth0");
    let client = rig.client.client().from("10.9.0.10").patience(Duration::from_millis(400));
    rig.director.ok("ip route add 10.9.0.0/24 dev eth0");
    assert_eq!(client.pages(2, &rig.target).to_string(), "web1=1 web2=1");
    rig.director.ok("ip route del 10.9.0.0/24");
    assert_eq!(client.pages(2, &rig.target).to_string(), "timeout=2");
    let rig = Rig { why: "-t 10.1.0.100:80 --client 10.9.0.10".into(), ..rig };
    let verdict = rig.verdict("route_back", "");
    assert_eq!(verdict["text"], "the director has no route to the client 10.9.0.10");
}

fn the_reverse_path_filter_drops_the_client() {
    let rig = rig();
    rig.works();
    rig.director.ok("ip route add 10.1.0.10/32 dev eth1");
    rig.director.sysctl("net/ipv4/conf/eth0/rp_filter", "1").unwrap();
    let verdict = rig.is_broken("reverse_path");
    assert!(text(&verdict).contains("leads through eth1, not eth0"), "{verdict:#}");
    rig.director.ok("ip route del 10.1.0.10/32 dev eth1");
    rig.works();
}
