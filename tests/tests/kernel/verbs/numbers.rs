//! The numbers of the verbs that show a running director, compared with the packets that were sent.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ipvs_tests::command::Running;
use ipvs_tests::lab::topology::{Host, Lan, Nat};
use ipvs_tests::traffic::client::{Client, Replies};
use ipvs_tests::traffic::server::Protocol::{Tcp, Udp};
use ipvs_tests::wait;
use serde_json::Value;

use super::metrics::{numbers, values};
use crate::under_test;

ipvs_tests::tests! {
    rates_are_those_of_masqueraded_packets, seconds = 300;
    rates_are_those_of_routed_packets, seconds = 300;
    reset_counters_begin_at_0, seconds = 300;
    counts_of_connections_add_up, seconds = 300;
}

/// Time limit for counters, which the kernel updates every 2 seconds.
const LIMIT: Duration = Duration::from_secs(120);

const SERVICE: &str = "10.1.0.100:53";
const TEXT: &str = "a question of 30 bytes in all.";

/// The headers of an IPv4 datagram.
const HEADERS: u64 = 20 + 8;

/// Connections, packets and bytes: connections, incoming and outgoing packets, incoming and outgoing bytes.
type Traffic = [u64; 5];

const KEYS: [&str; 5] = ["connections", "incoming_packets", "outgoing_packets", "incoming_bytes", "outgoing_bytes"];

fn plus(one: Traffic, other: Traffic) -> Traffic {
    std::array::from_fn(|index| one[index] + other[index])
}

/// The peers of this test, which has a process of its own.
static PEERS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Sends datagrams, each from a port of its own, and returns the traffic of requests and replies.
fn send(client: &Client<'_>, count: u64) -> Traffic {
    let replies: Replies = client.clone().with_text(TEXT).datagrams(count as usize, SERVICE);
    let lengths = replies.servers.iter().zip(&replies.peers).map(|(server, peer)| {
        assert!(!peer.is_empty(), "{replies}");
        // `web1 10.1.0.10:40000` and a line break.
        HEADERS + (server.len() + 1 + peer.len() + 1) as u64
    });
    // The kernel can choose the port of an earlier call again. Such a datagram belongs to the same connection.
    let mut seen = PEERS.lock().unwrap_or_else(PoisonError::into_inner);
    let connections = replies.peers.iter().filter(|peer| seen.insert((*peer).clone())).count() as u64;
    [connections, count, count, count * (HEADERS + TEXT.len() as u64), lengths.sum()]
}

/// Without the replies, which do not pass through the director.
fn only_incoming(traffic: Traffic) -> Traffic {
    [traffic[0], traffic[1], 0, traffic[3], 0]
}

/// Returns the counters of the service from `metrics`.
fn counters(director: &Host) -> Traffic {
    let metrics = values(&director.ok("ipvsadm-rs metrics"));
    let names = KEYS.map(|key| format!("ipvs_service_{key}_total"));
    numbers(&metrics, names.each_ref().map(String::as_str), &format!("{{service=\"udp:{SERVICE}\"}}"))
}

/// The lines that `top --json-lines` has printed.
struct Lines {
    top: Running,
}

impl Lines {
    /// Starts the command, and waits for its first line.
    fn start(director: &Host, options: &str) -> Lines {
        let lines = Lines { top: director.start(&format!("ipvsadm-rs top --json-lines{options}")) };
        wait::until(LIMIT, || if lines.all().is_empty() { Err(lines.top.output()) } else { Ok(()) });
        lines
    }

