//! Each example of the libraries, on a real table. The network is [`Nat::DRAWING`].

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ipvs_tests::command::{Ran, Running, install as put, run};
use ipvs_tests::lab::topology::{Host, Lab, Nat};
use ipvs_tests::traffic::server::Protocol::{Tcp, Udp};
use ipvs_tests::wait;
use rustix::net::sockopt::set_socket_linger;
use rustix::process::{Signal, kill_process};

use crate::under_test;

ipvs_tests::tests! {
    every_example_is_short_and_tested;
    every_example_explains_its_arguments;
    add_and_list;
    set_weight;
    drain_ends_with_the_last_connection;
    drain_drops_connections_at_the_limit;
    drain_is_interrupted;
    reconcile_follows_a_file;
    watch_prints_changes;
    exporter_serves_metrics;
    exporter_prints_metrics_once;
    connections_by_server;
    apply_file_in_each_format;
    apply_file_reports_refusals;
    tokio_serves_lines;
    dump_and_async_fd;
}

/// The directory of each example, its name, and its program as built by cargo.
macro_rules! examples {
    ($($folder:literal / $name:literal;)*) => {
        const EXAMPLES: &[(&str, &str, &str)] =
            &[$(($folder, $name, env!(concat!("CARGO_BIN_EXE_example-", $name)))),*];
    };
}

// A new example also needs a `[[bin]]` in tests/Cargo.toml.
examples! {
    "ipvs" / "add";
    "ipvs" / "apply_file";
    "ipvs" / "connections";
    "ipvs" / "drain";
    "ipvs" / "exporter";
    "ipvs" / "list";
    "ipvs" / "namespaces";
    "ipvs" / "reconcile";
    "ipvs" / "set_weight";
    "ipvs" / "tokio";
    "ipvs" / "watch";
    "ipvs-sys" / "async_fd";
    "ipvs-sys" / "dump";
}

/// The number of lines that an example may have.
const MOST_LINES: usize = 59;

const WEB: &str = "10.1.0.100:80";

/// Installs `example-NAME` for each example, and our programs.
pub(crate) fn install() {
    under_test::install();
    for (_, name, program) in EXAMPLES {
        put(program, format!("/usr/sbin/example-{name}")).unwrap();
    }
}

/// Builds the network with two web servers, for which the example `add` adds a service.
fn web() -> Nat {
    install();
    let nat = Nat::new().unwrap();
    nat.web1.serve(Tcp, "10.2.0.11:80").unwrap();
    nat.web2.serve(Tcp, "10.2.0.12:80").unwrap();
    nat.director.ok("example-add tcp:10.1.0.100:80 rr 10.2.0.11:80 10.2.0.12:80");
    nat
}

/// Waits until a program has printed `wanted`.
#[track_caller]
fn wait_for(program: &Running, wanted: &str) {
    wait::until(Duration::from_secs(30), || {
        let output = program.output();
        if output.contains(wanted) { Ok(()) } else { Err(format!("{wanted:?} is not in:\n{output}")) }
    });
}

/// Waits until a program has ended.
#[track_caller]
fn wait_for_the_end(program: &mut Running) {
    wait::until(Duration::from_secs(30), || if program.is_running() { Err(program.output()) } else { Ok(()) });
}

/// Waits until the rules of a director are these.
#[track_caller]
fn wait_for_rules(director: &Host, wanted: &str) {
    wait::until(Duration::from_secs(30), || {
        let rules = rules(director);
        if rules == wanted { Ok(()) } else { Err(rules) }
    });
}

fn rules(director: &Host) -> String {
    director.ok("ipvsadm-save -n")
}

/// Checks that a program failed with this text on standard error.
#[track_caller]
fn fails(ran: &Ran, error: &str) {
    assert_eq!((ran.code, &*ran.stderr), (Some(1), error), "{ran}");
}

