//! Breaks of masquerading at the director's address, the service and its servers. The network is [`Nat::DRAWING`].

use std::net::Ipv4Addr;
use std::time::Duration;

use ipvs::{Client, Scheduler, Service, ServiceKey};
use ipvs_tests::guest::modules;
use ipvs_tests::lab::topology::Nat;
use ipvs_tests::traffic::server::Protocol::{Http, Udp};

use super::{Rig, text};
use crate::under_test;

ipvs_tests::tests! {
    the_address_is_missing;
    the_address_is_on_a_device_that_is_down;
    the_address_is_on_lo_and_not_announced;
    the_ipv6_address_is_on_lo;
    the_service_is_missing;
    the_service_has_another_protocol;
    the_service_has_no_servers;
    all_weights_are_0;
    a_hash_refuses_some;
    all_servers_are_full;
    port_0_is_not_persistent;
    the_director_is_a_backup;
    one_packet_scheduling_of_udp;
    a_connection_of_a_deleted_server;
    arguments_that_do_not_fit;
    commands_act_in_the_namespace;
    the_module_is_not_loaded, own_kernel = true;
    many_servers_are_one_line;
}

/// Masquerading of TCP port 80 to port 8080 of two servers.
pub(super) fn rig() -> Rig {
    let Nat { lab, client, director, web1, web2 } = Nat::new().unwrap();
    under_test::install();
    web1.serve(Http, "10.2.0.11:8080").unwrap();
    web2.serve(Http, "10.2.0.12:8080").unwrap();
    director.ok("ipvsadm -A -t 10.1.0.100:80 -s rr");
    director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.11:8080 -m");
    director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.12:8080 -m");
    let (why, target) = ("-t 10.1.0.100:80 --client 10.1.0.10".into(), "10.1.0.100:80".into());
    Rig { lab, client, director, web1, web2, why, target }
}

/// The same in IPv6.
pub(super) fn rig_6() -> Rig {
    let Nat { lab, client, director, web1, web2 } = Nat::dual_stack().unwrap();
    under_test::install();
    web1.serve(Http, "[fd02::11]:8080").unwrap();
    web2.serve(Http, "[fd02::12]:8080").unwrap();
    director.ok("ipvsadm -A -t [fd01::100]:80 -s rr");
    director.ok("ipvsadm -a -t [fd01::100]:80 -r [fd02::11]:8080 -m");
    director.ok("ipvsadm -a -t [fd01::100]:80 -r [fd02::12]:8080 -m");
    let (why, target) = ("-t [fd01::100]:80 --client fd01::10".into(), "[fd01::100]:80".into());
    Rig { lab, client, director, web1, web2, why, target }
}

fn the_address_is_missing() {
    let rig = rig();
    rig.works();
    rig.director.ok("ip address del 10.1.0.100/24 dev eth0");
    let verdict = rig.is_mended_by_its_commands("address");
    assert!(text(&verdict).starts_with("10.1.0.100 is not an address of this director"), "{verdict:#}");
}

fn the_address_is_on_a_device_that_is_down() {
    let rig = rig();
    rig.works();
    rig.director.ok("ip link set eth0 down");
    let verdict = rig.is_mended_by_its_commands("address");
    assert_eq!(verdict["text"], "10.1.0.100 is an address of eth0, which is down");
}

fn the_address_is_on_lo_and_not_announced() {
    let rig = rig();
    rig.director.ok("ip address del 10.1.0.100/24 dev eth0");
    rig.director.ok("ip address add 10.1.0.100/32 dev lo");
    rig.works();
    rig.director.sysctl("net/ipv4/conf/all/arp_ignore", "1").unwrap();
    rig.client.ok("ip neigh flush dev eth0");
    rig.is_mended_by_its_commands("arp");
}

fn the_ipv6_address_is_on_lo() {
    let rig = rig_6();
    rig.works();
    rig.director.ok("ip -6 address del fd01::100/128 dev eth0");
    rig.director.ok("ip -6 address add fd01::100/128 dev lo");
    rig.client.ok("ip -6 neigh flush dev eth0");
    let verdict = rig.is_broken("arp");
    rig.mend(&verdict, &rig.web1);
    rig.forget_neighbours();
    rig.works();
}

fn the_service_is_missing() {
    let rig = rig();
    rig.works();
    rig.director.ok("ipvsadm -D -t 10.1.0.100:80");
    let verdict = rig.is_broken("service");
    assert_eq!(verdict["text"], "the service TCP 10.1.0.100:80 does not exist");
}

fn the_service_has_another_protocol() {
    let rig = rig();
    rig.works();
    rig.director.ok("ipvsadm -D -t 10.1.0.100:80");
    rig.director.ok("ipvsadm -A -u 10.1.0.100:80 -s rr");
    let verdict = rig.is_broken("service");
    assert!(text(&verdict).ends_with("UDP 10.1.0.100:80 exists, which is for packets of another protocol."));
}

