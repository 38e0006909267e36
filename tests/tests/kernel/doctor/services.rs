//! Services and servers.

use ipvs::{Change, Client, Destination, DestinationKey, Forwarding, Protocol, Scheduler, Service, ServiceKey};
use ipvs_tests::lab::topology::{Host, Lan, Nat};
use ipvs_tests::traffic::server::Protocol::Tcp;

use super::{Findings, appears, breaks_and_mends, kernel_is_from};
use crate::under_test;

ipvs_tests::tests! {
    services_that_refuse_clients;
    schedulers_that_hash;
    settings_without_effect;
    full_servers_and_thresholds;
    templates_of_drained_servers;
    ports_that_are_used_again;
    tables_of_other_namespaces;
    many_services;
    services_that_ipvsadm_does_not_add;
}

/// Empties the table, and adds services by lines of ipvsadm.
#[track_caller]
fn table(host: &Host, lines: &str) {
    host.ok("ipvsadm -C");
    for line in lines.split("; ") {
        host.ok(&format!("ipvsadm {line}"));
    }
}

/// Does the same. The expected findings must appear with the last line.
#[track_caller]
fn with(host: &Host, lines: &str, expected: &[&str]) -> Findings {
    let (before, last) = lines.rsplit_once("; ").unwrap();
    table(host, before);
    appears(host, &format!("ipvsadm {last}"), expected)
}

/// A service that has no findings but notes.
const GOOD: &str = "-A -t 10.1.0.100:80 -s wlc; -a -t 10.1.0.100:80 -r 10.2.0.11:80 -m";

fn services_that_refuse_clients() {
    under_test::install();
    let nat = Nat::new().unwrap();
    let director = &nat.director;
    assert!(Findings::of(director).ids().contains("no-services"));
    let findings = with(director, &format!("{GOOD}; -A -t 10.1.0.100:81 -s rr"), &["service-without-servers"]);
    assert_eq!((findings.ran.code, &findings.report["status"]), (Some(2), &"error".into()), "{}", findings.ran);
    let drained = "-A -t 10.1.0.100:81 -s wlc; -a -t 10.1.0.100:81 -r 10.2.0.11:80 -m; -e -t 10.1.0.100:81 -r 10.2.0.11:80 -m -w 0";
    with(director, drained, &["service-all-weight-0"]);
    with(director, &format!("{GOOD}; -E -t 10.1.0.100:80 -s none"), &["service-refuses-all"]);
}

fn schedulers_that_hash() {
    under_test::install();
    let nat = Nat::new().unwrap();
    for scheduler in ["sh", "mh"] {
        let service = format!(
            "-A -t 10.1.0.100:80 -s {scheduler}; -a -t 10.1.0.100:80 -r 10.2.0.11:80 -m; -a -t 10.1.0.100:80 -r 10.2.0.12:80 -m"
        );
        table(&nat.director, &service);
        breaks_and_mends(
            &nat.director,
            "ipvsadm -e -t 10.1.0.100:80 -r 10.2.0.12:80 -m -w 0",
            &["hash-without-fallback"],
        );
        table(&nat.director, &service);
        let notes: &[&str] = &["hash-with-thresholds", "kernel-thresholds"];
        let expected = if has_old_thresholds() { notes } else { &notes[..1] };
        let findings = appears(&nat.director, "ipvsadm -e -t 10.1.0.100:80 -r 10.2.0.12:80 -m -x 9", expected);
        nat.director.shell(&findings.commands("hash-with-thresholds")[0]).ok();
        assert!(!Findings::of(&nat.director).ids().contains("hash-with-thresholds"));
    }
}

/// Returns whether the kernel has the code for thresholds from before 7.2, 6.12.117 and 6.1.192.
fn has_old_thresholds() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let third: u32 = release.split(|c: char| !c.is_ascii_digit()).nth(2).unwrap().parse().unwrap();
    let is_mended = release.starts_with("6.1.") && third >= 192 || release.starts_with("6.12.") && third >= 117;
    !kernel_is_from(7, 2) && !is_mended
}