fn every_example_is_short_and_tested() {
    for folder in ["ipvs", "ipvs-sys"] {
        let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder).join("examples");
        let Ok(files) = fs::read_dir(&files) else {
            assert!(EXAMPLES.iter().all(|example| example.0 != folder), "{} cannot be read", files.display());
            continue;
        };
        for file in files.map(|file| file.unwrap().path()) {
            let name = file.file_stem().unwrap().to_str().unwrap();
            let is_tested = EXAMPLES.iter().any(|example| (example.0, example.1) == (folder, name));
            assert!(is_tested, "{} has no test: add it to the list of this file", file.display());
            let text = fs::read_to_string(&file).unwrap();
            let lines = text.lines().count();
            assert!(lines <= MOST_LINES, "{} has {lines} lines, but may have {MOST_LINES}", file.display());
            let call =
                format!("//! cargo run -p {} --example {name}", if folder == "ipvs" { "ipvs-rs" } else { folder });
            assert!(text.starts_with("//! ") && text.contains(&call), "{} has no line {call}", file.display());
        }
    }
}

/// The examples that need no arguments.
const WITHOUT_ARGUMENTS: [&str; 6] = ["async_fd", "connections", "dump", "list", "namespaces", "watch"];

/// Without arguments, an example prints its usage, unless it needs none.
fn every_example_explains_its_arguments() {
    install();
    for (_, name, _) in EXAMPLES.iter().filter(|example| !WITHOUT_ARGUMENTS.contains(&example.1)) {
        let ran = run(&format!("example-{name}"));
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.starts_with(&format!("Error: usage: {name} ")), "{ran}");
    }
}

fn add_and_list() {
    let nat = web();
    let director = &nat.director;
    assert_eq!(
        director.ok("example-add tcp:10.1.0.100:80 wrr 10.2.0.11:80 10.2.0.13:80"),
        "TCP 10.1.0.100:80: edited\n10.2.0.11:80: unchanged\n10.2.0.13:80: added\n"
    );
    director.ok("example-add fwm:7 sh");
    director.ok("ipvsadm -e -t 10.1.0.100:80 -r 10.2.0.13:80 -g -w 0");
    assert_eq!(
        rules(director),
        "-A -t 10.1.0.100:80 -s wrr\n\
         -a -t 10.1.0.100:80 -r 10.2.0.11:80 -m -w 1\n\
         -a -t 10.1.0.100:80 -r 10.2.0.12:80 -m -w 1\n\
         -a -t 10.1.0.100:80 -r 10.2.0.13:80 -g -w 0\n\
         -A -f 7 -s sh\n"
    );
    let _held = nat.client.client().hold(2, WEB);
    let list = wait::until(Duration::from_secs(30), || {
        let list = director.ok("example-list");
        // The kernel updates counters every 2 seconds.
        if list.contains("2 connections so far") { Ok(list) } else { Err(list) }
    });
    assert_eq!(
        list,
        "IPVS 1.2.1, services: 2\n\
         TCP 10.1.0.100:80 wrr, 2 connections so far\n  \
           10.2.0.11:80             weight 1     active 1      inactive 0      masquerade\n  \
           10.2.0.12:80             weight 1     active 1      inactive 0      masquerade\n  \
           10.2.0.13:80             weight 0     active 0      inactive 0      direct_route\n\
         FWM 7 sh, 0 connections so far\n"
    );
    fails(
        &director.run("example-add tcp:10.1.0.100 rr"),
        "Error: `tcp:10.1.0.100' is not a service: PROTOCOL:ADDRESS:PORT, fwmark:MARK, fwmark:MARK:IPv6\n",
    );
}

fn set_weight() {
    let nat = web();
    let director = &nat.director;
    let line = "example-set_weight tcp:10.1.0.100:80 10.2.0.11:80";
    assert_eq!(director.ok(&format!("{line} 0")), "10.2.0.11:80 of TCP 10.1.0.100:80: weight 0, edited\n");
    assert_eq!(director.ok(&format!("{line} 0")), "10.2.0.11:80 of TCP 10.1.0.100:80: weight 0, unchanged\n");
    assert_eq!(nat.client.client().hold(2, WEB).to_string(), "web2=2");
    let error = director.run("example-set_weight tcp:10.1.0.100:80 10.2.0.19:80 3");
    fails(&error, "Error: read server 10.2.0.19:80 of TCP 10.1.0.100:80: no such server\n");
    let error = director.run(&format!("{line} much"));
    fails(&error, "Error: `much' is not a weight\n\nCaused by:\n    invalid digit found in string\n");
    let error = director.run(&format!("{line} 4000000000")).stderr;
    assert!(error.ends_with("a weight must be 0 to 2147483647, not 4000000000\n"), "{error}");
}

