//! The server that each scheduler picks, with each of its flags.
//!
//! ```text
//!     client ──── outside ──── director ──── inside ──┬── rs1  10.2.0.11
//!  10.1.0.10 …               10.1.0.1   10.2.0.1      ├── rs2  10.2.0.12
//!       10.1.0.17  virtual: 10.1.0.100 … 10.1.0.107   └── rs3  10.2.0.13
//! ```

use std::fmt::Display;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipvs_tests::command::Ran;
use ipvs_tests::lab::topology::{Host, Lab};
use ipvs_tests::traffic::client::Replies;
use ipvs_tests::traffic::server::Protocol::{Tcp, Udp};
use ipvs_tests::wait;

use crate::under_test;

ipvs_tests::tests! {
    rr_ignores_weights;
    wrr_takes_turns_by_weight;
    lc_picks_the_fewest_connections;
    wlc_picks_the_fewest_connections_per_weight;
    wlc_avoids_a_loaded_server;
    sed_picks_the_shortest_expected_delay;
    nq_picks_an_idle_server_first;
    sh_picks_by_source_hash;
    sh_port_spreads_one_source;
    sh_fallback_replaces_a_drained_server;
    mh_keeps_sources_when_a_server_is_deleted;
    mh_port_spreads_one_source;
    mh_fallback_replaces_a_drained_server;
    dh_picks_by_destination_hash;
    lblc_keeps_the_server_of_a_destination;
    lblcr_keeps_the_server_of_a_destination;
    fo_picks_the_heaviest_available;
    ovf_fills_the_heaviest_first;
    thresholds_close_and_reopen_a_server;
}

struct Farm {
    _lab: Lab,
    client: Host,
    director: Host,
}

const SOURCES: [&str; 8] =
    ["10.1.0.10", "10.1.0.11", "10.1.0.12", "10.1.0.13", "10.1.0.14", "10.1.0.15", "10.1.0.16", "10.1.0.17"];

const VIPS: [&str; 8] =
    ["10.1.0.100", "10.1.0.101", "10.1.0.102", "10.1.0.103", "10.1.0.104", "10.1.0.105", "10.1.0.106", "10.1.0.107"];

const WEB: &str = "-t 10.1.0.100:80";

fn farm() -> Farm {
    let lab = Lab::new().unwrap();
    let [client, director, rs1, rs2, rs3] = lab.hosts(["client", "director", "rs1", "rs2", "rs3"]).unwrap();
    let outside = [
        (&client, &*with_prefix_length(&SOURCES)),
        (&director, &*format!("10.1.0.1/24 {}", with_prefix_length(&VIPS))),
    ];
    lab.segment("outside", outside).unwrap();
    let inside = [(&director, "10.2.0.1/24"), (&rs1, "10.2.0.11/24"), (&rs2, "10.2.0.12/24"), (&rs3, "10.2.0.13/24")];
    lab.segment("inside", inside).unwrap();
    director.sysctl("net/ipv4/ip_forward", "1").unwrap();
    // On 7.2 an ICMP error arrives while connect() is still running. The client then notices it only at its retry after
    // a second.
    director.send_all_icmp_errors().unwrap();
    for rs in [&rs1, &rs2, &rs3] {
        rs.gateway("10.2.0.1").unwrap();
        rs.serve(Tcp, "0.0.0.0:80").unwrap();
        rs.serve(Udp, "0.0.0.0:53").unwrap();
    }
    under_test::install();
    Farm { _lab: lab, client, director }
}

fn with_prefix_length(addresses: &[&str]) -> String {
    addresses.iter().map(|address| format!("{address}/24 ")).collect()
}

impl Farm {
    /// Adds a service and the servers rs1, rs2, … with these weights.
    fn service<const N: usize>(&self, service: &str, options: &str, weights: [u32; N]) {
        self.director.ok(&format!("ipvsadm -A {service} {options}"));
        for (number, weight) in (1..).zip(weights) {
            self.server("-a", service, number, weight);
        }
    }

    fn server(&self, command: &str, service: &str, number: u32, weight: u32) {
        self.director.ok(&format!("ipvsadm {command} {service} -r 10.2.0.1{number} -m -w {weight}"));
    }

    /// Sets the weight of a server of [`WEB`].
    fn weight(&self, number: u32, weight: u32) {
        self.server("-e", WEB, number, weight);
    }

