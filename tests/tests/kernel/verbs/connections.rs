//! `ipvsadm-rs connections`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use ipvs_tests::command::{ok, run, shell};
use ipvs_tests::host::reference::Ipvsadm;
use ipvs_tests::lab::topology::{Host, Nat};
use ipvs_tests::traffic::client::Replies;
use ipvs_tests::traffic::server::Protocol::{Tcp, Udp};
use ipvs_tests::traffic::synced;
use ipvs_tests::wait;
use serde_json::Value;

use super::director;
use crate::under_test;

ipvs_tests::tests! {
    sums_agree_with_the_reference;
    lists_connections;
    selects_connections;
    finds_the_services_of_connections;
    prints_json;
    wide_addresses_do_not_widen_other_rows;
    reads_another_namespace;
    reports_selections_without_connections;
    options_that_contradict_each_other;
    many_connections_take_no_memory;
    hints_at_missing_permission;
}

const LIMIT: Duration = Duration::from_secs(60);

/// The network of these tests, with open connections.
///
/// | service | connections |
/// |---|---|
/// | 10.1.0.100:80 | two to each server |
/// | 10.1.0.100:81, persistent | three to one server, and a template |
/// | 10.1.0.100:82 | one to a server that does not reply |
/// | UDP 10.1.0.100:53 | two |
/// | [fd01::100]:80 | one to each server |
struct Traffic {
    nat: Nat,
    _held: Vec<Replies>,
}

impl Traffic {
    fn new() -> Traffic {
        under_test::install();
        let nat = Nat::dual_stack().unwrap();
        let director = &nat.director;
        for (web, last) in [(&nat.web1, 11), (&nat.web2, 12)] {
            web.serve(Tcp, &format!("10.2.0.{last}:80")).unwrap();
            web.serve(Tcp, &format!("[fd02::{last}]:80")).unwrap();
            web.serve(Udp, &format!("10.2.0.{last}:53")).unwrap();
        }
        for line in [
            "-A -t 10.1.0.100:80 -s rr",
            "-a -t 10.1.0.100:80 -r 10.2.0.11 -m",
            "-a -t 10.1.0.100:80 -r 10.2.0.12 -m",
            "-A -t 10.1.0.100:81 -s rr -p 600 -M 255.255.255.0",
            "-a -t 10.1.0.100:81 -r 10.2.0.11:80 -m",
            "-A -t 10.1.0.100:82 -s rr",
            // This host does not exist.
            "-a -t 10.1.0.100:82 -r 10.2.0.99:80 -m",
            "-A -u 10.1.0.100:53 -s rr",
            "-a -u 10.1.0.100:53 -r 10.2.0.11 -m",
            "-A -t [fd01::100]:80 -s rr",
            "-a -t [fd01::100]:80 -r [fd02::11]:80 -m",
            "-a -t [fd01::100]:80 -r [fd02::12]:80 -m",
        ] {
            director.ok(&format!("ipvsadm {line}"));
        }
        let client = nat.client.client().patience(Duration::from_secs(30)).from("10.1.0.10");
        let mut held = Vec::new();
        for (count, service) in [(4, "10.1.0.100:80"), (3, "10.1.0.100:81"), (2, "[fd01::100]:80")] {
            let client = if service.starts_with('[') { client.clone().from("fd01::10") } else { client.clone() };
            let replies = client.hold(count, service);
            assert_eq!(replies.open.len(), count, "{service}: {replies}");
            held.push(replies);
        }
        assert_eq!(client.datagrams(2, "10.1.0.100:53").to_string(), "web1=2");
        // It gets no reply, and its connection stays in SYN_RECV for a minute.
        let none = client.patience(Duration::from_millis(300)).hold(1, "10.1.0.100:82");
        assert_eq!(none.open.len(), 0, "{none}");
        Traffic { nat, _held: held }
    }

    fn director(&self) -> &Host {
        &self.nat.director
    }