const DRAIN: &str = "example-drain tcp:10.1.0.100:80 10.2.0.11:80";

fn drain_ends_with_the_last_connection() {
    let nat = web();
    let held = nat.client.client().hold(4, WEB);
    let mut drain = nat.director.start(&format!("{DRAIN} 60"));
    wait_for(&drain, "2 active, 0 inactive\n");
    assert_eq!(nat.client.client().hold(2, WEB).to_string(), "web2=2", "no new connections to web1");
    assert_eq!(held.again().to_string(), "web1=2 web2=2");
    // The kernel keeps a connection that was reset for 10 seconds, and one that was closed for 2 minutes.
    for stream in &held.open {
        set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
    }
    drop(held);
    wait_for_the_end(&mut drain);
    assert!(drain.output().ends_with("deleted, dropped connections: 0\n"), "{}", drain.output());
    let rest = "-A -t 10.1.0.100:80 -s rr\n-a -t 10.1.0.100:80 -r 10.2.0.12:80 -m -w 1\n";
    assert_eq!(rules(&nat.director), rest);
    fails(
        &nat.director.run(&format!("{DRAIN} 60")),
        "Error: read server 10.2.0.11:80 of TCP 10.1.0.100:80: no such server\n",
    );
}

fn drain_drops_connections_at_the_limit() {
    let nat = web();
    let held = nat.client.client().patience(Duration::from_secs(1)).hold(2, WEB);
    let output = nat.director.ok(&format!("{DRAIN} 1"));
    assert!(output.ends_with("1 active, 0 inactive\ndeleted, dropped connections: 1\n"), "{output}");
    assert_eq!(held.again().to_string(), "timeout=1 web2=1");
    let output = nat.director.ok("example-drain tcp:10.1.0.100:80 10.2.0.12:80 1");
    assert!(output.starts_with("1 active, 0 inactive, new clients are refused\n"), "{output}");
}

fn drain_is_interrupted() {
    let nat = web();
    nat.director.ok("example-set_weight tcp:10.1.0.100:80 10.2.0.11:80 5");
    let _held = nat.client.client().hold(8, WEB);
    let mut drain = nat.director.start(&format!("{DRAIN} 60"));
    wait_for(&drain, "active");
    assert!(rules(&nat.director).contains("-r 10.2.0.11:80 -m -w 0\n"));
    kill_process(drain.pid(), Signal::INT).unwrap();
    wait_for_the_end(&mut drain);
    assert!(drain.output().ends_with("Error: interrupted: the weight is restored\n"), "{}", drain.output());
    assert!(rules(&nat.director).contains("-r 10.2.0.11:80 -m -w 5\n"));
}

