//! Breaks of sysctls. The printed commands mend them.

use std::time::Duration;

use ipvs_tests::command::shell;
use ipvs_tests::lab::topology::Nat;
use ipvs_tests::traffic::server::Protocol::Tcp;

use crate::traffic::fullnat::has_iptables;

use super::{Findings, appears, breaks_and_mends, kernel_is_from};
use crate::under_test;

ipvs_tests::tests! {
    settings_of_ipvs;
    settings_of_estimation;
    defence;
    forwarding;
    forwarding_of_interfaces;
    rates_of_dropped_packets;
    reverse_paths;
    redirects_on_one_segment;
    tunnel_devices;
    limit_of_connections;
    tracking_without_rules;
    tracking_by_firewall_rules, needs = "iptables";
    timeouts;
}

/// Builds a director with one server by masquerading, one by direct routing and one in a tunnel.
fn mixed() -> Nat {
    under_test::install();
    let nat = Nat::new().unwrap();
    for line in [
        "-A -t 10.1.0.100:80 -s wlc -p 300",
        "-a -t 10.1.0.100:80 -r 10.2.0.11:80 -m",
        "-A --sctp-service 10.1.0.100:81 -s wlc",
        "-a --sctp-service 10.1.0.100:81 -r 10.2.0.12:81 -i",
        "-A -t 10.1.0.100:82 -s wlc",
        "-a -t 10.1.0.100:82 -r 10.2.0.13:82 -g",
    ] {
        nat.director.ok(&format!("ipvsadm {line}"));
    }
    nat
}

fn settings_of_ipvs() {
    let nat = mixed();
    let set = |setting: &str| format!("sysctl -qw net.ipv4.vs.{setting}");
    // Findings by default, because most directors want another value.
    for setting in ["expire_nodest_conn", "expire_quiescent_template"] {
        nat.director.shell(&set(&format!("{setting}=1"))).ok();
        breaks_and_mends(&nat.director, &set(&format!("{setting}=0")), &[&setting.replace('_', "-")]);
    }
    for (setting, id) in [
        ("cache_bypass=1", "cache-bypass"),
        ("conn_reuse_mode=0", "conn-reuse-off"),
        ("nat_icmp_send=1", "nat-icmp-send"),
        ("pmtu_disc=0", "pmtu-disc"),
        ("schedule_icmp=1", "schedule-icmp"),
        ("sloppy_sctp=1", "sloppy-sctp"),
        ("sloppy_tcp=1", "sloppy-tcp"),
        ("snat_reroute=0", "snat-reroute"),
    ] {
        breaks_and_mends(&nat.director, &set(setting), &[id]);
    }
}

fn settings_of_estimation() {
    let nat = mixed();
    breaks_and_mends(&nat.director, "sysctl -qw net.ipv4.vs.run_estimation=0", &["run-estimation"]);
    if kernel_is_from(6, 2) {
        breaks_and_mends(&nat.director, "echo > /proc/sys/net/ipv4/vs/est_cpulist", &["est-cpulist"]);
        breaks_and_mends(&nat.director, "sysctl -qw net.ipv4.vs.est_nice=19", &["est-nice"]);
    } else {
        let findings = Findings::of(&nat.director);
        assert!(findings.names("not_applicable").contains("est-cpulist"), "{}", findings.ran);
    }
}

fn defence() {
    let nat = mixed();
    for (setting, id) in [("drop_entry", "drop-entry"), ("drop_packet", "drop-packet"), ("secure_tcp", "secure-tcp")] {
        breaks_and_mends(&nat.director, &format!("sysctl -qw net.ipv4.vs.{setting}=3"), &[id]);
    }
    let line = "sysctl -qw net.ipv4.vs.am_droprate=1 net.ipv4.vs.drop_packet=3";
    breaks_and_mends(&nat.director, line, &["am-droprate", "drop-packet"]);
    // The kernel changes 1 to 2 a second later.
    let findings = appears(
        &nat.director,
        "sysctl -qw net.ipv4.vs.amemthresh=10000000 net.ipv4.vs.drop_entry=1; sleep 2",
        &["amemthresh", "drop-entry"],
    );
    assert!(findings.ran.stdout.contains("drop_entry is 2: memory is short"), "{}", findings.ran);
    nat.director.shell(&findings.commands("amemthresh")[0]).ok();
    nat.director.ok("sleep 2");
    assert!(Findings::of(&nat.director).bad().is_empty());
}

