//! `ipvsadm-rs metrics`.

pub(crate) mod prometheus;
pub(crate) mod server;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use ipvs_tests::command::{ok, run, shell};
use ipvs_tests::lab::topology::{Lab, Nat};
use ipvs_tests::traffic::server::Protocol::Udp;
use ipvs_tests::wait;

use crate::under_test;
use crate::verbs::{director, write};

ipvs_tests::tests! {
    counters_are_those_of_ipvsadm;
    counts_states_and_problems;
    limits_the_series;
    has_the_values_of_the_kernel_under_the_names_of_node_exporter;
    reads_another_namespace;
    reads_all_namespaces;
    names_of_namespaces_are_unique;
    writes_a_textfile;
}

/// Time limit for counters, which the kernel updates every 2 seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// The value of each series, from the text format.
pub(crate) type Values = BTreeMap<String, String>;

pub(crate) fn values(text: &str) -> Values {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.rsplit_once(' ').expect("a value")).map(|(s, v)| (s.to_owned(), v.to_owned())).collect()
}

/// Returns the values of metrics with these names, as numbers.
pub(crate) fn numbers<const N: usize>(values: &Values, names: [&str; N], labels: &str) -> [u64; N] {
    names.map(|name| {
        let series = format!("{name}{labels}");
        values.get(&series).unwrap_or_else(|| panic!("no {series}: {values:#?}")).parse().expect("a number")
    })
}

const COUNTERS: [&str; 5] = [
    "connections_total",
    "incoming_packets_total",
    "outgoing_packets_total",
    "incoming_bytes_total",
    "outgoing_bytes_total",
];

/// Returns the numbers in the line of `ipvsadm -Ln --stats --exact` that has this word.
fn listed(listing: &str, word: &str) -> [u64; 5] {
    let line = listing.lines().find(|line| line.split_whitespace().any(|found| found == word)).expect(word);
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    numbers.try_into().expect("five numbers")
}

fn counters_are_those_of_ipvsadm() {
    let nat = Nat::new().unwrap();
    nat.web1.serve(Udp, "10.2.0.11:53").unwrap();
    nat.web2.serve(Udp, "10.2.0.12:53").unwrap();
    under_test::install();
    for command in [
        "ipvsadm -A -u 10.1.0.100:53 -s wrr",
        "ipvsadm -a -u 10.1.0.100:53 -r 10.2.0.11 -m -w 3",
        "ipvsadm -a -u 10.1.0.100:53 -r 10.2.0.12 -m -w 1",
    ] {
        nat.director.ok(command);
    }
    assert_eq!(nat.client.client().datagrams(40, "10.1.0.100:53").to_string(), "web1=30 web2=10");
    let service = "service=\"udp:10.1.0.100:53\"";
    let compare = || {
        let before = nat.director.ok("ipvsadm -Ln --stats --exact");
        let text = nat.director.ok("ipvsadm-rs metrics");
        let after = nat.director.ok("ipvsadm -Ln --stats --exact");
        let values = values(&text);
        let is_counted = listed(&before, "10.1.0.100:53")[1] == 40;
        let totals = numbers(&values, COUNTERS.map(|name| format!("ipvs_{name}")).each_ref().map(String::as_str), "");
        if !is_counted || before != after || totals != listed(&before, "10.1.0.100:53") {
            return Err(format!("{before}{text}"));
        }
        Ok((before, values))
    };
    let (listing, values) = wait::until(PATIENCE, compare);
    let of = |kind: &str, labels: &str| {
        let names = COUNTERS.map(|name| format!("ipvs_{kind}_{name}"));
        numbers(&values, names.each_ref().map(String::as_str), labels)
    };
    assert_eq!(of("service", &format!("{{{service}}}")), listed(&listing, "10.1.0.100:53"));
    for server in ["10.2.0.11:53", "10.2.0.12:53"] {
        assert_eq!(of("server", &format!("{{{service},server=\"{server}\"}}")), listed(&listing, server));
    }
    let connections = ["ipvs_active_connections", "ipvs_inactive_connections", "ipvs_up", "ipvs_estimation_enabled"];
    assert_eq!(numbers(&values, connections, ""), [0, 40, 1, 1]);

    // -Z also resets the counters of the namespace. Prometheus sees a reset of a counter.
    nat.director.ok("ipvsadm -Z");
    wait::until(PATIENCE, || {
        let values = self::values(&nat.director.ok("ipvsadm-rs metrics --detail totals"));
        if values["ipvs_connections_total"] == "0" { Ok(()) } else { Err(format!("{values:?}")) }
    });
}

