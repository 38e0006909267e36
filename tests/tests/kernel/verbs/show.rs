//! `ipvsadm-rs show`.

use std::time::Duration;

use ipvs_tests::command::{ok, run, shell};
use ipvs_tests::guest::modules;
use ipvs_tests::lab::topology::Nat;
use ipvs_tests::net::netns::Netns;
use ipvs_tests::wait;
use serde_json::Value;

use super::drain::hold_connections;
use super::{director, write};
use crate::under_test;

ipvs_tests::tests! {
    prints_a_table;
    fits_the_terminal;
    long_addresses_fit_the_terminal;
    prints_a_row_for_each_service;
    selects_services_and_servers;
    shows_only_problems;
    counts_connections;
    measures_traffic;
    prints_json;
    prints_json_lines;
    prints_an_empty_table;
    shows_all_namespaces;
    is_repeated_on_a_terminal;
    hints_at_missing_permission;
    completion_loads_no_module, own_kernel = true;
    hints_at_missing_module, own_kernel = true;
}

const RULES: &str = "\
-A -t 192.0.2.1:80 -s sh -p 360 -M 255.255.255.0 -b sh-port
-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3 -x 100 -y 50
-a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 0
-A -u [2001:db8:1111:2222:3333:4444:5555:6666]:53 -s rr -o
-a -u [2001:db8:1111:2222:3333:4444:5555:6666]:53 -r [2001:db8:1111:2222:3333:4444:5555:7777]:53 -i --tun-type gue --tun-port 6080
-A -f 7 -s rr
";

const HEAD: &str = "IPVS 1.2.1, timeouts tcp 900 s, tcp-fin 120 s, udp 300 s\n";

/// Runs a command on a terminal of 80 columns.
fn on_terminal(command: &str) -> String {
    let shown = shell(&format!("script -qec 'stty cols 80 rows 24; {command}' /dev/null"));
    assert_eq!(shown.code, Some(0), "{shown}");
    shown.stdout.replace('\r', "")
}

fn prints_a_table() {
    director(RULES);
    assert_eq!(
        ok("ipvsadm-rs show"),
        format!(
            "{HEAD}\n  \
             SERVER                                       METHOD    STATE    WEIGHT  ACTIVE  INACTIVE  CONN/S  TEMPLATES    LIMIT  CONNECTIONS\n\
             TCP 192.0.2.1:80  sh sh-port  persistent 360 s mask 255.255.255.0\n  \
             25.0 % of new clients are refused: sh without sh-fallback also selects servers of weight 0\n  \
             10.0.0.1:8080                                masq      up            3       0         0       0          0  50..100            0\n  \
             10.0.0.2:8080                                masq      drained       0       0         0       0          0        -            0\n\
             UDP [2001:db8:1111:2222:3333:4444:5555:6666]:53  rr  one-packet\n  \
             [2001:db8:1111:2222:3333:4444:5555:7777]:53  gue:6080  up            1       0         0       0          0        -            0\n\
             FWM 7  rr\n  \
             every new client is refused: the service has no servers\n\
             \n\
             3 services, 3 servers: 2 up, 1 drained\n\
             0 active, 0 inactive connections, 0 connections/s\n"
        )
    );
    let coloured = ok("ipvsadm-rs show --color always");
    assert!(coloured.contains("\u{1b}[33m10.0.0.2:8080"), "{coloured:?}");
}

/// Once, one IPv6 address made all tables 130 columns wide.
fn fits_the_terminal() {
    director(RULES);
    let shown = on_terminal("ipvsadm-rs show");
    let plain = on_terminal("TERM=dumb ipvsadm-rs show");
    assert!(shown.contains("\u{1b}[1m") && !plain.contains('\u{1b}'), "{shown:?} {plain:?}");
    assert!(plain.lines().all(|line| line.len() <= 80), "{plain}");
    assert!(
        plain.contains(
            "  25.0 % of new clients are refused:\n    sh without sh-fallback also selects servers of weight 0\n"
        ),
        "{plain}"
    );
    assert!(
        plain.contains(
            "  SERVER         METHOD    STATE    WEIGHT  ACTIVE  INACTIVE  CONN/S\n\
             TCP 192.0.2.1:80  sh sh-port  persistent 360 s mask 255.255.255.0\n"
        ),
        "{plain}"
    );
    assert!(
        plain.contains(
            "  [2001:db8:1111:2222:3333:4444:5555:7777]:53\n                 gue:6080  up            1       0         0       0\n"
        ),
        "{plain}"
    );
}

