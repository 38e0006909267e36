//! The metrics in Prometheus and in node_exporter.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use ipvs_tests::command::{Running, ok, run, run_command, shell, start};
use ipvs_tests::lab::topology::Nat;
use ipvs_tests::traffic::server::Protocol::Udp;
use ipvs_tests::wait;

use super::server::{Server, get};
use super::{MIXED, Values, values};
use crate::under_test;
use crate::verbs::director;

ipvs_tests::tests! {
    promtool_accepts_the_metrics, needs = "prometheus";
    promtool_accepts_the_alert_rules, needs = "prometheus";
    prometheus_scrapes_and_alerts, needs = "prometheus", seconds = 600;
    node_exporter_reads_the_textfile, needs = "prometheus-node-exporter", seconds = 300;
    node_exporter_has_the_same_values, needs = "prometheus-node-exporter", seconds = 300;
}

const PATIENCE: Duration = Duration::from_secs(240);

const ALERTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ipvsadm-rs/dist/prometheus/alerts.yml");

/// promtool also reports names that do not follow the conventions.
fn promtool_accepts_the_metrics() {
    director(MIXED);
    ok("ipvsadm --start-daemon backup --mcast-interface lo --syncid 7");
    for options in ["", "--max-series 60", "--detail services", "--only 192.0.2.9"] {
        let ran = shell(&format!("ipvsadm-rs metrics {options} | promtool check metrics"));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
    }
    ok("ipvsadm --stop-daemon backup");
    let server = Server::start("--listen 127.0.0.1:0");
    fs::write("metrics", get(&mut TcpStream::connect(&server.address).unwrap())).unwrap();
    let ran = shell("promtool check metrics < metrics");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
}

/// Series, and the alerts that they cause.
const ALERT_TESTS: &str = r#"
rule_files: [ALERTS]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'ipvs_service_problem{service="tcp:192.0.2.1:80", problem="no_servers", instance="lvs1"}'
        values: '1x20'
      - series: 'ipvs_services_with_problem{problem="no_servers", instance="lvs1"}'
        values: '1x20'
      - series: 'ipvs_services_with_problem{problem="all_weight_0", instance="lvs2"}'
        values: '3x20'
      - series: 'ipvs_server_incoming_packets_total{service="tcp:192.0.2.1:80", server="10.0.0.1:80", instance="lvs1"}'
        values: '0+600x20'
      - series: 'ipvs_server_outgoing_packets_total{service="tcp:192.0.2.1:80", server="10.0.0.1:80", instance="lvs1"}'
        values: '0x20'
      - series: 'ipvs_server_info{service="tcp:192.0.2.1:80", server="10.0.0.1:80", forwarding="masquerade", instance="lvs1"}'
        values: '1x20'
      - series: 'ipvs_server_incoming_packets_total{service="tcp:192.0.2.1:80", server="10.0.0.2:80", instance="lvs1"}'
        values: '0+600x20'
      - series: 'ipvs_server_outgoing_packets_total{service="tcp:192.0.2.1:80", server="10.0.0.2:80", instance="lvs1"}'
        values: '0x20'
      - series: 'ipvs_server_info{service="tcp:192.0.2.1:80", server="10.0.0.2:80", forwarding="direct_route", instance="lvs1"}'
        values: '1x20'
      - series: 'ipvs_connection_table_entries{instance="lvs1"}'
        values: '95x20'
      - series: 'ipvs_connection_table_max_entries{instance="lvs1"}'
        values: '100x20'
      - series: 'ipvs_up{instance="lvs1"}'
        values: '1x20'
    alert_rule_test:
      - eval_time: 15m
        alertname: IpvsServiceHasNoServers
        exp_alerts:
          - exp_labels: {severity: critical, service: 'tcp:192.0.2.1:80', problem: no_servers, instance: lvs1}
            exp_annotations:
              summary: "tcp:192.0.2.1:80 on lvs1 has no servers"
              description: Every new client is refused.
      - eval_time: 15m
        alertname: IpvsServicesRefuseClients
        exp_alerts:
          - exp_labels: {severity: critical, problem: all_weight_0, instance: lvs2}
            exp_annotations:
              summary: "3 services on lvs2 refuse all new clients (all_weight_0)"
              description: "`ipvsadm-rs show --problems' lists them."
      - eval_time: 15m
        alertname: IpvsServerDoesNotReply
        exp_alerts:
          - exp_labels: {severity: critical, service: 'tcp:192.0.2.1:80', server: '10.0.0.1:80', instance: lvs1}
            exp_annotations:
              summary: "No replies from server 10.0.0.1:80 of tcp:192.0.2.1:80 reach lvs1"
              description: The server is down, or its route to the clients does not lead through the director.
      - eval_time: 15m
        alertname: IpvsConnectionTableIsNearlyFull
        exp_alerts:
          - exp_labels: {severity: warning, instance: lvs1}
            exp_annotations:
              summary: "The connection table of lvs1 is 95% full"
              description: When it is full, new connections are dropped. The limit is the sysctl net.ipv4.vs.conn_max.
      - eval_time: 15m
        alertname: IpvsCannotBeRead
        exp_alerts: []
      - eval_time: 15m
        alertname: IpvsServerIsFull
        exp_alerts: []