const MIXED: &str = "\
-A -t 192.0.2.1:80 -s wlc
-a -t 192.0.2.1:80 -r 10.0.0.1 -m -w 3 -x 100 -y 50
-a -t 192.0.2.1:80 -r 10.0.0.2 -m -w 0
-A -t 192.0.2.2:80 -s rr
-A -t [2001:db8::1]:443 -s rr
-a -t [2001:db8::1]:443 -r [2001:db8:1::1] -m -w 0
-A -f 31 -s sh
-a -f 31 -r 10.0.0.1:80 -i -w 1
-a -f 31 -r 10.0.0.2:80 -i -w 0
";

fn counts_states_and_problems() {
    director(MIXED);
    ok("ipvsadm --set 901 121 301");
    ok("ipvsadm --start-daemon master --mcast-interface lo --syncid 7");
    let values = values(&ok("ipvsadm-rs metrics"));
    for (series, value) in [
        ("ipvs_services", 4),
        ("ipvs_servers{state=\"up\"}", 2),
        ("ipvs_servers{state=\"drained\"}", 3),
        ("ipvs_services_with_problem{problem=\"no_servers\"}", 1),
        ("ipvs_services_with_problem{problem=\"all_weight_0\"}", 1),
        ("ipvs_services_with_problem{problem=\"refuses_some\"}", 1),
        ("ipvs_services_with_problem{problem=\"draining\"}", 0),
        ("ipvs_service_refusing{service=\"tcp:192.0.2.1:80\"}", 0),
        ("ipvs_service_refusing{service=\"tcp:192.0.2.2:80\"}", 1),
        ("ipvs_service_problem{service=\"tcp:[2001:db8::1]:443\",problem=\"all_weight_0\"}", 1),
        ("ipvs_service_servers{service=\"fwmark:31:IPv4\",state=\"drained\"}", 1),
        ("ipvs_server_weight{service=\"tcp:192.0.2.1:80\",server=\"10.0.0.1:80\"}", 3),
        ("ipvs_server_upper_threshold{service=\"tcp:192.0.2.1:80\",server=\"10.0.0.1:80\"}", 100),
        ("ipvs_server_lower_threshold{service=\"tcp:192.0.2.1:80\",server=\"10.0.0.1:80\"}", 50),
        ("ipvs_server_state{service=\"fwmark:31:IPv4\",server=\"10.0.0.2:80\",state=\"drained\"}", 1),
        ("ipvs_timeout_seconds{kind=\"tcp\"}", 901),
        ("ipvs_timeout_seconds{kind=\"udp\"}", 301),
        ("ipvs_sync_daemon_running{role=\"master\"}", 1),
        ("ipvs_sync_daemon_running{role=\"backup\"}", 0),
        ("ipvs_omitted_series", 0),
        ("ipvs_reading_uncertain", 0),
    ] {
        assert_eq!(values.get(series).map(String::as_str), Some(value.to_string().as_str()), "{series}: {values:#?}");
    }
    assert!(values.keys().any(|series| series.starts_with("ipvs_sync_daemon_info{role=\"master\",interface=\"lo\"")));
    ok("ipvsadm --stop-daemon master");
    // The size is that of the listing. The file and the sysctl exist only in newer kernels.
    let size = values["ipvs_connection_table_buckets"].clone();
    assert!(ok("ipvsadm -Ln").contains(&format!("(size={size})")), "{size}");
    for (path, series) in [
        ("/proc/net/ip_vs_status", "ipvs_connection_table_entries"),
        ("/proc/sys/net/ipv4/vs/conn_max", "ipvs_connection_table_max_entries"),
    ] {
        assert_eq!(values.contains_key(series), fs::exists(path).unwrap(), "{series}");
    }
}