    /// Runs `ipvsadm-rs connections` on the director.
    #[track_caller]
    fn ok(&self, options: &str) -> String {
        self.director().ok(&format!("ipvsadm-rs connections {options}"))
    }
}

/// The words of an entry, as the reference prints them: protocol, expiry, state, client, service, server.
fn reference_entries(director: &Host) -> Vec<Vec<String>> {
    let list = director.enter(|| Ipvsadm::get().run("-Lnc")).ok();
    list.lines().skip(2).map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// The numbers of connections and templates, by the values of a group.
type Sums = BTreeMap<Vec<String>, (u64, u64)>;

/// Returns the sums that `ipvsadm-rs connections --by` prints. `keys` are the names in JSON.
fn sums(traffic: &Traffic, by: &str, keys: &[&str]) -> Sums {
    let lines = traffic.ok(&format!("--by {by} --json-lines"));
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let values = keys.iter().map(|key| line[key].as_str().unwrap_or_default().to_owned()).collect();
        (values, (line["connections"].as_u64().unwrap(), line["templates"].as_u64().unwrap()))
    };
    lines.lines().map(read).collect()
}

/// Returns the same sums from the list of the reference. `values` returns those of the group.
fn reference_sums(director: &Host, values: impl Fn(&[String]) -> Vec<String>) -> Sums {
    let mut sums = Sums::new();
    for entry in reference_entries(director) {
        let (connections, templates) = sums.entry(values(&entry)).or_default();
        *(if entry[3].ends_with(":0") { templates } else { connections }) += 1;
    }
    sums
}

fn sums_agree_with_the_reference() {
    let traffic = Traffic::new();
    let director = traffic.director();
    let word = |index: usize| move |entry: &[String]| vec![entry[index].clone()];
    let service = |entry: &[String]| vec![format!("{}:{}", entry[0].to_lowercase(), entry[4])];
    let network = |entry: &[String]| {
        vec![if entry[3].starts_with('[') { "fd01::/64".to_owned() } else { "10.1.0.0/24".to_owned() }]
    };
    let state_and_server = |entry: &[String]| vec![entry[2].clone(), entry[5].clone()];
    // A connection can change its state between two readings.
    let compare = |by: &str, keys: &[&str], values: &dyn Fn(&[String]) -> Vec<String>| {
        wait::until(LIMIT, || {
            let (ours, reference) = (sums(&traffic, by, keys), reference_sums(director, values));
            if ours == reference { Ok(()) } else { Err(format!("{by}: {ours:?}\n{reference:?}")) }
        });
    };
    compare("state", &["state"], &word(2));
    compare("server", &["server"], &word(5));
    compare("service", &["service"], &service);
    compare("client/24", &["client"], &network);
    compare("state,server", &["state", "server"], &state_and_server);
    let total = reference_entries(director).len();
    assert_eq!(total, 13, "12 connections and a template");
    assert_eq!(traffic.ok("--count"), "13\n");
    assert_eq!(traffic.ok("--by state").lines().last(), Some("12 connections, 1 persistence template"));
}

