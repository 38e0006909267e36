//! `ipvsadm-rs metrics`: prints or serves the table as metrics for Prometheus.

mod follower;
mod kernel_files;
mod limit;
mod listen;
pub(crate) mod names;
mod namespaces;
mod node;
mod reading;
mod scrape;
#[cfg(test)]
mod shipped;
mod text;
mod textfile;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::bail;
use clap::{Args, ValueEnum};
use ipvs::Selector;

use crate::context::{Context, code};
use follower::Follower;
use reading::Reading;
use scrape::{Detail, Options, Values};
use textfile::Textfile;

/// Print the table as metrics for Prometheus
///
/// The metrics are those of the whole table, of each service and of each server: counters, connections, weights,
/// thresholds and states. Services without servers, services that refuse new clients, and servers that are full or
/// draining are counted. ipvsadm-rs(8) lists the names.
///
/// The state of `follow` is included, but not with --listen: only root can read it.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Metrics {
    /// Set the items that have metrics
    #[arg(long, value_enum, default_value = "servers")]
    detail: Detail,
    /// Print at most N series; 0 means no limit
    ///
    /// Whole services and servers are omitted, servers first. ipvs_omitted_series, ipvs_omitted_services and
    /// ipvs_omitted_servers count them. The series of the whole table are never omitted.
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_series: usize,
    /// Print only these services; can be repeated
    ///
    /// SCOPE is one service (tcp:192.0.2.1:80, fwmark:7:IPv6), a protocol (tcp, udp, sctp), an address or network
    /// (192.0.2.0/24), or firewall marks (fwmark, fwmark:7). The counters of the whole table still include all services.
    #[arg(long, value_name = "SCOPE")]
    only: Vec<Selector>,
    /// Set the names of the metrics
    #[arg(long, value_enum, default_value = "ipvs")]
    prefix: Prefix,
    /// Print the tables of all network namespaces that have services
    ///
    /// They differ by the label netns, which is the best name of the namespace: that of `ip netns`, a path, or a process ID.
    #[arg(long, conflicts_with = "listen")]
    all_netns: bool,
    /// Write to PATH instead of standard output, for the textfile collector of node_exporter
    ///
    /// The file is replaced atomically and has mode 0644. Its name must end with .prom. If the table cannot be read, the
    /// file has ipvs_up with the value 0, and no values of the table.
    #[arg(long, value_name = "PATH")]
    textfile: Option<PathBuf>,
    /// Serve the metrics over HTTP, at /metrics, until a signal ends the program
    ///
    /// `systemd` means the sockets of a .socket unit. After the sockets are open, root becomes the user nobody, and
    /// keeps only CAP_NET_ADMIN. A reading serves all scrapes that arrive during it, and those of at least one second.
    #[arg(long, value_name = "ADDRESS:PORT|unix:PATH|systemd", conflicts_with = "textfile")]
    listen: Option<listen::Address>,
}

/// The names of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Prefix {
    /// ipvs_…
    Ipvs,
    /// Only the eight metrics node_ipvs_… of node_exporter, with its labels
    Node,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  Done
  1  Error";