fn the_service_has_no_servers() {
    let rig = rig();
    rig.works();
    rig.director.ok("ipvsadm -d -t 10.1.0.100:80 -r 10.2.0.11:8080");
    rig.director.ok("ipvsadm -d -t 10.1.0.100:80 -r 10.2.0.12:8080");
    let verdict = rig.is_broken("choice");
    assert!(text(&verdict).contains("has no servers"), "{verdict:#}");
}

fn all_weights_are_0() {
    let rig = rig();
    rig.works();
    rig.director.ok("ipvsadm -e -t 10.1.0.100:80 -r 10.2.0.11:8080 -m -w 0");
    rig.director.ok("ipvsadm -e -t 10.1.0.100:80 -r 10.2.0.12:8080 -m -w 0");
    let verdict = rig.is_broken("choice");
    rig.mend(&verdict, &rig.web1);
    assert_eq!(rig.client.client().pages(2, &rig.target).to_string(), "web1=2");
    rig.is_not_broken();
}

fn a_hash_refuses_some() {
    let rig = rig();
    rig.works();
    rig.director.ok("ipvsadm -E -t 10.1.0.100:80 -s sh -b sh-port");
    rig.director.ok("ipvsadm -e -t 10.1.0.100:80 -r 10.2.0.12:8080 -m -w 0");
    let verdict = rig.verdict("choice", "");
    rig.mend(&verdict, &rig.web1);
    assert_eq!(rig.client.client().pages(8, &rig.target).to_string(), "web1=8");
    rig.is_not_broken();
}

fn all_servers_are_full() {
    let rig = rig();
    rig.works();
    for server in ["10.2.0.11:8080", "10.2.0.12:8080"] {
        rig.director.ok(&format!("ipvsadm -e -t 10.1.0.100:80 -r {server} -m -w 1 -x 2"));
    }
    let verdict = rig.is_broken("choice");
    assert!(text(&verdict).contains("every new client is refused"), "{verdict:#}");
}

fn port_0_is_not_persistent() {
    let rig = rig();
    rig.works();
    rig.director.ok("ipvsadm -C");
    // ipvsadm refuses it. Other programs need not.
    let key = ServiceKey::tcp(Ipv4Addr::new(10, 1, 0, 100), 0);
    let add = || Client::open().unwrap().add_service(&Service::new(key, Scheduler::RR));
    rig.director.enter(add).unwrap();
    rig.director.ok("ipvsadm -a -t 10.1.0.100:0 -r 10.2.0.11:0 -m");
    rig.web1.serve(Http, "10.2.0.11:80").unwrap();
    let verdict = rig.is_broken("any_port");
    rig.mend(&verdict, &rig.web1);
    assert_eq!(rig.client.client().pages(2, &rig.target).to_string(), "web1=2");
    rig.is_not_broken();
}

fn the_director_is_a_backup() {
    let rig = rig();
    rig.works();
    rig.director.sysctl("net/ipv4/vs/backup_only", "1").unwrap();
    rig.director.ok("ipvsadm --start-daemon backup --mcast-interface eth0 --syncid 7");
    rig.is_mended_by_its_commands("backup_only");
    // A second daemon makes no difference.
    rig.director.ok("ipvsadm --start-daemon master --mcast-interface eth0 --syncid 7");
    rig.director.sysctl("net/ipv4/vs/backup_only", "1").unwrap();
    rig.is_mended_by_its_commands("backup_only");
    rig.director.ok("ipvsadm --stop-daemon backup");
    rig.director.ok("ipvsadm --stop-daemon master");
}

fn one_packet_scheduling_of_udp() {
    let rig = Rig { why: "-u 10.1.0.100:53".into(), ..rig() };
    rig.web1.serve(Udp, "10.2.0.11:53").unwrap();
    rig.director.ok("ipvsadm -A -u 10.1.0.100:53 -s rr");
    rig.director.ok("ipvsadm -a -u 10.1.0.100:53 -r 10.2.0.11:53 -m");
    let client = rig.client.client().patience(Duration::from_millis(500));
    assert_eq!(client.datagrams(2, "10.1.0.100:53").to_string(), "web1=2");
    rig.is_not_broken();
    rig.director.ok("ipvsadm -E -u 10.1.0.100:53 -s rr -p 60 -o");
    assert_eq!(client.datagrams(2, "10.1.0.100:53").to_string(), "timeout=2");
    let verdict = rig.verdict("one_packet", "");
    assert_eq!(verdict["commands"][0]["command"], "ipvsadm -E -u 10.1.0.100:53 -s rr -p 60");
    rig.mend(&verdict, &rig.web1);
    assert_eq!(client.datagrams(2, "10.1.0.100:53").to_string(), "web1=2");
    rig.is_not_broken();
}