fn settings_without_effect() {
    under_test::install();
    let nat = Nat::new().unwrap();
    let director = &nat.director;
    let add = |weight| format!("-a -t 10.1.0.100:80 -r 10.2.0.12:80 -m -w {weight}");
    with(director, &format!("{GOOD}; {}", add(5000)), &["weights-far-apart"]);
    with(director, &format!("{GOOD}; -E -t 10.1.0.100:80 -s rr; {}", add(2)), &["weights-ignored"]);
    let one_packet = "-A -u 10.1.0.100:53 -s rr -o; -a -u 10.1.0.100:53 -r 10.2.0.11:53 -m";
    table(director, "-A -u 10.1.0.100:53 -s rr; -a -u 10.1.0.100:53 -r 10.2.0.11:53 -m");
    breaks_and_mends(director, "ipvsadm -E -u 10.1.0.100:53 -s rr -o", &["one-packet-masquerade"]);
    table(director, &one_packet.replace("-m", "-g"));
    assert!(!Findings::of(director).ids().contains("one-packet-masquerade"));
    // ipvsadm uses the port of the service, but other programs need not.
    table(director, GOOD);
    let service = ServiceKey::tcp([10, 1, 0, 100], 80);
    let server = Destination::new(DestinationKey::new([10, 2, 0, 12], 8080), Forwarding::DirectRoute);
    let add = Change::AddDestination(service, server);
    director.enter(|| Client::open().unwrap().submit(&[add]).unwrap().into_result().unwrap());
    assert!(Findings::of(director).bad().contains("port-not-translated"));
    with(director, &format!("{GOOD}; -A -f 1 -s wlc; -a -f 1 -r 10.2.0.11:80 -g"), &["methods-differ"]);
    under_test::modprobe();
    with(director, &format!("{GOOD}; -E -t 10.1.0.100:80 -s wlc -p 300"), &["expire-quiescent-template"]);
    appears(director, "ipvsadm -E -t 10.1.0.100:80 -s wlc -p 300 --pe sip", &["engine-without-effect"]);
}

fn full_servers_and_thresholds() {
    under_test::install();
    let nat = Nat::new().unwrap();
    let _web = nat.web1.serve(Tcp, "0.0.0.0:80").unwrap();
    let limited = "-a -t 10.1.0.100:80 -r 10.2.0.11:80 -m -x 2";
    let expected: &[&str] = if has_old_thresholds() { &["kernel-thresholds"] } else { &[] };
    table(&nat.director, "-A -t 10.1.0.100:80 -s wlc; -a -t 10.1.0.100:80 -r 10.2.0.12:80 -m -w 0");
    nat.director.ok(&format!("ipvsadm {limited}"));
    let findings = Findings::of(&nat.director);
    expected.iter().for_each(|id| assert!(findings.ids().contains(*id), "{}", findings.ran));
    let _held = nat.client.client().hold(2, "10.1.0.100:80");
    let findings = Findings::of(&nat.director);
    assert!(findings.ids().contains("service-refuses-all"), "{}", findings.ran);
    appears(&nat.director, "ipvsadm -e -t 10.1.0.100:80 -r 10.2.0.12:80 -m -w 1", &["servers-full"]);
}

fn templates_of_drained_servers() {
    under_test::install();
    let nat = Nat::new().unwrap();
    let _web = nat.web1.serve(Tcp, "0.0.0.0:80").unwrap();
    table(&nat.director, "-A -t 10.1.0.100:80 -s wlc -p 300; -a -t 10.1.0.100:80 -r 10.2.0.11:80 -m");
    let _held = nat.client.client().hold(1, "10.1.0.100:80");
    nat.director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.12:80 -m");
    let drain = "ipvsadm -e -t 10.1.0.100:80 -r 10.2.0.11:80 -m -w 0";
    let findings = appears(&nat.director, drain, &["draining-with-templates"]);
    nat.director.shell(&findings.commands("draining-with-templates")[0]).ok();
    let after = Findings::of(&nat.director).ids();
    assert!(!after.contains("draining-with-templates") && !after.contains("expire-quiescent-template"), "{after:?}");
}

fn ports_that_are_used_again() {
    under_test::install();
    let lan = Lan::new().unwrap();
    let _web = lan.web1.serve(Tcp, "0.0.0.0:80").unwrap();
    under_test::real_server(&lan.web1, "--mode dr --vip 10.1.0.100");
    table(&lan.director, "-A -t 10.1.0.100:80 -s wlc; -a -t 10.1.0.100:80 -r 10.1.0.11:80 -g");
    let _held = lan.client.client().hold(1, "10.1.0.100:80");
    lan.director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.1.0.12:80 -g");
    breaks_and_mends(&lan.director, "ipvsadm -e -t 10.1.0.100:80 -r 10.1.0.11:80 -g -w 0", &["conn-reuse-one-way"]);
}