"#;

fn promtool_accepts_the_alert_rules() {
    let ran = run(&format!("promtool check rules {ALERTS}"));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
    fs::write("tests.yml", ALERT_TESTS.replace("ALERTS", ALERTS)).unwrap();
    ok("promtool test rules tests.yml");
}

const CONFIGURATION: &str = "
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [ALERTS]
scrape_configs:
  - job_name: ipvs
    scrape_timeout: 1s
    static_configs: [{targets: ['ADDRESS']}]
";

fn prometheus_scrapes_and_alerts() {
    director(MIXED);
    let server = Server::start("--listen 127.0.0.1:0");
    let configuration = CONFIGURATION.replace("ALERTS", ALERTS).replace("ADDRESS", &server.address);
    // A slow machine needs longer than a second for a scrape.
    fs::write("prometheus.yml", configuration.replace("1s", "5s")).unwrap();
    let prometheus = start(
        "prometheus --config.file=prometheus.yml --storage.tsdb.path=data --web.listen-address=127.0.0.1:19090 \
         --log.level=warn",
    );
    for (query, value) in [
        ("ipvs_services", "4"),
        ("ipvs_server_weight{service=\"tcp:192.0.2.1:80\",server=\"10.0.0.1:80\"}", "3"),
        ("sum(ipvs_servers{state=~\"drained|draining\"})", "3"),
        // A join with the settings.
        ("ipvs_service_weight * on (service) group_left (scheduler) ipvs_service_info{scheduler=\"sh\"}", "1"),
        ("count(ALERTS{alertname=\"IpvsServiceHasNoServers\",service=\"tcp:192.0.2.2:80\"})", "1"),
        ("up{job=\"ipvs\"}", "1"),
    ] {
        wait::until(PATIENCE, || {
            let mut promtool = Command::new("promtool");
            promtool.args(["query", "instant", "http://127.0.0.1:19090", query]);
            let ran = run_command(&mut promtool, Duration::from_secs(60)).map_err(|error| error.to_string())?;
            let is_value = ran.stdout.lines().count() == 1 && ran.stdout.contains(&format!(" => {value} @["));
            if is_value { Ok(()) } else { Err(format!("{ran}\n{}", prometheus.output())) }
        });
    }
}

/// node_exporter with only these collectors, without metrics of its own.
struct NodeExporter(Running);

impl NodeExporter {
    fn start(options: &str) -> Self {
        Self(start(&format!(
            "prometheus-node-exporter --collector.disable-defaults --web.disable-exporter-metrics \
             --web.listen-address=127.0.0.1:19100 {options}"
        )))
    }

    fn scrape(&self) -> Values {
        let mut stream = wait::until(PATIENCE, || {
            TcpStream::connect("127.0.0.1:19100").map_err(|error| format!("{error}\n{}", self.0.output()))
        });
        values(&get(&mut stream))
    }
}

