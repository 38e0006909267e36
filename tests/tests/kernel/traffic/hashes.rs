//! Compares the servers that sh, dh and mh pick with the library's computation, for 200 sources (dh: 200 destinations).
//! [`ipvs_tests::lab::farm`] has a drawing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipvs::hash::{LookupTable, TableSizes};
use ipvs::{Client, Destination, DestinationKey, Scheduler};
use ipvs_tests::lab::farm::{self, nth, source_4, source_6};
use ipvs_tests::lab::topology::{Host, Lab};
use serde_json::Value;

use crate::under_test;

ipvs_tests::tests! {
    sh_by_address;
    sh_by_address_and_port;
    sh_with_a_drained_server;
    sh_with_fallback;
    sh_of_ipv6;
    mh_by_address;
    mh_by_address_and_port;
    mh_with_a_drained_server;
    mh_with_a_new_server_of_weight_0;
    mh_with_fallback;
    mh_of_ipv6;
    dh_by_destination;
}

const SOURCES: u32 = 200;

struct Farm {
    _lab: Lab,
    client: Host,
    director: Host,
    /// The last weight other than 0 of each server since it was added. There is one service.
    last_weights: RefCell<BTreeMap<DestinationKey, u32>>,
    /// The next source port. Each round uses another one, since connections stay with their server for a while.
    port: Cell<u16>,
}

fn farm() -> Farm {
    let farm::Farm { lab, client, director } = farm::Farm::new().unwrap();
    under_test::install();
    Farm { _lab: lab, client, director, last_weights: RefCell::default(), port: Cell::new(20_000) }
}

/// Returns rules for a service and servers with their weights.
fn rules(service: &str, options: &str, servers: &[(&str, u32)]) -> String {
    let server = |(server, weight): &(&str, u32)| format!("-a {service} -r {server} -m -w {weight}\n");
    format!("-A {service} {options}\n{}", servers.iter().map(server).collect::<String>())
}

impl Farm {
    fn apply(&self, rules: &str) {
        std::fs::write("rules", rules).unwrap();
        self.director.ok("ipvsadm-rs apply rules");
    }

    /// Returns the share of clients that get another server, none, or one at last, as `ipvsadm-rs plan` reports it.
    fn reported_share(&self, rules: &str) -> f64 {
        std::fs::write("rules", rules).unwrap();
        let plan: Value = serde_json::from_str(&self.director.run("ipvsadm-rs plan --json rules").stdout).unwrap();
        let share = |key: &str| plan[key][0]["share"].as_f64().unwrap_or(0.0);
        share("remapped_clients") + share("refused_clients") + share("served_clients")
    }

    /// Returns the hash table that the library computes from the kernel's state, and whether it hashes destinations.
    fn table(&self) -> (LookupTable, bool) {
        let state = self.director.enter(|| Client::open().unwrap().state().unwrap());
        let service = &state.services[0];
        let mut last_weights = self.last_weights.borrow_mut();
        let with_last = |server: Destination| {
            let last = last_weights.entry(server.key).or_insert(server.weight);
            if server.weight > 0 {
                *last = server.weight;
            }
            (server, *last)
        };
        let oldest_first: Vec<_> =
            service.destinations.iter().rev().map(|server| server.destination).map(with_last).collect();
        let table = LookupTable::with_last_weights(&service.service, &oldest_first, TableSizes::default()).unwrap();
        (table, service.service.scheduler == Scheduler::DH)
    }

    /// Sends a request from each source, checks the server against the library's pick, and returns the servers.
    fn ask(&self, question: impl Fn(u32) -> (IpAddr, String)) -> Vec<String> {
        let (table, by_destination) = self.table();
        let port = self.port.replace(self.port.get() + 1);
        let reply = |n: u32| {
            let (source, web) = question(n);
            let from = SocketAddr::new(source, port);
            let server = self.client.client().from(&from.to_string()).datagrams(1, &web).servers.remove(0);
            let hashed = if by_destination { web.parse::<SocketAddr>().unwrap().ip() } else { source };
            let computed = table.pick(hashed, port).map_or("refused".to_owned(), |server| name(server.address));
            assert_eq!(server, computed, "{from} to {web}");
            server
        };
        (0..SOURCES).map(reply).collect()
    }

    /// Checks the library's picks before and after a change, and the reported share of remapped clients. Returns the
    /// servers before and after.
    fn check(&self, question: impl Fn(u32) -> (IpAddr, String), before: &str, after: &str) -> [Vec<String>; 2] {
        self.apply(before);
        let replies = self.ask(&question);
        let reported_share = self.reported_share(after);
        self.apply(after);
        let now = self.ask(&question);
        let remapped =
            replies.iter().zip(&now).filter(|(before, now)| before != now).count() as f64 / f64::from(SOURCES);
        // The reported share is that of all addresses; a sample of 200 differs a little.
        assert!((reported_share - remapped).abs() < 0.15, "reported {reported_share}, observed {remapped}");
        [replies, now]
    }
}

/// Returns the name of the server with an address.
fn name(address: IpAddr) -> String {
    let text = address.to_string();
    format!("rs{}", text.chars().last().unwrap())
}