impl Metrics {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        if self.all_netns && (context.netns.is_some() || self.prefix == Prefix::Node) {
            bail!("--all-netns excludes --netns and --prefix node");
        }
        if let Some(address) = &self.listen {
            listen::serve(address, self.options(), context)?;
            return Ok(code::DONE);
        }
        match &context.netns {
            // All files and sockets of this thread are those of the namespace.
            Some(namespace) => namespace.within(|| self.print(context))?,
            None => self.print(context),
        }
    }

    fn options(&self) -> Options {
        Options { prefix: self.prefix, detail: self.detail, max_series: self.max_series, only: self.only.clone() }
    }

    fn print(&self, context: &Context) -> anyhow::Result<u8> {
        let options = self.options();
        let textfile = self.textfile.as_deref().map(Textfile::open).transpose()?;
        let (readings, values) = self.read(&options, context);
        if let Some(textfile) = textfile {
            textfile.replace(&options.text(readings.as_deref().unwrap_or_default(), values))?;
            readings?;
        } else {
            let readings = readings?;
            context.write(|out| options.write(&readings, values, out))?;
        }
        Ok(code::DONE)
    }

    /// Reads the table, or those of all network namespaces.
    fn read(&self, options: &Options, context: &Context) -> (anyhow::Result<Vec<Reading>>, Values) {
        if !self.all_netns {
            let (reading, duration) = options.read(&mut None);
            let with_follower = |mut reading: Reading| {
                reading.totals.follower = Follower::read(&context.state_dir, context.netns.as_ref());
                vec![reading]
            };
            return (reading.map(with_follower).map_err(Into::into), Values { duration, ..Values::default() });
        }
        let start = Instant::now();
        let read = namespaces::read(&self.only, &context.state_dir);
        let unreadable = read.as_ref().ok().map(|(_, unreadable)| *unreadable);
        let values = Values { duration: start.elapsed(), errors: None, unreadable };
        (read.map(|(readings, _)| readings), values)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use ipvs::rules::{Numeric, read_config};
    use ipvs::{Director, Model, Stats, apply, plan};

    use super::kernel_files::KernelValues;
    use super::text::Kind;
    use super::*;

    const RULES: &str = "\
--set 900 120 300
-A -t 192.0.2.1:80 -s sh -p 360 -b sh-port
-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3 -x 4 -y 2
-a -t 192.0.2.1:80 -r 10.0.0.2:8080 -i -w 0
-A -u [2001:db8::1]:53 -s rr -o
-A -f 31 -s wlc
-a -f 31 -r 10.0.0.1:80 -g
--start-daemon master --mcast-interface eth0 --syncid 7
";

    /// Returns a reading with a service of each kind, and a few connections.
    pub(super) fn reading() -> Reading {
        let mut director = Model::new();
        let desired = read_config(RULES.as_bytes(), &mut Numeric).expect("good rules").config;
        apply(&mut director, &desired, &plan::Options::default()).expect("applies");
        let mut state = director.state().expect("a model");
        for service in &mut state.services {
            service.stats.connections = 9;
            for server in service.destinations.iter_mut().filter(|server| server.destination.upper_threshold > 0) {
                (server.active_connections, server.inactive_connections) = (3, 1);
                server.stats.outgoing_bytes = u64::MAX;
            }
        }
        let mut counters = Stats::default();
        (counters.connections, counters.incoming_bytes) = (7, u64::MAX);
        let values =
            KernelValues { counters: Some(counters), max_connections: Some(1 << 30), ..KernelValues::default() };
        Reading::new(state, values, &[], None)
    }

    fn options() -> Options {
        Options { prefix: Prefix::Ipvs, detail: Detail::Servers, max_series: 0, only: Vec::new() }
    }

    fn text(options: &Options, reading: Option<&Reading>) -> String {
        let values = Values { duration: Duration::from_millis(250), ..Values::default() };
        String::from_utf8(options.text(reading.map(std::slice::from_ref).unwrap_or_default(), values)).expect("a text")
    }

    /// Returns the samples of metrics with this prefix.
    fn samples<'t>(text: &'t str, beginning: &str) -> Vec<&'t str> {
        text.lines().filter(|line| line.starts_with(beginning)).collect()
    }

    #[test]
    fn values_of_the_whole_table() {
        let text = text(&options(), Some(&reading()));
        for sample in [
            "ipvs_up 1",
            "ipvs_scrape_duration_seconds 0.25",
            "ipvs_omitted_series 0",
            "ipvs_connections_total 7",
            "ipvs_incoming_bytes_total 18446744073709551615",
            "ipvs_services 3",
            "ipvs_services_with_problem{problem=\"no_servers\"} 1",
            "ipvs_services_with_problem{problem=\"refuses_some\"} 0",
            "ipvs_services_with_problem{problem=\"refuses_all\"} 1",
            "ipvs_servers{state=\"up\"} 1",
            "ipvs_servers{state=\"full\"} 1",
            "ipvs_servers{state=\"drained\"} 1",
            "ipvs_active_connections 3",
            "ipvs_sync_daemon_running{role=\"master\"} 1",
            "ipvs_sync_daemon_running{role=\"backup\"} 0",
            "ipvs_timeout_seconds{kind=\"tcp_fin\"} 120",
            "ipvs_connection_table_max_entries 1073741824",
        ] {
            assert!(text.lines().any(|line| line == sample), "{sample}: {text}");
        }
        assert!(!text.contains("ipvs_connection_table_entries"), "this kernel has no such value");
        assert!(!text.contains("ipvs_scrape_errors_total"), "only a program that reads repeatedly has it");
        assert_eq!(
            samples(&text, "ipvs_sync_daemon_info{")[0].split_once("sync_id").expect("a label").1,
            "=\"7\",group=\"224.0.0.81\",port=\"8848\"} 1"
        );
    }

    #[test]
    fn values_of_services_and_servers() {
        let text = text(&options(), Some(&reading()));
        assert_eq!(
            samples(&text, "ipvs_service_info"),
            [
                "ipvs_service_info{service=\"tcp:192.0.2.1:80\",protocol=\"tcp\",address=\"192.0.2.1\",port=\"80\",family=\"ipv4\",scheduler=\"sh\",flags=\"sh-port\",persistence=\"360\",netmask=\"255.255.255.255\"} 1",
                "ipvs_service_info{service=\"udp:[2001:db8::1]:53\",protocol=\"udp\",address=\"2001:db8::1\",port=\"53\",family=\"ipv6\",scheduler=\"rr\",flags=\"one-packet\"} 1",
                "ipvs_service_info{service=\"fwmark:31:IPv4\",fwmark=\"31\",family=\"ipv4\",scheduler=\"wlc\"} 1",
            ]
        );
        let server = "service=\"tcp:192.0.2.1:80\",server=\"10.0.0.1:8080\"";
        for sample in [
            "ipvs_service_connections_total{service=\"fwmark:31:IPv4\"} 9",
            "ipvs_service_active_connections{service=\"tcp:192.0.2.1:80\"} 3",
            "ipvs_service_weight{service=\"tcp:192.0.2.1:80\"} 3",
            "ipvs_service_servers{service=\"tcp:192.0.2.1:80\",state=\"full\"} 1",
            "ipvs_service_refusing{service=\"udp:[2001:db8::1]:53\"} 1",
            "ipvs_service_refusing{service=\"fwmark:31:IPv4\"} 0",
            "ipvs_service_problem{service=\"udp:[2001:db8::1]:53\",problem=\"no_servers\"} 1",
            &format!("ipvs_server_info{{{server},address=\"10.0.0.1\",port=\"8080\",forwarding=\"masquerade\"}} 1"),
            &format!("ipvs_server_outgoing_bytes_total{{{server}}} 18446744073709551615"),
            &format!("ipvs_server_inactive_connections{{{server}}} 1"),
            &format!("ipvs_server_upper_threshold{{{server}}} 4"),
            &format!("ipvs_server_state{{{server},state=\"full\"}} 1"),
        ] {
            assert!(text.lines().any(|line| line == sample), "{sample}: {text}");
        }
        assert_eq!(samples(&text, "ipvs_service_problem{").len(), 2);
        assert_eq!(samples(&text, "ipvs_server_upper_threshold{").len(), 1, "the others have no limit");
    }

    #[test]
    fn a_series_exists_once_in_one_group() {
        let text = text(&options(), Some(&reading()));
        let mut series = HashSet::new();
        let (mut finished, mut current) = (HashSet::new(), "");
        for line in text.lines() {
            let name = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
            let name = name.split([' ', '{']).next().expect("a name");
            if name != current {
                assert!(finished.insert(name), "{name} is continued");
                current = name;
            }
            if !line.starts_with('#') {
                assert!(series.insert(line.rsplit_once(' ').expect("a value").0), "{line}");
            }
        }
    }

    #[test]
    fn detail_and_failures() {
        let with = |detail| text(&Options { detail, ..options() }, Some(&reading()));
        assert!(!with(Detail::Totals).contains("service=\""));
        assert!(with(Detail::Services).contains("service=\"") && !with(Detail::Services).contains("server=\""));
        let few = text(&Options { max_series: 70, ..options() }, Some(&reading()));
        assert!(few.contains("ipvs_omitted_servers 3\n") && few.contains("service=\""), "{few}");
        let failed = text(&options(), None);
        assert!(failed.contains("ipvs_up 0\n") && !failed.contains("ipvs_services"), "{failed}");
        assert_eq!(text(&Options { prefix: Prefix::Node, ..options() }, None), "");
    }

    #[test]
    fn a_selection_has_sums_of_its_own() {
        let mut director = Model::new();
        let desired = read_config(RULES.as_bytes(), &mut Numeric).expect("good rules").config;
        apply(&mut director, &desired, &plan::Options::default()).expect("applies");
        let state = director.state().expect("a model");
        let reading = Reading::new(state, KernelValues::default(), &["fwmark".parse().expect("a selector")], None);
        let text = text(&options(), Some(&reading));
        assert!(text.contains("ipvs_services 1\n") && text.contains("ipvs_servers{state=\"up\"} 1\n"), "{text}");
        assert!(!text.contains("192.0.2.1") && !text.contains("ipvs_connections_total"), "{text}");
    }

    #[test]
    fn namespaces_differ_by_a_label() {
        let of = |namespace| {
            let mut director = Model::new();
            let desired = read_config(RULES.as_bytes(), &mut Numeric).expect("good rules").config;
            apply(&mut director, &desired, &plan::Options::default()).expect("applies");
            Reading::new(director.state().expect("a model"), KernelValues::default(), &[], Some(namespace))
        };
        let values = Values { unreadable: Some(2), ..Values::default() };
        let text = String::from_utf8(options().text(&[of("blue"), of("a\"b")], values)).expect("a text");
        for sample in [
            "ipvs_unreadable_namespaces 2",
            "ipvs_services{netns=\"blue\"} 3",
            "ipvs_services{netns=\"a\\\"b\"} 3",
            "ipvs_servers{netns=\"blue\",state=\"up\"} 2",
            "ipvs_service_weight{netns=\"blue\",service=\"fwmark:31:IPv4\"} 1",
            "ipvs_server_weight{netns=\"blue\",service=\"fwmark:31:IPv4\",server=\"10.0.0.1:80\"} 1",
        ] {
            assert!(text.lines().any(|line| line == sample), "{sample}: {text}");
        }
        assert_eq!(text.matches("# TYPE ipvs_services gauge").count(), 1, "one group for all namespaces");
    }

    /// The rules of https://prometheus.io/docs/practices/naming/, which `promtool check metrics` checks, too.
    #[test]
    fn names_follow_the_conventions() {
        let mut names = HashSet::new();
        for metric in names::all() {
            let name = &metric.name;
            assert!(names.insert(name.clone()), "{name} is defined twice");
            let is_plain = |name: &str| name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_'));
            assert!(name.starts_with("ipvs_") && is_plain(name), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert!(metric.help.ends_with('.') && !metric.help.contains(['\n', '\\']), "{name}");
            assert!(metric.labels.iter().all(|label| is_plain(label)), "{name}");
            for ending in ["_count", "_sum", "_bucket", "_ms", "_minutes"] {
                assert!(!name.ends_with(ending), "{name}");
            }
        }
    }

    /// The tables of names list the labels, which the dashboard and the alert rules are compared with.
    #[test]
    fn labels_are_those_of_the_tables() {
        let text = text(&options(), Some(&reading()));
        let known = names::all();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, _) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let metric = known.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name}"));
            for label in labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty()) {
                let (label, _) = label.split_once('=').expect("a value");
                assert!(metric.labels.contains(&label), "{line}");
            }
        }
    }
}