    fn remove(&self, number: u32) -> Ran {
        self.director.run(&format!("ipvsadm -d {WEB} -r 10.2.0.1{number}"))
    }

    fn hold(&self, count: usize) -> Replies {
        self.client.client().hold(count, "10.1.0.100:80")
    }

    /// Opens connections one after the other, each closed before the next. Returns the count for each server.
    fn visits(&self, count: usize) -> String {
        let one = |_| self.hold(1).servers.remove(0);
        Replies { servers: (0..count).map(one).collect(), ..Replies::default() }.to_string()
    }

    /// Returns the server for each source, and checks that it is the same a second time.
    fn by_source(&self) -> [String; 8] {
        let ask = || SOURCES.map(|source| self.client.client().from(source).hold(1, "10.1.0.100:80").servers.remove(0));
        let replies = ask();
        assert_eq!(ask(), replies, "the second time");
        replies
    }

    /// Returns the server for each of 24 ports of one source.
    fn by_port(&self) -> Vec<String> {
        let ask =
            |port| self.client.client().from(&format!("10.1.0.10:{port}")).hold(1, "10.1.0.100:80").servers.remove(0);
        (40_001..=40_024).map(ask).collect()
    }

    /// Marks all packets to the virtual addresses with 1.
    fn mark_all(&self) {
        self.director.ok("tc qdisc add dev eth0 clsact");
        self.director
            .ok("tc filter add dev eth0 ingress protocol ip flower dst_ip 10.1.0.100/30 action skbedit mark 1");
        self.director
            .ok("tc filter add dev eth0 ingress protocol ip flower dst_ip 10.1.0.104/30 action skbedit mark 1");
    }
}

/// Returns the number of different servers.
fn different<T: Display>(servers: &[T]) -> usize {
    servers.iter().map(T::to_string).collect::<std::collections::BTreeSet<_>>().len()
}

fn rr_ignores_weights() {
    let farm = farm();
    farm.service(WEB, "-s rr", [1, 7, 1]);
    assert_eq!(farm.visits(9), "rs1=3 rs2=3 rs3=3");
    farm.weight(2, 0);
    assert_eq!(farm.visits(6), "rs1=3 rs3=3");
    farm.weight(1, 0);
    farm.weight(3, 0);
    assert_eq!(farm.visits(2), "refused=2");
}

fn wrr_takes_turns_by_weight() {
    let farm = farm();
    farm.service(WEB, "-s wrr", [1, 2, 3]);
    assert_eq!(farm.visits(12), "rs1=2 rs2=4 rs3=6");
    farm.weight(3, 0);
    assert_eq!(farm.visits(6), "rs1=2 rs2=4");
}

fn lc_picks_the_fewest_connections() {
    let farm = farm();
    farm.service(WEB, "-s lc", [1]);
    let held = farm.hold(4);
    assert_eq!(held.to_string(), "rs1=4");
    // lc ignores the weight.
    farm.server("-a", WEB, 2, 1);
    farm.server("-a", WEB, 3, 9);
    assert_eq!(farm.hold(8).to_string(), "rs2=4 rs3=4");
}

fn wlc_picks_the_fewest_connections_per_weight() {
    let farm = farm();
    // wlc is the default scheduler.
    farm.service(WEB, "", [1, 2, 3]);
    assert!(farm.director.ok("ipvsadm -Ln").contains("TCP  10.1.0.100:80 wlc\n"));
    assert_eq!(farm.hold(12).to_string(), "rs1=2 rs2=4 rs3=6");
}

fn wlc_avoids_a_loaded_server() {
    let farm = farm();
    farm.service(WEB, "-s wlc", [1]);
    let held = farm.hold(4);
    assert_eq!(held.to_string(), "rs1=4");
    farm.server("-a", WEB, 2, 2);
    farm.server("-a", WEB, 3, 2);
    assert_eq!(farm.hold(8).to_string(), "rs2=4 rs3=4");
}

/// The delay is (connections + 1) / weight. A slow server stays idle as long as a fast one has a shorter delay.
fn sed_picks_the_shortest_expected_delay() {
    let farm = farm();
    farm.service(WEB, "-s sed", [1, 2, 4]);
    let held = farm.hold(2);
    assert_eq!(held.servers, ["rs3", "rs3"], "1/4, 2/4 against 1/2 and 1/1");
    let more = farm.hold(5);
    assert_eq!(
        Replies { servers: [held.servers, more.servers].concat(), ..Replies::default() }.to_string(),
        "rs1=1 rs2=2 rs3=4"
    );
}