fn node_exporter_reads_the_textfile() {
    director(MIXED);
    fs::create_dir("dir").unwrap();
    ok("ipvsadm-rs metrics --textfile dir/ipvs.prom");
    let written = values(&fs::read_to_string("dir/ipvs.prom").unwrap());
    let exporter = NodeExporter::start("--collector.textfile --collector.textfile.directory=dir");
    let read = exporter.scrape();
    assert_eq!(read["node_textfile_scrape_error"], "0", "{}", exporter.0.output());
    assert!(read.keys().any(|series| series.starts_with("node_textfile_mtime_seconds{")), "{read:#?}");
    assert_eq!(without_empty_labels(&read, "ipvs_"), without_empty_labels(&written, "ipvs_"));
    // A second reading replaces the file.
    ok("ipvsadm -C");
    ok("ipvsadm-rs metrics --textfile dir/ipvs.prom");
    assert_eq!(exporter.scrape()["ipvs_services"], "0");
}

/// Returns the samples of metrics with this prefix. node_exporter sorts labels, and writes large numbers as powers
/// of 10.
fn sorted(values: &Values, beginning: &str) -> BTreeMap<Vec<String>, f64> {
    normalized(values, beginning, |_| true)
}

/// Returns the same without labels that have no value, which are the same as none. The textfile collector adds them.
fn without_empty_labels(values: &Values, beginning: &str) -> BTreeMap<Vec<String>, f64> {
    normalized(values, beginning, |label| !label.ends_with('='))
}

fn normalized(values: &Values, beginning: &str, is_kept: fn(&str) -> bool) -> BTreeMap<Vec<String>, f64> {
    let samples = values.iter().filter(|(series, _)| series.starts_with(beginning));
    let key = |series: &str| {
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').split("\",").map(|label| label.trim_end_matches('"'));
        let mut words: Vec<String> = labels.filter(|label| is_kept(label)).map(str::to_owned).collect();
        words.sort();
        words.push(name.to_owned());
        words
    };
    samples.map(|(series, value)| (key(series), value.parse().expect("a number"))).collect()
}

fn node_exporter_has_the_same_values() {
    let nat = Nat::new().unwrap();
    nat.web1.serve(Udp, "10.2.0.11:53").unwrap();
    under_test::install();
    for command in [
        "ipvsadm -A -u 10.1.0.100:53 -s wrr",
        "ipvsadm -a -u 10.1.0.100:53 -r 10.2.0.11 -m -w 3",
        "ipvsadm -A -t [2001:db8::1]:443 -s rr -p 60",
        "ipvsadm -a -t [2001:db8::1]:443 -r [2001:db8:1::1]:8443 -m -w 2",
        "ipvsadm -A -f 31 -s rr",
        "ipvsadm -a -f 31 -r 10.2.0.12 -g -w 0",
        "ipvsadm -A -f 31 -6 -s rr",
        "ipvsadm -a -f 31 -6 -r [2001:db8:1::1]:80 -g -w 5",
        "ipvsadm -A -t 10.1.0.100:80 -s rr",
    ] {
        nat.director.ok(command);
    }
    assert_eq!(nat.client.client().datagrams(20, "10.1.0.100:53").to_string(), "web1=20");
    nat.director.enter(|| {
        let exporter = NodeExporter::start("--collector.ipvs");
        wait::until(PATIENCE, || {
            let ours = sorted(&values(&ok("ipvsadm-rs metrics --prefix node")), "");
            let theirs = sorted(&exporter.scrape(), "node_ipvs_");
            let packets = ours.get(&vec![String::new(), "node_ipvs_incoming_packets_total".to_owned()]);
            let is_equal = packets == Some(&20.0) && ours == theirs;
            if is_equal { Ok(()) } else { Err(format!("{ours:#?}\n{theirs:#?}\n{}", exporter.0.output())) }
        });
        // Their labels, with our names, as in a dashboard for both.
        assert_eq!(
            exporter.scrape().keys().filter(|series| series.starts_with("node_ipvs_backend_weight{")).count(),
            4
        );
    });
}