fn reconcile_follows_a_file() {
    let nat = web();
    let (director, client) = (&nat.director, nat.client.client().patience(Duration::from_secs(1)));
    director.ok("ipvsadm -A -f 9 -s rr");
    let service = "-A -t 10.1.0.100:80 -s wrr\n";
    let [one, two] = [("11", 1), ("12", 2)].map(|(last, w)| format!("-a -t {WEB} -r 10.2.0.{last}:80 -m -w {w}\n"));
    let globals = "--set 900 120 300\n";
    let [both, rest] = [format!("{globals}{service}{one}{two}"), format!("{globals}{service}{two}")];
    fs::write("wanted", &both).unwrap();
    let reconcile = director.start("example-reconcile wanted 10");
    wait_for_rules(director, &format!("{service}{one}{two}"));
    assert!(!reconcile.output().contains("edit server 10.2.0.11:80"), "{}", reconcile.output());
    let held = client.hold(6, WEB);

    fs::write("wanted", &rest).unwrap();
    wait_for(&reconcile, "edit server 10.2.0.11:80 of TCP 10.1.0.100:80\n");
    assert!(rules(director).contains("-r 10.2.0.11:80 -m -w 0\n"), "{}", rules(director));
    assert_eq!(client.hold(2, WEB).to_string(), "web2=2");
    // It comes back before the limit, with its connections.
    fs::write("wanted", &both).unwrap();
    wait_for_rules(director, &format!("{service}{one}{two}"));
    assert_eq!(held.again().to_string(), "web1=2 web2=4");

    // A mistake in the file changes nothing.
    fs::write("wanted", "-A\n").unwrap();
    wait_for(&reconcile, "line 1, ");
    assert_eq!(rules(director), format!("{service}{one}{two}"));

    fs::write("wanted", &rest).unwrap();
    wait_for(&reconcile, "delete server 10.2.0.11:80 of TCP 10.1.0.100:80\n");
    wait_for_rules(director, &format!("{service}{two}"));
    assert_eq!(held.again().to_string(), "timeout=2 web2=4", "deleted at the limit");
}

fn watch_prints_changes() {
    install();
    let director = Lab::new().unwrap().host("director").unwrap();
    let watch = director.start("example-watch");
    wait_for(&watch, "services: 0\n");
    director.ok("ipvsadm -A -t 192.0.2.1:80 -s wlc");
    wait_for(&watch, "added service TCP 192.0.2.1:80: -A -t 192.0.2.1:80 -s wlc\n");
    director.ok("ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.1:80 -m");
    wait_for(&watch, "added server of TCP 192.0.2.1:80: -r 10.0.0.1:80 -m -w 1\n");
    director.ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 7");
    let edited = "edited server of TCP 192.0.2.1:80: -r 10.0.0.1:80 -m -w 7, before: -r 10.0.0.1:80 -m -w 1\n";
    wait_for(&watch, edited);
    director.ok("ipvsadm -C");
    wait_for(&watch, "deleted server of TCP 192.0.2.1:80: -r 10.0.0.1:80 -m -w 7\ndeleted service TCP 192.0.2.1:80: ");
}

/// Checks the text format of Prometheus: each metric has its help and its type before its samples.
/// <https://prometheus.io/docs/instrumenting/exposition_formats/>
#[track_caller]
fn assert_metrics(text: &str) {
    let (mut name, mut kind) = ("", "");
    assert!(text.ends_with('\n'), "{text}");
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        if let ["#", "HELP", new, _] = words[..] {
            assert_eq!(text.matches(&format!("# HELP {new} ")).count(), 1, "{text}");
            name = new;
        } else if let ["#", "TYPE", of, new] = words[..] {
            assert_eq!(of, name, "{text}");
            assert_eq!(new == "counter", name.ends_with("_total"), "{line}");
            kind = new;
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert!(sample.starts_with(&format!("{name}{{service=\"")) && sample.ends_with("\"}"), "{line}");
            assert!(value.parse::<u64>().is_ok(), "{line}");
        }
    }
}