fn lists_connections() {
    let traffic = Traffic::new();
    let list = traffic.ok("-t 10.1.0.100:81 --limit 2 --sort client");
    let lines: Vec<&str> = list.lines().collect();
    let [title, template, connection] = lines[..] else { panic!("{list}") };
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(title), ["CLIENT", "SERVICE", "SERVER", "STATE", "EXPIRES", "ENGINE"]);
    // The template has the client's network, and no port.
    assert_eq!(words(template)[..4], ["10.1.0.0", "TCP", "10.1.0.100:81", "10.2.0.11:80"]);
    assert!(["NONE", "ASSURED"].contains(&words(template)[4].as_str()), "{list}");
    let words = words(connection);
    assert!(words[0].starts_with("10.1.0.10:"), "{list}");
    assert_eq!(words[1..5], ["TCP", "10.1.0.100:81", "10.2.0.11:80", "ESTABLISHED"]);
    let expires: u32 = words[5].strip_suffix('s').unwrap().parse().unwrap();
    assert!((600..=900).contains(&expires), "{list}");

    // In the kernel's order, each entry is printed once.
    let list = traffic.ok("");
    assert_eq!(list.lines().count(), 1 + 13, "{list}");
    assert_eq!(traffic.ok("--limit 5").lines().count(), 1 + 5);
    assert_eq!(traffic.ok("--limit 0").lines().count(), 1 + 13, "no limit");
    let sorted = traffic.ok("--sort expires --limit 13 --json-lines");
    let times: Vec<u64> =
        sorted.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["expires"].as_u64().unwrap()).collect();
    assert!(times.len() == 13 && times.is_sorted_by(|a, b| a >= b), "{times:?}");
    // A reader that ends early, such as head(1), is no error.
    let piped = traffic.director().shell("ipvsadm-rs connections | head -n 1");
    assert_eq!((piped.stdout.lines().count(), piped.stderr.as_str()), (1, ""));
}

fn selects_connections() {
    let traffic = Traffic::new();
    let count = |options: &str| traffic.ok(&format!("{options} --count")).trim().parse::<u32>().unwrap();
    for (options, expected) in [
        ("", 13),
        ("--templates", 1),
        ("--no-templates", 12),
        ("--state SYN_RECV", 1),
        ("--state established,udp", 11),
        ("--state CLOSE_WAIT --state UDP", 2),
        ("-t 10.1.0.100:80", 4),
        ("-t 10.1.0.100:80 -u 10.1.0.100:53", 6),
        ("udp", 2),
        ("10.1.0.0/24", 11),
        ("fd01::/64", 2),
        ("tcp:10.1.0.100:81", 4),
        ("--server 10.2.0.11", 2 + 4 + 2),
        ("--server 10.2.0.11:80", 2 + 4),
        ("--server 10.2.0.12,[fd02::12]:80", 2 + 1),
        ("--server 10.2.0.11 --templates", 1),
        ("--client 10.1.0.10", 10),
        ("--client 10.1.0.0/24", 11),
        ("--client 10.1.0.0/30,fd01::/64", 1 + 2),
        ("--client 10.1.0.0/24 -t 10.1.0.100:81 --no-templates --state ESTABLISHED", 3),
    ] {
        assert_eq!(count(options), expected, "{options}");
    }
    // The examples of the manual.
    let stick = traffic.ok("--templates --server 10.2.0.11");
    assert!(stick.lines().nth(1).unwrap().starts_with("10.1.0.0 "), "{stick}");
    assert_eq!(
        traffic.ok("--state SYN_RECV --by server"),
        "CONNECTIONS  TEMPLATES   SHARE  SERVER\n          \
         1          0  100.0%  10.2.0.99:80\n\
         \n\
         1 connection, 0 persistence templates\n"
    );
    assert_eq!(
        traffic.ok("--no-templates --by client/24 --limit 1"),
        "CONNECTIONS  TEMPLATES  SHARE  CLIENT\n         \
         10          0  83.3%  10.1.0.0/24\n          \
         2          0  16.7%  others (1 group)\n\
         \n\
         12 connections, 0 persistence templates\n"
    );
}