fn a_connection_of_a_deleted_server() {
    let rig = rig();
    rig.works();
    rig.web1.serve(ipvs_tests::traffic::server::Protocol::Tcp, "10.2.0.11:9000").unwrap();
    rig.director.ok("ipvsadm -A -t 10.1.0.100:9 -s rr");
    rig.director.ok("ipvsadm -a -t 10.1.0.100:9 -r 10.2.0.11:9000 -m");
    let client = rig.client.client().from("10.1.0.10:4000").patience(Duration::from_secs(1));
    let held = client.hold(1, "10.1.0.100:9");
    assert_eq!(held.again().to_string(), "web1=1");
    rig.director.ok("ipvsadm -d -t 10.1.0.100:9 -r 10.2.0.11:9000");
    rig.director.ok("ipvsadm -a -t 10.1.0.100:9 -r 10.2.0.12:9000 -m");
    assert_eq!(held.again().to_string(), "timeout=1");
    let rig = Rig { why: "-t 10.1.0.100:9 --client 10.1.0.10:4000".into(), ..rig };
    let verdict = rig.verdict("client", "");
    assert!(text(&verdict).contains("10.2.0.11:9000, which the service does not have"), "{verdict:#}");
}

fn arguments_that_do_not_fit() {
    let rig = rig();
    for (line, part) in [
        ("why", "required"),
        ("why -t 10.1.0.100", "expected ADDRESS:PORT"),
        ("why -t 10.1.0.100:80 -u 10.1.0.100:80", "cannot be used with"),
        ("why -f 0", "expected a mark"),
        ("why -t 10.1.0.100:80 --client fd01::1", "not of the family"),
        ("why -t 10.1.0.100:80 --client x", "expected ADDRESS"),
        ("why -f 7 --probe-from client", "--to ADDRESS:PORT"),
        ("why -t 10.1.0.100:80 --netns none", "none"),
    ] {
        let ran = rig.director.run(&format!("ipvsadm-rs {line}"));
        // The mark has no service, which is found before the option is needed.
        let code = if line.starts_with("why -f 7") { 2 } else { 1 };
        assert_eq!(ran.code, Some(code), "{ran}");
        assert!(code == 2 || ran.stderr.contains(part), "{ran}");
    }
    // From another namespace, with the option.
    let text = rig.client.ok("ipvsadm-rs why -t 10.1.0.100:80 --netns director");
    assert!(text.contains("10.2.0.11:8080 and 10.2.0.12:8080: masquerading, on the segment of eth1"), "{text}");
}

fn commands_act_in_the_namespace() {
    let rig = rig();
    rig.works();
    rig.director.sysctl("net/ipv4/ip_forward", "0").unwrap();
    let ran = rig.client.run("ipvsadm-rs why -t 10.1.0.100:80 --netns director --json");
    let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran}"));
    let command = &found["verdict"]["commands"][0]["command"];
    assert_eq!(command, "ip netns exec director sysctl -w net.ipv4.ip_forward=1");
    rig.client.shell(command.as_str().unwrap()).ok();
    rig.works();
    rig.director.ok("ipvsadm-rs set -t 10.1.0.100:80 -r 10.2.0.11:8080 --weight 0");
    rig.director.ok("ipvsadm-rs set -t 10.1.0.100:80 -r 10.2.0.12:8080 --weight 0");
    let text = rig.client.run("ipvsadm-rs why -t 10.1.0.100:80 --netns director").stdout;
    let command = text.lines().find_map(|line| line.strip_prefix("  director# ")).unwrap_or_else(|| panic!("{text}"));
    assert!(command.starts_with("ipvsadm-rs set --netns director -t 10.1.0.100:80 -r "), "{command}");
    rig.client.shell(command).ok();
    assert!(rig.client.client().pages(2, &rig.target).to_string().ends_with("=2"));
}

fn the_module_is_not_loaded() {
    under_test::install();
    under_test::modprobe();
    // Other tests may have loaded it.
    let unloaded = modules::unload("ip_vs").unwrap();
    let ran = ipvs_tests::command::run("ipvsadm-rs why -t 10.1.0.100:80");
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.stdout.contains("Broken: the kernel module ip_vs is not loaded"), "{ran}");
    assert!(ran.stdout.ends_with("  director# modprobe ip_vs\n"), "{ran}");
    assert!(!std::fs::exists("/proc/net/ip_vs").unwrap(), "the module was loaded");
    drop(unloaded);
}

fn many_servers_are_one_line() {
    let rig = rig();
    let servers = (20..69).map(|last| format!("-a -t 10.1.0.100:80 -r 10.2.0.{last}:8080 -m\n"));
    std::fs::write("rules", servers.collect::<String>()).unwrap();
    rig.director.shell("ipvsadm-restore -n < rules || ipvsadm -R < rules").ok();
    let text = rig.director.run("ipvsadm-rs why -t 10.1.0.100:80 --client 10.1.0.10").stdout;
    assert!(text.contains("and 50 others: masquerading, on the segment of eth1\n"), "{text}");
}