fn rates_of_dropped_packets() {
    under_test::install();
    let nat = Nat::new().unwrap();
    let _web = nat.web1.serve(Tcp, "0.0.0.0:80").unwrap();
    nat.director.ok("ipvsadm -A -t 10.1.0.100:80 -s rr");
    nat.director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.11:80 -m");
    for (rate, is_found) in [(0, false), (1, true), (-1, true)] {
        // The kernel reads the rate once a second.
        nat.director.ok(&format!("sysctl -qw net.ipv4.vs.am_droprate={rate} net.ipv4.vs.drop_packet=3"));
        nat.director.ok("sleep 2");
        let held = nat.client.client().patience(Duration::from_secs(2)).hold(1, "10.1.0.100:80").to_string();
        assert_eq!(held == "web1=1", !is_found, "{rate}: {held}");
        let findings = Findings::of(&nat.director);
        assert_eq!(findings.bad().contains("am-droprate"), is_found, "{rate}: {}", findings.ran);
    }
}

fn forwarding() {
    under_test::install();
    let nat = Nat::dual_stack().unwrap();
    for line in [
        "-A -t 10.1.0.100:80 -s rr",
        "-a -t 10.1.0.100:80 -r 10.2.0.11:80 -m",
        "-A -t [fd01::100]:80 -s rr",
        "-a -t [fd01::100]:80 -r [fd02::11]:80 -m",
    ] {
        nat.director.ok(&format!("ipvsadm {line}"));
    }
    let _web = nat.web1.serve(Tcp, "0.0.0.0:80").unwrap();
    assert_eq!(nat.client.client().hold(2, "10.1.0.100:80").to_string(), "web1=2");
    breaks_and_mends(&nat.director, "sysctl -qw net.ipv4.ip_forward=0", &["ip-forward"]);
    breaks_and_mends(&nat.director, "sysctl -qw net.ipv6.conf.all.forwarding=0", &["ip-forward-ipv6"]);
    breaks_and_mends(&nat.director, "sysctl -qw net.ipv4.conf.eth1.forwarding=0", &["ip-forward-interface"]);
    assert_eq!(nat.client.client().hold(2, "10.1.0.100:80").to_string(), "web1=2");
}

fn forwarding_of_interfaces() {
    under_test::install();
    let nat = Nat::dual_stack().unwrap();
    let director = &nat.director;
    for line in [
        "-A -t 10.1.0.100:80 -s rr",
        "-a -t 10.1.0.100:80 -r 10.2.0.11:80 -m",
        "-A -t [fd01::100]:80 -s rr",
        "-a -t [fd01::100]:80 -r [fd02::11]:80 -m",
    ] {
        director.ok(&format!("ipvsadm {line}"));
    }
    let _web = nat.web1.serve(Tcp, "[::]:80").unwrap();
    let works =
        |address: &str| nat.client.client().patience(Duration::from_secs(2)).hold(1, address).to_string() == "web1=1";
    // Each setting, whether IPv4 connections work with it, and its finding. Servers are on eth1.
    for (settings, is_working, finding) in [
        ("ip_forward=1 net.ipv4.conf.eth0.forwarding=0", true, None),
        ("conf.eth0.forwarding=1 net.ipv4.conf.eth1.forwarding=0", false, Some("ip-forward-interface")),
        ("ip_forward=0", false, Some("ip-forward")),
        ("conf.eth1.forwarding=1", true, None),
        ("conf.eth1.forwarding=0 net.ipv4.conf.eth0.forwarding=1", false, Some("ip-forward")),
    ] {
        director.ok(&format!("sysctl -qw net.ipv4.{settings}"));
        assert_eq!(works("10.1.0.100:80"), is_working, "{settings}");
        let findings = Findings::of(director);
        let found: Vec<String> = findings.ids().into_iter().filter(|id| id.starts_with("ip-forward")).collect();
        assert_eq!(found, finding.into_iter().collect::<Vec<_>>(), "{settings}: {}", findings.ran);
    }
    // eth0 has a setting of its own, so only that of eth1 changes.
    assert_eq!(Findings::of(director).commands("ip-forward"), ["sysctl -w net.ipv4.conf.eth1.forwarding=1"]);
    for (settings, is_working) in [
        ("all.forwarding=1 net.ipv6.conf.eth0.forwarding=0 net.ipv6.conf.eth1.forwarding=0", true),
        ("all.forwarding=0 net.ipv6.conf.eth1.forwarding=1", false),
        ("eth1.force_forwarding=1", true),
    ] {
        if settings.contains("force") && !kernel_is_from(6, 17) {
            continue;
        }
        director.ok(&format!("sysctl -qw net.ipv6.conf.{settings}"));
        assert_eq!(works("[fd01::100]:80"), is_working, "{settings}");
        let findings = Findings::of(director);
        assert_eq!(findings.ids().contains("ip-forward-ipv6"), !is_working, "{settings}: {}", findings.ran);
    }
}

fn reverse_paths() {
    let nat = mixed();
    breaks_and_mends(&nat.director, "sysctl -qw net.ipv4.conf.eth1.rp_filter=1", &["rp-filter"]);
    nat.director.ok("sysctl -qw net.ipv4.conf.eth1.rp_filter=0");
    breaks_and_mends(&nat.director, "sysctl -qw net.ipv4.conf.all.rp_filter=1", &["rp-filter"]);
}