/// `top` and `check` have the same table.
fn long_addresses_fit_the_terminal() {
    let service = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535";
    let server = |last: u32| format!("[2001:db8:1111:2222:3333:4444:5555:{last}]:65535");
    director(&format!(
        "-A -t {service} -s sh -p 2678400 -M 64 -b sh-fallback,sh-port\n\
         -a -t {service} -r {} -i --tun-type gue --tun-port 65535 -w 0 -x 1000000000 -y 500000000\n\
         -a -t {service} -r {} -m -w 2147483647\n\
         -A -u {service} -s sh -p 2678400 -M 64 -b sh-port\n\
         -a -u {service} -r {} -m -w 0\n-a -u {service} -r {} -m\n\
         -A -f 4294967295 -6 -s rr -p 2678400 -M 64\n",
        server(7777),
        server(8888),
        server(7777),
        server(8888)
    ));
    ok("ipvsadm --start-daemon master --mcast-interface lo --syncid 255");
    for command in [
        "show",
        "show --services",
        "show --traffic --interval 2s",
        "show --traffic --services --interval 2s",
        "show --problems",
        "show --all-netns --services",
        "top --once",
        "top --once --servers",
    ] {
        let shown = on_terminal(&format!("TERM=dumb ipvsadm-rs {command}"));
        let wide: Vec<&str> = shown.lines().filter(|line| line.len() > 80).collect();
        assert!(wide.is_empty(), "{command}: {wide:#?}\n{shown}");
        assert!(shown.contains("[2001:db8:1111:2222:3333:4444:5555:"), "{command}: {shown}");
    }
    let piped = ok("ipvsadm-rs show");
    assert!(piped.lines().any(|line| line.len() > 80), "{piped}");
    ok("ipvsadm --stop-daemon master");
}

fn prints_a_row_for_each_service() {
    director(RULES);
    assert_eq!(
        ok("ipvsadm-rs show --services"),
        format!(
            "{HEAD}\n\
             SERVICE                                          SCHED   UP  ACTIVE  INACTIVE  CONN/S  PROBLEM\n\
             TCP 192.0.2.1:80                                 sh     1/2       0         0       0  refuses some\n\
             UDP [2001:db8:1111:2222:3333:4444:5555:6666]:53  rr     1/1       0         0       0\n\
             FWM 7                                            rr     0/0       0         0       0  no servers\n\
             \n\
             3 services, 3 servers: 2 up, 1 drained\n\
             0 active, 0 inactive connections, 0 connections/s\n"
        )
    );
    let limited = ok("ipvsadm-rs show --services --limit 1");
    assert!(limited.contains("TCP 192.0.2.1:80") && !limited.contains("UDP"), "{limited}");
    assert!(limited.contains("\n3 services, "), "{limited}");
    assert!(limited.ends_with("\n2 services omitted\n"), "{limited}");
}