fn tables_of_other_namespaces() {
    under_test::install();
    let nat = Nat::new().unwrap();
    table(&nat.director, GOOD);
    let before = Findings::of(&nat.director).ids();
    assert!(!before.contains("other-namespaces"));
    nat.web1.ok("ipvsadm -A -f 7 -s rr");
    let findings = Findings::of(&nat.director);
    assert_eq!(findings.commands("other-namespaces"), ["ipvsadm-rs doctor --netns web1"]);
    // The commands for another namespace enter it.
    let other = nat.director.run("ipvsadm-rs doctor --netns web1 --all");
    assert_eq!(other.code, Some(2), "{other}");
    assert!(other.stdout.contains("FWM 7: every new client is refused"), "{other}");
    nat.web1.ok("ipvsadm -C");
    nat.web1.ok("ipvsadm -A -t 10.2.0.11:80 -s wlc");
    nat.web1.ok("ipvsadm -a -t 10.2.0.11:80 -r 10.2.0.12:80 -m");
    let other = nat.director.run("ipvsadm-rs doctor --netns web1");
    assert!(other.stdout.contains("    # ip netns exec web1 sysctl -w net.ipv4.ip_forward=1\n"), "{other}");
    nat.director.ok("ip netns exec web1 sysctl -w net.ipv4.ip_forward=1");
    let other = nat.director.run("ipvsadm-rs doctor --netns web1");
    assert!(!other.stdout.contains("ip-forward\n"), "{other}");
}

fn many_services() {
    under_test::install();
    let nat = Nat::new().unwrap();
    let lines: Vec<String> =
        (1..=2001).map(|mark| format!("-A -f {mark} -s mh\\n-a -f {mark} -r 10.2.0.11:0 -m\\n")).collect();
    nat.director.shell(&format!("printf '%b' '{}' | ipvsadm -R", lines.concat())).ok();
    let start = std::time::Instant::now();
    let findings = Findings::of(&nat.director);
    let time = start.elapsed();
    assert!(time < std::time::Duration::from_secs(20), "{time:?}");
    println!("2001 services: {time:?}");
    assert_eq!(findings.bad(), std::collections::BTreeSet::new(), "{}", findings.ran);
    assert_eq!(findings.ids().contains("kernel-service-buckets"), !kernel_is_from(7, 1), "{}", findings.ran);
}

fn services_that_ipvsadm_does_not_add() {
    under_test::install();
    let nat = Nat::new().unwrap();
    let director = &nat.director;
    let add = |key: ServiceKey, one_packet: bool| {
        director.ok("ipvsadm -C");
        let service = Service { one_packet, ..Service::new(key, Scheduler::RR) };
        let server = Destination::new(DestinationKey::new([10, 2, 0, 11], 80), Forwarding::DirectRoute);
        let changes = [Change::AddService(service), Change::AddDestination(key, server)];
        director.enter(|| Client::open().unwrap().submit(&changes).unwrap().into_result().unwrap());
        Findings::of(director)
    };
    let vip = [10, 1, 0, 100];
    let findings = add(ServiceKey::tcp(vip, 0), false);
    assert!(findings.bad().contains("any-port-not-persistent"), "{}", findings.ran);
    findings.commands("any-port-not-persistent").iter().for_each(|command| _ = director.shell(command).ok());
    assert!(!Findings::of(director).ids().contains("any-port-not-persistent"));
    let findings = add(ServiceKey::new(Protocol::Other(99), std::net::Ipv4Addr::from(vip), 80), false);
    assert!(findings.bad().contains("protocol-not-scheduled"), "{}", findings.ran);
    let findings = add(ServiceKey::tcp(vip, 80), true);
    assert!(findings.ids().contains("one-packet-not-udp"), "{}", findings.ran);
    findings.commands("one-packet-not-udp").iter().for_each(|command| _ = director.shell(command).ok());
    assert!(!Findings::of(director).ids().contains("one-packet-not-udp"));
}
