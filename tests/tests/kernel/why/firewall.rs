//! Breaks by the firewall of the director. The network is [`Nat::DRAWING`](ipvs_tests::lab::topology::Nat::DRAWING).

use ipvs_tests::guest::modules;
use ipvs_tests::host::kernel;

use super::{Rig, nat, text};
use crate::under_test;

ipvs_tests::tests! {
    breaks_by_iptables, needs = "iptables";
    marks_by_iptables, needs = "iptables";
    source_translation_by_iptables, needs = "iptables";
    breaks_by_nft, needs = "qemu-system-x86", needs = "nftables", cloud = NFT;
    breaks_of_ipv6_by_nft, needs = "qemu-system-x86", needs = "nftables", cloud = NFT;
    marks_by_nft, needs = "qemu-system-x86", needs = "nftables", cloud = NFT;
    source_translation_by_nft, needs = "qemu-system-x86", needs = "nftables", cloud = NFT;
}

/// The files of a guest under QEMU.
pub(super) const NFT: &[&str] =
    &[under_test::PROGRAM, "/usr/sbin/nft", "/usr/sbin/sysctl", "/usr/bin/ip", "/usr/sbin/tc"];

/// Loads the modules of iptables. Returns whether this kernel has them.
pub(super) fn has_iptables() -> bool {
    // Debian's user-mode-linux has the iptables modules up to 6.12, and never those of nft.
    for module in ["iptable_filter", "iptable_mangle", "iptable_nat"] {
        if let Err(error) = modules::load(module) {
            assert!(kernel::running() >= (7, 0), "{error:#}");
            println!("not on this kernel: {error:#}");
            return false;
        }
    }
    // Debian has two variants. This kernel has only the modules of iptables-legacy.
    ipvs_tests::command::install("/usr/sbin/iptables-legacy", "/usr/local/sbin/iptables").unwrap();
    true
}

/// Adds rules that break the service. Checks the verdict, runs its commands, and removes the rules.
fn breaks(rig: &Rig, add: &str, remove: &str, id: &str, says: &str) {
    rig.director.shell(&format!("set -e\n{add}")).ok();
    let verdict = rig.is_mended_by_its_commands(id);
    assert!(text(&verdict).contains(says), "{says}: {verdict:#}");
    rig.director.shell(&format!("set -e\n{remove}")).ok();
    rig.works();
}

fn breaks_by_iptables() {
    if !has_iptables() {
        return;
    }
    let rig = nat::rig();
    rig.works();
    let flush = "iptables -F; iptables -P INPUT ACCEPT; iptables -P FORWARD ACCEPT; iptables -t mangle -F";
    for (add, id, says) in [
        ("iptables -A INPUT -p tcp --dport 80 -j DROP", "firewall", "-A INPUT -p tcp -m tcp --dport 80 -j DROP"),
        ("iptables -A INPUT -s 10.1.0.0/24 -j REJECT", "firewall", "rejects packets to the service"),
        (
            "iptables -A INPUT -p tcp --dport 22 -j ACCEPT; iptables -P INPUT DROP",
            "firewall",
            "the policy of chain INPUT",
        ),
        ("iptables -t mangle -A PREROUTING -i eth0 -d 10.1.0.100 -j DROP", "firewall", "table mangle of iptables"),
        ("iptables -A FORWARD -s 10.2.0.0/24 -j DROP", "firewall_back", "drops the replies of the server"),
        ("iptables -P FORWARD DROP", "firewall_back", "the policy of chain FORWARD"),
        ("iptables -A OUTPUT -o eth1 -p tcp --dport 8080 -j DROP", "firewall_out", "drops packets to the server"),
    ] {
        breaks(&rig, add, flush, id, says);
    }
    // Rules that look as if they dropped the packets.
    rig.director.shell("iptables -A INPUT -s 10.1.0.10 -j ACCEPT; iptables -P INPUT DROP").ok();
    rig.works();
}

fn breaks_by_nft() {
    let rig = nat::rig();
    rig.works();
    let table = |hook: &str, policy: &str, rules: &str| {
        format!(
            "nft 'table inet f {{ chain c {{ type filter hook {hook} priority 0; policy {policy};\n{rules}\n}}\n}}'"
        )
    };
    for (add, id, says) in [
        (table("input", "accept", "tcp dport { 22, 80 } drop"), "firewall", "tcp dport { 22, 80 } drop"),
        (
            table("input", "drop", "ct state established,related accept"),
            "firewall",
            "the policy of chain c, table inet f",
        ),
        (table("input", "accept", "ip saddr 10.1.0.0/24 reject"), "firewall", "rejects packets to the service"),
        (table("prerouting", "accept", "iifname \"eth0\" ip daddr 10.1.0.100 drop"), "firewall", "table inet f"),
        (table("forward", "drop", ""), "firewall_back", "the policy of chain c"),
        (table("forward", "accept", "ip saddr 10.2.0.0/24 drop"), "firewall_back", "drops the replies of the server"),
        (
            table("output", "accept", "oifname \"eth1\" tcp dport 8080 drop"),
            "firewall_out",
            "drops packets to the server",
        ),
    ] {
        breaks(&rig, &add, "nft flush ruleset", id, says);
    }
    rig.director.shell(&table("input", "drop", "ip saddr 10.1.0.10 accept")).ok();
    rig.works();
}

