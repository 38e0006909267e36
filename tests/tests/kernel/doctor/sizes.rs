//! Large connection tables, and modules that are not on the disk.

use anyhow::Context;
use ipvs_tests::command::{ok, run, shell};
use ipvs_tests::lab::topology::Lab;
use ipvs_tests::traffic::synced;
use serde_json::Value;

use super::{Findings, kernel_is_from};
use crate::under_test;

ipvs_tests::tests! {
    many_connections;
    modules_of_another_kernel;
}

fn many_connections() {
    // Eight of ten are those of the service below, and only they are counted before Linux 7.1.
    const CONNECTIONS: u32 = 60_000;
    under_test::install();
    let lab = Lab::new().unwrap();
    let director = lab.host("director").unwrap();
    let servers: String =
        (0..200).map(|number| format!("-a -t 192.0.2.1:80 -r 172.16.0.{number}:8080 -m\\n")).collect();
    director.shell(&format!("printf -- '-A -t 192.0.2.1:80 -s wlc -p 300\\n{servers}' | ipvsadm -R")).ok();
    let before = Findings::of(&director).ids();
    director.enter(|| {
        synced::create(CONNECTIONS, |interface| {
            let ran = run(&format!("ipvsadm --start-daemon backup --mcast-interface {interface}"));
            (ran.code == Some(0)).then_some(()).with_context(|| ran.to_string())
        })
        .unwrap();
    });
    let findings = Findings::of(&director);
    let is_new = |id: &str| !before.contains(id) && findings.ids().contains(id);
    assert_eq!(is_new("kernel-slow-listing"), !kernel_is_from(6, 14), "{}", findings.ran);
    // Since Linux 7.1, the table grows, but not beyond its default of 4096 buckets.
    assert!(is_new("connection-buckets"), "{}", findings.ran);
    let text = findings.ran.stdout.as_str();
    assert_eq!(text.contains("has at least "), !kernel_is_from(7, 1), "{text}");
    assert!(text.contains("options ip_vs conn_tab_bits=17"), "{text}");
    assert_eq!(findings.commands("connection-buckets"), Vec::<String>::new());
}

fn modules_of_another_kernel() {
    under_test::install();
    under_test::modprobe();
    // The root of the test is its own.
    assert!(!is_found());
    ok("mkdir -p /lib/modules/9.9.9");
    assert!(is_found());
    shell("mkdir /lib/modules/$(uname -r)").ok();
    assert!(!is_found());
}

/// Returns whether `doctor` reports modules that are not on the disk.
fn is_found() -> bool {
    let ran = run("ipvsadm-rs doctor --json");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran}"));
    report["findings"].as_array().unwrap().iter().any(|finding| finding["id"] == "modules-on-disk")
}