/// A service with port 0, and services by mark. The kernel does not report the mark of a connection.
fn finds_the_services_of_connections() {
    under_test::install();
    let nat = Nat::new().unwrap();
    let director = &nat.director;
    for port in [80, 443, 444] {
        nat.web1.serve(Tcp, &format!("10.2.0.11:{port}")).unwrap();
    }
    director.ok("ip address add 10.1.0.101/32 dev lo");
    director.ok("tc qdisc add dev eth0 clsact");
    for (port, mark) in [(443, 7), (444, 8)] {
        director.ok(&format!(
            "tc filter add dev eth0 ingress protocol ip flower dst_ip 10.1.0.100 ip_proto tcp dst_port {port} \
             action skbedit mark {mark}"
        ));
    }
    for line in ["-A -t 10.1.0.101:0 -s rr -p 600", "-a -t 10.1.0.101:0 -r 10.2.0.11:0 -m"] {
        director.ok(&format!("ipvsadm {line}"));
    }
    for line in ["-A -f 7 -s rr -p 600", "-a -f 7 -r 10.2.0.11 -m"] {
        director.ok(&format!("ipvsadm {line}"));
    }
    let hold = |count, service| {
        let held = nat.client.client().patience(Duration::from_secs(30)).hold(count, service);
        assert_eq!(held.open.len(), count, "{service}: {held}");
        held
    };
    let _held = [hold(1, "10.1.0.101:80"), hold(2, "10.1.0.100:443")];
    let ok = |options: &str| director.ok(&format!("ipvsadm-rs connections {options}"));
    assert_eq!(ok("-f 7 --count"), "3\n", "two connections and a template");
    assert_eq!(ok("fwmark --templates --count"), "1\n");
    assert_eq!(ok("-t 10.1.0.101:0 --count"), "2\n");
    assert_eq!(ok("-t 10.1.0.101:80 --count"), "1\n", "by the port of the packets");
    assert_eq!(
        ok("--by service"),
        "CONNECTIONS  TEMPLATES  SHARE  SERVICE\n          \
         2          1  60.0%  FWM 7\n          \
         1          1  40.0%  TCP 10.1.0.101:0\n\
         \n\
         3 connections, 2 persistence templates\n"
    );

    // Now two services by mark have the server.
    for line in ["-A -f 8 -s rr", "-a -f 8 -r 10.2.0.11 -m"] {
        director.ok(&format!("ipvsadm {line}"));
    }
    let _more = hold(1, "10.1.0.100:444");
    let marks = ok("--by service --sort service");
    for row in [
        "          0          1  16.7%  FWM 7\n",
        "          2          0  33.3%  TCP 10.1.0.100:443 (one of several marks)\n",
        "          1          0  16.7%  TCP 10.1.0.100:444 (one of several marks)\n",
    ] {
        assert!(marks.contains(row), "{marks}");
    }
    let eight = director.run("ipvsadm-rs connections -f 8 --count");
    assert_eq!(
        (eight.stdout.as_str(), eight.stderr.as_str()),
        ("3\n", "note: 3 of these connections may belong to another firewall mark with the same server\n")
    );

    // Connections stay after their service.
    director.ok("ipvsadm -C");
    let rest = ok("--by service --limit 1 --sort service");
    assert!(rest.contains("  TCP 10.1.0.100:443 (no service)\n"), "{rest}");
}

fn prints_json() {
    let traffic = Traffic::new();
    let json = |options: &str| serde_json::from_str::<Value>(&traffic.ok(options)).unwrap();
    let list = json("-t 10.1.0.100:81 --json");
    let entries = list["connections"].as_array().unwrap();
    assert_eq!((&list["schema"], entries.len()), (&1.into(), 4));
    let template = entries.iter().find(|entry| entry["template"] == true).unwrap();
    assert_eq!((&template["client"], &template["service"]), (&"10.1.0.0:0".into(), &"10.1.0.100:81".into()));
    assert_eq!(json("--state LISTEN --json")["connections"], serde_json::json!([]));
    let lines = traffic.ok("-u 10.1.0.100:53 --json-lines");
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["schema"], &line["protocol"], &line["template"]), (&1.into(), &"udp".into(), &false.into()));
        assert_eq!((&line["server"], &line["state"]), (&"10.2.0.11:53".into(), &"UDP".into()));
    }
    assert_eq!(lines.lines().count(), 2);
    let groups = json("--by server,state --limit 2 --no-templates --json");
    assert_eq!(groups["by"], serde_json::json!(["server", "state"]));
    assert_eq!(groups["groups"][0]["server"], "10.2.0.11:80");
    assert_eq!(
        (&groups["groups"][0]["state"], &groups["groups"][0]["connections"]),
        (&"ESTABLISHED".into(), &5.into())
    );
    assert_eq!(groups["groups"].as_array().unwrap().len(), 2);
    let number = |value: &Value| value["connections"].as_u64().unwrap();
    let sum: u64 = groups["groups"].as_array().unwrap().iter().map(number).sum();
    assert_eq!((sum + number(&groups["others"]), number(&groups["total"])), (12, 12), "{groups}");
    assert_eq!(groups["undercount"], 0);
    let service = json("-t 10.1.0.100:82 --by service --json");
    assert_eq!(service["groups"][0]["service"], "tcp:10.1.0.100:82");
    assert_eq!(service["groups"][0]["service_status"], "in_table");
    let count = json("--count --json");
    assert_eq!((&count["connections"], &count["templates"]), (&12.into(), &1.into()));
}