fn count(replies: &[String], name: &str) -> usize {
    replies.iter().filter(|reply| *reply == name).count()
}

const WEB: &str = "-u 10.8.0.1:80";
const THREE: [(&str, u32); 3] = [("10.2.0.11:80", 1), ("10.2.0.12:80", 3), ("10.2.0.13:80", 2)];
const FOUR: [(&str, u32); 4] = [("10.2.0.11:80", 1), ("10.2.0.12:80", 3), ("10.2.0.13:80", 2), ("10.2.0.14:80", 2)];
const DRAINED: [(&str, u32); 4] = [("10.2.0.11:80", 1), ("10.2.0.12:80", 0), ("10.2.0.13:80", 2), ("10.2.0.14:80", 2)];

fn web(n: u32) -> (IpAddr, String) {
    (source_4(n), "10.8.0.1:80".to_owned())
}

fn sh_by_address() {
    let [before, after] = farm().check(web, &rules(WEB, "-s sh", &THREE), &rules(WEB, "-s sh", &FOUR));
    // The server has half of the total weight.
    assert!((80..120).contains(&count(&before, "rs2")), "{before:?}");
    assert_ne!(count(&after, "rs4"), 0);
}

fn sh_by_address_and_port() {
    by_address_and_port("-s sh -b sh-port");
}

/// Compares the servers that are picked by address and port. The second round uses other ports, so the share of
/// remapped clients cannot be compared.
fn by_address_and_port(options: &str) {
    let farm = farm();
    for rules in [rules(WEB, options, &THREE), rules(WEB, options, &FOUR)] {
        farm.apply(&rules);
        farm.ask(web);
    }
}

fn sh_with_a_drained_server() {
    let [_, after] = farm().check(web, &rules(WEB, "-s sh", &FOUR), &rules(WEB, "-s sh", &DRAINED));
    // One of six slots has no server.
    assert_ne!(count(&after, "refused"), 0);
}

fn sh_with_fallback() {
    let fallback = "-s sh -b sh-fallback";
    let [_, after] = farm().check(web, &rules(WEB, fallback, &FOUR), &rules(WEB, fallback, &DRAINED));
    assert_eq!(count(&after, "refused"), 0);
}

fn mh_by_address() {
    farm().check(web, &rules(WEB, "-s mh", &THREE), &rules(WEB, "-s mh", &FOUR));
}

fn mh_by_address_and_port() {
    by_address_and_port("-s mh -b mh-port");
}

fn mh_with_a_drained_server() {
    let [_, after] = farm().check(web, &rules(WEB, "-s mh", &FOUR), &rules(WEB, "-s mh", &DRAINED));
    // The drained server keeps its slots.
    assert_ne!(count(&after, "refused"), 0);
}

/// A server that is added with weight 0 gets no slots.
fn mh_with_a_new_server_of_weight_0() {
    let with_new: Vec<_> = THREE.into_iter().chain([("10.2.0.14:80", 0)]).collect();
    let [before, after] = farm().check(web, &rules(WEB, "-s mh", &THREE), &rules(WEB, "-s mh", &with_new));
    assert_eq!(before, after);
}

fn mh_with_fallback() {
    let fallback = "-s mh -b mh-fallback";
    let with_new: Vec<_> = THREE.into_iter().chain([("10.2.0.14:80", 0)]).collect();
    let [_, after] = farm().check(web, &rules(WEB, fallback, &THREE), &rules(WEB, fallback, &with_new));
    assert_eq!(count(&after, "refused"), 0);
}

const WEB_6: &str = "-u [fd08::1]:80";
const THREE_6: [(&str, u32); 3] = [("[fd02::11]:80", 1), ("[fd02::12]:80", 3), ("[fd02::13]:80", 2)];
const FOUR_6: [(&str, u32); 4] =
    [("[fd02::11]:80", 1), ("[fd02::12]:80", 3), ("[fd02::13]:80", 2), ("[fd02::14]:80", 2)];

fn web_6(n: u32) -> (IpAddr, String) {
    (source_6(n), "[fd08::1]:80".to_owned())
}

fn sh_of_ipv6() {
    farm().check(web_6, &rules(WEB_6, "-s sh", &THREE_6), &rules(WEB_6, "-s sh", &FOUR_6));
}

fn mh_of_ipv6() {
    farm().check(web_6, &rules(WEB_6, "-s mh", &THREE_6), &rules(WEB_6, "-s mh", &FOUR_6));
}

fn dh_by_destination() {
    let farm = farm();
    farm.director.ok("tc qdisc add dev eth0 clsact");
    let marked = "dst_ip 10.8.0.0/16 action skbedit mark 1";
    farm.director.ok(&format!("tc filter add dev eth0 ingress protocol ip flower {marked}"));
    let question = |n| {
        let [high, low] = nth(n);
        (source_4(n), format!("10.8.{high}.{low}:80"))
    };
    farm.check(question, &rules("-f 1", "-s dh", &THREE), &rules("-f 1", "-s dh", &FOUR));
}