fn exporter_serves_metrics() {
    let nat = web();
    let mut exporter = nat.director.start("example-exporter 10.1.0.1:9100");
    let client = nat.client.client();
    let client = client.patience(Duration::from_secs(10));
    let get = || client.get("10.1.0.1:9100", "/metrics");
    wait::until(Duration::from_secs(30), || get().map(drop).map_err(|error| error.to_string()));
    // A client that says nothing does not stop the exporter.
    let _silent = nat.client.enter(|| TcpStream::connect("10.1.0.1:9100")).unwrap();
    let _held = client.hold(4, WEB);
    let text = wait::until(Duration::from_secs(30), || {
        let text = get().unwrap();
        // The kernel updates counters every 2 seconds.
        let counted = "ipvs_connections_total{service=\"TCP 10.1.0.100:80\",server=\"10.2.0.11:80\"} 2\n";
        if text.contains(counted) { Ok(text) } else { Err(text) }
    });
    assert_metrics(&text);
    for line in [
        "ipvs_active_connections{service=\"TCP 10.1.0.100:80\",server=\"10.2.0.12:80\"} 2\n",
        "ipvs_inactive_connections{service=\"TCP 10.1.0.100:80\",server=\"10.2.0.12:80\"} 0\n",
        "ipvs_weight{service=\"TCP 10.1.0.100:80\",server=\"10.2.0.12:80\"} 1\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    assert!(exporter.is_running(), "{}", exporter.output());
}

fn exporter_prints_metrics_once() {
    install();
    let director = Lab::new().unwrap().host("director").unwrap();
    assert_metrics(&director.ok("example-exporter --once"));
    for service in ["tcp:192.0.2.1:80", "fwmark:7:IPv6"] {
        director
            .ok(&format!("example-add {service} rr [2001:db8::1]:80").replace("tcp:192.0.2.1", "tcp:[2001:db8::9]"));
    }
    let text = director.ok("example-exporter --once");
    assert_metrics(&text);
    assert!(text.contains("ipvs_weight{service=\"FWM 7 IPv6\",server=\"[2001:db8::1]:80\"} 1\n"), "{text}");
    assert_eq!(text.matches("service=\"TCP [2001:db8::9]:80\"").count(), 6, "{text}");
}

fn connections_by_server() {
    let nat = web();
    let director = &nat.director;
    assert_eq!(director.ok("example-connections"), "0 connections\n");
    let _held = nat.client.client().hold(4, WEB);
    nat.web1.serve(Udp, "10.2.0.11:53").unwrap();
    director.ok("example-add udp:10.1.0.100:53 rr 10.2.0.11:53");
    assert_eq!(nat.client.client().datagrams(3, "10.1.0.100:53").to_string(), "web1=3");
    let web = "10.2.0.11:80             ESTABLISHED  2\n10.2.0.12:80             ESTABLISHED  2\n";
    let all = format!("10.2.0.11:53             UDP          3\n{web}7 connections\n");
    assert_eq!(director.ok("example-connections"), all);
    let of_web = format!("{web}4 connections\n");
    assert_eq!(director.ok("example-connections tcp:10.1.0.100:80"), of_web);
    assert_eq!(director.ok("example-connections tcp:10.1.0.100:80 10.1.0.0/24"), of_web);
    assert_eq!(director.ok("example-connections tcp:10.1.0.100:80 192.0.2.0/24"), "0 connections\n");
    let error = "Error: `inside' is not a network\n\nCaused by:\n    invalid IP address syntax\n";
    fails(&director.run("example-connections tcp:10.1.0.100:80 inside"), error);
}

const RULES: &str = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n";

const JSON: &str = r#"{ "services": [ { "protocol": "tcp", "address": "192.0.2.1", "port": 80, "scheduler": "rr",
    "destinations": [ { "address": "10.0.0.1", "port": 80, "forwarding": "masquerade" } ] } ] }"#;

const TOML: &str = r#"
[[services]]
protocol = "tcp"
address = "192.0.2.1"
port = 80
scheduler = "rr"
[[services.destinations]]
address = "10.0.0.1"
port = 80
forwarding = "masquerade"
"#;

fn apply_file_in_each_format() {
    install();
    let director = Lab::new().unwrap().host("director").unwrap();
    for (file, text) in [("table.rules", RULES), ("table.json", JSON), ("table.toml", TOML)] {
        fs::write(file, text).unwrap();
        let asked = director.run(&format!("example-apply_file {file}"));
        fails(&asked, "Error: nothing was changed\n");
        assert_eq!(asked.stdout, format!("{RULES}make 2 changes? [y/N]\n"));
        assert_eq!(rules(&director), "");
        let applied = match file {
            "table.rules" => director.run_with_input(Command::new("example-apply_file").arg(file), "y\n").unwrap().ok(),
            _ => director.ok(&format!("example-apply_file {file} --yes")),
        };
        assert!(applied.ends_with("made 2 changes\n"), "{applied}");
        assert_eq!(rules(&director), RULES);
        assert_eq!(director.ok(&format!("example-apply_file {file}")), "nothing to change\n");
        director.ok("ipvsadm -C");
    }
}