fn nq_picks_an_idle_server_first() {
    let farm = farm();
    farm.service(WEB, "-s nq", [1, 3]);
    let held = farm.hold(2);
    assert_eq!(held.to_string(), "rs1=1 rs2=1");
    let more = farm.hold(6);
    assert_eq!(more.to_string(), "rs1=1 rs2=5");
}

/// Returns the server that sh picks for a source. The 256 slots contain the servers in turn, newest first, each as
/// often as its weight (`ip_vs_sh_reassign` and `ip_vs_sh_hashkey` in `ip_vs_sh.c`).
fn owner(address: &str, newest_first: [&str; 3]) -> String {
    let address = u32::from(address.parse::<Ipv4Addr>().unwrap());
    let slot = address.wrapping_mul(0x61C8_8647) >> 24;
    newest_first[slot as usize % 3].to_owned()
}

fn sh_picks_by_source_hash() {
    let farm = farm();
    farm.service(WEB, "-s sh", [1, 1, 1]);
    let wanted = SOURCES.map(|source| owner(source, ["rs3", "rs2", "rs1"]));
    assert!(different(&wanted) >= 2, "{wanted:?}");
    assert_eq!(farm.by_source(), wanted);
    // A server that is deleted and added again is the newest, so clients of other servers are remapped, too.
    farm.remove(1).ok();
    farm.server("-a", WEB, 1, 1);
    assert_eq!(farm.by_source(), SOURCES.map(|source| owner(source, ["rs1", "rs3", "rs2"])));
}

fn sh_port_spreads_one_source() {
    let farm = farm();
    farm.service(WEB, "-s sh", [1, 1, 1]);
    assert_eq!(different(&farm.by_port()), 1);
    farm.director.ok(&format!("ipvsadm -E {WEB} -s sh -b sh-port"));
    // Use other ports, because existing connections stay with their server for a while.
    let ask = |port| farm.client.client().from(&format!("10.1.0.10:{port}")).hold(1, "10.1.0.100:80").servers.remove(0);
    let replies: Vec<String> = (41_001..=41_024).map(ask).collect();
    assert_eq!(different(&replies), 3, "{replies:?}");
}

fn sh_fallback_replaces_a_drained_server() {
    fallback("sh", "sh-fallback");
}

fn mh_fallback_replaces_a_drained_server() {
    fallback("mh", "mh-fallback");
}

fn fallback(scheduler: &str, flag: &str) {
    let farm = farm();
    farm.service(WEB, &format!("-s {scheduler}"), [1, 1, 1]);
    let before = farm.by_source();
    let drained = before[0].clone();
    farm.weight(drained.trim_start_matches("rs").parse().unwrap(), 0);
    assert_eq!(farm.client.client().from(SOURCES[0]).hold(1, "10.1.0.100:80").to_string(), "refused=1");
    farm.director.ok(&format!("ipvsadm -E {WEB} -s {scheduler} -b {flag}"));
    assert!(farm.director.ok("ipvsadm -Ln").contains(&format!("{scheduler} ({flag})")));
    for (now, was) in farm.by_source().iter().zip(&before) {
        assert!(if *was == drained { now.starts_with("rs") && *now != drained } else { now == was }, "{was}: {now}");
    }
}

fn mh_keeps_sources_when_a_server_is_deleted() {
    let farm = farm();
    farm.service(WEB, "-s mh", [1, 1, 1]);
    let before = farm.by_source();
    assert!(different(&before) >= 2, "{before:?}");
    let deleted = before[0].clone();
    farm.remove(deleted.trim_start_matches("rs").parse().unwrap()).ok();
    let after = farm.by_source();
    assert!(!after.contains(&deleted), "{after:?}");
    // Maglev hashing may also move some sources of the other servers: in theory up to a quarter of them.
    let remapped = after.iter().zip(&before).filter(|(now, was)| **was != deleted && now != was).count();
    assert!(remapped <= 2, "{before:?} {after:?}");
}

fn mh_port_spreads_one_source() {
    let farm = farm();
    farm.service(WEB, "-s mh -b mh-port", [1, 1, 1]);
    assert_eq!(different(&farm.by_port()), 3);
}