fn limits_the_series() {
    director(MIXED);
    let totals = values(&ok("ipvsadm-rs metrics --detail totals"));
    assert!(totals.keys().all(|series| !series.contains("service=\"")), "{totals:#?}");
    let services = values(&ok("ipvsadm-rs metrics --detail services"));
    assert!(services.keys().all(|series| !series.contains("server=\"")), "{services:#?}");
    let all = values(&ok("ipvsadm-rs metrics"));
    let limit = services.len() + 15;
    let limited = values(&ok(&format!("ipvsadm-rs metrics --max-series {limit}")));
    assert!(limited.len() <= limit, "{limited:#?}");
    let [series, services, servers] =
        numbers(&limited, ["ipvs_omitted_series", "ipvs_omitted_services", "ipvs_omitted_servers"], "");
    assert_eq!((series as usize + limited.len(), services, servers), (all.len(), 0, 4));

    let mark = values(&ok("ipvsadm-rs metrics --only fwmark"));
    assert_eq!(numbers(&mark, ["ipvs_services"], ""), [1]);
    assert!(!mark.keys().any(|series| series.contains("tcp:")), "{mark:#?}");
    // A service that does not exist is no error: it may be added later.
    let none = values(&ok("ipvsadm-rs metrics --only tcp:192.0.2.9:80"));
    assert_eq!(numbers(&none, ["ipvs_services"], ""), [0]);
    assert_eq!(run("ipvsadm-rs metrics --json").code, Some(1), "there is no JSON");
}

fn has_the_values_of_the_kernel_under_the_names_of_node_exporter() {
    director(MIXED);
    let values = values(&ok("ipvsadm-rs metrics --prefix node"));
    let names: std::collections::BTreeSet<&str> =
        values.keys().map(|series| series.split('{').next().expect("a name")).collect();
    assert_eq!(
        names.into_iter().collect::<Vec<_>>(),
        [
            "node_ipvs_backend_connections_active",
            "node_ipvs_backend_connections_inactive",
            "node_ipvs_backend_weight",
            "node_ipvs_connections_total",
            "node_ipvs_incoming_bytes_total",
            "node_ipvs_incoming_packets_total",
            "node_ipvs_outgoing_bytes_total",
            "node_ipvs_outgoing_packets_total",
        ]
    );
    let weights = values.iter().filter(|(series, _)| series.starts_with("node_ipvs_backend_weight"));
    assert_eq!(
        weights.map(|(series, value)| format!("{} {value}", series.split_once('{').unwrap().1)).collect::<Vec<_>>(),
        [
            "local_address=\"\",local_port=\"0\",remote_address=\"10.0.0.1\",remote_port=\"80\",proto=\"FWM\",local_mark=\"0000001F\"} 1",
            "local_address=\"\",local_port=\"0\",remote_address=\"10.0.0.2\",remote_port=\"80\",proto=\"FWM\",local_mark=\"0000001F\"} 0",
            "local_address=\"192.0.2.1\",local_port=\"80\",remote_address=\"10.0.0.1\",remote_port=\"80\",proto=\"TCP\",local_mark=\"\"} 3",
            "local_address=\"192.0.2.1\",local_port=\"80\",remote_address=\"10.0.0.2\",remote_port=\"80\",proto=\"TCP\",local_mark=\"\"} 0",
            "local_address=\"2001:db8::1\",local_port=\"443\",remote_address=\"2001:db8:1::1\",remote_port=\"443\",proto=\"TCP\",local_mark=\"\"} 0",
        ]
    );
}

fn reads_another_namespace() {
    let nat = Nat::new().unwrap();
    director("-A -t 192.0.2.1:80 -s rr\n");
    nat.director.ok("ipvsadm -A -f 7 -s rr");
    let name = nat.director.name();
    let values = values(&ok(&format!("ipvsadm-rs metrics --netns {name}")));
    assert_eq!(numbers(&values, ["ipvs_services"], ""), [1]);
    // The counters are those of the namespace, too.
    assert!(values.contains_key("ipvs_connections_total"));
    assert!(values.contains_key("ipvs_service_weight{service=\"fwmark:7:IPv4\"}"), "{values:#?}");
    let ran = run("ipvsadm-rs metrics --netns no-such");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran}");
    assert!(ran.stderr.starts_with("error: network namespace no-such: "), "{ran}");
}

