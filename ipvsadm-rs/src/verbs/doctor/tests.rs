//! Checks on recorded states, also of kernels that the guests do not have.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use ipvs::rules::{Numeric, read_config};
use ipvs::{
    Director, Engine, Model, Namespace, Protocol, Role, Scheduler, Service, ServiceKey, ServiceState, State, SyncDaemon,
};

use super::check::{Check, NotChecked, Outcome, Severity};
use super::checks;
use super::facts::{Facts, OtherTable, OtherTables};
use super::report::Report;
use super::source::{Device, Source};
use crate::network::RouteError;
use crate::terminal::color::Palette;
use crate::terminal::commands::Command;

/// Files, network interfaces and routes as they were read on a machine.
#[derive(Clone, Default)]
struct Recorded {
    files: BTreeMap<String, String>,
    devices: Vec<Device>,
    /// The interface of the route to all servers. `None`: they are on this host.
    device_to_servers: Option<String>,
}

impl Source for Recorded {
    fn read(&self, path: &str) -> io::Result<String> {
        match self.files.get(path).map(String::as_str) {
            None => Err(io::ErrorKind::NotFound.into()),
            Some("denied") => Err(io::ErrorKind::PermissionDenied.into()),
            Some("long") => Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 9 bytes")),
            Some(text) => Ok(text.to_owned()),
        }
    }

    fn first_line(&self, path: &str) -> io::Result<String> {
        Ok(self.read(path)?.lines().next().unwrap_or_default().to_owned())
    }