fn dh_picks_by_destination_hash() {
    let farm = farm();
    farm.mark_all();
    farm.service("-f 1", "-s dh", [1, 1, 1]);
    let ask = || VIPS.map(|vip| farm.client.client().hold(1, &format!("{vip}:80")).servers.remove(0));
    let wanted = VIPS.map(|vip| owner(vip, ["rs3", "rs2", "rs1"]));
    assert!(different(&wanted) >= 2, "{wanted:?}");
    assert_eq!(ask(), wanted);
    assert_eq!(ask(), wanted);
}

fn lblc_keeps_the_server_of_a_destination() {
    keeps_the_server_of_a_destination("lblc");
}

fn lblcr_keeps_the_server_of_a_destination() {
    keeps_the_server_of_a_destination("lblcr");
}

fn keeps_the_server_of_a_destination(scheduler: &str) {
    let farm = farm();
    farm.mark_all();
    farm.service("-f 1", &format!("-s {scheduler}"), [1, 1, 1]);
    let ask = |vip: &str| farm.client.client().hold(1, &format!("{vip}:80"));
    let held: Vec<Replies> = VIPS[..6].iter().map(|vip| ask(vip)).collect();
    let servers: Vec<String> = held.iter().map(Replies::to_string).collect();
    for server in ["rs1=1", "rs2=1", "rs3=1"] {
        assert_eq!(servers.iter().filter(|found| *found == server).count(), 2, "{servers:?}");
    }
    assert_eq!(VIPS[..6].iter().map(|vip| ask(vip).to_string()).collect::<Vec<_>>(), servers);
}

fn fo_picks_the_heaviest_available() {
    let farm = farm();
    farm.service(WEB, "-s fo", [1, 5, 3]);
    assert_eq!(farm.visits(4), "rs2=4");
    farm.weight(2, 0);
    assert_eq!(farm.visits(4), "rs3=4");
    farm.remove(3).ok();
    assert_eq!(farm.visits(4), "rs1=4");
    farm.weight(2, 5);
    assert_eq!(farm.visits(4), "rs2=4");
}

/// Each server gets one connection more than its weight.
fn ovf_fills_the_heaviest_first() {
    let farm = farm();
    farm.service(WEB, "-s ovf", [1, 2, 3]);
    let held = farm.hold(10);
    assert_eq!(held.servers, ["rs3", "rs3", "rs3", "rs3", "rs2", "rs2", "rs2", "rs1", "rs1", "refused"]);
}

/// Uses UDP, since the lifetime of its connections can be set.
fn thresholds_close_and_reopen_a_server() {
    let farm = farm();
    let dns = "-u 10.1.0.100:53";
    farm.service(dns, "-s rr", [1, 1]);
    let set_limits = |upper, lower| {
        farm.director.ok(&format!("ipvsadm -e {dns} -r 10.2.0.11 -m -w 1 -x {upper} -y {lower}"));
    };
    let ask = |port: &u16| {
        let client = farm.client.client().from(&format!("10.1.0.10:{port}"));
        client.datagrams(1, "10.1.0.100:53").servers.remove(0)
    };
    let of_rs1 = |ports: std::ops::Range<u16>| ports.filter(|port| ask(port) == "rs1").collect::<Vec<_>>();
    let known = || farm.director.ok("ipvsadm -Lnc").matches("10.2.0.11:53").count();

    set_limits(2, 1);
    let mut at_rs1 = of_rs1(20_000..20_008);
    assert_eq!(at_rs1.len(), 2);
    let list = farm.director.ok("ipvsadm -Ln --thresholds");
    let line = list.lines().find(|line| line.contains("10.2.0.11:53")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    // Upper, lower, active, inactive.
    assert_eq!(words, ["->", "10.2.0.11:53", "2", "1", "0", "2"]);

    // Higher thresholds reopen it at once. (Both are raised: since 7.0 a server between them keeps its state.)
    set_limits(4, 3);
    at_rs1.extend(of_rs1(20_010..20_018));
    assert_eq!(at_rs1.len(), 4);

    // Connections that end reopen it when fewer than the lower threshold are left.
    farm.director.ok("ipvsadm --set 0 0 1");
    for (end, left, opened) in [(at_rs1[0], 3, false), (at_rs1[1], 2, true)] {
        assert_eq!(ask(&end), "rs1", "restarts the timer of this connection, with a second left");
        wait::until(Duration::from_secs(30), || if known() == left { Ok(()) } else { Err(known().to_string()) });
        assert_eq!(!of_rs1(20_020..20_022).is_empty(), opened, "with {left} connections");
    }
}
