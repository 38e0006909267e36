//! Sync daemons.

use std::time::Duration;

use ipvs_sys::uapi::{Command, CommandAttrs, DaemonAttrs};
use ipvs_sys::wire::Name;
use ipvs_sys::{Request, Socket};
use ipvs_tests::lab::topology::{Lab, Nat};
use ipvs_tests::traffic::server::Protocol::Tcp;

use super::{Findings, appears, breaks_and_mends};
use crate::under_test;

ipvs_tests::tests! {
    interfaces_of_daemons;
    daemons_that_differ;
    settings_of_daemons;
    a_backup_does_not_balance;
    names_of_interfaces_are_words;
    large_sync_ids;
}

const MASTER: &str = "ipvsadm --start-daemon master --mcast-interface eth1 --syncid 7";
const BACKUP: &str = "ipvsadm --start-daemon backup --mcast-interface eth1 --syncid 7";

/// Builds a director with an interface for synchronization, both daemons, and a persistent service.
fn director() -> (Lab, ipvs_tests::lab::topology::Host) {
    under_test::install();
    let lab = Lab::new().unwrap();
    let director = lab.host("director").unwrap();
    lab.segment("lan", [(&director, "10.1.0.1/24")]).unwrap();
    lab.segment("sync", [(&director, "10.9.0.1/24")]).unwrap();
    for line in
        ["ipvsadm -A -t 10.1.0.100:80 -s wlc -p 300", "ipvsadm -a -t 10.1.0.100:80 -r 10.1.0.11:80 -g", MASTER, BACKUP]
    {
        director.ok(line);
    }
    (lab, director)
}

fn interfaces_of_daemons() {
    let (_lab, director) = director();
    breaks_and_mends(&director, "ip link set eth1 mtu 1400", &["sync-length"]);
    breaks_and_mends(&director, "ip link set eth1 down", &["sync-interface-down"]);
    let findings = appears(&director, "ip link delete eth1", &["sync-interface"]);
    // The daemons would stop, and could not start again.
    assert_eq!(findings.commands("sync-interface"), Vec::<String>::new());
    assert!(findings.ran.stdout.contains("uses eth1, and there is no such interface"), "{}", findings.ran);
}

fn daemons_that_differ() {
    let (_lab, director) = director();
    let other = "ipvsadm --stop-daemon backup; ipvsadm --start-daemon backup --mcast-interface eth1";
    breaks_and_mends(&director, &format!("{other} --syncid 8"), &["sync-daemons-differ"]);
    breaks_and_mends(&director, &format!("{other} --syncid 7 --mcast-group 224.0.0.82"), &["sync-daemons-differ"]);
    breaks_and_mends(&director, &format!("{other} --syncid 7 --mcast-port 9000"), &["sync-daemons-differ"]);
    appears(&director, &format!("{other} --syncid 0"), &[]);
    director.ok("ipvsadm --stop-daemon backup");
    director.ok(BACKUP);
    breaks_and_mends(&director, "sysctl -qw net.ipv4.vs.backup_only=1", &["backup-only"]);
    director.ok("sysctl -qw net.ipv4.vs.backup_only=1");
    // On a director that only receives, the setting is intended.
    director.ok("ipvsadm --stop-daemon master");
    breaks_and_mends(&director, "sysctl -qw net.ipv4.vs.backup_only=0", &["backup-loop"]);
}

fn settings_of_daemons() {
    let (_lab, director) = director();
    for (setting, id) in [
        ("sync_threshold='40 50'", "sync-threshold"),
        ("sync_threshold='3 0'", "sync-refresh"),
        ("sync_version=0", "sync-version"),
        ("sync_persist_mode=1", "sync-persist-mode"),
        ("sync_ports=4", "sync-ports"),
        ("sync_sock_size=4096", "sync-socket-size"),
    ] {
        // The command for sync_persist_mode sets sloppy_tcp, which is a note otherwise.
        if id == "sync-persist-mode" {
            let findings = appears(&director, &format!("sysctl -qw net.ipv4.vs.{setting}"), &[id]);
            assert_eq!(findings.commands(id), ["sysctl -w net.ipv4.vs.sloppy_tcp=1"]);
            director.ok("sysctl -qw net.ipv4.vs.sync_persist_mode=0");
        } else {
            breaks_and_mends(&director, &format!("sysctl -qw net.ipv4.vs.{setting}"), &[id]);
        }
    }
}

fn a_backup_does_not_balance() {
    under_test::install();
    let nat = Nat::new().unwrap();
    let _web = nat.web1.serve(Tcp, "0.0.0.0:80").unwrap();
    nat.director.ok("ipvsadm -A -t 10.1.0.100:80 -s rr");
    nat.director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.11:80 -m");
    nat.director.ok(MASTER);
    nat.director.ok("sysctl -qw net.ipv4.vs.backup_only=1");
    let held = || nat.client.client().patience(Duration::from_secs(2)).hold(1, "10.1.0.100:80").to_string();
    assert_eq!(held(), "web1=1");
    let findings = appears(&nat.director, BACKUP, &["backup-only"]);
    assert_ne!(held(), "web1=1");
    nat.director.shell(&findings.commands("backup-only")[0]).ok();
    assert_eq!(held(), "web1=1");
}

fn names_of_interfaces_are_words() {
    let (_lab, director) = director();
    director.ok("ip link add first type dummy");
    director.shell("ip link set first name 'e;touch$IFS'").ok();
    director.shell("ip link set 'e;touch$IFS' up").ok();
    let start = "ipvsadm --start-daemon backup --mcast-interface 'e;touch$IFS' --syncid 8";
    let findings = appears(&director, &format!("ipvsadm --stop-daemon backup; {start}"), &["sync-daemons-differ"]);
    let commands = findings.commands("sync-daemons-differ");
    assert!(commands[1].contains("--mcast-interface 'e;touch$IFS'"), "{commands:?}");
    commands.iter().for_each(|command| _ = director.shell(command).ok());
    let daemons = director.ok("ipvsadm -L --daemon");
    assert!(daemons.contains("backup sync daemon (mcast=e;touch$IFS, syncid=7"), "{daemons}");
}

fn large_sync_ids() {
    let (_lab, director) = director();
    director.ok("ipvsadm --stop-daemon backup");
    let before = Findings::of(&director).ids();
    // This program refuses such a number, so the request is made by hand.
    let daemon =
        DaemonAttrs { state: Some(2), mcast_ifn: Name::new(b"eth1"), sync_id: Some(256), ..DaemonAttrs::default() };
    let attributes = CommandAttrs { daemon: Some(daemon), ..CommandAttrs::default() };
    let request = Request { command: Command::NewDaemon, attributes };
    let refused = director.enter(|| Socket::open().unwrap().submit([request]).unwrap());
    assert!(refused.is_empty(), "{refused:?}");
    let findings = Findings::of(&director);
    assert!(!before.contains("sync-id-range") && findings.ids().contains("sync-id-range"), "{}", findings.ran);
}
