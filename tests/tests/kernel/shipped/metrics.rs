//! The units for Prometheus: ipvsadm-rs-metrics.socket and ipvsadm-rs-textfile.timer.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use ipvs_tests::command::{ok, run, shell};
use ipvs_tests::wait;

use super::package;
use super::unit::System;
use crate::verbs::metrics::server::get;
use crate::verbs::metrics::{Values, values};

ipvs_tests::tests! {
    verify_and_are_not_enabled, needs = "dpkg-dev", needs = "systemd", seconds = 120;
    a_scrape_starts_the_service, needs = "dpkg-dev", needs = "systemd", seconds = 240;
    the_timer_writes_the_file, needs = "dpkg-dev", needs = "systemd", seconds = 240;
}

const PATIENCE: Duration = Duration::from_secs(120);

const UNITS: [&str; 4] = [
    "ipvsadm-rs-metrics.socket",
    "ipvsadm-rs-metrics.service",
    "ipvsadm-rs-textfile.timer",
    "ipvsadm-rs-textfile.service",
];

fn verify_and_are_not_enabled() {
    package::install();
    for unit in UNITS {
        let ran = run(&format!("systemd-analyze verify --man=no /usr/lib/systemd/system/{unit}"));
        assert!(ran.code == Some(0) && !ran.stderr.contains("ipvsadm"), "{ran}");
    }
    let links = || shell("find /etc/systemd/system -lname '*ipvsadm-rs-*' -printf '%P\\n' | sort").ok();
    assert_eq!(links(), "");
    ok("systemctl --root=/ enable ipvsadm-rs-metrics.socket ipvsadm-rs-textfile.timer");
    assert_eq!(
        links(),
        "sockets.target.wants/ipvsadm-rs-metrics.socket\ntimers.target.wants/ipvsadm-rs-textfile.timer\n"
    );
    ok("systemctl --root=/ disable ipvsadm-rs-metrics.socket ipvsadm-rs-textfile.timer");
    assert_eq!(links(), "");
}

fn scrape() -> Values {
    values(&get(&mut TcpStream::connect("127.0.0.1:10580").unwrap()))
}

fn a_scrape_starts_the_service() {
    package::install();
    ok("ipvsadm -A -t 192.0.2.1:80 -s rr");
    let system = System::boot("Wants=ipvsadm-rs-metrics.socket");
    system.is_active("ipvsadm-rs-metrics.socket");
    assert_eq!(system.run("systemctl is-active ipvsadm-rs-metrics.service").stdout, "inactive\n");
    let first = scrape();
    assert_eq!((&*first["ipvs_up"], &*first["ipvs_services"]), ("1", "1"), "{}", log(&system));
    // This file is only for root.
    let has_status = fs::exists("/proc/net/ip_vs_status").unwrap();
    assert_eq!(first.contains_key("ipvs_connection_table_entries"), has_status, "{first:#?}");

    let pid = system.run("systemctl show --property=MainPID --value ipvsadm-rs-metrics.service").ok();
    let status = system.run(&format!("cat /proc/{}/status", pid.trim())).ok();
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).expect(name).trim().to_owned();
    // 1000 is CAP_NET_ADMIN.
    for name in ["CapPrm:", "CapEff:"] {
        assert_eq!(line(name), "0000000000001000", "{status}");
    }
    assert_eq!((line("CapInh:"), line("NoNewPrivs:")), ("0000000000000000".into(), "1".into()), "{status}");
    assert_ne!(line("Uid:").split_whitespace().next(), Some("0"), "{status}");

    ok("ipvsadm -A -f 7 -s rr");
    wait::until(PATIENCE, || {
        let values = scrape();
        if values["ipvs_services"] == "2" { Ok(()) } else { Err(format!("{values:#?}")) }
    });
    // The next scrape starts it again.
    system.run("systemctl stop ipvsadm-rs-metrics.service").ok();
    assert_eq!(scrape()["ipvs_services"], "2", "{}", log(&system));
    let log = log(&system);
    assert!(log.contains("listening on 127.0.0.1:10580") && !log.contains("warning: "), "{log}");
}

fn log(system: &System) -> String {
    system.run("journalctl --quiet --output cat --unit ipvsadm-rs-metrics.service").stdout
}

fn the_timer_writes_the_file() {
    const FILE: &str = "/var/lib/prometheus/node-exporter/ipvs.prom";
    package::install();
    fs::create_dir_all("/var/lib/prometheus/node-exporter").unwrap();
    let _ = fs::remove_file(FILE);
    ok("ipvsadm -A -t 192.0.2.1:80 -s rr");
    let system = System::boot("Wants=ipvsadm-rs-textfile.timer");
    system.is_active("ipvsadm-rs-textfile.timer");
    let log = || system.run("journalctl --quiet --unit ipvsadm-rs-textfile.service").stdout;
    let wait_for = |services: &str| {
        wait::until(PATIENCE, || {
            let written = fs::read_to_string(FILE).map_err(|error| format!("{error}\n{}", log()))?;
            let written = values(&written);
            let is_there = written.get("ipvs_services").is_some_and(|written| written == services);
            if is_there { Ok(()) } else { Err(format!("{written:#?}\n{}", log())) }
        });
    };
    wait_for("1");
    assert_eq!(fs::metadata(FILE).unwrap().permissions().mode() & 0o7777, 0o644);
    ok("ipvsadm -A -f 7 -s rr");
    wait_for("2");
    assert_eq!(log(), "", "no lines for each start");
    fs::remove_file(FILE).unwrap();
}