    fn exists(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    fn devices(&self) -> io::Result<Vec<Device>> {
        if self.devices.is_empty() { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(self.devices.clone()) }
    }

    fn device_to(&self, _: IpAddr) -> Result<Option<String>, RouteError> {
        Ok(self.device_to_servers.clone())
    }
}

/// The defaults of all kernels, and of a machine with two interfaces.
const FILES: &[(&str, &str)] = &[
    ("/lib/modules", ""),
    ("/proc/thread-self/net/ip_vs", "IP Virtual Server version 1.2.1 (size=4096)\n"),
    ("/proc/modules", "xt_ipvs 16384 0 - Live 0x0\nip_vs 1 3 - Live 0x0\n"),
    ("/proc/meminfo", "MemTotal: 2000000 kB\nMemFree: 1000000 kB\nBuffers: 1000 kB\n"),
    ("/proc/sys/net/ipv4/ip_forward", "1\n"),
    ("/proc/sys/net/ipv4/tcp_keepalive_time", "7200\n"),
    ("/proc/sys/net/ipv6/conf/all/forwarding", "1\n"),
    ("/proc/sys/net/netfilter/nf_conntrack_count", "0\n"),
    ("/proc/sys/net/netfilter/nf_conntrack_max", "65536\n"),
];

/// The settings of IPVS of all kernels, with their defaults.
const SETTINGS: &[(&str, &str)] = &[
    ("am_droprate", "10"),
    ("amemthresh", "1024"),
    ("backup_only", "0"),
    ("cache_bypass", "0"),
    ("conn_reuse_mode", "1"),
    ("conntrack", "0"),
    ("drop_entry", "0"),
    ("drop_packet", "0"),
    ("expire_nodest_conn", "0"),
    ("expire_quiescent_template", "0"),
    ("ignore_tunneled", "0"),
    ("nat_icmp_send", "0"),
    ("pmtu_disc", "1"),
    ("schedule_icmp", "0"),
    ("secure_tcp", "0"),
    ("sloppy_sctp", "0"),
    ("sloppy_tcp", "0"),
    ("snat_reroute", "1"),
    ("sync_persist_mode", "0"),
    ("sync_ports", "1"),
    ("sync_refresh_period", "0"),
    ("sync_sock_size", "0"),
    ("sync_threshold", "3\t50"),
    ("sync_version", "1"),
];

/// A machine to examine.
struct Machine {
    release: &'static str,
    files: Recorded,
    table: Result<State, String>,
    others: Result<OtherTables, String>,
    is_loaded: bool,
}

/// Returns an interface that is up.
fn device(name: &str) -> Device {
    Device { name: name.into(), is_up: true, mtu: 1500 }
}

/// Returns whether a command has a form, in which a word in capitals is any text.
fn has_form(command: &str, form: &str) -> bool {
    // Quotes, and the separators of a setting whose interface has a dot, do not matter.
    let plain = |text: &str| text.replace('\'', "").replace('/', ".");
    let (command, form) = (&plain(command), &plain(form));
    let (mut literals, mut rest) = (vec![String::new()], form.as_str());
    while let Some(first) = rest.chars().next() {
        let length = rest.bytes().take_while(u8::is_ascii_uppercase).count();
        if length > 1 {
            literals.push(String::new());
            rest = &rest[length..];
        } else {
            literals.last_mut().expect("a literal").push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    let Some(mut rest) = command.strip_prefix(&literals[0]) else { return false };
    for literal in &literals[1..] {
        let Some(at) = rest.find(literal) else { return false };
        rest = &rest[at + literal.len()..];
    }
    rest.is_empty() || literals.len() > 1 && literals.last().is_some_and(String::is_empty)
}

impl Machine {
    fn new(release: &'static str, rules: &str) -> Self {
        let mut model = Model::new();
        let desired = read_config(rules.as_bytes(), &mut Numeric).expect("good rules").config;
        ipvs::apply(&mut model, &desired, &ipvs::plan::Options::default()).expect("applies");
        let mut table = model.state().expect("a model");
        table.info.connection_table_size = 4096;
        let mut files = Recorded::default();
        files.files.extend(FILES.iter().map(|(path, text)| ((*path).into(), (*text).into())));
        files.files.insert(format!("/lib/modules/{release}"), String::new());
        files.device_to_servers = Some("eth1".into());
        files.devices = ["lo", "eth0", "eth1"].map(device).into();
        for device in ["all", "default", "lo", "eth0", "eth1"] {
            for (name, value) in [("rp_filter", "0"), ("forwarding", "1"), ("send_redirects", "1")] {
                files.files.insert(format!("/proc/sys/net/ipv4/conf/{device}/{name}"), value.into());
            }
        }
        let mut machine =
            Self { release, files, table: Ok(table), others: Ok(OtherTables::default()), is_loaded: true };
        for (name, value) in SETTINGS {
            machine = machine.setting(name, value);
        }
        machine
    }

    fn setting(self, name: &str, value: &str) -> Self {
        self.file(&format!("/proc/sys/net/ipv4/vs/{name}"), value)
    }

    fn file(mut self, path: &str, text: &str) -> Self {
        self.files.files.insert(path.into(), text.into());
        self
    }

    fn without(mut self, path: &str) -> Self {
        self.files.files.remove(path).expect("a file");
        self
    }

    fn devices(mut self, devices: &[&str]) -> Self {
        self.files.devices = devices.iter().copied().map(device).collect();
        self
    }

    fn table(mut self, change: impl FnOnce(&mut State)) -> Self {
        change(self.table.as_mut().expect("a table"));
        self
    }

    fn daemon(self, role: Role, sync_id: u32) -> Self {
        let interface = "eth0".parse().expect("a name");
        let daemon = SyncDaemon {
            role,
            interface,
            sync_id,
            max_length: Some(1472),
            group: Some([224, 0, 0, 81].into()),
            port: Some(8848),
            ttl: Some(1),
        };
        self.table(|table| table.daemons.push(daemon))
    }

    fn results(self) -> Vec<(&'static Check, Option<super::Examined>)> {
        let Self { release, files, table, others, is_loaded } = self;
        let facts = Facts::new(release, is_loaded, Box::new(files), table, others);
        checks::all().map(|check| (check, Some(check.examine(&facts)))).collect()
    }

    /// Returns the names of findings that are at least this severe.
    fn found(self, least: Severity) -> BTreeSet<&'static str> {
        let results = self.results().into_iter();
        let ids = results.filter_map(|(check, result)| match result {
            Some(Ok(Outcome::Found(finding))) if finding.severity.unwrap_or(check.severity) >= least => Some(check.id),
            _ => None,
        });
        ids.collect()
    }

    /// Checks that there is exactly one finding more than without a change. Returns its commands.
    #[track_caller]
    fn only(self, id: &str, base: &BTreeSet<&'static str>) -> String {
        let results = self.results();
        let mut found = results.iter().filter_map(|(check, result)| match result {
            Some(Ok(Outcome::Found(finding))) if !base.contains(check.id) => Some((check.id, finding)),
            _ => None,
        });
        let (first, finding) = found.next().unwrap_or_else(|| panic!("no finding {id}"));
        let rest: Vec<_> = found.map(|(id, _)| id).collect();
        assert!(first == id && rest.is_empty(), "{first} and {rest:?} instead of {id}");
        assert!(!finding.seen.is_empty());
        // docs/doctor.md has the form of the commands.
        let check = checks::all().find(|check| check.id == id).expect("a check");
        for command in &finding.commands {
            assert!(check.commands.iter().any(|form| has_form(command.text(), form)), "{id}: {}", command.text());
        }
        finding.commands.iter().map(Command::text).collect::<Vec<_>>().join("; ")
    }
}

const NAT: &str =
    "-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m\n-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m\n";
const DR: &str = "-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g\n";
const TUN: &str = "-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -i\n";
const PERSISTENT: &str = "-A -t 192.0.2.1:80 -s wlc -p 300\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m\n";

fn id_text(id: &str) -> bool {
    id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[test]
fn rows_are_complete() {
    let (mut ids, mut long) = (BTreeSet::new(), Vec::new());
    for check in checks::all() {
        let Check { id, group: _, severity: _, applies, found_if, default, meaning, cure, .. } = check;
        let Check { commands, since, until, source, .. } = check;
        assert!(ids.insert(*id) && id_text(id), "{id}");
        assert!(meaning.ends_with('.') && cure.ends_with('.') && !applies.ends_with('.'), "{id}");
        assert!(!found_if.is_empty() && !found_if.ends_with('.') && !default.ends_with('.'), "{id}");
        assert!(default.is_empty() || !cure.contains("Set the default") || cure.contains(default), "{id}");
        assert!(commands.iter().all(|command| !command.contains(['>', '|', ';', '&'])), "{id}");
        assert!(!meaning.contains("  ") && !cure.contains("  "), "{id}");
        assert!(since.is_none() || until.is_none() || since < until, "{id}");
        assert!(source.is_empty() || source.contains("/linux/v"), "{id} has a link without a tag");
        let sentences = meaning.split_inclusive(". ").chain(cure.split_inclusive(". "));
        long.extend(sentences.filter(|sentence| sentence.split_whitespace().count() > 25));
    }
    assert_eq!(long, Vec::<&str>::new());
    assert!(ids.len() >= 40);
}

#[test]
fn a_healthy_director_has_notes_only() {
    for rules in [NAT, DR, TUN, PERSISTENT] {
        for release in ["4.19.0-27-amd64", "5.10.0", "6.1.176", "6.12.117", "7.2.7", "unheard of"] {
            assert_eq!(Machine::new(release, rules).found(Severity::Warning), BTreeSet::new(), "{release}\n{rules}");
        }
    }
    assert_eq!(
        Machine::new("7.2.7", NAT).found(Severity::Note),
        BTreeSet::from(["expire-nodest-conn", "tcp-timeout-keepalive"])
    );
}

#[test]
fn each_setting_has_its_finding_and_command() {
    for (rules, name, value, id) in [
        (NAT, "drop_entry", "3", "drop-entry"),
        (NAT, "drop_packet", "2", "drop-packet"),
        (NAT, "secure_tcp", "3", "secure-tcp"),
        (NAT, "cache_bypass", "1", "cache-bypass"),
        (NAT, "conn_reuse_mode", "0", "conn-reuse-off"),
        (NAT, "nat_icmp_send", "1", "nat-icmp-send"),
        (NAT, "schedule_icmp", "1", "schedule-icmp"),
        (NAT, "sloppy_tcp", "1", "sloppy-tcp"),
        (NAT, "snat_reroute", "0", "snat-reroute"),
        (TUN, "pmtu_disc", "0", "pmtu-disc"),
        (NAT, "run_estimation", "0", "run-estimation"),
        (NAT, "est_cpulist", "\n", "est-cpulist"),
        (NAT, "est_nice", "19", "est-nice"),
        (
            "-A --sctp-service 192.0.2.1:80 -s rr\n-a --sctp-service 192.0.2.1:80 -r 10.0.0.1:80 -m\n",
            "sloppy_sctp",
            "1",
            "sloppy-sctp",
        ),
    ] {
        let base = Machine::new("7.2.7", rules).found(Severity::Note);
        let command = Machine::new("7.2.7", rules).setting(name, value).only(id, &base);
        let (path, good) =
            command.strip_prefix("sysctl -w net.ipv4.vs.").and_then(|rest| rest.split_once('=')).expect(&command);
        assert_eq!(path, name);
        assert!(!Machine::new("7.2.7", rules).setting(name, good).found(Severity::Note).contains(id), "{command}");
    }
}

#[test]
fn settings_of_other_kernels() {
    let reuse = |release, mode| {
        let machine = Machine::new(release, NAT).setting("conntrack", "1").setting("conn_reuse_mode", mode);
        machine.found(Severity::Warning)
    };
    assert_eq!(reuse("5.8.18", "1"), BTreeSet::from(["conn-reuse-delay"]));
    assert_eq!(reuse("5.8.18", "0"), BTreeSet::new());
    assert_eq!(reuse("5.9.0", "1"), BTreeSet::new());
    assert_eq!(reuse("5.9.0", "0"), BTreeSet::from(["conn-reuse-off"]));

    let limited = NAT.replacen("-m\n", "-m -x 100\n", 1);
    for (release, is_found) in [
        ("6.1.176", true),
        ("6.1.192", false),
        ("6.12.116-amd64", true),
        ("6.12.117", false),
        ("7.1", true),
        ("7.2", false),
    ] {
        let found = Machine::new(release, &limited).found(Severity::Note);
        assert_eq!(found.contains("kernel-thresholds"), is_found, "{release}");
    }
    let many: String = (1..=2001).map(|mark| format!("-A -f {mark} -s rr\n-a -f {mark} -r 10.0.0.1:0 -m\n")).collect();
    assert!(Machine::new("7.0", &many).found(Severity::Note).contains("kernel-service-buckets"));
    assert!(!Machine::new("7.1", &many).found(Severity::Note).contains("kernel-service-buckets"));
    // A setting that a kernel does not have is no finding.
    let old = Machine::new("4.0", NAT).without("/proc/sys/net/ipv4/vs/conn_reuse_mode");
    assert_eq!(old.found(Severity::Warning), BTreeSet::new());
}

#[test]
fn sizes_of_tables() {
    let busy = |release, connections| {
        Machine::new(release, NAT).table(|table| table.services[0].destinations[0].inactive_connections = connections)
    };
    let base = Machine::new("6.1.176", NAT).found(Severity::Note);
    assert!(busy("6.1.176", 16_384).found(Severity::Warning).is_empty());
    // A command could replace or override options of the user in /etc/modprobe.d.
    assert_eq!(busy("6.1.176", 30_000).only("connection-buckets", &base), "");
    assert!(busy("6.1.176", 50_000).found(Severity::Note).contains("kernel-slow-listing"));
    assert!(!busy("6.14", 50_000).found(Severity::Note).contains("kernel-slow-listing"));

    let base = Machine::new("7.2.7", NAT).found(Severity::Note);
    let status = "/proc/thread-self/net/ip_vs_status";
    let limited = |entries: u32| {
        let text = format!("Conns:\t{entries}\nConn buckets:\t65536 (16 bits, lfactor -4)\nServices:\t1\n");
        Machine::new("7.2.7", NAT).setting("conn_max", "40000").file(status, &text)
    };
    assert_eq!(limited(35_999).found(Severity::Warning), BTreeSet::new());
    assert_eq!(limited(36_000).only("connection-limit", &base), "sysctl -w net.ipv4.vs.conn_max=160000");
    assert_eq!(limited(36_000).found(Severity::Error), BTreeSet::new());
    assert_eq!(limited(40_000).found(Severity::Error), BTreeSet::from(["connection-limit"]));

    let tracked = |count: &str| Machine::new("7.2.7", NAT).file("/proc/sys/net/netfilter/nf_conntrack_count", count);
    assert!(tracked("50000").found(Severity::Warning).is_empty());
    assert_eq!(
        tracked("60000").only("conntrack-table", &base),
        "nsenter --target 1 --net sysctl -w net.netfilter.nf_conntrack_max=262144"
    );
    let memory = Machine::new("7.2.7", NAT).setting("drop_entry", "1").setting("amemthresh", "300000");
    assert_eq!(memory.only("amemthresh", &base), "sysctl -w net.ipv4.vs.amemthresh=1024");
    let rate = Machine::new("7.2.7", NAT).setting("drop_packet", "3").setting("am_droprate", "1");
    assert_eq!(rate.found(Severity::Error), BTreeSet::from(["am-droprate"]));
    let negative = Machine::new("7.2.7", NAT).setting("drop_packet", "3").setting("am_droprate", "-1");
    assert_eq!(negative.found(Severity::Error), BTreeSet::from(["am-droprate"]));
    let none = Machine::new("7.2.7", NAT).setting("drop_packet", "3").setting("am_droprate", "0");
    assert_eq!(none.found(Severity::Warning), BTreeSet::new());
}

/// Disables forwarding of IPv4, as a change of net.ipv4.ip_forward does.
fn forwards_nothing(machine: Machine) -> Machine {
    let machine = machine.file("/proc/sys/net/ipv4/ip_forward", "0\n");
    let disable = |machine: Machine, device| machine.file(&format!("/proc/sys/net/ipv4/conf/{device}/forwarding"), "0");
    ["all", "default", "lo", "eth0", "eth1"].into_iter().fold(machine, disable)
}

#[test]
fn forwarding_of_each_method() {
    let base = Machine::new("7.2.7", NAT).found(Severity::Note);
    let off = |rules| forwards_nothing(Machine::new("7.2.7", rules));
    assert_eq!(off(NAT).only("ip-forward", &base), "sysctl -w net.ipv4.ip_forward=1");
    // The setting of the interface decides. Someone has disabled forwarding on eth0 only.
    let on = |device: &str| off(NAT).file(&format!("/proc/sys/net/ipv4/conf/{device}/forwarding"), "1");
    assert_eq!(on("eth1").found(Severity::Note), base);
    assert_eq!(on("eth0").only("ip-forward", &base), "sysctl -w net.ipv4.conf.eth1.forwarding=1");
    let mut local = off(NAT);
    local.files.device_to_servers = None;
    assert_eq!(local.found(Severity::Note), base);
    assert_eq!(off(DR).found(Severity::Warning), BTreeSet::new());
    assert_eq!(off(TUN).found(Severity::Warning), BTreeSet::new());
    let device = |rules, name: &str, value: &str| {
        Machine::new("7.2.7", rules).file(&format!("/proc/sys/net/ipv4/conf/{name}"), value)
    };
    assert_eq!(device(NAT, "eth0/forwarding", "0").found(Severity::Note), base);
    let command = device(NAT, "eth1/forwarding", "0").only("ip-forward-interface", &base);
    assert_eq!(command, "sysctl -w net.ipv4.conf.eth1.forwarding=1");
    assert_eq!(device(NAT, "eth1/rp_filter", "1").found(Severity::Warning), BTreeSet::new());
    assert_eq!(device(DR, "eth1/rp_filter", "1").only("rp-filter", &base), "sysctl -w net.ipv4.conf.eth1.rp_filter=2");
    assert_eq!(device(DR, "all/rp_filter", "2").found(Severity::Warning), BTreeSet::new());
    // One interface: the way in is the way out.
    let one = |rules| {
        Machine::new("7.2.7", rules).devices(&["lo", "eth0"]).file("/proc/sys/net/ipv4/conf/all/rp_filter", "1")
    };
    assert_eq!(one(DR).found(Severity::Warning), BTreeSet::new());
    let commands = one(NAT).only("send-redirects", &base);
    assert_eq!(commands, "sysctl -w net.ipv4.conf.all.send_redirects=0; sysctl -w net.ipv4.conf.eth0.send_redirects=0");
    let v6 = "-A -t [2001:db8::1]:80 -s rr\n-a -t [2001:db8::1]:80 -r [fd00::1]:80 -m\n";
    let off = || Machine::new("7.2.7", v6).file("/proc/sys/net/ipv6/conf/all/forwarding", "0\n");
    assert_eq!(off().only("ip-forward-ipv6", &base), "sysctl -w net.ipv6.conf.all.forwarding=1");
    let forced = off().file("/proc/sys/net/ipv6/conf/eth1/force_forwarding", "1\n");
    assert_eq!(forced.found(Severity::Note), base);
}

#[test]
fn names_of_interfaces_are_quoted() {
    let name = "eth0.7$(x)";
    let machine = Machine::new("7.2.7", DR)
        .devices(&["lo", "eth0", name])
        .file(&format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "1");
    let base = Machine::new("7.2.7", DR).found(Severity::Note);
    assert_eq!(machine.only("rp-filter", &base), "sysctl -w 'net/ipv4/conf/eth0.7$(x)/rp_filter=2'");
}

#[test]
fn sync_daemons() {
    let base = Machine::new("7.2.7", NAT).found(Severity::Note);
    let both = || Machine::new("7.2.7", NAT).daemon(Role::Master, 7).daemon(Role::Backup, 7);
    assert_eq!(both().found(Severity::Note), base);
    let differ = Machine::new("7.2.7", NAT).daemon(Role::Master, 7).daemon(Role::Backup, 8);
    let commands = differ.only("sync-daemons-differ", &base);
    assert!(
        commands.starts_with(
            "ipvsadm --stop-daemon backup; ipvsadm --start-daemon backup --mcast-interface eth0 --syncid 7"
        ),
        "{commands}"
    );
    let any = || Machine::new("7.2.7", NAT).daemon(Role::Master, 7).daemon(Role::Backup, 0);
    assert_eq!(any().found(Severity::Warning), BTreeSet::new());
    // The other options of the backup stay as they are.
    let port = any().table(|table| {
        table.daemons[1].port = Some(9);
        table.daemons[1].max_length = Some(1400);
        table.daemons[1].interface = "a;$(x)".parse().expect("a name");
    });
    let commands = port.devices(&["lo", "eth0", "eth1", "a;$(x)"]).only("sync-daemons-differ", &base);
    for part in ["--mcast-interface 'a;$(x)'", "--sync-maxlen 1400", "--mcast-port 8848"] {
        assert!(commands.contains(part), "{commands}");
    }
    assert!(!commands.contains("--syncid 7"), "{commands}");
    Machine::new("7.2.7", NAT).daemon(Role::Backup, 256).only("sync-id-range", &base);
    // No command: the daemon would stop, and could not start again.
    let gone = both().devices(&["lo", "eth1"]);
    let others = BTreeSet::from(["expire-nodest-conn", "tcp-timeout-keepalive", "send-redirects"]);
    assert_eq!(gone.only("sync-interface", &others), "");
    let gone = Machine::new("7.2.7", NAT).daemon(Role::Master, 7).daemon(Role::Backup, 8).devices(&["lo", "eth1"]);
    let mut others = others;
    others.insert("sync-interface");
    assert_eq!(gone.only("sync-daemons-differ", &others), "");
    let mut down = both();
    down.files.devices[1].is_up = false;
    assert!(down.found(Severity::Error).contains("sync-interface-down"));
    assert_eq!(both().setting("backup_only", "1").only("backup-only", &base), "sysctl -w net.ipv4.vs.backup_only=0");
    let backup = Machine::new("7.2.7", NAT).daemon(Role::Backup, 7).setting("backup_only", "1");
    assert_eq!(backup.found(Severity::Note), base);
    let mut short = both();
    short.files.devices[1].mtu = 1400;
    let commands = short.only("sync-length", &base);
    assert!(commands.contains("--sync-maxlen 1372"), "{commands}");
    for (name, value, id) in [
        ("sync_threshold", "40\t50", "sync-threshold"),
        ("sync_threshold", "3\t0", "sync-refresh"),
        ("sync_version", "0", "sync-version"),
        ("sync_ports", "4", "sync-ports"),
        ("sync_sock_size", "4096", "sync-socket-size"),
    ] {
        both().setting(name, value).only(id, &base);
    }
    let command = both().setting("sync_threshold", "40\t99").only("sync-threshold", &base);
    assert_eq!(command, "sysctl -w 'net.ipv4.vs.sync_threshold=3 99'");
    let command = both().setting("sync_threshold", "9\t0").only("sync-refresh", &base);
    assert_eq!(command, "sysctl -w 'net.ipv4.vs.sync_threshold=9 50'");
    let mut base = base;
    base.insert("expire-quiescent-template");
    let templates = Machine::new("7.2.7", PERSISTENT).daemon(Role::Master, 7).setting("sync_persist_mode", "1");
    assert_eq!(templates.only("sync-persist-mode", &base), "sysctl -w net.ipv4.vs.sloppy_tcp=1");
}

#[test]
fn services_and_servers() {
    let base: BTreeSet<&str> =
        ["expire-nodest-conn", "tcp-timeout-keepalive", "expire-quiescent-template", "tunnel-overhead"].into();
    for (rules, id) in [
        ("-A -t 192.0.2.1:80 -s rr\n", "service-without-servers"),
        ("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -w 0\n", "service-all-weight-0"),
        ("-A -t 192.0.2.1:80 -s none\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m\n", "service-refuses-all"),
        ("-A -f 1 -s mh\n-a -f 1 -r 10.0.0.1 -m -w 0\n-a -f 1 -r 10.0.0.2 -m\n", "hash-without-fallback"),
        ("-A -f 1 -s rr\n-a -f 1 -r 10.0.0.1 -m -w 2\n-a -f 1 -r 10.0.0.2 -m\n", "weights-ignored"),
        ("-A -f 1 -s wrr\n-a -f 1 -r 10.0.0.1 -m -w 5000\n-a -f 1 -r 10.0.0.2 -m\n", "weights-far-apart"),
        ("-A -u 192.0.2.1:80 -s rr -o\n-a -u 192.0.2.1:80 -r 10.0.0.1:80 -m\n", "one-packet-masquerade"),
        (&format!("{NAT}-A -f 1 -s rr\n-a -f 1 -r 10.0.0.1 -g\n"), "methods-differ"),
        ("-A -t 192.0.2.1:80 -s wlc -p 300 --pe sip\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m\n", "engine-without-effect"),
    ] {
        Machine::new("7.2.7", rules).only(id, &base);
    }
    let mut table = State::default();
    let key = ServiceKey::new(Protocol::Other(99), std::net::Ipv4Addr::LOCALHOST, 80);
    table.services.push(ServiceState::new(Service::new(key, Scheduler::RR)));
    let machine = Machine { table: Ok(table), ..Machine::new("7.2.7", "") };
    assert!(machine.found(Severity::Error).contains("protocol-not-scheduled"));
    let limited = "-A -t 192.0.2.1:80 -s sh\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -x 9\n";
    let command = Machine::new("7.2.7", limited).only("hash-with-thresholds", &base);
    assert!(command.starts_with("ipvsadm -E -t 192.0.2.1:80 -s sh") && command.contains("sh-fallback"), "{command}");
    let packets = Machine::new("7.2.7", NAT).table(|table| table.services[0].service.one_packet = true);
    assert_eq!(packets.only("one-packet-not-udp", &base), "ipvsadm -E -t 192.0.2.1:80 -s wlc");
    let ports = Machine::new("7.2.7", DR).table(|table| table.services[0].destinations[0].destination.key.port = 8080);
    ports.only("port-not-translated", &base);
    let any = Machine::new("7.2.7", NAT).table(|table| {
        let service = &mut table.services[0].service;
        service.key = ServiceKey::tcp([192, 0, 2, 1], 0);
    });
    any.only("any-port-not-persistent", &base);
    let draining =
        Machine::new("7.2.7", &PERSISTENT.replace("-m\n", "-m\n-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 0\n"));
    let draining = draining.table(|table| {
        table.services[0].destinations.iter_mut().for_each(|server| server.persistent_connections = 2);
    });
    draining.only("draining-with-templates", &base);
    let one_way = Machine::new("7.2.7", &format!("{DR}-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 0\n")).table(|table| {
        table.services[0].destinations.iter_mut().for_each(|server| server.inactive_connections = 2);
    });
    assert_eq!(one_way.only("conn-reuse-one-way", &base), "sysctl -w net.ipv4.vs.conn_reuse_mode=3");
    let full = Machine::new("7.2.7", &NAT.replacen("-m\n", "-m -x 5\n", 1)).table(|table| {
        table.services[0].destinations.iter_mut().for_each(|server| server.active_connections = 5);
    });
    full.only("servers-full", &base);
    Machine::new("7.2.7", "").only("no-services", &base);
}

#[test]
fn connection_tracking() {
    let base = Machine::new("7.2.7", NAT).found(Severity::Note);
    let rules = Machine::new("6.1.176", NAT).file("/proc/modules", "xt_ipvs 16384 1 - Live 0x0\n");
    assert_eq!(rules.only("conntrack-off", &base), "sysctl -w net.ipv4.vs.conntrack=1");
    let other =
        || Machine::new("6.1.176", NAT).file("/proc/modules", "xt_ipvs 1 0 - Live\nnft_masq 16384 2 - Live 0x0\n");
    other().only("conntrack-off", &base);
    assert_eq!(other().found(Severity::Warning), BTreeSet::new());
    let untracked = || {
        Machine::new("7.2.7", NAT)
            .setting("conntrack", "1")
            .table(|table| table.services[0].destinations[0].active_connections = 3)
    };
    untracked().only("conntrack-without-effect", &base);
    let tracked = untracked().file("/proc/sys/net/netfilter/nf_conntrack_count", "3");
    assert_eq!(tracked.found(Severity::Warning), BTreeSet::new());
}

#[test]
fn other_namespaces_and_tunnel_devices() {
    let base = Machine::new("7.2.7", TUN).found(Severity::Note);
    let table = OtherTable { name: Namespace::Name("it's".into()), services: 2 };
    let others = Ok(OtherTables { tables: vec![table], unchecked: 1 });
    let command = Machine { others, ..Machine::new("7.2.7", TUN) }.only("other-namespaces", &base);
    assert_eq!(command, r"ipvsadm-rs doctor --netns 'it'\''s'");
    let device = || Machine::new("7.2.7", TUN).devices(&["lo", "eth0", "tunl0"]);
    assert_eq!(device().only("ignore-tunneled", &base), "sysctl -w net.ipv4.vs.ignore_tunneled=1");
    let mut base = base;
    base.insert("ignore-tunneled");
    let strict = device().file("/proc/sys/net/ipv4/conf/tunl0/rp_filter", "1");
    assert_eq!(strict.only("rp-filter-tunnel", &base), "sysctl -w net.ipv4.conf.tunl0.rp_filter=0");
    // The other interfaces keep the filter that `all' gives them.
    let all = device().file("/proc/sys/net/ipv4/conf/all/rp_filter", "1");
    base.insert("rp-filter");
    assert_eq!(
        all.only("rp-filter-tunnel", &base),
        "sysctl -w net.ipv4.conf.lo.rp_filter=1; sysctl -w net.ipv4.conf.eth0.rp_filter=1; \
         sysctl -w net.ipv4.conf.all.rp_filter=0; sysctl -w net.ipv4.conf.tunl0.rp_filter=0"
    );
}

#[test]
fn headers_of_tunnels_are_counted() {
    for (options, bytes) in [
        ("", 20),
        (" --tun-type gre", 24),
        (" --tun-type gre --tun-csum", 28),
        (" --tun-type gue --tun-port 6080", 32),
        (" --tun-type gue --tun-port 6080 --tun-remcsum", 40),
    ] {
        let machine = Machine::new("7.2.7", &TUN.replace(" -i", &format!(" -i{options}")));
        let json = serde_json::to_value(Report::new(machine.results(), None)).expect("JSON");
        let seen = format!("Tunnels make packets up to {bytes} bytes longer.");
        assert!(json.to_string().contains(&seen), "{options}: {json}");
    }
}

#[test]
fn engines_serve_one_packet_scheduling() {
    let sip = "-A -u 192.0.2.1:5060 -s rr -o --pe sip\n-a -u 192.0.2.1:5060 -r 10.0.0.1:5060 -m\n";
    let table = |machine: Machine| {
        machine.table(|table| {
            let service = &mut table.services[0].service;
            (service.persistence, service.engine) = (None, Some(Engine::new("sip").expect("short")));
        })
    };
    let machine = Machine::new("7.2.7", &sip.replace(" --pe sip", ""));
    assert_eq!(table(machine).found(Severity::Warning), BTreeSet::new());
}

#[test]
fn commands_with_hidden_characters_are_not_printed() {
    let name = "eth\u{1b}0";
    let machine = Machine::new("7.2.7", DR)
        .devices(&["lo", "eth1", name])
        .file(&format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "1");
    let report = Report::new(machine.results(), None);
    let json = serde_json::to_value(&report).expect("JSON");
    let finding = json["findings"].as_array().expect("findings").iter().find(|finding| finding["id"] == "rp-filter");
    assert_eq!(finding.expect("a finding")["commands"], serde_json::json!([]));
    let text = report.text(80, false, &Palette::default());
    assert!(text.contains("The command is not printed") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn kernel_files() {
    let base = Machine::new("7.2.7", NAT).found(Severity::Note);
    let other = Machine::new("7.2.7", NAT)
        .file("/proc/thread-self/net/ip_vs", "IP Virtual Server version 1.2.2\x1b (size=1)\n");
    other.only("module-version", &base);
    Machine::new("7.2.7", NAT).without("/lib/modules/7.2.7").only("modules-on-disk", &base);
    let absent = Machine { is_loaded: false, table: Err("absent".into()), ..Machine::new("7.2.7", "") };
    assert_eq!(absent.only("module-loaded", &BTreeSet::new()), "modprobe ip_vs");
}

#[test]
fn unread_values_are_not_checked() {
    // Without the table.
    let why = "cannot read the table: permission denied";
    let machine = || Machine { table: Err(why.into()), ..Machine::new("7.2.7", "") };
    assert_eq!(machine().found(Severity::Note), BTreeSet::new());
    let report = Report::new(machine().results(), None);
    assert!(report.not_checked.len() > 20);
    let text = report.text(80, false, &Palette::default());
    assert!(
        text.starts_with(&format!("not checked: {why}\n  ")) && text.lines().all(|line| line.len() <= 80),
        "{text}"
    );
    assert_eq!(text.matches(why).count(), 1, "{text}");
    // Without single files, or with files that have other contents.
    for (text, reason) in [("denied", "permission denied"), ("x\u{1b}", "is not"), ("long", "has more than 9 bytes")] {
        let machine =
            SETTINGS.iter().fold(Machine::new("7.2.7", NAT), |machine, (name, _)| machine.setting(name, text));
        for (check, result) in machine.results() {
            if let Some(Err(NotChecked(why))) = &result {
                assert!(why.contains(reason), "{}: {why}", check.id);
            }
        }
    }
    let hidden = SETTINGS.iter().fold(Machine::new("6.1.176", NAT), |machine, (name, _)| {
        machine.without(&format!("/proc/sys/net/ipv4/vs/{name}"))
    });
    let text = Report::new(hidden.results(), None).text(80, false, &Palette::default());
    assert!(text.contains("not checked: there are no settings net.ipv4.vs.* in this network namespace\n"), "{text}");
    // A file that is cut could hide the line of a module.
    let long = Machine::new("7.2.7", NAT).file("/proc/modules", "long");
    let text = Report::new(long.results(), None).text(80, false, &Palette::default());
    assert!(
        text.contains("not checked: cannot read /proc/modules: it has more than 9 bytes\n  conntrack-off\n"),
        "{text}"
    );
    let empty = Machine { files: Recorded::default(), ..Machine::new("7.2.7", NAT) };
    assert!(Report::new(empty.results(), None).not_checked.len() > 3);
}

#[test]
fn the_report_begins_with_the_worst_group() {
    let machine = forwards_nothing(Machine::new("7.2.7", NAT).setting("run_estimation", "0"));
    let report = Report::new(machine.results(), Some(&Namespace::Name("x".into())));
    let text = report.text(80, true, &Palette::default());
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part} in\n{text}"));
    assert!(at("Forwarding\n  error ip-forward\n") < at("Statistics\n  warning run-estimation\n"));
    assert!(at("warning run-estimation") < at("Connections\n  note expire-nodest-conn"));
    assert!(text.contains("\n    # ip netns exec x sysctl -w net.ipv4.ip_forward=1\n"), "{text}");
    assert!(text.contains("\n/usr/share/doc/ipvsadm-rs/docs/doctor.md has a section for each check.\n"), "{text}");
    let last = text.lines().last().expect("a summary");
    assert!(last.starts_with("1 error, 1 warning, 2 notes; ") && last.ends_with(" do not apply"), "{text}");
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    let json = serde_json::to_value(&report).expect("JSON");
    assert_eq!((&json["schema"], &json["status"]), (&1.into(), &"error".into()));
    assert_eq!(json["findings"][0]["id"], "ip-forward");
    assert_eq!(json["findings"][0]["commands"][0]["command"], "ip netns exec x sysctl -w net.ipv4.ip_forward=1");
}

#[test]
fn commands_act_in_the_namespace() {
    let absent = Machine { is_loaded: false, ..Machine::new("7.2.7", "") };
    let machine = Machine::new("7.2.7", NAT)
        .setting("cache_bypass", "1")
        .file("/proc/sys/net/netfilter/nf_conntrack_count", "65536");
    let commands = [absent, machine].map(|machine| {
        let json =
            serde_json::to_value(Report::new(machine.results(), Some(&Namespace::Name("x".into())))).expect("JSON");
        let commands = json["findings"]
            .as_array()
            .expect("findings")
            .iter()
            .map(|finding| finding["commands"][0]["command"].clone());
        commands.collect::<Vec<_>>()
    });
    assert_eq!(commands[0], ["modprobe ip_vs"]);
    for command in [
        "ip netns exec x sysctl -w net.ipv4.vs.cache_bypass=0",
        "ip netns exec x ipvsadm --set 7320 0 0",
        "nsenter --target 1 --net sysctl -w net.netfilter.nf_conntrack_max=262144",
    ] {
        assert!(commands[1].contains(&command.into()), "{command}: {:?}", commands[1]);
    }
}

#[test]
fn long_lists_are_cut_in_text_only() {
    let rules: String = (1..=9).map(|mark| format!("-A -f {mark} -s rr\n")).collect();
    let report = Report::new(Machine::new("7.2.7", &rules).results(), None);
    let text = report.text(80, false, &Palette::default());
    assert!(text.contains("    FWM 5: ") && !text.contains("FWM 6: ") && text.contains("\n    and 4 more\n"), "{text}");
    let json = serde_json::to_value(&report).expect("JSON");
    assert_eq!(json["findings"][0]["seen"].as_array().map(Vec::len), Some(9));
}