fn redirects_on_one_segment() {
    under_test::install();
    let lab = ipvs_tests::lab::topology::Lab::new().unwrap();
    let director = lab.host("director").unwrap();
    lab.segment("lan", [(&director, "10.1.0.1/24")]).unwrap();
    director.sysctl("net/ipv4/ip_forward", "1").unwrap();
    director.ok("ipvsadm -A -t 10.1.0.100:80 -s rr");
    director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.1.0.11:80 -m");
    for device in ["all", "eth0"] {
        director.ok(&format!("sysctl -qw net.ipv4.conf.{device}.send_redirects=0"));
    }
    breaks_and_mends(&director, "sysctl -qw net.ipv4.conf.all.send_redirects=1", &["send-redirects"]);
    breaks_and_mends(&director, "sysctl -qw net.ipv4.conf.eth0.send_redirects=1", &["send-redirects"]);
}

fn tunnel_devices() {
    let nat = mixed();
    under_test::modprobe();
    nat.director.ok("modprobe ipip");
    breaks_and_mends(&nat.director, "ip link set tunl0 up", &["ignore-tunneled"]);
    breaks_and_mends(&nat.director, "sysctl -qw net.ipv4.conf.tunl0.rp_filter=1", &["rp-filter-tunnel"]);
}

fn limit_of_connections() {
    under_test::install();
    let nat = Nat::new().unwrap();
    let _web = nat.web1.serve(Tcp, "0.0.0.0:80").unwrap();
    nat.director.ok("ipvsadm -A -t 10.1.0.100:80 -s rr");
    nat.director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.11:80 -m");
    let held = nat.client.client().hold(2, "10.1.0.100:80");
    assert_eq!(held.to_string(), "web1=2");
    if kernel_is_from(7, 2) {
        breaks_and_mends(&nat.director, "sysctl -qw net.ipv4.vs.conn_max=2", &["connection-limit"]);
    } else {
        let findings = Findings::of(&nat.director);
        assert!(findings.names("not_applicable").contains("connection-limit"), "{}", findings.ran);
    }
}

fn tracking_without_rules() {
    under_test::install();
    let nat = Nat::new().unwrap();
    let _web = nat.web1.serve(Tcp, "0.0.0.0:80").unwrap();
    nat.director.ok("ipvsadm -A -t 10.1.0.100:80 -s rr");
    nat.director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.11:80 -m");
    let _held = nat.client.client().hold(2, "10.1.0.100:80");
    breaks_and_mends(&nat.director, "sysctl -qw net.ipv4.vs.conntrack=1", &["conntrack-without-effect"]);
}

fn tracking_by_firewall_rules() {
    if !has_iptables() {
        return;
    }
    under_test::install();
    let nat = Nat::new().unwrap();
    let _web = nat.web1.serve(Tcp, "0.0.0.0:80").unwrap();
    nat.director.ok("ipvsadm -A -t 10.1.0.100:80 -s rr");
    nat.director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.11:80 -m");
    let rules = nat.director.ok("ipvsadm-rs snat-rules -t 10.1.0.100:80 --to-source 10.2.0.1 --for iptables");
    breaks_and_mends(&nat.director, &format!("{rules}\nsysctl -qw net.ipv4.vs.conntrack=0"), &["conntrack-off"]);
    // The command was the missing half.
    let held = nat.client.client().hold(2, "10.1.0.100:80");
    assert_eq!(held.to_string(), "web1=2");
    assert!(held.peers.iter().all(|peer| peer.starts_with("10.2.0.1:")), "{:?}", held.peers);
    let findings = Findings::of(&nat.director);
    assert!(findings.bad().is_empty(), "{}", findings.ran);
    assert!(findings.names("passed").contains("conntrack-without-effect"), "{}", findings.ran);
    // The limit is that of all network namespaces, and can be set only in the first.
    shell("nsenter --target 1 --net sysctl -qw net.netfilter.nf_conntrack_max=2").ok();
    let findings = Findings::of(&nat.director);
    assert_eq!(findings.bad().iter().collect::<Vec<_>>(), ["conntrack-table"], "{}", findings.ran);
    shell(&findings.commands("conntrack-table")[0]).ok();
    assert!(Findings::of(&nat.director).bad().is_empty());
}

fn timeouts() {
    let nat = mixed();
    let before = Findings::of(&nat.director);
    let commands = before.commands("tcp-timeout-keepalive");
    assert_eq!(commands, ["ipvsadm --set 7320 0 0"]);
    nat.director.ok(&commands[0]);
    assert!(!Findings::of(&nat.director).ids().contains("tcp-timeout-keepalive"));
}