fn wide_addresses_do_not_widen_other_rows() {
    under_test::install();
    let nat = Nat::dual_stack().unwrap();
    let wide = "fd01:1111:2222:3333:4444:5555:6666:7777";
    nat.client.address("eth0", &format!("{wide}/64")).unwrap();
    nat.director.ok(&format!("ip -6 route add {wide}/128 dev eth0"));
    nat.web1.serve(Tcp, "[fd02::11]:80").unwrap();
    nat.web1.serve(Tcp, "10.2.0.11:80").unwrap();
    for line in [
        "-A -t 10.1.0.100:80 -s rr",
        "-a -t 10.1.0.100:80 -r 10.2.0.11 -m",
        "-A -t [fd01::100]:80 -s rr",
        "-a -t [fd01::100]:80 -r [fd02::11]:80 -m",
    ] {
        nat.director.ok(&format!("ipvsadm {line}"));
    }
    nat.client.ok(&format!("ip -6 route replace fd01::100/128 dev eth0 src {wide}"));
    let client = nat.client.client().patience(Duration::from_secs(30));
    let four = client.hold(1, "10.1.0.100:80");
    let six = client.from(wide).hold(1, "[fd01::100]:80");
    assert_eq!((four.open.len(), six.open.len()), (1, 1), "{four} {six}");
    let terminal =
        "script -qec 'stty cols 80 rows 24; TERM=xterm NO_COLOR=1 ipvsadm-rs connections --no-templates' /dev/null";
    let list = nat.director.shell(terminal).stdout.replace('\r', "");
    assert!(list.lines().all(|line| line.len() <= 80), "{list}");
    let row = list.lines().find(|line| line.contains("10.2.0.11:80")).unwrap();
    assert!(row.starts_with("10.1.0.1") && row.contains("  ESTABLISHED  ") && row.len() < 80, "{list}");
    assert!(list.lines().any(|line| line.starts_with(&format!("[{wide}]:"))), "{list}");
    for by in ["server", "client", "service", "client/32/128,service,server,state"] {
        let groups = nat.director.shell(&terminal.replace("--no-templates", &format!("--by {by}"))).stdout;
        let groups = groups.replace('\r', "");
        assert!(groups.lines().all(|line| line.len() <= 80), "{by}: {groups}");
        assert!(groups.ends_with("\n2 connections, 0 persistence templates\n"), "{by}: {groups}");
    }
    let piped = nat.director.ok("ipvsadm-rs connections");
    assert_eq!(piped.lines().count(), 3, "{piped}");
}

fn reads_another_namespace() {
    let traffic = Traffic::new();
    assert_eq!(ok("ipvsadm-rs connections --count"), "0\n", "the own namespace has no connections");
    assert_eq!(ok("ipvsadm-rs --netns director connections --count"), "13\n");
    let groups = ok("ipvsadm-rs connections --netns director --by service");
    assert!(groups.contains("  TCP 10.1.0.100:82\n"), "{groups}");
    drop(traffic);
}