fn selects_services_and_servers() {
    director(RULES);
    let names = |options: &str| {
        let shown = ok(&format!("ipvsadm-rs show {options}"));
        let names = ["TCP 192", "UDP [20", "FWM 7", "10.0.0.1:", "10.0.0.2:", "7777]:53"];
        names.into_iter().filter(|name| shown.contains(name)).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(names("-t 192.0.2.1:80"), "TCP 192, 10.0.0.1:, 10.0.0.2:");
    assert_eq!(names("192.0.2.0/24"), "TCP 192, 10.0.0.1:, 10.0.0.2:");
    assert_eq!(names("udp -f 7"), "UDP [20, FWM 7, 7777]:53");
    assert_eq!(names("--server 10.0.0.2"), "TCP 192, 10.0.0.2:");
    assert_eq!(
        names("--server 10.0.0.2:8080,[2001:db8:1111:2222:3333:4444:5555:7777]:53"),
        "TCP 192, UDP [20, 10.0.0.2:, 7777]:53"
    );
    assert_eq!(names("--server 10.0.0.1 --services"), "TCP 192");
    for (options, error) in [
        ("-t 192.0.2.1:81", "no service tcp:192.0.2.1:81\nTo list the services, use `ipvsadm-rs show`."),
        ("198.51.100.0/24", "no service 198.51.100.0/24\nTo list the services, use `ipvsadm-rs show`."),
        ("--server 10.0.0.9", "no server 10.0.0.9\nTo list the servers, use `ipvsadm-rs show`."),
        ("udp --server 10.0.0.1", "no server 10.0.0.1 in these services\nTo list the servers, use `ipvsadm-rs show`."),
    ] {
        let ran = run(&format!("ipvsadm-rs show {options}"));
        assert_eq!(
            (ran.code, ran.stdout.as_str(), ran.stderr),
            (Some(1), "", format!("error: {error}\n")),
            "{options}"
        );
    }
    let part: Value = serde_json::from_str(&ok("ipvsadm-rs show --json --server 10.0.0.2")).unwrap();
    assert_eq!(part["services"].as_array().unwrap().len(), 1);
    assert_eq!(part["services"][0]["destinations"].as_array().unwrap().len(), 1);
}

fn shows_only_problems() {
    director(&format!("{RULES}-A -t 192.0.2.2:80 -s rr\n-a -t 192.0.2.2:80 -r 10.0.0.3 -m\n"));
    let shown = ok("ipvsadm-rs show --problems");
    assert!(shown.contains("TCP 192.0.2.1:80") && shown.contains("FWM 7"), "{shown}");
    assert!(!shown.contains("UDP") && !shown.contains("192.0.2.2"), "{shown}");
    assert_eq!(ok("ipvsadm-rs show --problems udp"), format!("{HEAD}\nno service has a problem\n"));
}

fn counts_connections() {
    let lab = Nat::new().unwrap();
    let held = hold_connections(&lab);
    let director = &lab.director;
    director.ok("ipvsadm -A -t 10.1.0.101:80 -s rr");
    director.ok("ipvsadm-rs set -r 10.2.0.11 --weight 0");
    let shown = director.ok("ipvsadm-rs show --services --sort active --limit 1");
    assert!(shown.contains("TCP 10.1.0.100:9000  rr     1/2       2         0 "), "{shown}");
    assert!(shown.contains("\n2 services, 2 servers: 1 up, 1 draining\n2 active, 0 inactive connections, "), "{shown}");
    let servers = director.ok("ipvsadm-rs show --sort name --problems -t 10.1.0.100:9000");
    assert!(servers.contains("10.2.0.11:9000  masq    draining (1 left)       0       1 "), "{servers}");
    assert!(!servers.contains("10.2.0.12"), "{servers}");
    drop(held);
}

fn measures_traffic() {
    let lab = Nat::new().unwrap();
    let _held = hold_connections(&lab);
    let director = &lab.director;
    let line = wait::until(Duration::from_secs(90), || {
        let line = std::thread::scope(|scope| {
            scope.spawn(|| (0..20).for_each(|_| drop(lab.client.client().hold(1, "10.1.0.100:9000"))));
            director.ok("ipvsadm-rs show --traffic --interval 4s --json-lines")
        });
        let line: Value = serde_json::from_str(&line).unwrap();
        if line["per_second"]["connections"].as_f64() > Some(0.0) { Ok(line) } else { Err(line.to_string()) }
    });
    let number = |name: &str| line["per_second"][name].as_f64().unwrap();
    assert!(number("incoming_bytes") > 20.0 * number("incoming_packets"), "{line}");
    assert!(number("outgoing_packets") > 0.0, "{line}");
    let servers = line["servers_per_second"].as_array().unwrap();
    let sum: f64 = servers.iter().map(|server| server["connections"].as_f64().unwrap()).sum();
    assert!(sum > 0.0, "{line}");
    let shown = director.ok("ipvsadm-rs show --traffic --interval 2s");
    assert!(shown.contains("  SERVER          STATE  CONN/S  PKT/S IN  PKT/S OUT  B/S IN  B/S OUT\n"), "{shown}");
    assert!(shown.lines().last().unwrap().ends_with(" B/s out"), "{shown}");
    let odd = director.run("ipvsadm-rs show --traffic --interval 3s");
    assert!(odd.stderr.contains("not a multiple of 2s"), "{odd}");
}

fn prints_json() {
    director(RULES);
    let table: serde_json::Value = serde_json::from_str(&ok("ipvsadm-rs --json show")).unwrap();
    assert_eq!((&table["schema"], &table["ipvs"]["version"]), (&1.into(), &"1.2.1".into()));
    assert_eq!(table["services"][0]["destinations"][0]["weight"], 3);
    assert_eq!(table["services"][0]["destinations"][0]["stats"]["incoming_bytes"], 0);
    assert_eq!(table["services"][1]["destinations"][0]["tunnel"]["port"], 6080);
    assert_eq!(table["services"][2]["fwmark"], 7);
    write("table", &table.to_string());
    assert_eq!(shell("ipvsadm-rs plan table").code, Some(0));
}

fn prints_json_lines() {
    director(RULES);
    let lines: Vec<Value> =
        ok("ipvsadm-rs show --json-lines").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["schema"], &lines[0]["protocol"], &lines[0]["port"]), (&1.into(), &"tcp".into(), &80.into()));
    assert_eq!(lines[0]["destinations"][1]["address"], "10.0.0.2");
    assert_eq!(lines[0]["states"], serde_json::json!(["up", "drained"]));
    assert_eq!(lines[0]["problem"], "refuses_some");
    assert!(lines[0]["refusal"].as_str().unwrap().starts_with("25.0 % of new clients"), "{}", lines[0]);
    assert_eq!(lines[1]["problem"], Value::Null);
    assert_eq!(lines[2]["problem"], "no_servers");
    for options in ["--json --json-lines", "--json --traffic", "--json --services", "--netns x --all-netns"] {
        assert_eq!(run(&format!("ipvsadm-rs show {options}")).code, Some(1), "{options}");
    }
}