fn reads_all_namespaces() {
    let nat = Nat::new().unwrap();
    director("-A -t 192.0.2.1:80 -s rr\n");
    nat.director.ok("ipvsadm -A -f 7 -s rr");
    nat.director.ok("ipvsadm -a -f 7 -r 10.2.0.11:80 -m -w 5");
    let values = values(&ok("ipvsadm-rs metrics --all-netns"));
    assert_eq!(values["ipvs_server_weight{netns=\"director\",service=\"fwmark:7:IPv4\",server=\"10.2.0.11:80\"}"], "5");
    assert!(values.contains_key("ipvs_connections_total{netns=\"director\"}"), "{values:#?}");
    // Only namespaces with services, and the own one under any name.
    let tables = values.keys().filter(|series| series.starts_with("ipvs_services{netns="));
    assert_eq!(tables.count(), 2, "{values:#?}");
    let own = values.keys().find(|series| {
        series.ends_with("service=\"tcp:192.0.2.1:80\"}") && series.starts_with("ipvs_service_weight{netns=\"")
    });
    assert!(own.is_some(), "{values:#?}");
    assert!(values.contains_key("ipvs_unreadable_namespaces"));
    // The capabilities that the comment in the unit states.
    let few = "--bounding-set=-all,+net_admin,+sys_admin,+sys_ptrace";
    let printed = ok(&format!("setpriv {few} ipvsadm-rs metrics --all-netns --detail totals"));
    assert!(printed.contains("ipvs_services{netns=\"director\"} 1\n"), "{printed}");
    assert!(printed.contains("ipvs_unreadable_namespaces 0\n"), "{printed}");
    for options in ["--netns director", "--prefix node", "--listen 127.0.0.1:0"] {
        assert_eq!(run(&format!("ipvsadm-rs metrics --all-netns {options}")).code, Some(1), "{options}");
    }
}

/// The name of a namespace can look like the ID of a process in another one.
fn names_of_namespaces_are_unique() {
    let lab = Lab::new().unwrap();
    under_test::install();
    let other = lab.host("other").unwrap();
    write("service", "ipvsadm -A -f 7 -s rr && exec sleep 120\n");
    let process = other.start("unshare -n sh service");
    let id = process.pid().as_raw_nonzero();
    let named = lab.host(&id.to_string()).unwrap();
    named.ok("ipvsadm -A -f 8 -s rr");
    wait::until(PATIENCE, || {
        let text = ok("ipvsadm-rs metrics --all-netns --detail services");
        let with = |mark: u32| {
            let line = text.lines().find(|line| {
                line.starts_with(&format!("ipvs_service_weight{{netns=\"{id}"))
                    && line.contains(&format!("service=\"fwmark:{mark}:IPv4\""))
            });
            line.map(|line| line.split(',').next().unwrap_or_default().to_owned())
        };
        match (with(7), with(8)) {
            (Some(by_process), Some(by_name)) => {
                assert_ne!(by_process, by_name, "{text}");
                Ok(())
            }
            _ => Err(text),
        }
    });
}

fn writes_a_textfile() {
    director(MIXED);
    fs::create_dir("dir").unwrap();
    for mask in ["0", "077"] {
        assert_eq!(shell(&format!("umask {mask} && ipvsadm-rs metrics --textfile dir/ipvs.prom")).ok(), "");
        let file = fs::metadata("dir/ipvs.prom").unwrap();
        assert_eq!(file.permissions().mode() & 0o7777, 0o644, "umask {mask}");
        let written = values(&fs::read_to_string("dir/ipvs.prom").unwrap());
        let mut printed = values(&ok("ipvsadm-rs metrics"));
        assert_ne!(written["ipvs_scrape_duration_seconds"], "0");
        printed.insert("ipvs_scrape_duration_seconds".into(), written["ipvs_scrape_duration_seconds"].clone());
        assert_eq!(written, printed);
    }
    assert_eq!(fs::read_dir("dir").unwrap().count(), 1, "no other file");

    // Values of an earlier reading would be wrong.
    let ran = run("setpriv --bounding-set=-net_admin ipvsadm-rs metrics --textfile dir/ipvs.prom");
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("permission denied"), "{ran}");
    let written = values(&fs::read_to_string("dir/ipvs.prom").unwrap());
    assert_eq!(written["ipvs_up"], "0");
    assert!(!written.contains_key("ipvs_services"), "{written:#?}");

    let ran = run("ipvsadm-rs metrics --textfile missing/ipvs.prom");
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.starts_with("error: cannot write missing/ipvs.prom: "), "{ran}");
    assert_eq!(run("ipvsadm-rs metrics --textfile /dev/null").code, Some(1), "a device is not replaced");
    assert!(run("ipvsadm-rs metrics --textfile ipvs.txt").stderr.starts_with("note: "));
}