/// A typing error must not look like a server without connections.
fn reports_selections_without_connections() {
    director("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m\n");
    let stderr = |options: &str| {
        let ran = run(&format!("ipvsadm-rs connections {options}"));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran}");
        ran.stderr
    };
    assert_eq!(stderr("-t 192.0.2.1:80 --server 10.0.0.1"), "");
    assert_eq!(stderr("-t 192.0.2.1:81"), "note: the table has no service tcp:192.0.2.1:81\n");
    assert_eq!(stderr("--server 10.0.0.2"), "note: the table has no server 10.0.0.2\n");
    assert_eq!(ok("ipvsadm-rs connections --by state"), "0 connections, 0 persistence templates\n");
}

fn options_that_contradict_each_other() {
    under_test::install();
    for (options, error) in [
        ("--json --json-lines", "error: --json and --json-lines exclude each other\n"),
        ("--by client/24,client", "error: --by has client twice\n"),
        (
            "--sort client",
            "error: --sort needs --limit or --by\nThe rows to print are kept in memory, so their number is limited.\n",
        ),
        ("--count --limit 5", "error: --count excludes --sort and --limit\n"),
        ("--sort count", "error: --sort count needs --by\n"),
        ("--by state --sort server", "error: --sort server: the rows of --by do not have this value\n"),
    ] {
        let ran = run(&format!("ipvsadm-rs connections {options}"));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), error), "{options}");
    }
    assert!(run("ipvsadm-rs connections --state SYNRECV").stderr.contains("possible values: NONE, ESTABLISHED, "));
}

/// In memory, the smaller number of entries takes more than 5 MB.
fn many_connections_take_no_memory() {
    // Before Linux 6.14, the time grows with the square of the number. 100,000 entries take half a minute.
    let is_linear = ipvs_sys::kernel_version() >= (6, 14);
    let number_of_entries = if is_linear { 100_000 } else { 20_000 };
    under_test::install();
    ok("ipvsadm -A -t 192.0.2.1:80 -s rr");
    let start = |interface: &str| {
        let ran = run(&format!("ipvsadm --start-daemon backup --mcast-interface {interface}"));
        (ran.code == Some(0)).then_some(()).with_context(|| ran.to_string())
    };
    synced::create(number_of_entries, start).unwrap();
    wait::until(LIMIT, || {
        let counted = ok("ipvsadm-rs connections --count");
        if counted == format!("{number_of_entries}\n") { Ok(()) } else { Err(counted) }
    });
    // Prints the exit status and the number of lines.
    let in_memory = |kib: u32, options: &str| {
        shell(&format!("ulimit -d {kib}; ipvsadm-rs connections {options} > out; echo $?; wc -l < out"))
    };
    assert_eq!(in_memory(4 * 1024, "--json-lines").stdout, format!("0\n{number_of_entries}\n"));
    assert_eq!(in_memory(4 * 1024, "--by state").stdout, "0\n6\n");
    let sorted = in_memory(4 * 1024, &format!("--sort client --limit {number_of_entries}")).stdout;
    assert!(!sorted.starts_with("0\n"), "the limit of the memory has no effect");

    // Each client is a group. More than 50,000 of them are not counted at a time.
    let clients = in_memory(20 * 1024, "--by client --limit 10 --json").stdout;
    assert!(clients.starts_with("0\n"), "{clients}");
    let clients: Value = serde_json::from_str(&std::fs::read_to_string("out").unwrap()).unwrap();
    let number = |value: &Value| value["connections"].as_u64().unwrap() + value["templates"].as_u64().unwrap();
    assert_eq!(number(&clients["total"]), u64::from(number_of_entries));
    let sum: u64 = clients["groups"].as_array().unwrap().iter().map(number).sum();
    assert_eq!(sum + number(&clients["others"]), u64::from(number_of_entries));
    assert_eq!(clients["undercount"], u32::from(is_linear), "each client has one entry");
}

fn hints_at_missing_permission() {
    under_test::install();
    let ran = shell("unshare -rn ipvsadm-rs connections");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran}");
    assert!(ran.stderr.starts_with("error: read the IPVS version: permission denied: "), "{ran}");
}