fn breaks_of_ipv6_by_nft() {
    let rig = nat::rig_6();
    rig.works();
    let table = |family: &str, hook: &str, rule: &str| {
        format!("nft 'table {family} f {{ chain c {{ type filter hook {hook} priority 0;\n{rule}\n}}\n}}'")
    };
    for (add, id, says) in [
        (table("ip6", "input", "tcp dport 80 drop"), "firewall", "table ip6 f"),
        (table("inet", "input", "ip6 saddr fd01::/64 tcp dport 80 reject"), "firewall", "rejects packets"),
        (table("ip6", "forward", "ip6 saddr fd02::/64 tcp sport 8080 drop"), "firewall_back", "drops the replies"),
        (table("inet", "output", "ip6 daddr fd02::/64 tcp dport 8080 drop"), "firewall_out", "drops packets to"),
    ] {
        breaks(&rig, &add, "nft flush ruleset", id, says);
    }
    // A rule for IPv4 does not apply.
    rig.director.shell(&table("ip", "input", "drop")).ok();
    rig.works();
    rig.director.shell("nft flush ruleset").ok();
    // The service of the other family is not the one that takes the packets.
    rig.director.ok("ipvsadm -A -f 7 -s rr");
    rig.director.ok("ipvsadm -A -f 7 -6 -s rr");
    rig.director.shell(&table("ip6", "prerouting", "tcp dport 80 meta mark set 7")).ok();
    let verdict = rig.is_broken("mark");
    assert_eq!(verdict["commands"][0]["command"], "ipvsadm -Ln -f 7 -6");
    rig.mend(&verdict, &rig.web1);
}

/// Replaces the service by one of mark 7.
fn by_mark(rig: &mut Rig) {
    rig.director.ok("ipvsadm -C");
    rig.director.ok("ipvsadm -A -f 7 -s rr");
    rig.director.ok("ipvsadm -a -f 7 -r 10.2.0.11:8080 -m");
    rig.director.ok("ipvsadm -a -f 7 -r 10.2.0.12:8080 -m");
    rig.why = "-f 7 --to 10.1.0.100:80 --client 10.1.0.10".into();
}

fn marks_by_iptables() {
    if !has_iptables() {
        return;
    }
    let add = "iptables -t mangle -A PREROUTING -d 10.1.0.100 -p tcp --dport";
    check_marks(
        &format!("{add} 443 -j MARK --set-mark 7"),
        &format!("{add} 80 -j MARK --set-mark 7"),
        "iptables -t mangle -F",
    );
}

fn marks_by_nft() {
    let set = |port: u16| {
        format!(
            "nft 'table ip marks {{ chain in {{ type filter hook prerouting priority mangle; \
             ip daddr 10.1.0.100 tcp dport {port} meta mark set 7\n}}\n}}'"
        )
    };
    check_marks(&set(443), &set(80), "nft flush ruleset");
}

fn check_marks(other_port: &str, right_port: &str, flush: &str) {
    let mut rig = nat::rig();
    rig.director.shell(&format!("{right_port}; ipvsadm -A -f 7 -s rr")).ok();
    // The service of the mark has no servers, and takes the packets of the other one.
    let verdict = rig.is_broken("mark");
    assert!(text(&verdict).contains("the firewall sets mark 7"), "{verdict:#}");
    // The commands list the service and the rule.
    rig.mend(&verdict, &rig.web1);
    assert_eq!(verdict["commands"][0]["command"], "ipvsadm -Ln -f 7");
    rig.director.shell(flush).ok();
    rig.works();
    by_mark(&mut rig);
    let verdict = rig.is_mended_by_its_commands("mark");
    assert!(text(&verdict).contains("no rule of the firewall sets mark 7"), "{verdict:#}");
    rig.director.shell(flush).ok();
    // The counters are 0 again, as for a service that never worked.
    rig.director.ok("ipvsadm -C");
    by_mark(&mut rig);
    rig.director.shell(other_port).ok();
    let verdict = rig.is_mended_by_its_commands("mark");
    assert!(text(&verdict).contains("sets mark 7 for another destination port"), "{verdict:#}");
}

fn source_translation_by_iptables() {
    if has_iptables() {
        check_source_translation("iptables", "iptables -t nat -F");
    }
}

fn source_translation_by_nft() {
    check_source_translation("nft", "nft flush ruleset");
}

fn check_source_translation(firewall: &str, flush: &str) {
    let rig = nat::rig();
    for web in [&rig.web1, &rig.web2] {
        web.ok("ip route del default");
    }
    let rules = |service: &str| {
        let printed = rig.director.ok(&format!("ipvsadm-rs snat-rules {service} --for {firewall}"));
        rig.director.shell(&format!("set -e\n{printed}")).ok();
    };
    rules("-t 10.1.0.100:80");
    rig.works();
    rig.director.ok("sysctl -qw net.ipv4.vs.conntrack=0");
    let verdict = rig.is_mended_by_its_commands("snat");
    assert!(text(&verdict).contains("net.ipv4.vs.conntrack is 0"), "{verdict:#}");
    rig.director.shell(flush).ok();
    rules("-t 10.1.0.101:80");
    let verdict = rig.is_broken("snat");
    assert!(text(&verdict).contains("is for another virtual address"), "{verdict:#}");
    rig.director.shell(flush).ok();
    let verdict = rig.is_broken("snat");
    assert!(text(&verdict).contains("no rule of the firewall changes it"), "{verdict:#}");
    rules("-t 10.1.0.100:80");
    rig.works();
}
