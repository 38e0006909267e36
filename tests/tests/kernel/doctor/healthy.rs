//! Directors as in docs/operations.md have no warnings.

use std::collections::BTreeSet;

use ipvs_tests::lab::topology::{Host, Lab, Lan, Nat};

use super::Findings;
use crate::under_test;

ipvs_tests::tests! {
    nat;
    nat_of_both_families;
    direct_routing;
    tunnels;
    a_pair;
}

#[track_caller]
fn assert_healthy(host: &Host) -> Findings {
    let findings = Findings::of(host);
    assert_eq!(findings.bad(), BTreeSet::new(), "{}", findings.ran);
    assert_eq!(findings.ran.code, Some(0), "{}", findings.ran);
    assert_eq!(findings.report["status"], "note");
    findings
}

/// Adds a TCP service with two servers.
fn add(host: &Host, service: &str, servers: [&str; 2], method: &str) {
    host.ok(&format!("ipvsadm -A -t {service} -s rr"));
    for server in servers {
        host.ok(&format!("ipvsadm -a -t {service} -r {server} {method}"));
    }
}

fn nat() {
    under_test::install();
    let nat = Nat::new().unwrap();
    add(&nat.director, "10.1.0.100:80", ["10.2.0.11:8080", "10.2.0.12:8080"], "-m");
    let findings = assert_healthy(&nat.director);
    assert!(findings.names("passed").contains("ip-forward"), "{}", findings.ran);
    assert_eq!(findings.names("not_checked"), BTreeSet::new(), "{}", findings.ran);
}

fn nat_of_both_families() {
    under_test::install();
    let nat = Nat::dual_stack().unwrap();
    add(&nat.director, "10.1.0.100:80", ["10.2.0.11:8080", "10.2.0.12:8080"], "-m");
    add(&nat.director, "[fd01::100]:80", ["[fd02::11]:8080", "[fd02::12]:8080"], "-m");
    let findings = assert_healthy(&nat.director);
    assert!(findings.names("passed").contains("ip-forward-ipv6"), "{}", findings.ran);
}

fn direct_routing() {
    under_test::install();
    let lan = Lan::new().unwrap();
    add(&lan.director, "10.1.0.100:80", ["10.1.0.11:80", "10.1.0.12:80"], "-g");
    let findings = assert_healthy(&lan.director);
    assert!(findings.names("not_applicable").contains("ip-forward"), "{}", findings.ran);
}

fn tunnels() {
    under_test::install();
    let nat = Nat::new().unwrap();
    add(&nat.director, "10.1.0.100:80", ["10.2.0.11:80", "10.2.0.12:80"], "-i");
    nat.director.ok("ipvsadm -A -t 10.1.0.100:81 -s wlc");
    nat.director.ok("ipvsadm -a -t 10.1.0.100:81 -r 10.2.0.11:81 -i --tun-type gue --tun-port 6080");
    let findings = assert_healthy(&nat.director);
    assert!(findings.ids().contains("tunnel-overhead"), "{}", findings.ran);
    assert!(findings.ran.stdout.contains("Tunnels make packets up to 32 bytes longer."), "{}", findings.ran);
}

fn a_pair() {
    under_test::install();
    let lab = Lab::new().unwrap();
    let [director, backup] = lab.hosts(["director", "backup"]).unwrap();
    lab.segment("outside", [(&director, "10.1.0.1/24"), (&backup, "10.1.0.2/24")]).unwrap();
    for host in [&director, &backup] {
        add(host, "10.1.0.100:80", ["10.1.0.11:80", "10.1.0.12:80"], "-g");
    }
    for (host, role) in [(&director, "master"), (&director, "backup"), (&backup, "backup")] {
        host.ok(&format!("ipvsadm --start-daemon {role} --mcast-interface eth0 --syncid 7"));
    }
    let findings = assert_healthy(&director);
    let passed = findings.names("passed");
    for id in ["sync-interface", "sync-interface-down", "sync-length", "sync-daemons-differ", "backup-only"] {
        assert!(passed.contains(id), "{id}: {}", findings.ran);
    }
    assert!(assert_healthy(&backup).ids().contains("backup-loop"));
    // Each of the two directors is in a namespace of its own.
    let others = assert_healthy(&backup);
    assert_eq!(others.commands("other-namespaces"), ["ipvsadm-rs doctor --netns director"]);
}