fn apply_file_reports_refusals() {
    install();
    let director = Lab::new().unwrap().host("director").unwrap();
    fs::write("table", format!("{RULES}-A -t 192.0.2.2:80 -s nosuch\n")).unwrap();
    let ran = director.run("example-apply_file table --yes");
    assert_eq!(ran.code, Some(1), "{ran}");
    let errors: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(
        errors[..2],
        [
            "line 3: scheduler nosuch is not one of the kernel's own",
            "line 3: TCP 192.0.2.2:80 has no servers: every connection is refused"
        ]
    );
    assert!(errors[2].starts_with("add service TCP 192.0.2.2:80: the kernel has no scheduler nosuch"), "{ran}");
    assert_eq!(errors[3..], ["Error: missing changes: 1"]);
    assert_eq!(rules(&director), RULES, "all other changes were made");
    fs::write("table", "-A\n-X\n").unwrap();
    let ran = director.run("example-apply_file table");
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.starts_with("Error: line 1, ") && ran.stderr.contains("\nline 2, "), "{ran}");
    fs::write("table.json", r#"{ "services": 7 }"#).unwrap();
    let ran = director.run("example-apply_file table.json");
    assert!(ran.stderr.contains("invalid type: integer `7`"), "{ran}");
}

fn tokio_serves_lines() {
    let nat = web();
    let _service = nat.director.start("example-tokio 10.1.0.1:9101");
    let connect = || {
        let connect = || TcpStream::connect("10.1.0.1:9101").map_err(|error| error.to_string());
        let stream = nat.client.enter(|| wait::until(Duration::from_secs(30), connect));
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        BufReader::new(stream)
    };
    let ask = |connection: &mut BufReader<TcpStream>, line: &str| {
        writeln!(connection.get_ref(), "{line}").unwrap();
        let mut reply = String::new();
        connection.read_line(&mut reply).unwrap();
        reply
    };
    let (mut one, mut two) = (connect(), connect());
    assert_eq!(ask(&mut one, "tcp:10.1.0.100:80 10.2.0.11:80 0"), "edited\n");
    assert_eq!(ask(&mut two, "tcp:10.1.0.100:80 10.2.0.11:80 0"), "unchanged\n");
    assert_eq!(nat.client.client().hold(2, WEB).to_string(), "web2=2");
    let error = ask(&mut one, "tcp:10.1.0.100:80 10.2.0.19:80 0");
    assert_eq!(error, "error: read server 10.2.0.19:80 of TCP 10.1.0.100:80: no such server\n");
    assert_eq!(
        ask(&mut one, "weight"),
        "error: `weight' is not a service: PROTOCOL:ADDRESS:PORT, fwmark:MARK, fwmark:MARK:IPv6\n"
    );
    assert_eq!(ask(&mut two, "tcp:10.1.0.100:80 10.2.0.11:80 4"), "edited\n");
    assert!(rules(&nat.director).contains("-r 10.2.0.11:80 -m -w 4\n"));
}

/// Both examples of the bindings list more services than a datagram has room for.
fn dump_and_async_fd() {
    install();
    for port in 1..=100 {
        run(&format!("ipvsadm -A -t 192.0.2.1:{port} -s rr")).ok();
    }
    run("ipvsadm -a -t 192.0.2.1:7 -r 10.0.0.1 -m -w 3").ok();
    let services = run("example-async_fd").ok();
    assert_eq!(services.lines().count(), 100, "{services}");
    assert!(services.lines().all(|line| line.contains("IPVS_SVC_ATTR_SCHED_NAME: \"rr\"")), "{services}");
    let all = run("example-dump").ok();
    let (destinations, others): (Vec<_>, Vec<_>) = all.lines().partition(|line| line.starts_with("  "));
    assert_eq!(others.join("\n"), services.trim_end());
    assert!(destinations.len() == 1 && destinations[0].contains("IPVS_DEST_ATTR_WEIGHT: 3"), "{destinations:?}");
    let ran = run("example-dump no-such-namespace");
    assert!(ran.code == Some(1) && ran.stderr.contains("no-such-namespace"), "{ran}");
}