    fn all(&self) -> Vec<Value> {
        let output = self.top.output();
        let complete = output.rfind('\n').map_or("", |end| &output[..end]);
        complete.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Returns the sum of the increases that the lines have for the rows of a list.
    fn sum(&self, list: &str) -> Traffic {
        let mut sum = [0.0; 5];
        for line in self.all() {
            let seconds = line["seconds"].as_f64().unwrap();
            for row in line[list].as_array().unwrap().iter().filter(|row| !row["per_second"].is_null()) {
                for (sum, key) in sum.iter_mut().zip(KEYS) {
                    let rate = row["per_second"][key].as_f64().unwrap();
                    assert!((0.0..1e9).contains(&rate), "{line}");
                    *sum += rate * seconds;
                }
            }
        }
        sum.map(|sum| sum.round() as u64)
    }

    /// Waits until the lines have all of this traffic, and fails if they have more.
    fn wait_for(&self, list: &str, expected: Traffic) {
        wait::until(LIMIT, || {
            let sum = self.sum(list);
            assert!(sum.iter().zip(expected).all(|(sum, expected)| *sum <= expected), "{sum:?} {expected:?}");
            if sum == expected { Ok(()) } else { Err(format!("{sum:?} {expected:?}")) }
        });
    }

    /// Fails if the lines claim another time than has passed.
    fn check_time(&self) {
        let lines = self.all();
        let time = |line: &Value| -> jiff::Timestamp { line["time"].as_str().unwrap().parse().unwrap() };
        let [first, last] = [lines.first(), lines.last()].map(|line| time(line.unwrap()));
        let claimed: f64 = lines[1..].iter().map(|line| line["seconds"].as_f64().unwrap()).sum();
        let passed = last.duration_since(first).as_secs_f64();
        // Each line has whole updates, and may be half an update early or late.
        assert!((claimed - passed).abs() <= 1.0 + 0.1 * passed, "{claimed} s claimed, {passed} s passed");
    }
}

/// Compares the verbs with the packets that are sent to a service. `pass` removes packets that the director does not see.
fn compare(director: &Host, client: &Client<'_>, pass: fn(Traffic) -> Traffic) {
    let before = counters(director);
    let (services, servers) = (Lines::start(director, ""), Lines::start(director, " --servers"));
    let mut sent = [0; 5];
    for count in [30, 1, 17] {
        sent = plus(sent, pass(send(client, count)));
        std::thread::sleep(Duration::from_millis(700));
    }
    services.wait_for("services", sent);
    servers.wait_for("servers", sent);
    services.check_time();
    assert_eq!(counters(director), plus(before, sent));

    // All packets of a burst must be between the two readings.
    let last = wait::until(LIMIT, || {
        let (lines, burst) = std::thread::scope(|scope| {
            let show = scope.spawn(|| director.ok("ipvsadm-rs show --traffic --interval 6s --json-lines"));
            std::thread::sleep(Duration::from_secs(1));
            let burst = pass(send(client, 24));
            (show.join().unwrap(), burst)
        });
        let line: Value = serde_json::from_str(&lines).unwrap();
        let of = |rates: &Value| KEYS.map(|key| (rates[key].as_f64().unwrap() * 6.0).round() as u64);
        let of_servers = line["servers_per_second"].as_array().unwrap().iter().map(of).fold([0; 5], plus);
        let of_service = of(&line["per_second"]);
        if (of_service, of_servers) == (burst, burst) { Ok(line) } else { Err(format!("{burst:?} {line}")) }
    });
    assert_eq!(last["problem"], Value::Null);
}

fn add_service(director: &Host, method: &str, servers: [&str; 2]) {
    director.ok(&format!("ipvsadm -A -u {SERVICE} -s rr"));
    for server in servers {
        director.ok(&format!("ipvsadm -a -u {SERVICE} -r {server} {method}"));
    }
}

fn nat() -> Nat {
    let nat = Nat::new().unwrap();
    under_test::install();
    nat.web1.serve(Udp, "10.2.0.11:53").unwrap();
    nat.web2.serve(Udp, "10.2.0.12:53").unwrap();
    add_service(&nat.director, "-m", ["10.2.0.11", "10.2.0.12"]);
    nat
}

fn rates_are_those_of_masqueraded_packets() {
    let nat = nat();
    compare(&nat.director, &nat.client.client(), |traffic| traffic);
}

fn rates_are_those_of_routed_packets() {
    under_test::install();
    let Lan { client, director, web1, web2, .. } = &Lan::new().unwrap();
    for host in [web1, web2] {
        under_test::real_server(host, "--mode dr --vip 10.1.0.100");
        host.serve(Udp, SERVICE).unwrap();
    }
    add_service(director, "-g", ["10.1.0.11", "10.1.0.12"]);
    compare(director, &client.client(), only_incoming);
}

/// `ipvsadm -Z`, and services that are deleted and added again.
fn reset_counters_begin_at_0() {
    let nat = nat();
    let (director, client) = (&nat.director, nat.client.client());
    let lines = Lines::start(director, "");
    let mut sent = send(&client, 40);
    lines.wait_for("services", sent);
    director.ok("ipvsadm -Z");
    let few = send(&client, 3);
    sent = plus(sent, few);
    lines.wait_for("services", sent);
    assert_eq!(counters(director), few);
    assert_eq!(lines.sum("services"), sent);

    let before = lines.all().len();
    director.ok(&format!("ipvsadm -D -u {SERVICE}"));
    add_service(director, "-m", ["10.2.0.11", "10.2.0.12"]);
    let one = send(&client, 1);
    wait::until(LIMIT, || if counters(director) == one { Ok(()) } else { Err(format!("{:?}", counters(director))) });
    wait::until(LIMIT, || if lines.all().len() > before + 2 { Ok(()) } else { Err(lines.top.output()) });
    // A reading without the service has no rates, and the next one has none to compare with.
    let sum = lines.sum("services");
    assert!(sum == sent || sum == plus(sent, one), "{sum:?} {sent:?} {one:?}");
}

/// Connections that are open, and those whose server does not reply.
fn counts_of_connections_add_up() {
    const WEB: &str = "10.1.0.100:80";
    const SILENT: &str = "10.1.0.100:81";
    let nat = Nat::new().unwrap();
    under_test::install();
    nat.web1.serve(Tcp, "10.2.0.11:80").unwrap();
    nat.web2.serve(Tcp, "10.2.0.12:80").unwrap();
    let director = &nat.director;
    for line in [
        format!("-A -t {WEB} -s rr"),
        format!("-a -t {WEB} -r 10.2.0.11 -m"),
        format!("-a -t {WEB} -r 10.2.0.12 -m"),
        format!("-A -t {SILENT} -s rr"),
        // These hosts do not exist.
        format!("-a -t {SILENT} -r 10.2.0.98:80 -m"),
        format!("-a -t {SILENT} -r 10.2.0.99:80 -m"),
    ] {
        director.ok(&format!("ipvsadm {line}"));
    }
    let held = nat.client.client().patience(Duration::from_secs(30)).hold(6, WEB);
    assert_eq!(held.to_string(), "web1=3 web2=3");
    let silent = nat.client.client().patience(Duration::from_millis(200)).hold(5, SILENT);
    assert_eq!(silent.open.len(), 0, "{silent}");
    drop(nat.client.client().hold(4, WEB));
    // The kernel counts connections in SYN_RECV as active, and those in TIME_WAIT as inactive.
    wait::until(LIMIT, || {
        let shown = director.ok("ipvsadm-rs show --services");
        if shown.contains("\n11 active, 4 inactive connections, ") { Ok(()) } else { Err(shown) }
    });

    assert_eq!(director.ok("ipvsadm-rs connections --state SYN_RECV --count"), "5\n");
    let by_server = director.ok("ipvsadm-rs connections --state SYN_RECV --by server --json-lines");
    let groups = by_server.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut groups: Vec<(u64, bool)> = groups
        .map(|group| {
            (group["connections"].as_u64().unwrap(), group["server"].as_str().unwrap().starts_with("10.2.0.9"))
        })
        .collect();
    groups.sort_unstable();
    assert_eq!(groups, [(2, true), (3, true)], "{by_server}");

    let numbers_of =
        |row: &Value| ["active_connections", "inactive_connections", "syn_recv"].map(|key| row[key].as_u64().unwrap());
    let top = |options: &str| -> Value {
        serde_json::from_str(&director.ok(&format!("ipvsadm-rs top --once --json-lines --sort name{options}"))).unwrap()
    };
    let services = top("");
    assert_eq!(numbers_of(&services["total"]), [11, 4, 5], "{services}");
    let rows: Vec<_> = services["services"].as_array().unwrap().iter().map(numbers_of).collect();
    assert_eq!(rows, [[6, 4, 0], [5, 0, 5]], "{services}");
    let servers = top(" --servers");
    assert_eq!(numbers_of(&servers["total"]), [11, 4, 5], "{servers}");
    let mut rows: Vec<_> = servers["servers"].as_array().unwrap().iter().map(numbers_of).collect();
    rows.sort_unstable();
    assert_eq!(rows, [[2, 0, 2], [3, 0, 3], [3, 2, 0], [3, 2, 0]], "{servers}");

    let metrics = values(&director.ok("ipvsadm-rs metrics"));
    let names = ["active_connections", "inactive_connections"];
    let of = |prefix: &str, labels: &str| {
        let names = names.map(|name| format!("{prefix}{name}"));
        numbers(&metrics, names.each_ref().map(String::as_str), labels)
    };
    assert_eq!(of("ipvs_", ""), [11, 4]);
    assert_eq!(of("ipvs_service_", &format!("{{service=\"tcp:{WEB}\"}}")), [6, 4]);
    assert_eq!(of("ipvs_server_", &format!("{{service=\"tcp:{WEB}\",server=\"10.2.0.12:80\"}}")), [3, 2]);
    let verdict: Value = serde_json::from_str(&director.ok("ipvsadm-rs check --live --json")).unwrap();
    assert_eq!((&verdict["active_connections"], &verdict["inactive_connections"]), (&11.into(), &4.into()));
}