fn prints_an_empty_table() {
    director("");
    let ran = run("ipvsadm-rs show");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), HEAD));
    assert_eq!(ok("ipvsadm-rs show --json-lines"), "");
}

fn shows_all_namespaces() {
    director("-A -f 7 -s rr\n");
    let blue = Netns::new("blue").unwrap();
    Netns::new("green").unwrap();
    blue.enter(|| ok("ipvsadm -A -t 192.0.2.9:80 -s wlc"));
    let shown = ok("ipvsadm-rs show --all-netns --services");
    let own = shown.find(" (this one)\n").expect("the own namespace");
    let other = shown.find("\nnetwork namespace blue\n").expect("the other namespace");
    assert!(own < shown.find("FWM 7 ").unwrap() && other < shown.find("TCP 192.0.2.9:80 ").unwrap(), "{shown}");
    assert!(!shown.contains("green"), "it has no services: {shown}");
    let selected = ok("ipvsadm-rs show --all-netns -t 192.0.2.9:80");
    assert!(selected.starts_with("network namespace blue\n") && !selected.contains("this one"), "{selected}");
    let json: Value = serde_json::from_str(&ok("ipvsadm-rs show --all-netns --json")).unwrap();
    assert_eq!(json["namespaces"][1]["name"], "blue");
    assert_eq!(json["namespaces"][1]["table"]["services"][0]["address"], "192.0.2.9");
    let lines = ok("ipvsadm-rs show --all-netns --json-lines");
    assert_eq!(lines.lines().filter(|line| line.contains(r#""namespace":"blue""#)).count(), 1, "{lines}");
}

fn is_repeated_on_a_terminal() {
    director(RULES);
    let command = "script -qec 'stty cols 80 rows 10; TERM=xterm timeout 7 ipvsadm-rs show --watch 2s' /dev/null";
    let shown = shell(command).stdout;
    let frames: Vec<&str> = shown.split("\u{1b}[H").collect();
    assert!(frames.len() > 2, "{shown:?}");
    assert!(frames[1].contains("TCP 192.0.2.1:80") && frames[1].matches('\n').count() < 10, "{shown:?}");
    assert!(frames[1].contains(" more lines: use --services, --limit or SCOPE)"), "{shown:?}");
    let piped = run("ipvsadm-rs show --watch 2s");
    assert_eq!(
        piped.stderr,
        "error: --watch needs a terminal that can move the cursor\nTo record changes, use `ipvsadm-rs monitor`.\n"
    );
}

fn hints_at_missing_permission() {
    under_test::install();
    let ran = shell("unshare -rn ipvsadm-rs show");
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.stderr,
        "error: read the IPVS version: permission denied: IPVS requires CAP_NET_ADMIN in the initial user \
         namespace\nRun the command as root.\n"
    );
}

fn hints_at_missing_module() {
    under_test::install();
    let _unloaded = modules::unload("ip_vs").unwrap().block_loading().unwrap();
    write("rules", "-A -t 192.0.2.1:80 -s rr\n");
    for verb in ["show", "plan rules", "apply rules", "set -t 192.0.2.1:80 --scheduler rr"] {
        let ran = run(&format!("ipvsadm-rs {verb}"));
        assert_eq!(ran.code, Some(1), "{ran}");
        let lines: Vec<&str> = ran.stderr.lines().filter(|line| !line.contains("warning: ")).collect();
        let [why, what_to_do] = lines[lines.len() - 2..] else { panic!("{ran}") };
        assert!(why.ends_with(": the kernel has no IPVS: cannot load the module ip_vs"), "{ran}");
        assert_eq!(what_to_do, "Load the module with `modprobe ip_vs`. For a container, load it on the host.", "{ran}");
    }
}

/// The tab key must not change anything.
fn completion_loads_no_module() {
    under_test::install();
    under_test::modprobe();
    let _unloaded = modules::unload("ip_vs").unwrap();
    let journals = shell("ls /var/lib/ipvsadm-rs").stdout;
    assert_eq!(ok("ipvsadm-rs complete ipvsadm-rs -- set -t 1"), "words\n");
    assert!(!std::fs::exists("/proc/net/ip_vs").unwrap(), "the module was loaded");
    assert_eq!(shell("ls /var/lib/ipvsadm-rs").stdout, journals);
}
